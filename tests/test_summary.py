"""What a stage says of itself."""

from pathlib import Path

import pytest

from crawler.summary import Summary


def test_counts_that_do_not_add_up_are_our_own_bug() -> None:
    Summary(stage="pair", total=3, counts={"ok": 2, "failed: gone": 1}, artifact=Path("x"))
    with pytest.raises(AssertionError, match="pair: 3 inputs but 2 counted"):
        Summary(stage="pair", total=3, counts={"ok": 2}, artifact=Path("x"))
