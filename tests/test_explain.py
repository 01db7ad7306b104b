"""Why a sentence has its movement, and which texts are least sure."""

import dataclasses
from pathlib import Path

import pytest
from test_pairing import FILES, OFFSETS, work

from crawler.errors import UserError
from crawler.items import Note, Work
from dataset.captions import read_note
from dataset.explain import explain, find_work, least_sure
from dataset.overrides import HEADER, read_overrides
from dataset.pairing import ALTERNATE, DROPPED, PairConfig, pair_work
from dataset.pairs import Pair
from dataset.recordings import movement_names

WORK = work(FILES, OFFSETS)


def test_every_sentence_is_told_as_the_stage_reads_it() -> None:
    found = explain(WORK)
    [(source, rows)] = found.notes
    readings = read_note(WORK.notes[0].text, movement_names(WORK))
    assert source == "Ours"
    assert [row["sentence"] for row in rows] == [one.sentence for one in readings]
    assert [tuple(row["movements"]) for row in rows] == [one.movements for one in readings]
    assert [tuple(row["evidence"]) for row in rows] == [one.evidence for one in readings]
    assert rows[-1]["flags"] == ["several_movements"]
    assert [row["name"] for row in found.movements] == movement_names(WORK)
    assert found.to_dict()["notes"][0]["sentences"] == rows


def test_a_note_with_its_movements_is_one_row() -> None:
    note = Note(source="Study", text="One.\n\nTwo.", movements=(2,), flags=("exchanged",))
    [(_, [row])] = explain(dataclasses.replace(WORK, notes=(note,))).notes
    assert row == {
        "movements": [2],
        "score": 1.0,
        "sentence": "One. Two.",
        "flags": ["exchanged"],
        "evidence": ["given with the note"],
    }


def test_a_work_without_movements_has_remarks_alone() -> None:
    bare = dataclasses.replace(WORK, movements=(), recordings=())
    [(_, rows)] = explain(bare).notes
    assert {tuple(row["movements"]) for row in rows} == {()}
    assert explain(bare).movements == []
    assert explain(dataclasses.replace(WORK, notes=())).notes == []


def renamed(work_id: str) -> Work:
    return dataclasses.replace(WORK, work_id=work_id)


def test_a_work_is_found_by_slug_and_address() -> None:
    works = [renamed("Other"), renamed("D%27Indy-Trio"), WORK]
    address = f"https://www.earsense.org/chamber-music/{WORK.work_id}/"
    assert find_work(works, WORK.work_id) == find_work(works, address) == WORK
    assert find_work(works, "D'Indy-Trio") == works[1]


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ("a-person-string-quartett", "did you mean A-Person-String-Quartet?"),
        ("zzz", "there are 2, such as Other-Trio"),
        ("", "there are 2"),
        ("no such/thing", "there are 2"),
    ],
)
def test_an_unknown_work_is_one_line_with_the_nearest(asked: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        find_work([renamed("Other-Trio"), WORK], asked)
    assert line in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="holds no work"):
        find_work([], "x")


def scored(score: float, work_id: str = "W", **changes: object) -> Pair:
    first = pair_work(WORK, PairConfig())[0]
    return dataclasses.replace(first, align_score=score, work_id=work_id, **changes)  # type: ignore[arg-type]


def test_the_least_sure_texts_come_first_and_once() -> None:
    pairs = [
        scored(0.5, "B"),
        scored(0.5, "A", recording_id="2", pair_id="later"),
        scored(0.5, "A", recording_id="1", pair_id="first"),
        scored(0.2, "C"),
        scored(0.1, "D", status="filtered", filter_reason=DROPPED),
        scored(0.1, "E", align_method="table"),
        scored(0.1, "G", status="filtered", filter_reason=ALTERNATE),
        scored(0.9, "F"),
    ]
    rows = least_sure(pairs, 3)
    assert [(row["work"], row["score"]) for row in rows] == [("C", 0.2), ("A", 0.5), ("B", 0.5)]
    assert rows[1]["pair_id"] == "first"
    assert rows == least_sure(reversed(pairs), 3)
    assert len(least_sure(pairs, 99)) == 4


def test_the_line_beside_a_text_confirms_it(tmp_path: Path) -> None:
    rows = least_sure(pair_work(WORK, PairConfig()), 1)
    path = tmp_path / "overrides.csv"
    path.write_text("\n".join((",".join(HEADER), rows[0]["override"], "")))
    sure = pair_work(WORK, PairConfig(), read_overrides(path))
    confirmed = [row for row in sure if row.align_method == "override"]
    assert {row.movements for row in confirmed} == {tuple(rows[0]["movements"])}
    assert rows[0]["pair_id"] in {row.pair_id for row in confirmed}
    assert least_sure(sure, 1)[0]["pair_id"] != rows[0]["pair_id"]


def test_a_text_is_named_by_a_row_in_use() -> None:
    refused = scored(0.5, recording_id="1", pair_id="refused", filter_reason="same_label")
    rows = least_sure([refused, scored(0.5, recording_id="2", pair_id="used")], 9)
    assert [row["pair_id"] for row in rows] == ["used"]


def test_only_the_first_words_are_shown() -> None:
    [row] = least_sure([scored(0.5, caption=" ".join("abcdefghijklmnop"))], 1)
    assert row["text"] == "a b c d e f g h i j k l ..."


def test_of_equally_sure_texts_the_flagged_come_first() -> None:
    rows = [row for row in pair_work(WORK, PairConfig()) if row.filter_reason != ALTERNATE]
    texts = {row.text_index: row for row in rows}
    last = max(texts)
    pairs = [
        dataclasses.replace(row, align_score=1.0, align_flags=("fragment",) * (index == last))
        for index, row in texts.items()
    ]
    assert least_sure(pairs, 1)[0]["flags"] == ["fragment"]
