"""Every known oddity of notes, in words of our own, and what the index says of it."""

from dataclasses import dataclass

import pytest
from test_pairing import part, recording

from crawler.items import Movement, Note, Part, Person, Recording, Work
from dataset.pairing import PairConfig, pair_work
from dataset.pairs import Pair

NAMES = ("Allegro con brio", "Andante cantabile", "Menuetto. Allegretto", "Finale. Presto")
OPENING = "The first movement is bold."
ONE_FILE = Recording(
    recording_id="oneFile12341",
    parts=(Part(video_id="oneFile12341", youtube_id="oneFile1234", url="/watch?v=oneFile1234",
                movement=1, duration_s=1_500.0),),
)  # fmt: skip


def rows(
    *texts: str, names: tuple[str, ...] = NAMES, heard: Recording | None = None, slug: str = "W"
) -> list[Pair]:
    """The rows of a work with these movements, a file for each, and a note a text."""
    files = recording(*(part(n, f"onePerFile{n}") for n in range(1, len(names) + 1)))
    work = Work(
        work_id=slug,
        page_url=f"/{slug}/",
        composer=Person(name="A Person"),
        title="Trio",
        movements=tuple(Movement(number=n, name=name) for n, name in enumerate(names, 1)),
        recordings=(heard or files,),
        notes=tuple(Note(source="Ours", text=text) for text in texts),
    )
    return pair_work(work, PairConfig())


@dataclass(frozen=True)
class Case:
    """An oddity: the note, and (movements, reason, flags) of each row."""

    text: str
    rows: tuple[tuple[tuple[int, ...], str | None, tuple[str, ...]], ...]
    names: tuple[str, ...] = NAMES
    heard: Recording | None = None


CASES = {
    "16 one file, called movement 1, of a work in four movements": Case(
        "In four movements, the work opens with a bold Allegro. The Andante is a song.",
        (
            ((1,), None, ("long_movement", "suspect_alignment")),
            ((2,), "movement_not_recorded", ()),
        ),
        heard=ONE_FILE,
    ),
    "22 numbers in the forms that people type": Case(
        "1. The opening Allegro is bold.\n\n2., another short movement, the Andante, sings.\n\n"
        "3) The Menuetto is rough.\n\nThe finale runs.",
        tuple(((n,), None, ()) for n in (1, 2, 3, 4)),
    ),
    "23 begins and ends within a sentence": Case(
        "and so the first movement is bold. The slow movement sings until it",
        (((1,), None, ("fragment",)), ((2,), None, ("fragment",))),
    ),
    "24 two movements in one sentence": Case(
        f"{OPENING} The slow movement sings. The third movement is a Menuetto with heavy feet, "
        "and the finale follows at once, a Presto.",
        (
            ((1,), None, ()),
            ((2,), None, ()),
            ((3,), None, ("fragment",)),
            ((4,), None, ("fragment",)),
        ),
    ),
    "25 other movements named for comparison": Case(
        f"{OPENING} The second movement, like the first movement, is broad. The Menuetto is "
        "shorter than the first two movements. The finale recalls the slow movement.",
        tuple(((n,), None, ()) for n in (1, 2, 3, 4)),
    ),
    "26 no ordinal at all": Case(
        "The music starts with a leap. Next comes a warm Andante for the viola. Then a stately "
        "minuet follows. A brilliant Presto closes the work.",
        tuple(((n,), None, ()) for n in (1, 2, 3, 4)),
    ),
    "27 the whole work in the sentence on its first movement": Case(
        "In four movements, the opening is a bold Allegro. The Andante sings.",
        (((1,), None, ()), ((2,), None, ())),
    ),
    "29 quotation marks that do not pair off": Case(
        'The first movement is “bold. The slow movement is “a prayer.” The finale ends "playful."',
        (((1,), None, ()), ((2,), None, ()), ((4,), None, ())),
    ),
    "39 the prose has another order than the list, and counts by its own": Case(
        "The opening movement is bold. The second movement is an Andante, a long song of the "
        "night. The third movement is a Menuetto with a rough trio. The finale is a race.",
        (
            ((1,), None, ()),
            ((3,), None, ("reordered",)),
            ((2,), None, ("reordered",)),
            ((4,), None, ()),
        ),
        names=("Allegro", "Menuetto", "Andante", "Allegro molto"),
    ),
    "40 a movement without text leaves a gap": Case(
        f"{OPENING} The Andante is a song of the night. The finale is a race to the end.",
        (((1,), None, ()), ((2,), None, ()), ((4,), None, ())),
        names=("Allegro", "Andante", "Scherzo", "Finale. Presto"),
    ),
    "40 several movements without text leave a gap": Case(
        f"{OPENING} The finale is a race to the end.",
        (((1,), None, ()), ((6,), None, ())),
        names=("Allegro", "Adagio", "Scherzo", "Andante", "Menuetto", "Presto"),
    ),
    "42 the recording divides what the prose speaks of together": Case(
        f"{OPENING} The Adagio sings. The Scherzo is a romp. The last two movements are one: a "
        "short Andante leads into the Presto.",
        (
            ((1,), None, ()),
            ((2,), None, ()),
            ((3,), None, ()),
            ((4, 5), "movements_in_two_files", ("several_movements",)),
        ),
        names=("Allegro", "Adagio", "Scherzo", "Andante", "Presto"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_oddity_ends_in_rows_that_say_so(case: Case) -> None:
    found = rows(case.text, names=case.names, heard=case.heard)
    assert [(row.movements, row.filter_reason, row.align_flags) for row in found] == list(case.rows)
    for row in found:
        assert row.status == ("filtered" if row.filter_reason else "pending")
        assert row.level == ("part" if len(row.movements) > 1 else "movement")


def test_21_two_texts_of_one_movement_stay_two_rows() -> None:
    found = rows(OPENING, "The first movement, to say it all again, is bold and broad.", OPENING)
    assert [(row.movements, row.text_index) for row in found] == [((1,), 0), ((1,), 1), ((1,), 2)]
    assert len({row.pair_id for row in found}) == 3


def test_28_one_text_of_two_works_is_a_row_of_each() -> None:
    text = "The work closes with a lively Presto."
    [one], [other] = rows(text), rows(text, slug="V")
    assert one.caption == other.caption and one.movements == other.movements == (4,)
    assert one.pair_id != other.pair_id


@pytest.mark.parametrize(
    ("text", "captions"),
    [
        (  # 29 curly quotation marks
            "The first movement is “bold.” The slow movement is a ‘prayer.’",
            ['The first movement is "bold."', "The slow movement is a 'prayer.'"],
        ),
        (  # 30 spacing
            "The  first movement of this Op.8 is  bold.  The slow movement, as in No.2,  sings.",
            [
                "The first movement of this Op. 8 is bold.",
                "The slow movement, as in No. 2, sings.",
            ],
        ),
        (  # 31 an odd character is kept
            "The first movement is ¾ bold. The slow movement sings.",
            ["The first movement is ¾ bold.", "The slow movement sings."],
        ),
        (  # 32 what refers to the seller's clip
            "The first movement is bold (our sound-bite begins here). The slow movement sings, "
            "as can be heard in our sound bite.",
            ["The first movement is bold.", "The slow movement sings."],
        ),
    ],
)
def test_29_to_32_odd_signs_are_cleaned_and_change_no_movement(
    text: str, captions: list[str]
) -> None:
    found = rows(text)
    assert [row.caption for row in found] == captions
    assert [(row.movements, row.filter_reason) for row in found] == [((1,), None), ((2,), None)]
    assert all(row.caption_raw in text for row in found)


def test_39_a_name_out_of_its_place_is_heeded_and_flagged() -> None:
    names = ("Allegro", "Scherzo. Vivace", "Adagio", "Finale. Presto")
    found = rows(
        "The opening movement is bold. The Adagio is a long song of the night. Next comes the "
        "Scherzo with a rough trio. The finale is a race.",
        names=names,
    )
    for row in found:
        if "Adagio" in row.caption:
            assert (row.movements, row.align_flags) == ((3,), ("reordered",))
        if "Scherzo" in row.caption:
            assert (row.movements, row.align_flags) == ((2,), ("reordered",))


def test_41_prose_of_another_work_is_flagged() -> None:
    found = rows(
        "The opening Allegro is bold and the strings play it loud. The Scherzo is a romp.",
        names=("Grave", "Larghetto"),
    )
    assert found and all("unlike_names" in row.align_flags for row in found)
