"""Sentences and the movements that sentences speak of."""

import json
import math
from collections import defaultdict
from itertools import product
from pathlib import Path

import pytest

from crawler.items import read_works
from dataset.captions import (
    Cues,
    fit,
    move,
    posterior,
    read_note,
    sentences,
    states,
    tempo_class,
)
from dataset.pairing import movement_names

DEMO = Path(__file__).parent.parent / "data" / "demo"
NAMES = ("Allegro con brio", "Andante cantabile", "Menuetto. Allegretto", "Finale. Presto")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It is Op. 18 No. 2 of the set. It is early.", 2),
        ("The music of J. S. Bach is near. So is K. 421.", 2),
        ("It moves, e.g. in bar 3, to G. The violin stays.", 1),
        ("It ends in G. The violin stays.", 2),
        ("The Menuetto. Allegretto is short! Is it? “It is.” He left.", 4),
        ("One paragraph without a stop\n\nand another", 2),
        ("", 0),
        (" \n\n ", 0),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, parts: int) -> None:
    found = sentences(text)
    assert len(found) == parts, found
    assert "".join("".join(found).split()) == "".join(text.split())  # nothing lost, nothing added


@pytest.mark.parametrize(
    ("name", "tempo"),
    [
        ("Larghetto", "slow"),
        ("Molto adagio", "slow"),
        ("Allegro moderato", "fast"),
        ("Allegretto", "moderate"),
        ("Menuetto. Allegretto", "moderate"),
        ("Andantino", "moderate"),
        ("Adagio – Allegro", None),
        ("Menuetto", None),
        ("", None),
    ],
)
def test_the_tempo_of_a_name(name: str, tempo: str | None) -> None:
    assert tempo_class(name) == tempo


def spoken(text: str, names: tuple[str, ...] = NAMES) -> list[tuple[int, ...]]:
    return [reading.movements for reading in read_note(text, names)]


def test_an_essay_goes_through_its_movements() -> None:
    text = (
        "The composer was born in 1790 and wrote six quartets.\n\n"
        "The opening movement has a bold first theme. The second theme is shy. "
        "A slow movement follows, a song for the viola. The Menuetto is rough. "
        "Its trio is gentle. The finale races to the end.\n\n"
        "The quartet was published in 1820."
    )
    assert spoken(text) == [(), (1,), (1,), (2,), (3,), (3,), (4,), ()]


def test_a_comparison_is_no_change_of_movement() -> None:
    text = (
        "The second movement is calm. Like the first movement, it ends softly. The third is quick."
    )
    assert spoken(text) == [(2,), (2,), (3,)]


def test_a_second_violin_is_no_second_movement() -> None:
    text = "The first movement begins alone. The second violin joins. The first violin answers."
    assert spoken(text) == [(1,), (1,), (1,)]


def test_one_sentence_may_run_through_two_movements() -> None:
    text = "The third movement is a Menuetto, and without a break the finale follows, a Presto."
    (reading,) = read_note(text, NAMES)
    assert reading.movements == (3, 4)
    assert "two_movements" in reading.flags


def test_the_prose_may_leave_the_order_of_the_movements_when_it_names_them() -> None:
    names = ("Allegro", "Scherzo. Vivace", "Adagio", "Finale. Presto")
    text = "The first movement is broad. The third movement, Adagio, is dark. The finale is loud."
    assert spoken(text, names) == [(1,), (3,), (4,)]


def test_a_note_without_movements_has_remarks_only() -> None:
    assert spoken("The finale is fast.", ()) == [()]
    assert spoken("", NAMES) == []


def test_the_posterior_is_that_of_every_path() -> None:
    """Forward-backward against brute force over all paths of a small case."""
    cues = [
        Cues([0.0, 2.0], 1, 0, False, True),
        Cues([1.5, 4.0], 0, 2, True, False),
        Cues([0.0, 0.0], 0, 1, False, False),
    ]
    weights: list[defaultdict[tuple[int, ...], float]] = [defaultdict(float) for _ in cues]
    total = 0.0
    for path in product(states(2), repeat=3):
        before, weight = (0, ()), 0.0
        for state, cue in zip(path, cues, strict=True):
            weight += move(before, state, cue) + fit(state, cue)
            before = state
        total += math.exp(weight)
        for place, state in enumerate(path):
            weights[place][state[1]] += math.exp(weight)
    for share, weighed in zip(posterior(cues, 2), weights, strict=True):
        assert share == pytest.approx({key: value / total for key, value in weighed.items()})


def test_nine_sentences_in_ten_of_the_demo_get_their_movements() -> None:
    truth: dict[tuple[str, str], list[tuple[str, tuple[int, ...]]]] = defaultdict(list)
    for row in json.loads((DEMO / "alignment.json").read_text(encoding="utf-8")):
        truth[row["work_id"], row["source"]].append((row["sentence"], tuple(row["movements"])))
    right = total = 0
    for work in read_works(DEMO / "works.jsonl"):
        for note in work.notes:
            readings = read_note(note.text, movement_names(work))
            expected = truth[work.work_id, note.source]
            assert [reading.sentence for reading in readings] == [text for text, _ in expected]
            total += len(expected)
            right += sum(r.movements == m for r, (_, m) in zip(readings, expected, strict=True))
    assert total >= 80
    assert right / total >= 0.9, f"{right} of {total}"
