"""A word on what takes long, where nothing else shows it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 1.0
"""What is done sooner needs no word."""


@contextmanager
def said_if_slow(text: str, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Say on standard error what is being done, once it has taken a second."""
    timer = threading.Timer(patience_s, _say, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(text: str) -> None:
    print(f"superglue_ros: {text} ...", file=sys.stderr, flush=True)
