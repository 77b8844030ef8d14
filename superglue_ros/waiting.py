"""How the threads of OpenMP, by which torch computes, wait for each other."""

from __future__ import annotations

import os

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Environment variables that say how they wait: OpenMP's own, GNU's and Intel's."""


def wait_passively() -> None:
    """Let threads give the core away while they wait, in this process and those that it starts.

    By default they spin, which beside other work takes most of the cores' time. What the
    environment says of it already stays. It is read once, when torch is first imported: what is
    set later holds for the processes started from then on.
    """
    if not _set_ones():
        os.environ[SETTINGS[0]] = "PASSIVE"


def waiting_settings() -> str:
    """What the environment says of it, "default" for nothing."""
    return " ".join(f"{name}={os.environ[name]}" for name in _set_ones()) or "default"


def _set_ones() -> list[str]:
    return [name for name in SETTINGS if name in os.environ]
