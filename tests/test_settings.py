"""How the crawler reads what a site asks of it, and what a failure is called."""

import gzip
import time
import zlib
from email.utils import formatdate
from pathlib import Path

import pytest
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadTimeoutError,
    IgnoreRequest,
)
from scrapy.http import Response

from crawler.connection import Refused, read_bundle, unpacked
from crawler.errors import UserError
from crawler.settings import JITTER, failure_class, retry_after_s, spaced


def answer(status: int, retry_after: str) -> Response:
    return Response("http://x/", status=status, headers={"Retry-After": retry_after})


@pytest.mark.parametrize(
    ("status", "text", "wait_s"),
    [
        (429, "120", 120.0),
        (503, " 7 ", 7.0),
        (503, "999999999999999", 999999999999.0),
        (200, "120", 0.0),
        (500, "120", 0.0),
        (503, "soon", 0.0),
        (503, "-5", 0.0),
        (503, "", 0.0),
        (503, "Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
    ],
)
def test_a_pause_is_read_in_seconds(status: int, text: str, wait_s: float) -> None:
    assert retry_after_s(answer(status, text)) == wait_s


def test_a_pause_is_read_as_a_date() -> None:
    asked = retry_after_s(answer(503, formatdate(time.time() + 100, usegmt=True)))
    assert 95 < asked < 101


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (Refused("robots", "no"), "robots"),
        (IgnoreRequest("max redirections reached"), "redirect"),
        (DownloadCancelledError("too large"), "too_large"),
        (DownloadTimeoutError("slow"), "timeout"),
        (CannotResolveHostError("x"), "network"),
        (OSError("reset"), "network"),
    ],
)
def test_every_failure_has_a_class(error: Exception, error_class: str) -> None:
    assert failure_class(error)[0] == error_class


def test_jitter_never_goes_below_the_delay() -> None:
    assert spaced(5.0) * (1 - JITTER) == pytest.approx(5.0)
    assert spaced(5.0) * (1 + JITTER) == pytest.approx(7.5)


def test_a_bundle_without_certificates_is_told(tmp_path: Path) -> None:
    path = tmp_path / "roots.pem"
    with pytest.raises(UserError, match="roots.pem cannot be read"):
        read_bundle(path)
    path.write_text("no certificate\n")
    with pytest.raises(UserError, match="holds no certificate"):
        read_bundle(path)
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(UserError, match="cannot be read"):
        read_bundle(path)


WHOLE = b"<p>the same again</p>" * 500
RAW = zlib.compressobj(wbits=-15)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(WHOLE, mtime=0), "gzip"),
        (zlib.compress(WHOLE), "deflate"),
        (RAW.compress(WHOLE) + RAW.flush(), "deflate"),
    ],
    ids=["gzip", "zlib", "raw"],
)
def test_a_packed_body_is_taken_whole_or_not_at_all(body: bytes, encoding: str) -> None:
    assert unpacked(body, encoding, len(WHOLE)) == WHOLE
    for broken in (body[:-20], b"x" + body, WHOLE):
        with pytest.raises(Refused, match=f"the {encoding} body") as refused:
            unpacked(broken, encoding, len(WHOLE))
        assert refused.value.error_class == "network"
    assert unpacked(b"", encoding, 1) == b""
    with pytest.raises(Refused, match="max_page_bytes") as refused:
        unpacked(body, encoding, len(WHOLE) - 1)
    assert refused.value.error_class == "too_large"
