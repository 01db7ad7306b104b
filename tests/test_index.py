"""Reading and writing the index: same bytes, clear errors, whole files."""

import dataclasses
import errno
import random
import runpy
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crawler.errors import SchemaVersionError, UserError
from dataset.index import load_pairs, read_pairs, read_table, reading, write_pairs
from dataset.schema import PAIRS_SCHEMA
from dataset.splits import SplitConfig, split


def test_the_same_pairs_give_the_same_bytes(small_corpus: Path, tmp_path: Path) -> None:
    pairs = load_pairs(small_corpus / "pairs.parquet")
    shuffled = random.Random(3).sample(pairs, len(pairs))
    other = tmp_path / "other" / "pairs.parquet"
    write_pairs(other, shuffled)
    assert other.read_bytes() == (small_corpus / "pairs.parquet").read_bytes()


def test_rows_stand_in_the_order_of_their_ids(small_corpus: Path) -> None:
    ids = read_pairs(small_corpus, columns=["pair_id"]).column("pair_id").to_pylist()
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids) > 20


def test_pandas_sees_every_column(small_corpus: Path) -> None:
    pytest.importorskip("pandas")
    frame = read_pairs(small_corpus).to_pandas()
    assert list(frame.columns) == PAIRS_SCHEMA.names


def test_a_missing_index_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no index at .*pairs\.parquet: run `earscribe pair`"):
        read_table(tmp_path / "pairs.parquet")


def test_a_file_that_is_no_parquet_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "pairs.parquet").write_text("<html>not found</html>")
    with pytest.raises(UserError, match="is damaged or not a parquet file"):
        read_table(tmp_path / "pairs.parquet")


@pytest.mark.parametrize(
    ("metadata", "found"), [({"earscribe_schema_version": "99"}, "99"), (None, "none")]
)
def test_another_schema_version_is_one_line(
    tmp_path: Path, metadata: dict[str, str] | None, found: str
) -> None:
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"pair_id": ["x"]}).replace_schema_metadata(metadata), path)
    with pytest.raises(SchemaVersionError, match=f"schema version {found}, this program reads 3"):
        read_table(path)


def test_a_lost_column_is_named(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    table = pq.read_table(path).drop_columns(["caption", "sha256"])
    pq.write_table(table, path)
    with pytest.raises(UserError, match="lacks the columns caption, sha256"):
        read_table(path)


def test_damage_within_the_file_is_one_line(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    body = bytearray(path.read_bytes())
    chunk = pq.read_metadata(path).row_group(0).column(6)
    for place in range(chunk.data_page_offset, chunk.data_page_offset + 100):
        body[place] ^= 0xFF  # the footer stays readable
    path.write_bytes(body)
    assert pq.read_schema(path).names == PAIRS_SCHEMA.names
    with pytest.raises(UserError, match="is damaged or not a parquet file") as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_a_column_of_another_type_is_named(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("num_samples")
    text = pa.array([str(value) for value in table.column(place).to_pylist()])
    changed = table.set_column(place, "num_samples", text)
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(UserError, match="has string in column num_samples, not int64"):
        read_table(path)


def test_a_column_of_a_later_version_is_left_out(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    pairs = load_pairs(path)
    table = pq.read_table(path)
    extra = pa.array(["new"] * table.num_rows)
    pq.write_table(table.append_column("mood", extra), path)
    assert load_pairs(path) == pairs


def test_a_failed_write_keeps_the_old_index(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_pairs(path, [None])  # type: ignore[list-item]
    assert path.read_bytes() == before
    assert not list(small_corpus.glob(".tmp-*"))


def test_a_reader_sees_a_whole_index_at_every_moment(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    few = load_pairs(path)
    many = [
        dataclasses.replace(pair, pair_id=f"{pair.pair_id}{copy}")
        for pair in few
        for copy in range(50)
    ]
    write_pairs(path, few)
    done = threading.Event()

    def rewrite() -> None:
        for _ in range(6):
            write_pairs(path, many)
            write_pairs(path, few)
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(read_table(path).num_rows)
    writer.join()
    assert seen <= {len(few), len(many)}
    assert seen


def test_only_what_is_named_is_read(small_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = pq.ParquetFile.read_row_group

    def spy(self: pq.ParquetFile, number: int, columns: Any = None, **more: Any) -> pa.Table:
        read.extend(columns)
        return original(self, number, columns, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", spy)
    where = "duration_s > 1 AND mode = 'major'"
    table = read_pairs(small_corpus, where=where, columns=["decade"])
    assert table.column_names == ["decade"]
    assert set(read) == {"num_samples", "sample_rate", "mode", "year"}
    assert len(table) == len(read_pairs(small_corpus, where=where)) > 0


def test_a_predicate_without_columns_is_over_every_row(small_corpus: Path) -> None:
    assert len(read_pairs(small_corpus, where="true", columns=["pair_id"])) == 27
    assert len(read_pairs(small_corpus, where="false")) == 0
    with pytest.raises(UserError, match="unknown column 'mood'"):
        read_pairs(small_corpus, where="true", columns=["mood"])


def test_the_notebook_runs(
    small_corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    split(small_corpus, SplitConfig())
    monkeypatch.setenv("EARSCRIBE_DATA", str(small_corpus))
    runpy.run_path(str(Path(__file__).parent.parent / "docs" / "notebook.py"))
    told = capsys.readouterr().out
    assert "20 pairs" in told
    first = read_pairs(small_corpus, where="status = 'ok' AND duration_s > 1").to_pylist()[0]
    assert first["caption"] in told
    assert f"({first['num_samples']},)" in told
    assert "pairs to learn from" in told


def test_a_full_disk_is_no_damage_of_the_index(small_corpus: Path) -> None:
    with (
        pytest.raises(OSError, match="No space left") as caught,
        reading(small_corpus / "pairs.parquet"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not isinstance(caught.value, UserError)
