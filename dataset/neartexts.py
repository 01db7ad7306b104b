"""Which texts are nearly the same: words in common, found by min-hashing."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from crawler.ledger import State
from dataset.groups import Codes, Hashes, connected
from dataset.pairs import Pair

SHINGLE = 3  # words that are looked at together
ALIKE = 0.6  # Jaccard similarity of their shingles from which on two texts are nearly the same
BANDS, BAND_HASHES = 16, 3  # texts meet that share a band: 98 % of those of 0.6, all but all of 0.7
WORD = re.compile(r"\w+")
MIXING = np.uint64(0x9E3779B97F4A7C15)


def with_text_groups(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs sorted by pair_id, each with the first of those with nearly its text.

    A filtered pair is in no group.
    """
    ordered = sorted(pairs, key=lambda pair: pair.pair_id)
    first: dict[str, str] = {}
    for pair in ordered:
        if pair.status != State.FILTERED:
            first.setdefault(pair.caption, pair.pair_id)
    texts = list(first)
    near = near_texts(texts)
    group = {text: first[texts[place]] for text, place in zip(texts, near.tolist(), strict=True)}
    return [_in_group(pair, group) for pair in ordered]


def _in_group(pair: Pair, group: Mapping[str, str]) -> Pair:
    found = None if pair.status == State.FILTERED else group[pair.caption]
    return pair if pair.text_group == found else dataclasses.replace(pair, text_group=found)


def near_texts(texts: Sequence[str]) -> Codes:
    """For each text the position of the first one that is nearly the same, its own for none.

    Nearly the same hangs together: what is like a text that is like a third one is of one group
    with it. Case, punctuation and white space do not count. The same texts give the same groups.

    Source: A. Broder, "On the resemblance and containment of documents", SEQUENCES 1997.
    """
    if not texts:
        return np.zeros(0, dtype=np.int64)
    shingles, begins = shingles_of(texts)
    found = [np.zeros((0, 2), dtype=np.int64)]
    found += [meetings(band) for band in bands(shingles, begins)]
    pairs = np.unique(np.concatenate(found), axis=0)
    sets = np.split(shingles, begins[1:])
    alike = np.array([jaccard(sets[a], sets[b]) >= ALIKE for a, b in pairs.tolist()], dtype=bool)
    one, other = pairs[alike].T
    group = connected(one, other, len(texts))
    _, first, group = np.unique(group, return_index=True, return_inverse=True)
    firsts: Codes = first[group]
    return firsts


def shingles_of(texts: Iterable[str]) -> tuple[Hashes, Codes]:
    """The different shingles of all texts one after the other, and where each text begins.

    A text of fewer words is one shingle.
    """
    known: dict[str, int] = {}
    sets = []
    for text in texts:
        words = [known.setdefault(word, len(known) + 1) for word in WORD.findall(text.casefold())]
        words += [0] * (SHINGLE - len(words))
        numbers = np.array(words, dtype=np.uint64)
        mixed = np.zeros(len(numbers) - SHINGLE + 1, dtype=np.uint64)
        for place in range(SHINGLE):
            mixed = mix(mixed + numbers[place : place + len(mixed)])
        sets.append(np.unique(mixed))
    begins = np.cumsum([0, *map(len, sets[:-1])])
    return np.concatenate(sets), begins


def mix(numbers: Hashes) -> Hashes:
    """Numbers scattered over 64 bits: the finaliser of SplitMix64."""
    numbers = numbers + MIXING
    numbers = (numbers ^ numbers >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ numbers >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return numbers ^ numbers >> np.uint64(31)


def bands(shingles: Hashes, begins: Codes) -> Iterable[Hashes]:
    """A hash of each text, BANDS times: equal in one of them with those that are like it."""
    for band in range(BANDS):
        hashed = np.zeros(len(begins), dtype=np.uint64)
        for place in range(BAND_HASHES):
            salt = mix(np.array([band * BAND_HASHES + place + 1], dtype=np.uint64))
            hashed = mix(hashed + np.minimum.reduceat(mix(shingles ^ salt), begins))
        yield hashed


def meetings(band: Hashes) -> Codes:
    """Positions of texts with the same hash, each beside the first that has it: (n, 2)."""
    _, first, group = np.unique(band, return_index=True, return_inverse=True)
    firsts = first[group]
    met = np.flatnonzero(firsts != np.arange(len(band)))
    return np.stack([firsts[met], met], axis=1)


def jaccard(one: Hashes, other: Hashes) -> float:
    """How much two sets have in common, 0..1."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)
