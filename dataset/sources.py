"""The only file that knows yt-dlp: one fetch of one recording, with its class of failure."""

import ipaddress
import logging
import re
import shutil
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yt_dlp
import yt_dlp.version
from yt_dlp.networking.exceptions import HTTPError
from yt_dlp.utils import DownloadError, YoutubeDLError

from crawler.errors import UserError
from crawler.files import sha256_file
from dataset.schema import ErrorClass

logger = logging.getLogger(__name__)

CLASSES = (  # the first pattern that a message fits says its class
    (r"no space left", ErrorClass.DISK_FULL),
    (r"http error 429|too many requests|rate.?limit|not a bot", ErrorClass.RATE_LIMITED),
    (r"http error 5\d\d", ErrorClass.SERVER_ERROR),
    (r"private video|video is private", ErrorClass.PRIVATE),
    (r"in your (country|location)|geo.?restrict|http error 451", ErrorClass.GEO),
    (r"sign in|log ?in|members.only|confirm your age|http error 401", ErrorClass.LOGIN),
    (r"http error (404|410)|unavailable|removed|no longer|terminated|not exist", ErrorClass.GONE),
    (r"larger than max-filesize|longer than", ErrorClass.TOO_LONG),
    (r"requested format is not available|no video formats|no audio", ErrorClass.NO_AUDIO),
    (r"refused address .* is not public", ErrorClass.REFUSED),
    (r"unsupported url|refused address|not a valid url", ErrorClass.NOT_MEDIA),
    (
        r"timed? ?out|connection|reset|getaddrinfo|name or service|temporary failure|ssl|tls|"
        r"certificate|incomplete|bytes read|did not get any data|unreachable|file is empty|"
        r"http error 416|network",
        ErrorClass.NETWORK,
    ),
)


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """How recordings are fetched."""

    timeout_s: float = 20.0  # without a byte from the server
    attempts: int = 3  # of one run, when the server fails or is not reached
    backoff_s: float = 1.0  # before the second attempt, doubled before each further one
    max_wait_s: float = 60.0  # a longer Retry-After ends the attempts of this run
    max_source_s: float = 10_800.0  # longer recordings are too_long
    max_source_mb: int = 2_000  # larger files are too_long
    allow_loopback: bool = False  # fetch from this machine and private networks too

    def __post_init__(self) -> None:
        for name in ("timeout_s", "attempts", "max_source_s", "max_source_mb"):
            if getattr(self, name) <= 0:
                raise UserError(f"fetch.{name} {getattr(self, name)} is not above 0")


@dataclass(frozen=True, slots=True)
class Chapter:
    """A titled stretch of a recording."""

    title: str
    start_s: float
    end_s: float | None  # None = to the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A fetched recording; nothing says yet that the file is media."""

    path: Path
    sha256: str
    duration_s: float | None  # as the site says
    title: str
    chapters: tuple[Chapter, ...]
    description: str
    format: str
    licence: str | None
    tools: Mapping[str, str]


class SourceError(Exception):
    """A fetch that failed, with its class."""

    def __init__(
        self, error_class: ErrorClass, message: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.retry_after_s = retry_after_s


class Downloader(yt_dlp.YoutubeDL):  # type: ignore[misc]  # yt-dlp is untyped
    """yt-dlp that speaks HTTP with public hosts only, unless told otherwise."""

    def __init__(self, options: dict[str, Any], allow_loopback: bool) -> None:
        self.allow_loopback = allow_loopback
        super().__init__(options)

    def urlopen(self, request: Any) -> Any:
        """Open an address; the one that redirects lead to is checked too."""
        check_address(request if isinstance(request, str) else request.url, self.allow_loopback)
        response = super().urlopen(request)
        try:
            check_address(response.url, self.allow_loopback)
        except SourceError:
            response.close()
            raise
        return response


class Quiet:
    """yt-dlp's messages, as debug lines of our log."""

    def debug(self, message: str) -> None:
        logger.debug("%s", message)

    info = warning = error = debug


threads = threading.local()  # one downloader a thread: making one costs 80 ms
downloaders: weakref.WeakSet[Downloader] = weakref.WeakSet()  # of all threads


def fetch_source(
    url: str,
    target_stem: Path,
    config: SourceConfig,
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> Source:
    """Fetch the best audio of `url` whole into `target_stem` + its extension.

    Raises SourceError. A server that fails or is not reached is asked again, `config.attempts`
    times in all; so is one that asks to wait no longer than `config.max_wait_s`.
    """
    for attempt in range(1, config.attempts + 1):
        try:
            check_address(url, config.allow_loopback)
            return download(url, target_stem, config)
        except SourceError as error:
            remove(target_stem)
            wait_s = pause(error, attempt, config)
            if wait_s is None:
                raise
            logger.info("%s: %s; again in %.1f s", url, error, wait_s)
            sleep(wait_s)
    raise AssertionError("the last attempt returns or raises")


def local_path(url: str) -> Path:
    """The file of a file: address."""
    return Path(unquote(urlsplit(url).path))


def file_stamp(url: str) -> list[int] | None:
    """What changes when the file of a file: address does; None when it is away."""
    try:
        found = local_path(url).stat()
    except OSError:
        return None
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def copy_source(url: str, target_stem: Path, config: SourceConfig) -> Source:
    """Copy the file of a file: address as `fetch_source` would fetch it.

    For files that a person named; an address that a page gives must never come here. Raises
    SourceError.
    """
    path = local_path(url)
    if not path.is_file():
        raise SourceError(ErrorClass.NETWORK, f"no file {path}")  # its disk may be away for a while
    if path.stat().st_size > config.max_source_mb * 1_000_000:
        raise SourceError(ErrorClass.TOO_LONG, f"{path} is larger than {config.max_source_mb} MB")
    target = target_stem.with_name(target_stem.name + path.suffix)
    try:
        shutil.copyfile(path, target)
    except OSError as error:
        raise SourceError(class_of(str(error)), str(error)) from error
    return Source(
        path=target,
        sha256=sha256_file(target),
        duration_s=None,
        title=path.stem,
        chapters=(),
        description="",
        format=path.suffix.removeprefix("."),
        licence=None,
        tools={},
    )


def pause(error: SourceError, attempt: int, config: SourceConfig) -> float | None:
    """Seconds to wait before the next attempt; None when there is to be none."""
    if attempt >= config.attempts:
        return None
    backoff_s = config.backoff_s * 2 ** (attempt - 1)
    if error.error_class is ErrorClass.RATE_LIMITED:
        wait_s = error.retry_after_s
        return wait_s if wait_s is not None and wait_s <= config.max_wait_s else None
    again = error.error_class in (ErrorClass.SERVER_ERROR, ErrorClass.NETWORK)
    return backoff_s if again else None


def download(url: str, target_stem: Path, config: SourceConfig) -> Source:
    """One attempt of `fetch_source`."""
    downloader = thread_downloader(config)
    downloader.params["outtmpl"]["default"] = str(target_stem).replace("%", "%%") + ".%(ext)s"
    try:
        info = downloader.extract_info(url)
    except YoutubeDLError as error:
        raise classified(error) from error
    except OSError as error:
        raise SourceError(class_of(str(error)), str(error)) from error
    info = (info.get("entries") or [info])[0] if info else {}
    files = info.get("requested_downloads") or []
    if not files:
        limits = f"{config.max_source_s:g} s or {config.max_source_mb} MB"
        raise SourceError(ErrorClass.TOO_LONG, f"{url} is longer than {limits}, or empty")
    return source_of(info, Path(files[0]["filepath"]))


def source_of(info: Mapping[str, Any], path: Path) -> Source:
    """What yt-dlp found out."""
    return Source(
        path=path,
        sha256=sha256_file(path),
        duration_s=info.get("duration"),
        title=info.get("title") or "",
        chapters=tuple(
            Chapter(one.get("title") or "", float(one.get("start_time") or 0), one.get("end_time"))
            for one in info.get("chapters") or ()
        ),
        description=info.get("description") or "",
        format=str(info.get("format_id") or info.get("ext") or ""),
        licence=info.get("license"),
        tools={"yt-dlp": yt_dlp.version.__version__, "extractor": info.get("extractor") or ""},
    )


def thread_downloader(config: SourceConfig) -> Downloader:
    """This thread's downloader for these settings."""
    if getattr(threads, "config", None) != config:
        threads.config = config
        threads.downloader = Downloader(options(config), config.allow_loopback)
        downloaders.add(threads.downloader)
    downloader: Downloader = threads.downloader
    return downloader


def warm_up(config: SourceConfig) -> None:
    """Have yt-dlp load and compile what it does for its first address: 1,800 extractors."""
    downloader, url = thread_downloader(config), "http://localhost/"
    for extractor in list(downloader._ies.values()):
        extractor.suitable(url)
        list(extractor.extract_from_webpage(downloader, url, ""))


def hang_up() -> None:
    """Close the connections that downloaders keep open for their next request."""
    for downloader in list(downloaders):
        downloader.close()


def options(config: SourceConfig) -> dict[str, Any]:
    """yt-dlp's settings: whole audio, no leftovers taken up, no files of its own."""

    def too_long(info: Mapping[str, Any], *, incomplete: bool = False) -> str | None:
        length_s = info.get("duration") or 0
        return f"longer than {config.max_source_s} s" if length_s > config.max_source_s else None

    return {
        "format": "bestaudio/best",
        "outtmpl": {"default": ""},
        "logger": Quiet(),
        "quiet": True,
        "noprogress": True,
        "noplaylist": True,
        "playlist_items": "1",
        "cachedir": False,
        "continuedl": False,  # a corrupt leftover would be taken up silently
        "overwrites": True,
        "updatetime": False,
        "fixup": "never",  # needs a command that need not be there
        "socket_timeout": config.timeout_s,
        "retries": config.attempts - 1,
        "extractor_retries": 0,
        "max_filesize": config.max_source_mb * 1_000_000,
        "match_filter": too_long,
    }


def classified(error: Exception) -> SourceError:
    """A failure of yt-dlp with its class and how long the server asks to wait."""
    inner: BaseException | None = error
    if isinstance(error, DownloadError) and error.exc_info:
        inner = error.exc_info[1]
    while inner is not None and not isinstance(inner, HTTPError | SourceError):
        inner = getattr(inner, "cause", None) or inner.__cause__
    if isinstance(inner, SourceError):
        return inner
    message = re.sub(r"\x1b\[[\d;]*m", "", str(error)).removeprefix("ERROR: ")
    message = " ".join(message.split())
    retry_after = inner.response.headers.get("Retry-After") if inner is not None else None
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return SourceError(class_of(message), message, seconds)


def class_of(message: str) -> ErrorClass:
    """The class of a message; `extractor` when no pattern fits."""
    low = message.lower()
    return next((kind for words, kind in CLASSES if re.search(words, low)), ErrorClass.EXTRACTOR)


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


def remove(target_stem: Path) -> None:
    """Delete what a failed fetch left."""
    for path in target_stem.parent.glob(target_stem.name + "*"):
        path.unlink(missing_ok=True)
