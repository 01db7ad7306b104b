"""Splits against brute force: nothing crosses the parts, and the fractions are met."""

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.errors import LockedError, SchemaVersionError, UserError
from crawler.files import sha256_file
from crawler.ledger import folder_lock
from dataset.index import load_pairs, read_table, write_pairs
from dataset.splits import SplitConfig, assign, group_rows, load_split, read_split, split

PARTS = ("train", "validation", "test")


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


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=7),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.9, 0.1), (0.5, 0.5)]),
    seed=st.integers(0, 3),
)
def test_no_assignment_comes_nearer(
    sizes: list[int], fractions: tuple[float, ...], seed: int
) -> None:
    parts = assign(sorted(sizes, reverse=True), fractions, seed)
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
    parts = assign(sizes, (0.8, 0.1, 0.1), 0)
    assert parts is not None
    assert distance(counted(sizes, parts, 3), (0.8, 0.1, 0.1)) < 2


def test_another_seed_deals_otherwise() -> None:
    dealt = {tuple(assign([3] * 12, (0.5, 0.25, 0.25), seed) or ()) for seed in range(8)}
    assert len(dealt) > 1


def row(**values: str) -> dict[str, Any]:
    texts = ("composer", "work_id", "recording_id", "source_url", "caption")
    nulls = ("youtube_id", "duplicate_of", "clip_id")
    return {**dict.fromkeys(texts, ""), **dict.fromkeys(nulls), **values}


def test_rows_hang_together_through_others() -> None:
    rows = [
        row(composer="A", source_url="1"),
        row(composer="B", source_url="2"),
        row(composer="C", source_url="3"),
        row(composer="A", source_url="2"),
        row(composer="D", source_url="4", clip_id="x"),
        row(composer="E", source_url="5", duplicate_of="x"),
    ]
    assert group_rows(rows, ("composer", "source", "clip")) == [[0, 1, 3], [2], [4, 5]]
    assert len(group_rows(rows, ("composer",))) == 5


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.sampled_from("abcde")] * 3), min_size=1, max_size=12))
def test_groups_are_the_connected_components(values: list[tuple[str, str, str]]) -> None:
    rows = [row(composer=c, source_url=s, clip_id=k) for c, s, k in values]
    found = {
        p: n
        for n, group in enumerate(group_rows(rows, ("composer", "source", "clip")))
        for p in group
    }
    reach = [{n} for n in range(len(rows))]
    for _ in rows:  # closure by repetition
        for a, b in itertools.product(range(len(rows)), repeat=2):
            if any(x == y for x, y in zip(values[a], values[b], strict=True)):
                reach[a] |= reach[b]
    for a, b in itertools.product(range(len(rows)), repeat=2):
        assert (found[a] == found[b]) == (b in reach[a])


@pytest.mark.parametrize("group", ["composer", "work", "recording"])
def test_nothing_crosses_the_parts(small_corpus: Path, group: Any) -> None:
    config = SplitConfig(fractions=(0.6, 0.2, 0.2), group=group)
    split(small_corpus, config)
    parts = {part: load_split(small_corpus, "default", part) for part in PARTS}
    column = {"composer": "composer", "work": "work_id", "recording": "recording_id"}[group]
    for name in (column, "source_url", "clip_id"):
        seen = [{getattr(pair, name) for pair in pairs} for pairs in parts.values()]
        assert all(seen)
        assert not any(a & b for a, b in itertools.combinations(seen, 2)), name
    ids = [pair.pair_id for pairs in parts.values() for pair in pairs]
    ok = [p.pair_id for p in load_pairs(small_corpus / "pairs.parquet") if p.status == "ok"]
    assert sorted(ids) == sorted(ok)


def test_parts_are_as_near_as_whole_composers_allow(small_corpus: Path) -> None:
    split(small_corpus, SplitConfig())
    record = read_split(small_corpus, "default")
    sizes: dict[str, int] = {}
    for pair in load_pairs(small_corpus / "pairs.parquet"):
        sizes[pair.composer] = sizes.get(pair.composer, 0) + (pair.status == "ok")
    counts = [record["parts"][part]["rows"] for part in PARTS]
    best = brute_force(list(sizes.values()), (0.8, 0.1, 0.1))
    assert distance(counts, (0.8, 0.1, 0.1)) == pytest.approx(best)


def test_every_row_is_counted_with_its_reason(small_corpus: Path) -> None:
    made = split(small_corpus, SplitConfig(where="year IS NOT NULL AND mode = 'major'"))
    rows = read_table(small_corpus / "pairs.parquet").to_pylist()
    ok = [row for row in rows if row["status"] == "ok"]
    kept = [row for row in ok if row["year"] is not None and row["mode"] == "major"]
    assert made.total == len(rows)
    assert sum(made.counts[part] for part in PARTS) == len(kept)
    assert made.counts["left out: where"] == len(ok) - len(kept)
    assert made.counts["left out: failed"] == 3
    assert made.counts["left out: filtered"] == 2
    assert made.counts["left out: pending"] == 2


def test_same_index_and_definition_give_the_same_bytes(small_corpus: Path) -> None:
    config = SplitConfig(seed=5)
    first = split(small_corpus, config)
    files = {path.name: path.read_bytes() for path in sorted(first.artifact.iterdir())}
    assert set(files) == {"split.json", "train.parquet", "validation.parquet", "test.parquet"}
    again = split(small_corpus, config)
    assert (first.work_done, again.work_done) == (1, 0)
    assert again.counts == first.counts
    for path in first.artifact.iterdir():
        path.unlink()
    assert split(small_corpus, config).work_done == 1
    assert {path.name: path.read_bytes() for path in first.artifact.iterdir()} == files


@pytest.mark.parametrize("harm", ["part", "record", "index", "definition"])
def test_what_changed_is_made_again(small_corpus: Path, harm: str) -> None:
    folder = split(small_corpus, SplitConfig()).artifact
    config = SplitConfig(seed=1) if harm == "definition" else SplitConfig()
    if harm == "part":
        (folder / "test.parquet").write_bytes(b"PAR1")
    elif harm == "record":
        (folder / "split.json").unlink()
    elif harm == "index":
        pairs = load_pairs(small_corpus / "pairs.parquet")
        write_pairs(small_corpus / "pairs.parquet", pairs[:-1])
    assert split(small_corpus, config).work_done == 1
    record = read_split(small_corpus, "default")
    assert record["index_sha256"] == sha256_file(small_corpus / "pairs.parquet")
    assert record["definition"]["seed"] == config.seed
    for part in record["parts"].values():
        assert sha256_file(folder / part["file"]) == part["sha256"]


def test_the_leak_report_counts_what_the_files_hold(small_corpus: Path) -> None:
    """Grouped by recording, texts of one work and composer stand on both sides."""
    path = small_corpus / "pairs.parquet"
    pairs = [
        dataclasses.replace(pair, caption="  One and\nthe same ")
        if n % 2
        else dataclasses.replace(pair, caption="one AND the same")
        for n, pair in enumerate(load_pairs(path))
    ]
    write_pairs(path, pairs)
    config = SplitConfig(where="work_id = 'cray-quintet'", group="recording", fractions=(0.5, 0.5))
    folder = split(small_corpus, config).artifact
    train, test = (load_split(small_corpus, "default", part) for part in ("train", "test"))
    assert (len(train), len(test)) == (1, 1)
    leaks = json.loads((folder / "split.json").read_text())["leaks"]
    everything, nothing = {"rows": 1, "share": 1.0}, {"rows": 0, "share": 0.0}
    assert leaks == {
        "test": {
            "composer": everything,
            "work": everything,
            "source": nothing,
            "clip": nothing,
            "caption": everything,
        }
    }


def test_the_parts_carry_the_schema_of_the_index(small_corpus: Path) -> None:
    folder = split(small_corpus, SplitConfig()).artifact
    whole = pq.read_schema(small_corpus / "pairs.parquet")
    assert pq.read_schema(folder / "train.parquet").equals(whole, check_metadata=True)


def test_too_few_groups_say_what_to_change(small_corpus: Path) -> None:
    config = SplitConfig(where="composer IN ('Ana Alba', 'Ben Brook')")
    with pytest.raises(UserError, match="2 groups by composer, too few for 3 parts") as caught:
        split(small_corpus, config)
    assert "\n" not in str(caught.value)
    assert not (small_corpus / "splits").exists()


def test_nothing_to_split_says_why(small_corpus: Path) -> None:
    with pytest.raises(UserError, match="change 'year = 1'"):
        split(small_corpus, SplitConfig(where="year = 1"))
    path = small_corpus / "pairs.parquet"
    write_pairs(path, [pair for pair in load_pairs(path) if pair.status == "pending"])
    with pytest.raises(UserError, match=r"\(2 pending\): run `earscribe fetch`"):
        split(small_corpus, SplitConfig())


def test_another_run_on_the_folder_is_refused(small_corpus: Path) -> None:
    with folder_lock(small_corpus), pytest.raises(LockedError):
        split(small_corpus, SplitConfig())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "../x"}, "letters, digits"),
        ({"name": ""}, "letters, digits"),
        ({"name": ".hidden"}, "letters, digits"),
        ({"name": "a" * 300}, "100 at most"),
        ({"fractions": (0.8, 0.1)}, "add up to 1"),
        ({"fractions": (1.0,)}, "give two"),
        ({"fractions": (1.0, 0.0, 0.0)}, "above 0"),
        ({"group": "year"}, "composer, work, recording"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SplitConfig(**values)


def test_unknown_names_list_the_known_ones(small_corpus: Path) -> None:
    with pytest.raises(UserError, match="there is: none yet"):
        load_split(small_corpus, "default", "train")
    split(small_corpus, SplitConfig())
    split(small_corpus, SplitConfig(name="plain", fractions=(0.7, 0.3)))
    with pytest.raises(UserError, match="there is: default, plain"):
        load_split(small_corpus, "../default", "train")
    with pytest.raises(UserError, match="give one of train, test"):
        load_split(small_corpus, "plain", "validation")


@pytest.mark.parametrize(
    "harm",
    [
        lambda record: "{",
        lambda record: '{"earscribe_split": 1}',
        lambda record: json.dumps(record | {"parts": {"train": {}}}),
        lambda record: json.dumps(record | {"leaks": {}}),
        lambda record: json.dumps(record | {"definition": record["definition"] | {"group": "x"}}),
    ],
)
def test_a_damaged_record_is_one_line(
    small_corpus: Path, harm: Callable[[dict[str, Any]], str]
) -> None:
    folder = split(small_corpus, SplitConfig()).artifact
    record = json.loads((folder / "split.json").read_text())
    (folder / "split.json").write_text(harm(record))
    with pytest.raises(SchemaVersionError, match="run `earscribe split` again"):
        read_split(small_corpus, "default")
    assert split(small_corpus, SplitConfig()).work_done == 1


def test_an_altered_part_is_not_loaded(small_corpus: Path) -> None:
    folder = split(small_corpus, SplitConfig()).artifact
    pairs = load_pairs(folder / "test.parquet")
    write_pairs(folder / "test.parquet", [dataclasses.replace(pairs[0], caption="Other.")])
    with pytest.raises(UserError, match=r"not what split.json says .* run `earscribe split` again"):
        load_split(small_corpus, "default", "test")
    (folder / "test.parquet").unlink()
    with pytest.raises(UserError, match="is missing or not what"):
        load_split(small_corpus, "default", "test")
    assert load_split(small_corpus, "default", "train")


def test_one_composer_in_several_spellings_is_one_group(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    names = ("Antonín Dvořák", "ANTONIN DVORAK", "Antoni\u0301n  Dvor\u030ca\u0301k")
    pairs = [dataclasses.replace(p, composer=names[len(p.work_id) % 3]) for p in load_pairs(path)]
    assert len({pair.composer for pair in pairs}) == 3
    write_pairs(path, pairs)
    with pytest.raises(UserError, match="fall into 1 groups by composer"):
        split(small_corpus, SplitConfig())
