"""Frames of a bag, folder or video over DDS, as a camera driver would publish them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.msg import Matches, OdometryStatus
from superglue_ros.nodes.conversions import (
    NS_PER_S,
    camera_info_message,
    image_message,
    make_header,
    stamp_to_ns,
)
from superglue_ros.sources import FrameSource
from superglue_ros.types import Frame

DEPTH = 5
POLL_S = 0.002


class PlaybackError(SuperGlueRosError):
    """Nobody listens, or nobody answers, within the time allowed."""


@dataclass(frozen=True)
class Playback:
    """How frames are played.

    rate: times the speed of the stamps. lockstep: instead, each frame waits until the one before
    was matched and estimated. listeners: subscriptions of the image to wait for at the start.
    """

    rate: float = 1.0
    lockstep: bool = False
    listeners: int = 1
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ValueError(f"rate must be positive, not {self.rate}")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be positive, not {self.timeout_s}")


class Player(Node):
    """Publishes `image_raw` and `camera_info`; for lockstep it listens to the two nodes.

    Something else must spin it (`running.spinning`).
    """

    def __init__(self, playback: Playback, namespace: str = "camera") -> None:
        super().__init__("player", namespace=namespace)
        self._playback = playback
        quality = QoSProfile(depth=DEPTH)
        self._images = self.create_publisher(Image, "image_raw", quality)
        self._infos = self.create_publisher(CameraInfo, "camera_info", quality)
        self._matched_ns: set[int] = set()
        self._estimated_ns: set[int] = set()
        if playback.lockstep:
            topics = (
                (Matches, "/matcher_node/matches", self._matched_ns),
                (OdometryStatus, "/odometry_node/status", self._estimated_ns),
            )
            for kind, topic, stamps in topics:
                self.create_subscription(kind, topic, _collect(stamps), QoSProfile(depth=50))

    def wait_for_listeners(self) -> None:
        """Wait until the nodes listen; PlaybackError when the time is over."""
        self._wait(self._heard, "no node listens to the images and answers them")

    def _heard(self) -> bool:
        ready = self._images.get_subscription_count() >= self._playback.listeners
        if self._playback.lockstep:
            ready &= self.count_publishers("/matcher_node/matches") > 0
            ready &= self.count_publishers("/odometry_node/status") > 0
            ready &= self.count_subscribers("/matcher_node/matches") > 1
            ready &= self._infos.get_subscription_count() >= 2
        return ready

    def play(self, source: FrameSource, progress: Callable[[Frame], object]) -> int:
        """Publish all frames; returns how many. PlaybackError where lockstep gets no answer."""
        count = 0
        started, first_ns = time.monotonic(), 0
        for frame in source:
            if not count:
                first_ns = frame.stamp_ns
            if not self._playback.lockstep:
                due = started + (frame.stamp_ns - first_ns) / NS_PER_S / self._playback.rate
                time.sleep(max(0.0, due - time.monotonic()))
            self._publish(frame)
            if self._playback.lockstep:
                self._await(frame.stamp_ns)
            count += 1
            progress(frame)
        return count

    def _publish(self, frame: Frame) -> None:
        header = make_header(frame.stamp_ns, frame.frame_id)
        if frame.camera is not None:
            self._infos.publish(camera_info_message(frame.camera, header))
        self._images.publish(image_message(frame.image, header))

    def _await(self, stamp_ns: int) -> None:
        self._wait(
            lambda: stamp_ns in self._matched_ns and stamp_ns in self._estimated_ns,
            f"no answer to the frame of {stamp_ns / NS_PER_S:.6f} s",
        )

    def _wait(self, ready: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + self._playback.timeout_s
        while not ready():
            if time.monotonic() > deadline:
                raise PlaybackError(f"{complaint} within {self._playback.timeout_s:g} s")
            time.sleep(POLL_S)


def _collect(stamps: set[int]) -> Callable[[Matches | OdometryStatus], None]:
    return lambda message: stamps.add(stamp_to_ns(message.header.stamp))
