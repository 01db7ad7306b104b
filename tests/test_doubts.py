"""What is odd about recordings: each class with a recording of its own."""

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_recordings import GOOD, NAMES, OFFSETS, TIMES_S, files, modere, part, recording, work

from crawler.items import Movement, Part, Recording
from dataset.doubts import CHECKS, MENDS, agree, begin_s, is_mislabelled, last_s, shared_videos
from dataset.recordings import POLICIES, stretch, take, takes


def flags(one: Recording, **more: object) -> dict[str, list[int]]:
    whole = work(one, **more)  # type: ignore[arg-type]
    return {flag: sorted(of) for flag, of in take(whole, one).flags.items()}


def bounds(one: Recording) -> list[tuple[float | None, float | None]]:
    return [(p.start_s, p.end_s) for p in take(work(one), one).recording.parts]


@pytest.mark.parametrize("one", [GOOD, OFFSETS, files(None, None), recording(part(0))])
def test_a_plain_recording_has_no_flags(one: Recording) -> None:
    assert flags(one) == {}
    assert flags(one, times=None) == {}


@pytest.mark.parametrize(
    ("one", "times", "found"),
    [
        (files(1_200.0, 310.0), None, {"long_movement": [1]}),
        (files(1_300.0, 310.0), (1_250, 300, 200, 380), {}),  # the page prints as much
        (files(480.0, 1_250.0), TIMES_S, {"long_movement": [2], "unlike_typical": [2]}),
        (files(480.0, 149.0), TIMES_S, {"unlike_typical": [2]}),
        (files(480.0, 150.0), TIMES_S, {}),
        (files(480.0, 601.0), TIMES_S, {"unlike_typical": [2]}),
    ],
)
def test_lengths_that_no_movement_has(
    one: Recording, times: tuple[int, ...] | None, found: dict[str, list[int]]
) -> None:
    assert flags(one, times=times) == found


def test_parts_of_a_movement_are_measured_together() -> None:
    halves = recording(
        part(1, "firstHalf01", duration_s=240.0, name="Allegro (part 1 of 2)"),
        part(1, "firstHalf02", duration_s=240.0, name="Allegro (part 2 of 2)"),
    )
    assert flags(halves) == {}
    assert flags(recording(halves.parts[0])) == {"parts_missing": [1]}


@pytest.mark.parametrize(("end_s", "odd"), [(480.0, False), (482.0, False), (482.1, True)])
def test_a_printed_duration_is_that_of_the_bounds(end_s: float, odd: bool) -> None:
    one = recording(part(1, start_s=0.0, end_s=end_s, duration_s=480.0))
    assert ("duration_differs" in flags(one)) is odd


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("Allegro", "Menuetto", "Larghetto", "Presto"), [2, 3]),  # exchanged
        (("Presto", "Allegro", "Larghetto", "Menuetto"), [1, 2, 3, 4]),  # rotated
        (("Allegro vivo", "Larghetto", "Tempo di menuetto", "Presto"), None),
        (("Allegro", "Larghetto", "Menuetto", "Allegro"), None),  # like another, in its place
        (("", "", "", ""), None),
        (("Presto",), [1]),
    ],
)
def test_names_that_fit_another_movement_better(
    names: tuple[str, ...], found: list[int] | None
) -> None:
    assert flags(files(None, None, None, None, names=names)).get("exchanged_names") == found


def test_a_recording_of_another_work_shares_no_name() -> None:
    other = files(None, None, names=("Sarabande", "Gigue"))
    assert flags(other) == {"another_work": [1, 2]}
    assert flags(other, movements=()) == {}
    assert flags(files(None, None, names=("Sarabande", "Presto"))).get("another_work") is None


@pytest.mark.parametrize(
    ("length_s", "duration", "times", "suspect"),
    [
        (1_380.0, "", TIMES_S, True),  # the sum of the movements
        (1_700.0, "28 minutes (approximately)", None, True),
        (900.0, "15 minutes", None, True),
        (480.0, "23 minutes", TIMES_S, False),
        (480.0, "", None, False),
        (1_210.0, "", None, True),
        (1_250.0, "28 minutes", (1_200, 300, 200, 380), False),
        (None, "28 minutes", None, False),
    ],
)
def test_a_whole_work_called_movement_1(
    length_s: float | None, duration: str, times: tuple[int, ...] | None, suspect: bool
) -> None:
    one = files(length_s)
    assert ("suspect_alignment" in flags(one, times=times, facts={"Duration": duration})) is suspect
    alone = (Movement(number=1, name="Allegro"),)
    assert "suspect_alignment" not in flags(one, movements=alone, facts={"Duration": duration})


def test_rows_of_one_label_are_counted_anew_where_their_durations_fit() -> None:
    one = modere(470.0, 310.0, 205.0, 400.0)
    mended = take(work(one), one)
    assert [p.movement for p in mended.recording.parts] == [1, 2, 3, 4]
    assert [p.name for p in mended.recording.parts] == list(NAMES)
    assert mended.recording.recording_id == one.recording_id
    assert (mended.refusal, flags(one)) == (None, {"renumbered": [1, 2, 3, 4]})
    assert "renumbered" in flags(modere(470.0, 310.0, 205.0, 400.0, name=""))


@pytest.mark.parametrize(
    ("one", "times"),
    [
        (modere(310.0, 470.0, 205.0, 400.0), TIMES_S),  # in another order
        (modere(470.0, 310.0, 205.0), TIMES_S),  # too few
        (modere(470.0, 310.0, 205.0, 400.0), None),  # nothing to compare with
        (modere(None, 310.0, 205.0, 400.0), TIMES_S),
        (modere(0.0, 310.0, 205.0, 400.0), TIMES_S),
        (modere(4700.0, 310.0, 205.0, 400.0), TIMES_S),
    ],
)
def test_rows_of_one_label_that_nothing_tells_apart_are_refused(
    one: Recording, times: tuple[int, ...] | None
) -> None:
    assert take(work(one, times=times), one).refusal == "same_label"
    assert flags(one, times=times)["same_label"] == [1]


def test_parts_of_one_movement_are_no_rows_of_one_label() -> None:
    unnamed = recording(part(1, "firstHalf01", name=""), part(1, "firstHalf02", name=""))
    told = recording(
        part(1, "firstHalf01", name="Allegro (part 1 of 2)"),
        part(1, "firstHalf02", name="Allegro (part 2 of 2)"),
    )
    single = work(modere(470.0, 310.0), movements=(Movement(number=1, name="Modéré"),))
    assert not is_mislabelled(work(), unnamed)
    assert not is_mislabelled(work(), told)
    assert not is_mislabelled(work(), recording(part(0), part(0, "another1234")))
    assert not is_mislabelled(single, single.recordings[0])


def test_order_is_judged_against_every_other_order() -> None:
    assert agree((470.0, 310.0), (480.0, 300.0))
    assert agree((300.0, 301.0), (301.0, 300.0))  # too near to tell
    assert not agree((310.0, 470.0), (480.0, 300.0))
    assert not agree((470.0,), (480.0, 300.0))


def test_an_open_end_in_mid_file_ends_where_the_next_part_begins() -> None:
    """Movements 1-3 in one video, 4-5 in another; the third is the last of its file."""
    mixed = recording(
        part(1, end_s=470.0), part(2, start_s=480.0), part(3, start_s=780.0),
        part(4, "otherFile12", start_s=3.0), part(5, "otherFile12", start_s=90.0, end_s=95.0),
    )  # fmt: skip
    assert bounds(mixed) == [
        (None, 470.0),
        (480.0, 780.0),
        (780.0, None),
        (3.0, 90.0),
        (90.0, 95.0),
    ]
    assert flags(mixed)["end_inferred"] == [2, 4]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((part(1), part(2, start_s=480.0)), [(None, 480.0), (480.0, None)]),
        ((part(1, start_s=0.0, duration_s=470.0), part(2, start_s=480.0)),
         [(0.0, 470.0), (480.0, None)]),
        ((part(1, start_s=0.0, duration_s=500.0), part(2, start_s=480.0)),
         [(0.0, 480.0), (480.0, None)]),
        ((part(1, start_s=0.0, end_s=0.0), part(2, start_s=480.0, end_s=470.0)),
         [(0.0, 480.0), (480.0, None)]),
        ((part(1, start_s=0.0, end_s=900.0), part(2, start_s=480.0, end_s=900.0)),
         [(0.0, 480.0), (480.0, 900.0)]),  # all end where the file does
        ((part(1, start_s=0.0, end_s=484.0), part(2, start_s=480.0, end_s=900.0)),
         [(0.0, 484.0), (480.0, 900.0)]),
        ((part(0, start_s=0.0, end_s=900.0), part(2, start_s=480.0, end_s=900.0)),
         [(0.0, 900.0), (480.0, 900.0)]),  # the work and a movement of it
        ((part(1, start_s=0.0), part(2)), [(0.0, None), (None, None)]),
        ((part(1), part(2)), [(None, None), (None, None)]),
    ],
)  # fmt: skip
def test_ends_are_inferred_only_where_they_are_missing(
    parts: tuple[Part, ...], expected: list[tuple[float | None, float | None]]
) -> None:
    assert bounds(recording(*parts)) == expected


def test_starts_that_fall_are_out_of_order() -> None:
    """The times of a page that stand one row too high: the first movement's are the last."""
    rotated = recording(
        part(1, start_s=480.0), part(2, start_s=780.0), part(3, start_s=980.0), part(4)
    )
    assert flags(rotated)["out_of_order"] == [1, 2, 3, 4]
    assert "out_of_order" not in flags(OFFSETS)


@pytest.mark.parametrize(
    ("video_id", "youtube_id", "odd"),
    [
        ("abcdefghijk01", "abcdefghijk0", True),
        ("abcdefghijk01", "abcdefghijk", True),  # cut before
        ("abcdefghijk1", "abcdefghijk", False),
        ("abcdefghijk", "abcdefghijk", False),
        ("-bcdefghij11", "-bcdefghij1", False),
        ("short1", "short", True),
        ("local-file1", None, False),
    ],
)
def test_ids_of_another_length(video_id: str, youtube_id: str | None, odd: bool) -> None:
    url = f"/watch?v={youtube_id}&a"
    one = recording(part(1, video_id=video_id, youtube_id=youtube_id, url=url))
    assert flags(one) == ({"odd_id": [1]} if odd else {})
    [mended] = take(work(one), one).recording.parts
    assert (mended.youtube_id or "") == (youtube_id or "")[:11]
    assert mended.url == f"/watch?v={youtube_id and youtube_id[:11]}&a"


def test_parts_without_a_number_are_of_the_work_and_more_movements_are_told() -> None:
    one = recording(*(part(None, f"pieceOfIt{n:02}", name=f"(part {n} of 2)") for n in (1, 2)))
    assert flags(one) == {"part_of_work": [0]}
    assert flags(recording(part(None))) == {}
    assert flags(files(*[None] * 5, names=(*NAMES, "Coda"))) == {"counted_otherwise": [5]}


def test_a_video_under_two_works_is_flagged_in_both() -> None:
    other = dataclasses.replace(work(GOOD), work_id="B-Person-Quartet")
    shared = shared_videos([work(GOOD, OFFSETS), other])
    assert {work_id for work_id, _ in shared} == {"A-Person-Quartet", "B-Person-Quartet"}
    assert len(shared) == 8
    first, second = takes(work(GOOD, OFFSETS), "all", shared)
    assert sorted(first.flags["shared_video"]) == [1, 2, 3, 4]
    assert "shared_video" not in second.flags
    assert shared_videos([work(GOOD, GOOD)]) == set()


def test_works_one_after_the_other_in_one_video_do_not_share_it() -> None:
    early = work(recording(part(1, start_s=0.0), part(2, start_s=50.0, end_s=90.0)))
    late = dataclasses.replace(
        work(recording(part(1, start_s=90.0), part(2, start_s=150.0))), work_id="B"
    )
    assert shared_videos([early, late]) == set()


SECONDS = st.one_of(st.none(), st.sampled_from([0.0, -3.0, 60.0, 480.0, 481.0, 2_000.0, 1e9]))
PARTS = st.builds(
    Part,
    video_id=st.text(max_size=13),
    youtube_id=st.one_of(st.none(), st.sampled_from(["abcdefghijk", "abcdefghijk0", "x", ""])),
    url=st.sampled_from(["/a", "/b", ""]),
    movement=st.one_of(st.none(), st.integers(0, 5)),
    start_s=SECONDS,
    end_s=SECONDS,
    duration_s=SECONDS,
    name=st.sampled_from([*NAMES, "", "(part 1 of 2)", "Presto (part 2 of 2)", "Part 9 of 3"]),
)
RECORDINGS = st.lists(
    st.builds(Recording, recording_id=st.text(max_size=2), parts=st.lists(PARTS).map(tuple)),
    max_size=3,
)


@given(RECORDINGS, st.booleans(), st.booleans())
def test_nothing_that_a_page_can_say_breaks_a_take(
    recordings: list[Recording], listed: bool, timed: bool
) -> None:
    one = work(*recordings, times=TIMES_S if timed else None)
    one = one if listed else dataclasses.replace(one, movements=())
    for policy in POLICIES:
        found = takes(one, policy, shared_videos([one]))
        assert len(found) == len({r.recording_id for r in recordings})
        assert not recordings or any(take.chosen for take in found)
        for mended in found:
            for movements in ((), (1,), (2, 3), (1, 2, 3, 4)):
                where = stretch(movements, one, mended.recording)
                if where.refusal is None and where.end_s is not None:
                    assert (where.start_s or 0.0) < where.end_s
                mended.against(movements)
            assert all(begin_s(part) < last_s(part) for part in mended.recording.parts)


def test_every_flag_is_documented() -> None:
    text = (Path(__file__).parent.parent / "data" / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^- `(\w+)`", text, re.MULTILINE))
    assert {*CHECKS, *MENDS, "shared_video"} <= listed
