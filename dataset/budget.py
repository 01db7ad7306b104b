"""How often something is fetched: so many an hour, and not at all once that was too often."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace

from crawler.errors import UserError
from crawler.ledger import Ledger, damaged

HOUR_S = 3600.0
MOST_DOUBLINGS = 32


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """How many fetches an hour, and how long none after a refusal."""

    per_hour: int = 300  # fetches that begin within any hour, at most
    egress: str = "default"  # the name of the address that a site sees; each has its budget
    breaker_s: float = 60.0  # the first pause; doubled while the refusals go on
    longest_breaker_s: float = 3600.0
    jitter: float = 0.2  # a pause is longer by up to this part of it

    def __post_init__(self) -> None:
        if self.per_hour < 1:
            raise UserError(f"budget.per_hour {self.per_hour} is below 1")
        if not 0 < self.breaker_s <= self.longest_breaker_s < math.inf:
            raise UserError(
                f"budget.breaker_s {self.breaker_s} is not in 0..longest_breaker_s "
                f"({self.longest_breaker_s})"
            )
        if not 0 <= self.jitter <= 1:
            raise UserError(f"budget.jitter {self.jitter} is not in 0..1")

    @property
    def capacity(self) -> int:
        """Fetches that may begin at once after a rest."""
        return max(1, self.per_hour // 10)

    @property
    def refill(self) -> int:
        """Fetches an hour that may begin beside these, so that together they are `per_hour`."""
        return max(1, self.per_hour - self.capacity)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a budget remembers, as it was at a moment."""

    wall_s: float  # the moment, by the clock on the wall: seconds since 1970
    steady_s: float  # and by a clock that is never set but begins anew with the machine
    tokens: float  # fetches that may begin
    pause_s: float = 0.0  # until the breaker lets a probe through
    probe_s: float = 0.0  # for which a probe keeps the others waiting
    trips: int = 0  # refusals since the last success; 0: the breaker is closed


class Budget:
    """Never more than `per_hour` fetches begin within an hour, over all runs on a ledger.

    A refusal opens the breaker: nobody fetches for a while. Then one fetch probes, and the
    others wait until it succeeded, or for `breaker_s` if nothing is heard of it. For one thread.

    Time is what both clocks say has passed, so that one that is set, forwards or back, never
    shortens a wait; while the machine is off there is only the clock on the wall.
    """

    def __init__(
        self,
        ledger: Ledger,
        config: BudgetConfig,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        chance: random.Random = random.Random(),
    ) -> None:
        self._ledger, self._config = ledger, config
        self._clock, self._steady, self._chance = clock, steady, chance
        self._key = f"budget {config.egress}"
        self._last = self._recalled() or Standing(
            wall_s=clock(), steady_s=steady(), tokens=config.capacity
        )
        self._write(self._now())  # from here on by the clocks of this machine, as it is on

    def _recalled(self) -> Standing | None:
        """What earlier runs wrote down; UserError when it was not them."""
        found = self._ledger.recall(self._key)
        if not found:
            return None
        try:
            standing = Standing(**found)
            if not all(math.isfinite(getattr(standing, item.name)) for item in fields(Standing)):
                raise ValueError("not a finite number")
        except (TypeError, ValueError) as error:
            raise damaged(self._ledger.path, "note", self._key, str(error)) from error
        return standing

    def _now(self) -> Standing:
        """The standing brought forward to this moment."""
        last, wall_s, steady_s = self._last, self._clock(), self._steady()
        passed_s = wall_s - last.wall_s
        if steady_s >= last.steady_s:  # else the machine began anew, which may be missed
            passed_s = min(passed_s, steady_s - last.steady_s)
        passed_s = max(0.0, passed_s)
        refilled = last.tokens + passed_s * self._config.refill / HOUR_S
        self._last = replace(
            last,
            wall_s=wall_s,
            steady_s=steady_s,
            tokens=min(self._config.capacity, refilled),
            pause_s=max(0.0, last.pause_s - passed_s),
            probe_s=max(0.0, last.probe_s - passed_s),
        )
        return self._last

    def _write(self, standing: Standing) -> None:
        self._ledger.remember(self._key, asdict(standing))
        self._last = standing

    def wait_s(self) -> float:
        """Seconds until the next fetch may begin, 0.0 for now; a success may shorten them."""
        now = self._now()
        refill_s = (1.0 - now.tokens) * HOUR_S / self._config.refill
        wait_s = max(0.0, now.pause_s, now.probe_s, refill_s)
        return math.ceil(wait_s * 1000.0) / 1000.0  # no sleep too short for the clocks to tell

    def spend(self) -> None:
        """A fetch begins now: written down before it does, for a kill to forget none."""
        assert self.wait_s() == 0.0, "a fetch begins before the budget allows it"
        now = self._last
        probe_s = self._config.breaker_s if now.trips else 0.0
        self._write(replace(now, tokens=now.tokens - 1.0, probe_s=probe_s))

    def trip(self, retry_after_s: float | None) -> float:
        """A fetch was refused for being one too many: the seconds for which nobody fetches.

        `retry_after_s` is what the site asked for, else the pause doubles with every trip. A
        fetch that began before the breaker opened can lengthen the pause but doubles nothing.
        """
        now, config = self._now(), self._config
        trips = now.trips if now.pause_s else now.trips + 1
        if retry_after_s is not None and math.isfinite(retry_after_s):
            pause_s = max(0.0, retry_after_s)
        elif now.pause_s:
            pause_s = 0.0
        else:
            doubled_s = config.breaker_s * 2.0 ** min(trips - 1, MOST_DOUBLINGS)
            pause_s = min(doubled_s, config.longest_breaker_s)
        pause_s *= 1.0 + config.jitter * self._chance.random()
        pause_s = max(now.pause_s, pause_s)
        self._write(replace(now, trips=trips, pause_s=pause_s, probe_s=0.0))
        return pause_s

    def relax(self) -> None:
        """A fetch succeeded: the breaker closes, unless it opened while that was under way."""
        now = self._now()
        if now.trips and not now.pause_s:
            self._write(replace(now, trips=0, probe_s=0.0))
