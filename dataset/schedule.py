"""One run of the fetch stage: who does which job, and what became of it."""

import logging
import random
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import pyarrow as pa

from crawler.files import atomic_path
from crawler.ledger import Ledger, State
from crawler.summary import Progress
from dataset.budget import Budget
from dataset.engines import Engine
from dataset.jobs import Job, Jobs, Ticket, addresses, is_limited
from dataset.pairs import ErrorClass
from dataset.rows import Known, was_had
from dataset.tasks import (
    Failed,
    FetchConfig,
    Finished,
    Outcome,
    caught,
    fingerprint,
    whole,
)
from dataset.workers import CRASHES, Ended

logger = logging.getLogger(__name__)

TICK_S = 0.2  # between two looks at signals and clocks
AGAIN = (ErrorClass.NETWORK, ErrorClass.SERVER_ERROR)  # asked for again within a run
MOST_LIMITED = 5  # rate-limit answers in a row end the run's fetching
MOST_LOST, LOST_PAUSE_S = 10, 3.0  # of one item with its hosts, and before it is given again


class Schedule:
    """One run: what is known, what is still to do, and what is under way."""

    def __init__(self, data: Path, config: FetchConfig, ledger: Ledger, table: pa.Table) -> None:
        self.data, self.config, self.ledger = data, config, ledger
        limits_s = config.min_clip_s, config.max_clip_s
        self.known = Known(ledger, table, fingerprint(config), limits_s, config.audio_rights)
        self.jobs = Jobs(data, config, self.known)
        self.budgets: dict[str, Budget] = {}  # of the addresses from which servers are asked
        self.egresses: Sequence[str] = ()  # these addresses, as the engine last told
        self.barred: dict[str, str] = {}  # address -> why nothing more is fetched from it
        self.to_fetch: deque[str] = deque()  # sources that ask a server next
        self.to_cut: deque[str] = deque()  # sources whose next work is on this machine
        self.later: list[tuple[float, str]] = []  # a heap: when a source is asked for again
        self.running: dict[Ticket, tuple[Job, float]] = {}
        self.attempts: Counter[tuple[str, str]] = Counter()  # of (stage, item) in this run
        self.lost: Counter[tuple[str, str]] = Counter()  # how often it was, with its host
        self.begun: set[str] = set()  # sources asked for in this run
        self.limited: Counter[str] = Counter()  # rate-limit answers to an address in a row
        self.closed = ""  # why nothing more is fetched in this run
        self.full = False  # too little space is left: nothing more is begun
        self.finished = 0  # sources
        self.done = {"fetched": 0, "joined": 0, "cut": 0, "adopted": 0}

    def adopt(self) -> None:
        """Take over whole files that a crash kept from being committed."""
        for stage in ("source", "cut"):
            for entry in list(self.known.entries_of(stage, self.ledger.pending(stage))):
                if whole(self.data, entry.result):
                    self.record(stage, entry.item, State.OK, result=entry.result)
                    self.done["adopted"] += 1

    # --- who does it

    def run(
        self, todo: Sequence[str], engine: Engine, stop: threading.Event, progress: Progress
    ) -> None:
        """Work off sources until nothing is left to do, or until `stop` and what is in hand."""
        self.finished = len(self.known.groups) - len(todo)
        for key in todo:
            self.put(key)
        while self.running or (self.left() and not stop.is_set()):
            if not stop.is_set():
                self.admit(engine)
            if not self.running:
                stop.wait(TICK_S)
                continue
            for ticket, answer in engine.wait(TICK_S):
                before = self.finished
                self.take(ticket, answer)
                if self.finished > before:
                    progress(self.finished, len(self.known.groups))

    def left(self) -> bool:
        """Whether something waits that may still be begun in this run."""
        fetches = (self.to_fetch or self.later) and not self.closed
        return not self.full and bool(self.to_cut or fetches)

    def waits(self) -> bool:
        """Whether something waits for another run."""
        return bool(self.to_fetch or self.to_cut or self.later or self.running)

    def put(self, key: str, *, first: bool = False) -> None:
        """Queue a source by what is to be done next for it."""
        job = self.jobs.next_of(key)
        if job is None:
            self.finish(key)
            return
        queue = self.to_fetch if job.remote else self.to_cut
        if first:
            queue.appendleft(key)
        else:
            queue.append(key)

    def admit(self, engine: Engine) -> None:
        """Give idle workers what may be begun now."""
        while self.later and self.later[0][0] <= time.time():
            self.put(heappop(self.later)[1], first=True)
        self.full = self.full or self.is_full()
        while self.to_cut and self.has_room() and engine.idle() > 0 and not self.full:
            self.begin(engine, self.to_cut.popleft())
        while self.to_fetch and not self.full and (name := self.egress(engine)):
            self.begin(engine, self.to_fetch.popleft(), name)

    def has_room(self, egress: str = "") -> bool:
        """Whether another job may begin: a cut, or a fetch from an address."""
        most = self.config.workers if egress else self.config.cut_workers
        return sum(job.egress == egress for job, _ in self.running.values()) < most

    def egress(self, engine: Engine) -> str | None:
        """The address from which a server may be asked now."""
        self.egresses = engine.egresses()
        if self.config.limit is not None and len(self.begun) >= self.config.limit:
            self.closed = self.closed or f"fetch.limit {self.config.limit}"
        if not self.egresses:
            self.closed = self.closed or "no host that may ask servers is left"
        free = (name for name in self.egresses if name not in self.barred and self.has_room(name))
        ready = (name for name in free if engine.idle(name) and self.budget(name).wait_s() <= 0)
        return None if self.closed else next(ready, None)

    def budget(self, egress: str) -> Budget:
        """How often servers may be asked from an address."""
        if egress not in self.budgets:
            own = replace(self.config.budget, egress=egress)
            self.budgets[egress] = Budget(self.ledger, own)
        return self.budgets[egress]

    def is_full(self) -> bool:
        """Whether too little space is left to begin anything."""
        free_mb = shutil.disk_usage(self.data).free / 1_000_000
        if free_mb >= self.config.min_free_mb:
            return False
        self.closed = f"{free_mb:.0f} MB are free, fetch.min_free_mb is {self.config.min_free_mb:g}"
        logger.warning("nothing more is begun: %s", self.closed)
        return True

    def begin(self, engine: Engine, key: str, egress: str = "") -> None:
        """Give a source's next job to a worker."""
        job = self.jobs.next_of(key)
        if job is None:
            self.finish(key)
            return
        if job.ticket in self.running:  # for another source of which it is a part
            heappush(self.later, (time.time() + TICK_S, key))
            return
        if job.remote:
            assert egress, f"{key} is fetched from nowhere"
            job = replace(job, egress=egress)
            self.budget(egress).spend()
            self.begun.add(key)
        self.running[job.ticket] = job, time.time()
        limit_s = self.config.max_fetch_s if job.stage == "source" else self.config.max_cut_s
        engine.give(job.ticket, job.task, limit_s, job.egress or None)

    # --- what became of it

    def take(self, ticket: Ticket, answer: list[Outcome] | Ended) -> None:
        """Commit a worker's answer, and queue what follows."""
        job, started_s = self.running.pop(ticket)
        outcomes = answer
        if isinstance(outcomes, Ended):
            outcomes = [died(job, outcomes)] * len(job.items)
        pauses_s = [
            self.commit(job, item, outcome, started_s)
            for item, outcome in zip(job.items, outcomes, strict=bool(outcomes))
        ]
        waits_s = [pause_s for pause_s in pauses_s if pause_s is not None]
        if waits_s and any(map(is_limited, outcomes)):
            self.to_fetch.append(job.key)  # others first: it may be the one that is refused
        elif waits_s:
            heappush(self.later, (time.time() + max(waits_s), job.key))
        else:
            self.put(job.key, first=True)  # a source's cuts come right after it

    def commit(self, job: Job, item: str, outcome: Outcome, started_s: float) -> float | None:
        """Keep what is finished, tell what failed; returns the seconds until another attempt.

        None when there is to be none.
        """
        if job.remote and not is_limited(outcome):
            self.budget(job.egress).relax()
            self.limited[job.egress] = 0
        if isinstance(outcome, Failed):
            return self.failed(job, item, outcome, started_s)
        self.keep(job.stage, item, outcome, started_s)
        return None

    def keep(self, stage: str, item: str, finished: Finished, started_s: float) -> None:
        """Give a finished file its final name and tell the ledger.

        The ledger hears of a file before it is renamed and after it: a crash in between leaves
        a whole file and what is known of it, so that `adopt` can take it over.
        """
        self.jobs.settled.add((stage, item))
        result = {**finished.result, **self.rights(stage)}
        self.record(stage, item, State.PENDING, result=result, started_s=started_s)
        try:
            with atomic_path(self.data / result["file"]) as place:
                finished.temporary.replace(place)
        except OSError as error:
            finished.temporary.unlink(missing_ok=True)
            self.fail(stage, item, caught(error), started_s)
            return
        self.record(stage, item, State.OK, result=result, tools=finished.tools, started_s=started_s)
        joined = stage == "source" and len(addresses(item)) > 1
        self.done["joined" if joined else "fetched" if stage == "source" else "cut"] += 1

    def rights(self, stage: str) -> dict[str, Any]:
        """What the settings say of a source when it is fetched."""
        return {"audio_rights": self.config.audio_rights} if stage == "source" else {}

    def failed(self, job: Job, item: str, failure: Failed, started_s: float) -> float | None:
        """Tell the ledger of a failure; returns the seconds until another attempt, or None."""
        if failure.error_class is ErrorClass.RATE_LIMITED:  # no attempt of this source
            wait_s = self.budget(job.egress).trip(failure.retry_after_s)
            self.limited[job.egress] += 1
            refusals = self.limited[job.egress]
            if wait_s <= self.config.max_wait_s and refusals < MOST_LIMITED:
                return wait_s
            most = refusals >= MOST_LIMITED
            asked = f"{refusals} refusals in a row" if most else f"asked to wait {wait_s:.0f} s"
            self.barred[job.egress] = f"rate limit: {asked}"
            logger.warning("nothing more from %s: %s (%s)", job.egress, asked, failure.message)
            if set(self.egresses) - self.barred.keys():
                return 0.0
            self.closed = "; ".join(self.barred.values())
            self.fail(job.stage, item, failure, started_s)
            return None
        if isinstance(failure, Lost):  # no attempt either; a host may be long in being missed
            self.lost[job.stage, item] += 1
            if self.lost[job.stage, item] <= MOST_LOST:
                self.record(job.stage, item, State.FAILED, failure=failure, started_s=started_s)
                return LOST_PAUSE_S
        self.attempts[job.stage, item] += 1
        pause_s = self.pause_s(job, self.attempts[job.stage, item], failure)
        if pause_s is None:
            self.fail(job.stage, item, verdict(failure), started_s)
        else:
            self.record(job.stage, item, State.FAILED, failure=failure, started_s=started_s)
        return pause_s

    def pause_s(self, job: Job, made: int, failure: Failed) -> float | None:
        """Seconds until another attempt after so many; None when there is to be none."""
        if isinstance(failure, Died):
            return 0.0 if made < max(self.config.attempts, 2) else None
        if failure.error_class not in AGAIN or made >= self.config.attempts or not job.remote:
            return None
        asked_s = failure.retry_after_s or 0.0
        backoff_s = self.config.backoff_s * 2 ** (made - 1) * random.uniform(1, 1.5)
        return max(asked_s, backoff_s) if asked_s <= self.config.max_wait_s else None

    def fail(self, stage: str, item: str, failure: Failed, started_s: float) -> None:
        """An item fails for this run; texts of a source that is gone for good turn to others."""
        self.jobs.settled.add((stage, item))
        self.record(stage, item, State.FAILED, failure=failure, started_s=started_s)
        if stage == "source" and item in self.known.groups:
            self.forget_lost(item)
            for key in self.known.replace(item) if self.known.gone(item) else ():
                self.put(key)

    def forget_lost(self, key: str) -> None:
        """Tell the ledger of clips that are no longer there, of a source that failed since."""
        source = self.known.source(key)
        if source is None or not was_had(source):
            return
        lost = self.jobs.missing([key])[key]
        for clip in list(self.known.entries_of("cut", lost)):
            if clip.state is State.OK:
                self.record("cut", clip.item, State.PENDING, result=clip.result)

    def record(
        self,
        stage: str,
        item: str,
        state: State,
        *,
        failure: Failed | None = None,
        result: Mapping[str, Any] | None = None,
        started_s: float | None = None,
        tools: Mapping[str, str] | None = None,
    ) -> None:
        """Tell the ledger, and keep what it now knows of a source."""
        error_class, message = (failure.error_class, failure.message) if failure else (None, None)
        if failure:
            before = self.known.source(item) if stage == "source" else None
            # What is known of a source stays: clips of it may be there.
            result = {**(before.result if before else {}), **failure.result}
        self.ledger.record(
            stage, item, state, error_class=error_class, message=message, result=result,
            started_s=started_s, tools=tools,
        )  # fmt: skip
        if stage == "source":
            self.known.sources |= self.known.briefs(stage, [item])

    def finish(self, key: str) -> None:
        """Nothing is left to do for a source: delete it unless sources are kept."""
        self.finished += 1
        self.fail_with_part(key)
        if self.config.keep_sources or self.may_go_on(key):
            return
        for item in (key, *map(self.known.key_of, addresses(key))):
            brief = self.known.sources.get(item)
            if brief and brief.file and brief.state is State.OK and not self.is_needed(brief.file):
                (self.data / brief.file).unlink(missing_ok=True)

    def may_go_on(self, key: str) -> bool:
        """Whether another run may still make something of a source."""
        brief = self.known.sources.get(key)
        if brief is None or brief.state is not State.OK:
            return not self.known.gone(key)
        items = self.known.asked_of([key])[key]
        briefs = self.known.briefs("cut", items)
        return any(
            item not in briefs
            or briefs[item].state is State.PENDING
            or (briefs[item].state is State.FAILED and self.known.may_pass(briefs[item]))
            for item in items
        )

    def fail_with_part(self, key: str) -> None:
        """A source of several files fails as the first of them did."""
        parts = addresses(self.known.url(key))
        whole = self.known.sources.get(key)
        if len(parts) == 1 or (whole and whole.state is not State.PENDING):
            return
        for part in self.known.entries_of("source", map(self.known.key_of, parts)):
            if part.state is State.FAILED:
                error_class = ErrorClass(part.error_class or "")
                self.fail("source", key, Failed(error_class, part.message or ""), time.time())
                return

    def is_needed(self, file: str) -> bool:
        """Whether a source of this file, or one of which it is a part, waits for something."""
        waiting = {*self.to_fetch, *self.to_cut, *(key for _, key in self.later)}
        waiting |= {job.key for job, _ in self.running.values()}
        waiting |= {self.known.key_of(one) for key in waiting for one in addresses(key)}
        briefs = (self.known.sources.get(key) for key in waiting)
        return any(brief and brief.file == file for brief in briefs)


@dataclass(frozen=True, slots=True)
class Died(Failed):
    """The failure of a job whose worker ended by itself or was killed."""


@dataclass(frozen=True, slots=True)
class Lost(Failed):
    """The failure of a job whose host was lost."""


def died(job: Job, ended: Ended) -> Failed:
    """The failure that the end of a worker stands for, as long as another attempt may pass."""
    if ended.overtime:
        limited = ErrorClass.NETWORK if job.remote else ErrorClass.NOT_MEDIA
        return Failed(limited, f"it {ended.why}")
    kind = Lost if ended.lost else Died
    return kind(ErrorClass.EXTRACTOR, f"its process ended: {ended.why}")


def verdict(failure: Failed) -> Failed:
    """The last failure of an item: a decoder that crashes by itself does so because of the file."""
    crashed = isinstance(failure, Died) and any(name in failure.message for name in CRASHES)
    return Failed(ErrorClass.NOT_MEDIA, failure.message) if crashed else failure
