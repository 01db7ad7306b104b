"""The ids-only release: facts alone, checked when imported, compared with a build."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crawler.crawl import CrawlConfig, wanted_pages
from crawler.errors import SchemaVersionError, UserError
from dataset.ids import IDS_SCHEMA, compare_ids, export_ids, import_ids
from dataset.index import load_pairs, write_pairs
from dataset.pairs import Pair
from dataset.validate import validate

FORMS = ["ids.parquet", "ids.jsonl"]


def change(data: Path, key: str, **values: Any) -> None:
    """Give one pair of the index other values."""
    index = data / "pairs.parquet"
    rows = load_pairs(index)
    write_pairs(index, [dataclasses.replace(r, **values) if r.pair_id == key else r for r in rows])


def ok_rows(data: Path) -> list[Pair]:
    return [row for row in load_pairs(data / "pairs.parquet") if row.status == "ok"]


@pytest.mark.parametrize("name", FORMS)
def test_a_release_holds_facts_and_hashes_but_no_prose(
    small_corpus: Path, tmp_path: Path, name: str
) -> None:
    summary = export_ids(small_corpus, tmp_path / name)
    assert summary.counts == {
        "ok": 20, "left out: failed": 3, "left out: filtered": 2, "left out: pending": 2
    }  # fmt: skip
    body = (tmp_path / name).read_bytes()
    row = ok_rows(small_corpus)[0]
    if name == "ids.jsonl":
        assert b"sounds one steady tone" not in body  # of every caption
        assert hashlib.sha256(row.caption.encode()).hexdigest().encode() in body
    else:
        table = pq.read_table(tmp_path / name)
        assert table.schema.names == IDS_SCHEMA.names
        assert not {"caption", "caption_raw", "audio"}.intersection(table.schema.names)


@pytest.mark.parametrize("name", FORMS)
def test_an_unchanged_build_differs_in_nothing(
    small_corpus: Path, tmp_path: Path, name: str
) -> None:
    export_ids(small_corpus, tmp_path / name)
    summary = import_ids(small_corpus, tmp_path / name)
    assert summary.counts == {"ok": 20}
    assert summary.details["works"] == len({row.work_id for row in ok_rows(small_corpus)})
    assert compare_ids(small_corpus) == []


def test_both_forms_hold_the_same(small_corpus: Path, tmp_path: Path) -> None:
    kept = []
    for name in FORMS:
        export_ids(small_corpus, tmp_path / name)
        import_ids(tmp_path / f"data {name}", tmp_path / name)
        kept.append((tmp_path / f"data {name}" / "ids.parquet").read_bytes())
    assert kept[0] == kept[1]


def test_the_seeds_are_the_pages_of_the_release(small_corpus: Path, tmp_path: Path) -> None:
    export_ids(small_corpus, tmp_path / "ids.jsonl")
    import_ids(tmp_path / "data", tmp_path / "ids.jsonl")
    config = CrawlConfig(site="https://example.org", seeds_file=tmp_path / "data" / "seeds.txt")
    assert set(wanted_pages(config)) == {row.work_id for row in ok_rows(small_corpus)}


def test_the_release_of_a_table_names_the_table(small_corpus: Path, tmp_path: Path) -> None:
    for row in ok_rows(small_corpus):
        change(small_corpus, row.pair_id, page_url="table:ours.csv")
    export_ids(small_corpus, tmp_path / "ids.JSONL")
    details = import_ids(tmp_path / "data", tmp_path / "ids.JSONL").details
    assert details["tables needed under these names"] == "ours.csv"
    assert "next" not in details
    assert not (tmp_path / "data" / "seeds.txt").exists()


def test_a_build_tells_what_differs(small_corpus: Path, tmp_path: Path) -> None:
    export_ids(small_corpus, tmp_path / "ids.parquet")
    import_ids(small_corpus, tmp_path / "ids.parquet")
    gone, text, longer, other, left, absent = (row for row in ok_rows(small_corpus)[:6])
    change(small_corpus, gone.pair_id, status="failed", error_class="gone")
    change(small_corpus, text.pair_id, caption="Another sentence stands there now.")
    samples = (longer.num_samples or 0) + 3 * (longer.sample_rate or 0)
    change(small_corpus, longer.pair_id, num_samples=samples, pcm_md5="1" * 32)
    change(small_corpus, other.pair_id, pcm_md5="0" * 32)
    change(small_corpus, left.pair_id, status="filtered", filter_reason="too_short")
    index = small_corpus / "pairs.parquet"
    write_pairs(index, [row for row in load_pairs(index) if row.pair_id != absent.pair_id])
    found = {row["pair_id"]: row["difference"] for row in compare_ids(small_corpus)}
    assert found == {
        gone.pair_id: "failed: gone",
        text.pair_id: "other_text",
        longer.pair_id: "other_length",
        other.pair_id: "other_clip",
        left.pair_id: "filtered: too_short",
        absent.pair_id: "missing",
    }
    lengths = next(row for row in compare_ids(small_corpus) if row["pair_id"] == longer.pair_id)
    seconds = [float(lengths[name].removesuffix(" s")) for name in ("released", "built")]
    assert seconds[1] - seconds[0] == pytest.approx(3.0, abs=0.011)
    told = validate(small_corpus).details
    assert told["release"]["as released"] == 20 - len(found)
    assert sum(told["release"].values()) == 20
    assert {row["pair_id"] for row in told["differences"]} == set(found)


def test_pairs_of_local_files_stay_at_home(small_corpus: Path, tmp_path: Path) -> None:
    row = ok_rows(small_corpus)[0]
    change(small_corpus, row.pair_id, source_url="file:///home/me/private.flac")
    summary = export_ids(small_corpus, tmp_path / "ids.jsonl")
    assert summary.counts["left out: local_file"] == 1
    assert "private" not in (tmp_path / "ids.jsonl").read_text()


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def put(file: Path, lines: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def other_version(lines: list[dict[str, Any]]) -> None:
    lines[0]["earscribe_ids"] = 2


def cut_short(lines: list[dict[str, Any]]) -> None:
    lines.pop()


def other_text(lines: list[dict[str, Any]]) -> None:
    lines[3]["text_index"] = 99


def twice(lines: list[dict[str, Any]]) -> None:
    lines[3] = lines[2]


def no_hash(lines: list[dict[str, Any]]) -> None:
    del lines[3]["caption_sha256"]


def text_for_number(lines: list[dict[str, Any]]) -> None:
    lines[3]["num_samples"] = "many"


def no_rate(lines: list[dict[str, Any]]) -> None:
    lines[3]["sample_rate"] = 0


def no_samples(lines: list[dict[str, Any]]) -> None:
    lines[3]["num_samples"] = -1


def no_sum(lines: list[dict[str, Any]]) -> None:
    lines[3]["pcm_md5"] = "../up"


def two_lines(lines: list[dict[str, Any]]) -> None:
    lines[3]["page_url"] += "\nhttps://example.org/else"


def other_page(lines: list[dict[str, Any]]) -> None:
    lines[3]["page_url"] = "https://example.org/chamber-music/else/"


def other_site(lines: list[dict[str, Any]]) -> None:
    lines[3]["page_url"] = lines[3]["page_url"].replace("example.org", "example.net")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (other_version, "ids version 2"),
        (cut_short, "19 rows instead of 20"),
        (other_text, "not the id of its facts"),
        (twice, "stands there twice"),
        (no_hash, "lacks caption_sha256"),
        (text_for_number, "is damaged"),
        (no_rate, "sample_rate"),
        (no_samples, "row 3 num_samples -1 is not above 0"),
        (no_sum, "pcm_md5 '../up' is no MD5 sum"),
        (two_lines, "is no address"),
        (other_page, "is not the page of"),
        (other_site, "is on another site"),
        (list.clear, "no whole release"),
    ],
)
def test_a_harmed_release_is_refused_in_one_line(
    small_corpus: Path, tmp_path: Path, harm: Callable[[list[dict[str, Any]]], None], told: str
) -> None:
    file = tmp_path / "ids.jsonl"
    export_ids(small_corpus, file)
    lines = lines_of(file)
    harm(lines)
    put(file, lines)
    with pytest.raises((UserError, SchemaVersionError), match=told) as caught:
        import_ids(tmp_path / "data", file)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data" / "ids.parquet").exists()


def test_other_files_are_no_release(small_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SchemaVersionError, match="ids version none"):
        import_ids(tmp_path, small_corpus / "pairs.parquet")
    with pytest.raises(UserError, match=r"unknown form '\.csv'"):
        import_ids(tmp_path, tmp_path / "ids.csv")
    with pytest.raises(UserError, match="no release at"):
        import_ids(tmp_path, tmp_path / "none.jsonl")
    pq.write_table(pa.table({"pair_id": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(SchemaVersionError):
        import_ids(tmp_path, tmp_path / "x.parquet")
    with pytest.raises(UserError, match="run `earscribe import ids FILE` first"):
        compare_ids(small_corpus)


@pytest.mark.parametrize("name", ["pairs.parquet", "works.jsonl", "clips.parquet"])
def test_a_release_is_written_over_nothing_but_a_release(small_corpus: Path, name: str) -> None:
    file = small_corpus / name
    if not file.exists():
        file.mkdir()
    before = file.read_bytes() if file.is_file() else b""
    with pytest.raises(UserError, match=r"is there and is no release of ids"):
        export_ids(small_corpus, file)
    assert (file.read_bytes() if file.is_file() else b"") == before


def test_a_release_can_be_written_again(small_corpus: Path, tmp_path: Path) -> None:
    for name in ("release.parquet", "release.jsonl"):
        export_ids(small_corpus, tmp_path / name)
        before = (tmp_path / name).read_bytes()
        export_ids(small_corpus, tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
