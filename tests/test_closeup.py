"""One pair looked at closely: its row, its history, its clip."""

import dataclasses
from pathlib import Path

import pytest

from crawler.errors import UserError
from crawler.ledger import LEDGER_NAME, Ledger, State
from dataset.bounds import clip_item
from dataset.closeup import find_pairs, look_closely, told, utc
from dataset.index import load_pairs, write_pairs
from dataset.pairs import Pair
from dataset.rows import source_key
from dataset.schema import COLUMNS


def an_ok(folder: Path) -> Pair:
    return next(row for row in load_pairs(folder / "pairs.parquet") if row.status == "ok")


def test_a_row_its_clip_and_no_ledger(small_corpus: Path) -> None:
    pair = an_ok(small_corpus)
    seen = look_closely(small_corpus, pair)
    assert [row["column"] for row in seen.rows()] == [column.name for column in COLUMNS]
    assert seen.history == []
    assert seen.clip is not None and seen.clip.is_absolute() and seen.is_there
    seen.clip.unlink()
    assert not look_closely(small_corpus, pair).is_there
    (small_corpus / LEDGER_NAME).touch()
    assert look_closely(small_corpus, pair).history == []


def test_the_history_is_told_oldest_first_in_utc(small_corpus: Path) -> None:
    pair = an_ok(small_corpus)
    assert pair.config_fingerprint is not None
    item = clip_item(
        source_key(pair), pair.movements, pair.start_s, pair.end_s, pair.config_fingerprint
    )
    with Ledger(small_corpus) as ledger:
        ledger.record(
            "source", source_key(pair), State.FAILED, error_class="network",
            message="reset\nby\x1b[31m peer", started_s=0.0,
        )  # fmt: skip
        ledger.record("source", source_key(pair), State.OK, tools={"yt-dlp": "1"})
        ledger.record("cut", item, State.OK, started_s=86_400.0)
        ledger.record("cut", "another", State.OK)
    history = look_closely(small_corpus, pair).history
    assert [(row["stage"], row["state"], row["class"]) for row in history] == [
        ("source", "failed", "network"),
        ("source", "ok", ""),
        ("cut", "ok", ""),
    ]
    assert history[0]["message"] == "reset by [31m peer"
    assert history[0]["started"] == "1970-01-01T00:00:00Z"
    assert (history[1]["tools"], history[2]["started"]) == ("yt-dlp 1", "1970-01-02T00:00:00Z")


def test_the_history_of_a_file_of_this_machine(small_corpus: Path) -> None:
    """Its clips are kept under a name that holds its bytes' hash too."""
    url = "file:///music/a.wav"
    pair = dataclasses.replace(an_ok(small_corpus), source_url=url, align_method="table")
    item = clip_item(f"{url} abc", pair.movements, pair.start_s, None, "0123456789abcdef")
    with Ledger(small_corpus) as ledger:
        ledger.record("source", url, State.OK, result={"sha256": "abc"})
        ledger.record("cut", item, State.OK)
    assert [row["stage"] for row in look_closely(small_corpus, pair).history] == ["source", "cut"]


def test_a_pair_is_found_by_the_first_digits_of_its_id(small_corpus: Path) -> None:
    pair = an_ok(small_corpus)
    twin = dataclasses.replace(pair, pair_id=pair.pair_id[:8] + "00000000")
    assert find_pairs(small_corpus, pair.pair_id[:6].upper()) == [pair]
    write_pairs(small_corpus / "pairs.parquet", [pair, twin])
    assert len(find_pairs(small_corpus, pair.pair_id[:6])) == 2
    assert find_pairs(small_corpus, pair.pair_id) == [pair]


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ("abcde", "'abcde' is no pair_id: give its 16 hexadecimal digits or the first 6"),
        ("alba-quartet-1", "is no pair_id"),
        ("", "is no pair_id"),
        ("0" * 17, "is no pair_id"),
        ("0" * 16, "no pair '0000000000000000' in "),
    ],
)
def test_an_unknown_pair_is_one_line(small_corpus: Path, asked: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        find_pairs(small_corpus, asked)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_values_are_told_in_one_line() -> None:
    assert told(None) == ""
    assert told([1, 2]) == "1; 2"
    assert told({"bytes": None, "path": "é"}) == '{"bytes": null, "path": "é"}'
    assert told(" a\n\tb\x1b ") == "a b"
    assert told(1234.56) == "1234.56"
    assert utc(1_700_000_000.9) == "2023-11-14T22:13:20Z"
