"""The replica against the standard library's HTTP client and yt-dlp."""

import http.client
import json
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.robotparser import RobotFileParser

import pytest
from certificates import issued, self_signed, server_tls

from crawler.errors import UserError
from crawler.items import read_works
from demo.markup import MARKUPS, clock, render_work
from demo.site import Replica, serve

FIXTURE = Path(__file__).parent / "fixtures" / "site"
FIRST = "/media/-xAmple_01A.wav"


def write_tone(path: Path, num_samples: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(bytes(range(256)) * (num_samples // 128))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    corpus = tmp_path / "site"
    shutil.copytree(FIXTURE, corpus)
    write_tone(corpus / "audio" / "first.wav", 16_000)
    write_tone(corpus / "audio" / "second.wav", 1280)
    return corpus


@pytest.fixture
def replica(folder: Path) -> Iterator[Replica]:
    with serve(folder) as running:
        yield running


def ask(
    replica: Replica, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(replica.host, replica.port, timeout=10)
    connection.request(method, path, headers=headers)
    with connection.getresponse() as answer:
        result = answer.status, dict(answer.headers), answer.read()
    connection.close()
    return result


def test_ranges_are_the_bytes_asked_for(replica: Replica, folder: Path) -> None:
    whole = (folder / "audio" / "first.wav").read_bytes()
    size = len(whole)
    for wanted, first, stop in [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=500-", 500, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=5-{size + 5}", 5, size),
    ]:
        status, headers, body = ask(replica, FIRST, Range=wanted)
        assert (status, body) == (206, whole[first:stop])
        assert headers["Content-Range"] == f"bytes {first}-{stop - 1}/{size}"
    status, headers, body = ask(replica, FIRST, Range=f"bytes={size}-")
    assert (status, headers["Content-Range"], body) == (416, f"bytes */{size}", b"")
    assert ask(replica, FIRST, Range="bytes=x-y")[::2] == (200, whole)


def test_head_says_what_get_sends(replica: Replica) -> None:
    _, sent, body = ask(replica, FIRST)
    status, promised, nothing = ask(replica, FIRST, "HEAD")
    assert (status, nothing) == (200, b"")
    assert promised["Content-Length"] == sent["Content-Length"] == str(len(body))
    assert promised["ETag"] == sent["ETag"]
    assert sent["Content-Type"] == "audio/wav"


@pytest.mark.parametrize(
    "path",
    [
        "/chamber-music/Gone-Work/",
        "/media/../works.wav",
        "/media/%2e%2e%2fworks.jsonl",
        "/media/-xAmple_01A.webm",
        "/watch?v=unknown",
        "/watch",
        "/%00",
        "/a/b/c",
    ],
)
def test_everything_else_is_not_found(replica: Replica, path: str) -> None:
    assert ask(replica, path)[0] == 404


def test_a_work_answers_to_its_slug_quoted_or_not(replica: Replica) -> None:
    quoted = "/chamber-music/Ada-d%27Example-String-Quartet-No-2-in-e-flat-minor-Op-7"
    for path in (quoted + "/", quoted, quoted.replace("%27", "'") + "/?ri=2&rq=p%3D1"):
        status, _, body = ask(replica, path)
        assert status == 200
        assert b"d&#x27;Example (1806-1851)" in body


def test_robots_allows_what_is_crawled(replica: Replica) -> None:
    rules = RobotFileParser(replica.address + "/robots.txt")
    rules.read()
    pages = ("chamber-music/x/", "article/x/", "search", "chamber-music/Private-Work/")
    allowed = [rules.can_fetch("any", f"{replica.address}/{page}") for page in pages]
    assert allowed == [True, True, False, False]


@pytest.mark.parametrize("markup", MARKUPS)
def test_pages_keep_the_visible_order_and_escape_everything(markup: str) -> None:
    work = read_works(FIXTURE / "works.jsonl")[0]
    text = render_work(work, markup).partition("<body>")[2]
    order = ["(1806-1851)", "Nationality: Spanish", "Died: January 17, 1851, Paris (age 44)",
             "String Quartet No. 2", "(for 2 violins", "8:43", "IV. Finale", "Composed:",
             "3 recordings, 9 videos", "autoopen autoplay", "Example Quartet (live)",
             "Solo, I. Duo", "Example Catalogue", "Used by permission", "Related Composers",
             "glossary", "[I]—"]  # fmt: skip
    places = [text.find(mark) for mark in order]
    assert -1 not in places
    assert places == sorted(places)
    assert "<Lark>" not in text
    assert "<limps>" not in text
    assert text.count("replica") == 1


def test_clock() -> None:
    assert [clock(value) for value in (0, 61, 599.6, 3605)] == ["0:00", "1:01", "10:00", "1:00:05"]


def test_yt_dlp_finds_media_and_chapters(replica: Replica, tmp_path: Path) -> None:
    import yt_dlp

    with yt_dlp.YoutubeDL({"quiet": True, "outtmpl": str(tmp_path / "got.%(ext)s")}) as fetcher:
        info = fetcher.extract_info(f"{replica.address}/watch?v=-xAmple_01A")
        plain = fetcher.extract_info(f"{replica.address}/watch?v=_xAmple_02B", download=False)
    assert (info["title"], info["description"]) == ("First & <only>", "0:00 I. Adagio")
    assert [(c["title"], c["start_time"], c["end_time"]) for c in info["chapters"]] == [
        ("I. Adagio", 0.0, 0.4),
        ("II. Allegro", 0.5, 1.0),
    ]
    assert not plain.get("chapters")
    served = (tmp_path / "site" / "audio" / "first.wav").read_bytes()
    assert (tmp_path / "got.wav").read_bytes() == served
    assert replica.served("/media/") == 1
    assert next(item.path for item in replica.requests if item.method == "GET").startswith("/watch")


@pytest.mark.parametrize("status", ["302", "401", "403", "404", "410", "429", "451", "500", "503"])
def test_fault_status(replica: Replica, status: str) -> None:
    replica.faults[FIRST] = "elsewhere" if status == "302" else status
    assert ask(replica, FIRST)[0] == int(status)
    assert replica.requests[-1].status == int(status)
    del replica.faults[FIRST]
    assert ask(replica, FIRST)[0] == 200


def test_fault_bodies(replica: Replica) -> None:
    replica.faults.update({FIRST: "html", "/watch?v=_xAmple_02B": "empty"})
    status, headers, body = ask(replica, FIRST)
    assert (status, headers["Content-Type"]) == (200, "audio/wav")
    assert body.startswith(b"<!doctype html>")
    assert ask(replica, "/watch?v=_xAmple_02B")[::2] == (200, b"")
    assert ask(replica, "/watch?v=-xAmple_01A")[2] != b""


def test_fault_truncate_and_reset(replica: Replica) -> None:
    replica.faults[FIRST] = "truncate"
    with pytest.raises(http.client.IncompleteRead) as short:
        ask(replica, FIRST)
    assert len(short.value.partial) == (32_044) // 2
    replica.faults[FIRST] = "reset"
    with pytest.raises(ConnectionResetError):
        ask(replica, FIRST)
    assert replica.requests[-1].status == 0


def test_fault_slow_outlasts_a_timeout(replica: Replica) -> None:
    replica.faults[FIRST] = "slow"
    with socket.create_connection((replica.host, replica.port)) as client:
        client.sendall(f"GET {FIRST} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.5)
        assert 0 < len(client.recv(1 << 20)) < 5000


@pytest.mark.parametrize(
    ("fault", "status", "told", "first"),
    [
        ("no-range", 200, None, 0),
        ("wrong-range", 206, "bytes 900-32043/32044", 900),
        ("nameless", 206, "bytes 1000-32043/32044", 1000),
    ],
)
def test_a_range_may_be_answered_otherwise(
    replica: Replica, folder: Path, fault: str, status: int, told: str | None, first: int
) -> None:
    whole = (folder / "audio" / "first.wav").read_bytes()
    replica.faults[FIRST] = fault
    found, headers, body = ask(replica, FIRST, Range="bytes=1000-")
    assert (found, headers.get("Content-Range"), body) == (status, told, whole[first:])
    assert ("ETag" in headers, "Accept-Ranges" in headers) == (
        fault != "nameless",
        fault != "no-range",
    )


def test_a_part_of_a_file_that_has_changed_is_not_sent_unless_by_fault(replica: Replica) -> None:
    _, headers, whole = ask(replica, FIRST)
    asked = {"Range": "bytes=1000-", "If-Range": headers["ETag"]}
    dated = {"Range": "bytes=1000-", "If-Range": headers["Last-Modified"]}
    for wanted in (asked, dated):
        assert ask(replica, FIRST, **wanted)[::2] == (206, whole[1000:])
    replica.faults[FIRST] = "changed"
    status, changed, body = ask(replica, FIRST, **asked)
    assert (status, len(body), body == whole) == (200, len(whole), False)
    assert changed["ETag"] != headers["ETag"]
    replica.faults[FIRST] = "changed-anyway"
    status, anyway, rest = ask(replica, FIRST, **asked)
    assert (status, anyway["ETag"], rest) == (206, changed["ETag"], body[1000:])


def test_media_may_be_damaged_in_the_middle(replica: Replica) -> None:
    whole = ask(replica, FIRST)[2]
    replica.faults[FIRST] = "corrupt"
    body = ask(replica, FIRST)[2]
    same = [ours == theirs for ours, theirs in zip(body, whole, strict=True)]
    third = len(whole) // 3
    assert all(same[:third] + same[-third:])
    assert not any(same[third:-third])


def test_a_length_may_be_a_lie(replica: Replica) -> None:
    whole = ask(replica, FIRST)[2]
    replica.faults[FIRST] = "length-below"
    assert ask(replica, FIRST)[2] == whole[: len(whole) // 2]
    replica.faults[FIRST] = "length-above"
    with pytest.raises(http.client.IncompleteRead) as short:
        ask(replica, FIRST)
    assert short.value.partial == whole


WORK = "/chamber-music/Ada-d%27Example-String-Quartet-No-2-in-e-flat-minor-Op-7/"


@pytest.mark.parametrize(
    "target", [WORK, "/", "file:///etc/passwd", "http://127.0.0.1:9/", "http://192.0.2.1/x"]
)
def test_a_fault_may_be_a_redirect(replica: Replica, target: str) -> None:
    replica.faults[WORK] = target
    status, headers, body = ask(replica, WORK)
    assert (status, headers["Location"], body) == (302, target, b"")


def test_a_pause_is_asked_for_in_seconds(replica: Replica) -> None:
    wanted = {}
    for fault in ("429", "503", "later", "500"):
        replica.faults[WORK] = fault
        wanted[fault] = ask(replica, WORK)[1].get("Retry-After")
    assert wanted == {"429": "1", "503": "1", "later": "86400", "500": None}


def test_a_page_that_is_not_found_may_say_200(replica: Replica) -> None:
    body = ask(replica, "/nowhere")[2]
    replica.faults[WORK] = "soft404"
    assert ask(replica, WORK)[::2] == (200, body)


def test_a_drip_has_no_end(replica: Replica) -> None:
    replica.faults[WORK] = "drip"
    with socket.create_connection((replica.host, replica.port), timeout=5) as client:
        client.sendall(f"GET {WORK} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = client.recv(1 << 16)
        assert b"Content-Length" not in head
        drops = [client.recv(1) for _ in range(5)]
    assert drops == [b" "] * 5


@pytest.mark.parametrize("fault", ["huge", "flood"])
def test_a_hundred_megabytes_are_streamed(replica: Replica, fault: str) -> None:
    replica.faults[WORK] = fault
    connection = http.client.HTTPConnection(replica.host, replica.port, timeout=10)
    connection.request("GET", WORK)
    with connection.getresponse() as answer:
        told = answer.headers["Content-Length"]
        size = sum(map(len, iter(lambda: answer.read(1 << 20), b"")))
    connection.close()
    assert size == 100 * 2**20
    assert told == (str(size) if fault == "huge" else None)


def test_a_bomb_is_small_until_it_is_unpacked(replica: Replica) -> None:
    replica.faults[WORK] = "bomb"
    _, headers, body = ask(replica, WORK)
    assert headers["Content-Encoding"] == "gzip"
    assert len(body) < 200_000
    unpacker, size = zlib.decompressobj(wbits=31), 0
    while body:
        size += len(unpacker.decompress(body, 1 << 20))
        body = unpacker.unconsumed_tail
    assert size == 100 * 2**20


@pytest.mark.parametrize(
    ("fault", "declared", "real"),
    [
        ("utf8-as-latin1", "iso-8859-1", "utf-8"),
        ("utf8-as-ascii", "us-ascii", "utf-8"),
        ("windows-as-utf8", "utf-8", "cp1252"),
    ],
)
def test_a_charset_may_be_a_lie(replica: Replica, fault: str, declared: str, real: str) -> None:
    whole = ask(replica, WORK)[2].decode()
    replica.faults[WORK] = fault
    _, headers, body = ask(replica, WORK)
    assert headers["Content-Type"] == f"text/html; charset={declared}"
    assert body.decode(real) == whole
    assert "ë" in whole


def test_script_binary_and_nested_bodies(replica: Replica) -> None:
    whole = ask(replica, WORK)[2]
    replica.faults[WORK] = "script"
    script = ask(replica, WORK)[2]
    assert script.count(b"</script>") >= 2
    assert re.sub(rb"<script>.*?</script>", b"", script) == whole
    replica.faults[WORK] = "nested"
    nested = ask(replica, WORK)[2]
    assert (nested.count(b"<div>"), nested.count(b"</div>")) == tuple(
        whole.count(tag) + 30_000 for tag in (b"<div>", b"</div>")
    )
    replica.faults[WORK] = "binary"
    with pytest.raises(UnicodeDecodeError):
        ask(replica, WORK)[2].decode()


def test_what_a_client_has_is_not_sent_again(replica: Replica) -> None:
    _, headers, whole = ask(replica, WORK)
    fresh = {"If-None-Match": headers["ETag"]}
    for known in (fresh, {"If-Modified-Since": headers["Last-Modified"]}):
        assert ask(replica, WORK, **known)[::2] == (304, b"")
        assert replica.requests[-1].status == 304
    stale = {"If-None-Match": '"other"', "If-Modified-Since": headers["Last-Modified"]}
    assert ask(replica, WORK, **stale)[::2] == (200, whole)
    replica.faults[WORK] = "500"
    assert ask(replica, WORK, **fresh)[0] == 500


def test_robots_may_ask_for_a_delay(replica: Replica) -> None:
    replica.faults["/robots.txt"] = "crawl-delay"
    rules = RobotFileParser(replica.address + "/robots.txt")
    rules.read()
    assert rules.crawl_delay("any") == 1


def test_https_with_certificates_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    alone = self_signed(tmp_path / "alone")
    issuer, signed = issued(tmp_path)
    for secret, bundle, complaint in [
        (alone, alone, "self-signed certificate"),
        (signed, issuer, "unable to get local issuer"),
    ]:
        with serve(FIXTURE, tls=server_tls(secret)) as replica:
            trusting = ssl.create_default_context(cafile=bundle)
            with urllib.request.urlopen(replica.address + WORK, context=trusting) as answer:
                assert answer.status == 200
            with pytest.raises(urllib.error.URLError, match=complaint):
                urllib.request.urlopen(replica.address + WORK)
        assert replica.address.startswith("https://")
        assert [request.status for request in replica.requests] == [200]


def test_a_taken_port_is_named(folder: Path, replica: Replica) -> None:
    with (
        pytest.raises(UserError, match=f"port {replica.port} .* is taken.*--port"),
        serve(folder, port=replica.port),
    ):
        pass


def test_a_folder_that_is_no_corpus_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(str(tmp_path))), serve(tmp_path):
        pass


def test_an_unknown_fault_lists_the_known(folder: Path) -> None:
    with (
        pytest.raises(UserError, match=r"'teapot'.*truncate"),
        serve(folder, faults={"/": "teapot"}),
    ):
        pass


def test_many_clients_at_once_are_all_logged(replica: Replica) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(replica, FIRST, Range="bytes=0-9"), range(40)))
    assert {status for status, _, _ in answers} == {206}
    assert replica.served(FIRST) == 40
    assert {request.range for request in replica.requests} == {"bytes=0-9"}


def test_videos_of_a_page_are_json_of_the_sites_shape() -> None:
    work = read_works(FIXTURE / "works.jsonl")[0]
    text = render_work(work, "script")
    found = re.search(r"var videos = (.*);</script>", text)
    assert found
    rows = json.loads(found.group(1))
    assert rows[0] == {
        "youtube_id": "-xAmple_01A", "video_id": "-xAmple_01A1", "next_video": "_xAmple_02B2",
        "movement_id": 1, "start": 0, "end": 0,
    }  # fmt: skip
    assert [row["next_video"] for row in rows if row["video_id"] == "wHoleFile-04"] == ["0"]


def test_stopped_replica_frees_its_port(folder: Path) -> None:
    with serve(folder) as first:
        port = first.port
    with serve(folder, port=port) as second:
        assert ask(second, "/")[0] == 200
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(second.address, timeout=2)
