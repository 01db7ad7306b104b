"""The downloader: yt-dlp with public hosts only, a time limit, and transfers that go on safely."""

import ipaddress
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yt_dlp
from yt_dlp.networking.exceptions import HTTPError

from dataset.access import trusting
from dataset.failures import SourceError
from dataset.pairs import ErrorClass
from dataset.partial import (
    PART,
    Whole,
    begin,
    content_range,
    continues,
    first_byte,
    forget,
    known_whole,
    whole_of,
)

logger = logging.getLogger(__name__)


class Downloader(yt_dlp.YoutubeDL):  # type: ignore[misc]  # yt-dlp is untyped
    """yt-dlp that speaks HTTP with public hosts only, and goes on only with what is the same."""

    def __init__(
        self, options: dict[str, Any], allow_loopback: bool, ca_bundle: Path | None = None
    ) -> None:
        self.allow_loopback = allow_loopback
        self.ca_bundle = ca_bundle
        self.stem = Path()  # of the target
        self.part: Path | None = None  # of the plain HTTP transfer that is under way
        self.whole: Whole | None = None  # the file that it is to become
        self.name = ""  # of that file, whatever its address is today
        self.answered = False  # the transfer has had its first answer
        self.answer: Any = None  # the latest
        self.retry_after: str | None = None  # of the latest refusal
        self.expired = False
        super().__init__(options)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Break off what is not done in time: SourceError, network."""
        self.expired = False
        timer = threading.Timer(seconds, self.break_off)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if self.expired:
                raise SourceError(ErrorClass.NETWORK, f"not done within {seconds:g} s")

    def break_off(self) -> None:
        """End the read that another thread waits for."""
        self.expired = True
        with suppress(AttributeError, OSError, RuntimeError, ValueError):  # if there is one
            self.answer.fp.shutdown()

    def build_request_director(self, handlers: Any, preferences: Any = None) -> Any:
        """What sends requests; with `ca_bundle` it trusts its certificates too."""
        director = super().build_request_director(handlers, preferences)
        if self.ca_bundle is not None:
            for handler in director.handlers.values():
                handler._make_sslcontext = trusting(handler._make_sslcontext, self.ca_bundle)
        return director

    def dl(self, name: str, info: dict[str, Any], *args: Any, **more: Any) -> Any:
        """Download a format; leftovers that it cannot go on with are deleted."""
        plain = info.get("protocol") in ("http", "https")
        part = Path(name + PART)
        self.name = " ".join(str(info.get(key)) for key in ("extractor", "id", "format_id"))
        self.whole = known_whole(part, self.name) if plain else None
        if self.whole is None:
            forget(self.stem)
        self.part, self.answered = (part if plain else None), False
        try:
            return super().dl(name, info, *args, **more)
        finally:
            self.part = None

    @staticmethod
    def _outtmpl_expandpath(outtmpl: str) -> str:
        """The name of the target as it is: a folder may be called $HOME or ~."""
        return outtmpl

    def urlopen(self, request: Any) -> Any:
        """Open an address; the one that redirects lead to is checked too."""
        return self.open(request) if self.part is None else self.open_media(request, self.part)

    def open(self, request: Any) -> Any:
        """Open an address as it is asked for."""
        check_address(request if isinstance(request, str) else request.url, self.allow_loopback)
        try:
            self.answer = response = super().urlopen(request)
        except HTTPError as error:
            self.retry_after = error.response.headers.get("Retry-After")
            raise
        try:
            check_address(response.url, self.allow_loopback)
            if self.expired:
                raise SourceError(ErrorClass.NETWORK, "broken off")
        except SourceError:
            response.close()
            raise
        return response

    def open_media(self, request: Any, part: Path) -> Any:
        """Open the body of a recording, from its start or from where its part ends."""
        start = first_byte(request.headers.get("Range"))
        if start and self.whole and self.whole.condition:
            request.headers["If-Range"] = self.whole.condition
        try:
            response = self.open(request)
        except HTTPError as error:
            if error.status != 416 or not start:
                raise
            response = error.response
        status, headers = response.status, response.headers
        if start and self.whole and continues(self.whole, start, status, headers):
            self.answered = True
            return response
        if status == 416 or (status == 206 and (content_range(headers) or (None,))[0] != 0):
            response.close()
            begin(part, None)
            if self.answered or not start:
                raise SourceError(ErrorClass.NETWORK, f"wrong answer to a Range from {start}")
            afresh = request.copy()
            for header in ("Range", "If-Range"):
                afresh.headers.pop(header, None)
            return self.open_media(afresh, part)
        if self.answered:  # yt-dlp would write the whole behind what it has
            response.close()
            begin(part, None)
            raise SourceError(ErrorClass.NETWORK, "the file changed in the middle of a transfer")
        self.answered = True
        self.whole = whole_of(self.name, status, headers)
        begin(part, self.whole)
        return response


class Quiet:
    """yt-dlp's messages, as debug lines of our log."""

    def debug(self, message: str) -> None:
        logger.debug("%s", message)

    info = warning = error = debug


def check_address(url: str, allow_loopback: bool) -> None:
    """SourceError unless `url` is http(s) and its host public (or `allow_loopback`)."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SourceError(ErrorClass.NOT_MEDIA, f"refused address {url!r}: only http and https")
    if allow_loopback:
        return
    try:
        found = socket.getaddrinfo(parts.hostname, None)
    except OSError:
        return  # yt-dlp will say that the host is not found
    for entry in found:
        if not ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_global:
            raise SourceError(
                ErrorClass.REFUSED,
                f"refused address {url!r}: {parts.hostname} is not public (allow_loopback)",
            )
