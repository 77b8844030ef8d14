"""Throughput beside other work: processes that keep the cores busy while frames are matched."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

_SPIN = """\
import os, select
busy = False
while True:
    if select.select([0], [], [], 0 if busy else None)[0]:
        word = os.read(0, 1)
        if not word:
            break
        busy = word == b"1"
    for _ in range(100000):
        pass
"""
"""Computes from a "1" on its standard input to the next "0", and ends with who started it."""


@dataclass(frozen=True)
class Throughput:
    """Frames a second alone and beside so many busy processes, each of several turns."""

    processes: int
    idle_frames_per_s: tuple[float, ...]
    busy_frames_per_s: tuple[float, ...]

    @property
    def busy_percent(self) -> float:
        """What is left of the idle throughput, by the medians."""
        return 100 * float(np.median(self.busy_frames_per_s) / np.median(self.idle_frames_per_s))


class BusyProcesses:
    """Processes of normal priority that compute while they are told to."""

    def __init__(self, processes: list[subprocess.Popen[bytes]]) -> None:
        self._processes = processes

    def tell(self, busy: bool) -> None:
        """Let all compute, or rest."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.write(b"1" if busy else b"0")
                process.stdin.flush()


@contextmanager
def busy_processes(count: int) -> Iterator[BusyProcesses]:
    """So many processes, at rest, which end with the body."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            command = [sys.executable, "-S", "-c", _SPIN]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        yield BusyProcesses(started)
    finally:
        for process in started:
            process.kill()
            process.communicate()


def measure_throughput(
    frame: Callable[[], Any], processes: int, turns: int, seconds: float = 2.0
) -> Throughput:
    """Call `frame` for at least so many seconds alone, then beside busy processes, in turns.

    It has to wait for its work. The first call of each turn is not counted. ValueError for less
    than one process or turn.
    """
    if processes < 1 or turns < 1:
        raise ValueError(f"at least one process and turn are needed: {processes}, {turns}")
    rates: dict[bool, list[float]] = {False: [], True: []}
    with busy_processes(processes) as others:
        for _ in range(turns):
            for busy, found in rates.items():
                others.tell(busy)
                frame()
                found.append(_rate(frame, seconds))
    return Throughput(processes, tuple(rates[False]), tuple(rates[True]))


def _rate(frame: Callable[[], Any], seconds: float) -> float:
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or count < 1:
        frame()
        count += 1
    return count / elapsed
