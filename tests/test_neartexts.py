"""Near texts against brute force over sets of words in a row."""

import dataclasses
import random
import re
from pathlib import Path

import pytest

from dataset.index import load_pairs
from dataset.neartexts import ALIKE, near_texts, with_text_groups

WORDS = "theme cello violin slow quick answer returns above below minor major fugue coda".split()


def trigrams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    words += [""] * (3 - len(words))
    return {tuple(words[n : n + 3]) for n in range(len(words) - 2)}


def likeness(one: str, other: str) -> float:
    a, b = trigrams(one), trigrams(other)
    return len(a & b) / len(a | b)


def made_texts(number: int, seed: int) -> list[str]:
    """Texts, some of them edited copies of earlier ones."""
    chance = random.Random(seed)
    texts: list[str] = []
    for _ in range(number):
        words = chance.choices(WORDS, k=chance.randint(1, 40))
        if texts and chance.random() < 0.5:
            words = chance.choice(texts).split()
            for _ in range(chance.randint(0, 4)):
                words[chance.randrange(len(words))] = chance.choice(WORDS)
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize("seed", range(4))
def test_texts_that_share_most_of_their_words_are_found(seed: int) -> None:
    texts = made_texts(120, seed)
    found = near_texts(texts).tolist()
    for a in range(len(texts)):
        assert found[found[a]] == found[a] <= a
        for b in range(a):
            if likeness(texts[a], texts[b]) >= 0.8:
                assert found[a] == found[b], (texts[a], texts[b])
    reach = [{n} for n in range(len(texts))]
    for _ in range(8):
        for a in range(len(texts)):
            for b in range(len(texts)):
                if likeness(texts[a], texts[b]) >= ALIKE:
                    reach[a] |= reach[b]
    assert all(found[a] in reach[a] for a in range(len(texts)))  # no false alarm


def test_case_punctuation_and_space_do_not_count() -> None:
    texts = ["The slow theme, returns.", "A quick fugue ends it.", "the  slow\ntheme returns"]
    assert near_texts(texts).tolist() == [0, 1, 0]


def test_short_texts_are_near_only_when_they_are_equal() -> None:
    assert near_texts(["Slow.", "slow", "Quick.", "", "!"]).tolist() == [0, 0, 2, 3, 3]
    assert near_texts([]).tolist() == []


def test_the_first_pair_stands_for_its_group(small_corpus: Path) -> None:
    pairs = load_pairs(small_corpus / "pairs.parquet")
    same = [dataclasses.replace(pair, caption="A caption of its own, number 7.") for pair in pairs]
    made = with_text_groups(reversed(same))
    assert [pair.pair_id for pair in made] == sorted(pair.pair_id for pair in pairs)
    kept = [pair for pair in made if pair.status != "filtered"]
    assert {pair.text_group for pair in kept} == {kept[0].pair_id}
    assert {pair.text_group for pair in made if pair.status == "filtered"} == {None}
    assert with_text_groups(made) == made
