"""Start and end of a node in this process."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import rclpy
from rclpy.exceptions import (
    NameValidationException,
    NotInitializedException,
    ParameterException,
)
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos_overriding_options import InvalidQosOverridesError

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.nodes.starting import STOP_SIGNALS

BAD_START = (
    *(SuperGlueRosError, ValueError, NameValidationException),
    *(ParameterException, InvalidQosOverridesError),
)
"""What a node raises that cannot be made of its parameters and names."""

_BAD_QOS = "Unexpected QoS override"
"""Beginning of a RuntimeError of rclpy's, for a word that is no policy's value."""


def run_node(make: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Make a node and spin it until SIGINT or SIGTERM; 1 with one line if it cannot be made.

    Told to stop, once or more often, it returns 0, as rclpy's own examples do. A node that ends
    by itself says with which status in `exit_status`.
    """
    node = None
    with _stopped_once() as made:
        try:
            _init(arguments)
            node = make()
            made()
            rclpy.spin(node)
        except BAD_START as error:
            if node is not None:
                raise
            return _cannot_start(error)
        except (KeyboardInterrupt, ExternalShutdownException):
            pass
        except (RuntimeError, NotInitializedException) as error:
            if node is None and str(error).startswith(_BAD_QOS):
                return _cannot_start(error)
            # Told to stop, rclpy raises errors of whatever needs ROS next.
            if rclpy.ok():
                raise
        finally:
            made()
            if node is not None:
                if hasattr(node, "close"):
                    node.close()
                node.destroy_node()
            rclpy.try_shutdown()
    return int(getattr(node, "exit_status", 0))


def _init(arguments: Sequence[str] | None) -> None:
    """rclpy.init, whose errors are all of wrong arguments or settings (SuperGlueRosError)."""
    try:
        rclpy.init(args=None if arguments is None else list(arguments))
    except RuntimeError as error:
        text = re.sub(r", at \S+:\d+", "", str(error))  # places in rcl's sources
        if type(error).__name__ == "UnknownROSArgsError":
            text = f"unknown ROS arguments: {text}"  # which is only a list
        raise SuperGlueRosError(text) from error


def _cannot_start(error: Exception) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


@contextmanager
def _stopped_once() -> Iterator[Callable[[], None]]:
    """Signals raise KeyboardInterrupt in the body, the first alone, until the function that this
    gives is called. From then on rclpy's own handlers end the spinning, and nothing breaks the
    end off."""
    interruptible = True

    def on_signal(number: int, frame: FrameType | None) -> None:
        if interruptible:
            made()
            raise KeyboardInterrupt

    def made() -> None:
        nonlocal interruptible
        interruptible = False

    if threading.current_thread() is not threading.main_thread():
        # Signals come to the main thread alone.
        yield made
        return
    before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        yield made
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
