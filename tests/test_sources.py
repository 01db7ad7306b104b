"""Fetching with yt-dlp from a loopback server: what comes, what fails, and how often it asks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import yt_dlp

from crawler.errors import UserError
from crawler.items import write_works
from dataset.schema import ErrorClass
from dataset.sources import (
    Chapter,
    Downloader,
    SourceConfig,
    SourceError,
    check_address,
    class_of,
    fetch_source,
    hang_up,
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


class Naps(list[float]):
    """Sleeps that are only written down."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def target(folder: Path) -> Path:
    return folder / "100%(id)s"


def failure(replica: Replica, folder: Path, naps: Naps, **config: Any) -> SourceError:
    settings = SourceConfig(**{**CONFIG.__dict__, **config})
    with pytest.raises(SourceError) as caught:
        fetch_source(f"{replica.address}/watch?v=-tone000001", target(folder), settings, sleep=naps)
    assert not list(folder.glob("100*")), "a failed fetch leaves nothing"
    return caught.value


def test_a_recording_comes_whole_with_what_its_page_says(replica: Replica, tmp_path: Path) -> None:
    found = fetch_source(f"{replica.address}/watch?v=-tone000001", target(tmp_path), CONFIG)
    assert found.path == tmp_path / "100%(id)s.ogg"
    assert found.path.read_bytes() == (tmp_path / "corpus" / "tone.ogg").read_bytes()
    assert (found.title, found.description) == ("A tone", "Two")
    assert found.chapters == (Chapter("I. Allegro", 0.0, 1.0), Chapter("II. Adagio", 1.0, 2.0))
    assert found.tools["yt-dlp"]
    assert replica.served("/media/") == 1


@pytest.mark.parametrize(
    ("path", "fault", "expected", "requests", "naps"),
    [
        ("/watch", "404", ErrorClass.GONE, 1, []),
        ("/watch", "410", ErrorClass.GONE, 1, []),
        ("/watch", "503", ErrorClass.SERVER_ERROR, 3, [0.5, 1.0]),
        ("/watch", "reset", ErrorClass.NETWORK, 3, [0.5, 1.0]),
        ("/watch", "429", ErrorClass.RATE_LIMITED, 3, [1.0, 1.0]),  # Retry-After: 1
        ("/watch", "html", ErrorClass.NOT_MEDIA, 1, []),
        ("/media", "404", ErrorClass.GONE, 1, []),
    ],
)
def test_a_failure_has_its_class_and_is_tried_again_if_that_may_help(
    replica: Replica,
    tmp_path: Path,
    path: str,
    fault: str,
    expected: ErrorClass,
    requests: int,
    naps: list[float],
) -> None:
    faulty = "/watch?v=-tone000001" if path == "/watch" else "/media/-tone000001.ogg"
    replica.faults[faulty] = fault
    slept = Naps()
    error = failure(replica, tmp_path, slept)
    assert error.error_class is expected, error
    assert (replica.served(path), list(slept)) == (requests, naps)


@pytest.mark.parametrize("fault", ["truncate", "empty"])
def test_a_body_that_does_not_come_is_a_transient_failure(
    replica: Replica, tmp_path: Path, fault: str
) -> None:
    replica.faults["/media/-tone000001.ogg"] = fault
    assert failure(replica, tmp_path, Naps(), attempts=2).error_class.transient


def test_a_server_that_recovers_is_waited_for(replica: Replica, tmp_path: Path) -> None:
    replica.faults["/watch?v=-tone000001"] = "500"
    found = fetch_source(
        f"{replica.address}/watch?v=-tone000001",
        target(tmp_path),
        CONFIG,
        sleep=lambda seconds: replica.faults.clear(),
    )
    assert found.path.is_file()


def test_a_long_wait_is_left_to_the_next_run(replica: Replica, tmp_path: Path) -> None:
    replica.faults["/watch?v=-tone000001"] = "429"
    slept = Naps()
    error = failure(replica, tmp_path, slept, max_wait_s=0.5)
    assert (error.error_class, error.retry_after_s) == (ErrorClass.RATE_LIMITED, 1.0)
    assert (replica.served("/"), list(slept)) == (1, [])


def test_html_in_place_of_media_is_not_noticed_here(replica: Replica, tmp_path: Path) -> None:
    """yt-dlp reports success; it is for the caller to decode."""
    replica.faults["/media/-tone000001.ogg"] = "html"
    found = fetch_source(f"{replica.address}/watch?v=-tone000001", target(tmp_path), CONFIG)
    assert b"<html" in found.path.read_bytes()


def test_nobody_listening_is_a_network_failure(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        fetch_source("http://127.0.0.1:9/x.ogg", target(tmp_path), CONFIG, sleep=Naps())
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
    slept = Naps()
    with pytest.raises(SourceError, match=word) as caught:
        fetch_source(url, target(tmp_path), SourceConfig(), sleep=slept)
    expected = ErrorClass.NOT_MEDIA if word == "only http" else ErrorClass.REFUSED
    assert caught.value.error_class is expected
    assert slept == []


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


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("[youtube] x: Private video. Sign in if you've been granted access", ErrorClass.PRIVATE),
        ("[youtube] x: Sign in to confirm you’re not a bot.", ErrorClass.RATE_LIMITED),
        ("[youtube] x: Sign in to confirm your age", ErrorClass.LOGIN),
        ("[youtube] x: Video unavailable", ErrorClass.GONE),
        ("[youtube] x: This video has been removed by the uploader", ErrorClass.GONE),
        ("The uploader has not made this video available in your country", ErrorClass.GEO),
        ("unable to download video data: HTTP Error 403: Forbidden", ErrorClass.EXTRACTOR),
        ("Unable to download webpage: HTTP Error 502: Bad Gateway", ErrorClass.SERVER_ERROR),
        ("HTTP Error 429: Too Many Requests", ErrorClass.RATE_LIMITED),
        ("Unable to download webpage: The read operation timed out", ErrorClass.NETWORK),
        ("[youtube] x: Requested format is not available.", ErrorClass.NO_AUDIO),
        ("unable to write data: [Errno 28] No space left on device", ErrorClass.DISK_FULL),
        ("[generic] Unsupported URL: http://x/", ErrorClass.NOT_MEDIA),
        ("[youtube] x: nsig extraction failed", ErrorClass.EXTRACTOR),
    ],
)
def test_what_the_tool_says_has_a_class(message: str, expected: ErrorClass) -> None:
    assert class_of("ERROR: " + message) is expected


def test_settings_that_fetch_nothing_are_refused() -> None:
    with pytest.raises(UserError, match=r"fetch.attempts 0 is not above 0"):
        SourceConfig(attempts=0)
