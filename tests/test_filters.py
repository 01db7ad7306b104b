"""The SQL filter against plain Python, and what it must refuse."""

from pathlib import Path

import pyarrow as pa
import pytest

from crawler.errors import UserError
from dataset.filters import filter_table
from dataset.index import read_pairs, read_table
from dataset.schema import PAIRS_SCHEMA

TABLE = pa.table(
    {
        "composer": ["Ana Alba", "Ben Brook", "Cleo Cray", "Dan O'Dell"],
        "year": pa.array([1799, 1800, None, 1809], pa.int32()),
        "num_samples": pa.array([16_000, 80_000, None, 160_000], pa.int64()),
        "sample_rate": pa.array([16_000, 16_000, None, 16_000], pa.int32()),
    }
)


def composers(where: str) -> list[str]:
    return filter_table(TABLE, where).column("composer").to_pylist()


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("duration_s >= 5", ["Ben Brook", "Dan O'Dell"]),
        ("duration_s = 10.0", ["Dan O'Dell"]),
        ("decade = 1800", ["Ben Brook", "Dan O'Dell"]),
        ("decade = 1790", ["Ana Alba"]),
        ("year IS NULL", ["Cleo Cray"]),
        ("year <> 1800", ["Ana Alba", "Dan O'Dell"]),
        ("composer = 'Dan O''Dell'", ["Dan O'Dell"]),
        ("composer LIKE '%a%' -- a remark", ["Ana Alba", "Cleo Cray", "Dan O'Dell"]),
        ("composer = 'random now'", []),
        ("false", []),
        ("COMPOSER ILIKE 'ana%' AND lower(trim(composer)) <> ''", ["Ana Alba"]),
        ("split_part(composer, ' ', 1) IN ('Ben', 'Cleo')", ["Ben Brook", "Cleo Cray"]),
        ("coalesce(year, 0) % 10 = 0 AND NOT year BETWEEN 1 AND 9", ["Ben Brook"]),
        ("CASE WHEN year > 1800 THEN true ELSE false END", ["Dan O'Dell"]),
        ("substring(composer FROM 1 FOR 3) SIMILAR TO 'A.*'", ["Ana Alba"]),
        ("round(duration_s::DOUBLE) = 5.0", ["Ben Brook"]),
    ],
)
def test_keeps_the_rows_for_which_it_is_true(where: str, kept: list[str]) -> None:
    assert composers(where) == kept


@pytest.mark.parametrize(
    "where",
    [
        "exists(SELECT * FROM read_csv('/etc/passwd'))",
        "exists(SELECT * FROM read_text('/etc/passwd'))",
        "exists(SELECT * FROM sniff_csv('/etc/passwd'))",
        "exists(SELECT * FROM glob('/etc/*'))",
        "exists(SELECT * FROM '/etc/passwd')",
        "exists(FROM TABLE)",
        "COPY (SELECT 1) TO '/tmp/earscribe-leak'",
        "ATTACH '/tmp/other.db'",
        "SET enable_external_access = true",
        "true; COPY (SELECT 1) TO '/tmp/earscribe-leak'",
        "true; SET threads = 4",
        "true) UNION SELECT * FROM pairs WHERE (true",
        "true /* and then",
        "true ORDER BY year",
        "true, false",
        "getenv('HOME') = ''",
        "year",
        "*",
        "",
        "count(*) > 1",
        "unnest([true, false])",
        "random() > 0.5",
        "year < year(current_date)",
        "year < year(localtimestamp)",
        "localtime > '12:00'::TIME",
        "year(transaction_timestamp()) > 2000",
        "txid_current() > 5",
        "hash(NOW()) % 2 = 0",
        "pg_conf_load_time() > '2020-01-01'",
        "  ",
        "year <",
    ],
)
def test_refuses_what_is_no_predicate_over_the_row(where: str) -> None:
    with pytest.raises(UserError, match="cannot filter by") as caught:
        filter_table(TABLE, where)
    assert "\n" not in str(caught.value)
    assert not Path("/tmp/earscribe-leak").exists()


def test_a_variable_of_the_caller_is_no_table() -> None:
    caller = TABLE
    assert caller.num_rows == 4
    with pytest.raises(UserError, match="caller"):
        filter_table(TABLE, "exists(SELECT * FROM caller)")


def test_an_unknown_column_is_answered_with_near_names() -> None:
    with pytest.raises(UserError, match=r"unknown column 'compser'; did you mean composer"):
        filter_table(TABLE, "compser = 'Ana Alba'")
    with pytest.raises(UserError, match=r"unknown column 'durations'; did you mean duration_s"):
        filter_table(TABLE, "durations > 3")


def test_double_quotes_are_answered_with_single_ones() -> None:
    with pytest.raises(UserError, match="a value stands in single quotes: 'Ana Alba'"):
        filter_table(TABLE, 'composer = "Ana Alba"')


def test_an_empty_table_filters_to_an_empty_table() -> None:
    assert filter_table(TABLE.slice(0, 0), "year > 1800").num_rows == 0


def test_the_index_keeps_its_schema_when_filtered(small_corpus: Path) -> None:
    rows = read_table(small_corpus / "pairs.parquet").to_pylist()
    ok = read_pairs(small_corpus, where="status = 'ok' AND duration_s > 1.2 AND decade < 1850")
    expected = [
        row["pair_id"]
        for row in rows
        if row["status"] == "ok"
        and row["num_samples"] / row["sample_rate"] > 1.2
        and row["year"] is not None
        and row["year"] < 1850
    ]
    assert 0 < len(expected) < len(rows)
    assert ok.column("pair_id").to_pylist() == expected
    assert ok.schema.equals(PAIRS_SCHEMA, check_metadata=True)


def test_columns_can_be_chosen_apart_from_the_predicate(small_corpus: Path) -> None:
    table = read_pairs(small_corpus, where="status = 'failed'", columns=["pair_id", "error_class"])
    assert table.column_names == ["pair_id", "error_class"]
    assert set(table.column("error_class").to_pylist()) == {"gone", "network"}


def test_derived_columns_can_be_chosen(small_corpus: Path) -> None:
    table = read_pairs(small_corpus, where="status = 'ok'", columns=["num_samples", "duration_s"])
    assert table.column_names == ["num_samples", "duration_s"]
    for row in table.to_pylist():
        assert row["duration_s"] == row["num_samples"] / 16_000
    with pytest.raises(UserError, match="unknown column 'duration'; known: "):
        read_pairs(small_corpus, columns=["duration"])
