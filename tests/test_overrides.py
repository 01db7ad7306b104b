"""A person's corrections: what they change, what they leave, and what is no correction."""

import dataclasses
import logging
from pathlib import Path

import pytest
from test_pairing import ALL, FILES, OFFSETS, WHOLE, part, recording, work

from crawler.errors import UserError
from crawler.items import Note, Recording, write_works
from dataset.bounds import locate
from dataset.closeup import find_pairs
from dataset.index import load_pairs, write_pairs
from dataset.overrides import COLUMNS, read_movements, read_overrides
from dataset.pairing import PairConfig, pair, pair_work
from dataset.pairs import Pair
from dataset.sources import Chapter
from dataset.validate import validate

HEAD = "work,movement,column,value,why\n"
SLUG = "A-Person-String-Quartet"
VIDEO = "dQw4w9WgXcQ"


def corpus(folder: Path, *recordings: Recording) -> dict[tuple[int, ...], Pair]:
    """A data folder with pairs made; its rows by movements."""
    write_works(folder / "works.jsonl", [work(*recordings)])
    return paired(folder)


def paired(folder: Path, lines: str | None = None) -> dict[tuple[int, ...], Pair]:
    if lines is not None:
        (folder / "overrides.csv").write_text(HEAD + lines, encoding="utf-8")
    pair(folder, ALL)
    return {row.movements: row for row in load_pairs(folder / "pairs.parquet")}


def test_a_text_gets_the_movement_that_a_person_gave(tmp_path: Path) -> None:
    before = corpus(tmp_path, FILES)[1,]
    after = paired(tmp_path, f"{before.pair_id},,movements,4,it is about the finale\n")[4,]
    assert after.caption == before.caption
    assert (after.align_method, after.align_score) == ("override", 1.0)
    assert after.align_flags == ("overridden",)
    assert (after.movement_name, after.tempo_class) == ("Finale. Presto", "fast")
    assert (after.source_url, after.bounds_source) == ("/watch?v=onePerFile4", "file")


def test_a_corrected_row_is_found_by_either_id_and_keeps_the_promises(tmp_path: Path) -> None:
    before = corpus(tmp_path, FILES)[1,]
    after = paired(tmp_path, f"{before.pair_id},,movements,4,why not\n")[4,]
    assert before.pair_id != after.pair_id
    for known in (before.pair_id, after.pair_id, before.pair_id[:6]):
        assert find_pairs(tmp_path, known) == [after]
    assert validate(tmp_path).details["findings"] == 0


def test_a_pair_id_speaks_for_its_text_in_all_recordings(tmp_path: Path) -> None:
    write_works(tmp_path / "works.jsonl", [work(FILES, OFFSETS, WHOLE)])
    paired(tmp_path)
    [one] = [r for r in load_pairs(tmp_path / "pairs.parquet") if r.recording_id == "wholeWorkID0"
             and r.movements == (2,)]  # fmt: skip
    (tmp_path / "overrides.csv").write_text(
        f'{HEAD}{one.pair_id},,movements,1,x\n{one.pair_id},,caption,"A song, slow.",y\n'
    )
    pair(tmp_path, ALL)
    rows = [r for r in load_pairs(tmp_path / "pairs.parquet") if r.text_index == one.text_index]
    assert [row.movements for row in rows] == [(1,)] * 3
    assert {(row.caption, row.num_words) for row in rows} == {("A song, slow.", 3)}
    assert {row.caption_raw for row in rows} == {one.caption_raw}


def test_a_video_and_bounds_are_those_of_one_recording(tmp_path: Path) -> None:
    write_works(tmp_path / "works.jsonl", [work(FILES, OFFSETS)])
    paired(tmp_path)
    rows = {(r.recording_id, r.movements): r for r in load_pairs(tmp_path / "pairs.parquet")}
    key = rows["offsetsOff11", (2,)].pair_id
    (tmp_path / "overrides.csv").write_text(
        f"{HEAD}{key},,source_url,{VIDEO},x\n{key},,start_s,1:15,x\n{key},,end_s,150.5,x\n"
    )
    pair(tmp_path, ALL)
    new = {(r.recording_id, r.movements): r for r in load_pairs(tmp_path / "pairs.parquet")}
    changed = new["offsetsOff11", (2,)]
    assert (changed.youtube_id, changed.source_url.endswith(VIDEO)) == (VIDEO, True)
    assert (changed.start_s, changed.end_s, changed.bounds_source) == (75.0, 150.5, "override")
    assert changed.align_flags == ("overridden",)
    assert changed.align_method == rows["offsetsOff11", (2,)].align_method
    del rows["offsetsOff11", (2,)], new["offsetsOff11", (2,)]
    assert new == rows


def test_a_video_alone_leaves_its_bounds_to_be_looked_for(tmp_path: Path) -> None:
    rows = corpus(tmp_path, OFFSETS)
    found = paired(tmp_path, f"{SLUG},2,source_url,https://youtu.be/{VIDEO},x\n")[2,]
    assert (found.start_s, found.end_s, found.bounds_source) == (None, None, "unknown")
    assert found.youtube_id == VIDEO
    elsewhere = "https://example.org/a.ogg"
    whole = paired(
        tmp_path, f"{rows[1,].pair_id},,movements,none,x\n{SLUG},none,source_url,{elsewhere},x\n"
    )[()]
    assert (whole.source_url, whole.youtube_id) == (elsewhere, None)
    assert (whole.bounds_source, whole.level) == ("file", "work")


def test_a_video_by_hand_cures_what_the_page_lacks(tmp_path: Path) -> None:
    refused = corpus(tmp_path, FILES)[3, 4]
    assert refused.filter_reason == "movements_in_two_files"
    cured = paired(tmp_path, f"{refused.pair_id},,source_url,{VIDEO},one file has both\n")[3, 4]
    assert (cured.status, cured.filter_reason) == ("pending", None)


def test_a_works_line_means_the_movements_as_corrected_but_for_movements(tmp_path: Path) -> None:
    rows = corpus(tmp_path, OFFSETS)
    exchanged = paired(tmp_path, f"{SLUG},1,movements,2,x\n{SLUG},2,movements,1,x\n")
    assert exchanged[1,].caption == rows[2,].caption
    assert exchanged[2,].caption == rows[1,].caption
    moved = paired(tmp_path, f"{SLUG},2,start_s,34,x\n{rows[2,].pair_id},,movements,1,x\n")
    assert (2,) not in moved  # so there is no movement 2 whose start would change
    assert {row.start_s for row in moved.values()} == {0.0, 62.0}


def test_a_second_correction_may_name_the_id_of_the_first(tmp_path: Path) -> None:
    first = corpus(tmp_path, OFFSETS)[1,]
    lines = f"{first.pair_id},,movements,2,x\n"
    rows = load_pairs(tmp_path / "pairs.parquet")
    paired(tmp_path, lines)
    [second] = set(load_pairs_ids(tmp_path)) - {row.pair_id for row in rows}
    third = paired(tmp_path, lines + f"{second},,movements,4,y\n{second},,caption,Well then.,z\n")
    assert (third[4,].caption_raw, third[4,].caption) == (first.caption_raw, "Well then.")


def load_pairs_ids(folder: Path) -> list[str]:
    return [row.pair_id for row in load_pairs(folder / "pairs.parquet")]


def test_a_dropped_pair_stays_dropped(tmp_path: Path) -> None:
    rows = corpus(tmp_path, OFFSETS)
    lines = f"{SLUG},1,status,drop,a rehearsal\n{rows[2,].pair_id},,source_url,none,no music\n"
    for _ in range(2):
        dropped = paired(tmp_path, lines)
        for movement in (1, 2):
            row = dropped[movement,]
            assert (row.status, row.filter_reason) == ("filtered", "dropped_by_hand")
        assert dropped[3, 4].status == "pending"
    assert paired(tmp_path, "")[1,].status == "pending"


def rows_of(folder: Path, policy: str) -> dict[tuple[str, tuple[int, ...]], Pair]:
    pair(folder, PairConfig(recordings=policy))
    rows = load_pairs(folder / "pairs.parquet")
    return {(row.recording_id, row.movements): row for row in rows}


def test_a_correction_of_an_alternate_holds_once_it_is_taken(tmp_path: Path) -> None:
    write_works(tmp_path / "works.jsonl", [work(OFFSETS, FILES)])
    other = (FILES.recording_id, (2,))
    key = rows_of(tmp_path, "first_complete")[other].pair_id
    (tmp_path / "overrides.csv").write_text(f"{HEAD}{key},,source_url,{VIDEO},a better one\n")
    waiting = rows_of(tmp_path, "first_complete")[other]
    assert (waiting.filter_reason, waiting.youtube_id) == ("alternate", VIDEO)
    assert find_pairs(tmp_path, key) == [waiting]
    taken = rows_of(tmp_path, "all")[other]
    assert (taken.status, taken.youtube_id) == ("pending", VIDEO)
    (tmp_path / "overrides.csv").write_text(f"{HEAD}{key},,status,drop,the words are wrong\n")
    dropped = rows_of(tmp_path, "first_complete")
    assert {row.filter_reason for (_, n), row in dropped.items() if n == (2,)} == {
        "dropped_by_hand"
    }
    assert validate(tmp_path).details["findings"] == 0


def test_a_movement_by_hand_is_that_of_every_recording(tmp_path: Path) -> None:
    write_works(tmp_path / "works.jsonl", [work(OFFSETS, FILES)])
    key = rows_of(tmp_path, "first_complete")[FILES.recording_id, (1,)].pair_id
    (tmp_path / "overrides.csv").write_text(f"{HEAD}{key},,movements,4,by an alternate's id\n")
    found = rows_of(tmp_path, "first_complete")
    reasons = [found[one.recording_id, (4,)].filter_reason for one in (OFFSETS, FILES)]
    assert reasons == [None, "alternate"]


def test_bounds_that_only_an_alternate_cannot_have_stop_nothing(tmp_path: Path) -> None:
    short = recording(part(2, "shortOne123", 0.0, 20.0))
    write_works(tmp_path / "works.jsonl", [work(OFFSETS, short)])
    (tmp_path / "overrides.csv").write_text(f"{HEAD}{SLUG},2,start_s,34,a pause before it\n")
    found = rows_of(tmp_path, "first_complete")
    assert found[OFFSETS.recording_id, (2,)].start_s == 34.0
    assert found[short.recording_id, (2,)].start_s == 0.0
    with pytest.raises(UserError, match="line 2: from 34 s to 20 s is no stretch"):
        rows_of(tmp_path, "all")


def test_a_video_by_hand_answers_what_is_odd_about_the_pages(tmp_path: Path) -> None:
    parts = [dataclasses.replace(part(1, f"sameLabel{n:02}"), name="Modéré") for n in range(4)]
    assert corpus(tmp_path, recording(*parts))[1,].filter_reason == "same_label"
    cured = paired(tmp_path, f"{SLUG},1,source_url,{VIDEO},this is it\n")[1,]
    assert (cured.status, cured.align_flags) == ("pending", ("overridden",))


def test_bounds_by_hand_answer_the_flags_of_times(tmp_path: Path) -> None:
    long = dataclasses.replace(FILES.parts[1], duration_s=1_500.0)
    odd = dataclasses.replace(FILES, parts=(FILES.parts[0], long, *FILES.parts[2:]))
    other = dataclasses.replace(work(FILES), work_id="B")
    write_works(tmp_path / "works.jsonl", [work(odd), other])
    assert flags_of(tmp_path) == {"long_movement", "shared_video"}
    (tmp_path / "overrides.csv").write_text(f"{HEAD}{SLUG},2,end_s,9:30,applause follows\n")
    assert flags_of(tmp_path) == {"overridden", "shared_video"}


def flags_of(folder: Path) -> set[str]:
    """The flags of the second movement."""
    pair(folder, ALL)
    [row] = [row for row in load_pairs(folder / "pairs.parquet")
             if (row.work_id, row.movements) == (SLUG, (2,))]  # fmt: skip
    return set(row.align_flags)


def test_both_bounds_by_hand_cut_what_lies_around_other_music(tmp_path: Path) -> None:
    video = "oneVideo123"
    around = recording(
        part(1, video, 0.0, 20.0), part(2, video, 25.0, 40.0), part(1, video, 45.0, 60.0)
    )
    assert corpus(tmp_path, around)[1,].filter_reason == "other_music_between"
    half = paired(tmp_path, f"{SLUG},1,end_s,20,its first half\n")[1,]
    assert half.filter_reason == "other_music_between"
    lines = f"{SLUG},1,start_s,0,its first half\n{SLUG},1,end_s,20,its first half\n"
    cured = paired(tmp_path, lines)[1,]
    assert (cured.status, cured.start_s, cured.end_s) == ("pending", 0.0, 20.0)


def test_the_same_corrections_give_the_same_bytes(tmp_path: Path) -> None:
    rows = corpus(tmp_path, FILES, OFFSETS)
    (tmp_path / "overrides.csv").write_text(
        f"{HEAD}# by ear\n\n{rows[1,].pair_id},,movements,2,x\n{SLUG},2,end_s,none,x\n,,,,\n"
    )
    first = pair(tmp_path, PairConfig())
    before = (tmp_path / "pairs.parquet").read_bytes()
    again = pair(tmp_path, PairConfig())
    assert (tmp_path / "pairs.parquet").read_bytes() == before
    assert (first.details["overrides"], first.details["overrides without effect"]) == (2, 0)
    assert (again.work_done, again.details) == (0, first.details)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("2,caption", True),
        ("2,start_s,33", True),  # as the page has it
        ("2,start_s,34", False),
        ("2,end_s,59", False),
        (f"2,source_url,{VIDEO}", False),
        ("2,movements,4", False),
    ],
)
def test_a_clip_is_kept_only_where_it_is_still_the_one_asked_for(
    tmp_path: Path, line: str, kept: bool
) -> None:
    corpus(tmp_path, OFFSETS)
    index = tmp_path / "pairs.parquet"
    cut = {"status": "ok", "stage": "cut", "clip_id": "c", "sha256": "s", "num_samples": 9}
    write_pairs(index, [dataclasses.replace(row, **cut) for row in load_pairs(index)])
    [old] = [row for row in load_pairs(index) if row.movements == (2,)]
    said = f"{old.pair_id},,caption,Another text on it.,x" if "caption" in line else ""
    paired(tmp_path, (said or f"{SLUG},{line},x") + "\n")
    [new] = [row for row in load_pairs(index) if row.text_index == old.text_index]
    assert (new.status, new.clip_id) == (("ok", "c") if kept else ("pending", None))
    assert new.bounds_source == ("override" if "_s" in line else new.bounds_source)
    paired(tmp_path, "")
    [back] = [row for row in load_pairs(index) if row.text_index == old.text_index]
    assert back.bounds_source == "page" and back.start_s == old.start_s


def test_what_matches_nothing_is_counted_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus(tmp_path, OFFSETS)
    (tmp_path / "overrides.csv").write_text(
        f"{HEAD}{SLUG},1,movements,2,x\nNo-Such-Work,1,status,drop,x\n{'0' * 16},,movements,2,x\n"
    )
    with caplog.at_level(logging.WARNING):
        summary = pair(tmp_path, PairConfig())
    assert (summary.details["overrides"], summary.details["overrides without effect"]) == (1, 2)
    [told] = caplog.messages
    assert "3 ('No-Such-Work'), 4 ('0000000000000000')" in told


def test_no_file_says_nothing_and_a_header_alone_neither(tmp_path: Path) -> None:
    rows = corpus(tmp_path, OFFSETS)
    assert "overrides" not in pair(tmp_path, PairConfig()).details
    assert paired(tmp_path, "") == rows


def test_a_value_that_looks_like_a_formula_is_text(tmp_path: Path) -> None:
    key = corpus(tmp_path, OFFSETS)[1,].pair_id
    assert paired(tmp_path, f"{key},,caption,=1+1 is two,x\n")[1,].caption == "=1+1 is two"


def test_flags_of_the_prose_stay_and_doubts_about_the_movement_go(tmp_path: Path) -> None:
    flags = ("exchanged", "fragment", "sound_bite")
    note = Note(source="Ours", text="and so it goes", movements=(1,), flags=flags)
    given = dataclasses.replace(work(FILES), notes=(note,))
    [row] = pair_work(given, PairConfig())
    path = tmp_path / "overrides.csv"
    path.write_text(f"{HEAD}{row.pair_id},,movements,1,so it is\n")
    [sure] = pair_work(given, PairConfig(), read_overrides(path))
    assert sure.align_flags == ("fragment", "overridden", "sound_bite")


def test_a_byte_order_mark_another_order_and_spare_commas_are_read(tmp_path: Path) -> None:
    path = tmp_path / "overrides.csv"
    head = "why,value,column,movement,work,,\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + f"{head}x,3 4,movements,2,{SLUG},,\r\n".encode())
    [one] = read_overrides(path).all
    assert (one.target, one.movements, one.value, one.line) == (SLUG, (2,), (3, 4), 2)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", "line 1 is '': give the header work,movement,column,value,why"),
        (b"# nothing yet\n", "give the header"),
        (b"A-Work,1,status,drop,x\n", "line 1 is 'A-Work,1,status,drop,x': give the header"),
        (b"work;movement;column;value;why\n", "give the header"),
        (HEAD.encode() + b"A,1,status,\0,x\n", "line 2 holds a NUL"),
        (HEAD.encode("utf-16"), "as UTF-8"),
        (HEAD.encode() + "A,1,status,drop,für\n".encode("latin-1"), "as UTF-8"),
        (HEAD.encode() + b'A,1,status,drop,"x\n', "is not CSV in what begins in line 2"),
    ],
)
def test_an_odd_file_is_one_line(tmp_path: Path, body: bytes, line: str) -> None:
    path = tmp_path / "overrides.csv"
    path.write_bytes(body)
    with pytest.raises(UserError) as caught:
        read_overrides(path)
    assert line in str(caught.value)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_of_that_name_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "overrides.csv").mkdir()
    with pytest.raises(UserError, match="is no file"):
        read_overrides(tmp_path / "overrides.csv")


ID = "0123456789abcdef"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("A,1,tempo,2,x", f"column 'tempo' is not one of {', '.join(COLUMNS)}"),
        ("A,1,movements,2,", "why is empty"),
        ("A,1,movements,2", "has 4 cells, not 5"),
        ("A,1,movements,2,x,y", "has 6 cells, not 5"),
        ("A,1,movements,first,x", "movements 'first' is not allowed: give 2 or 3 4, or none"),
        ("A,1,movements,1 3,x", "movements '1 3' is not allowed"),
        ("A,1,movements,0,x", "movements '0' is not allowed"),
        (",1,movements,2,x", "work is empty"),
        ("A,,movements,2,x", "movement '' of 'A' is not allowed: give 2 or 3 4, or none"),
        (f"{ID},1,movements,2,x", "movement '1' beside the pair_id"),
        ("A,1,source_url,file:///etc/passwd,x", "source_url 'file:///etc/passwd' is not allowed"),
        ("A,1,source_url,https://youtu.be/dQw4w9WgXcQ?t=9,x", "without a time in it"),
        ("A,1,source_url,,x", "source_url '' is not allowed"),
        ("A,1,start_s,-3,x", "start_s '-3' is not allowed: give seconds or m:ss"),
        ("A,1,start_s,none,x", "start_s 'none' is not allowed"),
        ("A,1,end_s,nan,x", "end_s 'nan' is not allowed"),
        ("A,1,status,ok,x", "status 'ok' is not allowed: give drop"),
        (f"{ID},,caption,,x", "caption '' is not allowed"),
        ("A,1,caption,Words,x", "a caption is of one text: name it by its pair_id"),
    ],
)
def test_a_malformed_line_says_what_is_allowed(tmp_path: Path, row: str, told: str) -> None:
    path = tmp_path / "overrides.csv"
    path.write_text(f"{HEAD}\n# a remark\n{row}\n")
    with pytest.raises(UserError) as caught:
        read_overrides(path)
    assert str(caught.value).startswith(f"{path} line 4")
    assert told in str(caught.value)


def test_two_lines_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    path = tmp_path / "overrides.csv"
    path.write_text(f"{HEAD}{SLUG},1,start_s,75,x\n{SLUG},1,start_s,1:15,y\n{SLUG},2,start_s,9,x\n")
    assert len(read_overrides(path).all) == 3  # 75 s is 1:15
    path.write_text(f"{HEAD}{ID},,movements,2,x\n{ID},,status,drop,x\n{ID},,movements,3 4,y\n")
    told = f"lines 2 and 4 contradict each other: movements of {ID} is '2' and '3 4'"
    with pytest.raises(UserError, match=told):
        read_overrides(path)


def test_what_the_work_cannot_have_is_told(tmp_path: Path) -> None:
    corpus(tmp_path, OFFSETS)
    with pytest.raises(UserError, match="movement 5: the work has movements 1 to 4"):
        paired(tmp_path, f"{SLUG},1,movements,5,x\n")
    with pytest.raises(UserError, match="line 2: from 50 s to 31 s is no stretch"):
        paired(tmp_path, f"{SLUG},1,start_s,50,x\n")


def test_the_example_of_the_documents_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "data" / "README.md").read_text(encoding="utf-8")
    _, example, _ = page.split("## overrides.csv")[1].split("\n\n", 3)[1:]
    path = tmp_path / "overrides.csv"
    path.write_text("\n".join(line.strip() for line in example.splitlines()))
    assert {one.column for one in read_overrides(path).all} == set(COLUMNS)


def test_movements_of_a_cell() -> None:
    assert [read_movements(text) for text in ("2", "4 3", "3, 4", "none", "")] == [
        (2,), (3, 4), (3, 4), (), (),
    ]  # fmt: skip


def test_a_whole_work_has_no_chapter() -> None:
    assert locate([Chapter("I. Allegro", 0.0, 9.0)], (), "") is None
