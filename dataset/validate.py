"""The promises of the data folder, checked against its files; nothing is changed."""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import soundfile

from crawler.errors import SchemaVersionError
from crawler.files import TEMPORARY_PREFIX, sha256_file
from crawler.ledger import State
from crawler.summary import Progress, Summary, silent
from dataset.findings import MISSING, SEEN, WARNINGS, Finding, Row
from dataset.ids import IDS_NAME, compare_ids, read_ids
from dataset.index import PAIRS_NAME, read_table
from dataset.pairs import SCHEMA_VERSION, ErrorClass, Level, pair_id
from dataset.parts import SPLITS_NAME
from dataset.schema import COLUMNS
from dataset.splitchecks import Index, check_split

CLIPS_NAME = "clips"
STAGES = ("pair", "source", "cut")  # that a row can have entered
CHANNELS = (1, 2)  # of a clip
BOUNDS_TOLERANCE_S = 0.05  # a clip's length against its bounds in the source
NEEDED = {  # what a row must say in each state
    State.OK: (
        *("clip_id", "audio", "sample_rate", "num_samples", "sha256", "pcm_md5", "codec"),
        *("actual_start_s", "actual_end_s", "config_fingerprint"),
    ),
    State.FAILED: ("error_class",),
    State.FILTERED: ("filter_reason",),
    State.PENDING: (),
}
# What mends a clip, and a row whose text is at fault.
AGAIN = "run `earscribe validate --repair` and `earscribe fetch`"
ANEW = "run `earscribe pair`"
FLAC_SUM = slice(26, 42)  # of a FLAC file: the MD5 sum of its samples, 0 = not told


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What `check` found; missing or wrong files and rows are violations, warnings are not."""

    data: Path
    missing: tuple[Finding, ...]
    wrong: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    checked: Mapping[str, int]  # "pairs", "clips", "splits" (or "index") -> how many were looked at
    clips: Mapping[str, tuple[str, ...]]  # path of a clip -> the pairs that name it

    @property
    def clean(self) -> bool:
        """No violation; warnings may stand."""
        return not self.missing and not self.wrong

    @property
    def violations(self) -> tuple[Finding, ...]:
        """What is missing, then what is wrong."""
        return (*self.missing, *self.wrong)

    @property
    def summary(self) -> Summary:
        """Every checked thing once: "ok", or by its first violation."""
        first: dict[str, str] = {}
        for found in self.violations:
            first.setdefault(found.item, f"violation: {found.kind}")
        total = sum(self.checked.values())
        return Summary(
            stage="validate",
            total=total,
            counts={"ok": total - len(first)} | dict(Counter(first.values())),
            artifact=self.data,
            details={"checked": dict(self.checked), **self.lists(self.violations)},
        )

    def lists(self, left: Iterable[Finding]) -> dict[str, Any]:
        """For a summary: how many violations are left, which is missing, wrong, and warnings."""
        kept = set(left)
        return {
            "findings": len(kept),
            "missing": [dataclasses.asdict(found) for found in self.missing if found in kept],
            "wrong": [dataclasses.asdict(found) for found in self.wrong if found in kept],
            "warnings": [dataclasses.asdict(found) for found in self.warnings],
        }


def validate(data: Path, progress: Progress = silent, *, but: Collection[str] = ()) -> Summary:
    """Check a data folder; details["findings"] is 0 when every promise is kept.

    `but` names splits that are not looked at, because they are to be made anew.
    Else details["missing"] and details["wrong"] list what is not. In a folder with an imported
    release of ids, details["release"] counts what differs from it: no violation, for recordings
    go. UserError when there is no index to check.
    """
    summary = check(data, progress, but=but).summary
    if not (data / IDS_NAME).is_file():
        return summary
    return dataclasses.replace(summary, details={**summary.details, **_release(data)})


def _release(data: Path) -> dict[str, Any]:
    differences = compare_ids(data)
    kinds = Counter(row["difference"] for row in differences)
    count = len(read_ids(data / IDS_NAME)) - len({row["pair_id"] for row in differences})
    return {"release": {"as released": count, **kinds}, "differences": differences}


def check(data: Path, progress: Progress = silent, *, but: Collection[str] = ()) -> Validation:
    """Look at the index, the clips and the splits of a data folder without changing anything."""
    path = data / PAIRS_NAME
    try:
        rows = read_table(path, SEEN).to_pylist()
    except SchemaVersionError as error:
        return _sorted(data, {"index": 1}, [Finding("schema_version", path.name, str(error))], {})
    clips = _clips(rows)
    index = Index(sha256_file(path), {row["pair_id"]: row for row in rows}, len(rows))
    folders = (folder for folder in (data / SPLITS_NAME).glob("*") if folder.is_dir())
    splits = sorted(folder for folder in folders if folder.name not in but)
    findings = [
        *(finding for row in rows for finding in _check_row(row)),
        *_check_ids(rows),
        *_check_texts(rows),
        *_check_clips(data, clips, progress),
        *_check_strays(data, clips),
        *(finding for folder in splits for finding in check_split(data, folder, index)),
    ]
    checked = {"pairs": len(rows), "clips": len(clips), "splits": len(splits)}
    return _sorted(data, checked, findings, clips)


def _sorted(
    data: Path,
    checked: Mapping[str, int],
    findings: Iterable[Finding],
    clips: Mapping[str, Iterable[Row]],
) -> Validation:
    every = tuple(findings)
    return Validation(
        data=data,
        missing=tuple(found for found in every if found.kind in MISSING),
        wrong=tuple(found for found in every if found.kind not in MISSING | WARNINGS),
        warnings=tuple(found for found in every if found.kind in WARNINGS),
        checked=checked,
        clips={name: tuple(row["pair_id"] for row in rows) for name, rows in clips.items()},
    )


# ---------------------------------------------------------------- rows


def _check_row(row: Row) -> Iterator[Finding]:
    item, state = str(row["pair_id"]), row["status"]
    nulls = sorted(c.name for c in COLUMNS if not c.nullable and row[c.name] is None)
    if nulls:
        yield Finding("null", item, f"it lacks {', '.join(nulls)}: {ANEW}")
        return  # the checks below read these columns
    if state not in NEEDED:
        yield Finding("status", item, f"status {state!r} is none of {', '.join(NEEDED)}: {AGAIN}")
    if row["stage"] not in STAGES:
        message = f"stage {row['stage']!r} is none of {', '.join(STAGES)}: {AGAIN}"
        yield Finding("stage", item, message)
    if row["schema_version"] != SCHEMA_VERSION:
        yield Finding("schema_version", item, f"schema version {row['schema_version']}: {ANEW}")
    if not row["caption"].strip() and state != State.FILTERED:
        yield Finding("empty_caption", item, f"the caption is empty: {ANEW}")
    if row["level"] not in set(Level):
        yield Finding("level", item, f"level {row['level']!r} is none of {', '.join(Level)}")
    yield from _check_state(row)


def _check_state(row: Row) -> Iterator[Finding]:
    """Whether a row says what its state asks for."""
    item, state = str(row["pair_id"]), row["status"]
    lacking = [name for name in NEEDED.get(state, ()) if row[name] is None]
    if row["audio"] is not None and not row["audio"]["path"]:
        lacking.append("audio.path")
    if lacking:
        message = f"a pair that is {state} lacks {', '.join(sorted(lacking))}: {AGAIN}"
        yield Finding("state", item, message)
    elif state == State.FAILED and row["error_class"] not in set(ErrorClass):
        yield Finding("error_class", item, f"unknown error class {row['error_class']!r}: {AGAIN}")
    elif state == State.OK:
        yield from _check_bounds(row)


def _check_bounds(row: Row) -> Iterator[Finding]:
    cut_s = row["actual_end_s"] - row["actual_start_s"]
    length_s = row["num_samples"] / row["sample_rate"] if row["sample_rate"] else math.nan
    if not abs(cut_s - length_s) <= BOUNDS_TOLERANCE_S:
        message = f"the bounds span {cut_s:.3f} s, the samples {length_s:.3f} s: {AGAIN}"
        yield Finding("bounds", row["pair_id"], message)


def _check_ids(rows: Iterable[Row]) -> Iterator[Finding]:
    seen: set[str] = set()
    for row in rows:
        item = str(row["pair_id"])
        if item in seen:
            yield Finding("duplicate_pair", item, "the pair stands in the index twice")
        seen.add(item)
        parts = (row["work_id"], row["note_source"], row["text_index"], row["recording_id"])
        if None in (*parts, row["movements"]):
            continue  # told as "null"
        work, source, index, recording = parts
        if item != pair_id(work, tuple(row["movements"]), source, index, recording):
            message = f"the id is not the hash of work, text and recording: {ANEW}"
            yield Finding("pair_id", item, message)


def _check_texts(rows: Iterable[Row]) -> Iterator[Finding]:
    """Pairs that say the same of the same music: two notes may quote one text, so a warning."""
    same: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for row in rows:
        if row["status"] == State.OK and row["caption"] and row["movements"] is not None:
            music = (row["work_id"], row["recording_id"], *row["movements"])
            same[(" ".join(row["caption"].split()), *music)].append(str(row["pair_id"]))
    for first, *others in same.values():
        if others:
            message = f"{', '.join(others)} has the same caption for the same music"
            yield Finding("equal_text", first, message)


# ---------------------------------------------------------------- clips


def _clips(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The ok rows by the path of their clip."""
    clips: dict[str, list[Row]] = {}
    for row in rows:
        if row["status"] == State.OK and row["audio"] and row["audio"]["path"]:
            clips.setdefault(row["audio"]["path"], []).append(row)
    return clips


def _check_clips(
    data: Path, clips: Mapping[str, list[Row]], progress: Progress
) -> Iterator[Finding]:
    for done, (name, rows) in enumerate(sorted(clips.items()), start=1):
        yield from _check_clip(data, name, rows)
        progress(done, len(clips))


def is_sound(data: Path, result: Row) -> bool:
    """Whether what the ledger says of a clip is true, and possible."""
    row = {**result, "pair_id": ""}
    return not [*_check_clip(data, result["file"], [row]), *_check_bounds(row)]


def _check_clip(data: Path, name: str, rows: list[Row]) -> Iterator[Finding]:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or relative.parts[:1] != (CLIPS_NAME,):
        message = f"a clip lies in {CLIPS_NAME}/ of the data folder: {AGAIN}"
        yield Finding("clip_path", name, message)
        return
    path = data / relative
    if not path.is_file():
        yield Finding("missing_clip", name, f"{needing(rows)} it: run `earscribe fetch`")
        return
    digest = sha256_file(path)
    altered = any(row["sha256"] != digest for row in rows)
    if altered:
        yield Finding("altered_clip", name, f"its bytes are not those of the index: {AGAIN}")
    yield from _check_header(path, name, rows)
    told = None if altered else flac_sum(path)
    if told and any(row["pcm_md5"] != told for row in rows):
        message = f"its samples have another MD5 sum than the index says: {AGAIN}"
        yield Finding("pcm_md5", name, message)
    if any(row["clip_id"] != relative.stem for row in rows):
        yield Finding("clip_path", name, f"the file is not named by its clip_id: {AGAIN}")


def needing(rows: list[Row]) -> str:
    """How many pairs need a thing."""
    return f"{len(rows)} pairs need" if len(rows) > 1 else "a pair needs"


def _check_header(path: Path, name: str, rows: list[Row]) -> Iterator[Finding]:
    try:
        header = soundfile.info(path)
    except soundfile.SoundFileError as error:
        yield Finding("unreadable_clip", name, f"{error}: {AGAIN}")
        return
    if any(row["sample_rate"] != header.samplerate for row in rows):
        message = f"the file has {header.samplerate} Hz, the index not: {AGAIN}"
        yield Finding("sample_rate", name, message)
    if header.channels not in CHANNELS:
        yield Finding("channels", name, f"the file has {header.channels} channels, not 1 or 2")
    if any(row["num_samples"] != header.frames for row in rows):
        message = f"the file has {header.frames} samples, the index not: {AGAIN}"
        yield Finding("num_samples", name, message)


def flac_sum(path: Path) -> str | None:
    """The MD5 sum of a FLAC file's samples as its head tells it; None when it does not."""
    with path.open("rb") as body:
        head = body.read(FLAC_SUM.stop)
    told = head[FLAC_SUM] if head.startswith(b"fLaC") else b""
    return told.hex() if any(told) else None


def _check_strays(data: Path, clips: Mapping[str, Any]) -> Iterator[Finding]:
    for path in sorted((data / CLIPS_NAME).rglob("*")):
        name = path.relative_to(data).as_posix()
        if path.is_file() and path.name.startswith(TEMPORARY_PREFIX):
            yield Finding("temporary_file", name, "left by a killed run; the next one removes it")
        elif path.is_file() and name not in clips:
            yield Finding("orphan_clip", name, "no pair of the index names it")
