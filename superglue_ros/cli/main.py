"""The console command `superglue_ros`: finds the subcommand, prints known errors in one line."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import os
import shlex
import sys
from collections.abc import Sequence

from superglue_ros.cli.interrupts import INTERRUPTED
from superglue_ros.cli.progress import said_if_slow
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.waiting import wait_briefly

SUBCOMMANDS: dict[str, str] = {
    "match": "match two images",
    "replay": "run matching and odometry over a bag, folder, video or dataset",
    "demo": "play a flight or a recording through both nodes, with ROS 2",
    "map": "make a map of keyframes from a recording",
    "localize": "find the images of a recording in a map",
    "evaluate": "relative poses, homographies and trajectories against ground truth",
    "train": "train SuperPoint or SuperGlue",
    "bench": "milliseconds per stage, frames/s and memory",
    "export": "export the networks, or a sequence's matches",
    "weights": "list, verify and import checkpoints",
    "world": "write pictures of the procedural world",
}
"""Subcommands and their one line; each lives in the module of its name in this folder."""

PACKAGE = "superglue_ros.cli"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 for a known error, 2 for bad usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    wait_briefly()
    parser = build_parser(words)
    namespace = parser.parse_args(words)
    namespace.command = shlex.join(["superglue_ros", *words])
    logging.basicConfig(
        level=logging.DEBUG if namespace.verbose else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
    )
    if not hasattr(namespace, "run"):
        parser.print_help()
        return 2
    try:
        return int(namespace.run(namespace))
    except SuperGlueRosError as error:
        return _fail(error, namespace.verbose)
    except BrokenPipeError:
        # The reader (head, less) went away: no traceback, and none at interpreter exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(error, namespace.verbose)
    except KeyboardInterrupt:
        print("superglue_ros: interrupted", file=sys.stderr)
        return INTERRUPTED


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Parser with all subcommands; only the module of the one named in `words` is imported.

    A subcommand's module offers `add_parser(subparsers) -> None`, which adds a parser of its name
    and `set_defaults(run=run)`, and `run(args) -> int`.
    """
    parser = argparse.ArgumentParser(
        prog="superglue_ros",
        description="SuperPoint + SuperGlue matching and visual odometry, with and without ROS.",
    )
    parser.add_argument("--verbose", action="store_true", help="debug log and tracebacks")
    subparsers = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND")
    chosen = next((word for word in words if not word.startswith("-")), "")
    for name, summary in SUBCOMMANDS.items():
        if importlib.util.find_spec(f"{PACKAGE}.{name}") is None:
            continue
        if name == chosen:
            with said_if_slow("loading its libraries"):
                module = importlib.import_module(f"{PACKAGE}.{name}")
            module.add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary, description=summary)
    return parser


def _fail(error: Exception, verbose: bool) -> int:
    if verbose:
        logging.getLogger("superglue_ros").exception("traceback of the error below")
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"superglue_ros: error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
