"""Memory and processor time of other processes (Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from superglue_ros.errors import SuperGlueRosError


@dataclass(frozen=True)
class ProcessUse:
    """What a process uses: pss_mb, its own memory and its share of what it has in common with
    others, and rss_mb, with all of that, in MiB; cpu_s, seconds of all its threads so far."""

    pss_mb: float
    rss_mb: float
    cpu_s: float


def read_process(pid: int) -> ProcessUse:
    """What a process uses now; SuperGlueRosError where it has ended or Linux' /proc is missing."""
    folder = Path("/proc", str(pid))
    try:
        memory = (folder / "smaps_rollup").read_text(encoding="ascii")
        times = (folder / "stat").read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise SuperGlueRosError(f"process {pid} cannot be measured: {error}") from error
    kib = {
        words[0]: int(words[1])
        for words in (line.split() for line in memory.splitlines())
        if words[-1] == "kB"
    }
    if "Pss:" not in kib:
        raise SuperGlueRosError(f"process {pid} cannot be measured: it has ended")
    # The name, in brackets, may hold spaces; user and system time are fields 14 and 15.
    fields = times.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ProcessUse(kib["Pss:"] / 1024, kib["Rss:"] / 1024, ticks / os.sysconf("SC_CLK_TCK"))
