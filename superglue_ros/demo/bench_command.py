"""What the commands of `superglue_ros bench` that need ROS have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

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


def add_parameters(parser: argparse.ArgumentParser, text: str = "of the matcher node") -> None:
    """Add --parameters, as `node_pair.parameter_words` takes them."""
    parser.add_argument(
        "--parameters", nargs="+", default=[], metavar="FILE|NAME:=VALUE", help=text
    )


def write_figures(path: Path, machine: dict[str, str], **results: object) -> None:
    """Write figures as JSON, with what they were measured on; SuperGlueRosError."""
    write_json(path, {"machine": machine, **results})
