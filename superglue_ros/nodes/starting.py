"""Start and end of a node's process, around imports that take seconds and threads that compute."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def start(module: str) -> NoReturn:
    """Import a node's module, run its `main` and end the process with its status.

    Told to stop during the import, the process ends at once with status 0, as it does later on.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _end_at_once)
    status = int(importlib.import_module(module).main())
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # it ends already
    if threading.active_count() > 1:
        # The interpreter would end under a thread that is busy in C++, which aborts the process.
        _end(status)
    sys.exit(status)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    _end(0)


def _end(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
