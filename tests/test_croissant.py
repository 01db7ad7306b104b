"""croissant.json as mlcroissant understands it, and what the papers of an export tell."""

import dataclasses
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataset.export import export_files, export_hf, export_ids_folder
from dataset.hf import GROUP_BYTES, WRITING
from dataset.index import load_pairs, write_pairs
from dataset.schema import COLUMNS
from dataset.splits import SplitConfig, split

FORMS = {"hf": export_hf, "files": export_files, "ids": export_ids_folder}


@pytest.fixture
def ready(small_corpus: Path) -> Path:
    split(small_corpus, SplitConfig())
    return small_corpus


def plain(value: Any) -> Any:
    """A value of mlcroissant as Python has it."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    if value is None or value != value:
        return None
    return value.item() if hasattr(value, "item") else value


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its own libraries
@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("form", FORMS)
def test_mlcroissant_reads_every_value(ready: Path, tmp_path: Path, form: str) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    FORMS[form](ready, tmp_path / form)
    described = mlcroissant.Dataset(jsonld=tmp_path / form / "croissant.json")
    assert described.metadata.ctx.issues.report() == ""
    assert described.metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"
    pairs = {pair.pair_id: pair for pair in load_pairs(ready / "pairs.parquet")}
    seen = set()
    for record in described.records("pairs"):
        row = {name.removeprefix("pairs/"): value for name, value in record.items()}
        pair = pairs[plain(row["pair_id"])]
        seen.add(pair.pair_id)
        if sound := row.pop("audio", None):
            assert hashlib.sha256(sound).hexdigest() == pair.sha256
        if "part" in row:
            assert plain(row.pop("part")) in ("train", "validation", "test")
        for name, value in row.items():
            expected = getattr(pair, name, None)
            if name not in ("file_name", "caption_sha256"):
                assert plain(value) == (list(expected) if isinstance(expected, tuple) else expected)
    assert len(seen) == 20


@pytest.mark.parametrize("form", FORMS)
def test_the_papers_tell_sums_units_and_whose_it_is(ready: Path, tmp_path: Path, form: str) -> None:
    FORMS[form](ready, tmp_path / form)
    told = json.loads((tmp_path / form / "croissant.json").read_text())
    objects = [one for one in told["distribution"] if one["@type"] == "cr:FileObject"]
    assert {"hf": 3, "files": 9, "ids": 1}[form] == len(objects)
    for one in objects:
        body = (tmp_path / form / one["contentUrl"]).read_bytes()
        assert one["sha256"] == hashlib.sha256(body).hexdigest()
        assert one["contentSize"] == f"{len(body)} B"
    fields = {field["name"]: field for field in told["recordSet"][-1]["field"]}
    assert fields["start_s"]["description"] == "beginning as asked; null = unknown [s]"
    assert fields["movements"]["isArray"] is True
    assert told["license"] == ["https://creativecommons.org/publicdomain/zero/1.0/"]
    assert [one["name"] for one in told["creator"]] == ["Earscribe", "Test Notes"]
    assert "2210.00434" in told["citeAs"] and told["version"].startswith("3.3.0+")
    card = (tmp_path / form / "README.md").read_text()
    for word in ("## Citation", "2210.00434", "## Rights", "CC0 1.0", "## How to rebuild it"):
        assert word in card
    lines = (tmp_path / form / "SHA256SUMS").read_text().splitlines()
    for digest, name in (line.split("  ") for line in lines):
        assert hashlib.sha256((tmp_path / form / name).read_bytes()).hexdigest() == digest
    written = {path for path in (tmp_path / form).rglob("*") if path.is_file()}
    assert len(lines) == len(written) - 3


def test_the_card_counts(ready: Path, tmp_path: Path) -> None:
    export_hf(ready, tmp_path / "hf")
    card = (tmp_path / "hf" / "README.md").read_text()
    rows = pq.read_table(tmp_path / "hf" / "data" / "train-00000-of-00001.parquet").to_pylist()
    works, composers = ({row[name] for row in rows} for name in ("work_id", "composer"))
    assert f"| train | {len(rows)} | {len(works)} | {len(composers)} | 0.0 |" in card


def test_facts_hold_no_prose_and_no_path(small_corpus: Path, tmp_path: Path) -> None:
    index = small_corpus / "pairs.parquet"
    words = {"caption": "Zimbelstern glimmers.", "caption_raw": "12 Zimbelstern glimmers."}
    write_pairs(index, [dataclasses.replace(p, **words) for p in load_pairs(index)])
    made = export_ids_folder(small_corpus, tmp_path / "facts")
    assert made.counts["ok"] == made.work_done == 20
    names = sorted(path.name for path in (tmp_path / "facts").iterdir())
    assert names == ["README.md", "SHA256SUMS", "croissant.json", "ids.parquet"]
    table = pq.read_table(tmp_path / "facts" / "ids.parquet")
    assert not {"caption", "caption_raw", "audio", "fingerprint"}.intersection(table.column_names)
    told = str(table.to_pylist()) + str(table.schema.metadata)
    told += "".join((tmp_path / "facts" / name).read_text() for name in names[:3])
    for word in ("Zimbelstern", "glimmers", str(tmp_path), "clips/", ".flac", "file:"):
        assert word not in told
    assert hashlib.sha256(b"Zimbelstern glimmers.").hexdigest() in told
    assert export_ids_folder(small_corpus, tmp_path / "facts").work_done == 0


def test_a_pair_of_any_local_file_is_no_fact(small_corpus: Path, tmp_path: Path) -> None:
    index = small_corpus / "pairs.parquet"
    pairs = load_pairs(index)
    place = next(n for n, pair in enumerate(pairs) if pair.status == "ok")
    both = "https://example.org/a.flac file:///home/me/b.flac"
    pairs[place] = dataclasses.replace(pairs[place], source_url=both)
    write_pairs(index, pairs)
    made = export_ids_folder(small_corpus, tmp_path / "facts")
    assert made.counts["left out: local_file"] == 1
    assert "/home/me" not in str(pq.read_table(tmp_path / "facts" / "ids.parquet").to_pylist())


def test_row_groups_are_small_enough_for_a_reader() -> None:
    """What a loader of the hub holds in memory at a time; texts beside the sound are small."""
    assert GROUP_BYTES <= 90e6


def pages(rows: list[dict[str, bytes]], path: Path, **writing: Any) -> bytes:
    table = pa.Table.from_pylist(rows)
    with pq.ParquetWriter(path, table.schema, **writing) as writer:
        writer.write_table(table, row_group_size=len(rows))
    return path.read_bytes()


@pytest.mark.parametrize(("cut_by_content", "least", "most"), [(True, 0.5, 1.0), (False, 0.0, 0.2)])
def test_a_new_row_leaves_most_of_a_shard_as_it_was(
    tmp_path: Path, cut_by_content: bool, least: float, most: float
) -> None:
    """Compressed stretches come again where pages are cut by content, and not where by count."""
    chance = random.Random(1)
    rows = [{"bytes": chance.randbytes(10_000).hex().encode()} for _ in range(400)]
    writing = {**WRITING, "use_content_defined_chunking": cut_by_content}
    assert WRITING["use_content_defined_chunking"] is True
    before = pages(rows, tmp_path / "before", **writing)
    after = pages(
        [{"bytes": chance.randbytes(9_000).hex().encode()}, *rows], tmp_path / "after", **writing
    )
    places = range(len(before) // 4, len(before) - 200, len(before) // 60)
    found = [before[place : place + 100] in after for place in places]
    assert least <= sum(found) / len(found) <= most


def test_columns_of_the_schema_are_all_described(ready: Path, tmp_path: Path) -> None:
    export_hf(ready, tmp_path / "hf")
    told = json.loads((tmp_path / "hf" / "croissant.json").read_text())
    names = [field["name"] for field in told["recordSet"][-1]["field"]]
    assert names == ["part", *(column.name for column in COLUMNS)]
