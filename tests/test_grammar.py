"""Lines of a work page against what they say, by hand."""

import pytest

from crawler.grammar import (
    Counts,
    ListPlace,
    counts,
    facts,
    instrumentation,
    list_place,
    movements,
    numbers,
    person,
    related,
    title,
)
from crawler.items import Movement, Person
from crawler.pages import DEFAULT
from crawler.prose import is_prose, notes
from crawler.regions import joined, regions

LABELS = DEFAULT.labels
PROSE = "The first movement begins softly in the cello, and it takes its time before it ends."


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["x", "A B (1800-1850)"], Person(name="A B", birth_year=1800, death_year=1850)),
        (["A B (c. 1800-c.1850)"], Person(name="A B", birth_year=1800, death_year=1850)),
        (["A B (-1850)"], Person(name="A B", death_year=1850)),
        (["A B (1986-)"], Person(name="A B", birth_year=1986)),
        (["A B (1800\u20131850)"], Person(name="A B", birth_year=1800, death_year=1850)),
        (["A B (1800\u20141850)"], Person(name="A B", birth_year=1800, death_year=1850)),
        (["A B (1800 \u2011 1850)"], Person(name="A B", birth_year=1800, death_year=1850)),
        (["A B (b. 1949)"], Person(name="A B", birth_year=1949)),
        (["A B (?-1750)"], Person(name="A B", death_year=1750)),
        (["A B (flourished 1750)"], Person(name="A B")),
        (["A B", "1800\u20131850"], Person(name="A B", birth_year=1800, death_year=1850)),
        (["C D", "Born: 1700", "A B (1800-)", "Born: 1800"],
         Person(name="A B", birth_year=1800, born="1800")),
        (["home", "A B"], Person(name="A B")),
        (["A B", "Nationality: Czech"], Person(name="A B", nationality="Czech")),
        (
            ["A B (1800-1850) Nationality: German Born: May 1, 1800, FuldaDied: 1850, X (age 50)"],
            Person(name="A B", birth_year=1800, death_year=1850, nationality="German",
                   born="May 1, 1800, Fulda", died="1850, X"),
        ),
        (
            ["A B", "Nationality:", "German", "Born:", "1800, Fulda", "Died:", "1850, X (age 49)"],
            Person(name="A B", nationality="German", born="1800, Fulda", died="1850, X"),
        ),
    ],
)  # fmt: skip
def test_person(lines: list[str], expected: Person) -> None:
    assert person(joined(lines)) == expected


@pytest.mark.parametrize(
    ("text", "opus", "catalogue"),
    [
        ("Trio in c minor", None, None),
        ("String Quartet No. 2", None, None),
        ("Piano Trio in D major, Op. 70, No. 1", "Op. 70, No. 1", None),
        ("Quartet, Op.8", "Op.8", None),
        ("Quartet, Op. 35/35a", "Op. 35/35a", None),
        ("Trio in A major, Op. posth.", "Op. posth.", None),
        ("String Quartet No. 2 in D major, K. 155", "K. 155", None),
        ("Quintet in C major, Op. 163, D. 956", "Op. 163", "D. 956"),
        ("Trio, Op. 15, JB 1:64", "Op. 15", "JB 1:64"),
        ("Sextet in D major, Op. 110, MWV Q 16", "Op. 110", "MWV Q 16"),
        ("Quartet, Op. 20, No. 5, Hob. III:35", "Op. 20, No. 5", "Hob. III:35"),
        ("Trio, Hob.XV:27", "Hob.XV:27", None),
        ("Trio in c minor, GWV 213", "GWV 213", None),
        ("Sonata, WoO 35", "WoO 35", None),
        ("Quartet, KV Anh. 170", "KV Anh. 170", None),
        ("3 Pieces of 1914", None, None),
    ],
)
def test_numbers(text: str, opus: str | None, catalogue: str | None) -> None:
    assert numbers(text) == (opus, catalogue)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Trio", "(for horn)"], ("Trio", "horn")),
        (["Trio (for horn)"], ("Trio", "horn")),
        (["Trio"], ("Trio", None)),
        (["Trio (for two) in c (for horn)"], ("Trio (for two) in c", "horn")),
        (["Trio (for two)", "(for horn)"], ("Trio (for two)", "horn")),
        (["Trio in c", "Op. 6", "(for horn)"], ("Trio in c, Op. 6", "horn")),
    ],
)
def test_title_and_instrumentation(lines: list[str], expected: tuple[str, str | None]) -> None:
    assert (title(lines), instrumentation(lines)) == expected


def test_list_place_beside_and_below_its_title() -> None:
    assert list_place(["Radice", "previous", "27 of 1,743"], LABELS) == ListPlace(
        "Radice", 27, 1743
    )
    assert list_place(["Radice 27 of 743"], LABELS) == ListPlace("Radice", 27, 743)
    assert list_place(["1 of 2 parts"], LABELS) is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["1 recording, 1 video"], Counts(1, 1)),
        (["13 recordings, 43 videos autoopen autoplay"], Counts(13, 43)),
        (["2 recordings,", "7 videos"], Counts(2, 7)),
        (["some recordings, 7 videos"], None),
    ],
)
def test_counts(lines: list[str], expected: Counts | None) -> None:
    assert counts(joined(lines)) == expected


def test_movements_in_one_two_or_three_lines() -> None:
    lines = ["8:43 I. Allegro", "II. Adagio", "1:02:03", "III.", "Rondo. V. quick", "IV."]
    assert movements(lines) == (
        Movement(number=1, name="Allegro", typical_s=523),
        Movement(number=2, name="Adagio"),
        Movement(number=3, name="Rondo. V. quick", typical_s=3723),
        Movement(number=4, name=""),
    )


@pytest.mark.parametrize(
    "lines",
    [
        ["8:43I.Allegro", "8:10II.Adagio"],
        ["I. Allegro 8:43", "II. Adagio (8:10)"],
        ["I.", "Allegro", "8:43", "II.", "Adagio", "8:10"],
        ["8:43 1. Allegro", "8:10 2. Adagio"],
    ],
)
def test_movements_in_other_forms(lines: list[str]) -> None:
    assert movements(lines) == (
        Movement(number=1, name="Allegro", typical_s=523),
        Movement(number=2, name="Adagio", typical_s=490),
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Composed: 1800", "Published:", "c. 1801"], {"Composed": "1800", "Published": "c. 1801"}),
        (["Composed: 1800 (age 3) Published: 1801"],
         {"Composed": "1800 (age 3)", "Published": "1801"}),
        (["Composed: 1800 Note: Revised: no"], {"Composed": "1800", "Note": "Revised: no"}),
        (["PUBLISHED : 1801"], {"Published": "1801"}),
        (["Note: Published: by nobody"], {"Note": "Published: by nobody"}),
        (["Note:", "first", "second"], {"Note": "first second"}),
        (["Composed:", "Revised: 1801"], {"Revised": "1801"}),
    ],
)  # fmt: skip
def test_facts(lines: list[str], expected: dict[str, str]) -> None:
    assert facts(lines, LABELS) == expected


@pytest.mark.parametrize(
    "line",
    [
        "A. One (flute), B. Two (violin), C. Three (viola), D. Four (cello), E. Five (piano)",
        "Members of the Academy of the Fields, some of the others and the rest et. al.",
        "Menuetto. Allegretto ma non troppo e molto cantabile con espressione e sempre piano",
        "Short prose.",
    ],
)
def test_what_is_no_paragraph(line: str) -> None:
    assert not is_prose(line)
    assert is_prose(PROSE)


def test_notes_are_kept_apart() -> None:
    lines = [
        "From First Source", PROSE, "From here on it is quiet.", "From Vienna it went to Bonn,",
        "© First. All rights reserved.", "print", "A B (1800-1850)", "Trio (1830)", PROSE, "Short.",
        "From Edition Silvertrust", "A sentence.",
    ]  # fmt: skip
    first, own, second = notes(lines, LABELS, "Trio")
    assert first.source == "First Source" and first.credit == "© First. All rights reserved."
    assert first.text.count("\n\n") == 2
    assert (own.source, own.text, own.credit) == ("earsense", f"{PROSE}\n\nShort.", None)
    assert (second.source, second.text) == ("Edition Silvertrust", "A sentence.")


CREDIT = "© Edition Silvertrust. Used by permission. All rights reserved."


@pytest.mark.parametrize(
    ("lines", "source", "paragraphs"),
    [
        (["From X", PROSE, "From Darkness to Light", PROSE, CREDIT], "X", 3),
        (["From X", PROSE, "A B (1800-1850)", PROSE, CREDIT], "X", 3),
        (["From Edition Silvertrust:", f"{PROSE} {CREDIT}"], "Edition Silvertrust", 1),
        (["From", "Edition Silvertrust", PROSE, CREDIT], "Edition Silvertrust", 1),
        (["From the Chamber Music Journal", PROSE, CREDIT], "the Chamber Music Journal", 1),
        ([PROSE, "From Darkness to Light", "It is fiery."], "earsense", 3),
        (["He wrote it in Bonn.", "It is fiery.", "Note: lost.", CREDIT], "earsense", 3),
    ],
)
def test_a_heading_inside_a_note_cuts_it_not(
    lines: list[str], source: str, paragraphs: int
) -> None:
    (note,) = notes(joined(lines), LABELS, "Trio")
    assert (note.source, note.credit) == (source, CREDIT if CREDIT in lines[-1] else None)
    assert len(note.text.split("\n\n")) == paragraphs


def test_related_composers_without_their_lives() -> None:
    lines = [
        "A B",
        "teacher",
        "Born: May 1, 1801, FuldaDied: 1850 (age 49)",
        "C D (1700-1750)",
        "E F",
        "A B",
    ]
    assert related(lines) == ("A B", "C D", "E F")


HEAD = ["home", "A B", "A B (1800-1850)", "Trio in c minor", "(for trio)"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (["I. Allegro", "Composed: 1830", "1 recording, 1 video", "3:00", "A Trio", PROSE, PROSE],
         {"movements": 1, "facts": 1, "recordings": 3, "notes": 2}),
        (["Composed: 1830", PROSE], {"facts": 1, "notes": 1}),
        (["Note:", PROSE, PROSE], {"facts": 2, "notes": 1}),
        (["Composed: 1830", "From X", PROSE, "Note: by Y", "8:30 in, it ends."],
         {"facts": 1, "notes": 4}),
        ([PROSE, "Note: it is lost.", PROSE], {"notes": 3}),
        (["play", "I. Allegro", "1 recording, 1 video", "3:00", "A Trio", "I. Allegro",
          "He wrote it in Bonn.", "It is fiery."], {"movements": 1, "recordings": 4, "notes": 2}),
        (["I. Allegro", "He wrote to her:", "It was in Bonn that he met her.", PROSE],
         {"movements": 1, "notes": 3}),
        (["From X", PROSE, "Related Composers", "are many.", "Related composers:", "C D",
          "Copyright 2020 X", "Contact us"], {"notes": 4, "related": 1}),
        (["From X", PROSE, "Related Composers", "C D", "Glossary", "x"],
         {"notes": 2, "related": 1}),
        (["I. Allegro", PROSE, "Related Composers", "C D"],
         {"movements": 1, "notes": 1, "related": 1}),
        (["3:10 I. Allegro", "3:00", "A Trio", "I. Allegro", "From X", PROSE],
         {"movements": 1, "recordings": 3, "notes": 2}),
        (["autoopen autoplay", "A Trio", "I. Allegro", "glossary", PROSE], {"recordings": 3}),
        (["glossary", "I. Allegro", "1 recording, 1 video", "A Trio", "Related Composers", "C D"],
         {"movements": 2, "recordings": 2, "related": 1}),
    ],
)  # fmt: skip
def test_regions(body: list[str], expected: dict[str, int]) -> None:
    found = regions([*HEAD, *body], LABELS)
    assert found["title"] == HEAD[3:] and found["composer"] == HEAD[:3]
    names = ("movements", "facts", "recordings", "notes", "related")
    assert {name: len(found[name]) for name in names if found[name]} == expected


def test_a_title_without_instrumentation_stands_below_the_life() -> None:
    page = ["A B", "A B (1800-1850)", "Nationality: Czech", "Trio", "1 recording, 1 video",
            "Related Composers", "C D", "Born: 1800"]  # fmt: skip
    assert regions(page, LABELS)["title"] == ["Trio"]
    assert regions(page[:4], LABELS) == {}
    listed = ["Search", "Trio", "1 recording, 1 video", "Duo", "1 recording, 2 videos"]
    assert regions(listed, LABELS) == {}


@pytest.mark.parametrize(
    ("lines", "selected", "expected"),
    [
        (["A B", "Trio", "8:43", "I. Allegro"], [], ["Trio"]),
        (["A B", "Trio", "1 recording, 1 video"], [], ["Trio"]),
        (["A B", "Trio", "From X", PROSE], ["Trio"], ["Trio"]),
        (["A B (1800-)", "From Jewish Life", "(for horn)", "I. A"], [],
         ["From Jewish Life", "(for horn)"]),
        (["A B (1800-)", "Trio", "Op. 6", "(for horn)", "I. A"], [],
         ["Trio", "Op. 6", "(for horn)"]),
        (["A B (1800-)", "Trio", "in c minor", "I. A"], [], ["Trio", "in c minor"]),
        (["A B (1800-)", "Trio", "play", "(for horn)", "1 recording, 1 video"], [],
         ["Trio", "(for horn)"]),
    ],
)  # fmt: skip
def test_where_else_a_title_stands(
    lines: list[str], selected: list[str], expected: list[str]
) -> None:
    assert regions(lines, LABELS, selected)["title"] == expected
