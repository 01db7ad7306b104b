"""Cleaning a data folder: what goes, what stays, and that fetch asks for nothing again."""

import dataclasses
import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from test_cli import earscribe
from test_fetch import ALL, CONFIG, OFFSETS, corpus, data, replica, rows  # noqa: F401

from crawler import commands
from crawler.errors import LockedError, UserError
from crawler.files import sha256_file
from crawler.ledger import LEDGER_NAME, Ledger
from crawler.summary import Summary
from dataset.clips import CutConfig
from dataset.fetch import fetch
from dataset.index import load_pairs, write_pairs
from dataset.leftovers import clean
from dataset.pairing import pair
from dataset.pairs import stable_id
from dataset.rows import source_key
from dataset.splits import SplitConfig, split
from demo.site import Replica


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the lock and the ledger."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", LEDGER_NAME)
    }


def deleted(summary: Summary) -> dict[str, int]:
    return {key: number for key, number in summary.counts.items() if key.startswith("deleted")}


@pytest.fixture
def fetched(data: Path) -> Path:  # noqa: F811
    """A data folder with four sources, six clips and twelve pairs, all ok."""
    assert fetch(data, CONFIG).counts == {"ok": 12}
    return data


def source_of(folder: Path, video: str) -> Path:
    with Ledger(folder, read_only=True) as ledger:
        entry = ledger.entry("source", video)
    assert entry is not None
    return folder / entry.result["file"]


def test_sources_of_whole_clips_go_and_are_not_fetched_again(
    fetched: Path,
    replica: Replica,  # noqa: F811
) -> None:
    before, asked = files(fetched), len(replica.requests)
    num_bytes = sum(path.stat().st_size for path in (fetched / "sources").iterdir())
    summary = clean(fetched, CONFIG)
    assert summary.counts == {"deleted: source": 4}
    assert (summary.work_done, summary.details["bytes"]) == (4, num_bytes)
    left = {name: body for name, body in before.items() if not name.startswith("sources/")}
    assert files(fetched) == left, "nothing else is touched"

    again = fetch(fetched, CONFIG)
    assert (again.work_done, again.counts, len(replica.requests)) == (0, {"ok": 12}, asked)
    pair(fetched, ALL)
    assert fetch(fetched, CONFIG).work_done == 0, "nor after the pairs are made anew"
    assert files(fetched) == left

    second = clean(fetched, CONFIG)
    assert (second.work_done, second.counts) == (0, {})


def test_a_dry_run_tells_all_and_changes_nothing(fetched: Path) -> None:
    (fetched / "clips" / ".tmp-left.flac").write_bytes(b"1234")
    before = files(fetched)
    summary = clean(fetched, CONFIG, dry_run=True)
    assert summary.counts == {"to delete: source": 4, "to delete: temporary file": 1}
    assert (files(fetched), summary.work_done) == (before, 0)
    told = summary.details["files"]
    assert {"file": "clips/.tmp-left.flac", "kind": "temporary file", "bytes": 4} in told
    assert sum(row["bytes"] for row in told) == summary.details["bytes"]
    assert clean(fetched, CONFIG).details["bytes"] == summary.details["bytes"]


def of_offsets(folder: Path, **change: Any) -> None:
    """Change the first row of the video OFFSETS in the index."""
    found = rows(folder)
    one = next(row for row in found if row.youtube_id == OFFSETS)
    write_pairs(
        folder / "pairs.parquet",
        [dataclasses.replace(row, **change) if row is one else row for row in found],
    )


def a_clip_of_offsets(folder: Path) -> Path:
    row = next(row for row in rows(folder) if row.youtube_id == OFFSETS)
    assert row.audio is not None
    return folder / row.audio["path"]


def in_ledger(folder: Path, change: str) -> None:
    with sqlite3.connect(folder / LEDGER_NAME) as db:
        db.execute(change)
    db.close()


DOUBTS = {
    "a pair that failed": (
        lambda folder: of_offsets(folder, status="failed", error_class="gone"),
        "not all its pairs are ok",
    ),
    "a pair whose clip was too short": (
        lambda folder: of_offsets(folder, status="filtered", filter_reason="too_short"),
        "not all its pairs are ok",
    ),
    "a pending pair": (
        lambda folder: of_offsets(folder, status="pending"),
        "not all its pairs are ok",
    ),
    "a clip that is away": (
        lambda folder: a_clip_of_offsets(folder).unlink(),
        "not all its clips are whole",
    ),
    "a clip cut short": (
        lambda folder: a_clip_of_offsets(folder).write_bytes(b"fLaC"),
        "not all its clips are whole",
    ),
    "another clip of the same length": (
        lambda folder: a_clip_of_offsets(folder).write_bytes(
            bytes(reversed(a_clip_of_offsets(folder).read_bytes()))
        ),
        "not all its clips are whole",
    ),
    "a sum that the ledger does not have": (
        lambda folder: of_offsets(folder, sha256="0" * 64),
        "not all its clips are whole",
    ),
    "a clip outside of the folder": (
        lambda folder: of_offsets(folder, audio={"bytes": None, "path": "../other.flac"}),
        "not all its clips are whole",
    ),
    "a cut that the ledger does not know": (
        lambda folder: in_ledger(folder, "DELETE FROM items WHERE stage = 'cut'"),
        "not all its clips are whole",
    ),
    "a source that was not finished": (
        lambda folder: in_ledger(
            folder, f"UPDATE items SET state = 'pending' WHERE item = '{OFFSETS}'"
        ),
        "not finished",
    ),
    "a source that the ledger does not know": (
        lambda folder: in_ledger(folder, f"DELETE FROM items WHERE item = '{OFFSETS}'"),
        "unknown to the ledger",
    ),
    "a source of no pair": (
        lambda folder: write_pairs(
            folder / "pairs.parquet", [row for row in rows(folder) if row.youtube_id != OFFSETS]
        ),
        "no pair asks for it",
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_source_in_doubt_stays(fetched: Path, doubt: str) -> None:
    change, why = DOUBTS[doubt]
    source = source_of(fetched, OFFSETS)
    change(fetched)  # type: ignore[no-untyped-call]
    summary = clean(fetched, CONFIG)
    assert source.is_file()
    assert summary.counts[f"kept: source, {why}"] >= 1
    assert summary.total == 4


def test_other_settings_need_the_sources_again_so_they_stay(
    fetched: Path,
    replica: Replica,  # noqa: F811
) -> None:
    other = dataclasses.replace(CONFIG, cut=CutConfig(sample_rate=8_000))
    summary = clean(fetched, other)
    assert summary.counts == {"kept: source, its clips are cut under other settings": 4}
    asked = len(replica.requests)
    fetch(fetched, other)
    assert len(replica.requests) == asked


def test_a_file_that_two_addresses_gave_stays_while_one_is_in_doubt(fetched: Path) -> None:
    with Ledger(fetched) as ledger:
        entry = ledger.entry("source", OFFSETS)
        assert entry is not None
        ledger.record("source", "another", entry.state, result=entry.result)
    assert deleted(clean(fetched, CONFIG)) == {"deleted: source": 3}
    assert source_of(fetched, OFFSETS).is_file()


def test_foreign_files_links_and_what_a_tampered_ledger_names_stay(
    fetched: Path, tmp_path: Path
) -> None:
    outside = tmp_path / f"{'a' * 64}.ogg"
    outside.write_bytes(b"mine")
    foreign = [
        *("notes.txt", "sources/mine.webm", f"sources/{'0' * 64}.webm", "clips/ab/mine.flac"),
        *("runs/tiny/.tmp-weights", ".temporary", "clips/readme.md"),
    ]
    for name in foreign:
        (fetched / name).parent.mkdir(parents=True, exist_ok=True)
        (fetched / name).write_bytes(b"mine")
    (fetched / "sources" / f"{'b' * 64}.ogg").symlink_to(outside)
    path = json.dumps(f"../{outside.name}")
    in_ledger(fetched, f"UPDATE items SET result = json_set(result, '$.file', json('{path}'))")
    clean(fetched, CONFIG, clips=True)
    assert outside.read_bytes() == b"mine"
    assert all((fetched / name).read_bytes() == b"mine" for name in foreign)
    assert (fetched / "sources" / f"{'b' * 64}.ogg").is_symlink()


def test_orphans_go_from_where_the_lock_is_ours(fetched: Path) -> None:
    places = ["", "sources", "clips/ab", "pages", "splits/default"]
    for place in places:
        (fetched / place).mkdir(parents=True, exist_ok=True)
        (fetched / place / ".tmp-orphan").write_bytes(b"x")
    assert deleted(clean(fetched, CONFIG))["deleted: temporary file"] == len(places)
    assert not list(fetched.rglob(".tmp-*"))


def test_clips_that_nothing_names_go_only_when_that_is_asked_for(fetched: Path) -> None:
    of_before = {path.name for path in (fetched / "clips").rglob("*.flac")}
    fetch(fetched, dataclasses.replace(CONFIG, cut=CutConfig(sample_rate=8_000)))
    other = dataclasses.replace(CONFIG, cut=CutConfig(sample_rate=8_000))
    assert "deleted: clip" not in clean(fetched, other).counts
    assert of_before <= {path.name for path in (fetched / "clips").rglob("*.flac")}
    summary = clean(fetched, other, clips=True)
    assert (summary.counts["deleted: clip"], summary.counts["kept: clip, named"]) == (6, 6)
    named = {(row.audio or {})["path"] for row in rows(fetched)}
    assert {str(p.relative_to(fetched)) for p in (fetched / "clips").rglob("*.flac")} == named
    assert fetch(fetched, other).work_done == 0


def test_a_clip_that_only_a_split_names_stays(small_corpus: Path) -> None:
    Ledger(small_corpus).close()
    split(small_corpus, SplitConfig(fractions=(0.5, 0.5)))
    before = files(small_corpus)
    pending = [
        dataclasses.replace(row, status="pending", audio=None, clip_id=None)
        for row in load_pairs(small_corpus / "pairs.parquet")
    ]
    write_pairs(small_corpus / "pairs.parquet", pending)
    clips = {name for name in before if name.startswith("clips/")}
    assert clean(small_corpus, CONFIG, clips=True).counts == {"kept: clip, named": len(clips)}
    for path in small_corpus.glob("splits/*/*.parquet"):
        path.unlink()
    assert deleted(clean(small_corpus, CONFIG, clips=True)) == {"deleted: clip": len(clips)}


def kill_after_one(folder: Path) -> None:
    """Clean in a child that is killed when it has deleted one file."""
    child = os.fork()
    if child == 0:
        real = Path.unlink

        def unlink(self: Path, missing_ok: bool = False) -> None:
            real(self, missing_ok)
            os.kill(os.getpid(), signal.SIGKILL)

        Path.unlink = unlink  # type: ignore[method-assign]
        try:
            clean(folder, CONFIG)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def test_a_kill_in_the_middle_leaves_what_a_second_run_finishes(
    fetched: Path,
    replica: Replica,  # noqa: F811
) -> None:
    clips = {path: sha256_file(path) for path in (fetched / "clips").rglob("*.flac")}
    asked = len(replica.requests)
    for left in (3, 2, 1):
        kill_after_one(fetched)
        assert len(list((fetched / "sources").iterdir())) == left
        assert fetch(fetched, CONFIG).work_done == 0
    assert clean(fetched, CONFIG).counts == {"deleted: source": 1}
    assert {path: sha256_file(path) for path in clips} == clips
    assert len(replica.requests) == asked


def test_a_run_at_work_no_folder_no_index_and_no_right_are_one_line(
    fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger(fetched), pytest.raises(LockedError, match="another run"):
        clean(fetched, CONFIG)
    with pytest.raises(UserError, match="no data folder"):
        clean(tmp_path / "none", CONFIG)
    assert not (tmp_path / "none").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no ledger"):
        clean(tmp_path / "empty", CONFIG)
    Ledger(tmp_path / "empty").close()
    with pytest.raises(UserError, match="run `earscribe pair` first"):
        clean(tmp_path / "empty", CONFIG)

    def refused(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(UserError, match=r"cannot delete .*Permission denied"):
        clean(fetched, CONFIG)
    monkeypatch.undo()
    assert clean(fetched, CONFIG).counts == {"deleted: source": 4}


def test_the_command_tells_what_it_would_delete_and_deletes_it(fetched: Path) -> None:
    code, out, _ = earscribe("clean", "--data", fetched, "--dry-run")
    assert code == commands.DONE
    assert "to delete: source" in out
    assert max(map(len, out.splitlines())) <= max(80, len(str(fetched)) + 20)
    code, out, _ = earscribe("clean", "--data", fetched, "--json")
    assert (code, json.loads(out)["counts"]) == (commands.DONE, {"deleted: source": 4})


def test_the_parts_of_transfers_that_go_on_stay(fetched: Path) -> None:
    of_offsets(fetched, status="failed", error_class="network")
    key = load_pairs(fetched / "pairs.parquet")
    wanted = next(pair for pair in key if pair.status == "failed")
    part = fetched / "sources" / f".tmp-{stable_id(source_key(wanted))}.webm.part"
    stray = fetched / "sources" / f".tmp-{stable_id('another')}.webm.part"
    for file in (part, part.with_suffix(".part.json"), stray):
        file.write_bytes(b"x")
    summary = clean(fetched, CONFIG)
    assert summary.counts["kept: temporary file, a transfer to go on with"] == 2
    assert part.exists()
    assert not stray.exists()
