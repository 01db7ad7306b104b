"""An engine that runs every job at once in the process of the test."""

from collections.abc import Callable, Hashable
from typing import Any


class Inline:
    """Runs jobs when they are given, so that what a test patches is what runs."""

    def __init__(self) -> None:
        self.ended: list[tuple[Any, Any]] = []

    def egresses(self) -> list[str]:
        """One address."""
        return ["default"]

    def idle(self, egress: str | None = None) -> int:
        """One job at a time."""
        return 0 if self.ended else 1

    def give(
        self, ticket: Hashable, task: Callable[[], Any], limit_s: float, egress: str | None = None
    ) -> None:
        """Run a job."""
        self.ended.append((ticket, task()))

    def wait(self, timeout_s: float) -> list[tuple[Any, Any]]:
        """What was run since the last time."""
        ended, self.ended = self.ended, []
        return ended
