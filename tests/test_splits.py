"""Splits against brute force: nothing crosses the parts, and the fractions are met."""

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from all_deals import brute_force, distance

from crawler.errors import LockedError, SchemaVersionError, UserError
from crawler.files import sha256_file
from crawler.ledger import folder_lock
from crawler.released import text_key
from dataset.filters import read_predicate
from dataset.index import load_pairs, read_table, write_pairs
from dataset.parts import load_split, read_split
from dataset.schema import PAIRS_SCHEMA
from dataset.splits import PRESETS, SplitConfig, read_preset, split
from dataset.validate import check

PARTS = ("train", "validation", "test")


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
    where = "year IS NOT NULL AND (mode = 'major' OR mode = 'x') AND year > 0"
    made = split(small_corpus, SplitConfig(where=where))
    rows = read_table(small_corpus / "pairs.parquet").to_pylist()
    ok = [row for row in rows if row["status"] == "ok"]
    dated = [row for row in ok if row["year"] is not None]
    kept = [row for row in dated if row["mode"] == "major"]
    assert 0 < len(kept) < len(dated) < len(ok)
    assert made.total == len(rows)
    assert sum(made.counts[part] for part in PARTS) == len(kept)
    assert made.counts["left out: where: year IS NOT NULL"] == len(ok) - len(dated)
    other = "left out: where: (mode = 'major') OR (mode = 'x')"
    assert made.counts[other] == len(dated) - len(kept)
    assert sum("where" in reason for reason in made.counts) == 2  # the last one excludes nothing
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
            "near_caption": nothing,  # this index was not looked through for them
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
        ({"folds": 1}, "give 2 to 100"),
        ({"method": "released"}, "give how many"),
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


# ---------------------------------------------------------------- presets, folds, methods


def larger(path: Path, copies: int, first: int = 0) -> None:
    """The ok pairs of an index again and again, each time of other composers and works."""
    pairs = [pair for pair in load_pairs(path) if pair.status == "ok"]
    write_pairs(
        path,
        [
            dataclasses.replace(
                pair,
                **{
                    name: f"{getattr(pair, name)} {copy}"
                    for name in ("pair_id", "work_id", "composer", "recording_id", "clip_id")
                },
                source_url=f"{pair.source_url}&copy={copy}",
                youtube_id=None,
            )
            for copy in range(first, first + copies)
            for pair in pairs
        ],
    )


def test_a_preset_is_joined_with_where(small_corpus: Path, tmp_path: Path) -> None:
    presets = tmp_path / "mine.toml"
    presets.write_text('[dated]\nwhere = "year IS NOT NULL"\n[bad]\nwhere = 1\n')
    config = SplitConfig(preset="dated", where="year > 1 OR true", presets=presets)
    made = split(small_corpus, config)
    record = read_split(small_corpus, "default")
    assert record["predicate"] == "(year IS NOT NULL) AND (year > 1 OR true)"
    assert "left out: where: year IS NOT NULL" in made.counts
    presets.write_text('[dated]\nwhere = "year > 1800"\n')
    assert split(small_corpus, config).work_done == 1, "another predicate is another split"
    with pytest.raises(UserError, match="no preset 'x' in presets.toml: give one of paper, clean"):
        split(small_corpus, SplitConfig(preset="x"))
    presets.write_text("[bad]\nwhere = 1\n")
    with pytest.raises(UserError, match="has no predicate"):
        split(small_corpus, SplitConfig(preset="bad", presets=presets))


@pytest.mark.parametrize("name", ["paper", "clean", "all"])
def test_the_presets_of_the_project_can_be_read(name: str) -> None:
    predicate = read_predicate(read_preset(PRESETS, name), PAIRS_SCHEMA)
    assert predicate.terms


def test_folds_hold_every_pair_once_and_each_can_be_the_test(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    larger(path, 3)
    made = split(small_corpus, SplitConfig(name="five", folds=5))
    ok = [pair.pair_id for pair in load_pairs(path)]
    folds = [[p.pair_id for p in load_split(small_corpus, "five", f"fold{n}")] for n in range(5)]
    assert sorted(itertools.chain(*folds)) == ok
    assert set(made.counts) == {f"fold{n}" for n in range(5)}
    for n in range(5):
        parts = {part: load_split(small_corpus, f"five:{n}", part) for part in PARTS}
        assert [pair.pair_id for pair in parts["test"]] == folds[n]
        assert [pair.pair_id for pair in parts["validation"]] == folds[(n + 1) % 5]
        train = [pair.pair_id for pair in parts["train"]]
        rest = set(ok) - set(folds[n]) - set(folds[(n + 1) % 5])
        assert train == sorted(rest)
    record = read_split(small_corpus, "five:1")
    assert record["parts"]["train"]["rows"] == len(load_split(small_corpus, "five:1", "train"))
    split(small_corpus, SplitConfig(name="two", folds=2))
    assert set(read_split(small_corpus, "two:0")["parts"]) == {"train", "test"}
    split(small_corpus, SplitConfig())
    for name, message in [
        ("five:5", "give five:0 to five:4"),
        ("five:", "give five:0 to five:4"),
        ("default:0", "give default alone, it has no folds"),
    ]:
        with pytest.raises(UserError, match=message):
            read_split(small_corpus, name)
    with pytest.raises(UserError, match="give one of fold0, .* or a fold as the split five:0"):
        load_split(small_corpus, "five", "train")


def test_another_definition_leaves_no_part_of_the_old_one(small_corpus: Path) -> None:
    split(small_corpus, SplitConfig(group="recording"))
    folder = split(small_corpus, SplitConfig(group="recording", folds=3)).artifact
    assert {p.name for p in folder.iterdir()} == {
        "split.json",
        *(f"fold{n}.parquet" for n in range(3)),
    }


def test_more_folds_than_groups_say_so(small_corpus: Path) -> None:
    with pytest.raises(UserError, match=r"fall into \d+ groups by composer, too few for 50 parts"):
        split(small_corpus, SplitConfig(folds=50))


def test_stable_parts_stay_when_works_are_added(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    original = path.read_bytes()
    larger(path, 12)
    config = SplitConfig(method="stable", fractions=(0.5, 0.25, 0.25))
    assert split(small_corpus, config).details["works that moved"] == 0
    before = {p.pair_id: part for part in PARTS for p in load_split(small_corpus, "default", part)}
    path.write_bytes(original)
    larger(path, 20)
    made = split(small_corpus, config)
    after = {p.pair_id: part for part in PARTS for p in load_split(small_corpus, "default", part)}
    assert len(after) > len(before)
    assert before.items() <= after.items()
    assert made.details["works that moved"] == 0
    names = sorted({pair.composer for pair in load_pairs(path)})
    joined = [  # a work in common makes one group of two composers, here of every two
        dataclasses.replace(pair, work_id=f"both {names.index(pair.composer) // 2}")
        for pair in load_pairs(path)
    ]
    write_pairs(path, joined)
    moved = split(small_corpus, config).details
    last = {p.pair_id: part for part in PARTS for p in load_split(small_corpus, "default", part)}
    changed = sum(after[key] != part for key, part in last.items())
    assert changed
    assert sum(row["pairs"] for row in moved["moved"]) == changed or moved["works that moved"] > 20


def test_a_stable_part_without_rows_names_the_other_method(small_corpus: Path) -> None:
    config = SplitConfig(method="stable", fractions=(0.98, 0.01, 0.01))
    with pytest.raises(UserError, match="into validation, test: give method 'exact'"):
        split(small_corpus, config)


def test_nearly_equal_texts_are_in_one_part(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    larger(path, 4)
    pairs = load_pairs(path)
    one, other = pairs[0], next(p for p in pairs if p.composer != pairs[0].composer)
    near = [
        dataclasses.replace(p, text_group=pairs[0].pair_id) if p in (one, other) else p
        for p in pairs
    ]
    write_pairs(path, near)
    for seed in range(6):
        split(small_corpus, SplitConfig(seed=seed, fractions=(0.5, 0.5)))
        train = {p.pair_id for p in load_split(small_corpus, "default", "train")}
        assert (one.pair_id in train) == (other.pair_id in train)


def test_the_folds_of_the_study_are_runs_of_its_own_order(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    config = SplitConfig(
        name="study", method="released", folds=2, where="work_id <> 'cray-quintet'"
    )
    with pytest.raises(UserError, match="`earscribe import released FOLDER` writes it"):
        split(small_corpus, config)
    ok = [pair for pair in load_pairs(path) if pair.status == "ok"]
    pairs = [pair for pair in ok if pair.work_id != "cray-quintet"]  # a text, two recordings
    lines = [
        ",".join(text_key(p.work_id, " ".join(map(str, p.movements)), p.caption_raw + " "))
        for p in reversed(pairs)
    ]
    (small_corpus / "study_order.csv").write_text("\n".join(lines) + "\n")
    split(small_corpus, config)
    folds = [{p.pair_id for p in load_split(small_corpus, "study", f"fold{n}")} for n in range(2)]
    half = len(pairs) - len(pairs) // 2
    assert folds[0] == {p.pair_id for p in list(reversed(pairs))[:half]}
    assert folds[1] == {p.pair_id for p in list(reversed(pairs))[half:]}
    (small_corpus / "study_order.csv").write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(UserError, match="1 of the .* pairs are none of the study's"):
        split(small_corpus, dataclasses.replace(config, name="other"))


def test_a_split_of_pending_pairs_is_only_to_look_at(small_corpus: Path) -> None:
    made = split(small_corpus, SplitConfig(pending=True))
    assert "left out: pending" not in made.counts
    assert sum(made.counts[part] for part in PARTS) == 22
    assert check(small_corpus).clean
    with pytest.raises(UserError, match="was made with pending pairs: run `earscribe fetch`"):
        for part in PARTS:
            load_split(small_corpus, "default", part)


def test_fingerprints_are_left_to_the_index(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    write_pairs(path, [dataclasses.replace(p, fingerprint="1AAAA") for p in load_pairs(path)])
    split(small_corpus, SplitConfig())
    assert {p.fingerprint for p in load_split(small_corpus, "default", "train")} == {None}
