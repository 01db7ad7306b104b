"""A text as it stands on a page becomes a caption, switch by switch."""

import dataclasses
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.items import read_works
from dataset.cleaning import CleanConfig, clean, num_tokens, num_words, pieces

DEMO = Path(__file__).parent.parent / "data" / "demo"
NOTHING = CleanConfig(nfc=False, quotes=False, whitespace=False, numbering=False, seller=False)
EVERYTHING = CleanConfig(ordinals=True)
SWITCHES = tuple(item.name for item in dataclasses.fields(CleanConfig))


def only(switch: str) -> CleanConfig:
    change: dict[str, Any] = {switch: True}
    return dataclasses.replace(NOTHING, **change)


def test_clean_keeps_words_and_drops_typography() -> None:
    raw = "The “cafe\u0301”\u00a0theme\n of  Op.8\u0007 — it’s so\u00adlo."
    assert clean(raw) == 'The "café" theme of Op. 8 — it\'s solo.'
    assert num_words("The finale, a Rondo.") == 4
    assert num_tokens("The finale, a Rondo.") == 6


@pytest.mark.parametrize(
    ("switch", "raw", "cleaned"),
    [
        ("nfc", "cafe\u0301", "café"),
        ("nfc", "so\u00adlo\u200b, \ufeffthen\x07 tutti", "solo, then tutti"),
        ("nfc", "e\u200b\u0301", "é"),
        ("nfc", "a lone \ud800surrogate", "a lone surrogate"),
        ("quotes", "“It’s” ‘so’", "\"It's\" 'so'"),
        ("quotes", "It is playful.”", 'It is playful."'),
        ("quotes", "“It is playful.", '"It is playful.'),
        ("whitespace", "one  two\n\tthree\u00a0four", "one two three four"),
        ("whitespace", "like Op.8 No.2 of it", "like Op. 8 No. 2 of it"),
        ("numbering", "4. The viola sings.", "The viola sings."),
        ("numbering", "4) The viola sings.", "The viola sings."),
        ("numbering", "4., another song.", "another song."),
        ("numbering", "12. The viola sings.", "The viola sings."),
        ("numbering", "4.The viola sings.", "The viola sings."),
        ("numbering", "4. 1825 was a good year.", "1825 was a good year."),
        ("ordinals", "The second movement, Andante, is lyrical.", "The Andante is lyrical."),
        ("seller", "It sings (our sound-bite begins here) and ends.", "It sings and ends."),
    ],
)
def test_a_switch_does_its_work_and_nothing_is_done_without_it(
    switch: str, raw: str, cleaned: str
) -> None:
    assert clean(raw, only(switch)) == cleaned
    change: dict[str, Any] = {switch: False}
    without = clean(raw, dataclasses.replace(EVERYTHING, **change))
    assert without != clean(raw, EVERYTHING)


def test_every_switch_is_tested() -> None:
    test = test_a_switch_does_its_work_and_nothing_is_done_without_it
    [cases] = [mark.args[1] for mark in test.pytestmark]  # type: ignore[attr-defined]
    assert {case[0] for case in cases} == set(SWITCHES)
    assert [name for name in SWITCHES if not getattr(CleanConfig(), name)] == ["ordinals"]


@pytest.mark.parametrize(
    "text",
    [
        "1825. The year of the last quartets.",
        "1825 saw the premiere.",
        "12-tone music opens the work.",
        "2 violins begin alone.",
        "2, 3 or 4 voices sing at a time.",
        "3.5 minutes of calm.",
        "4.",
        "(4) voices",
        "The theme comes 4. times",
    ],
)
def test_a_number_that_is_none_of_the_text_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        # An aside.
        ("It ends. (Our soundbite begins here). Then it sings.", "It ends. Then it sings."),
        ("A trio [heard on our sound bite] is calm.", "A trio is calm."),
        ("It is bold, as can be heard in our sound bite.", "It is bold."),
        ("The theme, as you can hear on our sound-bite, is bold.", "The theme is bold."),
        ("As can be heard in our sound bite, the theme is bold.", "The theme is bold."),
        ("The theme which can be heard in our soundbite is bold.", "The theme is bold."),
        ("The theme presented in our sound bite, a song, is bold.", "The theme, a song, is bold."),
        ("The trio, where our sound-bite begins, is calm.", "The trio is calm."),
        ("The trio which our sound bite presents is calm.", "The trio is calm."),
        # A clause.
        ("It is wild; our soundbite presents its coda.", "It is wild."),
        ("It is wild, and our sound bite shows Op. 8.", "It is wild."),
        ("It is wild; our soundbite has the coda; it ends softly.", "It is wild; it ends softly."),
        # A sentence.
        ("Listen to our sound bite.", ""),
        ("It sings. Listen to our sound bite. It ends.", "It sings. It ends."),
        ("It sings. Our soundbite presents the coda.", "It sings."),
        ("It sings. our sound bite presents the coda of Op. 8.", "It sings."),
        ("Hear the coda, which is given in our sound bite. It ends.", "It ends."),
        ("The coda can be heard in our sound bite. It ends.", "It ends."),
        ("In the coda, our sound bite begins. It ends.", "It ends."),
        # Prices.
        ("It sings. Parts: $24.95", "It sings."),
        ("It sings.\nParts & Score: $31.95\nScore: €12\n", "It sings."),
        ("It sings. The parts are available for $24.95. It ends.", "It sings. It ends."),
        ("It sings. US $24.95", "It sings."),
        ("The edition ($24.95) is new.", "The edition is new."),
    ],
)
def test_what_is_sold_goes_and_a_sentence_stays(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "It won a prize of $500 in 1892.",
        "The fee, £1,000, was never paid.",
        "The sound bites into the ear.",
        "The parts are of equal weight: 4 voices.",
        "A theme, as can be heard in the coda, returns.",
        "The score is clear.",
    ],
)
def test_what_only_looks_like_a_sale_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("The finale, Presto, is wild.", "The Presto is wild."),
        ("The third movement, a lively Scherzo, has a trio.", "The lively Scherzo has a trio."),
        ("The opening movement, marked Allegro con brio, begins softly. It ends.",
         "The Allegro con brio begins softly. It ends."),
        ("Its second movement, Menuetto, quickly rises.", "Its Menuetto quickly rises."),
        ("The first movement, Allegro, ma non troppo, is broad.",
         "The Allegro ma non troppo is broad."),
        ("The big finale, Presto, is wild.", "The big Presto is wild."),
        ("The third movement Scherzo is rough.", "The Scherzo is rough."),
        ("The second movement is an Andante.", "The movement is an Andante."),
        ("The lyrical second movement is calm.", "The lyrical movement is calm."),
        ("The opening Allegro is bold.", "The Allegro is bold."),
        ("The last movement's theme is bold.", "The movement's theme is bold."),
        ("In the second movement, the viola sings, and all is calm.",
         "In the movement, the viola sings, and all is calm."),
        ("4. The fourth movement, Rondo, is gay.", "The Rondo is gay."),
    ],
)  # fmt: skip
def test_the_place_of_a_movement_is_not_said(raw: str, cleaned: str) -> None:
    assert clean(raw, EVERYTHING) == cleaned
    assert clean(raw) in (raw, raw.removeprefix("4. "))


@pytest.mark.parametrize(
    "text",
    [
        "The finale is wild.",
        "The first violin is alone.",
        "The second theme is shy.",
        "The second is a Scherzo.",
        "The first and second movements are slow.",
        "The second and last movement is slow.",
        "The first of the movements is slow.",
        "The finale, after a pause, is wild.",
        "The second movement, Andante.",
        "Second movement: Andante.",
        "The viola opens the second movement, Andante, which is calm.",
        "The second trio is calm.",
    ],
)
def test_where_no_sentence_would_be_left_the_place_stays(text: str) -> None:
    assert clean(text, EVERYTHING) == text


def test_sentences_end_before_a_capital_not_after_an_abbreviation() -> None:
    text = "It is Op. 8 by J. S. Bach, cf. No. 2.  It is in C. It ends! (So it does.) $4.95"
    found = pieces(text)
    assert "".join(found) == text
    assert [piece.strip() for piece in found] == [
        "It is Op. 8 by J. S. Bach, cf. No. 2.",
        "It is in C.",
        "It ends!",
        "(So it does.)",
        "$4.95",
    ]


def test_the_demo_has_nothing_to_clean() -> None:
    notes = [note.text for work in read_works(DEMO / "works.jsonl") for note in work.notes]
    assert notes
    for text in notes:
        assert clean(text).split() == clean(text, only("quotes")).split()


PHRASES = (
    "The the second movement , , . . ; Andante Finale finale is sings our sound bite sound-bite "
    "soundbite listen Listen ( ) as can be heard in which where begins presents Op. Op.8 4. 4) "
    '5., 1825 $24.95 Parts: Score: order “ ” ’ " e\u0301 \u00ad \u200b \u0301 \n In a Scherzo'
)
WORDS = st.sampled_from(PHRASES.split(" "))
TEXTS = st.one_of(
    st.text(),
    st.lists(WORDS, max_size=25).map(" ".join),
    st.lists(WORDS, max_size=25).map("".join),
)
CONFIGS = st.builds(CleanConfig, **{name: st.booleans() for name in SWITCHES})


@given(TEXTS, CONFIGS)
def test_cleaning_twice_is_cleaning_once(text: str, config: CleanConfig) -> None:
    cleaned = clean(text, config)
    assert clean(cleaned, config) == cleaned
    assert cleaned == cleaned.strip()
    if config.nfc:
        assert unicodedata.is_normalized("NFC", cleaned)
    if config.nfc and config.whitespace:
        assert cleaned.isprintable()
    if config.whitespace:
        assert cleaned == " ".join(cleaned.split())
    if config.quotes:
        assert not set(cleaned) & set("“”‘’")


@given(TEXTS)
def test_nothing_but_the_ends_changes_where_nothing_is_asked(text: str) -> None:
    assert clean(text, NOTHING) == text.strip()


@pytest.mark.parametrize(
    "piece",
    ["4. ", "(", "our sound bite ", "; our sound bite", "$1.00 parts ", "as ", " ", "e\u0301"],
)
def test_a_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    """Patterns that try again from every place would take hours here."""
    assert isinstance(clean(piece * 20_000 + "our sound bite", EVERYTHING), str)
