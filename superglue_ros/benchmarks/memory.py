"""Memory of this process and of calls in it (Linux)."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from superglue_ros.errors import SuperGlueRosError

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def peak_growth_mb(function: Callable[[], Any], device: torch.device) -> float:
    """MiB that a call needs at most beyond what is in use before it.

    Of the device's memory on a GPU, else of the process. The call is made twice, so that what
    stays (caches, kernels) is not counted. SuperGlueRosError where Linux' /proc is missing.
    """
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    _give_back()
    reset_peak()
    before_mb = resident_mb()
    function()
    return peak_mb() - before_mb


def reset_peak() -> None:
    """Count the process's peak from now on."""
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    except OSError as error:
        raise SuperGlueRosError(f"memory cannot be measured here: {error}") from error


def peak_mb() -> float:
    """MiB that the process held at most since the last `reset_peak`."""
    return _status_mb("VmHWM")


def resident_mb() -> float:
    """MiB that the process holds."""
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float:
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise SuperGlueRosError(f"memory cannot be measured here: {error}") from error
    kib = next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))
    return kib / 1024


def _give_back() -> None:
    """Return freed memory to the system: what a call takes from the heap would not be seen."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
