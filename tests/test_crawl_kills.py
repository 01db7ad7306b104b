"""SIGKILL at random moments against the real command: nothing lost, nothing done twice."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.kills import Survival, kill_crawls

WELL = Survival(
    wanted=10, kills=10, pages=100, asked=104, most_asked=2, temporary=0, orphans=0, damaged=(),
    same_pages=True, same_artifacts=True,
)  # fmt: skip


@pytest.mark.slow
def test_ten_kills_lose_no_page_and_change_no_byte(tmp_path: Path) -> None:
    survival = kill_crawls(tmp_path, kills=10, seed=11)
    assert survival.problems == []
    assert survival.asked >= survival.pages == 245


@pytest.mark.parametrize(
    "broken",
    [
        replace(WELL, kills=9),
        replace(WELL, most_asked=12),
        replace(WELL, asked=141),
        replace(WELL, temporary=1),
        replace(WELL, orphans=1),
        replace(WELL, damaged=("pages/aa.html.gz",)),
        replace(WELL, same_pages=False),
        replace(WELL, same_artifacts=False),
    ],
)
def test_every_broken_promise_is_named(broken: Survival) -> None:
    assert WELL.problems == []
    assert len(broken.problems) == 1
