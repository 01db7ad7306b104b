"""Whether this machine is ready to build a corpus: a check a line, with what to do about it."""

import fcntl
import importlib
import importlib.metadata
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.request
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http.client import HTTPException
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import HTTPError, URLError

from crawler.crawl import CrawlConfig, check
from crawler.errors import UserError
from crawler.files import TEMPORARY_PREFIX

CODECS = ("opus", "vorbis", "aac", "mp3", "flac")  # that recordings come in
FRESH_DAYS = 60  # an older yt-dlp may not know what sites have changed since
LOW_DISK_GB, NO_DISK_GB = 20.0, 2.0  # of the data folder's disk
LOW_MEMORY_GB = 2.0
CLOCK_S = 120.0  # a clock may differ from the site's
TIMEOUT_S = 20.0


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # works, or not all of it
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Check:
    """One line."""

    name: str
    verdict: Verdict
    told: str  # what was found and, unless ok, what to do


def doctor(data: Path, config: CrawlConfig, *, online: bool = False) -> list[Check]:
    """Look at the machine; asks the net for nothing, or with `online` one HEAD of robots.txt.

    Leaves nothing behind, and does not make the data folder.
    """
    checks = [
        pyav(),
        soundfile(),
        ffmpeg(),
        pydub(),
        downloader(time.time()),
        torch(),
        writable(data),
        lock(data),
        disk(data),
        clock(time.time()),
        contact(config),
        certificates(config.ca_bundle),
        machine(),
    ]
    return [*checks, *(site(config) if online else ())]


# ---------------------------------------------------------------- packages and programs


def package(name: str) -> ModuleType | str:
    """An imported package, or why it cannot be."""
    try:
        with warnings.catch_warnings(action="ignore"):  # the checks say what is wrong
            return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # as broken ones raise
        return f"{type(error).__name__}: {error}"


def version(name: str) -> str | None:
    """The installed version of a distribution."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def pyav() -> Check:
    """What decodes every recording."""
    av = package("av")
    if isinstance(av, str):
        return Check("PyAV", Verdict.FAILURE, f"{av}: pip install av")
    inside = getattr(av, "ffmpeg_version_info", None) or "of unknown version"
    lacking = sorted(set(CODECS).difference(av.codecs_available))
    if lacking:
        told = f"{version('av')} cannot decode {', '.join(lacking)}: pip install --force av"
        return Check("PyAV", Verdict.FAILURE, told)
    return Check("PyAV", Verdict.OK, f"{version('av')}, FFmpeg {inside} inside")


def soundfile() -> Check:
    """What writes every clip."""
    sf = package("soundfile")
    if isinstance(sf, str):
        return Check("soundfile", Verdict.FAILURE, f"{sf}: pip install soundfile")
    if "FLAC" not in sf.available_formats():
        told = f"{sf.__libsndfile_version__} writes no FLAC: pip install --force soundfile"
        return Check("soundfile", Verdict.FAILURE, told)
    return Check("soundfile", Verdict.OK, f"{version('soundfile')}, {sf.__libsndfile_version__}")


def ffmpeg() -> Check:
    """The command, which is not needed beside PyAV."""
    path = shutil.which("ffmpeg")
    if path is None:
        return Check("ffmpeg", Verdict.OK, "none on PATH: not needed, PyAV decodes")
    try:
        done = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        told = f"{path} does not run ({error}): install it again or take it off PATH"
        return Check("ffmpeg", Verdict.WARNING, told)
    words = (done.stdout.splitlines() or [""])[0].split()
    return Check("ffmpeg", Verdict.OK, f"{' '.join(words[1:3]) or 'of unknown version'} at {path}")


def pydub() -> Check:
    """A package that is not needed beside PyAV."""
    if version("pydub") is None:
        return Check("pydub", Verdict.OK, "not installed: not needed, PyAV decodes")
    found = package("pydub")
    if isinstance(found, str):
        told = f"{found}: pip install pydub (with audioop-lts from Python 3.13 on)"
        return Check("pydub", Verdict.WARNING, told)
    if shutil.which("ffmpeg") is None:
        return Check("pydub", Verdict.WARNING, f"{version('pydub')} finds no ffmpeg: install it")
    return Check("pydub", Verdict.OK, str(version("pydub")))


def downloader(now_s: float) -> Check:
    """Whether yt-dlp is there and new: sites change under an old one."""
    known = version("yt-dlp")
    if known is None:
        return Check("yt-dlp", Verdict.FAILURE, "not installed: pip install yt-dlp")
    released_s = release_s(known)
    if released_s is None:
        told = f"{known}, of unknown age: pip install -U yt-dlp if fetches fail"
        return Check("yt-dlp", Verdict.WARNING, told)
    days = int((now_s - released_s) / 86_400)
    if days > FRESH_DAYS:
        told = f"{known}, {days} days old: pip install -U yt-dlp"
        return Check("yt-dlp", Verdict.WARNING, told)
    return Check("yt-dlp", Verdict.OK, f"{known}, {max(days, 0)} days old")


def release_s(known: str) -> float | None:
    """When a version like 2026.10.26 was released, in seconds since 1970."""
    try:
        year, month, day = map(int, known.split(".")[:3])
        return datetime(year, month, day, tzinfo=UTC).timestamp()
    except ValueError:
        return None


def torch() -> Check:
    """What only training and captioning need."""
    if version("torch") is None:
        told = "not installed: to train or caption, pip install 'earscribe[train]'"
        return Check("torch", Verdict.OK, told)
    found = package("torch")
    if isinstance(found, str):
        return Check("torch", Verdict.FAILURE, f"{found}: pip install 'earscribe[train]'")
    return Check("torch", Verdict.OK, str(version("torch")))


# ---------------------------------------------------------------- the data folder


def nearest(data: Path) -> Path:
    """The data folder, or the nearest one above it that is there."""
    path = data.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def writable(data: Path) -> Check:
    """Whether files can be made in the data folder, or it in the one above."""
    place = nearest(data)
    if not place.is_dir():
        told = f"{place} is no folder: move it away or give another with --data"
        return Check("data folder", Verdict.FAILURE, told)
    within = [data / name for name in ("sources", "clips") if (data / name).is_dir()]
    for folder in (place, *within):
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX) as file:
                file.write(b"x")
                file.flush()
        except OSError as error:
            told = f"{folder} cannot be written ({error.strerror}): give another with --data"
            return Check("data folder", Verdict.FAILURE, told)
    made = "" if data.exists() else ", made when it is needed"
    return Check("data folder", Verdict.OK, f"{data}{made}")


def lock(data: Path) -> Check:
    """Whether a kernel lock keeps a second run out there: on some network disks it does not."""
    try:
        with tempfile.NamedTemporaryFile(dir=nearest(data), prefix=TEMPORARY_PREFIX) as first:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with Path(first.name).open("rb") as second:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Check("lock", Verdict.OK, "a second run is kept out")
    except OSError as error:
        why = f"cannot be tried ({error.strerror})"
    else:
        why = "does not keep a second run out"
    told = f"flock {why}: give a folder on a disk of this machine with --data"
    return Check("lock", Verdict.FAILURE, told)


def disk(data: Path, low_gb: float = LOW_DISK_GB) -> Check:
    """Whether there is room: an hour of music takes about 60 MB fetched and 60 MB cut."""
    free_gb = shutil.disk_usage(nearest(data)).free / 1e9
    told = f"{free_gb:.1f} GB free"
    if free_gb >= low_gb:
        return Check("disk", Verdict.OK, told)
    verdict = Verdict.WARNING if free_gb >= NO_DISK_GB else Verdict.FAILURE
    hint = f"below {low_gb:g} GB: `earscribe clean`, or give another disk with --data"
    return Check("disk", verdict, f"{told}, {hint}")


# ---------------------------------------------------------------- the machine and the site


def clock(now_s: float) -> Check:
    """Whether the clock is not before what was made in the past."""
    today = datetime.fromtimestamp(now_s, UTC)
    released_s = release_s(version("yt-dlp") or "")
    if released_s is not None and now_s < released_s - 86_400:
        told = f"{today:%Y-%m-%d %H:%M} UTC is before the release of yt-dlp: set the clock"
        return Check("clock", Verdict.FAILURE, told)
    return Check("clock", Verdict.OK, f"{today:%Y-%m-%d %H:%M} UTC (compared with --online)")


def contact(config: CrawlConfig) -> Check:
    """Whether a crawl of the site may begin: its keeper must be able to reach somebody."""
    try:
        check(config)
    except UserError as error:
        told = f"{error} (or [crawl] contact, or EARSCRIBE_CRAWL_CONTACT)"
        return Check("crawl", Verdict.WARNING, told)
    return Check("crawl", Verdict.OK, f"{config.site} as {agent(config)}")


def agent(config: CrawlConfig) -> str:
    """The user agent of a crawl."""
    return f"{config.user_agent} (+{config.contact})"


def certificates(bundle: Path | None) -> Check:
    """Whether there are certificates to trust, for the crawl and for yt-dlp."""
    paths = ssl.get_default_verify_paths()
    place = str(bundle or paths.cafile or paths.capath or paths.openssl_cafile)
    try:
        number = ssl.create_default_context(cafile=bundle).cert_store_stats()["x509"]
    except OSError as error:
        told = f"{place} cannot be read ({error}): give a PEM file with --ca-bundle"
        return Check("certificates", Verdict.FAILURE, told)
    folder = Path(paths.capath) if paths.capath and bundle is None else None
    if not number and not (folder and any(folder.glob("*"))):
        told = f"none in {place}: install ca-certificates, or give a PEM file with --ca-bundle"
        return Check("certificates", Verdict.FAILURE, told)
    certifi = package("certifi")  # yt-dlp's, where it is installed
    if isinstance(certifi, ModuleType) and not os.access(certifi.where(), os.R_OK):
        told = f"{certifi.where()} cannot be read: pip install --force certifi"
        return Check("certificates", Verdict.FAILURE, told)
    return Check("certificates", Verdict.OK, f"{number or 'a folder of them'} in {place}")


def machine() -> Check:
    """Memory and processors that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_gb = usable_memory() / 1e9
    told = f"{memory_gb:.1f} GB, {cores} {'core' if cores == 1 else 'cores'}"
    if memory_gb < LOW_MEMORY_GB:
        hint = f"below {LOW_MEMORY_GB:g} GB: fetch with --workers 1, train elsewhere"
        return Check("memory", Verdict.WARNING, f"{told}, {hint}")
    return Check("memory", Verdict.OK, told)


def usable_memory(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Bytes of memory that the machine has, or its container may use."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(limit.read_text()))
    except (OSError, ValueError):  # none, or "max"
        return whole


class Stay(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: one request is one request."""

    def redirect_request(self, *given: Any) -> None:
        """Called by urllib with every redirect."""


def site(config: CrawlConfig) -> list[Check]:
    """One HEAD of the site's robots.txt: is it reached, and does its clock agree with ours."""
    try:
        check(config)
        status, date = ask(config)
    except UserError:
        return [Check("site", Verdict.FAILURE, "not asked: mend what is said of the crawl first")]
    except (URLError, HTTPException, OSError, ValueError) as error:
        return [unreached(config, getattr(error, "reason", None) or error)]
    if status >= 400 and status != 404:
        told = f"{config.site} answers {status}: wait, and look at it with a browser"
        return [Check("site", Verdict.WARNING, told)]
    return [Check("site", Verdict.OK, f"{config.site} answers {status}"), compared(date)]


def ask(config: CrawlConfig) -> tuple[int, str]:
    """Status and date of the site's robots.txt."""
    context = ssl.create_default_context(cafile=config.ca_bundle)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), Stay)
    address = f"{config.site.rstrip('/')}/robots.txt"
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": agent(config)})
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            return response.status, response.headers.get("Date", "")
    except HTTPError as answer:
        with answer:
            return answer.code, answer.headers.get("Date", "")


def unreached(config: CrawlConfig, why: object) -> Check:
    """What to do about a site that could not be asked."""
    if isinstance(why, ssl.SSLCertVerificationError):
        told = (
            f"the certificate of {config.site} is refused ({why.verify_message}): give "
            "--ca-bundle, a PEM file with your system's certificates and the missing one"
        )
    else:
        told = f"{config.site} cannot be reached ({why}): look at the net, a proxy, a firewall"
    return Check("site", Verdict.FAILURE, told)


def compared(date: str) -> Check:
    """Our clock beside the site's, by the header Date."""
    try:
        theirs_s = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return Check("site's clock", Verdict.WARNING, "the site tells no time")
    off_s = time.time() - theirs_s
    if abs(off_s) > CLOCK_S:
        told = f"ours is {abs(off_s):.0f} s {'ahead' if off_s > 0 else 'behind'}: set the clock"
        return Check("site's clock", Verdict.WARNING, told)
    return Check("site's clock", Verdict.OK, f"{abs(off_s):.0f} s off ours")
