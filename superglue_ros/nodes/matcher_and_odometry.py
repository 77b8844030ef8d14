"""matcher_node and odometry_node in one process: ROS and Python once, matches from hand to hand.

    matcher_and_odometry [--matcher WORD...] [--odometry WORD...] [--ros-args ...]

A WORD is a parameter file or NAME=VALUE, a parameter, and counts for that node alone, later ones
before earlier; --ros-args count for both nodes, but less than a WORD.
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from superglue_ros.nodes.matcher_node import MatcherNode
from superglue_ros.nodes.matches_link import HandOver
from superglue_ros.nodes.odometry_node import OdometryNode
from superglue_ros.nodes.running import run_node

PARAMETER = re.compile(r"[\w.]+=")
MATCHES = ("-r", "matches:=matcher_node/matches")
"""What the odometry looks at to say what it misses; the matches come by hand."""


class SpunBeside:
    """A node in a thread and executor of its own, so that it and the node of the main thread wait
    for each other no more than two processes would; a defect of either ends both."""

    def __init__(self, node: Node) -> None:
        self._node, self.failed = node, False
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name=node.get_name(), daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:
            # Told to stop between two waits, rclpy raises an error of the next one.
            if self._node.context.ok():
                self.failed = True
                traceback.print_exc()
                rclpy.try_shutdown(context=self._node.context)

    def end(self) -> None:
        """Wait for the thread, and destroy the node, once ROS is shut down."""
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both nodes until they are told to stop, as `run_node`."""
    words = sys.argv[1:] if arguments is None else arguments
    # rclpy takes the first for the program's name.
    own = parser().parse_args(remove_ros_args(["", *words])[1:])
    hand_over = HandOver()
    beside: list[SpunBeside] = []

    def make() -> Node:
        # The odometry first: it says at once which of its parameters does not suit.
        odometry = OdometryNode(hand_over, cli_args=[*of_node(own.odometry), *MATCHES])
        beside.append(SpunBeside(odometry))
        return MatcherNode(hand_over, cli_args=of_node(own.matcher))

    try:
        status = run_node(make, arguments)
    finally:
        for node in beside:
            node.end()
    return status or int(any(node.failed for node in beside))


def parser() -> argparse.ArgumentParser:
    """Of what is not ROS's own."""
    result = argparse.ArgumentParser(
        prog="matcher_and_odometry",
        description="matcher_node and odometry_node in one process.",
        epilog="--ros-args count for both nodes.",
    )
    for name in ("matcher", "odometry"):
        result.add_argument(
            f"--{name}", type=_word, nargs="+", default=[], metavar="FILE|NAME=VALUE",
            help=f"parameter files and parameters of {name}_node alone, later ones win",
        )  # fmt: skip
    return result


def _word(text: str) -> str:
    if not PARAMETER.match(text) and not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a file nor NAME=VALUE")
    return text


def of_node(words: Sequence[str]) -> list[str]:
    """What ROS calls parameter files and parameters given as NAME=VALUE."""
    found = ["--ros-args"]
    for word in words:
        if PARAMETER.match(word):
            found += ["-p", word.replace("=", ":=", 1)]
        else:
            found += ["--params-file", word]
    return found
