"""What a run of the fetch stage is asked to do: which failures again, how many, how fast."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from inline_engine import Inline
from tone_site import (
    ALL,
    CONFIG,
    FIRST,
    OFFSETS,
    SECOND,
    WHOLE,
    corpus,
    data,
    leftovers,
    replica,
    rows,
    works,
)

from crawler.errors import UserError
from crawler.items import Recording, write_works
from crawler.ledger import Ledger, State
from dataset.budget import Budget, BudgetConfig
from dataset.fetch import FetchConfig, fetch, plan
from dataset.pairing import PairConfig, pair
from dataset.workers import Ended
from demo.site import Replica

__all__ = ["corpus", "data", "replica"]

asks = partial(dataclasses.replace, CONFIG)


def media(video: str) -> str:
    return f"/media/{video}.ogg"


def test_failures_are_tried_again_by_their_class_alone(data: Path, replica: Replica) -> None:
    replica.faults |= {media(OFFSETS): "404", media(WHOLE): "html", media(FIRST): "500"}
    fetch(data, CONFIG)
    replica.faults.clear()
    asked = len(replica.requests)
    summary = fetch(data, asks(retry="failed:gone"))
    assert {one.path for one in replica.requests[asked:]} == {
        f"/watch?v={OFFSETS}", media(OFFSETS)
    }  # fmt: skip
    assert summary.counts == {"failed: not_media": 4, "failed: server_error": 2, "ok": 6}
    assert fetch(data, asks(retry="failed")).counts == {"ok": 12}


def test_only_failures_are_tried_again_when_asked_for(data: Path, replica: Replica) -> None:
    fetch(data, asks(limit=1))
    asked = len(replica.requests)
    summary = fetch(data, asks(retry="failed"))
    assert len(replica.requests) == asked
    assert summary.counts["pending"] > 0


def test_a_class_that_there_is_not_is_refused() -> None:
    with pytest.raises(UserError, match=r"fetch.retry 'failed:bad luck': give one of failed, "):
        FetchConfig(retry="failed:bad luck")


def test_a_permanent_failure_is_looked_at_again_after_its_time(
    data: Path, replica: Replica
) -> None:
    replica.faults[media(OFFSETS)] = "404"
    fetch(data, CONFIG)
    replica.faults.clear()
    asked = len(replica.requests)
    assert fetch(data, asks(recheck_after_days=1.0)).counts == {"failed: gone": 4, "ok": 8}
    assert len(replica.requests) == asked
    assert fetch(data, asks(recheck_after_days=0.0)).counts == {"ok": 12}


def test_no_more_than_so_many_sources_are_fetched(data: Path, replica: Replica) -> None:
    summary = fetch(data, asks(limit=2))
    assert (summary.details["fetched"], summary.incomplete) == (2, True)
    assert summary.details["stopped"] == "fetch.limit 2"
    assert summary.counts["pending"] == sum(row.status == "pending" for row in rows(data))
    assert fetch(data, asks(limit=2)).counts == {"ok": 12}
    assert replica.served("/media") == 4


def test_a_dry_run_asks_nobody_and_writes_nothing(data: Path, replica: Replica) -> None:
    before = (data / "pairs.parquet").read_bytes()
    slow = asks(budget=BudgetConfig(per_hour=2))
    summary = plan(data, slow)
    assert summary.details["sources to fetch"] == 4
    assert summary.details["hours"] == 2.0
    assert not replica.requests
    assert (data / "pairs.parquet").read_bytes() == before
    fetch(data, CONFIG)
    (data / "clips" / rows(data)[0].audio["path"].removeprefix("clips/")).unlink()  # type: ignore[index]
    told = plan(data, slow).details
    assert (told["sources to fetch"], told["clips to cut from fetched sources"]) == (0, 1)
    assert (data / "pairs.parquet").read_bytes() != before


def test_a_rate_limit_pauses_everybody_and_is_no_attempt(data: Path, replica: Replica) -> None:
    budget = BudgetConfig(per_hour=100_000, breaker_s=0.2, jitter=0.0)
    replica.faults[media(OFFSETS)] = "429"
    calm = asks(max_wait_s=2.0, budget=budget)

    def calm_down() -> None:
        while not any(one.status == 429 for one in replica.requests):
            time.sleep(0.01)
        replica.faults.clear()

    threading.Thread(target=calm_down, daemon=True).start()
    summary = fetch(data, calm)
    assert summary.counts == {"ok": 12}, "with attempts=1: no attempt was lost"
    limited = next(one for one in replica.requests if one.status == 429)
    after = [one for one in replica.requests if one.time_s > limited.time_s + 0.05]
    assert min(one.time_s for one in after) >= limited.time_s + 0.9, "Retry-After: 1"


def test_a_longer_wait_than_allowed_ends_the_fetching_of_a_run(
    data: Path, replica: Replica
) -> None:
    replica.faults[media(OFFSETS)] = "429"
    summary = fetch(data, asks(max_wait_s=0.5))
    assert summary.incomplete
    assert summary.counts.keys() <= {"failed: rate_limited", "pending", "ok"}
    assert "rate limit" in summary.details["stopped"]
    asked = len(replica.requests)
    assert fetch(data, asks(max_wait_s=0.5)).incomplete or replica.requests[asked:]


def test_the_budget_is_kept_over_runs(data: Path, replica: Replica) -> None:
    two = asks(budget=BudgetConfig(per_hour=2))
    engine = Inline()
    stop_after = 2

    def stop(done: int, total: int) -> None:
        if done >= stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    stop_after = 1
    fetch(data, two, stop, engine=engine)
    assert replica.served("/watch") == 1
    with Ledger(data) as ledger:
        assert Budget(ledger, two.budget).wait_s() > 60


def test_a_text_whose_recording_is_gone_turns_to_its_alternate(
    tmp_path: Path, replica: Replica
) -> None:
    folder = tmp_path / "chosen"
    write_works(folder / "works.jsonl", works(replica.address))
    pair(folder, PairConfig())
    chosen = {row.youtube_id for row in rows(folder) if row.status == "pending"}
    assert chosen == {OFFSETS}
    replica.faults[media(OFFSETS)] = "404"
    summary = fetch(folder, CONFIG)
    assert summary.counts == {"failed: gone": 4, "filtered: alternate": 4, "ok": 4}
    before = (folder / "pairs.parquet").read_bytes()
    assert fetch(folder, CONFIG).work_done == 0
    pair(folder, PairConfig())
    fetch(folder, CONFIG)
    assert (folder / "pairs.parquet").read_bytes() == before


def test_with_little_space_left_nothing_new_is_begun(data: Path, replica: Replica) -> None:
    summary = fetch(data, asks(min_free_mb=1e9))
    assert summary.counts == {"pending": 12}
    assert summary.incomplete
    assert "MB are free, fetch.min_free_mb is 1e+09" in summary.details["stopped"]
    assert not replica.requests


def test_a_fetch_that_takes_too_long_is_ended_whole(data: Path, replica: Replica) -> None:
    replica.faults[media(OFFSETS)] = "drip"
    begun = time.monotonic()
    summary = fetch(data, asks(max_fetch_s=2.0, timeout_s=30.0))
    assert summary.counts == {"failed: network": 4, "ok": 8}
    assert time.monotonic() - begun < 15
    messages = {row.error_message for row in rows(data) if row.status == "failed"}
    assert messages == {"it took longer than 2 s"}


@dataclasses.dataclass
class Dying(Inline):
    """An engine whose worker ends instead of answering, the first times that it cuts."""

    why: str = "killed by SIGKILL"
    times: int = 1

    def __post_init__(self) -> None:
        super().__init__()

    def give(self, ticket: Any, task: Any, limit_s: float, egress: str | None = None) -> None:
        if ticket[0] == "cut" and self.times:
            self.times -= 1
            self.ended.append((ticket, Ended(self.why, overtime=False)))
            return
        super().give(ticket, task, limit_s)


@pytest.mark.parametrize("why", ["killed by SIGKILL", "killed by SIGSEGV"])
def test_a_worker_that_dies_once_costs_nothing(data: Path, replica: Replica, why: str) -> None:
    assert fetch(data, CONFIG, engine=Dying(why)).counts == {"ok": 12}
    assert replica.served("/media") == 4
    assert not leftovers(data)


@pytest.mark.parametrize(
    ("why", "expected"),
    [("killed by SIGSEGV", "not_media"), ("killed by SIGKILL", "extractor")],
)
def test_a_decoder_that_crashes_twice_fails_its_clips(data: Path, why: str, expected: str) -> None:
    summary = fetch(data, CONFIG, engine=Dying(why, times=2))
    assert summary.counts.keys() == {f"failed: {expected}", "ok"}
    assert summary.incomplete is (expected == "extractor")


def test_a_killed_worker_is_replaced(data: Path, replica: Replica) -> None:
    script = f"""
import os, signal
from pathlib import Path
if __name__ == "__main__":
    from dataset.workers import Workers
    real = Workers.give
    def give(self, ticket, task, limit_s):
        real(self, ticket, task, limit_s)
        if not hasattr(self, "struck"):
            self.struck = True
            os.kill(self._workers[-1].process.pid, signal.SIGKILL)
    Workers.give = give
    from dataset.fetch import FetchConfig, fetch
    config = FetchConfig(allow_loopback=True, min_clip_s=0.5, min_free_mb=0)
    print(fetch(Path({str(data)!r}), config).counts)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.stdout == "{'ok': 12}\n", done.stderr
    with Ledger(data, read_only=True) as ledger:
        assert {one.state for one in ledger.entries("cut").values()} == {State.OK}


def test_a_part_of_a_joined_movement_is_fetched_once(tmp_path: Path, replica: Replica) -> None:
    """Two movements of which one is a file alone and the other that file and a second one."""
    pair_config = ALL
    (work,) = works(replica.address)
    single = work.recordings[1]
    both = tuple(
        dataclasses.replace(
            one, movement=1, video_id=f"joined{number}", name=f"Allegro (part {number} of 2)"
        )
        for number, one in enumerate(single.parts, start=1)
    )
    joined = Recording(recording_id="joined1", performers=("B",), parts=both)
    work = dataclasses.replace(work, recordings=(single, joined))
    write_works(tmp_path / "works.jsonl", [work])
    pair(tmp_path, pair_config)
    summary = fetch(tmp_path, CONFIG)
    assert summary.counts == {"filtered: movement_not_recorded": 2, "ok": 6}
    assert (replica.served(media(FIRST)), replica.served(media(SECOND))) == (1, 1)
