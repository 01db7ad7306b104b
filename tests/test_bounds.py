"""Bounds from pages, chapters and descriptions, against tables made by hand."""

import dataclasses
from typing import Any

import pytest

from crawler.ledger import State
from dataset.bounds import Refusal, Request, chapters_in, locate, request_clip, title_number
from dataset.schema import Pair
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


@pytest.mark.parametrize(
    ("title", "number"),
    [
        ("I. Allegro", 1), ("iv", None), ("IV", 4), ("3 - Scherzo", 3), ("Movement 2", 2),
        ("IX: Fugue", 9), ("Vivace", None), ("Mov. III", 3), ("2nd movement", 2),
        ("I'm happy", None), ("", None), ("12. Coda", 12),
    ],
)  # fmt: skip
def test_the_number_of_a_title(title: str, number: int | None) -> None:
    assert title_number(title) == number


def test_a_list_of_times_in_prose_becomes_chapters() -> None:
    text = (
        "A quartet in four movements, live at 8:30.\n\n"
        "00:00 I. Allegro\n[6:12] II. Andante\nIII. Menuetto (12:40)\n1:02:03 - IV. Presto\nThanks"
    )
    lines = text.split("\n\n")[1]
    assert chapters_in(lines) == (
        Chapter("I. Allegro", 0.0, 372.0),
        Chapter("II. Andante", 372.0, 760.0),
        Chapter("III. Menuetto", 760.0, 3723.0),
        Chapter("IV. Presto", 3723.0, None),
    )
    assert chapters_in(text) == ()  # 8:30 comes before 0:00: no list that can be trusted
    assert chapters_in("3:00 a\n2:00 b") == ()
    assert chapters_in("It starts at 3:00.") == ()
    assert chapters_in("") == ()


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
