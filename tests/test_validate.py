"""A clean folder is clean, and each broken promise is found for what it is."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from crawler.errors import UserError
from dataset.index import load_pairs, read_table, write_pairs
from dataset.pairs import Pair
from dataset.splits import SplitConfig, split
from dataset.validate import check, validate


def change(data: Path, choose: Callable[[Pair], bool], **values: Any) -> Pair:
    """Rewrite the index with other values in the first pair that `choose` accepts."""
    pairs = load_pairs(data / "pairs.parquet")
    first = next(pair for pair in pairs if choose(pair))
    changed = dataclasses.replace(first, **values)
    write_pairs(data / "pairs.parquet", [changed if pair is first else pair for pair in pairs])
    return changed


def is_ok(pair: Pair) -> bool:
    return pair.status == "ok"


def kinds(data: Path) -> set[str]:
    result = check(data)
    assert result.clean == (not result.missing and not result.wrong)
    return {found.kind for found in (*result.missing, *result.wrong)}


def first_clip(data: Path) -> Path:
    return min((data / "clips").rglob("*.flac"))


def test_a_clean_folder(small_corpus: Path) -> None:
    split(small_corpus, SplitConfig())
    before = {path: path.read_bytes() for path in small_corpus.rglob("*") if path.is_file()}
    result = check(small_corpus)
    assert result.clean
    assert result.warnings == ()
    clips = len(list((small_corpus / "clips").rglob("*.flac")))
    assert result.checked == {"pairs": 27, "clips": clips, "splits": 1}
    assert result.summary == validate(small_corpus)
    assert result.summary.counts == {"ok": 27 + clips + 1}
    assert result.summary.details["findings"] == 0
    assert result.summary.details["missing"] == result.summary.details["wrong"] == []
    assert {path: path.read_bytes() for path in small_corpus.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("state", "values", "kind"),
    [
        ("ok", {"caption": " \n"}, "empty_caption"),
        ("ok", {"clip_id": None}, "state"),
        ("ok", {"audio": None}, "state"),
        ("ok", {"audio": {"bytes": None, "path": None}}, "state"),
        ("ok", {"actual_end_s": 99.0}, "bounds"),
        ("ok", {"actual_end_s": float("nan")}, "bounds"),
        ("ok", {"sample_rate": 8_000}, "sample_rate"),
        ("ok", {"num_samples": 3}, "num_samples"),
        ("ok", {"sha256": "0" * 64}, "altered_clip"),
        ("ok", {"clip_id": "0" * 16}, "clip_path"),
        ("ok", {"audio": {"bytes": None, "path": "/etc/passwd"}}, "clip_path"),
        ("ok", {"audio": {"bytes": None, "path": "clips/../pairs.parquet"}}, "clip_path"),
        ("ok", {"audio": {"bytes": None, "path": "."}}, "clip_path"),
        ("ok", {"pcm_md5": "0" * 32}, "pcm_md5"),
        ("ok", {"status": "done"}, "status"),
        ("ok", {"stage": "nowhere"}, "stage"),
        ("ok", {"level": "bar"}, "level"),
        ("ok", {"schema_version": 1}, "schema_version"),
        ("ok", {"pair_id": "0" * 16}, "pair_id"),
        ("failed", {"error_class": None}, "state"),
        ("failed", {"error_class": "bad luck"}, "error_class"),
        ("filtered", {"filter_reason": None}, "state"),
    ],
)
def test_a_wrong_row(small_corpus: Path, state: str, values: dict[str, Any], kind: str) -> None:
    changed = change(small_corpus, lambda pair: pair.status == state, **values)
    assert kind in kinds(small_corpus)
    named = {found.item for found in check(small_corpus).wrong if found.kind == kind}
    assert named <= {changed.pair_id, (changed.audio or {}).get("path")}


def test_a_null_that_the_writer_would_refuse(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    table = read_table(path)
    column = table.schema.get_field_index("caption")
    loose = table.set_column(column, "caption", pa.nulls(table.num_rows, pa.string()))
    pq.write_table(loose.replace_schema_metadata(table.schema.metadata), path)
    result = check(small_corpus)
    assert sum(found.kind == "null" for found in result.wrong) == 27


def test_a_pair_that_stands_twice(small_corpus: Path) -> None:
    pairs = load_pairs(small_corpus / "pairs.parquet")
    write_pairs(small_corpus / "pairs.parquet", [*pairs, pairs[4]])
    result = check(small_corpus)
    assert [(found.kind, found.item) for found in result.wrong] == [
        ("duplicate_pair", pairs[4].pair_id)
    ]


def test_a_clip_that_vanished(small_corpus: Path) -> None:
    clip = first_clip(small_corpus)
    clip.unlink()
    result = check(small_corpus)
    assert [(found.kind, found.item) for found in result.missing] == [
        ("missing_clip", clip.relative_to(small_corpus).as_posix())
    ]
    assert result.wrong == ()
    summary = validate(small_corpus)
    assert summary.counts["violation: missing_clip"] == 1
    assert [row["kind"] for row in summary.details["missing"]] == ["missing_clip"]
    assert summary.details["wrong"] == []
    assert summary.details["findings"] == 1


def test_a_clip_with_other_sound(small_corpus: Path) -> None:
    clip = first_clip(small_corpus)
    samples, rate = soundfile.read(clip, dtype="int16")
    soundfile.write(clip, np.roll(samples, 1), rate, subtype="PCM_16")
    assert kinds(small_corpus) == {"altered_clip"}


@pytest.mark.parametrize("body", [b"", b"<html>gone</html>"])
def test_a_clip_that_is_no_audio(small_corpus: Path, body: bytes) -> None:
    first_clip(small_corpus).write_bytes(body)
    assert kinds(small_corpus) == {"altered_clip", "unreadable_clip"}


def test_a_truncated_clip(small_corpus: Path) -> None:
    clip = first_clip(small_corpus)
    clip.write_bytes(clip.read_bytes()[:-200])
    assert "altered_clip" in kinds(small_corpus)


def test_leftovers_are_warnings(small_corpus: Path) -> None:
    clip = first_clip(small_corpus)
    (clip.parent / "0000000000000000.flac").write_bytes(clip.read_bytes())
    (clip.parent / ".tmp-abc.flac").write_bytes(b"fLaC")
    (small_corpus / "splits" / "half").mkdir(parents=True)
    result = check(small_corpus)
    assert result.clean
    assert sorted(found.kind for found in result.warnings) == [
        "orphan_clip",
        "temporary_file",
        "unfinished_split",
    ]


def test_a_text_that_stands_twice_beside_one_clip_is_a_warning(small_corpus: Path) -> None:
    pairs = load_pairs(small_corpus / "pairs.parquet")
    beside = [pair for pair in pairs if pair.work_id == "alba-quartet-1" and is_ok(pair)]
    one, other = [pair for pair in beside if pair.movements == (1,)]
    change(small_corpus, lambda pair: pair.pair_id == other.pair_id, caption=f" {one.caption}  ")
    result = check(small_corpus)
    assert result.clean
    assert [found.kind for found in result.warnings] == ["equal_text"]
    ids = {one.pair_id, other.pair_id}
    assert all(key in f"{result.warnings[0].item} {result.warnings[0].message}" for key in ids)


def test_a_split_of_another_index_is_a_warning(small_corpus: Path) -> None:
    split(small_corpus, SplitConfig())
    change(small_corpus, lambda pair: pair.status == "pending", error_message="later")
    result = check(small_corpus)
    assert result.clean
    assert [found.kind for found in result.warnings] == ["stale_split"]


def test_a_part_that_was_touched(small_corpus: Path) -> None:
    folder = split(small_corpus, SplitConfig()).artifact
    (folder / "test.parquet").write_bytes(b"PAR1")
    assert kinds(small_corpus) == {"altered_part"}
    (folder / "test.parquet").unlink()
    assert kinds(small_corpus) == {"missing_part"}
    (folder / "split.json").write_text("[]")
    assert kinds(small_corpus) == {"split_record"}


def test_folds_keep_their_promises_too(small_corpus: Path) -> None:
    folder = split(small_corpus, SplitConfig(folds=3)).artifact
    result = check(small_corpus)
    assert (result.clean, result.warnings) == (True, ())
    smuggled = load_pairs(folder / "fold0.parquet")[0]
    write_pairs(folder / "fold2.parquet", [*load_pairs(folder / "fold2.parquet"), smuggled])
    rewrite_record(folder, lambda record: None)
    leaks = [found.message for found in check(small_corpus).wrong if found.kind == "leak"]
    assert any(message.startswith("fold0 and fold2 share 1 by work") for message in leaks)


def test_a_part_of_another_schema_version_is_wrong(small_corpus: Path) -> None:
    folder = split(small_corpus, SplitConfig()).artifact
    table = pq.read_table(folder / "test.parquet")
    aged = table.replace_schema_metadata({"earscribe_schema_version": "1"})
    pq.write_table(aged, folder / "test.parquet")
    rewrite_record(folder, lambda record: None)
    (found,) = (one for one in check(small_corpus).wrong if one.kind == "altered_part")
    assert "schema version 1" in found.message


def test_a_leak_between_parts_is_found_in_the_files(small_corpus: Path) -> None:
    """A train row is put into test by hand, with split.json made to agree."""
    folder = split(small_corpus, SplitConfig()).artifact
    smuggled = load_pairs(folder / "train.parquet")[0]
    pairs = [*load_pairs(folder / "test.parquet"), smuggled]
    write_pairs(folder / "test.parquet", pairs)
    record = json.loads((folder / "split.json").read_text())
    digest = hashlib.sha256((folder / "test.parquet").read_bytes()).hexdigest()
    record["parts"]["test"]["sha256"] = digest
    (folder / "split.json").write_text(json.dumps(record))
    leaks = [found for found in check(small_corpus).wrong if found.kind == "leak"]
    for kind in ("composer", "work", "source", "clip"):
        assert any(f"by {kind}" in found.message for found in leaks)
    assert any(smuggled.work_id in found.message for found in leaks)


def test_a_row_that_is_not_ok_in_a_split(small_corpus: Path) -> None:
    folder = split(small_corpus, SplitConfig()).artifact
    pairs = load_pairs(folder / "test.parquet")
    changed = [dataclasses.replace(pairs[0], status="pending"), *pairs[1:]]
    write_pairs(folder / "test.parquet", changed)
    assert "altered_part" in kinds(small_corpus)
    record = json.loads((folder / "split.json").read_text())
    digest = hashlib.sha256((folder / "test.parquet").read_bytes()).hexdigest()
    record["parts"]["test"]["sha256"] = digest
    (folder / "split.json").write_text(json.dumps(record))
    assert kinds(small_corpus) == {"split_status", "split_rows"}


def rewrite_record(folder: Path, change: Callable[[Any], Any]) -> None:
    record = json.loads((folder / "split.json").read_text())
    change(record)
    for part in record["parts"].values():
        part["sha256"] = hashlib.sha256((folder / part["file"]).read_bytes()).hexdigest()
    (folder / "split.json").write_text(json.dumps(record))


def test_a_split_row_that_is_not_the_indexs(small_corpus: Path) -> None:
    folder = split(small_corpus, SplitConfig()).artifact
    pairs = load_pairs(folder / "test.parquet")
    write_pairs(
        folder / "test.parquet", [dataclasses.replace(pairs[0], caption="Other."), *pairs[1:]]
    )
    rewrite_record(folder, lambda record: None)
    assert kinds(small_corpus) == {"split_rows"}


def test_a_pair_that_stands_twice_in_a_split(small_corpus: Path) -> None:
    folder = split(small_corpus, SplitConfig()).artifact
    pairs = load_pairs(folder / "test.parquet")
    write_pairs(folder / "test.parquet", [*pairs, pairs[0]])
    rewrite_record(folder, lambda record: None)
    assert kinds(small_corpus) == {"split_duplicate", "split_counts"}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda record: record["parts"]["train"].update(rows=3), "split_counts"),
        (lambda record: record["parts"]["test"].update(share=0.5), "split_counts"),
        (lambda record: record["parts"]["test"].update(composers=9), "split_counts"),
        (lambda record: record["left_out"].update(failed=1), "split_counts"),
        (lambda record: record["leaks"]["test"]["caption"].update(share=0.25), "split_leaks"),
    ],
)
def test_a_record_that_miscounts(
    small_corpus: Path, change: Callable[[Any], Any], kind: str
) -> None:
    folder = split(small_corpus, SplitConfig()).artifact
    rewrite_record(folder, change)
    assert kind in kinds(small_corpus)


def test_the_table_adds_up(small_corpus: Path) -> None:
    """One clip with two violations is one thing that is not ok."""
    split(small_corpus, SplitConfig())
    first_clip(small_corpus).write_bytes(b"")
    result = check(small_corpus)
    assert len(result.wrong) == 2
    summary = result.summary
    assert summary.total == sum(result.checked.values())
    assert summary.counts == {"ok": summary.total - 1, "violation: altered_clip": 1}


def test_a_clip_with_three_channels(small_corpus: Path) -> None:
    clip = first_clip(small_corpus)
    samples, rate = soundfile.read(clip, dtype="int16")
    soundfile.write(clip, np.stack([samples] * 3, axis=1), rate, subtype="PCM_16")
    assert kinds(small_corpus) == {"altered_clip", "channels"}


def test_an_index_of_another_version(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"earscribe_schema_version": "99"}), path)
    result = check(small_corpus)
    assert [found.kind for found in result.wrong] == ["schema_version"]
    assert result.summary.total == 1


def test_no_index_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no index at"):
        check(tmp_path)
