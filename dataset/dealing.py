"""Groups dealt out to parts: as near to the fractions as can be, or each for itself."""

import heapq
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from dataset.pairs import stable_id

SEARCH_STATES = 180_000  # tried in all: about a second
SEARCHED = 600  # groups; with more of them each goes where most is lacking


def deal_stable(
    names: Sequence[str], sizes: Sequence[int], fractions: Sequence[float], seed: int
) -> list[int]:
    """The part of each group by the hash of its name: other groups do not change it."""
    limits = list(accumulate(fractions))[:-1]
    return [bisect_right(limits, int(stable_id(seed, name), 16) / 2**64) for name in names]


def deal_exact(
    names: Sequence[str], sizes: Sequence[int], fractions: Sequence[float], seed: int
) -> list[int]:
    """The part of each group, so that row counts lie as near to the fractions as can be.

    No part is empty unless there are fewer groups than parts.
    """
    turn = [stable_id(seed, name) for name in names]  # among groups of one size
    order = sorted(range(len(sizes)), key=lambda one: (-sizes[one], turn[one]))
    ordered = [sizes[one] for one in order]
    found = search(ordered, fractions, seed) if len(sizes) <= SEARCHED else None
    placed = dict(zip(order, found or fill(ordered, fractions), strict=True))
    return [placed[one] for one in range(len(sizes))]


METHODS = {"exact": deal_exact, "stable": deal_stable}


def fill(sizes: Sequence[int], fractions: Sequence[float]) -> list[int]:
    """Each group in turn to the part that lacks most rows."""
    total = sum(sizes)
    lacking = [(-fraction * total, part) for part, fraction in enumerate(fractions)]
    heapq.heapify(lacking)
    parts = []
    for size in sizes:
        rows, part = lacking[0]
        heapq.heapreplace(lacking, (rows + size, part))
        parts.append(part)
    return parts


def search(sizes: Sequence[int], fractions: Sequence[float], seed: int) -> list[int] | None:
    """The smallest sum of |rows - fraction * all rows| with no part empty; None for too few groups.

    `sizes` are in falling order.
    Walks through the reachable row counts group by group: exact as long as few enough of them
    are tried for SEARCH_STATES, else the most promising ones are kept.
    """
    total, done = sum(sizes), 0
    width = max(300, SEARCH_STATES // len(sizes)) // len(fractions)
    states: list[tuple[int, ...]] = [(0,) * len(fractions)]
    history: list[dict[tuple[int, ...], tuple[tuple[int, ...], int]]] = []
    for index, size in enumerate(sizes):
        turn = int(stable_id(seed, index), 16)  # which of several ways to the same counts is kept
        reached: dict[tuple[int, ...], tuple[tuple[int, ...], int]] = {}
        for counts in states:
            for step in range(len(fractions)):
                part = (turn + step) % len(fractions)
                after = (*counts[:part], counts[part] + size, *counts[part + 1 :])
                reached.setdefault(after, (counts, part))
        done += size
        history.append(reached)
        states = _promising(reached, fractions, total, done, width)
    filled = [counts for counts in states if all(counts)]
    if not filled:
        return None
    return _way_to(min(filled, key=lambda counts: _distance(counts, fractions, total)), history)


def _promising(
    reached: Mapping[tuple[int, ...], Any],
    fractions: Sequence[float],
    total: int,
    done: int,
    width: int,
) -> list[tuple[int, ...]]:
    """At most `width` counts: those that overshoot least, then those that fill parts evenly."""
    if len(reached) <= width:
        return list(reached)

    def promise(counts: tuple[int, ...]) -> tuple[float, float]:
        over = sum(
            max(0.0, count - part * total) for count, part in zip(counts, fractions, strict=True)
        )
        return round(over, 6), _distance(counts, fractions, done)

    return heapq.nsmallest(width, reached, key=promise)


def _distance(counts: Sequence[int], fractions: Sequence[float], total: int) -> float:
    pairs = zip(counts, fractions, strict=True)
    return round(sum(abs(count - part * total) for count, part in pairs), 6)


def _way_to(
    counts: tuple[int, ...],
    history: Sequence[Mapping[tuple[int, ...], tuple[tuple[int, ...], int]]],
) -> list[int]:
    parts = []
    for reached in reversed(history):
        counts, part = reached[counts]
        parts.append(part)
    return parts[::-1]
