"""What the commands of `superglue_ros bench` that need ROS have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from superglue_ros.benchmarks.machine import describe_machine
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.reporting.files import write_json

INTERRUPTED = 130


def run_command(work: Callable[[], None]) -> int:
    """Do the work; 1 with one line for what users can mend, 130 where they interrupt it."""
    try:
        work()
    except SuperGlueRosError as error:
        print(f"superglue_ros: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("superglue_ros: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def print_machine() -> dict[str, str]:
    """Print commit, processor and versions; the same as a dictionary."""
    machine = describe_machine()
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    return machine


def write_figures(path: Path, machine: dict[str, str], **results: object) -> None:
    """Write figures as JSON, with what they were measured on; SuperGlueRosError."""
    write_json(path, {"machine": machine, **results})
