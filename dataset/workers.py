"""Tasks in processes of their own, which end whole: at a limit, by a crash, or with ours."""

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from types import FrameType, ModuleType, TracebackType
from typing import Any, Self

START_S = 60.0  # for a process to begin, which is no part of a task's time
BEGIN_S = 10.0  # for a killed fork server to be gone, so that another one begins
PAUSE_S = 0.05  # between two looks for that
END_S = 5.0  # for the kernel to end a killed process
LOG_FORMAT = "%(levelname)s %(name)s: %(message)s"
CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")  # a program's own fault
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # a wish to our process alone, which drains


@dataclass(frozen=True, slots=True)
class Ended:
    """What `wait` tells of a task whose process ended instead of answering."""

    why: str  # "killed by SIGKILL", "exit code 3", "took longer than 60 s"
    overtime: bool  # ended by us, at the task's limit
    lost: bool = False  # with its host: no fault of the task


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception in a task and its traceback there."""

    error: Exception
    text: str


class RemoteTracebackError(Exception):
    """The cause of an exception that a task raised: where it was raised there."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


@dataclass(slots=True, eq=False)
class Worker:
    """One process and the task that it has."""

    process: ForkServerProcess
    pipe: Connection
    since_s: float  # when it was begun or, once it is ready, its task; monotonic seconds
    ready: bool = False
    busy: bool = False
    ticket: Hashable = None
    limit_s: float = 0.0

    @property
    def until_s(self) -> float:
        """When the patience with it ends."""
        return self.since_s + (self.limit_s if self.ready else START_S)


class Workers:
    """Up to `number` processes that run tasks, each with its children in a session of its own.

    A process begins when a task needs it and is used again for the next; one that ended is
    replaced. It is killed with its children at a task's limit, by `close`, and when our process
    ends, however; Ctrl-C and SIGTERM do not reach it. A child that makes a session of its own
    is out of reach. For one thread; `preload` names modules that are imported once, for all
    processes to come, by the first of all `Workers` that begins one.
    """

    def __init__(self, number: int, preload: Sequence[str] = ()) -> None:
        assert number >= 1, f"{number} workers cannot work"
        self._number = number
        self._context = multiprocessing.get_context("forkserver")
        if preload:
            self._context.set_forkserver_preload(list(preload))
        self._workers: list[Worker] = []
        self._ended: list[tuple[Hashable, Any]] = []
        # Also at exit, before multiprocessing waits for processes that nobody ended.
        self._close = util.Finalize(self, _end_all, (self._workers,), exitpriority=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes at once, whatever they do."""
        self._close()

    def idle(self) -> int:
        """How many tasks can be given now."""
        return self._number - sum(worker.busy for worker in self._workers)

    def give(self, ticket: Hashable, task: Callable[[], Any], limit_s: float) -> None:
        """Have a task run for at most `limit_s` seconds; there must be an idle worker.

        `task` is pickled: a function of a module other than __main__, or a partial of one. What
        it prints goes to standard error. It begins in the folder that is the current one when
        its process begins.
        """
        assert self._close.still_active(), "these workers are closed"
        assert self.idle(), f"no worker is idle for {ticket!r}"
        message = pickle.dumps(task)
        worker = self._free()
        worker.busy, worker.ticket, worker.limit_s = True, ticket, limit_s
        worker.since_s = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `wait` tells its end
            worker.pipe.send_bytes(message)

    def _free(self) -> Worker:
        """An idle process that lives, else a new one."""
        for worker in [worker for worker in self._workers if not worker.busy]:
            if worker.process.is_alive():
                return worker
            self._end(worker)
        self._workers.append(_begin(self._context))
        return self._workers[-1]

    def wait(self, timeout_s: float) -> list[tuple[Hashable, Any]]:
        """The tickets of tasks that ended, each with the answer or Ended; [] after `timeout_s`.

        Raises what a task raised, with the traceback there as its cause.
        """
        until_s = time.monotonic() + timeout_s
        while not self._ended:
            busy = [worker for worker in self._workers if worker.busy]
            next_s = min([until_s, *(worker.until_s for worker in busy)]) - time.monotonic()
            things = [thing for worker in busy for thing in (worker.pipe, worker.process.sentinel)]
            told = connection.wait(things, max(0.0, next_s))
            for worker in busy:
                if worker.pipe in told or worker.process.sentinel in told:
                    self._hear(worker)
            now_s = time.monotonic()
            for worker in busy:
                if worker.busy and worker.until_s <= now_s:
                    self._overdue(worker)
            if now_s >= until_s:
                break
        for at, (ticket, answer) in enumerate(self._ended):
            if isinstance(answer, Raised):
                del self._ended[at]  # the others are for the next call
                answer.error.add_note(f"in the task {ticket!r}")
                raise answer.error from RemoteTracebackError(answer.text)
        ended, self._ended = self._ended, []
        return ended

    def _hear(self, worker: Worker) -> None:
        """Take what a process says, or note that it ended."""
        try:
            message = worker.pipe.recv_bytes() if worker.pipe.poll() else None
        except (EOFError, OSError):  # nothing more, or half an answer
            message = None
        if message is None:
            worker.process.join(END_S)
            self._finish(worker, Ended(_end_of(worker.process), overtime=False))
            self._end(worker)
        elif not worker.ready:
            worker.ready, worker.since_s = True, time.monotonic()
        else:
            self._finish(worker, _unpickled(message))

    def _overdue(self, worker: Worker) -> None:
        """End a process that ran out of time."""
        if worker.ready:
            ended = Ended(f"took longer than {worker.limit_s:g} s", overtime=True)
        else:
            ended = Ended(f"its process did not begin within {START_S:g} s", overtime=False)
        self._finish(worker, ended)
        self._end(worker)

    def _finish(self, worker: Worker, answer: Any) -> None:
        self._ended.append((worker.ticket, answer))
        worker.busy, worker.ticket = False, None

    def _end(self, worker: Worker) -> None:
        self._workers.remove(worker)
        _end_all([worker])


def _begin(context: multiprocessing.context.ForkServerContext) -> Worker:
    """A new process; it says when it is ready."""
    level = logging.getLogger().getEffectiveLevel()
    until_s = time.monotonic() + BEGIN_S
    while True:
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, level))
        try:
            with _sheltered():
                process.start()
            return Worker(process, here, time.monotonic())
        except (EOFError, ConnectionError):  # the fork server was killed; another one will begin
            here.close()
            if time.monotonic() > until_s:
                raise
            time.sleep(PAUSE_S)
        finally:
            there.close()


@contextlib.contextmanager
def _sheltered() -> Iterator[None]:
    """Begin processes that neither hear the signals to our group nor import our __main__ again.

    A drain would else lose the fork server, and with it the ends of its processes; and each
    process would import the whole command line, or run a script that has no guard.
    """
    resource_tracker.ensure_running()  # it begins with the fork server, and unblocks them
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _end_all(workers: list[Worker]) -> None:
    """Kill processes with their children, and wait until they are gone."""
    for worker in workers:
        assert worker.process.pid, "a worker's process was begun"
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.kill()  # it may not have made its session yet
    while workers:
        worker = workers.pop()
        worker.pipe.close()
        worker.process.join(END_S)
        if worker.process.exitcode is not None:
            worker.process.close()


def _end_of(process: ForkServerProcess) -> str:
    code = process.exitcode
    if code is None:
        return "closed its pipe"
    if code >= 0:
        return f"exit code {code}"
    known = -code in set(signal.Signals)
    return f"killed by {signal.Signals(-code).name if known else f'signal {-code}'}"


def _unpickled(message: bytes) -> Any:
    try:
        return pickle.loads(message)
    except Exception as error:  # noqa: BLE001 - raised again by `wait`, for its ticket
        return Raised(error, traceback.format_exc())


# In the child --------------------------------------------------------------------------------


def _work(pipe: Connection, level: int) -> None:
    """Answer tasks until the pipe ends."""
    os.setsid()
    for number in SIGNALS:  # handlers, which a task's children do not inherit
        signal.signal(number, _unheard)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.dup2(2, 1)  # standard output is for what a command answers
    sys.stdout = sys.stderr
    logging.basicConfig(level=level, format=LOG_FORMAT, force=True)
    here = os.getcwd()  # noqa: PTH109 - as it is given to chdir
    with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError):
        pipe.send_bytes(b"ready")
        while True:
            message = pipe.recv_bytes()
            os.chdir(here)
            pipe.send_bytes(_answer(message))


def _unheard(number: int, frame: FrameType | None) -> None:
    """Hear a signal and go on."""


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent, "a worker has a parent"
    parent.join()
    os.killpg(0, signal.SIGKILL)


def _answer(message: bytes) -> bytes:
    """The pickled answer of a pickled task, or what it raised."""
    try:
        return pickle.dumps(pickle.loads(message)())
    except Exception as error:  # noqa: BLE001 - raised again by the process that asked
        text = "".join(traceback.format_exception(error))
        try:
            told = pickle.dumps(Raised(error, text))
            pickle.loads(told)
        except Exception:  # noqa: BLE001 - an exception of its own kind that cannot travel
            return pickle.dumps(Raised(RuntimeError(f"{type(error).__name__}: {error}"), text))
        return told
