"""Groups dealt to parts, against brute force."""

import pytest
from all_deals import brute_force, counted, distance
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.dealing import SEARCHED, deal_exact, deal_stable, search


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=7),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.9, 0.1), (0.5, 0.5)]),
    seed=st.integers(0, 3),
)
def test_no_assignment_comes_nearer(
    sizes: list[int], fractions: tuple[float, ...], seed: int
) -> None:
    parts = search(sorted(sizes, reverse=True), fractions, seed)
    best = brute_force(sizes, fractions)
    if best is None:
        assert parts is None
        return
    assert parts is not None
    counts = counted(sorted(sizes, reverse=True), parts, len(fractions))
    assert all(counts)
    assert distance(counts, fractions) == pytest.approx(best, abs=1e-5)


def test_many_groups_meet_the_fractions_to_the_row() -> None:
    sizes = sorted((1 + (7 * n) % 40 for n in range(260)), reverse=True)
    parts = search(sizes, (0.8, 0.1, 0.1), 0)
    assert parts is not None
    assert distance(counted(sizes, parts, 3), (0.8, 0.1, 0.1)) < 2


def test_another_seed_deals_otherwise() -> None:
    dealt = {tuple(search([3] * 12, (0.5, 0.25, 0.25), seed) or ()) for seed in range(8)}
    assert len(dealt) > 1


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.2,) * 5, (0.1,) * 10])
def test_more_groups_than_are_searched_meet_the_fractions_too(fractions: tuple[float, ...]) -> None:
    sizes = [1 + (7 * n) % 40 for n in range(3 * SEARCHED)]
    names = [f"group {n}" for n in range(len(sizes))]
    parts = deal_exact(names, sizes, fractions, 0)
    assert distance(counted(sizes, parts, len(fractions)), fractions) < 2 * len(fractions)
    assert parts == deal_exact(names, sizes, fractions, 0)


def test_the_order_of_the_groups_does_not_count() -> None:
    sizes, names = [5, 3, 3, 2, 1, 1], list("abcdef")
    parts = dict(zip(names, deal_exact(names, sizes, (0.6, 0.2, 0.2), 1), strict=True))
    turned = deal_exact(names[::-1], sizes[::-1], (0.6, 0.2, 0.2), 1)
    assert parts == dict(zip(names[::-1], turned, strict=True))


def test_with_fewer_groups_than_parts_some_stay_empty() -> None:
    assert len(set(deal_exact(["a", "b"], [5, 4], (0.8, 0.1, 0.1), 0))) < 3


@settings(deadline=None, max_examples=50)
@given(
    names=st.lists(st.text(max_size=8), min_size=1, max_size=30, unique=True),
    others=st.lists(st.text(max_size=8), max_size=30),
    seed=st.integers(0, 3),
)
def test_a_stable_part_depends_on_the_name_alone(
    names: list[str], others: list[str], seed: int
) -> None:
    alone = deal_stable(names, [1] * len(names), (0.5, 0.3, 0.2), seed)
    both = deal_stable([*others, *names], [9] * (len(names) + len(others)), (0.5, 0.3, 0.2), seed)
    assert both[len(others) :] == alone


def test_stable_parts_meet_the_fractions_with_many_groups() -> None:
    names = [f"group {n}" for n in range(20_000)]
    parts = deal_stable(names, [1] * len(names), (0.8, 0.1, 0.1), 7)
    shares = [parts.count(part) / len(names) for part in range(3)]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
