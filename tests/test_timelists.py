"""Lists of times in the forms that people type them, and prose that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset.sources import Chapter
from dataset.timelists import chapters_in, entries_of, is_music, title_number

STARTS_S = (0.0, 372.0, 760.0)


@pytest.mark.parametrize(
    ("title", "number"),
    [
        ("I. Allegro", 1), ("iv", None), ("IV", 4), ("3 - Scherzo", 3), ("Movement 2", 2),
        ("IX: Fugue", 9), ("Vivace", None), ("Mov. III", 3), ("2nd movement", 2),
        ("I'm happy", None), ("", None), ("12. Coda", 12), ("Mov.I: Allegro", 1), ("#3. Vivo", 3),
        ("Movement One: Allegro", 1), ("Second movement", 2), ("1.Allegro", 1), ("I Allegro", 1),
        ("Track 4 Presto", 4), ("2. Satz", 2), ("(II) Adagio", 2), ("I love the viola here", None),
        ("1. Satz: Allegro", 1), ("1874 revision", None), ("Tempo I", None), ("IIII. Odd", None),
        ("No. 2 Largo", 2), ("3) Menuetto", 3), ("Third Mvt.", 3), ("- II - Andante", 2),
    ],
)  # fmt: skip
def test_the_number_of_a_title(title: str, number: int | None) -> None:
    assert title_number(title) == number


@pytest.mark.parametrize(
    ("title", "music"),
    [
        ("Allegro", True), ("III.", True), ("Menuet", True), ("Coda", True),
        ("Encore: Presto", False), ("Applause", False), ("Intro", False), ("The Lark", False),
        ("Introduzione. Adagio", True),
    ],
)  # fmt: skip
def test_what_a_title_is_of(title: str, music: bool) -> None:
    assert is_music(title) is music


@pytest.mark.parametrize(
    "text",
    [
        "0:00 I. Allegro\n6:12 II. Andante\n12:40 III. Presto",
        "00:00 - I. Allegro\n06:12 - II. Andante\n12:40 - III. Presto",
        "I. Allegro 0:00\nII. Andante 6:12\nIII. Presto 12:40",
        "I. Allegro (0:00)\nII. Andante (6:12)\nIII. Presto ( 12:40 )",
        "[00:00] I. Allegro\n[06:12] II. Andante\n[12:40] III. Presto",
        "I Allegro – 0:00\nII Andante – 6:12\nIII Presto – 12:40",
        "1. Allegro 00:00:00\n2. Andante 00:06:12\n3. Presto 00:12:40",
        "Mov.I: Allegro 0:00\nMov.II: Andante 6:12\nMov.III: Presto 12:40",
        "Movement One: Allegro\nMovement Two: Andante 6:12\nMovement Three: Presto 12:40",
        "#1. Allegro 0:00\n#2. Andante 6:12\n#3. Presto 12:40",
        "1st movement: Allegro 0:00\n2nd movement: Andante 6:12\n3rd movement: Presto 12:40",
        "I. Allegro\nII. Andante 6:12\n\nIII. Presto 12:40",
        "Allegro\n6:12 Andante\n12:40 Presto",
        "Track 1 0:00 Allegro\nTrack 2 6:12 Andante\nTrack 3 12:40 Presto",
        "0:00 I. Allegro 6:12 II. Andante 12:40 III. Presto",
        "I. Allegro 0:00, II. Andante 6:12, III. Presto 12:40",
        "Movements: 0:00 I. Allegro | 6:12 II. Andante | 12:40 III. Presto",
        "0:00-6:12 I. Allegro\n6:12-12:40 II. Andante\n12:40–18:01 III. Presto",
        "0:00 I. Allegro (6:12)\n6:12 II. Andante (6:28)\n12:40 III. Presto (5:21)",
        "I. Allegro 0:00 (6:12)\nII. Andante 6:12 (6:28)\nIII. Presto 12:40 (5:21)",
        "Played live at 8:30 on 3 May 2019.\n0:00 I. Allegro\nThe viola sings here.\n"
        "6:12 II. Andante\n12:40 III. Presto\nTotal: 18:01\nThe doors open at 19:30.",
        "Vienna, 3 May 2019, 20:00\n0:00 I. Allegro\n6:12 II. Andante\n12:40 III. Presto\n"
        "Vienna, 3 May 2019, 18:00",
        "12:00 noon concert\n0:00 I. Allegro\n6:12 II. Andante\n12:40 III. Presto\n8:30 pm",
        "I. Allegro (6:12)\nII. Andante (6:28)\nIII. Presto (5:21)",  # lengths
        "I. Allegro 6:12\nII. Andante 6:28\nIII. Presto 5:20\nTotal time 18:00",
        "I. Allegro 6'12\"\nII. Andante 6'28\"\nIII. Presto 5’20”",
        "• 0:00 I. Allegro\r\n• 6:12 II. Andante\r\n• 12:40 III. Presto",
    ],
)  # fmt: skip
def test_a_list_in_any_form_gives_the_same_movements(text: str) -> None:
    found = chapters_in(text, 1081.0)
    assert tuple(chapter.start_s for chapter in found) == STARTS_S
    assert tuple(chapter.end_s for chapter in found)[:2] == STARTS_S[1:]
    names = ("Allegro", "Andante", "Presto")
    assert all(name in chapter.title for name, chapter in zip(names, found, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "", "3:00 a\n2:00 b", "It starts at 3:00.", "A ratio of 4:33 and more, or 5:44",
        "The concert began at 19:30.\nIt ended at 21:45.",
        "Doors 19:30 Uhr\nBeginn 20:00 Uhr",
        "Total: 31:20\nDuration 31:20",
        "I. Allegro 7:31\nII. Andante 8:02\nIII. Presto 9:10",  # lengths of another recording
        "I. Allegro 7:31\nII. Andante 6:02\nIII. Presto 5:10",
        "0:00 I. Allegro\n6:12 II. Andante\n25:00 III. Presto",  # beyond the end of the file
        "A. Person: Quartet No. 1\n0:00 Allegro\n3:00 Adagio\n"
        "A. Person: Quartet No. 2\n6:00 Allegro\n9:00 Largo",
        "0:00\nI. Allegro", "10:00:00:00 x\n11:00:00:00 y", "6:12.",
    ],
)  # fmt: skip
def test_what_is_no_list_that_can_be_trusted(text: str) -> None:
    assert chapters_in(text, 1081.0) == ()


def test_lengths_are_told_from_starts_by_the_duration_of_the_file() -> None:
    text = "I. Allegro 5:00\nII. Andante 6:00\nIII. Presto 7:00"
    assert [one.start_s for one in chapters_in(text, 1083.0)] == [0.0, 300.0, 660.0]
    assert chapters_in(text, 1500.0) == ()  # a beginning of five minutes is none
    assert chapters_in(text) == ()


def test_a_list_that_lacks_the_first_movement_keeps_its_starts() -> None:
    found = chapters_in("II. Andante 6:12\nIII. Presto 12:40", 1081.0)
    assert found == (Chapter("II. Andante", 372.0, 760.0), Chapter("III. Presto", 760.0, None))


def test_ends_that_the_list_tells_are_kept() -> None:
    found = chapters_in("0:00-6:00 I. Allegro\n6:12-12:30 II. Andante", 1081.0)
    assert [one.end_s for one in found] == [360.0, 750.0]
    odd = chapters_in("0:00-7:00 I. Allegro\n6:12-3:00 II. Andante", 1081.0)
    assert [one.end_s for one in odd] == [372.0, None]


TEXTS = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            ["0:00", "6:12", "1:02:03", "I.", "II", "Allegro", "-", "(", "]", "\n", " ", "at", "#2",
             "Movement One:", "Total", "²", "٣:٤٥", "Op. 3", "12:00 noon", "Quartet", ":", "2019"]
        )
    ).map("".join),
)  # fmt: skip


@given(TEXTS, st.one_of(st.none(), st.floats(0.0, 1e5)))
def test_any_text_gives_rising_starts_and_no_negative_length(
    text: str, duration_s: float | None
) -> None:
    found = chapters_in(text, duration_s)
    starts = [chapter.start_s for chapter in found]
    assert starts == sorted(set(starts))
    assert all(chapter.end_s is None or chapter.end_s > chapter.start_s for chapter in found)
    assert len(found) != 1
    for line in text.splitlines():
        entries_of(line)
        title_number(line)
