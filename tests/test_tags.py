"""What titles say, over words and titles of our own and any text at all."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset import tags
from dataset.schema import COLUMNS

FIXTURE = Path(__file__).parent / "fixtures" / "titles.csv"
with FIXTURE.open(encoding="utf-8", newline="") as lines:
    ROWS = list(csv.DictReader(lines))

ASKED: dict[str, Callable[[str, str], object]] = {
    "tempo": lambda text, _: tags.tempo_class(text) or "",
    "term": lambda text, _: tags.term(text),
    "mode": lambda text, _: tags.mode_of(text, None) or "",
    "opus": lambda text, _: tags.opus_of(text) or "",
    "ensemble": lambda text, players: tags.ensemble_of(text, players) or "",
    "instruments": lambda text, players: " ".join(tags.instruments_of(text, players)),
    "players": lambda text, _: str(tags.count_players(text)),
}


def named(row: Mapping[str, str]) -> str:
    return f"{row['asked']} {row['expected']}: {row['text']} {row['players']}"


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_what_a_title_says(row: Mapping[str, str]) -> None:
    if row["asked"] == "concept":
        found = tags.concepts(row["text"])
        assert row["expected"] in found if row["expected"] else not found, found
    else:
        assert ASKED[row["asked"]](row["text"], row["players"]) == row["expected"]


def test_the_fixture_asks_for_everything() -> None:
    counts = Counter(row["asked"] for row in ROWS)
    assert counts.keys() == ASKED.keys() | {"concept"}
    assert len(ROWS) == len({named(row) for row in ROWS}) >= 150


def test_the_key_goes_before_the_title() -> None:
    assert tags.mode_of("Quartet in major colours", "d minor") == "minor"
    assert tags.mode_of("Quartet in d minor", None) == "minor"


def test_no_word_is_in_two_tempo_classes() -> None:
    """Neither in two lists of one table nor, by its spelling, in two classes."""
    for name in ("tempo", "mood"):
        listed = [
            word for kind in tags.VOCABULARY[name].values() for entry in kind.values()
            for word in entry.split()
        ]  # fmt: skip
        assert [word for word, count in Counter(listed).items() if count > 1] == []
    assert not tags.TEMPO.keys() & tags.MOOD.keys()
    for one, other in combinations((tags.SLOW, tags.MODERATE, tags.FAST), 2):
        assert not one & other


def test_a_tempo_word_is_its_own_stem() -> None:
    assert {word: tags.term(word) for word in tags.TEMPO} == {word: word for word in tags.TEMPO}


@pytest.mark.parametrize("table", ["spellings", "instruments", "families", "ensembles"])
def test_no_spelling_stands_for_two_words(table: str) -> None:
    entries: dict[str, str] = tags.VOCABULARY[table]
    words = Counter(word for key, entry in entries.items() for word in (key, *entry.split()))
    assert [word for word, count in words.items() if count > 1] == []


def test_every_word_of_the_vocabulary_can_be_met() -> None:
    """Written as `fold` writes: a word with an accent or a capital would never be found."""
    for table in (tags.STEMS, tags.TEMPO, tags.MOOD, tags.CONCEPTS, tags.FORCES):
        assert [word for word in table if word != tags.fold(word)] == []


def test_every_concept_stands_for_itself() -> None:
    keys = tags.VOCABULARY["concepts"]
    assert {key: key in tags.concepts(key) for key in keys} == dict.fromkeys(keys, True)
    assert {concept for found in tags.CONCEPTS.values() for concept in found} == set(keys)


def test_custom_names_known_ensembles_and_instruments() -> None:
    for (named_after, ensemble), players in tags.CUSTOM.items():
        assert named_after in tags.ORDER.keys() | tags.VOCABULARY["families"].keys()
        assert ensemble in tags.NAMES | {"suite", "partita"}
        assert set(players) <= tags.ORDER.keys()
    assert tags.PLAYERS.keys() == tags.NAMES - {"sonata"}


def test_the_column_of_instruments_is_never_null() -> None:
    (column,) = [column for column in COLUMNS if column.name == "instruments"]
    assert not column.nullable


PIECES = st.sampled_from(
    "Allegro,Adagio,nicht,zu,Trio,String,Quartet,for,à,cordes, - ,. ,2,violins,hands,four,and,("
    ',Op.,K,in,d,minor,“,”,",double,bass,solo,ß,İ,ﬁ'.split(",")
)


@given(st.one_of(st.text(), st.lists(PIECES).map(" ".join), st.lists(PIECES).map("".join)))
def test_no_text_is_too_odd(text: str) -> None:
    assert tags.tempo_class(text) in {"slow", "moderate", "fast", None}
    assert tags.mode_of(text, None) in {"major", "minor", None}
    assert tags.ensemble_of(text, text) in tags.NAMES | {None}
    assert set(tags.instruments_of(text, None)) <= tags.ORDER.keys()
    assert tags.count_players(text) >= 0
    assert tags.opus_of(text) is None or tags.opus_of(text) in text
    assert isinstance(tags.name_terms(text), list)
    assert tags.concepts(text) <= tags.VOCABULARY["concepts"].keys()
    for word in re.findall(r"\w+", text):
        assert tags.term(tags.term(word)) == tags.term(word)
