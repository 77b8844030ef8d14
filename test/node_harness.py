"""What the tests of the nodes share: messages to send, and a node that listens to everything."""

from __future__ import annotations

import array
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from superglue_ros.demo.node_process import NodeProcess
from superglue_ros.msg import Features, Matches, OdometryStatus
from superglue_ros.nodes.conversions import camera_info_message, image_message, make_header
from superglue_ros.types import CameraModel, FrameMatches, ImageArray

TIMEOUT_S = 60.0
WIDTH, HEIGHT = 160, 120
TOPICS = (
    *("-r", "image:=/camera/image_raw", "-r", "camera_info:=/camera/camera_info"),
    *("-r", "matches:=/matcher_node/matches"),
    *("-p", "qos_overrides./camera/camera_info.subscription.reliability:=reliable"),
)
SMALL = (
    *("-p", "device:=cpu", "-p", "precision:=float32", "-p", "max_keypoints:=96"),
    *("-p", "sinkhorn_iterations:=5", "-p", "min_matches:=10"),
)


def wait_for(ready: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Poll until something is so; fails the test, saying what was awaited, after the time."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain for {what}"
        time.sleep(0.01)


def textured(shift: int = 0, width: int = WIDTH, height: int = HEIGHT) -> ImageArray:
    """A gray picture of random rectangles, moved to the left by `shift` pixels."""
    rng = np.random.default_rng(7)
    canvas = np.full((height, width + 200), 90, np.uint8)
    for _ in range(150):
        x, y = int(rng.integers(0, width + 190)), int(rng.integers(0, height - 10))
        w, h = rng.integers(4, 30, 2)
        canvas[y : y + h, x : x + w] = rng.integers(0, 256)
    return np.ascontiguousarray(canvas[:, shift : shift + width])


def image(stamp_ns: int, pixels: ImageArray | None = None) -> Image:
    """An image message, textured by default."""
    return image_message(textured() if pixels is None else pixels, make_header(stamp_ns, "eye"))


def depth_image(stamp_ns: int, depth_mm: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """A wall, as far away everywhere."""
    message = Image(header=make_header(stamp_ns, "eye"), height=height, width=width)
    message.encoding, message.step = "16UC1", 2 * width
    message.data = array.array("B", np.full((height, width), depth_mm, "<u2").tobytes())
    return message


def broken_image(stamp_ns: int, **fields: Any) -> Image:
    """A textured image with some fields replaced by wrong ones."""
    message = image(stamp_ns)
    for name, value in fields.items():
        setattr(message, name, array.array("B", value) if name == "data" else value)
    return message


def camera_info(stamp_ns: int, focal: float = 150.0, width: int = WIDTH) -> CameraInfo:
    """CameraInfo of a pinhole camera; focal 0 is what an uncalibrated driver sends."""
    matrix = np.zeros((3, 3))
    if focal:
        matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, 59.5], [0, 0, 1.0]])
    return camera_info_message(CameraModel(width, HEIGHT, matrix), make_header(stamp_ns, "eye"))


def some_matches(count: int, seed: int = 3) -> FrameMatches:
    """Matches of random points, well formed."""
    rng = np.random.default_rng(seed)
    return FrameMatches(
        stamp_ns=1_500_000_007,
        keyframe_stamp_ns=1_400_000_000,
        frame_id="eye",
        keyframe_id=4,
        is_keyframe=True,
        image_size=(640, 480),
        keyframe_image_size=(640, 470),
        keyframe_points=rng.uniform(0, 400, (count, 2)).astype(np.float32),
        points=rng.uniform(0, 400, (count, 2)).astype(np.float32),
        keyframe_indices=rng.permutation(count).astype(np.int32),
        indices=rng.permutation(count).astype(np.int32),
        confidences=rng.uniform(0, 1, count).astype(np.float32),
        num_features=count + 5,
        num_keyframe_features=count,
        extract_ms=12.5,
        match_ms=3.25,
        model="a+b",
        weights_hash="12ab+34cd",
    )


class Harness(Node):
    """Sends images and CameraInfo and keeps all that the two nodes publish."""

    def __init__(self) -> None:
        super().__init__("harness")
        quality = QoSProfile(depth=100)
        self.images = self.create_publisher(Image, "/camera/image_raw", quality)
        self.infos = self.create_publisher(CameraInfo, "/camera/camera_info", quality)
        self.matches: list[Matches] = []
        self.features: list[Features] = []
        self.pictures: list[Image] = []
        self.statuses: list[OdometryStatus] = []
        self.odometry: list[Odometry] = []
        self.paths: list[Path] = []
        self.landmarks: list[PointCloud2] = []
        self.values: dict[str, dict[str, str]] = {}
        self.said: dict[str, str] = {}
        self.levels: dict[str, bytes] = {}
        self.listen(Matches, "/matcher_node/matches", self.matches)
        self.listen(OdometryStatus, "/odometry_node/status", self.statuses)
        self.listen(Odometry, "/odometry_node/odometry", self.odometry)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, quality)

    def listen(self, kind: type, topic: str, messages: list[Any]) -> Any:
        """Append everything from a topic to a list."""
        return self.create_subscription(kind, topic, messages.append, QoSProfile(depth=100))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.values[status.name] = {value.key: value.value for value in status.values}
            self.said[status.name] = status.message
            self.levels[status.name] = status.level

    def wait_until_heard(self, *nodes: NodeProcess) -> None:
        """Until these processes listen to this node; NodeError when one of them has ended."""
        self.values.clear()

        def heard() -> bool:
            for node in nodes:
                node.check()
            return (
                self.images.get_subscription_count() >= 1
                and self.infos.get_subscription_count() >= len(nodes)
                and int(self.values.get("/matcher_node", {}).get("listeners", 0)) >= len(nodes)
            )

        wait_for(heard, "the nodes to listen")

    def problems(self, node: str = "/matcher_node") -> dict[str, int]:
        """Problems that a node's diagnostics count, by cause."""
        found = self.values.get(node, {}).items()
        return {k.split(": ", 1)[1]: int(v) for k, v in found if k.startswith("problem: ")}

    def send_and_match(self, message: Image, node: NodeProcess | None = None) -> Matches:
        """Send a good image and return its matches."""
        before = len(self.matches)
        self.images.publish(message)
        wait_for(lambda: len(self.matches) > before, "matches of a good image")
        if node is not None:
            node.check()
        return self.matches[-1]
