"""Who runs the jobs of the fetch stage: processes of this machine, or of the hosts of a cluster."""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from dataset.tasks import PRELOAD, FetchConfig
from dataset.workers import Workers


class Engine(Protocol):
    """Who runs the jobs."""

    def egresses(self) -> Sequence[str]:
        """The names of the addresses from which servers may be asked; each has its own budget."""

    def idle(self, egress: str | None = None) -> int:
        """How many jobs it would begin at once: cuts, or fetches from an address."""

    def give(
        self, ticket: Hashable, task: Callable[[], Any], limit_s: float, egress: str | None = None
    ) -> None:
        """Begin a job, which asks from an address if one is named; at its limit it is ended."""

    def wait(self, timeout_s: float) -> list[tuple[Any, Any]]:
        """(ticket, answer or Ended) of the jobs that ended, within a time."""


class Local(Workers):
    """Processes of this machine, all behind one address."""

    def __init__(self, config: FetchConfig) -> None:
        super().__init__(config.workers + config.cut_workers, PRELOAD)
        self.egress = config.budget.egress

    def egresses(self) -> Sequence[str]:
        """The one address."""
        return [self.egress]

    def idle(self, egress: str | None = None) -> int:
        """As `Workers.idle`: any worker does either."""
        return super().idle()

    def give(
        self, ticket: Hashable, task: Callable[[], Any], limit_s: float, egress: str | None = None
    ) -> None:
        """As `Workers.give`."""
        super().give(ticket, task, limit_s)


def started(data: Path, config: FetchConfig) -> AbstractContextManager[Engine]:
    """The engine that the settings name; UserError when it cannot be had."""
    if config.engine == "local":
        return Local(config)
    from dataset.cluster import Actors  # Ray is installed where it is wanted

    return Actors(data, config)
