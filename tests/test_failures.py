"""yt-dlp's messages, as its extractors and downloaders word them, and their classes."""

import csv
import os
from pathlib import Path

import pytest
import yt_dlp
from yt_dlp.networking.exceptions import IncompleteRead, TransportError
from yt_dlp.utils import (
    ContentTooShortError,
    ExtractorError,
    GeoRestrictedError,
    UnsupportedError,
    bug_reports_message,
)

from dataset.failures import class_of
from dataset.pairs import ErrorClass

with (Path(__file__).parent / "fixtures" / "messages.csv").open(encoding="utf-8") as table:
    MESSAGES = [(row["message"], ErrorClass(row["class"])) for row in csv.DictReader(table)]


@pytest.mark.parametrize(("message", "expected"), MESSAGES)
def test_every_message_has_its_class(message: str, expected: ErrorClass) -> None:
    assert class_of(message) is expected
    assert class_of("ERROR: " + message) is expected
    assert class_of(message + bug_reports_message()) is expected
    head, brace, cause = message.partition(" (caused by")
    assert class_of(head + bug_reports_message() + brace + cause) is expected


def test_the_table_of_messages_is_large_and_covers_what_a_fetch_may_end_in() -> None:
    assert len(MESSAGES) >= 60
    kinds = {expected for _, expected in MESSAGES}
    assert set(ErrorClass) - kinds == {ErrorClass.BAD_BOUNDS, ErrorClass.TOO_LONG}


@pytest.mark.parametrize("word", ["private", "tls", "ssl-reset", "drm", "429", "deleted"])
def test_an_id_or_an_address_says_nothing(word: str) -> None:
    assert class_of(f"[youtube] {word}: Video unavailable") is ErrorClass.GONE
    assert class_of(f"[generic] Unsupported URL: http://x.org/{word}") is ErrorClass.NOT_MEDIA


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnsupportedError("https://example.org/removed"), ErrorClass.NOT_MEDIA),
        (GeoRestrictedError("Not here: geo-restricted", countries=["DE"]), ErrorClass.GEO),
        (ContentTooShortError(10, 20), ErrorClass.NETWORK),
        (IncompleteRead(10, 20), ErrorClass.NETWORK),
        (TransportError(cause=TimeoutError("The read operation timed out")), ErrorClass.NETWORK),
        (ExtractorError("Something new", video_id="gone"), ErrorClass.EXTRACTOR),
        (OSError(28, os.strerror(28)), ErrorClass.DISK_FULL),
        (OSError(122, os.strerror(122)), ErrorClass.DISK_FULL),
    ],
)
def test_the_tools_own_errors_have_their_class(error: Exception, expected: ErrorClass) -> None:
    assert class_of(str(error)) is expected


@pytest.mark.parametrize(
    ("ask", "expected"),
    [("raise_login_required", ErrorClass.LOGIN), ("raise_geo_restricted", ErrorClass.GEO)],
)
def test_the_extractors_own_refusals_have_their_class(ask: str, expected: ErrorClass) -> None:
    extractor = yt_dlp.extractor.common.InfoExtractor(yt_dlp.YoutubeDL({"quiet": True}))
    with pytest.raises(ExtractorError) as caught:
        getattr(extractor, ask)()
    assert class_of(str(caught.value)) is expected
