"""Start and end of a node's process, whose imports take seconds, and its interpreter's end too."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from superglue_ros.waiting import wait_briefly

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def start(module: str) -> NoReturn:
    """Import a node's module, run its `main` and end the process with its status.

    Told to stop during the import, the process ends at once with status 0, as it does later on.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _on_signal)
    wait_briefly()  # before the node's module imports torch
    _end(int(importlib.import_module(module).main()))


def _on_signal(number: int, frame: FrameType | None) -> None:
    _end(0)


def _end(status: int) -> NoReturn:
    """End the process, and not the interpreter first: with torch that takes seconds on a busy
    machine, and aborts where a thread still computes. ROS has been shut down by then."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
