"""Worker processes: answers, ends, limits, kills of all sides, and odd parents."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import worker_tasks as tasks

from dataset.workers import Ended, Workers

ROOT = Path(__file__).parent.parent
FAST_S = 20.0  # for what should take far less, on a busy machine


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(2) as pool:
        yield pool


def ends(workers: Workers, number: int = 1) -> dict[Any, Any]:
    """The next `number` ends by their tickets."""
    found: dict[Any, Any] = {}
    until = time.monotonic() + FAST_S
    while len(found) < number and time.monotonic() < until:
        for ticket, answer in workers.wait(0.5):
            assert ticket not in found
            found[ticket] = answer
    assert len(found) == number
    return found


def answer(workers: Workers, task: Callable[[], Any], limit_s: float = FAST_S) -> Any:
    workers.give("it", task, limit_s)
    return ends(workers)["it"]


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be asked for its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def soon(condition: Callable[[], bool], seconds: float = FAST_S) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def test_a_fork_server_that_is_killed_while_it_begins_a_process_is_replaced(
    workers: Workers,
) -> None:
    assert answer(workers, partial(tasks.double, 1)) == 2
    workers.give("slow", partial(tasks.sleep, 60), 100)  # the one process that there is
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(server, signal.SIGSTOP)
    killer = threading.Timer(0.3, os.kill, (server, signal.SIGKILL))
    killer.start()
    workers.give("it", partial(tasks.double, 2), FAST_S)
    killer.join()
    found = ends(workers, 2)
    assert found["it"] == 4
    assert isinstance(found["slow"], Ended), "its end can no longer be known: it is ended"


def two(note: Path) -> list[int]:
    """The ids of a worker and its child, once they run."""
    assert soon(note.exists)
    return [int(word) for word in note.read_text().split()]


def test_two_hundred_tasks_come_back_once_each_from_two_processes(workers: Workers) -> None:
    waiting, found = list(range(200)), {}
    pids = set()
    while len(found) < 200:
        while waiting and workers.idle():
            number = waiting.pop()
            workers.give(number, partial(tasks.double, number), FAST_S)
        for ticket, value in workers.wait(1.0):
            assert ticket not in found
            found[ticket] = value
        pids.update(worker.process.pid for worker in workers._workers)
    assert found == {number: 2 * number for number in range(200)}
    assert len(pids) == 2
    assert workers.idle() == 2


def test_no_process_begins_before_there_is_a_task() -> None:
    with Workers(2) as workers:
        assert (workers.idle(), workers._workers) == (2, [])
        started = time.monotonic()
        assert workers.wait(0.05) == []
        assert time.monotonic() - started >= 0.05


def test_waiting_ends_when_nothing_does(workers: Workers) -> None:
    workers.give("slow", partial(tasks.sleep, 60), 120)
    assert workers.wait(0.05) == []
    assert workers.idle() == 1


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (partial(tasks.die, signal.SIGKILL), "killed by SIGKILL"),
        (partial(tasks.die, signal.SIGSEGV), "killed by SIGSEGV"),
        (partial(tasks.die, 40), "killed by signal 40"),
        (partial(tasks.leave, 3), "exit code 3"),
        (tasks.Deadly, "killed by SIGKILL"),
        (tasks.die_with_half_an_answer, "killed by SIGKILL"),
    ],
)
def test_a_process_that_ends_instead_of_answering_costs_its_task_alone(
    workers: Workers, task: Callable[[], Any], why: str
) -> None:
    workers.give("good", partial(tasks.sleep, 0.1), FAST_S)
    workers.give("bad", task, FAST_S)
    assert ends(workers, 2) == {"good": "slept", "bad": Ended(why, overtime=False)}
    assert answer(workers, partial(tasks.double, 4)) == 8


def test_an_idle_process_that_ended_is_replaced(workers: Workers) -> None:
    first = answer(workers, tasks.pid)
    os.kill(first, signal.SIGKILL)
    assert soon(lambda: not workers._workers[0].process.is_alive())
    second = answer(workers, tasks.pid)
    assert second != first
    assert answer(workers, tasks.pid) == second


def test_at_the_limit_a_process_dies_with_its_children(workers: Workers, tmp_path: Path) -> None:
    workers.give("quick", partial(tasks.double, 1), 0.5)
    workers.give("long", partial(tasks.with_child, tmp_path / "ids"), 0.5)
    found = ends(workers, 2)
    assert found == {"quick": 2, "long": Ended("took longer than 0.5 s", overtime=True)}
    assert soon(lambda: not any(map(lives, two(tmp_path / "ids"))))
    assert answer(workers, partial(tasks.double, 4)) == 8


def test_the_start_of_a_process_is_no_part_of_a_tasks_time(workers: Workers) -> None:
    workers.give("first", partial(tasks.sleep, 0.0), 0.5)
    worker = workers._workers[0]
    assert not worker.ready
    worker.since_s -= 30.0  # as if it had begun long ago
    assert ends(workers) == {"first": "slept"}


def test_an_answer_in_time_counts_although_nobody_listened_in_time(workers: Workers) -> None:
    answer(workers, tasks.pid)
    workers.give("it", partial(tasks.double, 3), 0.2)
    time.sleep(0.5)
    assert ends(workers) == {"it": 6}


def test_a_killed_worker_takes_its_children_along(workers: Workers, tmp_path: Path) -> None:
    workers.give("it", partial(tasks.with_child, tmp_path / "ids"), 60)
    assert workers.wait(0.0) == []
    worker, child = two(tmp_path / "ids")
    os.kill(worker, signal.SIGKILL)
    assert ends(workers) == {"it": Ended("killed by SIGKILL", overtime=False)}
    assert soon(lambda: not lives(child))


def test_a_killed_child_is_the_tasks_own_affair(workers: Workers, tmp_path: Path) -> None:
    workers.give("it", partial(tasks.with_child, tmp_path / "ids"), 60)
    worker, child = two(tmp_path / "ids")
    os.kill(child, signal.SIGKILL)
    assert ends(workers) == {"it": "ended with -9"}
    assert lives(worker)


def test_closing_leaves_nothing_running(tmp_path: Path) -> None:
    with Workers(2) as workers:
        workers.give("it", partial(tasks.with_child, tmp_path / "ids"), 60)
        idle = two(tmp_path / "ids")
    assert soon(lambda: not any(map(lives, idle)))
    with pytest.raises(AssertionError, match="closed"):
        workers.give("late", tasks.pid, 1)


def test_a_full_pool_takes_no_task() -> None:
    with Workers(1) as workers:
        workers.give("it", partial(tasks.sleep, 60), 60)
        with pytest.raises(AssertionError, match="no worker is idle for 'more'"):
            workers.give("more", tasks.pid, 1)


def test_tasks_and_answers_may_be_larger_than_a_pipe(workers: Workers) -> None:
    assert answer(workers, partial(tasks.length, bytes(5_000_000))) == 5_000_000
    assert len(answer(workers, partial(tasks.big, 20_000_000))) == 20_000_000


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (partial(tasks.fail, "our bug"), ValueError, "our bug"),
        (tasks.fail_picky, RuntimeError, "PickyError: this and that"),
        (tasks.unpicklable, Exception, "pickle"),
    ],
)
def test_what_a_task_raises_is_raised_again_with_its_traceback_there(
    workers: Workers, task: Callable[[], Any], error: type[Exception], message: str
) -> None:
    workers.give("it", task, FAST_S)
    with pytest.raises(error, match=message) as told:
        ends(workers)
    assert told.value.__notes__ == ["in the task 'it'"]
    assert "Traceback" in str(told.value.__cause__)
    assert answer(workers, partial(tasks.double, 4)) == 8


def test_an_exception_does_not_swallow_the_answers_beside_it(workers: Workers) -> None:
    workers.give("good", partial(tasks.double, 4), FAST_S)
    workers.give("bad", partial(tasks.fail, "our bug"), FAST_S)
    found, errors = [], 0
    while len(found) + errors < 2:
        time.sleep(0.2)
        try:
            found += workers.wait(1.0)
        except ValueError:
            errors += 1
    assert (found, errors) == ([("good", 8)], 1)


def test_a_task_that_cannot_be_sent_takes_no_worker(workers: Workers) -> None:
    with pytest.raises(Exception, match="pickle"):
        workers.give("it", lambda: 1, FAST_S)
    assert workers.idle() == 2


def test_a_task_may_print_move_and_close_the_standard_files(workers: Workers) -> None:
    pid = answer(workers, tasks.pid)
    assert answer(workers, tasks.upset) == "upset"
    assert answer(workers, tasks.pid) == pid
    assert answer(workers, tasks.where) == str(Path.cwd())


def test_a_task_that_closes_its_pipe_is_ended(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataset.workers.END_S", 0.2)
    assert answer(workers, tasks.close_pipe) == Ended("closed its pipe", overtime=False)
    assert isinstance(answer(workers, tasks.close_all), Ended)
    assert answer(workers, partial(tasks.double, 4)) == 8


# Parents -------------------------------------------------------------------------------------

BUSY = """
import sys, time
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from dataset.workers import Workers
import worker_tasks as tasks

def main():
    with Workers(1) as workers:
        workers.give("it", partial(tasks.with_child, Path(sys.argv[1]), float(sys.argv[2])), 60)
        while True:
            for ticket, answer in workers.wait(0.1):
                print(answer, flush=True)
                return
"""
GUARDED = BUSY + "\nif __name__ == '__main__':\n    main()\n"
UNGUARDED = BUSY + "\nmain()\n"


def parent(*words: str | Path, path: Path = ROOT, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", path)))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_killed_parent_takes_workers_and_their_children_along(tmp_path: Path) -> None:
    with parent("-c", GUARDED, tmp_path / "ids", "60") as killed:
        both = two(tmp_path / "ids")
        assert all(map(lives, both))
        killed.kill()
        started = time.monotonic()
        assert soon(lambda: not any(map(lives, both)))
        assert time.monotonic() - started < FAST_S / 2
        killed.communicate(timeout=FAST_S)  # the fork server ends too: nobody holds the pipes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_parents_group_does_not_reach_the_workers(
    tmp_path: Path, number: signal.Signals
) -> None:
    deaf = f"import signal; signal.signal({int(number)}, lambda *_: None)\n"
    script = tmp_path / "script.py"
    script.write_text(deaf + GUARDED)
    with parent(script, tmp_path / "ids", "0.7", start_new_session=True) as drained:
        two(tmp_path / "ids")
        os.killpg(drained.pid, number)
        out, errors = drained.communicate(timeout=FAST_S)
    assert (out, errors) == ("ended with 0\n", "")


def test_workers_that_nobody_closed_end_with_a_parent_that_ends(tmp_path: Path) -> None:
    script = (
        BUSY.replace("with Workers(1) as workers:", "if workers := Workers(1):")
        + "\nworkers = Workers(1)\nworkers.give('it', partial(tasks.with_child, "
        "Path(sys.argv[1])), 60)\nworkers.wait(0.5)\n"
    )
    with parent("-c", script, tmp_path / "ids") as careless:
        out, errors = careless.communicate(timeout=FAST_S)
    assert (careless.returncode, out, errors) == (0, "", "")
    assert soon(lambda: not any(map(lives, two(tmp_path / "ids"))))


@pytest.mark.parametrize("form", ["guarded", "unguarded", "command", "module", "typed"])
def test_every_kind_of_parent_works_and_is_not_run_again(tmp_path: Path, form: str) -> None:
    script = tmp_path / "some_parent.py"
    script.write_text(UNGUARDED if form == "unguarded" else GUARDED)
    words: list[str | Path] = [script]
    if form == "command":
        words = ["-c", GUARDED]
    elif form == "module":
        words = ["-m", "some_parent"]
    elif form == "typed":
        words = ["-"]
    with parent(*words, tmp_path / "ids", "0", path=tmp_path) as one:
        out, errors = one.communicate(GUARDED if form == "typed" else None, timeout=FAST_S)
    assert (out, errors) == ("ended with 0\n", "")


def test_the_command_line_is_not_imported_by_its_workers() -> None:
    script = (
        "import runpy, sys; sys.argv = ['cli', '--help']\n"
        "import cli\n"
        "sys.modules['__main__'].__spec__ = cli.__spec__  # as in: python -m cli\n"
        "from dataset.workers import Workers\nimport worker_tasks as tasks\n"
        "with Workers(1, ['dataset.schema']) as workers:\n"
        "    workers.give('it', tasks.modules, 60)\n"
        "    print(workers.wait(60))\n"
    )
    with parent("-c", script) as one:
        out, errors = one.communicate(timeout=FAST_S)
    assert (out, errors) == ("[('it', (False, False, True))]\n", "")


def test_what_a_task_logs_and_prints_goes_to_standard_error_at_the_parents_level() -> None:
    script = (
        "import logging, sys; logging.basicConfig(level=sys.argv[1])\n"
        "from dataset.workers import Workers\nimport worker_tasks as tasks\n"
        "with Workers(1) as workers:\n"
        "    workers.give('it', tasks.log, 60)\n"
        "    workers.wait(60)\n"
    )
    for level, lines in (("INFO", ["INFO task: logged", "printed"]), ("WARNING", ["printed"])):
        with parent("-c", script, level) as one:
            out, errors = one.communicate(timeout=FAST_S)
        assert (out, errors.splitlines()) == ("", lines)


def test_a_fork_server_that_was_killed_is_replaced() -> None:
    script = (
        "import os, signal\nfrom multiprocessing import forkserver\n"
        "from dataset.workers import Workers\nimport worker_tasks as tasks\n"
        "with Workers(1) as workers:\n"
        "    for _ in range(2):\n"
        "        workers.give('it', tasks.pid, 60)\n"
        "        print(type(workers.wait(60)[0][1]).__name__)\n"
        "        server = forkserver._forkserver._forkserver_pid\n"
        "        os.kill(server, signal.SIGKILL)\n"
        "        os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)  # a kill takes time\n"
    )
    with parent("-c", script) as one:
        out, errors = one.communicate(timeout=FAST_S)
    assert (out, errors) == ("int\nint\n", "")
