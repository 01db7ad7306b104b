"""works.jsonl and articles.jsonl, written from the ends of the pages."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crawler.items import Article, json_line, work_from_dict, write_lines
from crawler.ledger import LEDGER_NAME, Entry, State, damaged
from crawler.pipelines import NOT_REFRESHED, STAGE

FILES = {"work": "works", "article": "articles"}  # kind -> what its file is called


class Artifacts:
    """The works and articles of a folder: the same entries give the same bytes.

    They are sorted on disk, so that however many there are, one is in memory. Entries are added
    in the order of their keys: of a work that two addresses lead to, or that both show, the first
    counts.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._sorted = sqlite3.connect("")  # a file without a name, gone when it is closed
        self._sorted.execute("CREATE TABLE lines (kind, id, line, PRIMARY KEY (kind, id))")
        self._shown: set[str] = set()  # sha256 of the works' pages
        self._said: Counter[str] = Counter()

    def add(self, entry: Entry) -> None:
        """Take the work or article of a page, if it was read; UserError when it is damaged."""
        if entry.state is not State.OK:
            return
        kind, row = _content(self._data, entry)
        self._said["not refreshed"] += (entry.message or "").startswith(NOT_REFRESHED)
        sha256 = row.get("page_sha256")
        line = row[f"{kind}_id"], json_line(row)
        if sha256 in self._shown or not self._is_new(kind, *line):
            self._said["other addresses of a work"] += kind == "work"
        elif kind == "work" and sha256:
            self._shown.add(sha256)

    def _is_new(self, kind: str, name: str, line: str) -> bool:
        """Keep a line, unless there is one of this name."""
        added = self._sorted.execute(
            "INSERT OR IGNORE INTO lines VALUES (?, ?, ?)", (kind, name, line)
        )
        return added.rowcount > 0

    def write(self) -> dict[str, int]:
        """Write both files, each in one step.

        Returns what is worth saying: how many pages are no work of their own, and how many stayed
        as they were when they were asked for again.
        """
        for kind, name in FILES.items():
            query = "SELECT COUNT(*) FROM lines WHERE kind = ?"
            (number,) = self._sorted.execute(query, (kind,)).fetchone()
            write_lines(self._data / f"{name}.jsonl", name, number, self._lines(kind))
        return dict(+self._said)

    def _lines(self, kind: str) -> Iterator[str]:
        query = "SELECT line FROM lines WHERE kind = ? ORDER BY id"
        return (line for (line,) in self._sorted.execute(query, (kind,)))

    def close(self) -> None:
        """Drop what was added."""
        self._sorted.close()


def _content(data: Path, entry: Entry) -> tuple[str, Mapping[str, Any]]:
    """Kind and row of a page that was parsed; UserError when it is none."""
    try:
        kind = entry.result["kind"]
        row: Mapping[str, Any] = entry.result[kind]
        _ = work_from_dict(row) if kind == "work" else Article(**row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(data / LEDGER_NAME, STAGE, entry.item, repr(error)) from error
    return kind, row
