"""The hourly budget under any use, restart and clock; the breaker and its probe."""

import itertools
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.errors import UserError
from crawler.ledger import Ledger
from dataset.budget import HOUR_S, Budget, BudgetConfig


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger(tmp_path_factory.mktemp("budget")) as one:
        yield one


names = itertools.count()


@dataclass
class World:
    """A machine with its clocks, a budget on it, and what a site sees."""

    ledger: Ledger
    config: BudgetConfig
    time_s: float = 1_000_000.0  # as the site has it
    wall_s: float = 1.7e9  # what the clock on the wall is ahead
    boot_s: float = 900_000.0
    starts: list[float] = field(default_factory=list)
    open_until_s: float = 0.0
    was_set: bool = False
    misled: int = 0  # boots with a clock that was set

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.budget = Budget(
            self.ledger,
            self.config,
            clock=lambda: self.time_s + self.wall_s,
            steady=lambda: self.time_s - self.boot_s,
            chance=random.Random(1),
        )

    def boot(self) -> None:
        self.boot_s = self.time_s
        if self.was_set:  # and while it is off, that clock is believed
            self.misled += 1
            self.open_until_s = 0.0
        self.was_set = False
        self.restart()

    def rest(self, seconds: float) -> None:
        self.time_s += seconds

    def set_clock(self, seconds: float) -> None:
        """Set the clock on the wall."""
        self.wall_s += seconds
        self.was_set = True

    def fetch(self, number: int = 1) -> None:
        """As many fetches as are allowed at once, at most `number`."""
        for _ in range(number):
            if self.budget.wait_s():
                return
            self.budget.spend()
            assert self.time_s >= self.open_until_s
            self.starts.append(self.time_s)

    def fetch_in_time(self, number: int) -> None:
        """As many fetches, each as soon as it is allowed."""
        for _ in range(number):
            self.rest(self.budget.wait_s())
            self.fetch()

    def refuse(self, retry_after_s: float | None) -> None:
        self.open_until_s = self.time_s + self.budget.trip(retry_after_s) - 0.001

    def succeed(self) -> None:
        self.budget.relax()

    def busiest_hour(self) -> int:
        hours = (sum(s <= t < s + HOUR_S for t in self.starts) for s in self.starts)
        return max(hours, default=0)


@pytest.fixture
def make(ledger: Ledger) -> Any:
    def world(**given: Any) -> World:
        return World(ledger, BudgetConfig(egress=f"{next(names)}", **given))

    return world


SECONDS = st.one_of(st.floats(0.0, 30.0), st.floats(0.0, 2 * HOUR_S), st.just(HOUR_S))
JUMPS = st.one_of(st.floats(-1e7, 1e7), st.sampled_from([-HOUR_S, HOUR_S]))
NUMBERS = st.integers(1, 40)
DEEDS = st.one_of(
    st.tuples(st.just("rest"), SECONDS),
    st.tuples(st.just("fetch"), NUMBERS),
    st.tuples(st.just("fetch_in_time"), NUMBERS),
    st.tuples(st.just("set_clock"), JUMPS),
    st.tuples(st.sampled_from(["restart", "boot", "succeed"])),
    st.tuples(st.just("refuse"), st.none() | SECONDS),
)


@settings(deadline=None, max_examples=150)
@given(per_hour=st.integers(1, 60), deeds=st.lists(DEEDS, max_size=30))
def test_no_hour_has_more_fetches_than_the_budget_whatever_happens(
    ledger: Ledger, per_hour: int, deeds: list[tuple[Any, ...]]
) -> None:
    world = World(ledger, BudgetConfig(egress=f"{next(names)}", per_hour=per_hour))
    for name, *given_ in deeds:
        getattr(world, name)(*given_)
    # Each boot with a clock that was set may fill the bucket once.
    assert world.busiest_hour() <= per_hour + world.misled * max(1, per_hour // 10)


@pytest.mark.parametrize("per_hour", [1, 2, 9, 10, 19, 20, 300])
def test_who_fetches_as_soon_as_allowed_gets_what_the_budget_gives(
    make: Any, per_hour: int
) -> None:
    world = make(per_hour=per_hour)
    capacity = max(1, per_hour // 10)
    world.fetch(10 * per_hour)
    assert len(world.starts) == capacity  # after a rest so many at once
    hours = 3
    while world.time_s < 1_000_000.0 + hours * HOUR_S:
        world.fetch_in_time(1)
    refilled = max(1, per_hour - capacity) * hours
    assert capacity + refilled - 1 <= len(world.starts) <= capacity + refilled + 1
    assert world.busiest_hour() <= per_hour


def test_a_restart_gives_nothing_and_a_rest_between_runs_counts(make: Any) -> None:
    world = make(per_hour=20)
    world.fetch(9)
    world.restart()
    world.fetch(9)
    assert len(world.starts) == 2
    world.rest(HOUR_S / 18)
    world.boot()
    world.fetch(9)
    assert len(world.starts) == 3


def test_a_clock_that_goes_to_and_fro_earns_nothing(make: Any) -> None:
    world = make(per_hour=20)
    world.fetch(9)
    for seconds in (1e6, -1e6, 1e6, -2e6, 3e6):
        world.set_clock(seconds)
        world.restart()
        world.fetch(9)
    assert len(world.starts) == 2
    world.rest(HOUR_S / 18 + 0.001)
    world.fetch()
    assert len(world.starts) == 3


def test_a_clock_that_is_set_back_stalls_nothing(make: Any) -> None:
    world = make(per_hour=20)
    world.fetch(9)
    world.set_clock(-1e6)
    assert world.budget.wait_s() == HOUR_S / 18
    world.rest(HOUR_S / 18)
    world.fetch(9)
    assert len(world.starts) == 3


def test_a_folder_that_moves_to_another_machine_takes_its_budget_along(make: Any) -> None:
    world = make(per_hour=20)
    world.fetch(9)
    world.boot_s -= 1e6  # a machine that has been on for longer
    world.restart()
    world.fetch(9)
    assert len(world.starts) == 2


def test_every_egress_has_its_own_budget(make: Any) -> None:
    one, other = make(per_hour=1), make(per_hour=1)
    one.fetch()
    assert one.budget.wait_s() == HOUR_S
    assert other.budget.wait_s() == 0.0


def test_a_fetch_that_may_not_begin_is_our_own_bug(make: Any) -> None:
    world = make(per_hour=1)
    world.fetch()
    with pytest.raises(AssertionError, match="before the budget allows it"):
        world.budget.spend()


def test_a_fetch_is_written_down_before_it_begins(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from crawler.ledger import Ledger; from dataset.budget import Budget, BudgetConfig\n"
        "budget = Budget(Ledger(Path(sys.argv[1])), BudgetConfig(per_hour=1))\n"
        "budget.spend()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with Ledger(tmp_path) as ledger:
        assert HOUR_S - 100 < Budget(ledger, BudgetConfig(per_hour=1)).wait_s() <= HOUR_S


# The breaker ---------------------------------------------------------------------------------


def test_pauses_double_up_to_the_longest_and_begin_again_after_a_success(make: Any) -> None:
    world = make(jitter=0.0, breaker_s=60.0, longest_breaker_s=300.0)
    pauses = []
    for _ in range(5):
        world.fetch()
        pauses.append(world.budget.trip(None))
        world.rest(pauses[-1])
    assert pauses == [60.0, 120.0, 240.0, 300.0, 300.0]
    world.fetch()
    world.succeed()
    assert world.budget.trip(None) == 60.0


def test_a_site_that_says_how_long_is_taken_at_its_word(make: Any) -> None:
    world = make(jitter=0.0)
    assert world.budget.trip(7200.0) == world.budget.wait_s() == 7200.0
    world.rest(7200.0)
    assert world.budget.trip(-1.0) == 0.0
    assert world.budget.trip(float("nan")) == 240.0


def test_jitter_only_lengthens(make: Any) -> None:
    pauses = set()
    for _ in range(20):
        world = make(jitter=0.2)
        world.budget._chance = random.Random(next(names))
        pauses.add(world.budget.trip(100.0))
    assert len(pauses) == 20
    assert all(100.0 <= pause <= 120.0 for pause in pauses)


def test_fetches_refused_together_are_one_trip(make: Any) -> None:
    world = make(jitter=0.0)
    world.fetch(3)
    assert world.budget.trip(None) == 60.0
    world.rest(1.0)
    assert world.budget.trip(None) == 59.0
    assert world.budget.trip(10.0) == 59.0
    assert world.budget.trip(90.0) == 90.0
    world.rest(90.0)
    assert world.budget.trip(None) == 120.0


def test_a_success_that_was_under_way_does_not_close_the_breaker(make: Any) -> None:
    world = make(jitter=0.0)
    world.fetch(2)
    world.budget.trip(None)
    world.succeed()
    assert world.budget.wait_s() == 60.0
    world.rest(60.0)
    world.fetch(9)
    assert len(world.starts) == 3  # the probe alone


def test_after_the_pause_one_fetch_probes_before_the_others(make: Any) -> None:
    world = make(jitter=0.0)
    world.fetch(3)
    world.budget.trip(None)
    world.rest(60.0)
    world.fetch(9)
    assert len(world.starts) == 4  # the probe alone
    assert world.budget.wait_s() == 60.0
    world.rest(5.0)
    world.succeed()
    world.fetch(9)
    assert len(world.starts) == 13


def test_a_refused_probe_opens_the_breaker_again(make: Any) -> None:
    world = make(jitter=0.0)
    world.budget.trip(None)
    world.rest(60.0)
    world.fetch()
    world.rest(5.0)
    assert world.budget.trip(None) == world.budget.wait_s() == 120.0


def test_a_pause_and_a_probe_outlive_a_kill_but_not_their_time(make: Any) -> None:
    world = make(jitter=0.0)
    world.budget.trip(None)
    world.rest(20.0)
    world.restart()
    assert world.budget.wait_s() == 40.0
    world.rest(40.0)
    world.fetch()
    world.rest(10.0)
    world.boot()
    assert world.budget.wait_s() == 50.0
    world.rest(50.0)
    world.fetch(9)
    assert len(world.starts) == 2  # of the first probe nothing was heard: another one


@pytest.mark.parametrize(
    ("given_", "line"),
    [
        ({"per_hour": 0}, "budget.per_hour 0 is below 1"),
        ({"breaker_s": 0.0}, "budget.breaker_s 0.0 is not in 0..longest_breaker_s"),
        ({"breaker_s": 9.0, "longest_breaker_s": 8.0}, r"9.0 is not in .* \(8.0\)"),
        ({"longest_breaker_s": float("nan")}, r"\(nan\)"),
        ({"jitter": 1.5}, "budget.jitter 1.5 is not in 0..1"),
    ],
)
def test_settings_out_of_their_range_are_told(given_: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        BudgetConfig(**given_)


@pytest.mark.parametrize(
    "change", [{"tokens": "1"}, {"tokens": None}, {"trips": float("nan")}, {"other": 1}, {}]
)
def test_a_tampered_standing_is_told_in_one_line(ledger: Ledger, change: dict[str, Any]) -> None:
    config = BudgetConfig(egress=f"{next(names)}")
    key = f"budget {config.egress}"
    Budget(ledger, config).spend()
    whole = ledger.recall(key)
    ledger.remember(key, {**whole, **change} if change else {"tokens": 1})
    with pytest.raises(UserError, match=f"damaged at note {key} .*--data") as told:
        Budget(ledger, config)
    assert "\n" not in str(told.value)
