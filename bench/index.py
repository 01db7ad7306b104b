"""How fast a large index is split, read and reported: python -m bench.index."""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from dataset.index import PAIRS_NAME, ROW_GROUP, read_table
from dataset.pairs import SCHEMA_VERSION
from dataset.parts import LEFT_TO_THE_INDEX, folder_of, read_part, read_split
from dataset.report import report
from dataset.schema import PAIRS_SCHEMA
from dataset.splits import SplitConfig, split

MOST = {"split_s": 30.0, "split_gb": 3.0, "over_scan": 10.0, "ids_s": 1.0, "report_s": 60.0}
REPORTED = 2_000  # pairs of the report
GROWN = 10  # times the rows for the growth, with --rows
RATE = 16_000
WHERE = "duration_s BETWEEN 150 AND 840 AND ensemble = 'quartet' AND align_score > 0.2"
CONFIG = SplitConfig(where=WHERE, group="composer")
WORDS = [f"word{number}" for number in range(7_000)]


# ------------------------------------------------------------------------------------------------
# An index of any size


def texts(form: str, numbers: np.ndarray) -> pa.Array:
    """A text for each number."""
    return pa.array([form % number for number in numbers.tolist()], pa.string())


def pool(size: int = 20_000) -> list[str]:
    """Texts of 43 words, the frequent ones more often than the rare ones."""
    chance = np.random.default_rng(0)
    drawn = (len(WORDS) * chance.random((size, 43)) ** 3).astype(int)
    return [" ".join(WORDS[word] for word in row) for row in drawn.tolist()]


def columns_of(at: np.ndarray, captions: list[str]) -> dict[str, pa.Array]:
    """The columns of the rows of these numbers: 4 a recording, 8 a work, 997 composers."""
    chance, n = np.random.default_rng(int(at[0])), len(at)
    source, work, ids = at // 4, at // 8, texts("%016x", at)
    start_s = (at % 4 * 1500).astype(float)
    num_samples = chance.integers(40, 1500, n) * RATE
    ensembles = np.array(["quartet", "trio", "quintet"], dtype=object)[work % 3]
    state = np.array(["ok"] * 9 + ["failed"], dtype=object)[at % 10]
    caption = pa.array([f"{captions[x % len(captions)]} number {x}." for x in at.tolist()])
    same = dict.fromkeys(("text_rights", "audio_rights"), pa.array(["unknown"] * n))
    return same | {
        "pair_id": ids, "text_group": ids, "clip_id": ids, "caption": caption,
        "caption_raw": caption, "work_id": texts("Composer-Quartet-No-%d", work),
        "composer": texts("Composer %d", work * 7919 % 997), "title": texts("Quartet No. %d", work),
        "page_url": texts("/chamber-music/Composer-Quartet-No-%d/", work),
        "recording_id": texts("recording%d", source), "youtube_id": texts("v%010d", source),
        "source_url": texts("https://www.youtube.com/watch?v=v%010d", source),
        "level": pa.array(["movement"] * n), "note_source": pa.array(["Ours"] * n),
        "movements": pa.array([[x] for x in (at % 4 + 1).tolist()]), "text_index": at % 4,
        "num_words": np.full(n, 45), "num_tokens": chance.integers(5, 200, n),
        "align_method": pa.array(["path"] * n), "align_score": chance.random(n),
        "year": 1750 + work % 200, "ensemble": pa.array(ensembles),
        "start_s": start_s, "actual_start_s": start_s,
        "actual_end_s": start_s + num_samples / RATE, "bounds_source": pa.array(["page"] * n),
        "audio": pa.StructArray.from_arrays(
            [pa.nulls(n, pa.binary()), texts("clips/%016x.flac", at)], names=["bytes", "path"]
        ),
        "sample_rate": np.full(n, RATE), "num_samples": num_samples,
        "codec": pa.array(["flac"] * n),
        "sha256": texts("%064x", at * 7919), "pcm_md5": texts("%032x", at * 7907),
        "loudness_lufs": chance.normal(-20, 4, n), "status": pa.array(state),
        "stage": pa.array(["cut"] * n), "schema_version": np.full(n, SCHEMA_VERSION),
        "redistributable": np.zeros(n, dtype=bool),
    }  # fmt: skip


def make_index(path: Path, rows: int) -> None:
    """Write an index of so many pairs whose duplicates are given."""
    captions = pool()
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, PAIRS_SCHEMA, compression="zstd") as writer:
        for first in range(0, rows, ROW_GROUP):
            at = np.arange(first, min(first + ROW_GROUP, rows))
            made = columns_of(at, captions)
            columns = []
            for field in PAIRS_SCHEMA:
                values = made.get(field.name)
                if values is None and pa.types.is_list(field.type):
                    values = pa.array([[]] * len(at), field.type)
                elif values is None:
                    values = pa.nulls(len(at), field.type)
                columns.append(pa.array(values).cast(field.type))
            writer.write_table(pa.table(columns, schema=PAIRS_SCHEMA))


def make_clips(data: Path) -> None:
    """A clip of half a minute under the name of every row's."""
    one = data / "clips" / "one.flac"
    one.parent.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 30 * RATE)
    soundfile.write(one, noise, RATE, subtype="PCM_16")
    for row in read_table(data / PAIRS_NAME, columns=["audio"]).to_pylist():
        (data / row["audio"]["path"]).hardlink_to(one)


# ------------------------------------------------------------------------------------------------
# What is measured


def timed(work: Callable[[], Any]) -> float:
    """Wall-clock seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def scan_s(path: Path) -> float:
    """DuckDB's time to look at every value of the columns that a split reads, with its threads.

    A split copies the rows that it keeps, so that is all of them but the bulky ones.
    """
    names = [name for name in PAIRS_SCHEMA.names if name not in LEFT_TO_THE_INDEX]
    sums = ", ".join(f"sum(hash({name}))" for name in names)
    with duckdb.connect(config={"threads": os.cpu_count() or 1}) as db:
        return timed(lambda: db.execute(f"SELECT {sums} FROM '{path}'").fetchall())


def alone(data: Path) -> dict[str, float]:
    """Seconds and memory of a split in a process of its own."""
    code = f"from bench.index import *; print(json.dumps(split_of(Path({str(data)!r}))))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return found


def split_of(data: Path) -> dict[str, float]:
    """Split an index, in this process."""
    took = timed(lambda: split(data, CONFIG))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"split_s": round(took, 2), "split_gb": round(peak_gb, 2)}


def figures(folder: Path, rows: int, growth: bool) -> Iterator[tuple[str, Any]]:
    """Every figure as soon as it is known."""
    data = folder / "data"
    make_index(data / PAIRS_NAME, rows)
    yield "rows", rows
    yield "index_mb", round((data / PAIRS_NAME).stat().st_size / 1e6)
    scanned = min(scan_s(data / PAIRS_NAME) for _ in range(3))
    yield "scan_s", round(scanned, 2)
    made = alone(data)
    yield from made.items()
    yield "over_scan", round(made["split_s"] / scanned, 1)
    record = read_split(data, CONFIG.name)
    yield "kept", sum(part["rows"] for part in record["parts"].values())
    yield "groups", record["groups"]["number"]
    folder_ = folder_of(data, CONFIG.name)
    ids = timed(lambda: read_part(folder_, record, "train", columns=["pair_id"]))
    yield "ids_s", round(ids, 3)
    if growth:
        large = folder / "large"
        make_index(large / PAIRS_NAME, rows * GROWN)
        grown = alone(large)
        yield f"split_s_{GROWN}_times", grown["split_s"]
        yield f"split_gb_{GROWN}_times", grown["split_gb"]
        yield "growth", round(grown["split_s"] / made["split_s"], 1)
    small = folder / "small"
    make_index(small / PAIRS_NAME, REPORTED)
    make_clips(small)
    split(small, SplitConfig())
    yield "report_s", round(timed(lambda: report(small)), 2)


def main() -> int:
    """Measure, print, and end with 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the index")
    parser.add_argument("--growth", action="store_true", help=f"also {GROWN} times the rows")
    parser.add_argument("--json", action="store_true", help="last line: the figures as JSON")
    given = parser.parse_args()
    result: dict[str, Any] = {"cores": os.cpu_count(), "machine": platform.platform()}
    print(f"{given.rows:,} pairs on {result['cores']} cores, load {os.getloadavg()[0]:.1f}")
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, value in figures(Path(folder), given.rows, given.growth):
            limit = MOST.get(name)
            held = "" if limit is None else "held" if value <= limit else "MISSED"
            missed |= held == "MISSED"
            print(f"{name:<20} {value!s:>12}" + (f"   limit {limit}   {held}" if held else ""))
            sys.stdout.flush()
            result[name] = value
    if given.json:
        print(json.dumps(result))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
