"""Problems of a node: each counted, logged in one throttled line, and shown in /diagnostics."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

DIAGNOSTICS_PERIOD_S = 1.0

LOG_PERIOD_S = 10.0
"""A cause that keeps on is logged this often."""

MOST_LETTERS = 200
"""Of a cause or a line: what a message holds, and its report quotes, may be of any length."""

MAX_CAUSES = 40
"""From so many causes on, new ones (names of encodings, say) count as one."""

OVERHEAD = "latency without inference"
"""Name of a value of the matcher's: from an image's callback to its matches published."""

SILENCE_S = 3.0
"""Without an event for so long, what came often has stopped."""

WINDOW = 100
"""Latest samples that rates and latencies are taken from."""


class Problems:
    """Counts problems by cause, and logs each cause at most once in a while."""

    def __init__(self, log: Callable[[str], object], period_s: float = LOG_PERIOD_S) -> None:
        self._log = log
        self._period_s = period_s
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._logged: dict[str, tuple[float, int]] = {}

    def report(self, cause: str, text: str) -> None:
        """Count a problem; its text becomes one log line unless the cause was logged just now.

        Numbers in the cause do not tell causes apart.
        """
        now = time.monotonic()
        cause = re.sub(r"\d+(\.\d+)?", "#", shortened(cause))
        with self._lock:
            if cause not in self._counts and len(self._counts) >= MAX_CAUSES:
                cause = "other"
            self._counts[cause] += 1
            count = self._counts[cause]
            logged, count_then = self._logged.get(cause, (-np.inf, 0))
            if now - logged < self._period_s:
                return
            self._logged[cause] = (now, count)
        missed = count - count_then - 1
        more = f" ({missed} more since the last such line)" if missed else ""
        self._log(shortened(text) + more)

    def count(self, cause: str) -> None:
        """Count what is normal and needs no line."""
        with self._lock:
            self._counts[cause] += 1

    @property
    def counts(self) -> dict[str, int]:
        """Problems so far, by cause."""
        with self._lock:
            return dict(self._counts)


def shortened(text: str) -> str:
    """The text in one line of at most `MOST_LETTERS`."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS - 3]}..."


class Rate:
    """Events per second over the latest ones."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=WINDOW)
        self.count = 0

    def tick(self) -> None:
        """Count one event now; what was before a silence is no measure of the rate."""
        if self.silent_s():
            self._times.clear()
        self._times.append(time.monotonic())
        self.count += 1

    def per_second(self) -> float:
        """Events per second from the first of the window to now; 0 once they have stopped."""
        times = list(self._times)
        if len(times) < 2 or self.silent_s():
            return 0.0
        return (len(times) - 1) / max(time.monotonic() - times[0], 1e-9)

    def silent_s(self) -> float:
        """Seconds for which events that came before have stopped, 0 while they come: five times
        as long as they were apart, and at least `SILENCE_S`."""
        times = list(self._times)
        if not times:
            return 0.0
        silent = time.monotonic() - times[-1]
        apart = (times[-1] - times[0]) / max(len(times) - 1, 1)
        return silent if silent > max(SILENCE_S, 5 * apart) else 0.0


class Milliseconds:
    """Median, nine tenths and worst of the latest durations."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=WINDOW)

    def add(self, milliseconds: float) -> None:
        """Add one duration."""
        self._values.append(milliseconds)

    def __str__(self) -> str:
        values = list(self._values)
        if not values:
            return "none yet"
        median, high = np.percentile(values, [50, 90])
        return f"median {median:.2f} ms, 90 % under {high:.2f} ms, worst {max(values):.2f} ms"


def diagnose_regularly(node: Node, publish: Callable[[], None]) -> None:
    """Call every second of a steady clock: simulated time may stand still, and that is worth
    saying."""
    clock = Clock(clock_type=ClockType.STEADY_TIME)
    node.create_timer(DIAGNOSTICS_PERIOD_S, publish, clock=clock)


def diagnostics(
    stamp: object,
    name: str,
    hardware: str,
    problem: str,
    values: dict[str, object],
    failing: bool = False,
) -> DiagnosticArray:
    """One status of a node; `problem`, if there is one, makes it a warning, and an error where
    nothing succeeds any more."""
    status = DiagnosticStatus(name=name, hardware_id=hardware, message=problem or "working")
    level = DiagnosticStatus.ERROR if failing else DiagnosticStatus.WARN
    status.level = level if problem else DiagnosticStatus.OK
    status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message
