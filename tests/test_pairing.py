"""Texts x recordings: every one ends in a row, and the row says where its music lies."""

import dataclasses
from pathlib import Path

import pytest

from crawler.errors import UserError
from crawler.items import Movement, Note, Part, Person, Recording, Work, write_works
from crawler.options import layered, variables
from dataset.captions import Reading
from dataset.cleaning import CleanConfig
from dataset.index import load_pairs, write_pairs
from dataset.pairing import (
    PairConfig,
    is_free,
    join,
    level_of,
    note_texts,
    pair,
    pair_work,
    year_of,
)
from dataset.pairs import Pair

ALL = PairConfig(recordings="all")
TEXT = (
    "The first movement begins in unison. The slow movement is a song for the viola. "
    "The last two movements, a rough Menuetto with a Presto, follow without a break."
)


def part(
    number: int | None, video: str, start: float | None = None, end: float | None = None
) -> Part:
    return Part(
        video_id=f"{video}{number or 0}",
        youtube_id=video,
        url=f"/watch?v={video}",
        movement=number,
        start_s=start,
        end_s=end,
    )


def recording(*parts: Part) -> Recording:
    key = parts[0].video_id if parts else "none"
    return Recording(recording_id=key, performers=("A Quartet",), parts=parts)


FILES = recording(*(part(n, f"onePerFile{n}") for n in (1, 2, 3, 4)))
OFFSETS = recording(
    part(1, "offsetsOff1", 0.0, 31.0),
    part(2, "offsetsOff1", 33.0, 60.0),
    part(3, "offsetsOff1", 62.0, 90.0),
    part(4, "offsetsOff1", 92.0),
)
WHOLE = recording(part(0, "wholeWorkID"))


def work(*recordings: Recording, text: str = TEXT, credit: str | None = None) -> Work:
    names = ("Allegro", "Larghetto", "Menuetto. Allegretto", "Finale. Presto")
    return Work(
        work_id="A-Person-String-Quartet",
        page_url="/chamber-music/A-Person-String-Quartet/",
        composer=Person(name="A Person"),
        title="String Quartet No. 2 in d minor, Op. 8, No. 3",
        key="d minor",
        instrumentation="2 violins, viola and cello",
        movements=tuple(Movement(number=n, name=name) for n, name in enumerate(names, 1)),
        facts={"Composed": "1824-1826 (age 17-19)"},
        recordings=recordings,
        notes=(Note(source="Ours", text=text, credit=credit),),
    )


def rows(*recordings: Recording) -> list[Pair]:
    return pair_work(work(*recordings), ALL)


def test_every_text_meets_every_recording_once() -> None:
    found = rows(FILES, OFFSETS, WHOLE)
    assert [row.movements for row in found[::3]] == [(1,), (2,), (3, 4)]
    assert len(found) == 9 == len({row.pair_id for row in found})
    assert [row.text_index for row in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_sentence_that_walks_on_becomes_a_text_a_movement() -> None:
    text = "The Menuetto is rough and loud, and the finale, a Presto, follows without a break."
    found = pair_work(work(OFFSETS, text=text), ALL)
    assert [(row.movements, row.caption, row.level) for row in found] == [
        ((3,), "The Menuetto is rough and loud,", "movement"),
        ((4,), "and the finale, a Presto, follows without a break.", "movement"),
    ]
    assert [row.align_flags for row in found] == [("fragment",), ("fragment",)]
    assert [(row.start_s, row.end_s) for row in found] == [(62.0, 90.0), (92.0, None)]


def test_remarks_are_rows_with_their_kind_for_a_reason() -> None:
    text = (
        "He was born in 1790 and studied with his father.\n\nThe first movement begins in unison. "
        "The slow movement is a song.\n\nThe quartet was published and first performed in 1824."
    )
    noted = work(WHOLE, text=text)
    found = pair_work(noted, ALL)
    assert [(row.movements, row.filter_reason) for row in found] == [
        ((), "biography"), ((1,), None), ((2,), None), ((), "work_remark"),
    ]  # fmt: skip
    assert [row.level for row in found] == ["work", "movement", "movement", "work"]
    kept = pair_work(noted, PairConfig(recordings="all", work_remarks=True))
    assert [row.filter_reason for row in kept] == ["biography", None, None, None]
    assert [row.pair_id for row in kept] == [row.pair_id for row in found]


def test_several_movements_are_a_part_of_a_work_and_all_of_them_the_work() -> None:
    *_, both = rows(OFFSETS)
    assert (both.movements, both.level, both.movement_name) == (
        (3, 4),
        "part",
        "Menuetto. Allegretto",
    )
    assert {row.level for row in rows(OFFSETS)[:2]} == {"movement"}
    assert [level_of(numbers, 2) for numbers in ((), (1,), (1, 2))] == ["work", "movement", "work"]
    assert [level_of(numbers, 4) for numbers in ((1, 2), (1, 2, 3, 4))] == ["part", "work"]


def test_offsets_of_the_page_become_bounds() -> None:
    first, second, both = rows(OFFSETS)
    assert (first.start_s, first.end_s, first.bounds_source) == (0.0, 31.0, "page")
    assert (second.start_s, second.end_s, second.bounds_source) == (33.0, 60.0, "page")
    assert (both.start_s, both.end_s, both.bounds_source) == (62.0, None, "page")
    assert {row.status for row in (first, second, both)} == {"pending"}


def test_a_file_a_movement_is_taken_whole() -> None:
    first, second, both = rows(FILES)
    assert [first.bounds_source, second.bounds_source] == ["file", "file"]
    assert (second.source_url, second.start_s) == ("/watch?v=onePerFile2", None)
    assert (both.status, both.filter_reason) == ("filtered", "movements_in_two_files")


def test_a_whole_work_has_unknown_bounds_until_it_is_fetched() -> None:
    assert [(row.bounds_source, row.status) for row in rows(WHOLE)] == [("unknown", "pending")] * 3
    alone = dataclasses.replace(
        work(WHOLE, text="The only movement is an Allegro."),
        movements=(Movement(number=1, name="Allegro"),),
    )
    assert [row.bounds_source for row in pair_work(alone, ALL)] == ["file"]


def test_one_file_for_several_parts_without_times_has_unknown_bounds() -> None:
    shared = recording(*(part(n, "sharedVideo") for n in (1, 2, 3, 4)))
    assert {row.bounds_source for row in rows(shared)} == {"unknown"}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (recording(), "movement_not_recorded"),
        (recording(part(2, "onlySecond1")), "movement_not_recorded"),
        (recording(part(None, "notSaidWhat")), "movement_not_recorded"),
        (recording(part(0, "wholePart01"), part(0, "wholePart02")), "work_in_several_files"),
        (recording(part(1, "firstHalf01"), part(1, "firstHalf02")), "movement_in_several_files"),
    ],
)
def test_what_has_no_stretch_is_counted_with_its_reason(found: Recording, reason: str) -> None:
    first = rows(found)[0]
    assert (first.status, first.filter_reason) == ("filtered", reason)


def test_two_parts_of_a_movement_in_one_file_are_joined() -> None:
    split = recording(part(1, "twoParts123", 0.0, 20.0), part(1, "twoParts123", 20.0, 41.0))
    assert (rows(split)[0].start_s, rows(split)[0].end_s) == (0.0, 41.0)


def test_facts_of_a_row() -> None:
    row = rows(FILES)[1]
    assert row.movement_name == "Larghetto"
    assert row.tempo_class == "slow"
    assert (row.mode, row.key, row.year, row.ensemble) == ("minor", "d minor", 1826, "quartet")
    assert row.instruments == ("violin", "viola", "cello")
    assert row.opus == "Op. 8, No. 3"
    assert row.caption == row.caption_raw == "The slow movement is a song for the viola."
    assert (row.text_rights, row.redistributable) == ("unknown", False)
    ours = pair_work(work(FILES, credit="© The authors. CC0 1.0."), ALL)[0]
    assert (ours.text_rights, ours.redistributable) == ("© The authors. CC0 1.0.", True)
    theirs = pair_work(work(FILES, credit="© Edition X. All rights reserved."), ALL)[0]
    assert not theirs.redistributable


def test_years() -> None:
    assert year_of(dataclasses.replace(work(), facts={})) is None
    assert year_of(dataclasses.replace(work(), facts={"Composed": "c. 1800 (age 31-32)"})) == 1800


def test_two_notes_of_one_source_keep_their_identities_apart() -> None:
    twice = dataclasses.replace(work(FILES), notes=work().notes * 2)
    found = pair_work(twice, ALL)
    assert len({row.pair_id for row in found}) == len(found) == 6


def test_thresholds_filter_and_say_why() -> None:
    unsure = pair_work(work(FILES), PairConfig(min_align_score=0.99, recordings="all"))
    assert [row.filter_reason for row in unsure[:2]] == [None, "unsure_movement"]
    assert unsure[0].align_score >= 0.99 > unsure[1].align_score
    short = pair_work(work(FILES, text="The finale: Presto."), PairConfig(min_words=10))
    assert short[0].filter_reason == "short_text"
    endless = work(FILES, text=f"The finale is {'very, ' * 9_000}fast.")
    assert pair_work(endless, PairConfig())[0].filter_reason == "long_text"
    assert pair_work(endless, PairConfig(max_words=9_004))[0].filter_reason is None
    with pytest.raises(UserError, match=r"max_words 2 is below pair.min_words 3"):
        PairConfig(max_words=2)
    with pytest.raises(UserError, match=r"min_align_score 2 is not in 0..1"):
        PairConfig(min_align_score=2)


def test_a_text_on_a_movement_that_only_the_recording_has_is_counted_otherwise() -> None:
    five = recording(*FILES.parts, part(5, "onePerFile5"))
    text = "The first movement is bold. The slow movement sings. The fifth movement is a dance."
    found = pair_work(work(five, text=text), ALL)
    assert [(row.movements, row.align_flags) for row in found] == [
        ((1,), ()), ((2,), ()), ((5,), ("counted_otherwise",)),
    ]  # fmt: skip


def test_an_unknown_policy_is_told_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match=r"pair.recordings 'best' is none of first_complete, .*all"):
        PairConfig(recordings="best")


def test_one_recording_is_taken_and_the_others_wait_as_alternates() -> None:
    found = pair_work(work(WHOLE, FILES, OFFSETS), PairConfig(recordings="first_bounded"))
    reasons = [(row.status, row.filter_reason) for row in found[:3]]
    assert reasons == [("filtered", "alternate"), ("pending", None), ("filtered", "alternate")]
    assert [row.pair_id for row in found] == [row.pair_id for row in rows(WHOLE, FILES, OFFSETS)]
    # What an alternate could not give either has that for a reason.
    both = [row.filter_reason for row in pair_work(work(OFFSETS, FILES), PairConfig())[4:]]
    assert both == [None, "movements_in_two_files"]


def test_flags_of_the_recording_join_those_of_the_text(tmp_path: Path) -> None:
    long = dataclasses.replace(FILES.parts[1], duration_s=1_500.0)
    other = dataclasses.replace(work(FILES), work_id="B")
    one = work(recording(FILES.parts[0], long, *FILES.parts[2:]))
    write_works(tmp_path / "works.jsonl", [one, other])
    pair(tmp_path, PairConfig())
    flags = {row.movements: row.align_flags for row in load_pairs(tmp_path / "pairs.parquet")
             if row.work_id == one.work_id}  # fmt: skip
    assert flags[2,] == ("long_movement", "shared_video")
    assert flags[3, 4] == ("several_movements", "shared_video")


def test_rows_of_one_label_are_refused_for_that() -> None:
    parts = [dataclasses.replace(part(1, f"sameLabel{n:02}"), name="Modéré") for n in range(4)]
    assert {row.filter_reason for row in rows(recording(*parts))} == {"same_label"}


def test_the_stage_counts_every_row_and_does_its_work_once(tmp_path: Path) -> None:
    write_works(tmp_path / "works.jsonl", [work(FILES, OFFSETS)])
    summary = pair(tmp_path, ALL)
    assert summary.counts == {"filtered: movements_in_two_files": 1, "pending": 5}
    assert (summary.total, summary.work_done) == (6, 6)
    before = (tmp_path / "pairs.parquet").read_bytes()
    again = pair(tmp_path, ALL)
    assert (again.work_done, again.counts) == (0, summary.counts)
    assert (tmp_path / "pairs.parquet").read_bytes() == before


def test_a_clip_stays_with_its_pair_while_it_is_asked_for_alike(tmp_path: Path) -> None:
    write_works(tmp_path / "works.jsonl", [work(OFFSETS, WHOLE)])
    pair(tmp_path, ALL)
    index = tmp_path / "pairs.parquet"
    cut = {"status": "ok", "stage": "cut", "clip_id": "c", "sha256": "s", "num_samples": 9}
    kept = [dataclasses.replace(row, **cut) for row in load_pairs(index)]
    kept = [
        dataclasses.replace(row, start_s=1.0, end_s=9.0, bounds_source="chapter")
        if row.bounds_source == "unknown"
        else row
        for row in kept
    ]
    write_pairs(index, kept)
    pair(tmp_path, ALL)
    assert load_pairs(index) == sorted(kept, key=lambda row: row.pair_id)

    moved = dataclasses.replace(OFFSETS.parts[0], end_s=30.0)
    changed = dataclasses.replace(OFFSETS, parts=(moved, *OFFSETS.parts[1:]))
    write_works(tmp_path / "works.jsonl", [work(changed, WHOLE)])
    pair(tmp_path, ALL)
    states = {row.movements: row.status for row in load_pairs(index) if row.start_s != 1.0}
    assert states == {(1,): "pending", (2,): "ok", (3, 4): "ok"}


def test_no_works_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `earscribe crawl`"):
        pair(tmp_path, ALL)


@pytest.mark.parametrize(
    ("rights", "free"),
    [
        ("CC0 1.0", True),
        ("© The authors. CC0 1.0.", True),
        ("Creative Commons Attribution license (reuse allowed)", True),
        ("https://creativecommons.org/licenses/by-sa/4.0/", True),
        ("CC BY-SA 3.0", True),
        ("public domain", True),
        ("Public Domain Mark", True),
        ("unknown", False),
        ("", False),
        ("© A Person. All rights reserved.", False),
        ("CC BY-NC-SA 4.0", False),
        ("CC BY-ND 4.0", False),
        ("https://creativecommons.org/licenses/by-nc/4.0/", False),
        ("Creative Commons Attribution-NonCommercial", False),
        ("Not in the public domain", False),
    ],
)
def test_what_is_free(rights: str, free: bool) -> None:
    assert is_free(rights) is free


def reading(score: float, *flags: str) -> Reading:
    return Reading("A sentence.", (2,), score, flags, False)


@pytest.mark.parametrize(
    ("flags", "joined"),
    [
        (((), ()), ()),
        ((("by_order",), ("by_order",)), ("by_order",)),
        (((), ("by_order",)), ("partly_by_order",)),
        ((("by_order",), ("names_another",)), ("names_another", "partly_by_order")),
    ],
)
def test_a_joined_text_tells_what_speaks_against_any_sentence(
    flags: tuple[tuple[str, ...], ...], joined: tuple[str, ...]
) -> None:
    group = [reading(0.9, *flags[0]), reading(0.4, *flags[1])]
    text = join(Note(source="Ours", text=""), group, 0)
    assert text.flags == joined
    assert text.score == 0.4


def test_an_unnamed_paragraph_is_not_joined() -> None:
    """The same sentence goes on within a paragraph, and begins a text after a break."""
    names = ("Allegro", "Larghetto")
    named, unnamed = "The second movement is a Larghetto.", "Its theme returns and it dies away."
    [joined] = note_texts(Note(source="Ours", text=f"{named} {unnamed}"), names)
    assert joined.flags == ("partly_by_order",)
    apart = note_texts(Note(source="Ours", text=f"{named}\n\n{unnamed}"), names)
    assert [(text.raw, text.flags) for text in apart] == [(named, ()), (unnamed, ("by_order",))]
    [same] = note_texts(Note(source="Ours", text=f"{named}\n\nThe Larghetto ends softly."), names)
    assert same.flags == ()


def test_the_switches_of_cleaning_are_read_as_a_table_and_as_variables() -> None:
    toml = {"pair": {"min_words": 4, "clean": {"ordinals": True, "seller": False}}}
    environment = {"EARSCRIBE_PAIR_CLEAN_SELLER": "true", "EARSCRIBE_PAIR_CLEAN_NFC": "false"}
    config = layered(PairConfig(), "pair", toml=toml, environment=environment)
    assert config == PairConfig(min_words=4, clean=CleanConfig(ordinals=True, nfc=False))
    assert set(environment) <= set(variables(PairConfig(), "EARSCRIBE_PAIR_"))
    with pytest.raises(UserError, match=r"\[pair.clean\]: unknown key 'ordinal'.*ordinals"):
        layered(PairConfig(), "pair", toml={"pair": {"clean": {"ordinal": True}}}, environment={})


def test_cleaning_changes_captions_and_no_identity() -> None:
    text = "The second movement, Larghetto, is “calm” (our sound-bite begins here) and long."
    found = work(FILES, text=text)
    as_it_is = CleanConfig(nfc=False, quotes=False, whitespace=False, numbering=False, seller=False)
    [raw] = pair_work(found, PairConfig(clean=as_it_is))
    [cleaned] = pair_work(found, PairConfig(clean=CleanConfig(ordinals=True)))
    assert raw.caption == raw.caption_raw == cleaned.caption_raw == text
    assert cleaned.caption == 'The Larghetto is "calm" and long.'
    assert (cleaned.num_words, cleaned.pair_id) == (6, raw.pair_id)
    assert (cleaned.movements, cleaned.align_flags) == (raw.movements, raw.align_flags)


def test_a_text_of_which_nothing_is_left_is_no_example() -> None:
    note = Note(source="Ours", text="Listen to our sound bite.", movements=(2,))
    given = dataclasses.replace(work(FILES), notes=(note,))
    [row] = pair_work(given, PairConfig(min_words=0))
    assert (row.caption, row.status, row.filter_reason) == ("", "filtered", "short_text")
