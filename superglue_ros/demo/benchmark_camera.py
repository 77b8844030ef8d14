"""The sender of `superglue_ros bench nodes`: images to a matcher node, its answers' times."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from superglue_ros.benchmarks.speed import noise_image
from superglue_ros.demo.node_process import NodeError, NodeProcess
from superglue_ros.msg import Matches
from superglue_ros.nodes.conversions import NS_PER_S, image_message, make_header

TIMEOUT_S = 120.0
NUM_IMAGES, SHIFT_PX = 40, 3


@dataclass(frozen=True)
class Counts:
    """Images, as the node counts them: that came, were matched, and made room for newer ones."""

    received: int
    matched: int
    dropped: int


class Camera(Node):
    """Sends shifted noise, and keeps the time at which each image's matches come.

    namespace: of both nodes; size: (width, height) of the images; process: of the matcher node.
    What waits raises NodeError where the node ends, reports a problem or takes more than
    TIMEOUT_S.
    """

    def __init__(self, namespace: str, size: tuple[int, int], process: NodeProcess) -> None:
        super().__init__("bench_camera", namespace=namespace)
        self._matcher = f"{namespace}/matcher_node"
        quality = QoSProfile(depth=100)
        self._process = process
        pixels, header = noise_image(size, 0), make_header(0, "camera")
        self._pictures = [
            image_message(np.roll(pixels, SHIFT_PX * i, axis=1), header) for i in range(NUM_IMAGES)
        ]
        self._changed = threading.Condition()
        self.sent = 0
        self.matches: dict[int, tuple[float, Matches]] = {}
        self._values: dict[str, str] = {}
        self._images = self.create_publisher(Image, "image", quality)
        self.create_subscription(Matches, "matcher_node/matches", self._on_matches, quality)
        self.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10)
        )

    def _on_matches(self, message: Matches) -> None:
        now = time.perf_counter()
        with self._changed:
            self.matches[message.header.stamp.sec] = now, message
            self._changed.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self._changed:
            for status in message.status:
                if status.name == self._matcher:
                    self._values = {value.key: value.value for value in status.values}
            self._changed.notify_all()

    def send(self) -> float:
        """Publish the next image, whose stamp is its number (`sent`) in seconds; the time before.

        Times are those of time.perf_counter, in seconds.
        """
        self.sent += 1
        message = self._pictures[self.sent % NUM_IMAGES]
        message.header = make_header(self.sent * NS_PER_S, "camera")
        started = time.perf_counter()
        self._images.publish(message)
        return started

    def wait_for_matches(self) -> tuple[float, Matches]:
        """Arrival and matches of the image sent last, which no newer one replaces."""
        self._wait(lambda: self.sent in self.matches, "the matches of an image")
        return self.matches[self.sent]

    def wait_until_heard(self) -> None:
        """Until the node listens and knows this listener."""
        self._wait(
            lambda: bool(
                self._images.get_subscription_count() and int(self._values.get("listeners", 0))
            ),
            "the node to listen",
        )

    def wait_for_counts(self) -> tuple[Counts, dict[str, str]]:
        """The node's counts and diagnostics once it is done with all images that came."""
        with self._changed:
            self._values = {}

        def settled() -> bool:
            counts = self._counts()
            return 0 < counts.received == counts.matched + counts.dropped

        self._wait(settled, "the node's diagnostics")
        with self._changed:
            return self._counts(), self._values

    def _counts(self) -> Counts:
        keys = ("images received", "images matched", "dropped: a newer image came")
        return Counts(*(int(self._values.get(key, 0)) for key in keys))

    def _wait(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        with self._changed:
            while not ready():
                self._process.check()
                problems = [key for key in self._values if key.startswith("problem: ")]
                if problems:
                    raise NodeError(f"matcher_node reports a {problems[0]}")
                if time.monotonic() > deadline:
                    raise NodeError(f"waited {TIMEOUT_S:.0f} s in vain for {what}")
                self._changed.wait(0.5)
