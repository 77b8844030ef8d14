"""Sends both nodes of a camera what their topics may carry, made wrong at random."""

from __future__ import annotations

import array
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from superglue_ros.demo.spoiling import spoil
from superglue_ros.msg import Matches
from superglue_ros.nodes.conversions import (
    camera_info_message,
    depth_message,
    image_message,
    make_header,
)
from superglue_ros.types import Frame

QUEUE_SIZE = 1000
APART_NS = 1_000_000
"""Of stamps of wrong pairs: less than frames are."""


@dataclass(frozen=True)
class Rig:
    """What a camera is: topics to rename (NAME:=TOPIC), parameters of both nodes (NAME:=VALUE),
    and whether images and depth are compressed, or a right image goes with them."""

    name: str
    topics: tuple[str, ...]
    matcher: tuple[str, ...]
    odometry: tuple[str, ...]
    compressed: bool = False
    stereo: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the messages that it sends."""
        third = ("image_right", "camera_info_right") if self.stereo else ("depth",)
        return "image", "camera_info", "matches", *third


RIGS = (
    Rig("rgbd", ("image:=image_raw",), (), ("use_depth:=true",)),
    Rig(
        "compressed",
        ("image:=image_raw/compressed", "depth:=depth/compressedDepth"),
        (),
        ("use_depth:=true",),
        compressed=True,
    ),
    Rig(
        "stereo", ("image:=image_raw",), ("use_stereo:=true",), ("use_stereo:=true",), stereo=True
    ),
)


class WrongSender(Node):
    """Sends a flight's frames as a rig's messages, good ones and wrong ones.

    sent: by topic's name in the nodes; the matches that are made wrong are the matcher's own.
    """

    def __init__(self, namespace: str, rig: Rig, flight: Iterator[Frame], seed: int) -> None:
        super().__init__("wrong_sender", namespace=namespace)
        self._rig, self._flight = rig, flight
        self._rng = np.random.default_rng(seed)
        self.sent: Counter[str] = Counter()
        picture = CompressedImage if rig.compressed else Image
        renamed = dict(rule.split(":=") for rule in rig.topics)
        types = {"matches": Matches, "camera_info": CameraInfo, "camera_info_right": CameraInfo}
        quality = QoSProfile(depth=QUEUE_SIZE)
        self._outputs: dict[str, Publisher] = {
            kind: self.create_publisher(
                types.get(kind, picture),
                "matcher_node/matches" if kind == "matches" else renamed.get(kind, kind),
                quality,
            )
            for kind in rig.kinds
        }
        self.create_subscription(Matches, "matcher_node/matches", self._on_matches, quality)
        self._frame = next(flight)
        self._good = self._messages(self._frame)
        self._since_frame = 0
        # Of this camera, or its own would be those of another one.
        self._matches = Matches(header=self._good["camera_info"].header)

    def _on_matches(self, message: Matches) -> None:
        if len(message.confidences) and message.model:
            self._matches = message

    @property
    def stamp_ns(self) -> int:
        """Stamp of the frame that was sent last."""
        return self._frame.stamp_ns

    def topics(self) -> dict[str, str]:
        """Full names of the topics."""
        return {kind: publisher.topic_name for kind, publisher in self._outputs.items()}

    def heard(self) -> bool:
        """Whether the nodes listen to each topic."""
        both = {"camera_info"}
        return all(
            publisher.get_subscription_count() >= 1 + (kind in both or kind == "matches")
            for kind, publisher in self._outputs.items()
        )

    def send_frame(self) -> None:
        """Send the next frame's messages as they should be."""
        self._frame, self._since_frame = next(self._flight), 0
        self._good = self._messages(self._frame)
        for kind in ("camera_info", "camera_info_right", "depth", "image_right", "image"):
            if kind in self._good:
                self._publish(kind, self._good[kind])

    def send_matches(self) -> None:
        """Send the matcher's latest matches once more."""
        self._publish("matches", self._matches)

    def send_wrong(self) -> str:
        """Send one message of a kind drawn at random, made wrong; which one, and how."""
        kind = str(self._rng.choice(self._rig.kinds))
        message = copy.copy(self._matches if kind == "matches" else self._good[kind])
        changed = spoil(message, self._rng)
        if self._rig.stereo and kind.startswith("image"):
            # A pair by its stamps, which no other pair has, so that the matcher takes it in.
            self._since_frame += 1
            stamp_ns = self._frame.stamp_ns + self._since_frame * APART_NS
            other = "image" if kind == "image_right" else "image_right"
            partner = copy.copy(self._good[other])
            partner.header = message.header = make_header(stamp_ns, self._frame.frame_id)
            self._publish(other, partner)
        self._publish(kind, message)
        return f"{kind}: {changed}"

    def send_damaged(self) -> None:
        """Send a message's bytes cut off, or with some of them changed."""
        kind = str(self._rng.choice(self._rig.kinds))
        data = bytearray(
            serialize_message(self._matches if kind == "matches" else self._good[kind])
        )
        if self._rng.random() < 0.5:
            del data[self._rng.integers(len(data)) :]
        else:
            for place in self._rng.integers(4, min(len(data), 200), 4):
                data[place] = self._rng.integers(256)
        self._outputs[kind].publish(bytes(data))

    def _publish(self, kind: str, message: Any) -> None:
        self._outputs[kind].publish(message)
        self.sent[kind] += 1

    def _messages(self, frame: Frame) -> dict[str, Any]:
        if frame.camera is None or frame.depth_m is None:
            raise ValueError("the flight's frames must have a camera and depth")
        header = make_header(frame.stamp_ns, frame.frame_id)
        found = {"camera_info": camera_info_message(frame.camera, header)}
        if self._rig.compressed:
            found["image"] = _png(frame.image, "mono8; png compressed", header)
            depth = np.clip(frame.depth_m * 1000, 0, 65535).astype(np.uint16)
            found["depth"] = _png(depth, "16UC1; compressedDepth png", header, bytes(12))
            return found
        found["image"] = image_message(frame.image, header)
        if self._rig.stereo and frame.right is not None:
            found["image_right"] = image_message(frame.right, header)
            baseline_m = frame.baseline_m or 0.0
            found["camera_info_right"] = camera_info_message(frame.camera, header, baseline_m)
            return found
        found["depth"] = depth_message(frame.depth_m, header)
        return found


def _png(pixels: Any, how: str, header: Any, before: bytes = b"") -> CompressedImage:
    data = before + cv2.imencode(".png", pixels)[1].tobytes()
    return CompressedImage(header=header, format=how, data=array.array("B", data))
