"""Ctrl-C and SIGTERM as a wish: finish what is in hand and begin nothing new."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_drains: list[Callable[[int, FrameType | None], None]] = []  # the handlers of those within


@contextmanager
def draining() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one acts as before.

    Within another `draining` the first sets that one's event too. Outside the main thread, where
    no handler can be set, the event is never set.
    """
    stop = threading.Event()
    before: dict[int, Any] = {}

    def drain(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])
        if before[number] in _drains:
            before[number](number, frame)

    _drains.append(drain)
    if threading.current_thread() is threading.main_thread():
        for number in (int(signal.SIGINT), int(signal.SIGTERM)):
            before[number] = signal.signal(number, drain)
    try:
        yield stop
    finally:
        _drains.remove(drain)
        for number, handler in before.items():
            signal.signal(number, handler)
