"""Fetches that are killed at random moments and at every step: python -m bench.kill."""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.failpoints import STEPS
from bench.kills import ROOT, left_over, wait_for_moment
from bench.lossless import (
    broken_files,
    compare,
    done_items,
    ended_badly,
    leftovers,
    met_in,
    reading,
    repeated,
    summary_in,
)
from bench.recordings import make_site, prepare
from crawler.files import TEMPORARY_PREFIX
from dataset.index import PAIRS_NAME
from dataset.tasks import CLIPS
from demo.site import Replica, serve

A_FOLDER = 10  # kills before a fetch is left alone to its end
A_RUN = 5  # requests until a kill, at most; a source takes two
AFTERWARDS_S = 1.2  # at most, from a request to the kill: a transfer, a check, a cut
STARTUP_S = 3.0
ORPHAN_S = 5.0  # after which nothing of a killed run is there
END_S = 120.0  # for a run that is asked to end, or that ends by itself
LEAST_MET = 0.8  # of the kills
FULL_MB, ENOUGH_MB = (0.3, 20.0), 500  # a disk that is too small is somewhere between the first
SETTINGS = """[fetch]
allow_loopback = true
min_clip_s = 0.5
min_free_mb = 0.0
timeout_s = 10.0
backoff_s = 0.01
[fetch.budget]
per_hour = 100000
"""


@dataclass
class Tally:
    """What became of the kills."""

    kills: Counter[str] = field(default_factory=Counter)  # by kind
    met: Counter[str] = field(default_factory=Counter)  # of these, a running process
    found: Counter[str] = field(default_factory=Counter)  # what they met it at
    problems: list[tuple[str, str]] = field(default_factory=list)  # kind, what
    skipped: list[str] = field(default_factory=list)
    folders: int = 0
    sources: int = 0  # asked for, over all folders
    media_requests: int = 0
    continued: int = 0  # of these, from where a part ends
    reads: int = 0  # of the index, meanwhile
    slowest_end_s: float = 0.0  # from a kill until nothing of its run was there

    def note(self, kind: str, problems: list[str]) -> None:
        """Keep what went wrong."""
        for problem in problems:
            print(f"PROBLEM ({kind}): {problem}", file=sys.stderr, flush=True)
        self.problems += [(kind, problem) for problem in problems]


@dataclass(frozen=True)
class Bench:
    """What all runs have in common."""

    folder: Path
    replica: Replica
    chance: random.Random
    tally: Tally
    hurry: float = 1.0  # by which the time until a kill is divided

    @property
    def mark(self) -> str:
        """A variable in the environment of every process that a run begins."""
        return f"KILL_BENCH={self.folder}"


@dataclass(frozen=True)
class Run:
    """One command in a process group of its own."""

    bench: Bench
    data: Path
    process: subprocess.Popen[bytes]
    said_at: Path

    def wait(self) -> str:
        """Until it ends: what it printed; TimeoutExpired when it does not end."""
        self.process.wait(END_S)
        return self.said_at.read_text(errors="replace")

    def moment(self) -> None:
        """Let it come to a random place."""
        bench = self.bench
        times = {"afterwards_s": AFTERWARDS_S / bench.hurry, "startup_s": STARTUP_S}
        most = round(A_RUN / bench.hurry)
        wait_for_moment(bench.chance, bench.replica, self.process, most=most, **times)


def start(bench: Bench, data: Path, *failpoint: str) -> Run:
    """The real command, which a fail point may kill."""
    module = ["bench.failpoints", *failpoint] if failpoint else ["cli"]
    command = [sys.executable, "-m", *module, "fetch", "--json", "--data", str(data)]
    command += ["--config", str(bench.folder / "fetch.toml")]
    said_at = bench.folder / f"{data.name}.said"
    name, _, value = bench.mark.partition("=")
    with said_at.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {name: value}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=said, stderr=said,
        )  # fmt: skip
    return Run(bench, data, process, said_at)


# --- processes


def children(pid: int) -> list[int]:
    """The processes that a process has begun and not yet asked for their ends."""
    found: list[int] = []
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, path.read_text().split())
    return found


def fork_server(run: Run) -> int | None:
    """The process that begins the workers."""
    for pid in children(run.process.pid):
        with suppress(OSError):
            if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return None


def worker(run: Run) -> int | None:
    """One of the workers."""
    server = fork_server(run)
    found = children(server) if server else []
    return run.bench.chance.choice(found) if found else None


def cutting(run: Run) -> int | None:
    """A child of a worker, else a worker that has a clip open for writing."""
    server = fork_server(run)
    for one in children(server) if server else []:
        if found := children(one):
            return found[0]
        with suppress(OSError):
            for handle in Path(f"/proc/{one}/fd").iterdir():
                if f"/{CLIPS}/{TEMPORARY_PREFIX}" in str(handle.readlink()):
                    return one
    return None


# --- kinds of kills: each tells whether it met what it is for


def kill_group(run: Run) -> bool:
    """Kill the command and all that is in its process group."""
    run.moment()
    met = run.process.poll() is None
    with suppress(ProcessLookupError):
        os.killpg(run.process.pid, signal.SIGKILL)
    run.wait()
    return met


def kill_main(run: Run) -> bool:
    """Kill the command's process alone."""
    run.moment()
    met = run.process.poll() is None
    run.process.kill()
    run.wait()
    return met


def kill_within(find: Callable[[Run], int | None], run: Run) -> bool:
    """Kill a process of the command, which goes on; later it is asked to end."""
    run.moment()
    pid = None
    while pid is None and run.process.poll() is None:
        pid = find(run)
        time.sleep(0.002)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run.moment()
    run.process.terminate()
    codes = (-signal.SIGTERM, 0, 75)  # the first: it had not even begun to listen
    run.bench.tally.note("a run that went on", ended_badly(run.process, run.wait(), codes))
    run.bench.tally.note("a run that went on", leftovers(run.data))
    return pid is not None


Strike = Callable[[Run], bool]
KINDS: Mapping[str, Strike] = {
    "the process group": kill_group,
    "the main process": kill_main,
    "a worker": partial(kill_within, worker),
    "the fork server": partial(kill_within, fork_server),
    "a cut": partial(kill_within, cutting),
}


def strike(bench: Bench, data: Path, number: int) -> bool:
    """The kill of a number on a folder; whether it met a running process."""
    turn, step = divmod(number, 2)
    if step:
        kind = STEPS[turn % len(STEPS)]
        often = 1 if kind.endswith("the index") else bench.chance.randint(1, 4)
        run = start(bench, data, kind, str(often))
        said = run.wait()
        met = run.process.returncode == -signal.SIGKILL
        if not met:
            bench.tally.note(kind, ended_badly(run.process, said, (0, 75)))
    else:
        kind = list(KINDS)[turn % len(KINDS)]
        met = KINDS[kind](start(bench, data))
    bench.tally.kills[kind] += 1
    bench.tally.met[kind] += met
    bench.tally.found[met_in(data) if met else "nothing: it had ended"] += 1
    bench.tally.note(kind, [*orphans(bench), *broken_files(data)])
    return met


def orphans(bench: Bench) -> list[str]:
    """Processes that outlive their run; they are ended here."""
    begun = time.monotonic()
    while (left := left_over(bench.mark)) and time.monotonic() < begun + ORPHAN_S:
        time.sleep(0.01)
    bench.tally.slowest_end_s = max(bench.tally.slowest_end_s, time.monotonic() - begun)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return [f"{len(left)} processes are left after {ORPHAN_S} s"] if left else []


# --- folders


def kill_folder(bench: Bench, first: int, kills: int) -> int:
    """Kill the fetch of a new folder so often, then let it end; returns the kills there were."""
    data = bench.folder / f"killed-{first}"
    shutil.copytree(bench.folder / "paired", data)
    before, done, made = len(bench.replica.requests), {}, 0
    with reading(data / PAIRS_NAME) as reads:
        met = True
        while met and made < kills:
            met = strike(bench, data, first + made)
            made += 1
            done = done_items(data) | done  # the first time counts
        bench.tally.note("the end", left_alone(bench, data))
    requests = bench.replica.requests[before:]
    bench.tally.note("the end", repeated(data, done_items(data) | done, requests))
    bench.tally.note("the end", reads.problems)
    asked = [one for one in requests if one.path.startswith("/media/")]
    bench.tally.folders += 1
    bench.tally.sources += len({one.path for one in asked})
    bench.tally.media_requests += len(asked)
    bench.tally.continued += sum(one.status == 206 for one in asked)
    bench.tally.reads += reads.number
    shutil.rmtree(data)
    return made


def left_alone(bench: Bench, data: Path) -> list[str]:
    """Let a fetch end, and compare it with the calm one."""
    run = start(bench, data)
    said = run.wait()
    if problems := ended_badly(run.process, said, (0,)):
        return problems
    found = compare(bench.folder / "calm", data, summary_in(said))
    return [*found, *leftovers(data), *broken_files(data), *orphans(bench)]


@contextmanager
def small_disk(folder: Path, size_mb: float) -> Iterator[None]:
    """Mount a file system in memory; CalledProcessError or FileNotFoundError where one may not."""
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mb * 1000:.0f}k", "tmpfs", str(folder)],
        check=True, capture_output=True,
    )  # fmt: skip
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_disk(bench: Bench, number: int) -> None:
    """Fetch into a disk that is too small, then make it larger and fetch the rest."""
    kind, disk = "a full disk", bench.folder / f"disk-{number}"
    try:
        with small_disk(disk, bench.chance.uniform(*FULL_MB)):
            data = disk / "data"
            shutil.copytree(bench.folder / "paired", data)
            run = start(bench, data)
            said = run.wait()
            bench.tally.kills[kind] += 1
            bench.tally.met[kind] += run.process.returncode > 0
            bench.tally.note(kind, ended_badly(run.process, said, (0, 1, 75)))
            bench.tally.note(kind, [*orphans(bench), *broken_files(data)])
            if "cannot write" not in said:  # else the ledger was full: as after a kill
                bench.tally.note(kind, leftovers(data))
            subprocess.run(["mount", "-o", f"remount,size={ENOUGH_MB}m", str(disk)], check=True)
            bench.tally.note(kind, left_alone(bench, data))
    except (subprocess.CalledProcessError, FileNotFoundError, PermissionError) as error:
        bench.tally.skipped.append(f"{kind}: no file system in memory here ({error})")


def kill_fetches(
    folder: Path, *, runs: int, seed: int, works: int, disks: int, hurry: float = 1.0
) -> Tally:
    """Kill fetches of the replica so often, in folders of a few kills, and fill some disks."""
    tally = Tally()
    (folder / "fetch.toml").write_text(SETTINGS)
    site = make_site(folder / "site", works)
    with serve(site) as replica:
        prepare(folder / "paired", replica, works)
        bench = Bench(folder, replica, random.Random(seed), tally, hurry)
        shutil.copytree(folder / "paired", folder / "calm")
        calm = start(bench, folder / "calm")
        said = calm.wait()
        assert calm.process.returncode == 0, said
        made = 0
        while made < runs:
            made += kill_folder(bench, made, min(A_FOLDER, runs - made))
        for number in range(disks):
            fill_disk(bench, number)
    if too_few(tally):
        tally.note("all", ["too few kills met a running process"])
    return tally


def too_few(tally: Tally) -> bool:
    """Whether the kills say little, as most met nothing."""
    return sum(tally.met.values()) < LEAST_MET * sum(tally.kills.values())


# --- the report


def told(tally: Tally) -> str:
    """The kinds, their kills and problems as a table, and what else was counted."""
    kinds = [*tally.kills, *sorted({kind for kind, _ in tally.problems} - {*tally.kills})]
    wrong = Counter(kind for kind, _ in tally.problems)
    lines = [f"{'kind':<28}{'kills':>7}{'met':>7}{'problems':>10}"]
    lines += [f"{k:<28}{tally.kills[k]:>7}{tally.met[k]:>7}{wrong[k]:>10}" for k in kinds]
    sums = (sum(one.values()) for one in (tally.kills, tally.met, wrong))
    lines.append("{:<28}{:>7}{:>7}{:>10}".format("together", *sums))
    lines += [f"met at: {name}: {number}" for name, number in tally.found.most_common()]
    lines += [f"skipped: {why}" for why in tally.skipped]
    rest = "folders sources media_requests continued reads slowest_end_s".split()
    return "\n".join([*lines, *(f"{name}: {getattr(tally, name):.6g}" for name in rest)])


def main() -> int:
    """Kill, print, and end with 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="last line: the figures as JSON")
    given = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        tally = kill_fetches(
            Path(temporary), runs=given.runs, seed=given.seed,
            works=4, disks=min(8, max(1, given.runs // 20)),
        )  # fmt: skip
    print(f"{given.runs} killed fetches, seed {given.seed}, on {os.cpu_count()} cores")
    print(told(tally))
    if given.json:
        took_s = round(time.monotonic() - begun)
        print(json.dumps(vars(tally) | {"machine": platform.platform(), "took_s": took_s}))
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
