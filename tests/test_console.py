"""What a person sees of a stage."""

from pathlib import Path
from typing import Any

import pytest

from crawler.console import plain_progress, show, show_rows, shown, width_needed
from crawler.summary import Summary

ROWS: list[dict[str, Any]] = [
    {"class": "movement in several files", "count": 4, "example": "Wolfgang-" * 9 + "K-515"},
    {"class": "[red]markup[/red]", "count": 12, "example": None},
]


def printed(capsys: pytest.CaptureFixture[str], columns: int) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        show_rows("anomalies", ROWS)
    return capsys.readouterr().out


def test_rows_are_a_table_whose_long_words_may_break(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, 80)
    assert out.splitlines()[0].strip() == "anomalies"
    assert max(map(len, out.splitlines())) <= 80
    assert "[red]markup[/red]" in out
    assert ROWS[0]["example"] in "".join(line[35:].strip() for line in out.splitlines())


def test_a_narrow_terminal_gets_a_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, 40).splitlines()
    assert lines[0] == "anomalies"
    assert lines[1].startswith("  class movement in several files, count 4, example Wolfgang-")
    assert lines[2] == "  class [red]markup[/red], count 12"


def test_a_line_a_row_is_broken_between_words_where_that_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    show_rows("anomalies", ROWS, wrap=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["  class movement in several files, count", "    4, example"]
    assert lines[3].strip() == ROWS[0]["example"]  # which can be copied whole


def test_a_list_too_long_for_a_terminal_is_cut_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lost = [{"item": f"clip-{number}"} for number in range(1_250)]
    show(Summary(stage="s", total=0, counts={}, artifact=Path("x"), details={"missing": lost}))
    out = capsys.readouterr().out
    assert "clip-99 " in out
    assert "clip-100" not in out
    assert "and 1,150 others: --json lists them all" in out


def test_lists_are_shown_without_brackets() -> None:
    assert shown([3, 4]) == "3 4"
    assert shown(("a, b", "c")) == "a, b; c"
    assert shown([]) == ""


def test_a_table_needs_its_widest_words_and_two_blanks_a_column() -> None:
    assert width_needed([["class", "n"], ["one of them", "1234"]]) == 5 + 2 + 4 + 2
    assert width_needed([["x" * 200, ""]]) == 28 + 2 + 2


def test_progress_without_a_terminal_is_a_line_with_the_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = plain_progress("fetch", every_s=0.0)
    progress(0, 4)
    progress(1, 4)
    assert capsys.readouterr().err == "fetch: 1 of 4, 0 s left\n"
