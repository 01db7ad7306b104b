"""Doubles are found however they were encoded, and nothing else is."""

import dataclasses
import itertools
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from bench.duplicates import FORMS, demo_clips, double, made_rows, scale
from dataset import duplicates as tested
from dataset.decoding import load_segment
from dataset.duplicates import fill_duplicates
from dataset.fingerprint import fingerprint
from dataset.index import pair_to_row
from dataset.pairs import Pair
from dataset.schema import PAIRS_SCHEMA
from tests.made_music import RATE_HZ, Score, played, score, silence

AUDIO = Path(__file__).parents[1] / "data" / "demo" / "audio"
BLANK = next(made_rows(1))
Samples = NDArray[np.float32]


def row(clip_id: str | None, samples: Samples | None = None, **more: object) -> Pair:
    """A row of a clip; without samples it has no fingerprint, and a checksum of its own."""
    length = 100 if samples is None else len(samples)
    mark = None if samples is None else fingerprint(samples, RATE_HZ)
    values = {"pcm_md5": clip_id, "num_samples": length, "fingerprint": mark, **more}
    return dataclasses.replace(BLANK, clip_id=clip_id, **values)  # type: ignore[arg-type]


def table_of(rows: Iterable[Pair]) -> pa.Table:
    return pa.Table.from_pylist([pair_to_row(row) for row in rows], schema=PAIRS_SCHEMA)


def find_duplicates(rows: Iterable[Pair]) -> dict[str, str]:
    return tested.find_duplicates(table_of(rows))


def duplicates(**clips: Samples) -> dict[str, str]:
    return find_duplicates([row(name, samples) for name, samples in clips.items()])


def seconds(samples: Samples, start_s: float, end_s: float | None = None) -> Samples:
    return samples[round(start_s * RATE_HZ) : None if end_s is None else round(end_s * RATE_HZ)]


# --- what is a duplicate ----------------------------------------------------------------------

LONG = played(score(1, 40.0))


def test_clips_of_the_same_samples_are_duplicates_without_a_fingerprint() -> None:
    rows = [row("b", pcm_md5="x"), row("a", pcm_md5="x"), row("c"), row("d", pcm_md5=None)]
    assert find_duplicates([*rows, row("e", pcm_md5=None)]) == {"b": "a"}


def test_a_second_row_of_a_clip_is_no_duplicate_of_it() -> None:
    assert find_duplicates([row("a", LONG), row("a", LONG), row("a", LONG)]) == {}


@pytest.mark.parametrize("start_s", [0.7, 1.0, 3.3])
def test_a_clip_that_begins_a_little_later_is_a_duplicate(start_s: float) -> None:
    assert duplicates(whole=LONG, later=seconds(LONG, start_s)) == {"later": "whole"}


def test_lengths_may_differ_by_a_few_seconds() -> None:
    applause = 0.3 * np.random.default_rng(0).standard_normal(4 * RATE_HZ)
    longer = np.concatenate((LONG, applause)).astype(np.float32)
    assert duplicates(plain=LONG, applauded=longer) == {"plain": "applauded"}
    assert duplicates(plain=LONG, padded=np.concatenate((LONG, silence(20)))) == {"plain": "padded"}


def test_a_clip_that_contains_another_is_no_duplicate() -> None:
    two_movements = np.concatenate((LONG, silence(2), played(score(2, 15.0))))
    assert duplicates(first=LONG, both=two_movements, half=seconds(LONG, 0, 20)) == {}


def test_a_quotation_is_no_duplicate() -> None:
    theme = seconds(LONG, 5, 15)
    quoting = [
        np.concatenate((played(score(seed, 15.0)), theme, played(score(seed + 1, 15.0))))
        for seed in (20, 30)
    ]
    assert duplicates(one=quoting[0], other=quoting[1], whole=LONG) == {}


def rubato(notes: Score, seed: int) -> Score:
    """The notes with a tempo that wavers by about a sixth every two seconds."""
    pace = np.cumsum(np.random.default_rng(seed).normal(1, 0.15, 40)) * 2.0
    knots = np.arange(40) * 2.0
    starts = [float(np.interp(start, knots, pace)) for start, _, _ in notes]
    return [(at, length, hz) for at, (_, length, hz) in zip(starts, notes, strict=True)]


def test_another_performance_is_no_duplicate() -> None:
    notes = score(1, 40.0)
    assert duplicates(
        steady=LONG,
        slower=played(notes, tempo=0.94),
        free=played(rubato(notes, 4)),
        freer=played(rubato(notes, 7)),
        others=played(rubato(notes, 3), partials=(0.3, 1, 0.2, 0.5)),
    ) == {}  # fmt: skip


def test_the_same_notes_on_other_instruments_in_another_key_are_no_duplicate() -> None:
    higher = [(start, length, hz * 2 ** (1 / 12)) for start, length, hz in score(1, 40.0)]
    assert duplicates(written=LONG, higher=played(higher)) == {}


# --- groups -----------------------------------------------------------------------------------


def test_the_longest_clip_is_kept_then_the_one_of_the_least_id() -> None:
    rows = [row(name, pcm_md5="x", num_samples=n) for name, n in (("c", 7), ("b", 9), ("a", 7))]
    assert find_duplicates(rows) == {"a": "b", "c": "b"}
    slow = dataclasses.replace(rows[0], sample_rate=RATE_HZ // 2)
    assert find_duplicates([slow, *rows[1:]]) == {"a": "c", "b": "c"}


def test_what_is_alike_through_a_third_clip_is_one_group() -> None:
    clips = {name: seconds(LONG, start_s) for name, start_s in (("a", 8), ("b", 0), ("c", 4))}
    assert duplicates(a=clips["a"], b=clips["b"]) == {}
    assert duplicates(**clips) == {"a": "b", "c": "b"}
    same = row("d", pcm_md5="a")
    assert find_duplicates([same, *(row(*clip) for clip in clips.items())])["d"] == "b"


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = [row(f"{seed}{n}", seconds(played(score(seed)), n / 3)) for seed in (1, 2) for n in "012"
            for n in (int(n),)]  # fmt: skip
    expected = {"11": "10", "12": "10", "21": "20", "22": "20"}
    for seed in range(5):
        assert find_duplicates(random.Random(seed).sample(rows, len(rows))) == expected


def test_every_row_of_a_clip_gets_the_value_and_the_others_null() -> None:
    rows = [
        row("a", LONG, duplicate_of="stale"), row("b", seconds(LONG, 1)), row(None),
        row("b", seconds(LONG, 1), caption="another text"), row("c", duplicate_of="stale"),
    ]  # fmt: skip
    index = table_of(rows)
    filled = fill_duplicates(index)
    assert filled.column("duplicate_of").to_pylist() == [None, "a", None, "a", None]
    assert filled.drop(["duplicate_of"]) == index.drop(["duplicate_of"])
    assert fill_duplicates(filled) == filled
    assert fill_duplicates(index.slice(0, 0)) == index.slice(0, 0)


# --- at length --------------------------------------------------------------------------------


def test_a_hundred_and_fifty_made_clips_give_up_their_doubles_and_no_more() -> None:
    assert scale(150)["wrong_at_scale"] == 0


def test_many_doubles_of_one_clip_are_one_group() -> None:
    text = fingerprint(LONG, RATE_HZ)
    rows = [row(f"{n:03}", fingerprint=text) for n in range(200)]
    assert set(find_duplicates(rows).values()) == {"000"}
    assert len(find_duplicates(rows)) == 199


# --- recordings -------------------------------------------------------------------------------


def test_movements_of_one_work_are_told_apart_and_found_in_every_encoding() -> None:
    clips = {
        f"{n}": load_segment(AUDIO / f"borodin-2-{n}.m4a", sample_rate=RATE_HZ) for n in range(1, 5)
    }
    assert duplicates(**clips) == {}
    for (name, samples), form in zip(clips.items(), FORMS.values(), strict=True):
        other = double(samples, form, -1.0 if name in "12" else 1.0)
        rows = [row(f"{name} again", other), *(row(*clip) for clip in clips.items())]
        groups = {frozenset(pair) for pair in find_duplicates(rows).items()}
        assert groups == {frozenset((name, f"{name} again"))}


@pytest.mark.slow
def test_each_of_the_demo_s_movements_has_its_double_and_no_other() -> None:
    clips = {f"{work} {n} {file}": samples for (work, n, file), samples in demo_clips().items()}
    assert len(clips) == 35
    rows = [row(*clip) for clip in clips.items()]
    assert find_duplicates(rows) == {}
    forms = itertools.cycle(itertools.product((0.9, -0.9, 0.45), FORMS.values()))
    for (name, samples), (shift_s, form) in zip(clips.items(), forms, strict=False):
        rows.append(row(f"{name} again", double(samples, form, shift_s)))
    groups = {frozenset(pair) for pair in find_duplicates(rows).items()}
    assert groups == {frozenset((name, f"{name} again")) for name in clips}
