"""Listening to images as reliably as they are sent, and to calibrations that are sent once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node, NodeNameNonExistentError
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from superglue_ros.nodes.conversions import AnyImage
from superglue_ros.nodes.health import diagnose_regularly
from superglue_ros.sources.encodings import COMPRESSED_ENDS

BEST_AVAILABLE = getattr(ReliabilityPolicy, "BEST_AVAILABLE", None)
"""The middleware's own choice, which ROS 2 Humble does not have."""


IMAGE_KINDS = {f"sensor_msgs/msg/{kind.__name__}" for kind in (Image, CompressedImage)}


def message_type(topic: str) -> type[AnyImage]:
    """What a topic of images carries, by the name that it has after remapping."""
    return CompressedImage if topic.endswith(COMPRESSED_ENDS) else Image


def subscribe(
    node: Node, kind: type, topic: str, callback: Callable[[Any], None], quality: QoSProfile | int
) -> None:
    """Listen to a topic with a quality of service, or so deep a queue, that users may override by
    parameters (`qos_overrides`)."""
    node.create_subscription(
        kind,
        topic,
        callback,
        quality,
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )


class ImageSubscription:
    """Listens to a topic of images as reliably as all its publishers send, whoever these are.

    Best effort loses most images that are larger than Fast DDS's shared memory, which colour at
    640x480 is; and who listens reliably hears no best-effort camera.
    """

    def __init__(
        self, node: Node, topic: str, callback: Callable[[AnyImage], None], queue: int
    ) -> None:
        """queue: images that may wait for the callback."""
        self._node, self._topic, self._callback, self._queue = node, topic, callback, queue
        self._subscription: Subscription | None = None
        self._reliable = False
        self._declared = ""
        self.follow()

    def follow(self) -> None:
        """To be called now and then: listen anew where the publishers have changed."""
        topic = self._node.resolve_topic_name(self._topic)
        cameras = self._node.get_publishers_info_by_topic(topic)
        reliable = all(
            camera.qos_profile.reliability == ReliabilityPolicy.RELIABLE for camera in cameras
        )
        if self._subscription is not None:
            wish = f"qos_overrides.{topic}.subscription.reliability"
            overridden = self._node.get_parameter(wish).value != self._declared
            if reliable == self._reliable or overridden:
                return
            self._node.destroy_subscription(self._subscription)
        self._reliable = reliable
        self._subscription = self._subscribe(topic, reliable)

    def _subscribe(self, topic: str, reliable: bool) -> Subscription:
        quality = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        if BEST_AVAILABLE is not None:
            quality = BEST_AVAILABLE
        # The parameters of the first time would have the say over another choice later on.
        overridable = not self._declared or BEST_AVAILABLE is not None
        self._declared = self._declared or quality.name.lower()
        return self._node.create_subscription(
            message_type(topic),
            self._topic,
            self._callback,
            QoSProfile(depth=self._queue, reliability=quality),
            qos_overriding_options=(
                QoSOverridingOptions.with_default_policies() if overridable else None
            ),
        )


class CameraInfoSubscription:
    """Listens to CameraInfo that is sent with each image, and to one that was sent once and is
    kept for those who come later (latched, transient local).

    A subscription to what is kept hears nobody who keeps nothing, and these would warn of it in
    their logs: so it is a second one, made once someone is there who keeps.
    """

    def __init__(self, node: Node, topic: str, callback: Callable[[CameraInfo], None]) -> None:
        self._node, self._topic, self._callback = node, topic, callback
        self._latched: Subscription | None = None
        subscribe(node, CameraInfo, topic, callback, qos_profile_sensor_data)
        self._follow()
        diagnose_regularly(node, self._follow)

    def _follow(self) -> None:
        topic = self._node.resolve_topic_name(self._topic)
        kept = DurabilityPolicy.TRANSIENT_LOCAL
        cameras = self._node.get_publishers_info_by_topic(topic)
        if self._latched is None and any(c.qos_profile.durability == kept for c in cameras):
            self._latched = self._node.create_subscription(
                CameraInfo, self._topic, self._callback, QoSProfile(depth=1, durability=kept)
            )


class RectifiedCheck:
    """Warns once where rectified images are matched and their calibration is taken for raw."""

    def __init__(self, node: Node, topic: str, rectified: bool) -> None:
        """topic: of the matches; rectified: whether the calibration is of rectified images."""
        self._node, self._topic = node, topic
        self._done = rectified

    def check(self) -> None:
        """To be called now and then: see by the names of topics what the matcher is sent."""
        if self._done:
            return
        for matcher in self._node.get_publishers_info_by_topic(
            self._node.resolve_topic_name(self._topic)
        ):
            for image in images_heard_by(self._node, matcher.node_name, matcher.node_namespace):
                if "image_rect" not in image:
                    continue
                self._done = True
                self._node.get_logger().warning(
                    f"the images of {image} look rectified by their name: with rectified:=true "
                    "their CameraInfo's P counts, not its K and D"
                )


def images_heard_by(node: Node, name: str, namespace: str) -> list[str]:
    """Topics of images that a node of this name listens to, by what `node` knows of it."""
    if not namespace.startswith("/"):  # a publisher is known before its node's name is
        return []
    try:
        heard = node.get_subscriber_names_and_types_by_node(name, namespace)
    except NodeNameNonExistentError:  # it has just gone
        return []
    return [topic for topic, types in heard if IMAGE_KINDS & set(types)]
