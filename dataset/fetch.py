"""The fetch stage: every source once, its bounds, its clips, and the index that tells of them."""

import dataclasses
import errno
import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crawler.draining import draining
from crawler.errors import UserError
from crawler.files import TEMPORARY_PREFIX, atomic_path, sha256_file, sweep_temporary
from crawler.ledger import Entry, Ledger, State, damaged
from crawler.summary import Progress, Summary, silent
from dataset.bounds import Refusal, Request, request_clip
from dataset.clips import CUTTING_VERSION, Cut, CutConfig
from dataset.cutting import cut
from dataset.decoding import TOOLS, AudioError, probe
from dataset.index import PAIRS_NAME, load_pairs, write_pairs
from dataset.joining import addresses, fetch_joined
from dataset.measures import measure
from dataset.pairing import TABLE, count_states, may_be_passed_on
from dataset.schema import ErrorClass, Pair, stable_id
from dataset.sources import (
    Source,
    SourceConfig,
    SourceError,
    copy_source,
    fetch_source,
    file_stamp,
    hang_up,
)

logger = logging.getLogger(__name__)

SOURCES, CLIPS = "sources", "clips"  # folders of the data folder


@dataclass(frozen=True, kw_only=True)
class FetchConfig(SourceConfig):
    """How recordings are fetched and cut."""

    workers: int = 2  # sources worked on at a time
    keep_sources: bool = True  # after their clips are cut
    min_clip_s: float = 5.0  # shorter clips are filtered: too_short
    max_clip_s: float = 2_400.0  # longer clips are filtered: too_long
    audio_rights: str | None = None  # in recordings whose page says none
    cut: CutConfig = field(default_factory=CutConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"fetch.{item.name} {value} is not a finite number")
        if self.workers < 1:
            raise UserError(f"fetch.workers {self.workers} is below 1")
        if not 0 <= self.min_clip_s < self.max_clip_s:
            raise UserError(
                f"fetch.min_clip_s {self.min_clip_s} is not in 0..max_clip_s ({self.max_clip_s})"
            )


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


Outcome = Finished | Failed


@dataclass(frozen=True, slots=True)
class Job:
    """Work for one thread: the items of one source in one stage."""

    key: str  # of the source
    stage: str
    items: Sequence[str]
    work: Callable[[], Sequence[Outcome]]  # one outcome an item; none: fetch the source again


def fingerprint(config: FetchConfig) -> str:
    """Hash of what shapes a clip."""
    return stable_id(CUTTING_VERSION, dataclasses.asdict(config.cut))


def source_key(pair: Pair) -> str:
    """The name of a pair's source in the ledger."""
    return pair.youtube_id or pair.source_url


def content_key(key: str, source: Entry) -> str:
    """The name under which the clips of a file of this machine are kept: its bytes count too."""
    return f"{key} {source.result['sha256']}"


def fetch(data: Path, config: FetchConfig, progress: Progress = silent) -> Summary:
    """Fetch every source once, cut its clips, and rewrite the index.

    Ctrl-C and SIGTERM finish what is in hand; the summary then says `incomplete`. Raises
    UserError when there is no index.
    """
    with Ledger(data) as ledger, draining() as stop:
        pairs = load_pairs(data / PAIRS_NAME)
        for folder in (SOURCES, CLIPS):
            sweep_temporary(data / folder)
        stage = Fetching(data, config, ledger, pairs)
        stage.adopt()
        stage.run(stop, progress)
        rows = [stage.row(pair) for pair in pairs]
        if rows != pairs:
            write_pairs(data / PAIRS_NAME, rows)
    clips = {row.clip_id for row in rows if row.clip_id}
    return Summary(
        stage="fetch",
        total=len(rows),
        counts=count_states(rows),
        artifact=data / PAIRS_NAME,
        details={**stage.done, "sources": len(stage.groups), "clips": len(clips)},
        work_done=stage.done["fetched"] + stage.done["cut"] + (rows != pairs),
        incomplete=any(again(row) for row in rows),
    )


def again(row: Pair) -> bool:
    """Whether a further run may end otherwise."""
    transient = row.error_class is not None and ErrorClass(row.error_class).transient
    return row.status == State.PENDING or transient


class Fetching:
    """One run: what the ledger knows, what is still to do, and the index that follows from it."""

    def __init__(
        self, data: Path, config: FetchConfig, ledger: Ledger, pairs: Sequence[Pair]
    ) -> None:
        self.data, self.config, self.ledger = data, config, ledger
        self.mark = fingerprint(config)
        self.groups: dict[str, list[Pair]] = defaultdict(list)
        for pair in pairs:
            if not turned_down(pair):
                self.groups[source_key(pair)].append(pair)
        self.local = {  # files of this machine, named by a person's tables alone
            key
            for key, group in self.groups.items()
            if key.startswith("file:") and all(pair.align_method == TABLE for pair in group)
        }
        self.known = {stage: ledger.entries(stage) for stage in ("source", "cut")}
        for entries in self.known.values():
            for entry in entries.values():
                self.check(entry)
        self.forget_changed()
        self.tried: set[tuple[str, str]] = set()
        self.done = {"fetched": 0, "cut": 0, "adopted": 0}

    def check(self, entry: Entry) -> None:
        """UserError for an entry that cannot be worked with."""
        lacking = sorted(RESULTS[entry.stage].difference(entry.result))
        why = f"it lacks {', '.join(lacking)}" if lacking else ""
        if entry.state is State.FAILED:
            known = entry.error_class in set(ErrorClass)
            why = "" if known else f"unknown error class {entry.error_class!r}"
        if why:
            raise damaged(self.ledger.path, entry.stage, entry.item, why)

    def forget_changed(self) -> None:
        """Drop what is known of files of this machine that have changed since."""
        sources = self.known["source"]
        for key in self.local & sources.keys():
            stamp = file_stamp(key)
            if stamp is not None and stamp != sources[key].result.get("stamp"):
                del sources[key]

    def adopt(self) -> None:
        """Take over whole files that a crash kept from being committed."""
        for stage, entries in self.known.items():
            for item, entry in list(entries.items()):
                if entry.state is State.PENDING and self.whole(entry.result):
                    self.record(stage, item, State.OK, result=entry.result)
                    self.done["adopted"] += 1

    def whole(self, result: Mapping[str, Any]) -> bool:
        """Whether the file of a result lies there with the bytes that were verified."""
        file = self.data / result["file"]
        return file.is_file() and sha256_file(file) == str(result["sha256"])

    def run(self, stop: threading.Event, progress: Progress) -> None:
        """Work until nothing is left to do, or until `stop` and what is in hand."""
        waiting = [job for key in self.groups if (job := self.next_job(key))]
        total, finished = len(waiting), 0
        running: dict[Future[Sequence[Outcome]], tuple[Job, float]] = {}
        with ThreadPoolExecutor(self.config.workers) as pool:
            while running or (waiting and not stop.is_set()):
                while waiting and len(running) < self.config.workers and not stop.is_set():
                    job = waiting.pop(0)
                    running[pool.submit(job.work)] = (job, time.time())
                for future in wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done:
                    job, started_s = running.pop(future)
                    self.commit(job, future.result(), started_s)
                    following = self.next_job(job.key)
                    if following:
                        waiting.insert(0, following)  # a source's cuts come right after it
                    else:
                        finished += 1
                        self.drop_source(job.key)
                        progress(finished, total)
        hang_up()

    def next_job(self, key: str) -> Job | None:
        """What is to be done next for a source; None when nothing is."""
        entry = self.known["source"].get(key)
        if entry is not None and entry.state is State.OK:
            missing = self.missing(key, entry)
            if not missing:
                return None
            if (self.data / entry.result["file"]).is_file():
                return self.cut_job(key, entry, missing)
        elif entry is not None and not worth_another(entry, self.config.allow_loopback):
            return None
        return None if ("source", key) in self.tried else self.fetch_job(key)

    def missing(self, key: str, entry: Entry) -> dict[str, Request]:
        """The clips of a source that are still to be cut."""
        asked = [self.request(pair, entry) for pair in self.groups[key]]
        return {one.item: one for one in asked if isinstance(one, Request) and self.wanted(one)}

    def wanted(self, request: Request) -> bool:
        """Whether a clip is to be cut in this run."""
        entry = self.known["cut"].get(request.item)
        if ("cut", request.item) in self.tried:
            return False
        if entry is not None and entry.state is State.OK:
            file = self.data / entry.result["file"]
            return not file.is_file() or file.stat().st_size != entry.result.get("num_bytes")
        return entry is None or worth_another(entry)

    def request(self, pair: Pair, source: Entry) -> Request | Refusal:
        """The clip that a pair asks for, or why it cannot have one."""
        limits = (self.config.min_clip_s, self.config.max_clip_s)
        key = source_key(pair)
        if key in self.local:  # a file may change under its name
            key = content_key(key, source)
        return request_clip(pair, key, source.result, limits, self.mark)

    def fetch_job(self, key: str) -> Job:
        """Fetch a source; a file on this machine only when a person's table names it."""
        group, folder, config = self.groups[key], self.data / SOURCES, self.config
        url = group[0].source_url
        obtain = fetch_joined if len(addresses(url)) > 1 else fetch_source
        if key in self.local:
            obtain = copy_source
        return Job(key, "source", [key], lambda: [fetch_one(key, url, folder, config, obtain)])

    def cut_job(self, key: str, source: Entry, missing: Mapping[str, Request]) -> Job:
        """Cut the missing clips of a source in one pass."""
        data, config, mark = self.data, self.config.cut, self.mark
        return Job(
            key, "cut", list(missing), lambda: cut_all(data, source.result, missing, config, mark)
        )

    def commit(self, job: Job, outcomes: Sequence[Outcome], started_s: float) -> None:
        """Give finished files their final names and tell the ledger.

        The ledger hears of a file before it is renamed and after it: a crash in between leaves
        a whole file and what is known of it, so that `adopt` can take it over.
        """
        for item, outcome in zip(job.items, outcomes, strict=bool(outcomes)):
            self.tried.add((job.stage, item))
            if isinstance(outcome, Failed):
                self.record(
                    job.stage, item, State.FAILED, failure=outcome, result=outcome.result,
                    started_s=started_s,
                )  # fmt: skip
                continue
            self.record(job.stage, item, State.PENDING, result=outcome.result, started_s=started_s)
            with atomic_path(self.data / outcome.result["file"]) as place:
                outcome.temporary.replace(place)
            self.record(
                job.stage, item, State.OK, result=outcome.result, tools=outcome.tools,
                started_s=started_s,
            )  # fmt: skip
            self.done["fetched" if job.stage == "source" else "cut"] += 1

    def record(
        self,
        stage: str,
        item: str,
        state: State,
        *,
        failure: Failed | None = None,
        result: Mapping[str, Any] | None = None,
        started_s: float | None = None,
        tools: Mapping[str, str] | None = None,
    ) -> None:
        """Tell the ledger, and keep what it now knows."""
        error_class, message = (failure.error_class, failure.message) if failure else (None, None)
        self.ledger.record(
            stage, item, state, error_class=error_class, message=message, result=result,
            started_s=started_s, tools=tools,
        )  # fmt: skip
        entry = self.ledger.entry(stage, item)
        assert entry is not None, f"the ledger forgot {stage} {item}"
        self.known[stage][item] = entry

    def drop_source(self, key: str) -> None:
        """Delete a source whose clips are all cut, unless sources are kept."""
        entry = self.known["source"][key]
        if not self.config.keep_sources and entry.state is State.OK:
            (self.data / entry.result["file"]).unlink(missing_ok=True)

    def row(self, pair: Pair) -> Pair:
        """A pair's row as the ledger has it now."""
        if turned_down(pair):
            return pair
        blank = dataclasses.replace(pair, **BLANK)
        source = self.known["source"].get(source_key(pair))
        if source is None or source.state is State.PENDING:
            return blank
        told = source.result.get("audio_rights")  # when it was fetched
        rights = source.result.get("licence") or self.config.audio_rights or told or "unknown"
        blank = dataclasses.replace(blank, stage="source", audio_rights=rights)
        blank = dataclasses.replace(blank, redistributable=may_be_passed_on(blank))
        if source.state is State.FAILED:
            return fail(blank, source.error_class, source.message)
        request = self.request(pair, source)
        blank = dataclasses.replace(blank, stage="cut", config_fingerprint=self.mark)
        if isinstance(request, Refusal):
            return refused(blank, request)
        return self.cut_row(blank, request)

    def cut_row(self, blank: Pair, request: Request) -> Pair:
        """A pair's row once its source is there and its bounds are known."""
        asked = dataclasses.replace(
            blank,
            start_s=request.start_s,
            end_s=request.end_s,
            bounds_source=request.bounds_source,
        )
        entry = self.known["cut"].get(request.item)
        if entry is None or entry.state is State.PENDING:
            return asked
        if entry.state is State.FAILED:
            return fail(asked, entry.error_class, entry.message)
        found = {name: value for name, value in entry.result.items() if name in CLIP_COLUMNS}
        audio = {"bytes": None, "path": entry.result["file"]}
        return dataclasses.replace(asked, status=State.OK, audio=audio, **found)


CLIP_COLUMNS = frozenset(
    "clip_id actual_start_s actual_end_s sample_rate codec loudness_lufs true_peak_dbtp "
    "num_samples sha256 pcm_md5 silence_head_s silence_tail_s silence_ratio clipping_ratio "
    "dc_offset bandwidth_hz fingerprint".split()
)
RESULTS = {  # stage -> what the ledger says of each finished item
    "source": frozenset(("file", "sha256", "duration_s", "chapters", "description")),
    "cut": CLIP_COLUMNS | {"file"},
}
BLANK: dict[str, Any] = {
    **dict.fromkeys((*CLIP_COLUMNS, "audio", "error_class", "error_message", "filter_reason")),
    "config_fingerprint": None,
    "status": State.PENDING.value,
    "stage": "pair",
}


def turned_down(pair: Pair) -> bool:
    """Whether the pair stage filtered it."""
    return pair.status == State.FILTERED and pair.stage == "pair"


def worth_another(entry: Entry, allow_loopback: bool = False) -> bool:
    """Whether an item that is not ok is worked on again."""
    failed = entry.state is State.FAILED and entry.error_class is not None
    allowed = allow_loopback and entry.error_class == ErrorClass.REFUSED
    return not failed or allowed or ErrorClass(entry.error_class or "").transient


def fail(pair: Pair, error_class: str | None, message: str | None) -> Pair:
    """A failed row."""
    return dataclasses.replace(
        pair, status=State.FAILED, error_class=error_class, error_message=message
    )


def refused(pair: Pair, refusal: Refusal) -> Pair:
    """A row that gets no clip."""
    if refusal.state is State.FAILED:
        return fail(pair, refusal.reason, refusal.message)
    return dataclasses.replace(pair, status=State.FILTERED, filter_reason=refusal.reason)


def caught(error: Exception) -> Failed:
    """The failure that an exception of a job stands for; any other is our bug and is raised."""
    if isinstance(error, SourceError | AudioError):
        return Failed(error.error_class, str(error))
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Failed(ErrorClass.DISK_FULL, str(error))
    raise error


def fetch_one(
    key: str,
    url: str,
    folder: Path,
    config: FetchConfig,
    obtain: Callable[[str, Path, SourceConfig], Source],
) -> Outcome:
    """Obtain a source into `folder` under a temporary name and decode it to verify it."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{TEMPORARY_PREFIX}{stable_id(key)}"
    local = {"stamp": file_stamp(url)} if obtain is copy_source else {}  # before it is read
    try:
        source = obtain(url, stem, config)
        media = probe(source.path)
        if media.duration_s > config.max_source_s:
            limit = f"{media.duration_s:.0f} s, above fetch.max_source_s {config.max_source_s:g}"
            raise AudioError(ErrorClass.TOO_LONG, f"{url} lasts {limit}")
    except (SourceError, AudioError, OSError) as error:
        for left in folder.glob(stem.name + "*"):
            left.unlink(missing_ok=True)
        return dataclasses.replace(caught(error), result=local)
    chapters = [dataclasses.astuple(one) for one in source.chapters] or media.chapters
    result = {
        "file": f"{SOURCES}/{source.sha256}{source.path.suffix}",
        "sha256": source.sha256,
        "url": url,
        "title": source.title,
        "duration_s": media.duration_s,
        "sample_rate": media.sample_rate,
        "channels": media.channels,
        "codec": media.codec,
        "format": source.format,
        "chapters": chapters,
        "description": source.description,
        "licence": source.licence,
        "audio_rights": config.audio_rights,
        **local,
    }
    return Finished(source.path, result, source.tools)


def cut_all(
    data: Path,
    source: Mapping[str, Any],
    requests: Mapping[str, Request],
    config: CutConfig,
    mark: str,
) -> list[Outcome]:
    """Cut the clips of a fetched source under temporary names, and measure each.

    A source that is not the one that was fetched is removed and gives nothing.
    """
    original = data / source["file"]
    if sha256_file(original) != source["sha256"]:
        logger.warning("%s is damaged: it is fetched again", original)
        original.unlink()
        return []
    folder = data / CLIPS
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{TEMPORARY_PREFIX}{item}.{config.codec}" for item in requests]
    spans = [request.span for request in requests.values()]
    try:
        cuts = cut(original, spans, targets, config)
        return [
            finish(one, target, source["sha256"], config, mark)
            for one, target in zip(cuts, targets, strict=True)
        ]
    except (AudioError, OSError) as error:
        for target in targets:
            target.unlink(missing_ok=True)
        return [caught(error)] * len(targets)


def finish(
    one: Cut | AudioError, target: Path, source_sha256: str, config: CutConfig, mark: str
) -> Outcome:
    """Measure a clip; its name is the hash of its source, real bounds and settings."""
    if isinstance(one, AudioError):
        target.unlink(missing_ok=True)
        return caught(one)
    clip_id = stable_id(source_sha256, one.actual_start_s, one.actual_end_s, mark)
    result = {
        "clip_id": clip_id,
        "file": f"{CLIPS}/{clip_id[:2]}/{clip_id}.{config.codec}",
        "sample_rate": config.sample_rate,
        "codec": config.codec,
        "num_bytes": target.stat().st_size,
        **dataclasses.asdict(one),
        **dataclasses.asdict(measure(target)),
    }
    return Finished(target, result, TOOLS)
