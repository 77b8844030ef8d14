"""Start and end of a node in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from superglue_ros.errors import SuperGlueRosError


def run_node(make: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Make a node and spin it until SIGINT or SIGTERM; 1 with one line if it cannot be made.

    A node that ends by itself says with which status in `exit_status`.
    """
    rclpy.init(args=None if arguments is None else list(arguments))
    node = None
    try:
        node = make()
        rclpy.spin(node)
    except (SuperGlueRosError, ValueError) as error:
        if node is not None:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # Told to stop between two waits, rclpy raises an error of the next one.
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            if hasattr(node, "close"):
                node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return int(getattr(node, "exit_status", 0))
