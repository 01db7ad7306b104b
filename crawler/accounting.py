"""How every page ended, which fields were found how, and what a full crawl owes."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crawler.files import write_atomic
from crawler.ledger import Entry, State

STATS_NAME = "crawl-stats.json"
STATS_VERSION = 1
OWED = {  # field -> share of the work pages on which a full crawl has to find it
    "composer": 1.0,
    "title": 1.0,
    "movements": 0.9,
    "videos": 0.6,
    "notes": 0.6,
}
READ_OWED = 0.9  # share of the pages that are not gone which a full crawl has to read


@dataclass
class Account:
    """Counts over the pages of a crawl, filled one page at a time."""

    pages: int  # that were wanted
    ends: Counter[str] = field(default_factory=Counter)
    work_pages: int = 0  # that were read as works, or should have been
    # field -> method, None for not at all -> works
    methods: dict[str, Counter[str | None]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Count one page."""
        self.ends[outcome(entry)] += 1
        lost = entry.error_class in ("not_work_page", "parser")
        if "coverage" in entry.result or (lost and not entry.item.startswith("article/")):
            self.work_pages += 1
        for name, method in entry.result.get("coverage", {}).items():
            self.methods.setdefault(name, Counter())[method] += 1

    def counts(self) -> dict[str, int]:
        """Outcome -> pages; they add up to `pages`."""
        pending = self.pages - sum(self.ends.values())
        return dict(sorted((self.ends + Counter(pending=pending)).items()))

    def coverage(self) -> list[dict[str, Any]]:
        """A row a field: on how many work pages it was found, and by which method."""
        names = list(dict.fromkeys([*self.methods, *OWED])) if self.work_pages else []
        return [self._row(name, self.methods.get(name, Counter())) for name in names]

    def _row(self, name: str, methods: Counter[str | None]) -> dict[str, Any]:
        found = sum(methods.values()) - methods[None]
        told = sorted((method, number) for method, number in methods.items() if method)
        return {
            "field": name,
            "found": found,
            "of": self.work_pages,
            "share": round(found / self.work_pages, 4),
            "owed": OWED.get(name),
            "methods": ", ".join(f"{method} {number}" for method, number in told),
        }

    def findings(self) -> list[str]:
        """A line where too few pages were read, and one for every field found too seldom."""
        if not self.work_pages:
            return ["no page was read as a work"]
        there = self.pages - self.ends["gone"]
        read = self.ends["parsed"] + self.ends["no_prose"]
        few = f"{read} of {there} pages were read ({read / max(there, 1):.1%}), {READ_OWED:.0%}"
        return [f"{few} are expected"] * (read < READ_OWED * there) + [
            f"{row['field']} on {row['found']} of {row['of']} work pages "
            f"({row['share']:.1%}), {row['owed']:.0%} are expected: see `earscribe probe`"
            for row in self.coverage()
            if row["owed"] is not None and row["found"] < row["owed"] * row["of"]
        ]


def outcome(entry: Entry) -> str:
    """How a page ended, in one word or `failed: <class>`."""
    if entry.state is State.OK:
        return "no_prose" if entry.result.get("no_prose") else "parsed"
    if entry.state is State.PENDING:
        return "pending"
    known = entry.error_class in ("gone", "blocked")
    return str(entry.error_class) if known else f"failed: {entry.error_class}"


def write_stats(data: Path, result: Account, details: Mapping[str, Any]) -> None:
    """Write crawl-stats.json: the counts and what a summary says besides, no times."""
    stats = {"earscribe_crawl_stats": STATS_VERSION, "pages": result.pages,
             "counts": result.counts(), **details}  # fmt: skip
    write_atomic(data / STATS_NAME, (json.dumps(stats, indent=1) + "\n").encode())
