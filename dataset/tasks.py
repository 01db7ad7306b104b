"""What a worker does for a source: obtain and verify it, join its files, cut and measure its clips.

Every function can be sent to another process; files are left under temporary names, and only the
stage, which holds the ledger, gives them their final ones.
"""

import dataclasses
import errno
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import soundfile as sf

from crawler.errors import UserError
from crawler.files import TEMPORARY_PREFIX, sha256_file
from dataset.backends import tools
from dataset.bounds import Request
from dataset.budget import BudgetConfig
from dataset.clips import CUTTING_VERSION, Cut, CutConfig
from dataset.cutting import cut
from dataset.decoding import TOOLS, AudioError, join, probe
from dataset.measures import Amount, measure
from dataset.pairs import ErrorClass, stable_id
from dataset.sources import (
    Source,
    SourceConfig,
    SourceError,
    copy_source,
    fetch_source,
    file_stamp,
    forget,
)

logger = logging.getLogger(__name__)

PRELOAD = ("dataset.preload",)  # modules that workers have before they begin
SOURCES, CLIPS = "sources", "clips"  # folders of the data folder
# How a message names a file that nobody will find.
PLACE = re.compile(rf"'?(file:)?[^\s':]*{re.escape(TEMPORARY_PREFIX)}[^\s':]*'?")
SYSTEM_ERROR = 2  # of libsndfile: a read or write failed
OFF_S = 0.5  # by which a file that was written whole may differ from its length


@dataclass(frozen=True, kw_only=True)
class FetchConfig(SourceConfig):
    """How recordings are fetched and cut."""

    workers: int = 2  # sources fetched at a time
    cut_workers: int = 2  # sources cut at a time
    keep_sources: bool = True  # after their clips are cut
    min_clip_s: float = 5.0  # shorter clips are filtered: too_short
    max_clip_s: float = 2_400.0  # longer clips are filtered: too_long
    max_fetch_s: float = 3_600.0  # a fetch that takes longer is ended: network
    max_cut_s: float = 1_800.0  # a source whose clips take longer is ended: not_media
    min_free_mb: float = 1_000.0  # with less free space nothing new is begun
    recheck_after_days: float | None = None  # a permanent failure this old is tried again
    retry: str | None = None  # "failed" or "failed:<class>": these alone, permanent ones too
    limit: int | None = None  # sources fetched in this run
    measures: Amount = "full"  # of clips; basic: no loudness, bandwidth, fingerprint
    audio_rights: str | None = None  # in recordings whose page says none
    engine: Literal["local", "ray"] = "local"  # who fetches and cuts
    address: str | None = None  # of the Ray cluster; None: one begun on this machine
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    cut: CutConfig = field(default_factory=CutConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"fetch.{item.name} {value} is not a finite number")
        if self.address is not None and (self.engine != "ray" or not self.address):
            raise UserError(
                f"fetch.address {self.address!r} with engine {self.engine!r}: give engine ray and "
                "HOST:PORT or auto, or no address"
            )
        for name in ("workers", "cut_workers", "max_fetch_s", "max_cut_s"):
            if getattr(self, name) <= 0:
                raise UserError(f"fetch.{name} {getattr(self, name)} is not above 0")
        if not 0 <= self.min_clip_s < self.max_clip_s:
            raise UserError(
                f"fetch.min_clip_s {self.min_clip_s} is not in 0..max_clip_s ({self.max_clip_s})"
            )
        for name in ("limit", "recheck_after_days", "min_free_mb"):
            if (getattr(self, name) or 0) < 0:
                raise UserError(f"fetch.{name} {getattr(self, name)} is below 0")
        refuse_retry(self.retry)


def refuse_retry(retry: str | None) -> None:
    """UserError for a choice of failures that there is not."""
    choices = ["failed", *(f"failed:{one}" for one in ErrorClass)]
    if retry is not None and retry not in choices:
        raise UserError(f"fetch.retry {retry!r}: give one of {', '.join(choices)}")


def fingerprint(config: FetchConfig) -> str:
    """Hash of what shapes a clip."""
    return stable_id(CUTTING_VERSION, dataclasses.asdict(config.cut))


@dataclass(frozen=True, slots=True)
class Finished:
    """A verified file that waits for its final name."""

    temporary: Path
    result: Mapping[str, Any]  # "file": the final name within the data folder; "sha256"
    tools: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Failed:
    """What went wrong with an item."""

    error_class: ErrorClass
    message: str
    result: Mapping[str, Any] = field(default_factory=dict)
    retry_after_s: float | None = None  # as the server asks


Outcome = Finished | Failed


def caught(error: Exception) -> Failed:
    """The failure that an exception of a task stands for; any other is our bug and is raised."""
    if isinstance(error, SourceError):
        message = PLACE.sub("the file", str(error))
        return Failed(error.error_class, message, retry_after_s=error.retry_after_s)
    if isinstance(error, AudioError):
        return Failed(error.error_class, PLACE.sub("the file", str(error)))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failed(ErrorClass.DISK_FULL, str(error))
    if isinstance(error, sf.LibsndfileError) and error.code == SYSTEM_ERROR:
        return Failed(ErrorClass.DISK_FULL, f"cannot be written: {error}")
    raise error


def unwritten(file: Path, length_s: float) -> Failed | None:
    """The failure of a file that was written without an error, but not whole.

    libsndfile keeps to itself that the last bytes of a file did not fit on the disk.
    """
    try:
        found_s = sf.info(file).duration
    except sf.LibsndfileError:
        found_s = 0.0
    if abs(found_s - length_s) <= OFF_S:
        return None
    return Failed(ErrorClass.DISK_FULL, f"{file.name} was not written whole")


# --- sources ----------------------------------------------------------------------------------


def stem_of(data: Path, key: str) -> Path:
    """The temporary name of a source, without its extension."""
    return data / SOURCES / f"{TEMPORARY_PREFIX}{stable_id(key)}"


def fetch_one(data: Path, key: str, url: str, config: SourceConfig) -> list[Outcome]:
    """Fetch a source and decode it to verify it."""
    stem = stem_of(data, key)
    stem.parent.mkdir(parents=True, exist_ok=True)
    resumed, complete = any(stem.parent.glob(f"{stem.name}.*")), False
    try:
        source = fetch_source(url, stem, config)
        complete = source.complete
        return [verified(source, url, config)]
    except (SourceError, OSError) as error:
        return [caught(error)]
    except AudioError as error:
        forget(stem)
        if resumed:  # what was there before may be to blame: the next attempt begins afresh
            return [Failed(ErrorClass.NETWORK, f"resumed, but {caught(error).message}")]
        failed = caught(error)
        if complete and failed.error_class is ErrorClass.NETWORK:  # no other attempt gets more
            failed = dataclasses.replace(failed, error_class=ErrorClass.NOT_MEDIA)
        return [failed]


def copy_one(data: Path, key: str, url: str, config: SourceConfig) -> list[Outcome]:
    """Copy a file of this machine, which a person's table names, and decode it to verify it."""
    stem = stem_of(data, key)
    stem.parent.mkdir(parents=True, exist_ok=True)
    stamp = {"stamp": file_stamp(url)}  # before it is read
    try:
        found = verified(copy_source(url, stem, config), url, config)
        return [dataclasses.replace(found, result={**found.result, **stamp})]
    except (SourceError, AudioError, OSError) as error:
        forget(stem)
        return [dataclasses.replace(caught(error), result=stamp)]


def join_parts(
    data: Path, key: str, url: str, parts: Sequence[Mapping[str, Any]], config: SourceConfig
) -> list[Outcome]:
    """Join fetched sources, by their ledger results, into one; empty when one is not whole."""
    files = [data / part["file"] for part in parts]
    if not all(map(whole, [data] * len(parts), parts)):
        return []
    stem = stem_of(data, key)
    target = stem.with_name(f"{stem.name}.flac")
    channels = min(2, max(part["channels"] for part in parts))
    licences = {part.get("licence") for part in parts}
    try:
        join(files, target, parts[0]["sample_rate"], channels)
        duration_s = sum(part["duration_s"] for part in parts)
        if failure := unwritten(target, duration_s):
            forget(stem)
            return [failure]
        source = Source(
            path=target,
            sha256=sha256_file(target),
            duration_s=duration_s,
            title=parts[0]["title"],
            chapters=(),
            description="",
            format="+".join(part["format"] for part in parts),
            licence=licences.pop() if len(licences) == 1 else None,
            tools=TOOLS,
        )
        return [verified(source, url, config)]
    except (AudioError, OSError, sf.LibsndfileError) as error:
        forget(stem)
        return [caught(error)]


def verified(source: Source, url: str, config: SourceConfig) -> Finished:
    """What is known of a source, after all of it was decoded; raises AudioError."""
    media = probe(source.path)
    if media.duration_s > config.max_source_s:
        limit = f"{media.duration_s:.0f} s, above fetch.max_source_s {config.max_source_s:g}"
        raise AudioError(ErrorClass.TOO_LONG, f"{url} lasts {limit}")
    result = {
        "file": f"{SOURCES}/{source.sha256}{source.path.suffix}",
        "sha256": source.sha256,
        "num_bytes": source.path.stat().st_size,
        "url": url,
        "title": source.title,
        "duration_s": media.duration_s,
        "sample_rate": media.sample_rate,
        "channels": media.channels,
        "codec": media.codec,
        "format": source.format,
        "chapters": [dataclasses.astuple(one) for one in source.chapters] or media.chapters,
        "description": source.description,
        "licence": source.licence,
        "availability": source.availability,
        "video_id": source.video_id,
        "uploader": source.uploader,
        "upload_date": source.upload_date,
    }
    return Finished(source.path, result, source.tools)


def whole(data: Path, result: Mapping[str, Any]) -> bool:
    """Whether the file of a result lies there with the bytes that were verified."""
    file = data / result["file"]
    return file.is_file() and sha256_file(file) == str(result["sha256"])


# --- clips ------------------------------------------------------------------------------------


def cut_all(
    data: Path,
    source: Mapping[str, Any],
    requests: Mapping[str, Request],
    config: CutConfig,
    mark: str,
    measures: Amount,
) -> list[Outcome]:
    """Cut the clips of a fetched source and measure each; empty when its bytes are others."""
    original = data / source["file"]
    if not whole(data, source):
        logger.warning("%s is damaged: it is fetched again", original)
        original.unlink(missing_ok=True)
        return []
    folder = data / CLIPS
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{TEMPORARY_PREFIX}{item}.{config.codec}" for item in requests]
    spans = [request.span for request in requests.values()]
    try:
        cuts = cut(original, spans, targets, config, levels=measures == "full")
        return [
            finish(one, target, source["sha256"], config, mark, measures)
            for one, target in zip(cuts, targets, strict=True)
        ]
    except (AudioError, OSError, sf.LibsndfileError) as error:
        for target in targets:
            target.unlink(missing_ok=True)
        return [caught(error)] * len(targets)


def finish(
    one: Cut | AudioError,
    target: Path,
    source_sha256: str,
    config: CutConfig,
    mark: str,
    measures: Amount,
) -> Outcome:
    """Measure a clip; its name is the hash of its source, real bounds and settings."""
    if isinstance(one, AudioError):
        target.unlink(missing_ok=True)
        return caught(one)
    if failure := unwritten(target, one.actual_end_s - one.actual_start_s):
        target.unlink(missing_ok=True)
        return failure
    clip_id = stable_id(source_sha256, one.actual_start_s, one.actual_end_s, mark)
    result = {
        "clip_id": clip_id,
        "file": f"{CLIPS}/{clip_id[:2]}/{clip_id}.{config.codec}",
        "sample_rate": config.sample_rate,
        "codec": config.codec,
        "num_bytes": target.stat().st_size,
        **dataclasses.asdict(one),
        **dataclasses.asdict(measure(target, measures)),
    }
    return Finished(target, result, tools(config.backend))


Task = Callable[[], list[Outcome]]
