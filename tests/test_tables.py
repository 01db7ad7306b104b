"""Tables of one's own: the forms people use, odd rows, and the way through fetch to clips."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from crawler.errors import UserError
from crawler.items import Note, Part, Person, Recording, Work, write_works
from crawler.summary import Summary
from dataset.fetch import FetchConfig, fetch
from dataset.index import load_pairs
from dataset.pairing import PairConfig, pair
from dataset.pairs import Pair
from dataset.splits import SplitConfig, split
from dataset.tables import TableConfig, import_table
from dataset.validate import check

FIXTURE = Path(__file__).parent / "fixtures" / "tables" / "musiccaps_form.csv"
CAPTIONS = TableConfig(text="caption", url="ytid", start="start_s", end="end_s")
LOCAL = TableConfig(text="said", file="path", start="from", end="to", title="name")
FETCH = FetchConfig(workers=1, min_clip_s=0.5)
RATE_HZ = 16_000
TEXT = "One steady tone and nothing else."


def rows(data: Path) -> list[Pair]:
    return load_pairs(data / "pairs.parquet")


def write_csv(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    file = folder / "table.csv"
    file.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return file


def take(data: Path, file: Path, config: TableConfig = CAPTIONS) -> dict[str, Pair]:
    """Import; the rows of the index by caption."""
    import_table(data, file, config)
    return {row.caption: row for row in rows(data)}


def reasons(summary: Summary) -> list[tuple[int, str]]:
    return [(row["row"], row["reason"]) for row in summary.details["filtered rows"]]


def tone(path: Path, *pitches_hz: float) -> None:
    """Two seconds of each pitch."""
    at = np.arange(2 * RATE_HZ) / RATE_HZ
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.concatenate([0.5 * np.sin(2 * np.pi * pitch * at) for pitch in pitches_hz])
    sf.write(path, sound, RATE_HZ)


def strongest_hz(path: Path) -> float:
    samples, rate = sf.read(path)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


# ---------------------------------------------------------------- addresses


def test_a_file_of_the_musiccaps_form(tmp_path: Path) -> None:
    summary = import_table(tmp_path, FIXTURE, CAPTIONS)
    assert summary.counts == {"pending": 3}
    assert summary.details["sources"] == 2
    found = {row.caption: row for row in rows(tmp_path)}
    hymn = found['Soft strings play a slow tune, "almost" a hymn.']
    assert (hymn.youtube_id, hymn.start_s, hymn.end_s) == ("-0aBcDeFgHi", 30.0, 40.0)
    assert hymn.source_url == "https://www.youtube.com/watch?v=-0aBcDeFgHi"
    assert (hymn.level, hymn.movements, hymn.bounds_source) == ("work", (), "page")
    assert (hymn.work_id, hymn.note_source) == ("-0aBcDeFgHi", "musiccaps_form.csv")
    assert (hymn.text_rights, hymn.redistributable) == ("unknown", False)
    assert found["A flute answers from afar."].work_id == hymn.work_id
    assert found["A single drum keeps time."].start_s == 0.0
    assert check(tmp_path).clean


@pytest.mark.parametrize(
    ("address", "bounds"),
    [
        ("https://youtu.be/-0aBcDeFgHi?t=75", (75.0, None)),
        ("youtu.be/-0aBcDeFgHi#t=1m30s", (90.0, None)),
        ("http://m.youtube.com/watch?a=b&v=-0aBcDeFgHi", (None, None)),
        ("youtube.com/watch?v=-0aBcDeFgHi&list=PLx&t=0", (None, None)),
        ("//www.YouTube.com./live/-0aBcDeFgHi", (None, None)),
        ("https://www.youtube-nocookie.com/embed/-0aBcDeFgHi?start=30&end=60", (30.0, 60.0)),
        ("https://www.youtube.com/v/-0aBcDeFgHi", (None, None)),
        ("https://www.youtube.com/shorts/-0aBcDeFgHi", (None, None)),
    ],
)
def test_videos_of_youtube_are_known_with_the_times_of_their_address(
    tmp_path: Path, address: str, bounds: tuple[float | None, float | None]
) -> None:
    file = write_csv(tmp_path, "said,where", f"{TEXT},{address}")
    row = take(tmp_path / "data", file, TableConfig(text="said", url="where"))[TEXT]
    assert row.source_url == "https://www.youtube.com/watch?v=-0aBcDeFgHi"
    assert row.youtube_id == "-0aBcDeFgHi"
    assert (row.start_s, row.end_s) == bounds
    assert row.bounds_source == ("page" if any(bounds) else "file")


@pytest.mark.parametrize("address", ["watch?v=-0aBcDeFgHi", "a.flac#t=20"])
def test_addresses_elsewhere_stay_as_they_are(tmp_path: Path, address: str) -> None:
    address = f"https://example.org/{address}"
    file = write_csv(tmp_path, "said,where", f"{TEXT},{address}")
    row = take(tmp_path / "data", file, TableConfig(text="said", url="where"))[TEXT]
    assert (row.source_url, row.youtube_id, row.start_s) == (address, None, None)


def test_a_column_of_begins_counts_more_than_the_address(tmp_path: Path) -> None:
    file = write_csv(tmp_path, "said,where,at", f"{TEXT},youtu.be/-0aBcDeFgHi?t=75,")
    row = take(tmp_path / "data", file, TableConfig(text="said", url="where", start="at"))[TEXT]
    assert row.start_s is None


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("-0aBcDeFgHi,x,10,Words", "bad_number"),
        ("-0aBcDeFgHi,-1,10,Words", "bad_number"),
        ("-0aBcDeFgHi,0,inf,Words", "bad_number"),
        ("-0aBcDeFgHi,10,10,Words", "bad_bounds"),
        ("-0aBcDeFgHi,1:30,80,Words", "bad_bounds"),
        ("-0aBcDeFgHi,,0,Words", "bad_bounds"),
        ("-0aBcDeFgHi,0,10,", "empty_text"),
        ("-0aBcDeFgHi,0,10", "broken_row"),
        ("-0aBcDeFgHi,1_0,20,Words", "bad_number"),
        ("-0aBcDeFgHi,0,1:75,Words", "bad_number"),
        ("https://www.youtube.com/playlist?list=PL012345678,0,10,Words", "no_address"),
        ("https://www.youtube.com/@someone,0,10,Words", "no_address"),
        ("https://www.youtube.com/embed/videoseries?list=PLx,0,10,Words", "no_address"),
        ("https://www.youtube.com/watch?v=-0aBcDeFgHi1,0,10,Words", "no_address"),
        (",0,10,Words", "no_address"),
        ("file:///etc/hostname,0,10,Words", "no_address"),
        ("ftp://example.org/a.ogg,0,10,Words", "no_address"),
        ("http://[,0,10,Words", "no_address"),
        ("-0aBcDeFgHi,0,10,Words,more", "broken_row"),
    ],
)
def test_an_odd_row_is_filtered_with_its_reason(tmp_path: Path, cells: str, reason: str) -> None:
    good = "_1aBcDeFgHi,0:05,1:02:03,Good words"
    file = write_csv(tmp_path, "ytid,start_s,end_s,caption", cells, good)
    summary = import_table(tmp_path / "data", file, CAPTIONS)
    assert summary.counts == {f"filtered: {reason}": 1, "pending": 1}
    assert reasons(summary) == [(1, reason)]
    kept = next(row for row in rows(tmp_path / "data") if row.status == "pending")
    assert (kept.start_s, kept.end_s) == (5.0, 3723.0)
    assert check(tmp_path / "data").clean


# ---------------------------------------------------------------- forms of files


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_with_any_delimiter_and_a_byte_order_mark(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    lines = [["ytid", "caption"], ["-0aBcDeFgHi", '"Trüb; alone,\tone | line\n and another"']]
    file = write_csv(tmp_path, *map(delimiter.join, lines), encoding=encoding)
    (row,) = take(tmp_path / "data", file, TableConfig(text="caption", url="ytid")).values()
    assert row.caption == "Trüb; alone, one | line and another"
    assert row.youtube_id == "-0aBcDeFgHi"


def test_all_forms_give_the_same_rows(tmp_path: Path) -> None:
    values = {"ytid": "-0aBcDeFgHi", "start_s": 1.5, "end_s": None, "caption": TEXT}
    for suffix in (".csv", ".tsv", ".jsonl", ".parquet"):
        file = tmp_path / f"table{suffix}"
        cells = ["" if value is None else str(value) for value in values.values()]
        if suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist([values]), file)
        elif suffix == ".jsonl":
            file.write_text(json.dumps(values) + "\n")
        else:
            sign = "," if suffix == ".csv" else "\t"
            quoted = [f'"{cell}"' for cell in cells]
            file.write_text(f"{f'{sign} '.join(values)}\n{sign.join(quoted)}\n")
        (row,) = take(tmp_path / suffix, file).values()
        assert (row.youtube_id, row.start_s, row.end_s) == ("-0aBcDeFgHi", 1.5, None), suffix
        assert (row.caption, row.status) == (TEXT, "pending"), suffix


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"caption": ["a", "b"]}, "not_text"),
        ({"caption": {"en": "a"}}, "not_text"),
        ({"caption": b"a"}, "not_text"),
        ({"caption": True}, "not_text"),
        ({"caption": None}, "empty_text"),
        ({"start_s": [1.0]}, "bad_cell"),
    ],
)
def test_values_of_another_type_are_filtered(
    tmp_path: Path, odd: dict[str, Any], reason: str
) -> None:
    file = tmp_path / "table.PARQUET"
    good = {"ytid": "-0aBcDeFgHi", "start_s": 1.5, "end_s": None, "caption": TEXT}
    pq.write_table(pa.Table.from_pylist([{**good, **odd}]), file)
    summary = import_table(tmp_path / "data", file, CAPTIONS)
    assert summary.counts == {f"filtered: {reason}": 1}


def test_broken_lines_of_jsonl_are_filtered(tmp_path: Path) -> None:
    file = tmp_path / "table.jsonl"
    good = json.dumps({"ytid": "-0aBcDeFgHi", "caption": TEXT})
    half = json.dumps({"ytid": "-0aBcDeFgHi", "caption": "Half \ud800."})
    deep = "[" * 100_000
    body = f"{good}\n{{cut of\n[1]\n\n{half}\n{deep}\n".encode()
    file.write_bytes(body + b'{"caption": "\xff"}\n')
    summary = import_table(tmp_path / "data", file, TableConfig(text="caption", url="ytid"))
    assert summary.counts == {"filtered: broken_row": 4, "pending": 2}
    assert "Half ?." in {row.caption for row in rows(tmp_path / "data")}


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("table.csv", b"ytid,start_s,end_s,text\n-0aBcDeFgHi,0,1,x\n", "no column 'caption'; its"),
        ("table.csv", b"ytid,start_s,end_s,caption\n", "has no rows"),
        ("table.csv", b"", "has no rows"),
        ("table.csv", b'ytid,caption\nx,y\nz,"open\nx,y\n', "what begins in line 3"),
        ("table.csv", b"ytid,caption\nx," + b"y" * 140_000, "what begins in line 2"),
        ("table.csv", b"ytid, caption,caption\nx,y,z\n", "two columns named 'caption'"),
        ("table.csv", b"ytid,caption\n\xff\xfe,x\n", "cannot read"),
        ("table.jsonl", b"\n", "has no rows"),
        ("table.jsonl", b"{}\n", "no column 'caption'"),
        ("table.parquet", b"PAR1", "not a parquet file"),
        ("table.xlsx", b"PK", "unknown form '.xlsx'"),
        ("other.csv", None, "no table"),
    ],
)
def test_unusable_files_are_told_in_one_line(
    tmp_path: Path, name: str, body: bytes | None, told: str
) -> None:
    if body is not None:
        (tmp_path / name).write_bytes(body)
    with pytest.raises(UserError, match=told) as caught:
        import_table(tmp_path / "data", tmp_path / name, CAPTIONS)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data" / "pairs.parquet").exists()


@pytest.mark.parametrize("columns", [{}, {"url": "a", "file": "b"}])
def test_either_addresses_or_files_must_be_named(tmp_path: Path, columns: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="one of --url and --file"):
        import_table(tmp_path, tmp_path / "x.csv", TableConfig(text="said", **columns))


# ---------------------------------------------------------------- through the stages


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A JSONL table beside two recordings: 300 then 700 Hz, and 500 Hz."""
    tone(tmp_path / "my music" / "two tones #1%.wav", 300, 700)
    tone(tmp_path / "one.wav", 500)
    table: list[dict[str, Any]] = [
        {"said": "A low tone.", "path": "my music/two tones #1%.wav", "from": 0, "to": 2},
        {"said": "A high tone.", "path": "my music/two tones #1%.wav", "from": "0:02"},
        {"said": TEXT, "path": str(tmp_path / "one.wav"), "name": "Etude in d minor"},
        {"said": "Nothing to hear.", "path": "gone.wav"},
        {"said": "A folder.", "path": "my music"},
        {"said": "No name of a file.", "path": "a\0b"},
    ]
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in table))
    return file


def test_local_files_become_clips(tmp_path: Path, local: Path) -> None:
    data = tmp_path / "data"
    summary = import_table(data, local, LOCAL)
    assert summary.counts == {"filtered: no_file": 3, "pending": 3}
    done = fetch(data, FETCH)
    assert done.counts == {"filtered: no_file": 3, "ok": 3}
    heard = {}
    for row in rows(data):
        if row.audio is not None:
            heard[row.caption] = strongest_hz(data / row.audio["path"])
    expected = {"A low tone.": 300.0, "A high tone.": 700.0, TEXT: 500.0}
    assert heard == pytest.approx(expected, abs=1.0)
    etude = next(row for row in rows(data) if row.caption == TEXT)
    assert (etude.title, etude.key, etude.mode) == ("Etude in d minor", "d minor", "minor")
    assert check(data).clean
    assert (tmp_path / "one.wav").is_file()


def test_a_second_run_does_no_work_again(tmp_path: Path, local: Path) -> None:
    data = tmp_path / "data"
    import_table(data, local, LOCAL)
    fetch(data, FETCH)
    before = (data / "pairs.parquet").read_bytes()
    assert import_table(data, local, LOCAL).work_done == 0
    assert fetch(data, FETCH).work_done == 0
    assert (data / "pairs.parquet").read_bytes() == before


def test_a_mended_table_keeps_the_clips_of_its_other_rows(tmp_path: Path, local: Path) -> None:
    data = tmp_path / "data"
    import_table(data, local, LOCAL)
    fetch(data, FETCH)
    tone(tmp_path / "gone.wav", 900)
    summary = import_table(data, local, LOCAL)
    assert summary.counts == {"filtered: no_file": 2, "ok": 3, "pending": 1}
    assert fetch(data, FETCH).counts == {"filtered: no_file": 2, "ok": 4}


def test_a_mended_recording_is_read_again(tmp_path: Path, local: Path) -> None:
    data = tmp_path / "data"
    (tmp_path / "one.wav").write_bytes(b"no sound at all")
    import_table(data, local, LOCAL)
    assert fetch(data, FETCH).counts["failed: not_media"] == 1
    assert fetch(data, FETCH).work_done == 0
    tone(tmp_path / "one.wav", 500)
    tone(tmp_path / "my music" / "two tones #1%.wav", 400, 800)
    assert fetch(data, FETCH).counts["ok"] == 3
    heard = {row.caption: strongest_hz(data / row.audio["path"]) for row in rows(data) if row.audio}
    assert heard == pytest.approx({"A low tone.": 400, "A high tone.": 800, TEXT: 500}, abs=1.0)
    assert fetch(data, FETCH).work_done == 0
    assert check(data).clean


def test_another_table_of_the_same_name_is_refused(tmp_path: Path) -> None:
    data, ours = tmp_path / "data", ("ytid,caption", f"-0aBcDeFgHi,{TEXT}", "_1aBcDeFgHi,Else.")
    config = TableConfig(text="caption", url="ytid")
    (tmp_path / "other").mkdir()
    import_table(data, write_csv(tmp_path, *ours), config)
    with pytest.raises(UserError, match="give the file another name"):
        import_table(data, write_csv(tmp_path / "other", ours[0], f"_2aBcDeFgHi,{TEXT}"), config)
    assert len(rows(data)) == 2
    details = import_table(data, write_csv(tmp_path, *ours[:2]), config).details
    assert (details["replaced rows"], details["rows no longer there"]) == (2, 1)


def test_a_file_that_is_away_is_asked_for_again(tmp_path: Path, local: Path) -> None:
    data = tmp_path / "data"
    import_table(data, local, LOCAL)
    (tmp_path / "one.wav").rename(tmp_path / "away.wav")
    first = fetch(data, FETCH)
    assert (first.counts["failed: network"], first.incomplete) == (1, True)
    (tmp_path / "away.wav").rename(tmp_path / "one.wav")
    assert fetch(data, FETCH).counts["ok"] == 3


def write_work(data: Path, url: str) -> None:
    """works.jsonl with one work: one recording, one note about the whole of it."""
    part = Part(video_id="x", youtube_id=None, url=url, movement=0)
    work = Work(
        work_id="A-Trio",
        page_url="/chamber-music/A-Trio/",
        composer=Person(name="A"),
        title="Trio",
        recordings=(Recording(recording_id="x", parts=(part,)),),
        notes=(Note(source="Ours", text=TEXT, movements=()),),
    )
    write_works(data / "works.jsonl", [work])


def test_a_page_cannot_name_a_file_of_this_machine(tmp_path: Path) -> None:
    tone(tmp_path / "secret.wav", 500)
    data = tmp_path / "data"
    write_work(data, (tmp_path / "secret.wav").as_uri())
    pair(data, PairConfig())
    assert fetch(data, FETCH).counts == {"failed: not_media": 1}
    assert not list((data / "sources").glob("*"))


def test_tables_and_works_live_in_one_index(tmp_path: Path) -> None:
    write_work(tmp_path, "https://example.org/a.ogg")
    pair(tmp_path, PairConfig())
    import_table(tmp_path, FIXTURE, CAPTIONS)
    before = rows(tmp_path)
    assert sorted(row.align_method for row in before) == ["given", "table", "table", "table"]
    pair(tmp_path, PairConfig())
    assert rows(tmp_path) == before
    import_table(tmp_path, FIXTURE, CAPTIONS)
    assert rows(tmp_path) == before


def test_the_rows_of_a_table_without_composers_can_be_split(tmp_path: Path) -> None:
    table = []
    for number in range(4):
        tone(tmp_path / f"{number}.wav", 300 + 50 * number)
        table.append({"said": f"Tone number {number}.", "path": f"{number}.wav"})
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in table))
    import_table(tmp_path / "data", file, TableConfig(text="said", file="path"))
    fetch(tmp_path / "data", FETCH)
    summary = split(tmp_path / "data", SplitConfig(fractions=(0.5, 0.5)))
    assert summary.counts == {"train": 2, "test": 2}
    parts = [(part["composers"], part["without_composer"]) for part in summary.details["parts"]]
    assert parts == [(0, 2), (0, 2)]
    assert check(tmp_path / "data").clean


def test_ids_tie_rows_of_several_sources_to_one_work(tmp_path: Path) -> None:
    lines = ["-0aBcDeFgHi,One way.,w1", "_1aBcDeFgHi,Another way.,w1", "_1aBcDeFgHi,Else.,"]
    file = write_csv(tmp_path, "ytid,caption,piece", *lines)
    config = TableConfig(text="caption", url="ytid", id="piece", text_rights="CC BY 4.0")
    found = take(tmp_path / "data", file, config)
    assert {row.caption: (row.work_id, row.recording_id) for row in found.values()} == {
        "One way.": ("w1", "-0aBcDeFgHi"),
        "Another way.": ("w1", "_1aBcDeFgHi"),
        "Else.": ("_1aBcDeFgHi", "_1aBcDeFgHi"),
    }
    assert {row.text_rights for row in found.values()} == {"CC BY 4.0"}
