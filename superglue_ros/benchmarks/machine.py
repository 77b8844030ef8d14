"""What a measurement was made on."""

from __future__ import annotations

import platform
from pathlib import Path

import cv2
import torch

from superglue_ros.provenance import source_commit
from superglue_ros.waiting import waiting_settings


def describe_machine() -> dict[str, str]:
    """Commit, processor, threads, GPU and versions, for the head of a table."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "commit": source_commit(),
        "cpu": _cpu_name(),
        "threads": str(torch.get_num_threads()),
        "waiting": waiting_settings(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
    }


def print_machine() -> dict[str, str]:
    """Print what `describe_machine` says in a line; the same as a dictionary."""
    machine = describe_machine()
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    return machine


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
