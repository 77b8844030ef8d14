"""Frames over DDS, as a camera driver would publish them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from superglue_ros.demo.node_process import NodeProcess
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.msg import OdometryStatus
from superglue_ros.nodes.conversions import (
    NS_PER_S,
    camera_info_message,
    depth_message,
    image_message,
    make_header,
    stamp_to_ns,
)
from superglue_ros.types import Frame

QUEUE_SIZE = 5
POLL_S = 0.002
PATIENCE_S = 5.0
NODES = 2


class PlaybackError(SuperGlueRosError):
    """Nobody listens, or nobody answers, within the time allowed."""


@dataclass(frozen=True)
class Playback:
    """How frames are played.

    rate: times the speed of the stamps, infinity for as fast as `max_ahead` allows. max_ahead: so
    many frames may be out without an answer of both nodes; 1 is lockstep, from 3 on the matcher
    may drop frames (one is being matched, one waits), 0 never waits. listeners: subscriptions of
    the matches to wait for at the start. timeout_s: for the nodes to appear, and in lockstep to
    answer.
    """

    rate: float = 1.0
    max_ahead: int = 0
    listeners: int = 1
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ValueError(f"rate must be positive, not {self.rate}")
        if self.max_ahead < 0:
            raise ValueError(f"max_ahead must not be negative, not {self.max_ahead}")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be positive, not {self.timeout_s}")


class Player(Node):
    """Publishes `image_raw`, `camera_info`, with_depth `depth` and with_right `image_right` and
    `camera_info_right`, and listens for the answers of the two nodes in the namespace `nodes`.

    Something else must spin it (`node_process.spinning`).
    """

    def __init__(
        self,
        playback: Playback,
        namespace: str = "camera",
        with_depth: bool = False,
        with_right: bool = False,
        nodes: str = "",
    ) -> None:
        super().__init__("player", namespace=namespace)
        self._playback = playback
        quality = QoSProfile(depth=QUEUE_SIZE)
        self._images = self.create_publisher(Image, "image_raw", quality)
        self._infos = self.create_publisher(CameraInfo, "camera_info", quality)
        self._depths = self.create_publisher(Image, "depth", quality) if with_depth else None
        self._rights = (
            (
                self.create_publisher(Image, "image_right", quality),
                self.create_publisher(CameraInfo, "camera_info_right", quality),
            )
            if with_right
            else ()
        )
        self._nodes = nodes
        self._started: tuple[float, int] | None = None
        self._sent_ns: deque[int] = deque(maxlen=max(playback.max_ahead, 1))
        self._estimated_ns: int | None = None
        self._matches_listeners = 0
        self._with_camera: set[str] = set()
        self.create_subscription(
            OdometryStatus, f"{nodes}/odometry_node/status", self._on_status, QoSProfile(depth=50)
        )
        self.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10)
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """The nodes alone know what has reached them; the graph tells it too early."""
        for status in message.status:
            if not status.name.startswith(f"{self._nodes}/"):
                continue
            if any(v.key == "camera_info" and v.value == "received" for v in status.values):
                self._with_camera.add(status.name)
            if status.name == f"{self._nodes}/matcher_node":
                values = {value.key: value.value for value in status.values}
                self._matches_listeners = int(values.get("listeners", 0))

    def _on_status(self, message: OdometryStatus) -> None:
        self._estimated_ns = stamp_to_ns(message.header.stamp)

    def wait_for_listeners(self, nodes: Sequence[NodeProcess] = ()) -> None:
        """Wait until the nodes listen; PlaybackError when the time is over, NodeError when one of
        these processes has ended."""
        self._wait(self._heard, "no node listens to the images and answers them", nodes)

    def _heard(self) -> bool:
        return (
            self._images.get_subscription_count() > 0
            and self._infos.get_subscription_count() >= NODES
            and (self._depths is None or self._depths.get_subscription_count() > 0)
            and all(right.get_subscription_count() > 0 for right in self._rights)
            and self._matches_listeners >= self._playback.listeners
        )

    def play_frame(self, frame: Frame) -> None:
        """Publish a frame when it is due; PlaybackError where the nodes do not answer."""
        if self._started is None:
            self._introduce_camera(frame)
            self._started = (time.monotonic(), frame.stamp_ns)
        started, first_ns = self._started
        due = started + (frame.stamp_ns - first_ns) / NS_PER_S / self._playback.rate
        if self._playback.max_ahead and len(self._sent_ns) == self._playback.max_ahead:
            self._await(self._sent_ns[0])
        time.sleep(max(0.0, due - time.monotonic()))
        self._publish(frame)
        self._sent_ns.append(frame.stamp_ns)

    @property
    def started_s(self) -> float:
        """Time (time.monotonic) of the first frame, once the nodes knew the camera; ValueError
        before."""
        if self._started is None:
            raise ValueError("no frame has been played")
        return self._started[0]

    def _introduce_camera(self, frame: Frame) -> None:
        """Repeat the CameraInfo until both nodes have it, or the first matches find none."""
        deadline = time.monotonic() + self._playback.timeout_s
        while frame.camera is not None and len(self._with_camera) < NODES:
            self._publish_info(frame)
            if time.monotonic() > deadline:
                raise PlaybackError("the nodes have got no CameraInfo")
            time.sleep(0.1)

    def _publish_info(self, frame: Frame) -> None:
        if frame.camera is not None:
            header = make_header(frame.stamp_ns, frame.frame_id)
            self._infos.publish(camera_info_message(frame.camera, header))
            if self._rights:
                baseline_m = frame.baseline_m or 0.0
                self._rights[1].publish(camera_info_message(frame.camera, header, baseline_m))

    def _publish(self, frame: Frame) -> None:
        header = make_header(frame.stamp_ns, frame.frame_id)
        self._publish_info(frame)
        if self._depths is not None and frame.depth_m is not None:
            self._depths.publish(depth_message(frame.depth_m, header))
        if self._rights and frame.right is not None:
            self._rights[0].publish(image_message(frame.right, header))
        self._images.publish(image_message(frame.image, header))

    def _await(self, stamp_ns: int) -> None:
        """Wait for the answer to a frame. Without lockstep a frame may well get none: it was lost
        on the way, or was no image; so the playing goes on after a while."""

        def answered() -> bool:
            return self._estimated_ns is not None and self._estimated_ns >= stamp_ns

        if self._playback.max_ahead == 1:
            self._wait(answered, f"no answer to the frame of {stamp_ns / NS_PER_S:.6f} s")
            return
        deadline = time.monotonic() + PATIENCE_S
        while not answered() and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _wait(
        self, ready: Callable[[], bool], complaint: str, nodes: Sequence[NodeProcess] = ()
    ) -> None:
        deadline = time.monotonic() + self._playback.timeout_s
        while not ready():
            for node in nodes:
                node.check()
            if time.monotonic() > deadline:
                raise PlaybackError(f"{complaint} within {self._playback.timeout_s:g} s")
            time.sleep(POLL_S)
