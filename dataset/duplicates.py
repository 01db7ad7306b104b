"""Which clips are the same sound: the column `duplicate_of`.

Two clips are duplicates when their samples are the same, or when they are one performance, however
encoded and how loud, of which each begins and ends within 5 s of the other. Another performance of
the movement is none, nor is a clip that contains another, such as two movements in one, or shares
a passage: sounds that begin or end further apart, or have less than three quarters of the longer
in common, are never alike.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataset.fingerprint import EDGE_S, WORD_S, Words, read_words, similarity

# Share of equal bits from which on two clips are one performance. python -m bench.duplicates, on
# the 35 clips of the demo: encoded anew (mp3 64k and 32k, opus 32k, aac 48k), 6 dB softer and up
# to 1 s elsewhere at least 0.86; other movements at most 0.55; another performance 0.54, and 0.77
# were it in the same tempo to the frame. Opus 12k is at 0.76 to 0.9: about two in three are found.
ALIKE = 0.80
SKETCH = (
    256  # words of a clip that are looked up: those of the smallest hash, so both keep the same
)
MIN_COMMON = 2  # of them in common at about the same place before two clips are compared
NEIGHBOURS = 64  # entries of one word and place that each is held against: more is a common word
PLACE = 4  # words: the grain of a place
PLACE_BITS, CLIP_BITS = 12, 20  # beside the 32 of a word: 34 minutes, a million clips
EDGE = round(EDGE_S / WORD_S)  # words
MIXING = np.uint32(2654435761)  # Knuth's multiplicative hash

Codes = NDArray[np.uint64]


SOUNDING = ("clip_id", "pcm_md5", "fingerprint", "num_samples", "sample_rate")  # columns


def fill_duplicates(table: pa.Table) -> pa.Table:
    """An index with `duplicate_of` found anew; null without a clip and for the clip to keep."""
    found = find_duplicates(table)
    doubles = pa.array(found.keys(), pa.string())
    place = pc.index_in(table["clip_id"], doubles, skip_nulls=True)
    column: Any = pa.array(found.values(), pa.string()).take(place)
    if "duplicate_of" not in table.column_names:
        return table.append_column("duplicate_of", column)
    return table.set_column(table.column_names.index("duplicate_of"), "duplicate_of", column)


def find_duplicates(table: Any) -> dict[str, str]:
    """clip_id -> clip_id of which it is a duplicate: of its group the longest, then least, id.

    Clips to keep, and those without a double, are not in it. What is alike through a third clip is
    one group. A clip without a fingerprint can only have the `pcm_md5` of another. UserError for
    a fingerprint of another version.
    """
    clips = in_order(table.select(SOUNDING))
    ids, fingerprints = clips["clip_id"].to_pylist(), clips["fingerprint"].to_pylist()
    parent = list(range(len(ids)))  # a clip's parent is never after it: the first is kept
    for one, other in equal_samples(clips["pcm_md5"]):
        join(parent, one, other)
    for one, other in candidates(fingerprints):
        known = root(parent, one) == root(parent, other)
        if not known and similarity(fingerprints[one], fingerprints[other]) >= ALIKE:
            join(parent, one, other)
    return {
        ids[position]: ids[root(parent, position)]
        for position, first in enumerate(parent)
        if position != first
    }


def in_order(rows: Any) -> Any:
    """A row for each clip, the longest first, then by their ids."""
    clips = rows.filter(rows["clip_id"].is_valid()).combine_chunks()
    ids = clips["clip_id"].combine_chunks().dictionary_encode()
    _, first = np.unique(ids.indices.to_numpy(), return_index=True)
    clips = clips.take(pa.array(first))
    samples, rates = (pc.fill_null(clips[name], 1) for name in ("num_samples", "sample_rate"))
    lengths_s = pc.divide(pc.cast(samples, pa.float64()), pc.cast(rates, pa.float64()))
    order = pc.sort_indices(
        clips.append_column("length_s", lengths_s),
        sort_keys=[("length_s", "descending"), ("clip_id", "ascending")],
    )
    return clips.take(order)


def root(parent: list[int], position: int) -> int:
    """The first clip of the group that a clip is in."""
    while parent[position] != position:
        parent[position] = parent[parent[position]]
        position = parent[position]
    return position


def join(parent: list[int], one: int, other: int) -> None:
    """Make one group of two."""
    first, second = sorted((root(parent, one), root(parent, other)))
    parent[second] = first


def equal_samples(sums: Any) -> Iterator[tuple[int, int]]:
    """Positions of clips with the same sum of their samples, each with the first of them."""
    codes = pc.fill_null(sums.combine_chunks().dictionary_encode().indices, -1).to_numpy()
    _, first, group = np.unique(codes, return_index=True, return_inverse=True)
    firsts = first[group]
    for position in np.flatnonzero((firsts != np.arange(len(codes))) & (codes >= 0)).tolist():
        yield int(firsts[position]), position


# --- candidates: who shares words -------------------------------------------------------------


def candidates(fingerprints: Sequence[str | None]) -> Iterator[tuple[int, int]]:
    """Positions of the fingerprints that have MIN_COMMON words in common where both may be alike.

    An inverted index in one sorted array: the entries of a word lie together, by their place.
    """
    assert len(fingerprints) < 1 << CLIP_BITS, "more clips than an entry has room for"
    lengths = np.zeros(len(fingerprints), dtype=np.int64)
    sketches = [np.zeros(0, dtype=np.uint64)]
    for position, text in enumerate(fingerprints):
        if text:
            words = read_words(text)
            lengths[position] = len(words)
            sketches.append(sketch(words) | np.uint64(position))
    entries = np.concatenate(sketches)
    del sketches
    entries.sort()
    pairs, common = np.unique(meetings(entries, lengths), return_counts=True)
    for pair in pairs[common >= MIN_COMMON].tolist():
        yield pair >> CLIP_BITS, pair & ((1 << CLIP_BITS) - 1)


def sketch(words: Words) -> Codes:
    """Up to SKETCH words of a clip, each with the place where it first stands: (num_entries,)."""
    different, places = np.unique(words, return_index=True)
    different, places = different[different != 0], places[different != 0]
    if len(different) > SKETCH:
        mixed = different * MIXING
        chosen = np.argpartition(mixed, SKETCH)[:SKETCH]
        different, places = different[chosen], places[chosen]
    grains = np.minimum(places // PLACE, (1 << PLACE_BITS) - 1).astype(np.uint64)
    entries: Codes = different.astype(np.uint64) << np.uint64(PLACE_BITS + CLIP_BITS)
    entries |= grains << np.uint64(CLIP_BITS)
    return entries


def meetings(entries: Codes, lengths: NDArray[np.int64]) -> Codes:
    """Two clips in one number for each word that they have within EDGE of the same place.

    `entries` are sorted; clips whose lengths differ by more than two edges do not meet.
    """
    clip = np.uint64((1 << CLIP_BITS) - 1)
    reach = np.uint64((EDGE // PLACE + 2) << CLIP_BITS)
    found = [np.zeros(0, dtype=np.uint64)]
    here = np.arange(len(entries))
    for step in range(1, NEIGHBOURS + 1):
        here = here[here < len(entries) - step]
        one, other = entries[here], entries[here + step]
        near = other - one < reach
        here, one, other = here[near], one[near] & clip, other[near] & clip
        if not len(here):
            break
        first, second = np.minimum(one, other), np.maximum(one, other)
        fits = np.abs(lengths[first] - lengths[second]) <= 2 * EDGE
        found.append((first << np.uint64(CLIP_BITS) | second)[fits & (first != second)])
    return np.concatenate(found)
