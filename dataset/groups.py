"""What rows share with each other, and the groups that hang together by it."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Hashes = NDArray[np.uint64]  # of a value for each row; 0 = no value
Codes = NDArray[np.int64]  # a number for each row


def spaced(text: str) -> str:
    """SQL for a text with single spaces, none at its ends."""
    return rf"trim(regexp_replace({text}, '\s+', ' ', 'g'))"


KEYS = {  # what rows may share -> SQL for its value; null = nothing that could be shared
    # Pages do not agree on the case and the accents of names, and a table need not name one.
    "composer": f"nullif({spaced('strip_accents(lower(composer))')}, '')",
    "work": "work_id",
    "recording": "recording_id",
    "source": "coalesce(youtube_id, source_url)",
    "clip": "coalesce(duplicate_of, clip_id)",
    "caption": spaced("lower(caption)"),
    "near_caption": "coalesce(text_group, pair_id)",
}
COLUMNS = (
    *("pair_id", "work_id", "recording_id", "clip_id", "caption", "text_group", "composer"),
    *("source_url", "youtube_id", "duplicate_of"),
)
EVER = ("source", "clip", "near_caption")  # ties in every group
TIES = {  # what holds rows together; a coarser group holds all that a finer one does
    "composer": ("composer", "work", "recording", *EVER),
    "work": ("work", "recording", *EVER),
    "recording": ("recording", *EVER),
}
LEAKS = ("composer", "work", "source", "clip", "caption", "near_caption")


def formulas(kinds: Iterable[str]) -> dict[str, str]:
    """SQL for the hash of each kind's value; equal values have equal hashes."""
    return {
        kind: f"(CASE WHEN {KEYS[kind]} IS NULL THEN 0 ELSE hash({KEYS[kind]}) END)::UBIGINT"
        for kind in kinds
    }


def components(keys: Sequence[Hashes], num_rows: int) -> Codes:
    """The group of each row, from 0: rows that share a value, directly or through others.

    `keys` are hashes of one kind each, (num_rows,).
    """
    group: Codes = np.arange(num_rows)
    for hashes in keys:
        # A graph of groups and values with an edge a row.
        values, codes = np.unique(hashes, return_inverse=True)
        told = hashes != 0
        first = int(group.max(initial=-1)) + 1
        group = connected(group[told], first + codes[told], first + len(values))[group]
    renumbered: Codes = np.unique(group, return_inverse=True)[1]
    return renumbered


def connected(one: Codes, other: Codes, number: int) -> Codes:
    """The group of each of so many things when one[n] and other[n] are of the same: (number,)."""
    edges = coo_array((np.ones(len(one), dtype=np.bool_), (one, other)), shape=(number, number))
    _, found = connected_components(edges, directed=False)
    groups: Codes = found.astype(np.int64)
    return groups


def shared(
    keys: Mapping[str, Hashes], training: NDArray[np.bool_], part: NDArray[np.bool_]
) -> dict[str, dict[str, float]]:
    """Rows of a part whose value stands in training too, by kind, and their share of the part.

    `training` and `part` say of each row whether it is there, (num_rows,).
    """
    found = {}
    for kind, hashes in keys.items():
        own = hashes[part]
        rows = int((np.isin(own, hashes[training]) & (own != 0)).sum())
        found[kind] = {"rows": rows, "share": round(rows / max(1, len(own)), 6)}
    return found
