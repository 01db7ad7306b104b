"""Tasks for tests of worker processes; imports little, as every process reads it again."""

import contextlib
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


class PickyError(Exception):
    """An exception that pickles, but cannot be made again from what it pickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def double(number: int) -> int:
    return 2 * number


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


def big(size: int) -> bytes:
    return bytes(size)


def length(data: bytes) -> int:
    return len(data)


def fail(message: str) -> None:
    raise ValueError(message)


def fail_picky() -> None:
    raise PickyError("this", "that")


def unpicklable() -> Any:
    return lambda: None


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(code: int) -> None:
    sys.exit(code)


class Deadly:
    """Its pickling ends the process."""

    def __reduce__(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)
        return str, ()


def sockets() -> list[int]:
    """The pipe of answers, by its number."""
    found = []
    for number in range(3, 256):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                found.append(number)
    return found


def die_with_half_an_answer() -> None:
    """Write the head of an answer of a megabyte and four bytes of it, then die."""
    for number in sockets():
        os.write(number, b"\x00\x10\x00\x00half")
    die(signal.SIGKILL)


def pid() -> int:
    return os.getpid()


def where() -> str:
    return str(Path.cwd())


def upset() -> str:
    """Do what a library may do to its process."""
    sys.stdout.write("printed\n")
    os.chdir("/")
    for number in (0, 1, 2):
        os.close(number)
    return "upset"


def close_pipe() -> None:
    for number in sockets():
        os.close(number)
    time.sleep(60)


def close_all() -> None:
    os.closerange(3, 256)


def log() -> None:
    logging.getLogger("task").info("logged")
    sys.stdout.write("printed\n")


def modules() -> tuple[bool, bool, bool]:
    """Whether typer, the command line and `dataset.schema` are here."""
    return "typer" in sys.modules, "cli" in sys.modules, "dataset.schema" in sys.modules


def with_child(note: Path, seconds: float = 60.0) -> str:
    """Begin a child that sleeps for long, write down both ids, and wait for it."""
    child = subprocess.Popen(["sleep", str(seconds)])
    draft = note.with_suffix(".draft")
    draft.write_text(f"{os.getpid()} {child.pid}")
    draft.replace(note)
    return f"ended with {child.wait()}"
