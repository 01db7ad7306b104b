"""Where sentences end, and where a full stop ends none."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.sentences import paragraphs, sentences


@pytest.mark.parametrize(
    "one",
    [
        "It is Op. 18 of the set.",
        "This is the quartet Op. 8, No. 2 in a minor.",
        "The Trio No. 2 follows K. 421 and Hob. 3 by a year.",
        "The music of J. S. Bach is near.",
        "It was F. X. Richter who wrote it.",
        "It moves, e.g. in bar 3, to another key.",
        "The strings, i.e. all but one, are muted.",
        "It was written c. 1820 in the town.",
        "Mr. Brook and Dr. Alba played it with St. John.",
        "It has a theme (cf. Op. 3) of its own.",
        "The third is a Menuetto. Allegretto of few bars.",
        "There is a Scherzo. Presto that never rests.",
        "The heart of it is a Largo. Cantabile e mesto for the cello.",
        "The Finale. Presto is short.",
        "It rises ... and falls again.",
        "It lasts 3.5 minutes at most.",
        "no stop at all",
        "1. The opening is bold.",
    ],
)
def test_a_stop_within_a_sentence_ends_none(one: str) -> None:
    assert sentences(one) == [one]


@pytest.mark.parametrize(
    "parts",
    [
        ("It is in C.", "The violin stays."),
        ("It ends in G.", "A horn answers."),
        ("He said it “with love.”", "Then he left."),
        ('It is called "The Hunt."', "The horns agree."),
        ("It is short (so is the next.)", "All is well."),
        ("Is it short?", "It is!", "He left."),
        ("It is slow.", "“It is,” he said."),
        ("It has horns, drums, etc.", "The finale has none."),
        ("It fades …", "Then the drum enters."),
        ("It is Op. 18 No. 2.", "It is early."),
        ("The violin has the Adagio.", "The cello waits."),
        ("The first is “bold.", "The second is “a prayer.”", "The third is short."),
        ('The first ends "playful."', 'It is "short.', "The third is long."),
        ("It is “bold.", "“The second is a prayer.”", "The third is short."),
    ],
)
def test_a_sentence_ends_where_a_reader_ends_it(parts: tuple[str, ...]) -> None:
    assert sentences(" ".join(parts)) == list(parts)


def test_a_stop_that_ends_none_ends_none_in_the_middle_either() -> None:
    text = "It is early. The quartet Op. 8, No. 2 is by J. S. Bach, i.e. by the elder. It is short."
    assert len(sentences(text)) == 3


def test_paragraphs_are_cut_first() -> None:
    long = "One that goes on and on and comes to its end without a stop"
    text = f"\n\n{long}\n \nTwo. And more\nof it.\n\n\n"
    assert paragraphs(text) == [[long], ["Two.", "And more\nof it."]]


def test_a_heading_is_read_with_what_stands_below_it() -> None:
    text = "Second movement\n\nAdagio\n\nIt sings. It ends.\n\nThe end"
    assert paragraphs(text) == [["Second movement Adagio It sings.", "It ends."], ["The end"]]
    assert paragraphs("") == paragraphs(" \n\n \t\n\n") == []


WORDS = st.sampled_from(
    "The finale Op. No. 2 in C. J. S. Bach e.g. etc. ... … ? ! ( ) “ ” \" ' ’ - – Menuetto. "
    "Allegretto\t \n \n\n \u00a0 ¾ é e\u0301 Ж 音 .".split(" ")
)


@given(st.lists(WORDS, max_size=40).map(" ".join) | st.text(max_size=200))
@settings(max_examples=150, deadline=None)
def test_no_letter_is_lost_or_added(text: str) -> None:
    parts = paragraphs(text)
    joined = "".join(sentence for part in parts for sentence in part)
    assert "".join(joined.split()) == "".join(text.split())
    assert all(sentence.strip() == sentence != "" for part in parts for sentence in part)


@pytest.mark.parametrize(
    "word", ["x", "word ", "a, ", "(", "A.", "No. ", "in C ", "Menuetto. ", "…"]
)
def test_a_long_text_without_an_end_is_no_matter(word: str) -> None:
    begun = time.process_time()
    sentences(word * (60_000 // len(word)))
    assert time.process_time() - begun < 2.0
