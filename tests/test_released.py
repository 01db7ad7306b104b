"""The import of the 2022 study: every kind of anomaly once, counted and mended."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from crawler.errors import UserError
from crawler.items import Work, read_works
from crawler.ledger import Ledger, State
from crawler.released import composers, import_released, title_of
from crawler.studyfiles import read_line
from crawler.summary import Summary
from dataset.index import load_pairs
from dataset.pairing import PairConfig, pair

FIXTURE = Path(__file__).parent / "fixtures" / "released"
ANOMALIES = {  # counted by hand in the fixture
    "got is text": 3,
    "duration is a number": 3,
    "last next_video is text": 7,
    "last next_video is a number": 2,
    "movement_id is empty": 2,
    "complete work": 2,
    "YouTube id is not of 11 characters": 1,
    "YouTube id is not that of the video_id": 0,
    "id begins with -": 1,
    "id begins with _": 1,
    "no end after a start": 2,
    "duration is not the interval": 1,
    "empty name": 3,
    "qualifier among the performers": 4,
    "numeral is not the movement": 1,
    "20 minutes or longer": 2,
    "several files for the complete work": 1,
    "movement in several files": 1,
    "movements missing": 1,
    "some movements share a file": 1,
    "next_video is not the next": 1,
    "video of two works": 1,
    "added by hand": 2,
    "one file without a movement list": 1,
    "added name differs from the typed one": 1,
    "added last movement without an end": 1,
    "typed times differ from the entries": 0,
    "typed time: none": 1,
    "typed time: round": 1,
    "sent_idx is text": 14,
    "music_info is N/A": 1,
    "no_number": 1,
    "number with other signs": 1,
    "number is not the movement": 1,
    "begins in lower case": 1,
    "no stop at the end": 1,
    "another movement's ordinal first": 1,
    "speaks_of_movements": 1,
    "curly quotes": 1,
    "unbalanced quotes": 1,
    "double spaces": 1,
    "number glued to Op. or No.": 1,
    "odd character": 1,
    "sound_bite": 1,
    "text of several works": 1,
    "same_sent_id": 4,
    "names_finale": 1,
    "names_another": 2,
    "exchanged": 2,
    "suspect_alignment": 1,
}


def imported(data: Path) -> tuple[Summary, dict[str, Work]]:
    summary = import_released(data, FIXTURE)
    return summary, {work.composer.name: work for work in read_works(data / "works.jsonl")}


def spans(work: Work) -> list[tuple[int | None, float | None, float | None]]:
    (recording,) = work.recordings
    return [(part.movement, part.start_s, part.end_s) for part in recording.parts]


def test_every_kind_of_anomaly_is_counted(tmp_path: Path) -> None:
    summary, _ = imported(tmp_path)
    found = {row["class"]: row["count"] for row in summary.details["anomalies"]}
    assert found == ANOMALIES
    examples = {row["class"]: row["example"] for row in summary.details["anomalies"]}
    assert examples["suspect_alignment"] == "Gerda-Gran-Nonet"
    assert examples["typed times differ from the entries"] == ""


def test_the_counts_of_works_texts_and_videos(tmp_path: Path) -> None:
    summary, works = imported(tmp_path)
    assert summary.counts == {"ok": 7, "ok: no_prose": 2, "ok: no_recording": 2}
    assert (summary.total, len(works)) == (11, 11)
    figures = {name: summary.details[name] for name in ("texts", "notes", "videos", "youtube_ids")}
    assert figures == {"texts": 15, "notes": 14, "videos": 20, "youtube_ids": 17}


def test_what_cannot_be_read_is_refused_with_its_place_and_reason(tmp_path: Path) -> None:
    summary, _ = imported(tmp_path)
    found = [(row["file"], row["record"], row["reason"]) for row in summary.details["refused"]]
    texts, videos, added = "music_text_pairs.jsonl", "videos_info.json", "video_add.csv"
    assert found[:2] == [
        (texts, "line 16", "sent_idx 'x' is no movement"),
        (texts, "line 17", "the text is empty"),
    ]
    assert [row[:2] for row in found[2:]] == [
        (texts, "line 18"),
        (videos, "Ida-Ibsen-Duo entry 1"),
        (videos, "Ida-Ibsen-Duo entry 2"),
        (videos, "Ida-Ibsen-Duo entry 3"),
        (videos, "../up"),
        (added, "Hugo-Hain-Piano-Quintet-and-more"),
    ]
    assert summary.details["refused records"] == len(found)


def test_intervals_follow_the_rule_of_start_end_and_duration(tmp_path: Path) -> None:
    _, works = imported(tmp_path)
    assert spans(works["Dora Dahl"]) == [(1, 0.0, 200.0), (2, 205.0, 400.0), (3, 100.0, 220.0)]
    assert spans(works["Finn Falk"]) == [(1, 0.0, 300.0), (2, 300.0, None)]
    assert spans(works["Anna Alba"]) == [(number, None, None) for number in (1, 2, 3, 4)]
    assert spans(works["Carl Cedro"]) == [(None, None, None)] * 2
    assert spans(works["Hugo Hain"])[1] == (3, None, None)


def test_ids_names_and_performers_are_mended(tmp_path: Path) -> None:
    _, works = imported(tmp_path)
    first = works["Ben Bruno"].recordings[0].parts[0]
    assert (first.youtube_id, first.video_id, first.movement) == ("bruno000001", "bruno00000101", 1)
    assert [movement.name for movement in works["Finn Falk"].movements] == [
        "Andante - Allegro",
        "Adagio",
    ]
    assert [movement.name for movement in works["Anna Alba"].movements] == [
        "Allegro con brio",
        "Andante",
        "Scherzo",
        "Rondo",
    ]
    recording = works["Anna Alba"].recordings[0]
    assert (recording.performers, recording.qualifiers) == (("Test Quartet",), ("live",))
    assert recording.parts[1].url == "https://www.youtube.com/watch?v=-alba000002"
    assert works["Kai Korn"].recordings[0].parts[0].youtube_id == "korn0000001"


def test_a_work_is_read_from_its_slug(tmp_path: Path) -> None:
    _, works = imported(tmp_path)
    work = works["Anna Alba"]
    assert (work.title, work.key, work.opus) == (
        "String Quartet No. 1 in d minor, Op. 2",
        "d minor",
        "Op. 2",
    )
    assert work.page_url.endswith("/chamber-music/Anna-Alba-String-Quartet-No-1-in-d-minor-Op-2/")
    assert works["Jan d'Jarl"].work_id == "Jan-d%27Jarl-String-Quartet"


@pytest.mark.parametrize(
    ("slug", "composer", "title"),
    [
        (
            "Camille-Saint-Saens-Violin-Sonata-No-1-in-d-minor-Op-75",
            "Camille-Saint-Saens",
            "Violin Sonata No. 1 in d minor, Op. 75",
        ),
        (
            "Joseph-Haydn-String-Quartet-in-C-major-Op-76-No-3-HobIII_77-Emperor",
            "Joseph-Haydn",
            "String Quartet in C major, Op. 76, No. 3 HobIII:77 Emperor",
        ),
        (
            "Camille-Saint-Saens-Odd-Trio-in-f-sharp-minor",
            "Camille-Saint-Saens",
            "Odd Trio in f-sharp minor",
        ),
        ("Kevin-Puts-Credo-for-String-Quartet", "Kevin-Puts", "Credo for String Quartet"),
    ],
)
def test_the_composer_ends_where_the_title_begins(slug: str, composer: str, title: str) -> None:
    known = "Camille-Saint-Saens-Piano-Quintet-in-a-minor-Op-14"
    assert composers([slug, known])[slug] == composer
    assert title_of(slug[len(composer) + 1 :]) == title


def test_a_name_that_no_title_word_ends_is_cut_as_in_the_composers_other_works() -> None:
    slugs = ["Mia-Moll-Tocar", "Mia-Moll-Cloud-Trio", "Ludwig-van-Ahn-Trio", "Ludwig-van-Ahn-Ode"]
    assert list(composers(slugs).values()) == ["Mia-Moll"] * 2 + ["Ludwig-van-Ahn"] * 2


@pytest.mark.parametrize(
    ("typed", "name", "start_s", "form"),
    [
        ("III Adagio - 12:28", "Adagio", 748.0, "trailing"),
        ("00:00 - I. Allegro - Presto", "Allegro - Presto", 0.0, "leading"),
        ("III. Finale  ( 18:54 )", "Finale", 1134.0, "round"),
        ("II. Scherzo. Vivace [12:27]", "Scherzo. Vivace", 747.0, "square"),
        ("10:20 - 19:35  II. Andante", "Andante", 620.0, "range"),
        ("I Moderato", "Moderato", None, "none"),
        ("Movement Two: Romanze 10:32", "Romanze", 632.0, "trailing"),
        ("Mov.IV: Finale: Vivace 22:31", "Finale: Vivace", 1351.0, "trailing"),
        ("2:39 - 2nd movement - Dance (Allegro)", "Dance (Allegro)", 159.0, "leading"),
        ("#3. 14:10", "", 850.0, "trailing"),
        ("Vivo e molto (0:03)", "Vivo e molto", 3.0, "round"),
        ("1. Largo (1:02:03)", "Largo", 3723.0, "round"),
    ],
)
def test_typed_movement_lines(typed: str, name: str, start_s: float | None, form: str) -> None:
    line = read_line(typed)
    assert (line.name, line.start_s, line.form) == (name, start_s, form)


def test_texts_keep_the_movement_they_were_given(tmp_path: Path) -> None:
    _, works = imported(tmp_path)
    notes = works["Anna Alba"].notes
    assert [(note.movements, note.flags) for note in notes] == [
        ((1,), ("speaks_of_movements",)),
        ((2,), ("names_another", "exchanged")),
        ((3,), ("names_another", "exchanged")),
        ((4,), ()),
    ]
    assert notes[1].text == "A brief scherzo rushes by, all whispers. Then it stops."
    assert notes[3].text == "and a rondo goes round and round without an end"


def test_the_pair_stage_takes_the_given_movements(tmp_path: Path) -> None:
    imported(tmp_path)
    pair(tmp_path, PairConfig())
    rows = {(row.composer, row.movements[0]): row for row in load_pairs(tmp_path / "pairs.parquet")}
    scherzo = rows["Anna Alba", 2]
    assert (scherzo.align_method, scherzo.align_score) == ("given", 1.0)
    assert scherzo.align_flags == ("exchanged", "names_another")
    assert rows["Anna Alba", 4].align_flags == ("fragment",)
    assert rows["Gerda Gran", 1].align_flags == ("suspect_alignment",)
    assert rows["Ben Bruno", 2].source_url.count("https://") == 2  # in two parts
    assert (rows["Dora Dahl", 2].start_s, rows["Dora Dahl", 2].end_s) == (205.0, 400.0)
    assert not any(row.redistributable for row in rows.values())


def test_a_second_import_changes_nothing(tmp_path: Path) -> None:
    first, _ = imported(tmp_path)
    before = (tmp_path / "works.jsonl").read_bytes()
    second, _ = imported(tmp_path)
    assert (first.work_done, second.work_done) == (11, 0)
    assert (tmp_path / "works.jsonl").read_bytes() == before


def test_the_names_of_the_original_repository_are_read_too(tmp_path: Path) -> None:
    names = {
        "music_text_pairs.jsonl": "music_text_pairs_sent_len_split.jsonl",
        "videos_info.json": "videos_info_updated.json",
        "video_add.csv": "video_add.csv",
    }
    for old, new in names.items():
        shutil.copy(FIXTURE / old, tmp_path / new)
    import_released(tmp_path / "other", tmp_path)
    imported(tmp_path / "data")
    works = [(tmp_path / name / "works.jsonl").read_bytes() for name in ("other", "data")]
    assert works[0] == works[1]


def test_a_mended_study_replaces_the_earlier_one(tmp_path: Path) -> None:
    imported(tmp_path / "data")
    folder = shutil.copytree(FIXTURE, tmp_path / "released")
    videos = json.loads((folder / "videos_info.json").read_text())
    del videos["Carl-Cedro-Sextet-Op-3"]
    (folder / "videos_info.json").write_text(json.dumps(videos))
    details = import_released(tmp_path / "data", folder).details
    assert (details["works"], details["works no longer there"]) == (10, 1)


def test_a_folder_of_a_crawl_is_left_alone(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.record("page", "A-B-Trio", State.PENDING)
    with pytest.raises(UserError, match="a crawl has begun"):
        import_released(tmp_path, FIXTURE)
    assert not (tmp_path / "works.jsonl").exists()


def test_both_names_of_one_file_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(FIXTURE, tmp_path / "released")
    shutil.copy(folder / "videos_info.json", folder / "videos_info_updated.json")
    with pytest.raises(UserError, match="keep one of them"):
        import_released(tmp_path / "data", folder)


def test_works_from_elsewhere_are_not_overwritten(small_corpus: Path) -> None:
    before = (small_corpus / "works.jsonl").read_bytes()
    with pytest.raises(UserError, match="works from elsewhere"):
        import_released(small_corpus, FIXTURE)
    assert (small_corpus / "works.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("videos_info.json", None, "holds no videos_info.json or videos_info_updated.json"),
        ("videos_info.json", b"{", "is not JSON"),
        ("videos_info.json", b"[]", "no JSON object of works"),
        ("video_add.csv", b"\xff\xfe", "cannot read"),
        ("video_add.csv", b'A-B-Trio,x,""\nC-D-Trio,x,"I. Adagio\n', "begins in line 2"),
        ("video_add.csv", b"A-B-Trio,x," + b"I" * 140_000, "begins in line 1"),
    ],
)
def test_unreadable_files_are_told_in_one_line(
    tmp_path: Path, name: str, body: bytes | None, told: str
) -> None:
    folder = shutil.copytree(FIXTURE, tmp_path / "released")
    (folder / name).unlink()
    if body is not None:
        (folder / name).write_bytes(body)
    with pytest.raises(UserError, match=told) as caught:
        import_released(tmp_path / "data", folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "odd",
    [
        {"start": -5},
        {"start": "x"},
        {"end": "nan"},
        {"movement_id": 3},
        {"movement_id": 10**9, "video_id": "dahl0000001"},
        {"video_id": 7},
        {"start": [5]},
        {"start": "1_0"},
        {"duration": "4:5"},
        {"duration": -1},
        {"movement_id": 1.7},
        {"movement_id": True},
        {"name": ["II. Romance"]},
        {"title": 7},
    ],
)
def test_odd_entries_cost_themselves_alone(tmp_path: Path, odd: dict[str, Any]) -> None:
    folder = shutil.copytree(FIXTURE, tmp_path / "released")
    videos = json.loads((folder / "videos_info.json").read_text())
    videos["Dora-Dahl-Serenade-in-C-major"][1] |= odd
    (folder / "videos_info.json").write_text(json.dumps(videos))
    summary = import_released(tmp_path / "data", folder)
    assert summary.details["refused records"] == 9
    assert summary.details["videos"] == 19
    assert "Dora-Dahl-Serenade-in-C-major entry 2" in {
        row["record"] for row in summary.details["refused"]
    }


@pytest.mark.parametrize(
    "odd",
    [
        {"start": "3:25", "end": 400.0, "duration": "", "movement_id": "2"},
        {"start": 205.0, "end": "400", "duration": None, "movement_id": 2.0, "name": None},
    ],
)
def test_values_of_another_type_are_read(tmp_path: Path, odd: dict[str, Any]) -> None:
    folder = shutil.copytree(FIXTURE, tmp_path / "released")
    videos = json.loads((folder / "videos_info.json").read_text())
    videos["Dora-Dahl-Serenade-in-C-major"][1] |= odd
    (folder / "videos_info.json").write_text(json.dumps(videos))
    import_released(tmp_path / "data", folder)
    works = {w.composer.name: w for w in read_works(tmp_path / "data" / "works.jsonl")}
    assert spans(works["Dora Dahl"]) == [(1, 0.0, 200.0), (2, 205.0, 400.0), (3, 100.0, 220.0)]


def test_an_id_that_is_not_of_its_video_has_a_class_of_its_own(tmp_path: Path) -> None:
    folder = shutil.copytree(FIXTURE, tmp_path / "released")
    videos = json.loads((folder / "videos_info.json").read_text())
    videos["Dora-Dahl-Serenade-in-C-major"][1]["youtube_id"] = "dahl0000009"
    (folder / "videos_info.json").write_text(json.dumps(videos))
    rows = import_released(tmp_path / "data", folder).details["anomalies"]
    found = {row["class"]: row["count"] for row in rows}
    assert found["YouTube id is not that of the video_id"] == 1
    assert found["YouTube id is not of 11 characters"] == 1


def test_two_keys_of_one_work_are_told(tmp_path: Path) -> None:
    folder = shutil.copytree(FIXTURE, tmp_path / "released")
    videos = json.loads((folder / "videos_info.json").read_text())
    videos["Jan-d'Jarl-String-Quartet"] = []
    videos["Jan-d%27Jarl-String-Quartet"] = videos.pop("Jan-d%27Jarl-String-Quartet", [])
    (folder / "videos_info.json").write_text(json.dumps(videos))
    with (folder / "video_add.csv").open("a") as added:
        added.write("Gerda-Gran-Nonet,https://www.youtube.com/watch?v=gran0000002,\n")
        added.write("Nora-Neu-Trio,https://www.youtube.com/watch?v=neu00000001,\n")
    refused = import_released(tmp_path / "data", folder).details["refused"]
    reasons = {row["record"]: row["reason"].split(",")[0] for row in refused}
    assert reasons["Jan-d%27Jarl-String-Quartet"] == "its work stands there already"
    assert reasons["Gerda-Gran-Nonet"] == "its work stands there already"
    assert reasons["Nora-Neu-Trio"] == "neither a video nor a text is of this work"


@pytest.mark.parametrize(
    "line",
    [
        b'{"music_id": "A-B-Trio", "sent_id": "x", "sent_idx": "1000000000", "sent_text": "Words"}',
        b'{"music_id": "A-\\ud800-Trio", "sent_id": "x", "sent_idx": "1", "sent_text": "Words"}',
        b'{"music_id": "A-B-Trio", "sent_idx": "1", "sent_text": "Words"}',
        b'{"music_id": "A-B-Trio", "sent_id": "x", "sent_idx": "1", "sent_text": ["Words"]}',
        b'{"music_id": "A-B-Trio", "sent_id": "x", "sent_idx": true, "sent_text": "Words"}',
        b'{"music_id": null, "sent_id": "x", "sent_idx": 1, "sent_text": "Words"}',
        b'{"music_id": "A-B-Trio", "sent_id": "x", "sent_idx": 1, "sent_text": "W\xff"}',
        b"[1]",
        b"[" * 100_000,
    ],
)
def test_odd_texts_cost_themselves_alone(tmp_path: Path, line: bytes) -> None:
    folder = shutil.copytree(FIXTURE, tmp_path / "released")
    with (folder / "music_text_pairs.jsonl").open("ab") as texts:
        texts.write(line + b"\n")
    summary = import_released(tmp_path / "data", folder)
    assert (summary.details["refused records"], summary.details["texts"]) == (9, 15)


def test_half_characters_are_replaced(tmp_path: Path) -> None:
    folder = shutil.copytree(FIXTURE, tmp_path / "released")
    row = {"music_id": "A-B-Trio", "sent_id": "x", "sent_idx": "1", "sent_text": "1. Odd \ud800."}
    with (folder / "music_text_pairs.jsonl").open("a") as texts:
        texts.write(json.dumps(row) + "\n")
    import_released(tmp_path / "data", folder)
    work = next(w for w in read_works(tmp_path / "data" / "works.jsonl") if w.work_id == "A-B-Trio")
    assert work.notes[0].text == "Odd ?."
