"""Ctrl-C that ends a long run but keeps what it has done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit status of a command stopped by Ctrl-C, as shells have it (128 + SIGINT)."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_at_interrupt() -> Iterator[Callable[[], bool]]:
    """A question whether Ctrl-C (or SIGTERM) has come: the first one is only noted, for the run to
    end by itself, a second one raises KeyboardInterrupt."""
    stopped = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    if threading.current_thread() is not threading.main_thread():
        # Signals come to the main thread alone.
        yield stopped.is_set
        return
    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield stopped.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
