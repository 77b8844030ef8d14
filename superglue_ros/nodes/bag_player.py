"""Plays a bag once the nodes are ready, and says how many of its images were matched."""

from __future__ import annotations

import importlib.util
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.msg import Matches
from superglue_ros.nodes.parameters import NodeParameters
from superglue_ros.nodes.running import run_node
from superglue_ros.nodes.subscribing import IMAGE_KINDS, images_heard_by
from superglue_ros.nodes.watchdog import LOADING_S, published_by_others
from superglue_ros.options import check_options, option

MATCHES_QUEUE_SIZE = 50
POLL_S = 0.1

SETTLED_S = 3.0
"""Without matches for so long after the bag's end, the last of its images are done."""

STOP_TIMEOUT_S = 5.0
"""Time that the player has to end when it is told to."""


@dataclass(frozen=True)
class BagPlayerOptions:
    """What is played, and how; ValueError for a value that is none."""

    bag: str = option("", "Folder or file of the bag; needed")
    rate: float = option(1.0, "Speed of playing", range=(0.01, 100.0))
    delay_s: float = option(
        1.0,
        "Time that others have to find the player before the first message",
        unit="s",
        range=(0.0, 60.0),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if not Path(self.bag).exists() or not self.bag:
            raise ValueError(f"there is no bag {self.bag!r}")


class BagPlayer(Node):
    """Plays the bag by `ros2 bag play` with a clock, and ends ROS in this process with it.

    Subscribes matches; `image` and `status` only name the topics that the matcher listens to and
    the odometry publishes on. exit_status is 1 where nothing was matched. Raises SuperGlueRosError
    without rosbag2.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("bag_player", **options)
        self._options = NodeParameters(self, fixed=[BagPlayerOptions]).get(BagPlayerOptions)
        if importlib.util.find_spec("ros2bag") is None:
            raise SuperGlueRosError("there is no rosbag2: apt install ros-$ROS_DISTRO-ros2bag")
        self.exit_status = 0
        self._player: subprocess.Popen[bytes] | None = None
        self._played = False
        self._images: set[str] = set()
        self._matched = 0
        self._waiting_since = time.monotonic()
        self.create_subscription(
            Matches, "matches", self._on_matches, QoSProfile(depth=MATCHES_QUEUE_SIZE)
        )
        self.create_timer(POLL_S, self._poll, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_matches(self, message: Matches) -> None:
        self._matched += 1
        self._waiting_since = time.monotonic()

    def _poll(self) -> None:
        """Go on from waiting for the matcher to playing, and from playing to the end."""
        waited_s = time.monotonic() - self._waiting_since
        if self._player is None:
            if self._is_ready():
                self._play()
            elif waited_s > LOADING_S:
                self._end(f"matcher and odometry are not ready after {waited_s:.0f} s")
            return
        status = self._player.poll()
        if status is None:
            self._note_images()
        elif status:
            self._end(f"ros2 bag play ended with status {status}")
        elif not self._played:
            self._played, self._waiting_since = True, time.monotonic()
        elif waited_s > SETTLED_S:
            self._end("" if self._matched else f"nothing was matched: {self._what_came()}")

    def _is_ready(self) -> bool:
        """Whether there are an odometry, and a matcher, which listens to images last."""
        matchers = self.get_publishers_info_by_topic(self.resolve_topic_name("matches"))
        return self.count_publishers(self.resolve_topic_name("status")) > 0 and any(
            images_heard_by(self, m.node_name, m.node_namespace) for m in matchers
        )

    def _play(self) -> None:
        options = self._options
        command = [
            *("ros2", "bag", "play", options.bag, "--clock"),
            *("--rate", str(options.rate), "--delay", str(options.delay_s)),
        ]
        self.get_logger().info(f"the nodes are ready: {shlex.join(command)}")
        try:
            self._player = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        except OSError as error:
            self._end(f"cannot run ros2: {error}")

    def _note_images(self) -> None:
        """Keep the names of the topics of images that others than the matcher publish."""
        matcher = self.resolve_topic_name("matches").rpartition("/")[0]
        self._images |= {
            name
            for name, kinds in published_by_others(self).items()
            if IMAGE_KINDS & set(kinds) and not name.startswith(f"{matcher}/")
        }

    def _what_came(self) -> str:
        topic = self.resolve_topic_name("image")
        if topic in self._images:
            return f"there were images on {topic}, of which the matcher's log says more"
        others = ", ".join(sorted(self._images)) or "no other topic"
        return f"there were no images on {topic}, but on {others}"

    def _end(self, problem: str) -> None:
        if problem:
            self.exit_status = 1
            self.get_logger().fatal(problem)
        else:
            self.get_logger().info(f"the bag has been played, {self._matched} images are matched")
        rclpy.try_shutdown(context=self.context)

    def close(self) -> None:
        """End the player, which may have been told to stop as well."""
        if self._player is None or self._player.poll() is not None:
            return
        self._player.send_signal(signal.SIGINT)
        try:
            self._player.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._player.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Play until the bag's end, or until told to stop."""
    return run_node(BagPlayer, arguments)
