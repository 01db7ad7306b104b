"""One fetch of one recording with yt-dlp: what comes, or its class of failure."""

import io
import re
import shutil
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yt_dlp.version
from yt_dlp.utils import DownloadError, YoutubeDLError

from crawler.errors import UserError
from crawler.files import sha256_file
from dataset.access import check_bundle, check_proxy, parsed_arguments, read_cookies
from dataset.downloader import Downloader, Quiet, check_address
from dataset.failures import SourceError as SourceError
from dataset.failures import class_of
from dataset.pairs import ErrorClass
from dataset.partial import KNOWN
from dataset.partial import forget as forget

KEPT = (ErrorClass.NETWORK, ErrorClass.SERVER_ERROR, ErrorClass.RATE_LIMITED)  # with their part


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """How recordings are fetched."""

    timeout_s: float = 20.0  # without a byte from the server
    attempts: int = 3  # of one run, when the server fails or is not reached
    backoff_s: float = 1.0  # before the second attempt, doubled before each further one
    max_wait_s: float = 600.0  # a longer Retry-After ends the attempts of this run
    max_source_s: float = 10_800.0  # longer recordings are too_long
    max_source_mb: int = 2_000  # larger files are too_long
    max_attempt_s: float = 7_200.0  # a longer attempt is broken off; the next one goes on
    allow_loopback: bool = False  # fetch from this machine and private networks too
    cookies: Path | None = None  # a Netscape cookies file, read and never written
    proxy: str | None = None  # scheme://[user:password@]host:port; None = the environment's
    user_agent: str | None = None  # None = a browser's, as yt-dlp chooses
    ca_bundle: Path | None = None  # PEM, trusted beside the usual certificates
    extractor_args: tuple[str, ...] = ()  # as yt-dlp has them: "youtube:player_client=web,tv"

    def __post_init__(self) -> None:
        for name in ("timeout_s", "attempts", "max_source_s", "max_source_mb", "max_attempt_s"):
            if getattr(self, name) <= 0:
                raise UserError(f"fetch.{name} {getattr(self, name)} is not above 0")
        for name in ("backoff_s", "max_wait_s"):
            if getattr(self, name) < 0:
                raise UserError(f"fetch.{name} {getattr(self, name)} is below 0")
        if self.user_agent is not None and not re.fullmatch(r"[ -~]+", self.user_agent):
            raise UserError(f"fetch.user_agent {self.user_agent!r} is not one line of plain text")
        if self.cookies is not None:
            read_cookies(self.cookies)
        if self.proxy is not None:
            check_proxy(self.proxy)
        if self.ca_bundle is not None:
            check_bundle(self.ca_bundle)
        parsed_arguments(self.extractor_args)


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
    availability: str | None = None  # public, unlisted, ...
    video_id: str | None = None  # as the site has it
    uploader: str | None = None
    upload_date: str | None = None  # YYYYMMDD
    complete: bool = False  # it has as many bytes as were announced
    tools: Mapping[str, str]


threads = threading.local()  # one downloader a thread: making one costs 80 ms
downloaders: weakref.WeakSet[Downloader] = weakref.WeakSet()  # of all threads


def fetch_source(url: str, target_stem: Path, config: SourceConfig) -> Source:
    """Fetch the best audio of `url` whole into `target_stem` + its extension, in one attempt.

    A transfer that breaks off leaves its part; the next attempt goes on with it if the server
    still has the same file. Nothing says that the bytes are media, or those of one file: whoever
    finds them otherwise calls `forget`. Raises SourceError; only one of KEPT leaves a part.
    """
    try:
        check_address(url, config.allow_loopback)
        source = download(url, target_stem, config)
    except SourceError as error:
        forget(target_stem, parts=error.error_class not in KEPT)
        raise
    (source.path.parent / (source.path.name + KNOWN)).unlink(missing_ok=True)
    return source


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


def download(url: str, target_stem: Path, config: SourceConfig) -> Source:
    """What `fetch_source` does but for the leftovers of a failure."""
    downloader = thread_downloader(config)
    downloader.stem, downloader.whole, downloader.retry_after = target_stem, None, None
    downloader.params["outtmpl"]["default"] = str(target_stem).replace("%", "%%") + ".%(ext)s"
    try:
        with downloader.within(config.max_attempt_s):
            info = downloader.extract_info(url)
    except YoutubeDLError as error:
        raise classified(error, downloader.retry_after) from error
    except OSError as error:
        raise SourceError(class_of(str(error)), str(error)) from error
    info = (info.get("entries") or [info])[0] if info else {}
    files = [one for one in info.get("requested_downloads") or () if "filepath" in one]
    if not files:
        limits = f"{config.max_source_s:g} s or {config.max_source_mb} MB"
        raise SourceError(ErrorClass.TOO_LONG, f"{url} is longer than {limits}, or empty")
    path = Path(files[0]["filepath"])
    num_bytes, whole = path.stat().st_size, downloader.whole
    if whole is not None and num_bytes != whole.num_bytes:
        raise SourceError(
            ErrorClass.NETWORK, f"{url} ended after {num_bytes} of {whole.num_bytes} bytes"
        )
    return source_of(info, path, complete=whole is not None)


def source_of(info: Mapping[str, Any], path: Path, *, complete: bool) -> Source:
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
        availability=info.get("availability"),
        video_id=info.get("id"),
        uploader=info.get("uploader"),
        upload_date=info.get("upload_date"),
        complete=complete,
        tools={"yt-dlp": yt_dlp.version.__version__, "extractor": info.get("extractor") or ""},
    )


def thread_downloader(config: SourceConfig) -> Downloader:
    """This thread's downloader for these settings."""
    if getattr(threads, "config", None) != config:
        threads.config = config
        threads.downloader = Downloader(options(config), config.allow_loopback, config.ca_bundle)
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
    """yt-dlp's settings: whole audio, no files of its own, no attempts but one."""

    def refuse(info: Mapping[str, Any], *, incomplete: bool = False) -> None:
        if (info.get("duration") or 0) > config.max_source_s:
            raise SourceError(ErrorClass.TOO_LONG, f"longer than {config.max_source_s:g} s")
        if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming"):
            raise SourceError(ErrorClass.EXTRACTOR, "a live event: it has no recording yet")

    def stop_too_large(status: Mapping[str, Any]) -> None:
        if status.get("downloaded_bytes", 0) > config.max_source_mb * 1_000_000:
            raise SourceError(ErrorClass.TOO_LONG, f"larger than {config.max_source_mb} MB")

    given = {
        "proxy": config.proxy,
        "http_headers": config.user_agent and {"User-Agent": config.user_agent},
        "cookiefile": config.cookies and io.StringIO(read_cookies(config.cookies)),
        "extractor_args": parsed_arguments(config.extractor_args),
    }
    return {
        "format": "bestaudio/best",
        "outtmpl": {"default": ""},
        "logger": Quiet(),
        "quiet": True,
        "noprogress": True,
        "noplaylist": True,
        "playlist_items": "1",
        "cachedir": False,
        "continuedl": True,  # `Downloader.open_media` sees to it that it is the same file
        "overwrites": True,
        "updatetime": False,
        "fixup": "never",  # needs a command that need not be there
        "socket_timeout": config.timeout_s,
        "retries": 0,
        "fragment_retries": 0,
        "skip_unavailable_fragments": False,
        "extractor_retries": 0,
        "max_filesize": config.max_source_mb * 1_000_000,
        "match_filter": refuse,
        "progress_hooks": [stop_too_large],
        **{name: value for name, value in given.items() if value},
    }


def classified(error: Exception, retry_after: str | None) -> SourceError:
    """A failure of yt-dlp with its class and how long the server asks to wait."""
    inner: BaseException | None = error
    if isinstance(error, DownloadError) and error.exc_info:
        inner = error.exc_info[1]
    while inner is not None and not isinstance(inner, SourceError):
        inner = getattr(inner, "cause", None) or inner.__cause__
    if inner is not None:
        return inner
    message = re.sub(r"\x1b\[[\d;]*m", "", str(error)).removeprefix("ERROR: ")
    message = " ".join(message.split())
    return SourceError(class_of(message), message, seconds_until(retry_after))


def seconds_until(retry_after: str | None) -> float | None:
    """The wait that a Retry-After header asks for: seconds, or a date, which may be past."""
    if retry_after is None or retry_after.strip().isdecimal():
        return float(retry_after) if retry_after else None
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if date.tzinfo is None:  # it says -0000: UTC
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
