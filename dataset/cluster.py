"""The jobs of the fetch stage on the hosts of a Ray cluster, as `Workers` run them on one machine.

Every host sees the data folder under the same path. Its files are written there under temporary
names by whoever has a job; ledger, index and final names are the driver's alone.
"""

import logging
import os
import signal
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crawler.errors import UserError
from crawler.ledger import LOCK_NAME
from dataset.tasks import PRELOAD, FetchConfig
from dataset.workers import Ended, Workers

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise UserError(
        "fetch.engine 'ray' needs the package ray: pip install 'earscribe[cluster]', or give "
        "--engine local"
    ) from error

EGRESS = "egress"  # the resource of a host that may ask servers
CONNECT_S = 5.0
LOOK_S = 1.0  # between two looks of an actor at its task


class Runner:
    """An actor: a process on some host that runs one task at a time in a process of its own."""

    def __init__(self, data: str, holder: str) -> None:
        self.data, self.holder = Path(data), holder
        self.workers = Workers(1, PRELOAD)

    def run(self, task: Callable[[], Any], limit_s: float) -> tuple[str | None, Any]:
        """The NodeID of its host, and the answer or Ended.

        UserError when the host does not see the data folder.
        """
        try:
            shared = (self.data / LOCK_NAME).read_text() == self.holder
        except OSError:
            shared = False
        if not shared:
            raise UserError(
                f"the host {socket.gethostname()} does not see {self.data}: all hosts of the "
                "cluster must share the data folder under this path"
            )
        self.workers.give("task", task, limit_s)
        while not (ended := self.workers.wait(LOOK_S)):
            pass
        host = ray.get_runtime_context().get_node_id() if ray.is_initialized() else None
        return host, ended[0][1]


@dataclass(slots=True, eq=False)
class Actor:
    """A `Runner` and where it is."""

    handle: Any
    node: str | None  # the host of one that asks servers; cuts run anywhere
    host: str | None = None  # where it ran last; both are a NodeID


def living_nodes() -> list[dict[str, Any]]:
    """The hosts of the cluster, as Ray describes them."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def is_egress(node: dict[str, Any]) -> bool:
    """Whether a host may ask servers."""
    return EGRESS in node["Resources"]


def refuse_silence(address: str) -> None:
    """OSError or ValueError when nobody hears at HOST:PORT, where Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), CONNECT_S).close()


class Actors:
    """An Engine on a cluster: fetches on hosts with an egress slot, cuts on any."""

    def __init__(self, data: Path, config: FetchConfig) -> None:
        self.config = config
        self.folder = str(data.resolve()), str(os.getpid())  # and who holds its lock
        self.free: defaultdict[str | None, list[Actor]] = defaultdict(list)  # by their nodes
        self.running: dict[Any, tuple[Hashable, Actor]] = {}  # by the reference of the answer
        self.ended: list[tuple[Hashable, Any]] = []

    def __enter__(self) -> Self:
        before = signal.getsignal(signal.SIGTERM)
        address = self.config.address
        own: dict[str, Any] = {} if address else {"resources": {EGRESS: 1}}
        try:
            if address and address != "auto":
                refuse_silence(address)
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"no Ray cluster at fetch.address {address!r} ({reason}): give that of its head, "
                "HOST:PORT, or auto on one of its hosts, and the RAY_AUTH_MODE that they have"
            ) from error
        finally:
            if before is not None and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray's handler would not drain
        if not self.egresses():
            self.__exit__(None, None, None)
            raise UserError(
                f"no host of the Ray cluster at {address} has an egress slot: begin those that "
                f"may ask servers with ray start --resources '{{\"{EGRESS}\": 1}}'"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ray.shutdown()  # ends the actors, and with them what they run

    def egresses(self) -> Sequence[str]:
        """The addresses of the living hosts that have an egress slot."""
        return sorted({one["NodeManagerAddress"] for one in living_nodes() if is_egress(one)})

    def idle(self, egress: str | None = None) -> int:
        """How many more cuts there are CPUs for; fetches need none."""
        if egress is not None:
            return self.config.workers
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cuts = sum(actor.node is None for _, actor in self.running.values())
        return int(resources.get("CPU", 0)) - cuts

    def give(
        self, ticket: Hashable, task: Callable[[], Any], limit_s: float, egress: str | None = None
    ) -> None:
        """As `Workers.give`; with an address, on the least busy host that has it."""
        actor = self.actor(egress)
        answer = actor.handle.run.remote(task, limit_s)
        self.running[answer] = ticket, actor

    def actor(self, egress: str | None) -> Actor:
        """A free actor, or a new one."""
        node = None if egress is None else self.node(egress)
        living = {one["NodeID"] for one in living_nodes()}
        while self.free[node]:
            actor = self.free[node].pop()
            if actor.host in living:
                return actor
        options: dict[str, Any] = {"num_cpus": 1}
        if node is not None:
            options["num_cpus"] = 0
            options["resources"] = {EGRESS: 1 / self.config.workers}
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        return Actor(ray.remote(Runner).options(**options).remote(*self.folder), node)

    def node(self, egress: str) -> str:
        """The host with fewest fetches of those behind an address."""
        busy = Counter(actor.node for _, actor in self.running.values())
        nodes: list[str] = [
            one["NodeID"]
            for one in living_nodes()
            if is_egress(one) and one["NodeManagerAddress"] == egress
        ]
        return min(nodes, key=lambda node: (busy[node], node))

    def wait(self, timeout_s: float) -> list[tuple[Hashable, Any]]:
        """As `Workers.wait`; Ended for what was on a host that is lost."""
        references = list(self.running)
        ready, _ = ray.wait(references, num_returns=len(references), timeout=timeout_s)
        return [self.answer(reference) for reference in ready]

    def answer(self, reference: Any) -> tuple[Hashable, Any]:
        """What became of a job."""
        ticket, actor = self.running.pop(reference)
        try:
            actor.host, answer = ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        except RayError as error:
            ray.kill(actor.handle)
            reason = str(error).splitlines()[0]
            told = f"its host or process was lost ({reason})"
            return ticket, Ended(told, overtime=False, lost=True)
        self.free[actor.node].append(actor)
        return ticket, answer
