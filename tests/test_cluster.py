"""Jobs on the hosts of a Ray cluster: what is lost with a host is done by another."""

import dataclasses
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from inline_engine import Inline
from tone_site import CONFIG, corpus, data, replica

from crawler.errors import UserError
from crawler.files import TEMPORARY_PREFIX
from crawler.ledger import LEDGER_NAME, LOCK_NAME, Ledger, State
from dataset.budget import Budget, BudgetConfig
from dataset.fetch import fetch
from dataset.index import PAIRS_NAME
from dataset.pairing import pair
from dataset.pairs import ErrorClass
from dataset.tasks import Failed
from dataset.workers import Ended
from demo.run import CORPUS, demo_config
from demo.site import serve

__all__ = ["corpus", "data", "replica"]

pytestmark = pytest.mark.xdist_group("ray")
asks = partial(dataclasses.replace, CONFIG)


QUICK = {  # by default Ray takes a quarter of a minute to see that a host is lost
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 300,
    "health_check_failure_threshold": 3,
}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head and a second host, each with a slot for fetches, on one machine."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as short:  # sockets lie in it
        before = signal.getsignal(signal.SIGTERM)  # Ray sets another
        monkeypatch.setenv("RAY_TMPDIR", short)
        (Path(short) / "ray").mkdir()
        own = {"resources": {"egress": 1}, "object_store_memory": 80_000_000}
        made = cluster_utils.Cluster(
            initialize_head=True,
            head_node_args={
                **own,
                "num_cpus": 1,
                "include_dashboard": False,
                "_system_config": QUICK,
            },
        )
        made.second = made.add_node(num_cpus=1, **own)
        try:
            yield made
        finally:
            made.shutdown()
            signal.signal(signal.SIGTERM, before)


CRAWL = """
import dataclasses, sys
from pathlib import Path
from crawler.crawl import crawl
from demo.run import demo_config
site = sys.argv[2]
config = demo_config({}).crawl
crawl(Path(sys.argv[1]), dataclasses.replace(config, site=site, video_url=site + "/watch?v={id}"))
"""


@pytest.mark.slow
def test_the_demo_on_two_hosts_of_which_one_is_lost_is_as_on_one_machine(
    tmp_path: Path, cluster: Any
) -> None:
    actors = pytest.importorskip("dataset.cluster")
    local, shared = tmp_path / "local", tmp_path / "shared"
    config = demo_config({})
    basic = dataclasses.replace(config.fetch, measures="basic")
    with serve(CORPUS) as replica:
        # A process crawls once.
        subprocess.run([sys.executable, "-c", CRAWL, local, replica.address], check=True)
        pair(local, config.pair)
        shutil.copytree(local, shared)
        fetch(local, basic)
        asked = len(replica.requests)
        done: list[tuple[int, set[str]]] = []

        def take_away() -> None:
            """Lose the second host while it fetches or cuts something."""
            while len(sources_of(shared)) < 5 or cluster.second.node_id not in hosts_of(engine):
                time.sleep(0.002)
            done.append((len(replica.requests), sources_of(shared)))
            cluster.remove_node(cluster.second, allow_graceful=False)

        def lose(finished: int, total: int) -> None:
            if finished and not losing.ident:
                losing.start()

        losing = threading.Thread(target=take_away, daemon=True)
        on_ray = dataclasses.replace(basic, engine="ray", address=cluster.address)
        with actors.Actors(shared, on_ray) as engine:
            summary = fetch(shared, on_ray, lose, engine=engine)
            losing.join(10)
        [(lost_at, had)] = done
        again = Counter(one.path for one in replica.requests[asked:])
        later = {one.path for one in replica.requests[lost_at:]}
    index = PAIRS_NAME
    assert (shared / index).read_bytes() == (local / index).read_bytes()
    assert was_lost(shared)
    assert not summary.incomplete
    assert len(had) >= 5
    assert not later & {f"/watch?v={video}" for video in had}, "asked for again after its commit"
    assert sum(number > 1 for number in again.values()) <= 4, "what the lost host had in hand"
    assert not list(shared.rglob(f"{TEMPORARY_PREFIX}*"))


def hosts_of(engine: Any) -> set[str | None]:
    """Where jobs are in hand, as far as that is known."""
    actors = [actor for _, actor in list(engine.running.values())]
    return {actor.node for actor in actors} | {actor.host for actor in actors}


def was_lost(data: Path) -> bool:
    """Whether a job was in hand on a host when that was lost."""
    with sqlite3.connect(data / LEDGER_NAME) as db:
        [(number,)] = db.execute("SELECT COUNT(*) FROM attempts WHERE message LIKE '%was lost%'")
    db.close()
    return bool(number)


def sources_of(data: Path) -> set[str]:
    """What has been fetched and committed."""
    with Ledger(data, read_only=True) as ledger:
        entries = ledger.entries("source").values()
    return {entry.item for entry in entries if entry.state is State.OK}


# --- without a cluster ------------------------------------------------------------------------


class Two(Inline):
    """Two addresses, of which one is always one too many."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def egresses(self) -> list[str]:
        return ["here", "there"]

    def give(
        self, ticket: Any, task: Callable[[], Any], limit_s: float, egress: str | None = None
    ) -> None:
        if egress:
            self.asked.append(egress)
        if egress == "here":
            refused = Failed(ErrorClass.RATE_LIMITED, "too many")
            self.ended.append((ticket, [refused]))
        else:
            super().give(ticket, task, limit_s, egress)


def test_an_address_that_is_refused_keeps_no_other_from_asking(data: Path) -> None:
    two = Two()
    quick = BudgetConfig(per_hour=100_000, breaker_s=0.01, jitter=0.0)
    assert fetch(data, asks(budget=quick), engine=two).counts == {"ok": 12}
    assert 1 <= two.asked.count("here") <= 5
    assert two.asked.count("there") == 4


def test_each_address_has_its_own_budget(data: Path) -> None:
    two = Two()
    patient = BudgetConfig(per_hour=100_000, breaker_s=3_600.0, jitter=0.0)
    assert fetch(data, asks(budget=patient), engine=two).counts == {"ok": 12}
    assert two.asked.count("here") == 1
    with Ledger(data) as ledger:
        there, here = (
            Budget(ledger, dataclasses.replace(patient, egress=name)).wait_s()
            for name in ("there", "here")
        )
    assert there == 0 < 3_000 < here


class Losing(Inline):
    """Loses every job some times before it runs it."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times, self.given = times, Counter[Any]()

    def give(
        self, ticket: Any, task: Callable[[], Any], limit_s: float, egress: str | None = None
    ) -> None:
        self.given[ticket] += 1
        if self.given[ticket] <= self.times:
            self.ended.append((ticket, Ended("its host was lost", overtime=False, lost=True)))
        else:
            super().give(ticket, task, limit_s, egress)


def test_what_is_lost_with_its_host_is_no_attempt(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataset.schedule.LOST_PAUSE_S", 0.0)
    assert fetch(data, asks(attempts=1), engine=Losing(6)).counts == {"ok": 12}


def test_what_takes_every_host_down_with_it_fails(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataset.schedule.LOST_PAUSE_S", 0.0)
    summary = fetch(data, asks(attempts=1), engine=Losing(1_000))
    assert summary.counts == {"failed: extractor": 12}
    assert summary.incomplete


def test_a_run_ends_when_no_host_that_may_ask_is_left(data: Path) -> None:
    none = Inline()
    none.egresses = lambda: []  # type: ignore[method-assign]
    summary = fetch(data, CONFIG, engine=none)
    assert summary.counts == {"pending": 12}
    assert summary.incomplete
    assert summary.details["stopped"] == "no host that may ask servers is left"


def test_without_ray_its_name_is_said(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dataset.cluster", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'earscribe\[cluster\]'"):
        fetch(data, asks(engine="ray"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", ":", "127.0.0.1:99999"])
def test_an_address_where_nobody_hears_is_one_line(data: Path, address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=f"no Ray cluster at fetch.address '{address}'"):
        fetch(data, asks(engine="ray", address=address))


def test_a_host_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    cluster = pytest.importorskip("dataset.cluster")
    with pytest.raises(UserError, match="must share the data folder under this path"):
        cluster.Runner(str(tmp_path), "1").run(partial(divmod, 7, 2), 1.0)
    (tmp_path / LOCK_NAME).write_text("2")
    with pytest.raises(UserError, match=f"does not see {tmp_path}"):
        cluster.Runner(str(tmp_path), "1").run(partial(divmod, 7, 2), 1.0)


def test_an_actor_answers_and_ends_what_takes_too_long(tmp_path: Path) -> None:
    cluster = pytest.importorskip("dataset.cluster")
    (tmp_path / LOCK_NAME).write_text("1")
    runner = cluster.Runner(str(tmp_path), "1")
    with runner.workers:
        host, answer = runner.run(partial(divmod, 7, 2), 60.0)
        assert (host, answer) == (None, (3, 1))
        _, late = runner.run(partial(time.sleep, 60), 0.1)
        assert late.overtime
