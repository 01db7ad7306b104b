"""What is still to be done for each recording, as jobs for the workers."""

import os
import re
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from crawler.ledger import Brief, State, in_chunks
from dataset.bounds import Request
from dataset.pairs import ErrorClass
from dataset.rows import Known
from dataset.tasks import (
    FetchConfig,
    Outcome,
    Task,
    copy_one,
    cut_all,
    fetch_one,
    fingerprint,
    join_parts,
)

CHUNK = 5_000  # sources that are looked up at a time
DAY_S = 86_400.0
UNBOUND = ErrorClass.BAD_BOUNDS
BETWEEN = re.compile(r" (?=https?://)")  # addresses in a pair's source_url
Ticket = tuple[str, str]  # of a job: its stage and first item


@dataclass(frozen=True, slots=True)
class Job:
    """Work for one worker: the items of one source in one stage."""

    key: str  # of the source that asks for it
    stage: str
    items: Sequence[str]
    task: Task  # an outcome an item; none: the source is to be had again
    remote: bool = False  # asks a server
    egress: str = ""  # from this address, once it is under way

    @property
    def ticket(self) -> Ticket:
        """Its name among the jobs under way."""
        return self.stage, self.items[0]


class Jobs:
    """The work of one run, from what is known and what the settings ask for."""

    def __init__(self, data: Path, config: FetchConfig, known: Known) -> None:
        self.data, self.config, self.known = data, config, known
        self.mark = fingerprint(config)
        self.settled: set[tuple[str, str]] = set()  # (stage, item) not tried again in this run
        self.anew: set[str] = set()  # sources to be had again, as they do not reach their bounds

    def sources(self) -> list[str]:
        """The sources that something is to be done for, nearly in the order of the index."""
        groups, sources = self.known.groups, self.known.sources
        there = [key for key in groups if key in sources and sources[key].state is State.OK]
        left = {key for key in groups.keys() - there if self.to_have(key)}
        for keys in in_chunks(there, CHUNK):
            left |= {key for key, clips in self.missing(keys).items() if clips}
            bounds = ((key, sources[key]._replace(error_class=UNBOUND)) for key in keys)
            due = [key for key, brief in bounds if self.another_time(brief)]
            self.anew |= self.known.unbound(due)
        limited = {key for key in left if is_limited(sources.get(key))}
        order = [key for key in groups if key in left | self.anew]
        return sorted(order, key=limited.__contains__)  # others first: they may be refused again

    def next_of(self, key: str) -> Job | None:
        """What is to be done next for a source; None when nothing is."""
        source = self.known.source(key)
        anew = key in self.anew and ("source", key) not in self.settled
        if source is not None and source.state is State.OK and not anew:
            missing = self.missing([key])[key]
            if not missing:
                return None
            if (self.data / source.result["file"]).is_file():
                task = partial(
                    cut_all,
                    self.data,
                    source.result,
                    missing,
                    self.config.cut,
                    self.mark,
                    self.config.measures,
                )
                return Job(key, "cut", list(missing), task)
        elif not anew and not self.to_have(key):
            return None
        return None if ("source", key) in self.settled else self.obtain(key)

    def obtain(self, key: str) -> Job | None:
        """How a source is had: fetched, copied, or joined of parts that are had first."""
        url = self.known.url(key)
        if key in self.known.local:
            return Job(key, "source", [key], partial(copy_one, self.data, key, url, self.config))
        parts = addresses(url)
        if len(parts) == 1:
            return self.fetch_job(key, key, url)
        found = []
        for address in parts:
            item = self.known.key_of(address)
            part = self.known.source(item)
            if part and part.state is State.OK and (self.data / part.result["file"]).is_file():
                found.append(part.result)
            elif self.to_have(item):
                return self.fetch_job(key, item, address)
            else:
                return None
        return Job(
            key, "source", [key], partial(join_parts, self.data, key, url, found, self.config)
        )

    def fetch_job(self, key: str, item: str, url: str) -> Job:
        """Fetch the source `item`, which may be a part of the source `key`."""
        task = partial(fetch_one, self.data, item, url, self.config)
        return Job(key, "source", [item], task, remote=True)

    def missing(self, keys: Iterable[str]) -> dict[str, dict[str, Request]]:
        """The clips that are still to be cut of finished sources, each by its item."""
        asked = self.known.asked_of(keys)
        briefs = self.known.briefs("cut", chain.from_iterable(asked.values()))
        return {
            key: {
                item: request
                for item, request in requests.items()
                if self.wanted("cut", item, briefs.get(item))
            }
            for key, requests in asked.items()
        }

    def to_have(self, key: str) -> bool:
        """Whether a source is to be had, or had again, in this run."""
        return self.wanted("source", key, self.known.sources.get(key))

    def wanted(self, stage: str, item: str, brief: Brief | None) -> bool:
        """Whether an item, of which so much is known, is to be worked on in this run."""
        if (stage, item) in self.settled:
            return False
        if brief is None or brief.state is State.PENDING:
            return stage == "cut" or self.config.retry is None
        if brief.state is State.OK:
            return size_of(f"{self.data}/{brief.file}") != brief.num_bytes
        return self.another_time(brief)

    def another_time(self, failed: Brief) -> bool:
        """Whether what failed in an earlier run is tried again."""
        if self.config.retry is not None:
            return self.config.retry in ("failed", f"failed:{failed.error_class}")
        days = self.config.recheck_after_days
        due = days is not None and time.time() - failed.updated_s >= days * DAY_S
        allowed = self.config.allow_loopback and failed.error_class == ErrorClass.REFUSED
        return due or allowed or self.known.may_pass(failed)


def is_limited(outcome: Outcome | Brief | None) -> bool:
    """Whether a server said that this was one too many."""
    return getattr(outcome, "error_class", None) == ErrorClass.RATE_LIMITED


def size_of(file: str) -> int | None:
    """The bytes of a file; None when there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116 - a hundred thousand times, and a Path takes its time
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def addresses(url: str) -> list[str]:
    """The addresses of the files of one source, in the order of the music."""
    return BETWEEN.split(url)
