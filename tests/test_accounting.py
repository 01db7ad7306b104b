"""The account of a crawl against counts made by hand."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crawler.accounting import Account, write_stats
from crawler.ledger import Entry, State

FULL = dict.fromkeys(("composer", "title", "movements", "videos", "notes"), "selector")


def work(item: str, **coverage: str | None) -> Entry:
    found = FULL | coverage
    result: dict[str, Any] = {"kind": "work", "coverage": found, "no_prose": not found["notes"]}
    return Entry(stage="page", item=item, state=State.OK, result=result)


def lost(item: str, error_class: str) -> Entry:
    return Entry(stage="page", item=item, state=State.FAILED, error_class=error_class)


def account(entries: Iterable[Entry], pages: int) -> Account:
    result = Account(pages)
    for entry in entries:
        result.add(entry)
    return result


def test_every_page_is_counted_once_and_the_rest_is_pending() -> None:
    entries = [
        work("A"),
        work("B", notes=None),
        lost("C", "gone"),
        lost("D", "blocked"),
        lost("E", "network"),
        lost("F", "network"),
        Entry(stage="page", item="article/G", state=State.OK, result={"kind": "article"}),
    ]
    result = account(entries, 9)
    assert result.counts() == {
        "parsed": 2, "no_prose": 1, "gone": 1, "blocked": 1, "failed: network": 2, "pending": 2,
    }  # fmt: skip


def test_coverage_counts_fields_by_method_over_all_work_pages() -> None:
    entries = [work("A", title="text"), work("B"), work("C", movements=None)]
    entries += [lost("D", "not_work_page"), lost("article/E", "not_work_page")]
    rows = {row["field"]: row for row in account(entries, 5).coverage()}
    assert rows["title"] == {
        "field": "title", "found": 3, "of": 4, "share": 0.75, "owed": 1.0,
        "methods": "selector 2, text 1",
    }  # fmt: skip
    assert (rows["movements"]["found"], rows["movements"]["methods"]) == (2, "selector 2")


def test_a_threshold_is_met_exactly_and_missed_by_one() -> None:
    met = [work(f"{n}", movements="text" if n < 9 else None) for n in range(10)]
    met = [*met[:6], *(work(f"x{n}", notes=None, videos=None) for n in range(4))]
    assert account(met, 10).findings() == []
    missed = [*met[:5], work("y", notes=None), *met[6:]]
    (finding,) = account(missed, 10).findings()
    assert "notes on 5 of 10" in finding
    assert "60%" in finding
    pages = [*met[:5], lost("z", "not_work_page"), *met[6:]]
    told = " ".join(account(pages, 10).findings())
    assert "composer on 9 of 10" in told
    assert "title on 9 of 10" in told
    few = [*(work(f"{n}") for n in range(9)), lost("n", "network"), lost("m", "blocked")]
    (finding,) = account([*few, lost("g", "gone")], 12).findings()
    assert "9 of 11 pages were read" in finding
    assert account([*few[:-1], lost("g", "gone")], 11).findings() == []
    assert account([], 3).findings() == ["no page was read as a work"]


def test_the_stats_say_the_same_for_the_same_pages(tmp_path: Path) -> None:
    result = Account(1)
    result.add(work("A"))
    write_stats(tmp_path, result, {"coverage": result.coverage()})
    first = (tmp_path / "crawl-stats.json").read_bytes()
    write_stats(tmp_path, result, {"coverage": result.coverage()})
    assert (tmp_path / "crawl-stats.json").read_bytes() == first
    stats = json.loads(first)
    assert (stats["pages"], stats["counts"]) == (1, {"parsed": 1})
    assert stats["coverage"][0]["found"] == 1
