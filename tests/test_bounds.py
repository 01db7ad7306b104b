"""Bounds from pages, chapters and descriptions, against tables made by hand."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.ledger import State
from dataset.bounds import Refusal, Request, locate, request_clip
from dataset.pairs import Pair
from dataset.sources import Chapter

PAIR = Pair(
    pair_id="p", work_id="w", level="movement", movements=(2,), recording_id="r", caption="c",
    caption_raw="c", note_source="n", text_index=0, num_words=1, num_tokens=1, align_method="m",
    align_score=1.0, composer="c", title="t", source_url="http://x/1", bounds_source="page",
    movement_name="Andante cantabile", page_url="p", text_rights="u", audio_rights="u",
)  # fmt: skip
SOURCE: dict[str, Any] = {"duration_s": 100.4, "chapters": [], "description": ""}
LIMITS_S = (5.0, 60.0)


def ask(**columns: Any) -> Request | Refusal:
    source = {**SOURCE, **{name: columns.pop(name) for name in tuple(columns) if name in SOURCE}}
    return request_clip(dataclasses.replace(PAIR, **columns), "key", source, LIMITS_S, "mark")


@pytest.mark.parametrize(
    ("start_s", "end_s", "span"),
    [
        (10.0, 50.0, (10.0, 50.0)),
        (None, 50.0, (0.0, 50.0)),
        (60.0, None, (60.0, None)),
        (60.0, 101.0, (60.0, None)),  # the page rounds
        (60.0, 100.0, (60.0, 100.0)),
    ],
)
def test_bounds_of_the_page(
    start_s: float | None, end_s: float | None, span: tuple[float, float | None]
) -> None:
    found = ask(start_s=start_s, end_s=end_s)
    assert isinstance(found, Request)
    assert (found.span.start_s, found.span.end_s) == span
    assert (found.start_s, found.end_s, found.bounds_source) == (start_s, end_s, "page")


@pytest.mark.parametrize(
    ("start_s", "end_s", "state", "reason"),
    [
        (-1.0, 20.0, State.FAILED, "bad_bounds"),
        (20.0, 20.0, State.FAILED, "bad_bounds"),
        (30.0, 20.0, State.FAILED, "bad_bounds"),
        (50.0, 102.0, State.FAILED, "bad_bounds"),
        (100.4, None, State.FAILED, "bad_bounds"),
        (10.0, 14.9, State.FILTERED, "too_short"),
        (10.0, 70.1, State.FILTERED, "too_long"),
    ],
)
def test_bounds_that_cannot_be_cut(
    start_s: float, end_s: float | None, state: State, reason: str
) -> None:
    found = ask(start_s=start_s, end_s=end_s)
    assert isinstance(found, Refusal)
    assert (found.state, found.reason) == (state, reason)


def test_two_texts_with_one_stretch_ask_for_one_clip() -> None:
    one, two = (
        ask(start_s=10.0, end_s=50.0, pair_id="a"),
        ask(start_s=10.0, end_s=50.0, pair_id="b"),
    )
    other = ask(start_s=10.0, end_s=51.0)
    assert isinstance(one, Request)
    assert one == two
    assert isinstance(other, Request)
    assert other.item != one.item


NUMBERED = [("I. Allegro", 0.0, 30.0), ("II. Andante", 32.0, 60.0), ("III. Allegro", 62.0, None)]


@pytest.mark.parametrize(
    ("chapters", "movements", "name", "stretch"),
    [
        (NUMBERED, (2,), "Andante cantabile", (32.0, 60.0)),
        (NUMBERED, (1,), "Allegro", (0.0, 30.0)),
        (NUMBERED, (3,), "Allegro", (62.0, None)),  # the number tells two Allegros apart
        (NUMBERED, (2, 3), "Andante", (32.0, None)),
        (NUMBERED, (4,), "Presto", None),
        (NUMBERED, (3, 4), "Allegro", None),
        ([("Intro", 0.0, 5.0), *NUMBERED], (1,), "Allegro", (0.0, 30.0)),
        ([("Allegro", 0.0, 9.0), ("Andante", 9.0, 20.0)], (2,), "Andante cantabile", (9.0, 20.0)),
        ([("Allegro", 0.0, 9.0), ("Allegro", 9.0, 20.0)], (2,), "Allegro", (9.0, 20.0)),
        ([("Applause", 0.0, 9.0), ("Encore", 9.0, 20.0)], (2,), "Andante", None),
        ([], (1,), "Allegro", None),
    ],
)
def test_chapters_are_matched_by_number_then_name_then_place(
    chapters: list[tuple[str, float, float | None]],
    movements: tuple[int, ...],
    name: str,
    stretch: tuple[float, float | None] | None,
) -> None:
    found = locate([Chapter(*one) for one in chapters], movements, name)
    assert (found and (found.start_s, found.end_s)) == stretch


FOUR = (("I. Allegro", 0.0, 9.0), ("II. Largo", 9.0, 20.0), ("III. Vivo", 20.0, 30.0))
TWICE = [*FOUR, ("I. Allegro", 30.0, 40.0), ("II. Andante", 40.0, 50.0)]
EIGHT = [
    (name, 9.0 * n, 9.0 * n + 9.0)
    for n, name in enumerate(
        ("Allegro", "Largo", "Menuet", "Presto", "Allegro vivo", "Andante", "Menuetto", "Vivace")
    )
]
SECTIONS = [
    ("I. Adagio", 0.0, 5.0), ("Theme", 5.0, 20.0), ("II. Menuetto", 20.0, 25.0),
    ("Trio", 25.0, 28.0), ("III. Presto", 28.0, 40.0), ("Applause", 40.0, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("chapters", "movements", "name", "stretch"),
    [
        (TWICE, (1,), "Allegro", None),  # of two works
        (TWICE, (2,), "Andante", (40.0, 50.0)),
        (TWICE, (3,), "Vivo", (20.0, 30.0)),
        (TWICE, (2,), "Adagio", None),
        (TWICE, (2, 3), "Largo", (9.0, 30.0)),
        (TWICE, (2, 3), "Andante", None),
        (TWICE[:-1], (1, 2, 3), "Allegro", None),
        ([("I. Allegro vivo", 0.0, 9.0), ("II. Largo", 9.0, 20.0), *TWICE[3:]], (1,), "Allegro",
         None),
        ([("I. Allegro vivo", 0.0, 9.0), ("II. Largo", 9.0, 20.0), *TWICE[3:]], (1,),
         "Allegro vivo", (0.0, 9.0)),  # two words agree
        ([*FOUR, ("Coda", 30.0, 35.0), *TWICE[3:]], (3,), "Vivo", (20.0, 35.0)),
        ([("Adagio", 0.0, 3.0), ("Allegro", 3.0, 9.0), ("Largo", 9.0, 20.0)], (1,),
         "Adagio – Allegro", (0.0, 9.0)),  # two chapters have the movement's words
        ([("Adagio", 0.0, 3.0), ("Largo", 9.0, 20.0)], (1,), "Adagio – Allegro", (0.0, 3.0)),
        (EIGHT, (1,), "Allegro", None),  # more chapters than a work has movements
        (EIGHT, (3,), "Menuetto", None),
        (EIGHT, (2,), "Andante", (45.0, 54.0)),
        ([("III. Menuetto", 0.0, 9.0), ("III. Trio", 9.0, 15.0), ("IV. Vivo", 15.0, None)], (3,),
         "Menuetto", (0.0, 15.0)),
        (SECTIONS, (1,), "Adagio. Allegro", (0.0, 20.0)),  # a chapter without a number goes on
        (SECTIONS, (2,), "Menuetto", (20.0, 28.0)),
        (SECTIONS, (3,), "Presto", (28.0, 40.0)),  # applause does not
        (SECTIONS, (1, 2, 3), "Adagio. Allegro", (0.0, 40.0)),
        (FOUR, (), "Allegro", None),
        (FOUR, (2,), "Langsam", (9.0, 20.0)),  # another language, no other chapter has the name
        (FOUR, (2,), "Vivo", None),  # number and name speak for different chapters
        (FOUR, (3,), "Finale. Vivo", (20.0, 30.0)),
        ([FOUR[0], FOUR[2]], (1,), "Allegro", None),  # where it ends is not told
        ([FOUR[0], FOUR[2]], (1, 3), "Allegro", None),
        ([FOUR[0], FOUR[2]], (3,), "Vivo", (20.0, 30.0)),
        ([FOUR[1], FOUR[2]], (2,), "Largo", (9.0, 20.0)),
        ([FOUR[1], FOUR[2]], (1,), "Allegro", None),
        ([("Intro", 0.0, 2.0), ("Allegro", 2.0, 9.0), ("Largo", 9.0, 20.0),
          ("Allegro", 20.0, 30.0)],
         (3,), "Allegro", (20.0, 30.0)),  # an intro does not count as a place
        ([("Trio Op. 1: Allegro", 0.0, 9.0), ("Trio Op. 2: Allegro", 9.0, None)], (1,), "Allegro",
         None),
        ([("A Trio, Op. 1 - I. Allegro", 0.0, 9.0), ("A Trio, Op. 1 - II. Vivo", 9.0, None)], (2,),
         "Vivo", (9.0, None)),
        ([("I. Allegro", 9.0, 9.0), ("II. Vivo", 9.0, 8.0)], (2,), "Vivo", None),
    ],
)  # fmt: skip
def test_a_wrong_movement_is_worse_than_none(
    chapters: list[tuple[str, float, float | None]],
    movements: tuple[int, ...],
    name: str,
    stretch: tuple[float, float | None] | None,
) -> None:
    found = locate([Chapter(*one) for one in chapters], movements, name)
    assert (found and (found.start_s, found.end_s)) == stretch


TITLES = st.one_of(
    st.text(max_size=9), st.sampled_from([one[0] for one in (*TWICE, *SECTIONS)]), st.just("II")
)
CHAPTERS = st.lists(
    st.builds(Chapter, TITLES, st.floats(0, 99), st.one_of(st.none(), st.floats(0, 99))), max_size=9
)


@given(CHAPTERS, st.lists(st.integers(1, 5), max_size=3), TITLES)
def test_any_chapters_give_no_negative_length(
    chapters: list[Chapter], movements: list[int], name: str
) -> None:
    found = locate(chapters, sorted(set(movements)), name)
    assert found is None or found.end_s is None or found.start_s < found.end_s


def test_unknown_bounds_come_from_chapters_before_the_description() -> None:
    listed = "0:00 I. Allegro\n0:40 II. Andante\n1:20 III. Presto"
    both = ask(bounds_source="unknown", chapters=NUMBERED, description=listed)
    assert isinstance(both, Request)
    assert (both.start_s, both.end_s, both.bounds_source) == (32.0, 60.0, "chapter")
    described = ask(bounds_source="unknown", description=listed)
    assert isinstance(described, Request)
    assert (described.start_s, described.end_s) == (40.0, 80.0)
    assert described.bounds_source == "description"
    neither = ask(bounds_source="unknown")
    assert isinstance(neither, Refusal)
    assert (neither.reason, neither.message and neither.message[:14]) == (
        "bad_bounds",
        "unknown bounds",
    )
