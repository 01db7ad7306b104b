"""The export as plain files: read by other readers, safe in a spreadsheet."""

import csv
import dataclasses
import json
import sys
import types
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crawler.errors import UserError
from crawler.files import sha256_file
from dataset.export import export_files, export_hf
from dataset.index import load_pairs, write_pairs
from dataset.parts import load_split
from dataset.plainfiles import files_schema
from dataset.splits import SplitConfig, split

PARTS = ("train", "validation", "test")
HOSTILE = (
    '<script>alert("x")</script><img src=x onerror=alert(1)>',
    '=HYPERLINK("http://example.org","here")',
    "+1+cmd|' /C calc'!A0",
    "-1 is the answer",
    "@SUM(A1)",
    "\tbegins with a tab",
    "\rbegins with a return",
    "\nbegins with a line feed",
    "＝begins with a wide sign",
    "\u202efrom right to left\u202c ends",
    "שלום, a violin",
    "\N{VIOLIN}\N{MUSICAL SCORE} plays",
    "with NUL \0 inside",
    'quoted "words", commas;\nand lines\u2028of all kinds',
    r"$\frac{1}{2}$ & {{braces}} | `ticks`",
    "'begins with an apostrophe",
)


@pytest.fixture
def hostile(small_corpus: Path) -> Path:
    """The small corpus with captions that nobody likes, and its split."""
    index = small_corpus / "pairs.parquet"
    pairs = load_pairs(index)
    ok = [pair.pair_id for pair in pairs if pair.status == "ok"]
    said = dict(zip(ok, HOSTILE, strict=False))
    write_pairs(
        index, [dataclasses.replace(p, caption=said.get(p.pair_id, p.caption)) for p in pairs]
    )
    split(small_corpus, SplitConfig())
    return small_corpus


def rows_of(folder: Path, part: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of a part as its three tables hold them."""
    place = folder / part
    with (place / "metadata.csv").open(encoding="utf-8", newline="") as lines:
        cells = list(csv.DictReader(lines))
    body = (place / "metadata.jsonl").read_text(encoding="utf-8")
    return {
        "csv": cells,
        "jsonl": [json.loads(line) for line in body.split("\n") if line],
        "parquet": pq.read_table(place / "metadata.parquet").to_pylist(),
    }


def test_clips_lie_beside_tables_that_hold_the_same(hostile: Path, tmp_path: Path) -> None:
    made = export_files(hostile, tmp_path / "files")
    assert made.counts == {"train": 16, "validation": 2, "test": 2} and made.work_done == 20
    captions = set()
    for part in PARTS:
        rows = rows_of(tmp_path / "files", part)
        pairs = load_split(hostile, "default", part)
        assert rows["jsonl"] == rows["parquet"]
        for pair, row, cells in zip(pairs, rows["jsonl"], rows["csv"], strict=True):
            clip = tmp_path / "files" / part / row["file_name"]
            assert sha256_file(clip) == pair.sha256 == row["sha256"] == cells["sha256"]
            assert row["caption"] == pair.caption
            assert tuple(row["movements"]) == pair.movements
            assert json.loads(cells["movements"]) == list(pair.movements)
            assert (int(cells["num_samples"]), cells["redistributable"]) == (
                pair.num_samples,
                "true",
            )
            captions.add(row["caption"])
    assert captions.issuperset(HOSTILE)


def test_no_cell_is_a_formula(hostile: Path, tmp_path: Path) -> None:
    export_files(hostile, tmp_path / "files")
    told = {}
    for part in PARTS:
        rows = rows_of(tmp_path / "files", part)
        for row, cells in zip(rows["jsonl"], rows["csv"], strict=True):
            assert list(cells) == files_schema().names
            assert not any(cell.startswith(tuple("=+-@\t\r\n")) for cell in cells.values())
            assert not any("\0" in cell for cell in cells.values())
            told[row["caption"]] = cells["caption"]
    assert told['=HYPERLINK("http://example.org","here")'].startswith("'=HYPERLINK(")
    changed = {caption for caption, cell in told.items() if cell != caption}
    assert changed == {*HOSTILE[1:9], "with NUL \0 inside"}
    assert "has an\napostrophe before it" in (tmp_path / "files" / "README.md").read_text()


def test_a_negative_number_stays_one(hostile: Path, tmp_path: Path) -> None:
    index = hostile / "pairs.parquet"
    write_pairs(index, [dataclasses.replace(p, loudness_lufs=-23.5) for p in load_pairs(index)])
    split(hostile, SplitConfig())
    export_files(hostile, tmp_path / "files")
    rows = rows_of(tmp_path / "files", "test")
    assert {float(cells["loudness_lufs"]) for cells in rows["csv"]} == {-23.5}


def test_datasets_finds_the_clips(
    hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Column types are the index's even where a part has no value in a column."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    encoders = types.ModuleType("torchcodec.encoders")  # asked for, but not used, for paths
    encoders.AudioEncoder = type("AudioEncoder", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchcodec", types.ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.encoders", encoders)
    export_files(hostile, tmp_path / "files")
    loaded = datasets.load_dataset(str(tmp_path / "files"), cache_dir=str(tmp_path / "cache"))
    loaded = loaded.cast_column("audio", datasets.Audio(decode=False))
    for part in PARTS:
        pairs = load_split(hostile, "default", part)
        assert loaded[part].features["opus"] == datasets.Value("string")
        assert loaded[part]["caption"][:] == [pair.caption for pair in pairs]
        for row, pair in zip(loaded[part], pairs, strict=True):
            assert sha256_file(Path(row["audio"]["path"])) == pair.sha256


def test_texts_that_nobody_likes_are_whole_in_shards(hostile: Path, tmp_path: Path) -> None:
    export_hf(hostile, tmp_path / "hf")
    shards = sorted((tmp_path / "hf" / "data").iterdir())
    captions = {c for shard in shards for c in pq.read_table(shard)["caption"].to_pylist()}
    assert captions.issuperset(HOSTILE)
    for paper in ("README.md", "croissant.json"):
        assert "<script>" not in (tmp_path / "hf" / paper).read_text()


def test_one_form_gives_way_to_the_other(hostile: Path, tmp_path: Path) -> None:
    export_hf(hostile, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    export_files(hostile, tmp_path / "out")
    assert not list((tmp_path / "out" / "data").iterdir())
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert export_files(hostile, tmp_path / "out").work_done == 0


@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_a_harmed_clip_leaves_the_old_export(hostile: Path, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "files"
    export_files(hostile, folder)
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    split(hostile, SplitConfig(seed=3))
    clip = min((hostile / "clips").rglob("*.flac"))
    clip.unlink() if harm == "missing" else clip.write_bytes(b"fLaC")
    with pytest.raises(UserError, match=f"{clip.name} is {harm}"):
        export_files(hostile, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == whole


def test_what_may_not_be_passed_on_is_refused(hostile: Path, tmp_path: Path) -> None:
    index = hostile / "pairs.parquet"
    held = {"redistributable": False, "text_rights": "all rights reserved | <b>"}
    write_pairs(index, [dataclasses.replace(p, **held) for p in load_pairs(index)])
    split(hostile, SplitConfig())
    with pytest.raises(
        UserError, match="20 of the 20 pairs .*all rights reserved.*--local"
    ) as told:
        export_files(hostile, tmp_path / "files")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "files").exists()
    export_files(hostile, tmp_path / "files", local=True)
    card = " ".join((tmp_path / "files" / "README.md").read_text().split())
    assert "must not be passed on:** 20 of its 20 pairs" in card
    assert "| `text_rights` | all rights reserved &#124; &lt;b&gt; | 20 |" in card
    told = json.loads((tmp_path / "files" / "croissant.json").read_text())
    assert told["license"][0] == "for local use only, not to be passed on"
    assert "not to be passed on" in told["description"]


def test_folds_are_parts_and_a_fold_is_a_test_part(hostile: Path, tmp_path: Path) -> None:
    split(hostile, SplitConfig(name="five", folds=5))
    folds = export_files(hostile, tmp_path / "folds", split="five")
    assert list(folds.counts) == [f"fold{n}" for n in range(5)]
    turned = export_hf(hostile, tmp_path / "turned", split="five:2")
    assert set(turned.counts) == set(PARTS)
    assert turned.counts["test"] == folds.counts["fold2"]
    card = (tmp_path / "turned" / "README.md").read_text()
    assert "the split five:2" in card


def test_pending_pairs_and_empty_parts_are_refused(
    hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split(hostile, SplitConfig(name="waiting", pending=True))
    with pytest.raises(UserError, match="'waiting' was made with pending pairs"):
        export_files(hostile, tmp_path / "files", split="waiting")
    from dataset import contents

    whole = contents.read_part
    monkeypatch.setattr(
        contents, "read_part", lambda f, r, part: whole(f, r, part)[: 0 if part == "test" else None]
    )
    with pytest.raises(UserError, match="part test of split 'default' has no pairs"):
        export_files(hostile, tmp_path / "files")
    assert not (tmp_path / "files").exists()
