"""missing.csv: what could not be had, ready to become overrides.csv."""

import csv
import dataclasses
import random
from pathlib import Path

import pytest
from test_pairing import FILES, OFFSETS, work

from crawler.errors import UserError
from crawler.items import write_works
from dataset.index import load_pairs, write_pairs
from dataset.missing import needs, write_missing
from dataset.overrides import HEADER, read_overrides
from dataset.pairing import PairConfig, pair
from dataset.pairs import ErrorClass, Pair
from dataset.recordings import BETWEEN

SLUG = work().work_id
GONE = {"status": "failed", "stage": "source", "error_class": "gone", "error_message": "HTTP 404"}


@pytest.fixture
def rows(tmp_path: Path) -> list[Pair]:
    """The index of one work: a text on each movement, in one recording."""
    write_works(tmp_path / "works.jsonl", [work(FILES, OFFSETS)])
    pair(tmp_path, PairConfig())
    return load_pairs(tmp_path / "pairs.parquet")


def changed(row: Pair, **values: object) -> Pair:
    return dataclasses.replace(row, **values)  # type: ignore[arg-type]


def lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as body:
        return list(csv.reader(body))


def completed(path: Path, values: dict[str, str]) -> None:
    """Fill the cell `value` of every line, as a person does, and move them to overrides.csv."""
    found = [list(HEADER)]
    for work_id, movement, column, _, why in lines(path)[1:]:
        found.append([work_id, movement, column, values[column], why])
    with path.with_name("overrides.csv").open("w", encoding="utf-8", newline="") as body:
        csv.writer(body).writerows(found)


def pending(rows: list[Pair]) -> list[Pair]:
    return [row for row in rows if row.status == "pending"]


def test_a_completed_file_is_accepted_as_corrections_and_takes_effect(
    tmp_path: Path, rows: list[Pair]
) -> None:
    lost = pending(rows)
    path = tmp_path / "missing.csv"
    assert write_missing(path, [changed(row, **GONE) for row in lost]) == len(lines(path)) - 1 > 0
    with pytest.raises(UserError, match=r"source_url '' is not allowed: give an http address"):
        read_overrides(path)
    completed(path, {"source_url": "https://www.youtube.com/watch?v=aaaaaaaaaaa"})
    assert len(read_overrides(tmp_path / "overrides.csv").all) == len(lines(path)) - 1
    summary = pair(tmp_path, PairConfig())
    assert summary.details["overrides without effect"] == 0
    ids = {row.youtube_id for row in pending(load_pairs(tmp_path / "pairs.parquet"))}
    assert ids == {"aaaaaaaaaaa"}


def test_lost_bounds_ask_for_a_beginning_and_an_end(tmp_path: Path, rows: list[Pair]) -> None:
    lost = {"status": "failed", "error_class": "bad_bounds", "start_s": 3.0, "end_s": 1.5}
    first = changed(pending(rows)[0], **lost)
    path = tmp_path / "missing.csv"
    assert write_missing(path, [first]) == 2
    assert [line[2] for line in lines(path)[1:]] == ["end_s", "start_s"]
    assert all("bad_bounds" in line[4] and "3 s to 1.5 s" in line[4] for line in lines(path)[1:])
    completed(path, {"start_s": "0:00", "end_s": "none"})
    overrides = read_overrides(tmp_path / "overrides.csv")
    assert [one.value for one in overrides.all] == [None, 0.0]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"status": "ok"}, ()),
        ({"status": "pending"}, ()),
        ({"status": "filtered", "filter_reason": "short_text"}, ()),
        ({"status": "filtered", "filter_reason": "alternate"}, ()),
        ({"status": "filtered", "filter_reason": "dropped_by_hand"}, ()),
        ({"status": "filtered", "filter_reason": "same_label"}, ("source_url",)),
        ({"status": "filtered", "filter_reason": "too_short"}, ("start_s", "end_s")),
        ({"status": "filtered", "filter_reason": BETWEEN}, ("start_s", "end_s")),
        ({"status": "failed", "error_class": "network"}, ()),
        ({"status": "failed", "error_class": "private"}, ("source_url",)),
    ],
)
def test_what_is_missing_for_good_and_what_would_mend_it(
    rows: list[Pair], change: dict[str, str], wanted: tuple[str, ...]
) -> None:
    assert needs(changed(rows[0], **change)) == wanted


def test_every_permanent_class_is_told(tmp_path: Path, rows: list[Pair]) -> None:
    for kind in ErrorClass:
        lost = changed(rows[0], status="failed", error_class=kind.value)
        assert bool(write_missing(tmp_path / "missing.csv", [lost])) is not kind.transient


def test_a_movement_with_a_row_that_is_well_is_told_pair_by_pair(
    tmp_path: Path, rows: list[Pair]
) -> None:
    first = pending(rows)[0]
    well = changed(first, pair_id="0123456789abcdef", status="ok")
    path = tmp_path / "missing.csv"
    write_missing(path, [changed(first, **GONE), well])
    assert [line[:3] for line in lines(path)[1:]] == [[first.pair_id, "", "source_url"]]
    write_missing(path, [changed(first, **GONE)])
    assert [line[:2] for line in lines(path)[1:]] == [[SLUG, str(first.movements[0])]]


def test_two_lost_recordings_of_a_movement_are_one_line(tmp_path: Path, rows: list[Pair]) -> None:
    first = changed(pending(rows)[0], **GONE)
    second = changed(first, pair_id="0123456789abcdef", source_url="https://example.org/b")
    path = tmp_path / "missing.csv"
    assert write_missing(path, [first, second]) == 1
    assert lines(path)[1][0] == SLUG
    bad = {"error_class": "bad_bounds"}  # times of one recording are not those of another
    assert write_missing(path, [changed(first, **bad), changed(second, **bad)]) == 4


def test_the_same_rows_in_any_order_give_the_same_bytes(tmp_path: Path, rows: list[Pair]) -> None:
    lost = [changed(row, **GONE) for row in rows]
    path = tmp_path / "missing.csv"
    write_missing(path, lost)
    before = path.read_bytes()
    random.Random(1).shuffle(lost)
    write_missing(path, [*lost, *lost])
    assert path.read_bytes() == before


def test_nothing_missing_leaves_the_header_alone(tmp_path: Path, rows: list[Pair]) -> None:
    path = tmp_path / "missing.csv"
    path.write_text("what was missing before")
    assert write_missing(path, pending(rows)) == 0
    assert path.read_text() == ",".join(HEADER) + "\n"
    assert read_overrides(path).all == ()
    assert [one.name for one in tmp_path.glob(".tmp-*")] == []


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "#1", "0" * 16, "a;=b"])
def test_hostile_names_and_messages_become_no_formula_and_no_further_line(
    tmp_path: Path, rows: list[Pair], name: str
) -> None:
    lost = changed(pending(rows)[0], **GONE, work_id=name)
    lost = changed(lost, error_message='=1\n+2\r\0"a",b;=HYPERLINK("http://x")\ud800')
    path = tmp_path / "missing.csv"
    assert write_missing(path, [lost]) == 1
    (_, line) = lines(path)
    assert line[0] == lost.pair_id
    assert len(path.read_text().splitlines()) == 2
    assert ";" not in path.read_text()
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in line)
    completed(path, {"source_url": "none"})
    assert len(read_overrides(tmp_path / "overrides.csv").all) == 1


def test_rows_of_a_table_are_remarks(tmp_path: Path, rows: list[Pair]) -> None:
    own = changed(pending(rows)[0], **GONE, align_method="table", page_url="table:=mine.csv")
    path = tmp_path / "missing.csv"
    assert write_missing(path, [own]) == 1
    assert lines(path)[1][0] == "# correct it in table:=mine.csv"
    assert read_overrides(path).all == ()


def test_an_index_without_audio_rows_survives_a_write_and_a_read(
    tmp_path: Path, small_corpus: Path
) -> None:
    rows = load_pairs(small_corpus / "pairs.parquet")
    count = write_missing(tmp_path / "missing.csv", rows)
    assert count == len(lines(tmp_path / "missing.csv")) - 1 == 5
    write_pairs(tmp_path / "pairs.parquet", rows)
