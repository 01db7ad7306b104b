"""Crawls that are killed at random moments: what is lost, and what is asked for again."""

import json
import math
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.synthetic import Synthetic, seeds
from crawler.errors import UserError
from crawler.files import TEMPORARY_PREFIX
from crawler.pagestore import PAGES, load_page
from crawler.spiders.earsense import AHEAD
from demo.site import Replica, serve

ROOT = Path(__file__).parent.parent
ARTIFACTS = ("works.jsonl", "articles.jsonl")
A_RUN = 12  # pages between two kills, at most but for those of the last moment
A_KILL = 2 * A_RUN  # pages of the site for each kill: those of the last moment are fewer
DELAYS_S = (0.0, 0.01)  # between two pages, in turn: a kill meets the crawl at different work
AFTERWARDS_S = 0.03  # at most, from a page to the kill
STARTUP_S = 2.0  # a kill in five falls within this time, whatever the crawl does then


@dataclass(frozen=True, kw_only=True)
class Survival:
    """What a crawl looks like after its kills and an undisturbed end."""

    wanted: int  # kills
    kills: int  # that met a running process
    pages: int
    asked: int  # requests for pages, over all runs
    most_asked: int  # of one page
    temporary: int  # files under a name that is not final
    orphans: int  # processes that outlived their crawl
    damaged: tuple[str, ...]  # stored pages whose bytes have another hash
    same_pages: bool  # the stored files are those of an undisturbed crawl, byte by byte
    same_artifacts: bool

    @property
    def problems(self) -> list[str]:
        """Every promise that was broken, in words; an empty list is a pass."""
        found = {
            f"{self.kills} of {self.wanted} kills met a running crawl": self.kills < self.wanted,
            f"a page was asked for {self.most_asked} times": self.most_asked > self.kills + 1,
            # A kill meets no more pages than these between their requests and their commits.
            f"{self.asked} requests for {self.pages} pages": (
                self.asked > self.pages + (AHEAD + 1) * self.kills
            ),
            f"{self.temporary} temporary files are left": self.temporary > 0,
            f"{self.orphans} processes are left": self.orphans > 0,
            f"damaged pages: {self.damaged}": bool(self.damaged),
            "the stored pages are others": not self.same_pages,
            "works or articles are others": not self.same_artifacts,
        }
        return [problem for problem, met in found.items() if met]


def start_crawl(
    site: str, listed: Path, data: Path, *, delay_s: float = 0.0
) -> subprocess.Popen[str]:
    """The real command in a process of its own."""
    command = [sys.executable, "-m", "cli", "crawl", "--json", "--data", str(data)]
    command += ["--site", site, "--seeds", str(listed), "--delay", str(delay_s)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"EARSCRIBE_CRAWL_VIDEO_URL": site + "/watch?v={id}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end_crawl(process: subprocess.Popen[str]) -> dict[str, object]:
    """The summary of a crawl that is left alone; CalledProcessError when it fails."""
    said, _ = process.communicate(timeout=3600)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, said)
    summary: dict[str, object] = json.loads(said.splitlines()[-1])
    return summary


def kill_crawls(folder: Path, *, kills: int, seed: int, articles: int = 5) -> Survival:
    """Kill a crawl of the replica `kills` times, let it end, compare it with an undisturbed one."""
    chance = random.Random(seed)
    paths = list(seeds(kills * A_KILL, articles))
    listed = folder / "seeds.txt"
    listed.write_text("\n".join(paths))
    with serve(Synthetic([])) as replica:
        end_crawl(start_crawl(replica.address, listed, folder / "calm"))
        before = len(replica.requests)
        met = 0
        for number in range(kills):
            delay_s = DELAYS_S[number % 2]
            process = start_crawl(replica.address, listed, folder / "killed", delay_s=delay_s)
            wait_for_moment(chance, replica, process)
            met += process.poll() is None
            process.kill()
            process.communicate()
        end_crawl(start_crawl(replica.address, listed, folder / "killed"))
        asked = [request.path for request in replica.requests[before:]]
        orphans = len(left_over(f"={replica.address}/watch"))
        return _compare(folder, paths, asked, wanted=kills, kills=met, orphans=orphans)


def wait_for_moment(
    chance: random.Random,
    replica: Replica,
    process: subprocess.Popen[Any],
    *,
    most: int = A_RUN,
    afterwards_s: float = AFTERWARDS_S,
    startup_s: float = STARTUP_S,
) -> None:
    """Until up to `most` further requests and a little more, or a random time if it is less."""
    early = chance.random() < 0.2
    end = time.monotonic() + (chance.uniform(0, startup_s) if early else math.inf)
    wanted = len(replica.requests) + (most if early else chance.randint(1, most))
    while len(replica.requests) < wanted and time.monotonic() < end and process.poll() is None:
        time.sleep(0.002)
    if early:
        return
    time.sleep(chance.uniform(0, afterwards_s))


def left_over(mark: str) -> list[int]:
    """The processes with a mark in their environment, which they have from who began them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it ended meanwhile, or is another user's
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def _compare(
    folder: Path,
    paths: Sequence[str],
    asked: Sequence[str],
    *,
    wanted: int,
    kills: int,
    orphans: int,
) -> Survival:
    calm, killed = folder / "calm", folder / "killed"
    counted = Counter(path for path in asked if path != "/robots.txt")
    stored = _stored(killed)
    return Survival(
        wanted=wanted,
        kills=kills,
        pages=len(paths),
        asked=counted.total(),
        most_asked=max(counted.values()),
        temporary=len(list(killed.rglob(TEMPORARY_PREFIX + "*"))),
        orphans=orphans,
        damaged=tuple(name for name in stored if not _is_whole(killed, name)),
        same_pages=stored == _stored(calm) and len(stored) == len(paths),
        same_artifacts=all(
            (killed / name).read_bytes() == (calm / name).read_bytes() for name in ARTIFACTS
        ),
    )


def _stored(data: Path) -> dict[str, bytes]:
    files = (path for path in (data / PAGES).rglob("*") if path.is_file())
    return {str(path.relative_to(data)): path.read_bytes() for path in files}


def _is_whole(data: Path, name: str) -> bool:
    try:
        load_page(data, Path(name).name.partition(".")[0])
    except UserError:
        return False
    return True
