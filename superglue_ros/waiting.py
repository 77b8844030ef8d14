"""How the threads of OpenMP, by which torch computes, wait for each other."""

from __future__ import annotations

import os

BRIEFLY = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"}
"""Give the core away, and with GNU's OpenMP, which torch's wheels bring, only after some
microseconds: to sleep at once takes a tenth of the speed where nothing else runs."""

SETTINGS = (*BRIEFLY, "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Environment variables that say how they wait: OpenMP's own, GNU's and Intel's."""


def wait_briefly() -> None:
    """Let waiting threads give the core away, in this process and those that it starts.

    By default they spin for milliseconds, which beside other work takes most of the cores' time.
    Where the environment says anything of it, it stays. It is read once, when torch is first
    imported: what is set later holds for the processes started from then on.
    """
    if not any(name in os.environ for name in SETTINGS):
        os.environ.update(BRIEFLY)


def waiting_settings() -> str:
    """What the environment says of it, "default" for nothing."""
    return " ".join(f"{n}={os.environ[n]}" for n in SETTINGS if n in os.environ) or "default"
