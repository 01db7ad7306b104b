"""How fast the crawl is, how much memory it takes, what kills cost it: python -m bench.crawl."""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import pages as parsing
from bench.kills import ROOT, end_crawl, kill_crawls, start_crawl
from bench.synthetic import Synthetic, seeds
from demo.site import Request, serve

REPEATS = 3  # of each of the two spiders, in turn
LEAST = {"crawl_over_bare": 0.7}
MOST = {"rerun_requests": 0, "memory_growth_mb": 50.0, "kill_problems": 0} | parsing.LIMITS


# ------------------------------------------------------------------------------------------------
# The server, in a process of its own


@dataclass(frozen=True)
class Remote:
    """A replica in another process."""

    address: str
    pipe: Connection

    def taken(self) -> list[Request]:
        """Every request since the last call."""
        self.pipe.send("requests")
        requests: list[Request] = self.pipe.recv()
        return requests


@contextmanager
def served() -> Iterator[Remote]:
    """Serve the synthetic site from a process of its own."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,))
    server.start()
    try:
        yield Remote(here.recv(), here)
    finally:
        here.send(None)
        server.join()


def _serve(pipe: Connection) -> None:
    told = 0
    with serve(Synthetic([])) as replica:
        pipe.send(replica.address)
        while pipe.recv():
            requests = replica.requests
            pipe.send(requests[told:])
            told = len(requests)


def warm_up(site: Remote, paths: Sequence[str]) -> float:
    """Ask for every page from here, so that each is made once; returns the pages a second."""
    connection = HTTPConnection(urlsplit(site.address).netloc)
    for _ in range(2):
        begun = time.monotonic()
        for path in paths:
            connection.request("GET", path)
            connection.getresponse().read()
        rate = len(paths) / (time.monotonic() - begun)
    connection.close()
    site.taken()
    return rate


# ------------------------------------------------------------------------------------------------
# What is measured


def rate_of(process: subprocess.Popen[str], site: Remote, pages: int) -> float:
    """Pages a second from the first request for a page until the process has ended."""
    said, _ = process.communicate(timeout=3600)
    ended = time.monotonic()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, said)
    times = [item.time_s for item in site.taken() if item.path != "/robots.txt"]
    assert len(times) == pages, f"{len(times)} requests for {pages} pages"
    return pages / (ended - min(times))


def start_bare(addresses: Path, folder: Path) -> subprocess.Popen[str]:
    """The bare spider in a process of its own."""
    command = [sys.executable, "-m", "bench.bare", str(addresses), str(folder)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def speed(site: Remote, folder: Path, pages: int) -> dict[str, Any]:
    """Our pages a second and the bare spider's, in turn on the same server; then a second run."""
    paths = list(seeds(pages))
    server_rate = warm_up(site, paths)
    listed, addresses = folder / "seeds.txt", folder / "addresses.txt"
    listed.write_text("\n".join(paths))
    addresses.write_text("\n".join(site.address + path for path in paths))
    rates: dict[str, list[float]] = {"crawl": [], "bare": []}
    for turn in range(REPEATS):
        ours = start_crawl(site.address, listed, folder / f"crawl-{turn}")
        rates["crawl"].append(rate_of(ours, site, pages))
        bare = start_bare(addresses, folder / f"bare-{turn}")
        rates["bare"].append(rate_of(bare, site, pages))
    ratios = [ours / bare for ours, bare in zip(rates["crawl"], rates["bare"], strict=True)]
    begun = time.monotonic()
    end_crawl(start_crawl(site.address, listed, folder / "crawl-0"))
    return {
        "pages": pages,
        "server_pages_per_s": round(server_rate),
        **{f"{name}_pages_per_s": round(statistics.median(rates[name])) for name in rates},
        "crawl_over_bare": round(statistics.median(ratios), 3),
        "rerun_s": round(time.monotonic() - begun, 2),
        "rerun_requests": len(site.taken()),
    }


def memory(site: Remote, folder: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """The largest resident set of a crawl of so many pages, in MB."""
    peaks = {}
    for pages in sizes:
        listed = folder / f"seeds-{pages}.txt"
        listed.write_text("\n".join(seeds(pages)))
        process = start_crawl(site.address, listed, folder / f"memory-{pages}")
        assert process.stdout
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            raise subprocess.CalledProcessError(process.returncode, process.args, said)
        peaks[pages] = round(usage.ru_maxrss / 1e3, 1)
    growth = max(peaks.values()) - peaks[min(peaks)]
    return {"peak_mb": peaks, "memory_growth_mb": round(growth, 1)}


def kills(folder: Path, number: int) -> dict[str, Any]:
    """Kill a crawl so many times."""
    survival = kill_crawls(folder, kills=number, seed=1)
    return {
        "kills": survival.kills,
        "kill_pages": survival.pages,
        "kill_requests": survival.asked,
        "kill_problems": len(survival.problems),
        "kill_problems_named": survival.problems,
    }


def missed(result: dict[str, Any]) -> list[str]:
    """The figures on the wrong side of their limits."""
    low = [name for name, least in LEAST.items() if result[name] < least]
    return low + [name for name, most in MOST.items() if result[name] > most]


def main() -> int:
    """Measure, print, and end with 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=2000, help="of the speed and the second run")
    parser.add_argument("--memory-pages", type=int, nargs="+", default=[200, 20_000])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="last line: the figures as JSON")
    given = parser.parse_args()
    result: dict[str, Any] = {"cores": os.cpu_count(), "machine": platform.platform()}
    parsed = parsing.figures()
    result |= {name: parsed[name] for name in parsing.LIMITS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with served() as site:
            result |= speed(site, folder, given.pages)
            result |= memory(site, folder, given.memory_pages)
        result |= kills(folder, given.kills)
    wrong = missed(result)
    print(f"the crawl of a synthetic site on {result['cores']} cores")
    for name, value in result.items():
        limit = LEAST.get(name, MOST.get(name))
        verdict = "" if limit is None else f"   limit {limit}   "
        verdict += "" if limit is None else "MISSED" if name in wrong else "held"
        print(f"{name:<22} {value!s:>12}{verdict}")
    if given.json:
        print(json.dumps(result))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
