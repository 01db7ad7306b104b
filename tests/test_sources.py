"""Fetching with yt-dlp from a loopback server: what comes, what fails, and what goes on."""

import dataclasses
import datetime
import email.utils
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import yt_dlp
from certificates import issued, server_tls

from crawler.errors import UserError
from crawler.items import write_works
from dataset.access import parsed_arguments
from dataset.downloader import Downloader, check_address
from dataset.pairs import ErrorClass
from dataset.sources import (
    Chapter,
    Source,
    SourceConfig,
    SourceError,
    fetch_source,
    forget,
    hang_up,
    options,
    seconds_until,
)
from demo.site import Replica, serve

CONFIG = SourceConfig(allow_loopback=True, timeout_s=3.0, attempts=3, backoff_s=0.5)
CHAPTERS = [
    {"title": "I. Allegro", "start_s": 0.0, "end_s": 1.0},
    {"title": "II. Adagio", "start_s": 1.0, "end_s": 2.0},
]


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    folder = tmp_path / "corpus"
    write_works(folder / "works.jsonl", [])
    (folder / "articles.json").write_text("[]")
    media = {"file": "tone.ogg", "title": "A tone", "chapters": CHAPTERS, "description": "Two"}
    (folder / "media.json").write_text(json.dumps({"-tone000001": media}))
    tone = np.sin(np.arange(48_000 * 2) / 10) / 2
    sf.write(folder / "tone.ogg", tone, 48_000, format="OGG", subtype="OPUS")
    with serve(folder) as running:
        yield running
        hang_up()


URL = "/watch?v=-tone000001"
MEDIA = "/media/-tone000001.ogg"


def target(folder: Path) -> Path:
    return folder / "100%(id)s"


def settings(**config: Any) -> SourceConfig:
    return dataclasses.replace(CONFIG, **config)


def fetch(replica: Replica, folder: Path, **config: Any) -> Source:
    return fetch_source(replica.address + URL, target(folder), settings(**config))


def failure(replica: Replica, folder: Path, **config: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(replica, folder, **config)
    kept = {path.suffix for path in folder.glob("100*")}
    assert kept <= {".part", ".json"}, "a failed fetch leaves no whole file"
    passing = ("network", "server_error", "rate_limited")
    assert not kept or caught.value.error_class in passing
    return caught.value


def broken(replica: Replica, folder: Path) -> Path:
    """The part that a transfer which broke off has left."""
    replica.faults[MEDIA] = "truncate"
    failure(replica, folder)
    replica.faults.clear()
    return folder / "100%(id)s.ogg.part"


def ranges(replica: Replica) -> list[tuple[int, str | None]]:
    return [(one.status, one.range) for one in replica.requests if one.path == MEDIA]


def original(folder: Path) -> bytes:
    return (folder / "corpus" / "tone.ogg").read_bytes()


def test_a_recording_comes_whole_with_what_its_page_says(replica: Replica, tmp_path: Path) -> None:
    found = fetch(replica, tmp_path)
    assert found.path == tmp_path / "100%(id)s.ogg"
    assert found.path.read_bytes() == original(tmp_path)
    assert (found.title, found.description) == ("A tone", "Two")
    assert found.chapters == (Chapter("I. Allegro", 0.0, 1.0), Chapter("II. Adagio", 1.0, 2.0))
    assert (found.video_id, found.availability) == (URL.strip("/"), None)
    assert found.tools["yt-dlp"]
    assert not list(tmp_path.glob("*.part*"))
    assert replica.served("/media/") == 1


@pytest.mark.parametrize(
    "name", ["-o", "a.b", "%(title)s%%", "[x]*?", "Dvořák $HOME `id`", "~", ".tmp-7"]
)
def test_any_name_of_a_target_is_safe(replica: Replica, tmp_path: Path, name: str) -> None:
    for fault in ("truncate", ""):
        replica.faults[MEDIA] = fault
        with suppress(SourceError):
            found = fetch_source(replica.address + URL, tmp_path / name, CONFIG)
    assert found.path == tmp_path / f"{name}.ogg"
    assert ranges(replica)[-1][0] == 206
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{name}.ogg", "corpus"])


@pytest.mark.parametrize(
    ("path", "fault", "expected"),
    [
        (URL, "404", ErrorClass.GONE),
        (URL, "410", ErrorClass.GONE),
        (URL, "401", ErrorClass.LOGIN),
        (URL, "403", ErrorClass.EXTRACTOR),
        (URL, "451", ErrorClass.GEO),
        (URL, "503", ErrorClass.SERVER_ERROR),
        (URL, "reset", ErrorClass.NETWORK),
        (URL, "429", ErrorClass.RATE_LIMITED),
        (URL, "html", ErrorClass.NOT_MEDIA),
        (URL, URL, ErrorClass.EXTRACTOR),  # a redirect without end
        (MEDIA, "401", ErrorClass.LOGIN),
        (MEDIA, "403", ErrorClass.EXTRACTOR),
        (MEDIA, "404", ErrorClass.GONE),
        (MEDIA, "410", ErrorClass.GONE),
        (MEDIA, "429", ErrorClass.RATE_LIMITED),
        (MEDIA, "451", ErrorClass.GEO),
        (MEDIA, "500", ErrorClass.SERVER_ERROR),
        (MEDIA, "503", ErrorClass.SERVER_ERROR),
        (MEDIA, "later", ErrorClass.SERVER_ERROR),
        (MEDIA, "reset", ErrorClass.NETWORK),
        (MEDIA, "truncate", ErrorClass.NETWORK),
        (MEDIA, "empty", ErrorClass.NETWORK),
        (MEDIA, "length-above", ErrorClass.NETWORK),
        (MEDIA, "huge", ErrorClass.TOO_LONG),
        (MEDIA, "flood", ErrorClass.TOO_LONG),
        (MEDIA, "file:///etc/passwd", ErrorClass.NETWORK),
    ],
)
def test_every_fault_that_is_noticed_ends_in_its_class_after_one_request(
    replica: Replica, tmp_path: Path, path: str, fault: str, expected: ErrorClass
) -> None:
    replica.faults[path] = fault
    error = failure(replica, tmp_path, max_source_mb=1)
    assert error.error_class is expected, error
    assert sum(one.path == path for one in replica.requests) == 1 or fault == URL


@pytest.mark.parametrize(
    "fault", ["html", "soft404", "binary", "corrupt", "length-below", "changed"]
)
def test_a_fault_that_only_decoding_shows_gives_a_file_and_forget_deletes_it(
    replica: Replica, tmp_path: Path, fault: str
) -> None:
    replica.faults[MEDIA] = fault
    found = fetch(replica, tmp_path)
    assert found.path.read_bytes() != original(tmp_path)
    forget(target(tmp_path))
    assert not list(tmp_path.glob("100*"))


@pytest.mark.parametrize("fault", ["no-range", "wrong-range", "nameless", "changed-anyway"])
def test_a_fault_of_ranges_does_not_matter_to_a_first_fetch(
    replica: Replica, tmp_path: Path, fault: str
) -> None:
    replica.faults[MEDIA] = fault
    assert len(fetch(replica, tmp_path).path.read_bytes()) == len(original(tmp_path))


@pytest.mark.parametrize("path", [URL, MEDIA])
def test_a_drip_ends_with_the_time_of_an_attempt(
    replica: Replica, tmp_path: Path, path: str
) -> None:
    replica.faults[path] = "drip"
    error = failure(replica, tmp_path, max_attempt_s=0.7)
    assert (error.error_class, "not done within 0.7 s" in str(error)) == (ErrorClass.NETWORK, True)


def test_what_came_in_the_time_of_an_attempt_is_gone_on_with(
    replica: Replica, tmp_path: Path
) -> None:
    replica.faults[MEDIA] = "slow"
    failure(replica, tmp_path, max_attempt_s=2.0)
    size = (tmp_path / "100%(id)s.ogg.part").stat().st_size
    replica.faults.clear()
    assert fetch(replica, tmp_path).path.read_bytes() == original(tmp_path)
    assert ranges(replica)[-1] == (206, f"bytes={size}-")


# ------------------------------------------------------------------------------------------------
# Going on with a part


def test_a_broken_transfer_goes_on_where_it_ended(replica: Replica, tmp_path: Path) -> None:
    part = broken(replica, tmp_path)
    size = part.stat().st_size
    assert part.read_bytes() == original(tmp_path)[:size] != b""
    assert fetch(replica, tmp_path).path.read_bytes() == original(tmp_path)
    assert ranges(replica) == [(200, None), (206, f"bytes={size}-")]
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("no-range", [200]),
        ("wrong-range", [206, 200]),
        ("changed", [200]),  # the server heeds If-Range
        ("changed-anyway", [206, 200]),  # it does not, but says that the file is another
    ],
)
def test_what_is_not_the_rest_of_the_same_file_starts_afresh(
    replica: Replica, tmp_path: Path, fault: str, statuses: list[int]
) -> None:
    broken(replica, tmp_path)
    replica.faults[MEDIA] = fault
    found = fetch(replica, tmp_path)
    changed = original(tmp_path)[:-1] + bytes([original(tmp_path)[-1] ^ 1])
    expected = changed if fault.startswith("changed") else original(tmp_path)
    assert found.path.read_bytes() == expected
    assert [status for status, _ in ranges(replica)[1:]] == statuses


@pytest.mark.parametrize("fault", ["503", "429", "reset", "truncate", "404"])
def test_a_part_outlives_a_failure_that_may_pass(
    replica: Replica, tmp_path: Path, fault: str
) -> None:
    part = broken(replica, tmp_path)
    before = part.read_bytes()
    replica.faults[MEDIA] = fault
    failure(replica, tmp_path)
    after = part.read_bytes() if part.exists() else b""
    assert after == b"" if fault == "404" else after.startswith(before)
    replica.faults.clear()
    assert fetch(replica, tmp_path).path.read_bytes() == original(tmp_path)


def test_a_part_without_a_name_for_its_file_is_not_gone_on_with(
    replica: Replica, tmp_path: Path
) -> None:
    part = broken(replica, tmp_path)
    part.with_suffix(".part.json").unlink()
    part.write_bytes(b"not of this file")
    assert fetch(replica, tmp_path).path.read_bytes() == original(tmp_path)
    assert ranges(replica)[1:] == [(200, None)]


@pytest.mark.parametrize("note", ["", "null", "{}", '{"name": 1}', "\0" * 20])
def test_a_damaged_note_of_a_part_starts_afresh(
    replica: Replica, tmp_path: Path, note: str
) -> None:
    broken(replica, tmp_path).with_suffix(".part.json").write_text(note)
    assert fetch(replica, tmp_path).path.read_bytes() == original(tmp_path)
    assert ranges(replica)[1:] == [(200, None)]


@pytest.mark.parametrize("size", [0, -1, 1])
def test_a_part_of_an_impossible_size_is_not_gone_on_with(
    replica: Replica, tmp_path: Path, size: int
) -> None:
    part, whole = broken(replica, tmp_path), original(tmp_path)
    part.write_bytes(b"" if size == 0 else (whole + b"more")[: len(whole) + max(size, 0)])
    assert fetch(replica, tmp_path).path.read_bytes() == whole
    assert ranges(replica)[1:] == [(200, None)]


def test_a_part_of_another_recording_is_not_gone_on_with(replica: Replica, tmp_path: Path) -> None:
    note = broken(replica, tmp_path).with_suffix(".part.json")
    note.write_text(note.read_text().replace("-tone000001", "-tone000002"))
    assert fetch(replica, tmp_path).path.read_bytes() == original(tmp_path)
    assert ranges(replica)[1:] == [(200, None)]


def test_a_killed_fetch_goes_on(replica: Replica, tmp_path: Path) -> None:
    replica.faults[MEDIA] = "slow"
    command = f"""
from pathlib import Path
from dataset.sources import SourceConfig, fetch_source
fetch_source({replica.address + URL!r}, Path({str(target(tmp_path))!r}), SourceConfig(
    allow_loopback=True))
"""
    child = subprocess.Popen([sys.executable, "-c", command], cwd=Path(__file__).parent.parent)
    part = tmp_path / "100%(id)s.ogg.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.wait()
    size = part.stat().st_size
    replica.faults.clear()
    assert fetch(replica, tmp_path).path.read_bytes() == original(tmp_path)
    assert ranges(replica)[-1] == (206, f"bytes={size}-")


def test_a_chunk_of_a_file_that_changes_meanwhile_is_not_written_behind_the_old(
    replica: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Downloader.dl

    def in_chunks(self: Downloader, name: str, info: dict[str, Any], **more: Any) -> Any:
        return real(self, name, info | {"downloader_options": {"http_chunk_size": 2000}}, **more)

    monkeypatch.setattr(Downloader, "dl", in_chunks)
    assert fetch(replica, tmp_path).path.read_bytes() == original(tmp_path)
    assert {status for status, _ in ranges(replica)} == {206}
    forget(target(tmp_path))
    opened = Downloader.open

    def changing(self: Downloader, request: Any) -> Any:
        if len(ranges(replica)) > 12:
            replica.faults[MEDIA] = "changed-anyway"
        return opened(self, request)

    monkeypatch.setattr(Downloader, "open", changing)
    error = failure(replica, tmp_path)
    assert error.error_class is ErrorClass.NETWORK
    assert not list(tmp_path.glob("100*"))


def test_to_forget_one_stem_spares_its_neighbours(tmp_path: Path) -> None:
    for name in ("a.ogg", "a.ogg.part", "a.ogg.part.json", "a-1.ogg", "ab.ogg", "a[b].ogg"):
        (tmp_path / name).touch()
    forget(tmp_path / "a", parts=False)
    assert {path.name for path in tmp_path.iterdir()} >= {"a.ogg.part", "a.ogg.part.json"}
    forget(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1.ogg", "a[b].ogg", "ab.ogg"]


# ------------------------------------------------------------------------------------------------
# What the server and the person ask for


@pytest.mark.parametrize("path", [URL, MEDIA])
@pytest.mark.parametrize(("fault", "seconds"), [("429", 1.0), ("503", 1.0), ("later", 86_400.0)])
def test_the_wait_that_a_server_asks_for_is_told(
    replica: Replica, tmp_path: Path, path: str, fault: str, seconds: float
) -> None:
    replica.faults[path] = fault
    assert failure(replica, tmp_path).retry_after_s == seconds


def test_a_wait_may_be_a_date() -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
    asked = seconds_until(email.utils.format_datetime(soon, usegmt=True))
    assert asked == pytest.approx(90, abs=2)
    assert seconds_until("Sun, 05 Jan 2025 12:00:00 GMT") == 0
    assert [seconds_until(text) for text in (None, "", "soon", "-5", "7")] == [
        *(None, None, None, None),
        7.0,
    ]


def test_cookies_and_the_user_agent_are_sent_and_the_file_stays_as_it_is(
    replica: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(
        "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t4102444800\tkey\tsecret\n"
    )
    text = cookies.read_text()
    seen: list[tuple[str | None, str | None]] = []
    real = BaseHTTPRequestHandler.parse_request

    def parse(handler: BaseHTTPRequestHandler) -> bool:
        parsed = real(handler)
        seen.append((handler.headers["Cookie"], handler.headers["User-Agent"]))
        return parsed

    monkeypatch.setattr(BaseHTTPRequestHandler, "parse_request", parse)
    fetch(replica, tmp_path, cookies=cookies, user_agent="Test/1.0")
    hang_up()
    assert len(seen) >= 2
    assert set(seen) == {("key=secret", "Test/1.0")}
    assert cookies.read_text() == text


def test_a_proxy_is_asked_for_everything(replica: Replica, tmp_path: Path) -> None:
    error = failure(replica, tmp_path, proxy="http://127.0.0.1:9")
    assert error.error_class is ErrorClass.NETWORK
    assert replica.requests == []


def test_a_bundle_of_certificates_is_trusted(replica: Replica, tmp_path: Path) -> None:
    issuer, secret = issued(tmp_path)
    with serve(replica.corpus, tls=server_tls(secret)) as secure:
        assert failure(secure, tmp_path).error_class is ErrorClass.NETWORK
        assert fetch(secure, tmp_path, ca_bundle=issuer).path.is_file()
        hang_up()


def test_arguments_of_extractors_are_read_as_the_tool_writes_them() -> None:
    given = ("youtube:player-client=web,tv;skip=dash", "generic:impersonate=chrome")
    assert parsed_arguments(given) == {
        "youtube": {"player_client": ["web", "tv"], "skip": ["dash"]},
        "generic": {"impersonate": ["chrome"]},
    }
    made = options(settings(extractor_args=given))
    assert made["extractor_args"] == parsed_arguments(given)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"attempts": 0}, "fetch.attempts 0 is not above 0"),
        ({"max_attempt_s": 0.0}, "fetch.max_attempt_s 0.0 is not above 0"),
        ({"backoff_s": -1.0}, "fetch.backoff_s -1.0 is below 0"),
        ({"proxy": "127.0.0.1:8080"}, "fetch.proxy '127.0.0.1:8080' is not scheme://host:port"),
        ({"proxy": "http://x:port"}, "fetch.proxy 'http://x:port' is not scheme://host:port"),
        ({"proxy": "file:///x"}, "fetch.proxy 'file:///x' is not .* socks5h"),
        ({"user_agent": "a\nb"}, "fetch.user_agent .* is not one line"),
        ({"user_agent": ""}, "fetch.user_agent '' is not one line"),
        ({"cookies": Path("nowhere.txt")}, "fetch.cookies nowhere.txt cannot be read"),
        ({"ca_bundle": Path("nowhere.pem")}, "fetch.ca_bundle nowhere.pem is not a PEM file"),
        ({"extractor_args": ("web",)}, "fetch.extractor_args 'web' is not extractor:name=value"),
        ({"extractor_args": ("youtube:web",)}, "'youtube:web' is not extractor:name=value"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_line(
    given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        SourceConfig(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", ['[{"name": "x"}]', "a\tb\tsecret"])
def test_a_file_that_holds_no_cookies_is_refused_without_telling_its_secrets(
    tmp_path: Path, body: str
) -> None:
    path = tmp_path / "cookies.txt"
    path.write_text(f"# comment\n\n{body}\n")
    with pytest.raises(UserError, match=r"line 3 has not 7 fields.*Netscape") as caught:
        SourceConfig(cookies=path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("told", [{"is_live": True}, {"live_status": "is_upcoming"}])
def test_a_live_event_is_no_recording_yet(told: dict[str, Any]) -> None:
    with pytest.raises(SourceError) as caught:
        options(CONFIG)["match_filter"](told)
    assert caught.value.error_class.transient


def test_a_recording_that_says_it_is_too_long_is_not_asked_for() -> None:
    with pytest.raises(SourceError) as caught:
        options(CONFIG)["match_filter"]({"duration": 1e6})
    assert caught.value.error_class is ErrorClass.TOO_LONG


def test_nobody_listening_is_a_network_failure(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        fetch_source("http://127.0.0.1:9/x.ogg", target(tmp_path), CONFIG)
    assert caught.value.error_class is ErrorClass.NETWORK


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("file:///etc/passwd", "only http"),
        ("ftp://example.org/x", "only http"),
        ("-o/tmp/x", "only http"),
        ("", "only http"),
        ("http://127.0.0.1:8000/x", "not public"),
        ("http://localhost/x", "not public"),
        ("http://[::1]/x", "not public"),
        ("http://10.1.2.3/x", "not public"),
        ("http://169.254.169.254/latest", "not public"),
    ],
)
def test_addresses_that_are_no_business_of_ours_are_refused(
    url: str, word: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=word) as caught:
        fetch_source(url, target(tmp_path), SourceConfig())
    expected = ErrorClass.NOT_MEDIA if word == "only http" else ErrorClass.REFUSED
    assert caught.value.error_class is expected
    assert not list(tmp_path.iterdir())


def test_loopback_is_allowed_on_demand_but_files_never() -> None:
    check_address("http://127.0.0.1:8000/x", allow_loopback=True)
    with pytest.raises(SourceError, match="only http"):
        check_address("file:///etc/passwd", allow_loopback=True)


def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer:
        url = "http://127.0.0.1/secret"
        closed = False

        def close(self) -> None:
            self.closed = True

    answer = Answer()
    monkeypatch.setattr(yt_dlp.YoutubeDL, "urlopen", lambda self, request: answer)
    with (
        Downloader({"quiet": True}, allow_loopback=False) as downloader,
        pytest.raises(SourceError, match="not public"),
    ):
        downloader.urlopen("http://1.1.1.1/redirects")
    assert answer.closed
