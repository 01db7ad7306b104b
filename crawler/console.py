"""What a person sees of a stage: its progress, its summary, its rows."""

import dataclasses
import json
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from crawler.summary import Progress, Summary

MOST_ROWS = 100  # of a list in a summary
FOLDED = 28  # characters of a word, such as a slug, that a table may break


def show(summary: Summary, *, as_json: bool = False) -> None:
    """Print a summary as a table, or as one line of JSON."""
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(summary), default=str))
        return
    rows = [{"outcome": key, "number": number} for key, number in sorted(summary.counts.items())]
    show_rows(summary.stage, [*rows, {"outcome": "in all", "number": summary.total}])
    for key, value in summary.details.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            show_rows(key, value[:MOST_ROWS])
            if len(value) > MOST_ROWS:
                typer.echo(f"and {len(value) - MOST_ROWS:,} others: --json lists them all")
        elif isinstance(value, dict):
            typer.echo(f"{key}: " + ", ".join(f"{k} {shown(v)}" for k, v in value.items()))
        elif value not in (None, [], ""):
            typer.echo(f"{key}: {shown(value)}")
    done = f"{summary.work_done} done now" if summary.work_done else "nothing new"
    typer.echo(f"{summary.artifact} ({done})\n")


def show_rows(title: str, rows: list[dict[str, Any]], *, wrap: bool = False) -> None:
    """Print dicts with equal keys as a table, or as a line a row on a narrow terminal.

    `wrap` breaks such a line between words.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    cells = [list(map(shown, row.values())) for row in rows]
    console = Console()
    if width_needed([list(rows[0]), *cells]) > console.width:
        typer.echo(title)
        for row in rows:
            told = {key: text for key, value in row.items() if (text := shown(value))}
            line = "  " + ", ".join(f"{key} {text}" for key, text in told.items())
            typer.echo(wrapped(line, console.width) if wrap else line)
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column, value in rows[0].items():
        number = isinstance(value, int | float)
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row_cells in cells:
        table.add_row(*row_cells)
    console.print(table, markup=False)


def say(text: str) -> None:
    """Print a sentence, broken between words where the terminal is narrow."""
    from rich.console import Console

    typer.echo(wrapped(text, Console().width))


def wrapped(line: str, columns: int) -> str:
    """A line broken between words, what follows set in; a longer word, such as an id, is whole."""
    return textwrap.fill(
        line, columns, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def width_needed(lines: Sequence[Sequence[str]]) -> int:
    """Characters that a table needs to break none of its words, but for the longest."""
    columns = zip(*lines, strict=True)
    words = ([word for cell in column for word in cell.split()] for column in columns)
    return sum(min(max(map(len, found), default=0), FOLDED) + 2 for found in words)


def shown(value: Any) -> str:
    """A figure for people."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        numbers = all(isinstance(item, int | float) for item in value)
        return (" " if numbers else "; ").join(map(shown, value))
    return "" if value is None else str(value)


@contextmanager
def progress_bar(name: str) -> Iterator[Progress]:
    """A bar with rate and time left on a terminal, else a plain line every ten seconds."""
    if not sys.stderr.isatty():
        yield plain_progress(name)
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, rate="")
        begun = time.monotonic()

        def progress(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - begun, 1e-3)
            bar.update(task, completed=done, total=total, rate=f"{rate:.1f}/s")

        yield progress


def plain_progress(name: str, every_s: float = 10.0) -> Progress:
    """Lines on standard error, at most one in `every_s` seconds."""
    last = begun = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every_s and done:
            last = now
            left_s = (now - begun) / done * (total - done)
            typer.echo(f"{name}: {done} of {total}, {left_s:.0f} s left", err=True)

    return progress
