"""What the fetch stage costs beside fetching and cutting: its commits, its start, its index."""

import hashlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crawler.ledger import Ledger
from dataset.bounds import clip_item
from dataset.duplicates import fill_duplicates
from dataset.fetch import FetchConfig, quick
from dataset.index import PAIRS_NAME, read_table, write_columns, write_table
from dataset.pairs import Pair
from dataset.rows import Asked
from dataset.schedule import Schedule
from dataset.schema import COLUMNS, PAIRS_SCHEMA
from dataset.tasks import Finished, fingerprint

LEAST: dict[str, float] = {}
MOST = {"commit_ratio": 2.0, "scan_s": 2.0, "rebuild_s": 30.0, "rebuild_gb": 2.0}
COMMITS, SCANNED, ROWS = 200, 100_000, 1_000_000
CLIPS_A_SOURCE = 4
MOVEMENT_S = 300.0
CONFIG = FetchConfig(min_free_mb=0)
CLIP_BYTES = 100_000  # of a file that is committed


def result_of(place: int, file: str, num_bytes: int) -> dict[str, Any]:
    """What the ledger says of a finished clip."""
    start_s = place % CLIPS_A_SOURCE * MOVEMENT_S
    digest = hashlib.sha256(str(place).encode()).hexdigest()
    return {
        "clip_id": digest[:16], "file": file, "sample_rate": 16_000, "codec": "flac",
        "num_bytes": num_bytes, "actual_start_s": start_s, "actual_end_s": start_s + MOVEMENT_S,
        "loudness_lufs": -23.5, "true_peak_dbtp": -3.25, "num_samples": 4_800_000,
        "sha256": digest, "pcm_md5": digest[:32], "silence_head_s": 0.34, "silence_tail_s": 1.12,
        "silence_ratio": 0.03125, "clipping_ratio": 0.0, "dc_offset": 0.00012,
        "bandwidth_hz": 4123.5, "fingerprint": None,
    }  # fmt: skip


def source_of(source: int) -> dict[str, Any]:
    """What the ledger says of a finished source."""
    digest = hashlib.sha256(f"source {source}".encode()).hexdigest()
    return {
        "file": f"sources/{digest}.m4a", "sha256": digest, "num_bytes": 20_000_000,
        "url": f"https://site.test/watch?v={source:011}", "title": f"Recording {source}",
        "duration_s": CLIPS_A_SOURCE * MOVEMENT_S, "sample_rate": 44_100, "channels": 2,
        "codec": "aac", "format": "140", "chapters": [], "description": "Played by four.",
        "licence": None, "audio_rights": None,
    }  # fmt: skip


def pair_of(place: int) -> Pair:
    """The row of a clip before it is cut."""
    source, movement = divmod(place, CLIPS_A_SOURCE)
    start_s = movement * MOVEMENT_S
    return Pair(
        pair_id=f"{place:016x}", work_id=f"Composer-{source % 997}-Quartet-No-{source}",
        level="movement", movements=(movement + 1,), recording_id=f"{source:011}",
        caption=f"The movement numbered {place} begins with a theme in the cello. " * 3,
        caption_raw=f"The movement numbered {place} begins with a theme in the cello. " * 3,
        note_source="Ours", text_index=movement, num_words=33, num_tokens=36,
        align_method="monotone", align_score=0.97, composer=f"Composer {source % 997}",
        title=f"Quartet No. {source}", source_url=f"https://site.test/watch?v={source:011}",
        youtube_id=f"{source:011}", start_s=start_s, end_s=start_s + MOVEMENT_S,
        bounds_source="page", page_url="/chamber-music/", text_rights="unknown",
        audio_rights="unknown",
    )  # fmt: skip


def make_folder(data: Path, clips: int, *, files: bool) -> None:
    """A data folder with an index of pairs whose clips are all cut, as the ledger has it."""
    import pyarrow as pa

    data.mkdir(parents=True)
    mark = fingerprint(CONFIG)
    Ledger(data).close()
    with sqlite3.connect(data / "ledger.sqlite") as db:
        db.executemany(
            "INSERT INTO items VALUES (?, ?, 'ok', NULL, NULL, ?, 2, 0)",
            lines(data, clips, mark, files=files),
        )
    db.close()
    names = [column.name for column in COLUMNS]
    chunks = []
    for first in range(0, clips, 50_000):
        rows = [pair_of(place) for place in range(first, min(first + 50_000, clips))]
        columns = {name: [getattr(row, name) for row in rows] for name in names}
        for name in ("movements", "align_flags", "instruments", "performers"):
            columns[name] = [list(value) for value in columns[name]]
        chunks.append(pa.table(columns, schema=PAIRS_SCHEMA))
    write_table(data / PAIRS_NAME, pa.concat_tables(chunks))


def lines(data: Path, clips: int, mark: str, *, files: bool) -> Iterator[tuple[str, str, str]]:
    """(stage, item, result) of every finished source and clip."""
    for source in range(-(-clips // CLIPS_A_SOURCE)):
        yield "source", f"{source:011}", json.dumps(source_of(source))
    for place in range(clips):
        source, movement = divmod(place, CLIPS_A_SOURCE)
        start_s = movement * MOVEMENT_S
        item = clip_item(f"{source:011}", [movement + 1], start_s, start_s + MOVEMENT_S, mark)
        file = f"clips/{item[:2]}/{item}.flac"
        if files:
            path = data / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        yield "cut", item, json.dumps(result_of(place, file, 0))


def scan(folder: Path, clips: int) -> dict[str, float]:
    """Seconds until a run over so many finished clips knows that nothing is to be done."""
    data = folder / "scan"
    make_folder(data, clips, files=True)
    begun = time.perf_counter()
    with Ledger(data) as ledger, quick():
        stage = Schedule(data, CONFIG, ledger, read_table(data / PAIRS_NAME, Asked._fields))
        stage.adopt()
        left = stage.jobs.sources()
    seconds = time.perf_counter() - begun
    assert not left, f"{len(left)} sources are left to do"
    return {"scan_clips": clips, "scan_s": round(seconds, 2)}


def rebuild(folder: Path, rows: int) -> dict[str, float]:
    """Seconds and the largest memory of rebuilding an index of so many rows, in a process."""
    data = folder / "rebuild"
    make_folder(data, rows, files=False)
    code = f"from bench.engine import rebuild_here; rebuild_here({str(data)!r})"
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return {"rebuild_rows": rows} | found


def rebuild_here(data: str) -> None:
    """Print what `rebuild` measures: of this process."""
    begun = time.perf_counter()
    found = rebuilt(Path(data))
    seconds = time.perf_counter() - begun
    states = set(found.column("status").to_pylist())
    assert states == {"ok"}, states
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"rebuild_s": round(seconds, 1), "rebuild_gb": round(most, 2)}))


def rebuilt(data: Path) -> Any:
    """The states of the rows of a folder's index, rebuilt and written as `fetch` does."""
    index = data / PAIRS_NAME
    with Ledger(data) as ledger, quick():
        stage = Schedule(data, CONFIG, ledger, read_table(index, Asked._fields))
        found = fill_duplicates(stage.known.rebuilt())
        assert write_columns(index, found), "the index was as the ledger has it"
    return found


def commits(folder: Path, number: int) -> dict[str, float]:
    """How long the commit of a clip takes, beside a bare flush, rename and SQLite commit."""
    data = folder / "commits"
    data.mkdir()
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    with Ledger(data) as ledger:
        stage = Schedule(data, CONFIG, ledger, PAIRS_SCHEMA.empty_table())
        bare = sqlite3.connect(data / "bare.sqlite", isolation_level=None)
        bare.execute("PRAGMA journal_mode=WAL")
        bare.execute("PRAGMA synchronous=NORMAL")
        bare.execute("CREATE TABLE items (item TEXT PRIMARY KEY, result TEXT)")
        for place in range(number):
            for name in times:
                temporary = data / f"temporary-{name}-{place}"
                temporary.write_bytes(os.urandom(CLIP_BYTES))
                result = result_of(place, f"{name}/{place:02}.flac", CLIP_BYTES)
                begun = time.perf_counter()
                if name == "ours":
                    stage.keep("cut", str(place), Finished(temporary, result, {}), time.time())
                else:
                    bare_commit(bare, data, temporary, result)
                times[name].append(time.perf_counter() - begun)
        bare.close()
    middle = {name: sorted(values)[number // 2] for name, values in times.items()}
    return {
        "commits": number,
        "commit_ms": round(middle["ours"] * 1e3, 2),
        "bare_commit_ms": round(middle["bare"] * 1e3, 2),
        "commit_ratio": round(middle["ours"] / middle["bare"], 2),
    }


def bare_commit(
    bare: sqlite3.Connection, data: Path, temporary: Path, result: dict[str, Any]
) -> None:
    """A file's flush, its rename, the folder's flush, and one commit."""
    file = data / result["file"]
    file.parent.mkdir(exist_ok=True)
    with temporary.open("rb") as body:
        os.fsync(body.fileno())
    temporary.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    bare.execute("INSERT INTO items VALUES (?, ?)", (file.name, json.dumps(result)))


def figures(folder: Path, minutes: int) -> dict[str, Any]:
    """Every figure; `minutes` is of other parts. The files lie where the temporary ones do."""
    return commits(folder, COMMITS) | scan(folder, SCANNED) | rebuild(folder, ROWS)
