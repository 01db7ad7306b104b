"""Groups against the closure by repetition, and what counts as shared."""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.filters import evaluate
from dataset.groups import COLUMNS, KEYS, LEAKS, TIES, components, formulas, shared


def hashes(kind: str, rows: list[dict[str, str | None]]) -> list[int]:
    table = pa.table({name: pa.array([r.get(name) for r in rows], pa.string()) for name in COLUMNS})
    found: list[int] = evaluate([table], formulas([kind]))[kind].tolist()
    return found


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_groups_are_the_connected_components(values: list[tuple[int, int, int]]) -> None:
    keys = [np.array(column, dtype=np.uint64) for column in zip(*values, strict=True)]
    found = components(keys, len(values)).tolist()
    reach = [{n} for n in range(len(values))]
    for _ in values:  # closure by repetition; 0 is no value
        for a, b in itertools.product(range(len(values)), repeat=2):
            if any(x == y != 0 for x, y in zip(values[a], values[b], strict=True)):
                reach[a] |= reach[b]
    for a, b in itertools.product(range(len(values)), repeat=2):
        assert (found[a] == found[b]) == (b in reach[a])
    assert set(found) == set(range(len(set(found))))


def test_a_chain_of_any_length_is_one_group() -> None:
    n = 100_000
    order = np.random.default_rng(0).permutation(n).astype(np.uint64)
    even, odd = order // np.uint64(2) + np.uint64(1), (order + np.uint64(1)) // np.uint64(2)
    assert components([even, odd], n).max() == 0


def test_no_rows_have_no_groups() -> None:
    assert components([np.zeros(0, dtype=np.uint64)], 0).tolist() == []


@pytest.mark.parametrize(
    ("kind", "one", "other", "same"),
    [
        ("composer", {"composer": "Antonín Dvořák"}, {"composer": " ANTONIN  DVORAK "}, True),
        ("composer", {"composer": "Dvor\u030ca\u0301k"}, {"composer": "Dvořák"}, True),
        ("composer", {"composer": "Ana"}, {"composer": "Anna"}, False),
        ("source", {"youtube_id": "x", "source_url": "1"}, {"youtube_id": "x"}, True),
        ("source", {"source_url": "1"}, {"source_url": "1"}, True),
        ("clip", {"clip_id": "a"}, {"clip_id": "b", "duplicate_of": "a"}, True),
        ("caption", {"caption": " One and\nthe same"}, {"caption": "one AND the same "}, True),
        ("near_caption", {"pair_id": "1", "text_group": "0"}, {"pair_id": "0"}, True),
        ("near_caption", {"pair_id": "1"}, {"pair_id": "0"}, False),
    ],
)
def test_what_counts_as_the_same(
    kind: str, one: dict[str, str], other: dict[str, str], same: bool
) -> None:
    first, second = hashes(kind, [one, other])
    assert 0 not in (first, second)
    assert (first == second) == same


@pytest.mark.parametrize("kind", ["composer", "clip", "source"])
def test_nothing_is_shared_by_what_is_not_told(kind: str) -> None:
    assert hashes(kind, [{"composer": "  "}, {"composer": ""}, {}])[1:] == [0, 0]


def test_leaks_are_counted_against_training_alone() -> None:
    keys: dict[str, Any] = {"work": np.array([1, 2, 0, 1, 0, 3], dtype=np.uint64)}
    training = np.array([True, True, True, False, False, False])
    assert shared(keys, training, ~training) == {"work": {"rows": 1, "share": 0.333333}}


def test_every_kind_is_known() -> None:
    assert set(LEAKS) <= set(KEYS)
    assert all(set(ties) <= set(KEYS) for ties in TIES.values())
