"""Every way to deal groups out to parts, and how near the nearest comes."""

import itertools


def distance(counts: list[int], fractions: tuple[float, ...]) -> float:
    return sum(abs(n - part * sum(counts)) for n, part in zip(counts, fractions, strict=True))


def counted(sizes: list[int], parts: list[int] | tuple[int, ...], number: int) -> list[int]:
    return [sum(s for s, p in zip(sizes, parts, strict=True) if p == k) for k in range(number)]


def brute_force(sizes: list[int], fractions: tuple[float, ...]) -> float | None:
    """The smallest distance over every way to deal the groups out with no part empty."""
    number = len(fractions)
    ways = itertools.product(range(number), repeat=len(sizes))
    counts = (counted(sizes, way, number) for way in ways)
    return min((distance(c, fractions) for c in counts if all(c)), default=None)
