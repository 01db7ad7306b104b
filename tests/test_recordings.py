"""Which recording is taken, and where movements lie in it."""

import dataclasses

import pytest
from made_recordings import GOOD, OFFSETS, files, modere, part, recording, work

from crawler.items import Movement, Part, Recording
from dataset.recordings import (
    POLICIES,
    Stretch,
    Take,
    choose,
    movement_names,
    reach,
    stretch,
    take,
    takes,
)

WHOLE = recording(part(0, "wholeWork12"))
IN_PIECES = recording(*(part(0, f"pieceOfIt{n:02}", name=f"(part {n} of 2)") for n in (1, 2)))
GAP = recording(part(1, "withAGap001"), part(3, "withAGap003"), part(4, "withAGap004"))
FIRST = recording(part(1, "onlyFirst12"))


@pytest.mark.parametrize(
    ("recordings", "policy", "chosen"),
    [
        ((GOOD, OFFSETS), "first_complete", (0,)),
        ((OFFSETS, GOOD), "first_complete", (0,)),
        ((FIRST, WHOLE, GOOD), "first_complete", (1,)),  # a file of the work has every movement
        ((FIRST, GAP, GOOD), "first_complete", (2,)),
        ((FIRST, GAP, IN_PIECES), "first_complete", (1,)),  # the most movements
        ((FIRST, recording(part(2, "onlySecond1"))), "first_complete", (0,)),  # the first wins
        ((IN_PIECES,), "first_complete", (0,)),
        ((modere(1.0, 2.0, 3.0, 4.0), FIRST), "first_complete", (1,)),
        ((recording(), FIRST), "first_complete", (1,)),
        ((WHOLE, FIRST, GOOD), "first_bounded", (2,)),
        ((WHOLE, FIRST), "first_bounded", (0,)),
        ((FIRST, GAP, GOOD), "first", (0,)),
        ((FIRST, GAP, GOOD), "all", (0, 1, 2)),
        ((), "first_complete", ()),
        ((), "first_bounded", ()),
    ],
)
def test_policies(recordings: tuple[Recording, ...], policy: str, chosen: tuple[int, ...]) -> None:
    found = takes(work(*recordings), policy)
    usable = [place for place, one in enumerate(found) if one.chosen and not one.refusal]
    assert tuple(usable) == chosen
    assert len(found) == len(recordings)
    assert all(one.chosen for one in found if one.refusal)  # refused for its own reason


def test_a_movement_list_decides_what_is_complete() -> None:
    three = work(GAP, files(None, None, None, None), movements=())
    assert choose(three, "first_complete") == (three.recordings[1],)
    listed = dataclasses.replace(three, movements=tuple(
        Movement(number=n, name="") for n in (1, 3, 4)
    ))  # fmt: skip
    assert choose(listed, "first_complete") == (GAP,)
    assert choose(work(GOOD, movements=()), "first_complete") == (GOOD,)
    assert choose(work(WHOLE, movements=()), "first_complete") == (WHOLE,)


def test_a_recording_that_is_named_twice_counts_once() -> None:
    assert len(takes(work(GOOD, OFFSETS, GOOD), "all")) == 2


@pytest.mark.parametrize("policy", POLICIES)
def test_every_recording_is_taken_or_an_alternate_in_page_order(policy: str) -> None:
    recordings = (FIRST, WHOLE, GOOD, GAP, IN_PIECES)
    assert [one.recording for one in takes(work(*recordings), policy)] == list(recordings)


def test_the_reach_counts_movements_that_can_be_cut() -> None:
    counts = [reach(work(), one) for one in (GOOD, OFFSETS, WHOLE, GAP, FIRST, IN_PIECES)]
    assert counts == [4, 4, 4, 3, 1, 0]
    assert reach(work(), WHOLE, bounded=True) == 0
    assert reach(work(), recording()) == 0


def at(start_s: float | None, end_s: float | None, how: str = "page") -> Stretch:
    return Stretch("/watch?v=oneFile1234", "oneFile1234", start_s, end_s, how)


def piece(number: int, version: str = "A", of: int | None = None, **more: object) -> Part:
    name = f"Allegro (part {number}{f' of {of}' if of else ''})"
    return part(1, f"pieceNumb{number}{version}", name=name, **more)


JOINED = Stretch("/watch?v=pieceOfIt01 /watch?v=pieceOfIt02", None, bounds_source="file")
HALVES = recording(
    part(1, start_s=210.0, end_s=400.0, name="Allegro (part 2 of 2)"),
    part(1, start_s=5.0, end_s=200.0, name="Allegro (part 1 of 2)"),
    part(2, start_s=405.0, end_s=500.0),
)
OVERLAPPING = recording(
    part(1, start_s=0.0, end_s=90.0), part(1, start_s=60.0, end_s=80.0), part(2, start_s=90.0)
)
PIECES = recording(*(
    part(0, start_s=90.0 * (n - 1), end_s=90.0 * n, name=f"(part {n} of 3)") for n in (3, 1, 2)
))  # fmt: skip


@pytest.mark.parametrize(
    ("one", "movements", "found"),
    [
        (OFFSETS, (2,), at(482.0, 780.0)),
        (OFFSETS, (3, 4), at(780.0, None)),
        (OFFSETS, (), at(0.0, None)),  # all movements are the work
        (HALVES, (1,), at(5.0, 400.0)),
        (HALVES, (1, 2), at(5.0, 500.0)),
        (OVERLAPPING, (1,), at(0.0, 90.0)),
        (PIECES, (), at(0.0, 270.0)),
        (PIECES, (2,), at(None, None, "unknown")),
        (recording(part(1), part(2)), (1, 2), at(None, None, "file")),
        (recording(part(1), part(2)), (1,), at(None, None, "unknown")),
        (recording(part(1, start_s=0.0, end_s=9.0), part(2)), (1, 2), at(None, None, "unknown")),
        (recording(part(1), part(2, start_s=9.0)), (1,), at(None, 9.0)),
        (recording(part(0)), (2,), at(None, None, "unknown")),
        (recording(part(0)), (), at(None, None, "file")),
        (recording(part(3, start_s=5.0), part(2, start_s=50.0)), (2, 3), at(5.0, None)),
        (IN_PIECES, (), JOINED),
        (recording(*reversed(IN_PIECES.parts)), (), JOINED),
    ],
)
def test_where_movements_lie(one: Recording, movements: tuple[int, ...], found: Stretch) -> None:
    assert stretch(movements, work(one), take(work(one), one).recording) == found


@pytest.mark.parametrize(
    ("one", "movements", "reason"),
    [
        (GAP, (2,), "movement_not_recorded"),  # not the second part of the list
        (GAP, (1, 2), "movement_not_recorded"),
        (GAP, (), "movement_not_recorded"),
        (GOOD, (1, 2), "movements_in_two_files"),
        (IN_PIECES, (1,), "work_in_several_files"),
        (recording(piece(1), piece(1, "B")), (1,), "movement_in_several_files"),  # twice the same
        (recording(piece(1), piece(3)), (1,), "movement_in_several_files"),
        (recording(piece(1, of=3), piece(2, of=3)), (1,), "movement_in_several_files"),
        (recording(piece(1), piece(2, start_s=3.0)), (1,), "movement_in_several_files"),
        (recording(piece(1), piece(2), part(2, "pieceNumb2A")), (1,), "movement_in_several_files"),
        (recording(piece(1), piece(2), part(2, "secondFile2")), (1, 2), "movements_in_two_files"),
        (recording(part(1, "firstHalf01"), part(1, "firstHalf02")), (1,),
         "movement_in_several_files"),
        (recording(), (1,), "movement_not_recorded"),
        (OFFSETS, (1, 3), "other_music_between"),
    ],
)  # fmt: skip
def test_what_lies_nowhere(one: Recording, movements: tuple[int, ...], reason: str) -> None:
    assert stretch(movements, work(one), one).refusal == reason


def test_a_gap_keeps_the_numbers_of_the_others() -> None:
    assert stretch((3,), work(GAP), GAP).youtube_id == "withAGap003"
    assert movement_names(work(GAP, movements=())) == ["Allegro", "", "Menuetto", "Presto"]


def test_a_work_of_one_movement_is_its_file() -> None:
    alone = work(WHOLE, movements=(Movement(number=1, name="Allegro"),))
    assert stretch((1,), alone, WHOLE).bounds_source == "file"
    timed = recording(part(0, start_s=9.0, end_s=99.0))
    assert (stretch((1,), alone, timed).start_s, stretch((1,), alone, timed).end_s) == (9.0, 99.0)


def test_flags_are_told_of_the_movements_asked_for() -> None:
    one = Take(GAP, {"long_movement": {1}, "another_work": {1, 3, 4}, "part_of_work": {0}})
    assert one.against((1,)) == ("another_work", "long_movement")
    assert one.against((3, 4)) == ("another_work",)
    assert one.against((2,)) == ("part_of_work",)  # not recorded alone
    assert one.against(()) == ("another_work", "long_movement")
