"""What a stage did: counts that add up, and the file it made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Progress = Callable[[int, int], None]  # (items done, items in all)


def silent(done: int, total: int) -> None:
    """Report no progress."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The result of a stage: how every input ended, what was made, what else is worth saying."""

    stage: str
    total: int  # inputs
    counts: Mapping[str, int]  # "ok", "failed: gone", "filtered: too_short", ... -> inputs
    artifact: Path | str  # the file or folder that the next stage reads; or its address
    details: Mapping[str, Any] = field(default_factory=dict)  # further figures, JSON values
    work_done: int = 0  # things made by this very run; 0 when everything was there already
    incomplete: bool = False  # something is pending or transient: run again

    def __post_init__(self) -> None:
        counted = sum(self.counts.values())
        assert counted == self.total, (
            f"{self.stage}: {self.total} inputs but {counted} counted: {dict(self.counts)}"
        )
