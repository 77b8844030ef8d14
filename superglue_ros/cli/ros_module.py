"""Subcommands that need ROS 2, which the command line itself never imports."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

from superglue_ros.errors import SuperGlueRosError


def loopback_only() -> dict[str, str]:
    """What keeps DDS on this machine. ROS 2 Humble has a variable of its own, of which later
    distributions warn, so that it is set there alone."""
    variables = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    if os.environ.get("ROS_DISTRO") == "humble":
        variables["ROS_LOCALHOST_ONLY"] = "1"
    return variables


def ros_is_there() -> bool:
    """Whether this process can import ROS 2 and this package's messages."""
    return all(importlib.util.find_spec(part) for part in ("rclpy", "superglue_ros.msg"))


def run_ros_module(name: str, module: str, words: Sequence[str]) -> int:
    """Become `python -m module words`, so that signals reach it; SuperGlueRosError without ROS."""
    if not ros_is_there():
        raise SuperGlueRosError(
            f"{name} needs ROS 2 and this package built: make setup, then "
            "source install/setup.bash"
        )
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *words])
