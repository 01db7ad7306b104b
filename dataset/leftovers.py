"""What a data folder needs no more: sources of whole clips, orphans of runs, unnamed clips."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from crawler.errors import UserError
from crawler.files import TEMPORARY_PREFIX, sha256_file
from crawler.ledger import Entry, Ledger, State, folder_lock
from crawler.summary import Progress, Summary, silent
from dataset.closeup import cut_item
from dataset.fetch import FetchConfig
from dataset.index import PAIRS_NAME, load_pairs, read_table
from dataset.jobs import addresses
from dataset.pairs import Pair, stable_id
from dataset.partial import KNOWN, PART
from dataset.rows import source_key, turned_down
from dataset.tasks import CLIPS, SOURCES, fingerprint

SOURCE_FILE = re.compile(r"[0-9a-f]{64}(\.\w+)?")
CLIP_FILE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{16}\.(flac|wav|opus)")
SWEPT = (SOURCES, CLIPS, "pages", "splits")  # written under the folder's lock alone, as its top is


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was looked at."""

    file: Path
    kind: str  # source, temporary file or clip
    kept: str | None = None  # why it stays; None = it is needed no more


def clean(
    data: Path,
    config: FetchConfig,
    *,
    clips: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Delete what `fetch` under the same settings will not ask for again.

    That is a source of which every pair is ok and every clip lies there with the recorded bytes,
    cut under the settings of `config`; what killed runs left; and, with `clips`, clips that
    neither the index nor a split names. A file of another origin stays. `dry_run` only tells,
    in details["files"]. Stopped at any moment, a further run does the rest. UserError when there
    is no index, no ledger or no right to delete.
    """
    if not data.is_dir():
        raise UserError(f"no data folder {data}: give one with --data")
    counts: Counter[str] = Counter()
    told, num_bytes, done = [], 0, "to delete" if dry_run else "deleted"
    lock = nullcontext() if dry_run else folder_lock(data)
    with lock, Ledger(data, read_only=True) as ledger:
        pairs = load_pairs(data / PAIRS_NAME)
        for found in look(data, ledger, pairs, fingerprint(config), clips=clips):
            if found.kept is not None:
                counts[f"kept: {found.kind}, {found.kept}"] += 1
                continue
            size = found.file.lstat().st_size
            if not dry_run:
                remove(found.file)
            counts[f"{done}: {found.kind}"] += 1
            num_bytes += size
            name = str(found.file.relative_to(data))
            told.append({"file": name, "kind": found.kind, "bytes": size})
            progress(counts.total(), counts.total())
    return Summary(
        stage="clean",
        total=counts.total(),
        counts=dict(sorted(counts.items())),
        artifact=data,
        details={"bytes": num_bytes, "files": told if dry_run else []},
        work_done=0 if dry_run else len(told),
    )


def look(
    data: Path, ledger: Ledger, pairs: Sequence[Pair], mark: str, *, clips: bool
) -> Iterator[Found]:
    """Every source, orphan and (with `clips`) clip of the folder, one after another."""
    begun = stems(pairs)
    for file in orphans(data):
        partial = file.name.endswith((PART, KNOWN)) and file.name.split(".")[1] in begun
        yield Found(file, "temporary file", "a transfer to go on with" if partial else None)
    yield from sources(data, ledger, pairs, mark)
    if clips:
        named = named_clips(data, pairs)
        for file in files_like(data / CLIPS, CLIP_FILE):
            kept = "named" if str(file.relative_to(data)) in named else None
            yield Found(file, "clip", kept)


def stems(pairs: Sequence[Pair]) -> set[str]:
    """What the parts of the recordings that are still to be had are named by."""
    keys = {source_key(pair) for pair in pairs if pair.status != State.OK and not turned_down(pair)}
    every = keys.union(*map(addresses, keys))
    return {f"{TEMPORARY_PREFIX}{stable_id(key)}".lstrip(".") for key in every}


def orphans(data: Path) -> list[Path]:
    """What killed runs left: nobody writes here while the folder's lock is ours."""
    pattern = TEMPORARY_PREFIX + "*"
    places = [data.glob(pattern), *((data / name).rglob(pattern) for name in SWEPT)]
    return sorted(path for place in places for path in place if path.is_file())


def files_like(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """The files below a folder, no links, that have a name of ours."""
    return sorted(
        path
        for path in folder.rglob("*")
        if name.fullmatch(path.relative_to(folder).as_posix())
        and path.is_file()
        and not path.is_symlink()
    )


def named_clips(data: Path, pairs: Sequence[Pair]) -> set[str]:
    """The clips that the index or a split names, as paths within the data folder."""
    found = [pair.audio for pair in pairs]
    for path in data.glob("splits/*/*.parquet"):
        found += read_table(path, ["audio"]).column("audio").to_pylist()
    return {audio["path"] for audio in found if audio and audio["path"]}


def remove(file: Path) -> None:
    """Delete a file; UserError when that is not allowed."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot delete {file} ({error.strerror}): give a data folder that is yours to write"
        ) from error


# ---------------------------------------------------------------- sources


def sources(data: Path, ledger: Ledger, pairs: Sequence[Pair], mark: str) -> Iterator[Found]:
    """The fetched sources, each looked at when its turn comes."""
    holders: dict[str, list[Entry]] = defaultdict(list)  # several addresses may give one file
    for entry in ledger.walk("source"):
        holders[str(entry.result.get("file"))].append(entry)
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if not turned_down(pair):
            groups[source_key(pair)].append(pair)
    sha256_of = cache(sha256_file)  # several texts share a clip
    for file in files_like(data / SOURCES, SOURCE_FILE):
        entries = holders.get(f"{SOURCES}/{file.name}", [])
        reasons = (
            needed(data, ledger, entry, groups.get(entry.item, ()), mark, sha256_of)
            for entry in entries
        )
        unknown = None if entries else "unknown to the ledger"
        yield Found(file, "source", next(filter(None, reasons), unknown))


def needed(
    data: Path,
    ledger: Ledger,
    source: Entry,
    group: Sequence[Pair],
    mark: str,
    sha256_of: Callable[[Path], str],
) -> str | None:
    """Why the file of a source is still needed by its pairs; None when it is not."""
    if source.state is not State.OK:
        return "not finished"
    if not group:
        return "no pair asks for it"
    if any(pair.status != State.OK for pair in group):
        return "not all its pairs are ok"
    if any(pair.config_fingerprint != mark for pair in group):
        return "its clips are cut under other settings"
    cuts = {pair.pair_id: ledger.entry("cut", cut_item(ledger, pair)) for pair in group}
    if not all(is_whole(data, pair, cuts[pair.pair_id], sha256_of) for pair in group):
        return "not all its clips are whole"
    return None


def is_whole(data: Path, pair: Pair, cut: Entry | None, sha256_of: Callable[[Path], str]) -> bool:
    """Whether a pair's clip lies there with the bytes that index and ledger tell of."""
    if cut is None or cut.state is not State.OK or not pair.audio:
        return False
    told: Mapping[str, object] = cut.result
    if (told.get("file"), told.get("sha256")) != (pair.audio["path"], pair.sha256):
        return False
    file = data / pair.audio["path"]
    return (
        file.is_file()
        and file.stat().st_size == told.get("num_bytes")
        and sha256_of(file) == pair.sha256
    )
