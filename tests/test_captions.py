"""Which movements the sentences of a note, and their clauses, speak of."""

import json
import time
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.items import read_works
from dataset.captions import Reading, read_note, remark_of
from dataset.pairing import movement_names
from dataset.sentences import paragraphs
from dataset.tags import tempo_class

DEMO = Path(__file__).parent.parent / "data" / "demo"
FLAGS = frozenset(
    "by_order names_another names_unlisted reordered several_movements not_english "
    "unlike_names".split()
)
NAMES = ("Allegro con brio", "Andante cantabile", "Menuetto. Allegretto", "Finale. Presto")


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


def whole(readings: list[Reading]) -> list[tuple[str, tuple[int, ...]]]:
    """Sentences with all the movements of their pieces."""
    found: list[tuple[str, tuple[int, ...]]] = []
    for one in readings:
        if one.inner:
            text, numbers = found.pop()
            found.append((f"{text} {one.sentence}", tuple(sorted({*numbers, *one.movements}))))
        else:
            found.append((one.sentence, one.movements))
    return found


# ---------------------------------------------------------------- the way through


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
    readings = read_note(text, NAMES)
    assert [one.movements for one in readings] == [(2,), (2,), (3,)]
    assert readings[1].evidence == ('only compared: "first movement" (ordinal) for 1',)
    assert "names_another" not in readings[1].flags


def test_a_second_violin_is_no_second_movement() -> None:
    text = "The first movement begins alone. The second violin joins. The first violin answers."
    assert spoken(text) == [(1,), (1,), (1,)]


def test_a_movement_without_text_leaves_a_gap() -> None:
    names = ("Allegro", "Scherzo. Vivace", "Adagio", "Finale. Presto")
    text = "The first movement is broad. The third movement, Adagio, is dark. The finale is loud."
    assert spoken(text, names) == [(1,), (3,), (4,)]
    text = "The first movement is broad. The Scherzo is a romp of the strings. The finale is loud."
    assert spoken(text, names) == [(1,), (2,), (4,)]


def test_a_note_without_movements_has_remarks_only() -> None:
    assert spoken("The finale is fast.", ()) == [()]


def test_a_plural_speaks_of_neighbours_together() -> None:
    text = "The first movement is bold. The second and third movements are songs of the night."
    last = read_note(f"{text} The finale is a race.", NAMES)[1]
    assert (last.movements, last.flags) == ((2, 3), ("several_movements",))
    apart = "The first movement is bold. The first and last movements are loud. The finale runs."
    assert all(len(movements) == 1 for movements in spoken(apart))


def test_a_sentence_that_leads_on_speaks_of_both() -> None:
    start = "The opening movement is bold. The second is slow and it sings."
    text = f"{start} From the slow movement one steps into the rough dance of the Menuetto."
    last = read_note(text, NAMES)[-1]
    assert (last.movements, last.flags) == ((2, 3), ("several_movements",))


# ---------------------------------------------------------------- clauses


@pytest.mark.parametrize(
    "clauses",
    [
        (
            (3, "The third movement is a Menuetto,"),
            (4, "and without a break the finale follows, a Presto."),
        ),
        (
            (1, "The opening Allegro is bold,"),
            (2, "the Andante sings for the viola alone;"),
            (3, "the Menuetto stamps its heavy feet,"),
            (4, "and the finale races away."),
        ),
        (
            (2, "The slow movement is a long and quiet song;"),
            (3, "the third movement is a rough dance in the old manner."),
        ),
        (
            (2, "The Andante is one long song —"),
            (3, "the Menuetto is a dance with heavy feet."),
        ),
    ],
)
def test_a_sentence_is_cut_where_its_clauses_walk_on(clauses: tuple[tuple[int, str], ...]) -> None:
    sentence = " ".join(text for _, text in clauses)
    readings = read_note(sentence, NAMES)
    assert [(one.movements, one.sentence) for one in readings] == [
        ((number,), text) for number, text in clauses
    ]
    assert [one.inner for one in readings] == [False] + [True] * (len(clauses) - 1)
    assert [one.fresh for one in readings] == [True] + [False] * (len(clauses) - 1)
    assert not any({"several_movements", "names_another"} & {*one.flags} for one in readings)


@pytest.mark.parametrize(
    "sentence",
    [
        "The third movement is a Menuetto until, without a break, the finale bursts in.",
        "The third movement, a Menuetto, is short before the finale comes.",
        "The Menuetto is a dance, and a hint of the finale is heard in its trio.",
        "The slow movement sings, but unlike the third movement it never dances.",
        "The third movement is loud and the fourth theme is quiet, and that is all.",
        "The first movement is bold and long, and the finale is short.",  # no neighbours
        "The Menuetto, the finale.",  # no clauses
    ],
)
def test_a_sentence_that_only_looks_ahead_or_back_stays_whole(sentence: str) -> None:
    [reading] = read_note(sentence, NAMES)
    assert reading.sentence == sentence
    assert not reading.inner


def test_a_sentence_is_not_cut_back_behind_the_one_before() -> None:
    text = (
        "The third movement is a rough dance. The fourth movement is a race. "
        "The Andante sang of the night, and the Menuetto stamped its feet."
    )
    assert not any(one.inner for one in read_note(text, NAMES))


def test_pieces_keep_what_speaks_against_their_note() -> None:
    cut = "The slow movement is the Andante cantabile; the third movement ist ein Tanz."
    readings = read_note(
        f"{cut} " + "Danach kommt nichts mehr, denn der Abend war lang. " * 6, NAMES
    )
    assert [one.inner for one in readings] == [False, True] + [False] * 6
    assert all("not_english" in one.flags for one in readings)


# ---------------------------------------------------------------- remarks and flags


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("He was born in 1801 and studied with his father.", "biography"),
        ("Her friends at court gave her a post and a pension for life.", "biography"),
        ("This work was published with a dedication and first performed in the spring.", "work"),
        ("The quartet is in four movements and it deserves many performances.", "work"),
        ("So it is.", "work"),
    ],
)
def test_a_remark_is_of_a_life_or_of_the_work(sentence: str, kind: str) -> None:
    assert remark_of(sentence) == kind


def test_remarks_alone_have_a_kind() -> None:
    text = (
        "She was born in 1801 and studied with her father.\n\nThe first movement is bold. "
        "The slow movement sings.\n\nThe quartet was published and first performed in 1830."
    )
    readings = read_note(text, NAMES)
    assert [one.remark for one in readings] == ["biography", None, None, "work"]
    assert [bool(one.movements) for one in readings] == [False, True, True, False]


def flags_of(text: str, names: tuple[str, ...] = NAMES) -> list[tuple[str, ...]]:
    return [one.flags for one in read_note(text, names)]


def test_a_sentence_that_names_nothing_is_by_order() -> None:
    assert flags_of("The first movement is bold. A horn call sounds over it.") == [
        (), ("by_order",),
    ]  # fmt: skip


def test_a_sentence_that_names_another_movement_says_so() -> None:
    text = "The first movement is bold and it prepares the finale with care."
    assert flags_of(text) == [("names_another",)]
    # its own name belongs to another movement than its place: the page and the prose disagree
    names = ("Allegro", "Menuetto", "Andante", "Presto")
    text = "The opening is bold. The second movement, Andante, sings. The finale is a race."
    assert flags_of(text, names)[1] == ("names_another",)
    assert flags_of(text, ("Allegro", "Andante", "Menuetto", "Presto"))[1] == ()


def test_a_form_that_only_another_movement_can_have_points_to_it() -> None:
    text = "The first movement is bold. If the opening is stern, the scherzo mocks it."
    for names in (NAMES, ("Allegro", "Adagio", "Vivace", "Presto")):
        assert flags_of(text, names)[1] == ("by_order", "names_another")
    assert flags_of("The first movement begins as a scherzo does.") == [()]


GERMAN = (
    "Der erste Satz beginnt mit einem kräftigen Thema, das die Geige spielt. "
    "Das Andante singt leise und die Bratsche antwortet ihr."
)


@pytest.mark.parametrize(
    ("text", "flagged"),
    [
        (GERMAN, True),
        ("Первая часть начинается смело. " * 5, True),
        ("Le premier mouvement commence avec force et le second chante doucement la nuit.", True),
        ("The first movement begins with a bold theme for the violin, and it is short.", False),
        ("Das Andante singt leise.", False),  # too few words to tell
        ("Allegro. Andante.", False),
    ],
)
def test_prose_in_another_language_is_flagged(text: str, flagged: bool) -> None:
    assert {("not_english" in flags) for flags in flags_of(text)} == {flagged}


def test_prose_of_another_work_is_flagged() -> None:
    text = "The opening Grave is dark, and it leads to a Scherzo. The Larghetto sings of the night."
    assert all("unlike_names" in flags for flags in flags_of(text, ("Allegro", "Andante")))
    for names in (("Grave", "Andante"), ("", ""), ("First day", "Second day"), ()):
        assert not any("unlike_names" in flags for flags in flags_of(text, names)), names


def test_every_flag_is_described() -> None:
    listed = (DEMO.parent / "README.md").read_text(encoding="utf-8").split("## Flags")[1]
    assert {flag for flag in (*FLAGS, "partly_by_order") if f"`{flag}`" not in listed} == set()
    assert "two_movements" not in listed


def test_evidence_is_told_in_words() -> None:
    [reading] = read_note("The finale is a race.", ("Finale. Presto",))
    assert reading.evidence == ('"finale" (finale) for 1',)


# ---------------------------------------------------------------- odd input


ODD = {
    "empty": "",
    "white space": " \n\n \t ",
    "one letter": "x",
    "no letters": "... --- !!! ??? 123",
    "NUL and control characters": "The first\0 movement\x07 is bold.\x1b[0m The \x00finale runs.",
    "half characters": "The \ud800 finale runs. It \udfff ends.",
    "right to left": "\u202eThe finale runs.\u202c \u0627\u0644\u062d\u0631\u0643\u0629.",
    "one mojibake": "The finale is \u00be as long.",
    "markup": "<p>The finale &amp; all.</p> {x} %s \\d+ [a-z](",
    "as many paragraphs as words": "The\n\nfinale\n\nis\n\nfast",
    "more texts than movements": " ".join(f"The {n}th movement is bold." for n in range(1, 20)),
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize(
    "names",
    [
        NAMES,
        (),
        ("",),
        ("", "Andante", "", ""),
        ("Das Erste", "Das Zweite"),
        ("\0", "\ud800", "(", "Allegro" * 500),
        NAMES * 5,
    ],
    ids=["names", "none", "a hole", "holes", "no tempo", "odd", "twenty"],
)
def test_odd_prose_and_names_are_read(text: str, names: tuple[str, ...]) -> None:
    hold(text, names)


def test_more_movements_than_texts_and_the_reverse() -> None:
    names = ("Allegro", "Adagio", "Scherzo", "Andante", "Menuetto", "Presto")
    assert spoken("The first movement is bold. The finale is a race.", names) == [(1,), (6,)]
    text = "The first movement is bold. The slow movement sings. The third movement is a dance."
    assert {number for one in spoken(text, ("Allegro", "Adagio")) for number in one} == {1, 2}


def test_a_list_with_holes_is_read_by_place() -> None:
    text = (
        "The first movement is bold. The second movement is a song. The third movement is a "
        "dance. The finale is a race."
    )
    for names in (("", "", "", ""), ("Allegro", "", "", ""), ("", "", "", "Presto")):
        assert spoken(text, names) == [(1,), (2,), (3,), (4,)]


@pytest.mark.parametrize(
    "text", ["word " * 12_000, "the slow movement, and the finale; " * 1_700, "No. " * 15_000]
)
def test_a_long_text_is_read_in_time(text: str) -> None:
    begun = time.process_time()
    hold(text, NAMES)
    assert time.process_time() - begun < 10.0


def hold(text: str, names: tuple[str, ...]) -> None:
    """What holds for every note: every sentence once and in order, numbers that are there."""
    readings = read_note(text, names)
    told = [" ".join(sentence.split()) for sentence, _ in whole(readings)]
    assert told == [" ".join(one.split()) for part in paragraphs(text) for one in part]
    for one in readings:
        numbers = one.movements
        assert all(1 <= number <= len(names) for number in numbers)
        assert list(numbers) == list(
            range(numbers[0], numbers[0] + len(numbers)) if numbers else ()
        )
        assert 0.0 <= one.score <= 1.0
        assert (one.remark in ("biography", "work")) if not numbers else one.remark is None
        assert ("several_movements" in one.flags) == (len(numbers) > 1)
        assert list(one.flags) == sorted({*one.flags} & FLAGS)


WORDS = st.lists(
    st.sampled_from(
        "The first second last two and movement movements finale slow Allegro Andante Menuetto "
        "sings, and; but the while until from – like It he born 1820 published next . . ! \n\n "
        "Op. 3 in C. “ ” ( ) \0 音".split(" ")
    ),
    max_size=60,
).map(" ".join)
LISTS = st.lists(st.sampled_from((*NAMES, "", "Adagio", "音")) | st.text(max_size=8), max_size=5)


@given(WORDS | st.text(max_size=120), LISTS)
@settings(max_examples=150, deadline=None)
def test_any_note_of_any_work_is_read_whole_and_in_order(text: str, names: list[str]) -> None:
    hold(text, tuple(names))


# ---------------------------------------------------------------- the demo


def test_nine_sentences_in_ten_of_the_demo_get_their_movements() -> None:
    truth: dict[tuple[str, str], list[tuple[str, tuple[int, ...]]]] = defaultdict(list)
    for row in json.loads((DEMO / "alignment.json").read_text(encoding="utf-8")):
        truth[row["work_id"], row["source"]].append((row["sentence"], tuple(row["movements"])))
    right = total = 0
    for work in read_works(DEMO / "works.jsonl"):
        for note in work.notes:
            found = whole(read_note(note.text, movement_names(work)))
            expected = truth[work.work_id, note.source]
            assert [sentence for sentence, _ in found] == [text for text, _ in expected]
            total += len(expected)
            right += sum(
                mine == theirs for (_, mine), (_, theirs) in zip(found, expected, strict=True)
            )
    assert total >= 80
    assert right / total >= 0.9, f"{right} of {total}"


# ---------------------------------------------------------------- headings, counts and walks


def test_a_heading_belongs_to_the_paragraph_below_it() -> None:
    text = "First movement: Allegro\n\nA bold tune in octaves.\n\nFinale\n\nA race."
    assert spoken(text) == [(1,), (4,)]
    numbered = "I: A sonata form.\n\nII: A song without words.\n\nIII: A dance.\n\nIV: A race."
    assert spoken(numbered) == [(1,), (2,), (3,), (4,)]


def test_bare_ordinals_behind_a_first_movement_are_movements() -> None:
    text = (
        "The first movement is bold, the second a lament, the third a dance, and the last a race."
    )
    readings = read_note(text, NAMES)
    assert [one.movements for one in readings] == [(1,), (2,), (3,), (4,)]
    assert " ".join(one.sentence for one in readings) == text
    violins = "The first movement is led by the first violin, the second violin only answers it."
    assert spoken(violins) == [(1,)]


def test_what_follows_a_walk_stays_where_it_ended() -> None:
    text = "The first movement is bold, and the Andante is a song. It ends softly. So does all."
    assert spoken(text) == [(1,), (2,), (2,), (2,)]


def test_a_movement_beyond_the_list_is_flagged() -> None:
    readings = read_note("The first movement is bold. The sixth movement is a race.", NAMES)
    assert ["names_unlisted" in one.flags for one in readings] == [False, True]


def test_a_note_need_not_begin_with_the_first_movement() -> None:
    assert spoken("The Andante, unlike the first movement, is without any conflict.") == [(2,)]
