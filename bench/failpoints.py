"""The real command, killed at a step of a commit: bench.failpoints STEP NTH ARGUMENT..."""

import os
import signal
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crawler.files import TEMPORARY_PREFIX
from crawler.ledger import Ledger
from dataset.index import PAIRS_NAME
from dataset.tasks import CLIPS, SOURCES

STEPS = (  # of the commit of a source or clip, then of the index
    *("before the rename", "after the rename", "in the ledger's ok", "after the index"),
    *("before the folder's flush", "before the ledger's ok", "before the ledger's pending"),
    *("after the ledger's pending", "in the ledger's pending", "after the folder's flush"),
    *("after the ledger's ok", "before the index"),
)
passed: Counter[str] = Counter()


def arrive(step: str) -> None:
    """Die if this is the step and the time; the index is written once the run is asked to end."""
    wanted, nth = sys.argv[1], int(sys.argv[2])
    passed[step] += 1
    if step == wanted and passed[step] == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted.endswith("the index") and step == "after the ledger's ok" and passed[step] == 1:
        os.kill(os.getpid(), signal.SIGTERM)


def patch_ledger() -> None:
    """Steps around each word to the ledger, and between its writing and its commit."""
    record, together = Ledger.record, Ledger.together
    told: list[str] = []

    def recorded(self: Ledger, stage: str, item: str, state: str, **more: Any) -> None:
        told.append(state)
        arrive(f"before the ledger's {state}")
        record(self, stage, item, state, **more)  # type: ignore[arg-type]
        told.pop()
        arrive(f"after the ledger's {state}")

    @contextmanager
    def counted(self: Ledger) -> Iterator[None]:
        with together(self):
            yield
            if told:
                arrive(f"in the ledger's {told[-1]}")

    Ledger.record, Ledger.together = recorded, counted  # type: ignore[assignment, method-assign]


def patch_files() -> None:
    """Steps around the renames to final names, and around the flush of their folder."""
    replace, fsync = os.replace, os.fsync

    def renamed(source: Any, target: Any, **more: Any) -> None:
        path = Path(target)
        final = not path.name.startswith(TEMPORARY_PREFIX)
        media = final and {SOURCES, CLIPS} & set(path.parts)
        thing = "rename" if media else "index" if path.name == PAIRS_NAME else "other"
        arrive(f"before the {thing}")
        replace(source, target, **more)
        arrive(f"after the {thing}")

    def flushed(handle: int) -> None:
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        if folder:
            arrive("before the folder's flush")
        fsync(handle)
        if folder:
            arrive("after the folder's flush")

    os.replace, os.fsync = renamed, flushed  # type: ignore[assignment]


if __name__ == "__main__":
    patch_ledger()
    patch_files()
    from cli import app

    app(args=sys.argv[3:])
