"""Matches and CameraInfo in, odometry out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo

from superglue_ros.errors import CameraError, MessageError
from superglue_ros.msg import Matches, OdometryStatus
from superglue_ros.nodes.conversions import (
    camera_from_message,
    matches_from_message,
    stamp_to_ns,
)
from superglue_ros.nodes.depth_images import DepthImages
from superglue_ros.nodes.health import TopicWatchdog, diagnose_regularly
from superglue_ros.nodes.odometry_diagnostics import OdometryDiagnostics
from superglue_ros.nodes.odometry_messages import status_message
from superglue_ros.nodes.odometry_publisher import OdometryPublisher
from superglue_ros.nodes.options import OdometryNodeOptions
from superglue_ros.nodes.parameters import NodeParameters
from superglue_ros.nodes.running import run_node
from superglue_ros.nodes.subscribing import ImageSubscription, message_type
from superglue_ros.odometry import OdometryConfig, TrackingState, VisualOdometry
from superglue_ros.stamps import StampOrder
from superglue_ros.types import CameraModel

MATCHES_QUEUE_SIZE = 50
DEPTH_QUEUE_SIZE = 30


class OdometryNode(Node):
    """Estimates the camera's pose from each Matches message.

    Subscribes matches and camera_info, and depth with use_depth; publishes ~/odometry, ~/path,
    ~/landmarks, ~/status, TF and /diagnostics. Raises ValueError where its parameters do not suit.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("odometry_node", **options)
        parameters = NodeParameters(self, fixed=[OdometryConfig, OdometryNodeOptions])
        self._options = parameters.get(OdometryNodeOptions)
        self._odometry = VisualOdometry(parameters.get(OdometryConfig), self._options.use_depth)
        self._diagnostics = OdometryDiagnostics(self)
        self._problems = self._diagnostics.problems
        self._publisher = OdometryPublisher(self, self._options, self._problems)
        self._status_out = self.create_publisher(OdometryStatus, "~/status", MATCHES_QUEUE_SIZE)
        self._camera: CameraModel | None = None
        self._order = StampOrder(late_ns=0)
        self._state = ""
        self._depths: DepthImages | None = None
        if self._options.use_depth:
            self._listen_to_depth()
        self._listen()
        diagnose_regularly(self, self._check_topics)

    def _listen(self) -> None:
        self._matches_watchdog = TopicWatchdog(self, "matches", Matches)
        overriding = QoSOverridingOptions.with_default_policies()
        for kind, topic, callback, quality in (
            (Matches, "matches", self._on_matches, QoSProfile(depth=MATCHES_QUEUE_SIZE)),
            (CameraInfo, "camera_info", self._on_camera_info, qos_profile_sensor_data),
        ):
            self.create_subscription(
                kind, topic, callback, quality, qos_overriding_options=overriding
            )

    def _listen_to_depth(self) -> None:
        self._depths = DepthImages(self._options.depth_tolerance_s, self._problems.report)
        self._depths_in = ImageSubscription(self, "depth", self._depths.add, DEPTH_QUEUE_SIZE)
        kind = message_type(self.resolve_topic_name("depth"))
        self._depth_watchdog = TopicWatchdog(self, "depth", kind)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera = camera_from_message(message)
        self._diagnostics.camera_received = True

    def _on_matches(self, message: Matches) -> None:
        self._diagnostics.received.tick()
        try:
            matches = matches_from_message(message)
        except MessageError as error:
            self._diagnostics.refusal = f"bad message: {error}"
            self._problems.report("bad message", f"message dropped: {error}")
            return
        if reason := self._order.follow(matches.stamp_ns):
            self._start_anew()
            self._problems.report(reason, f"{reason}: starting anew")
        depth = self._depths.of_keyframe(matches) if self._depths else None
        if self._camera is None:
            topic = self.resolve_topic_name("camera_info")
            self._refuse(message, f"no CameraInfo on {topic} yet")
            return
        started = time.perf_counter()
        try:
            estimate = self._odometry.process(matches, self._camera, depth)
        except (CameraError, MessageError) as error:
            unusable = "unusable CameraInfo: " if isinstance(error, CameraError) else ""
            self._refuse(message, f"{unusable}{error}")
            return
        except Exception as error:
            # A defect of ours: a new world costs less than the node.
            self._start_anew()
            self._refuse(message, f"{type(error).__name__}: {error}: starting anew")
            return
        elapsed_ms = (time.perf_counter() - started) * 1e3
        self._diagnostics.add(estimate, elapsed_ms)
        self._publisher.publish(estimate, message.header)
        self._publish_status(status_message(estimate, message.header), elapsed_ms)

    def _start_anew(self) -> None:
        self._odometry.reset()
        self._publisher.clear()
        self._state = ""

    def _refuse(self, message: Matches, reason: str) -> None:
        """Say in the log, the status and the diagnostics why a message gave no estimate."""
        self._problems.report(reason, f"no odometry: {reason}")
        self._diagnostics.refusal = reason
        begun = self._state in (TrackingState.TRACKING.value, TrackingState.LOST.value)
        state = TrackingState.LOST if begun else TrackingState.INITIALISING
        status = OdometryStatus(header=message.header, state=state.value)
        status.reason = reason
        status.scale_is_metric = self._odometry.use_depth
        status.num_matches = len(message.confidences)
        status.keyframe_id = message.keyframe_id
        self._publish_status(status, 0.0)

    def _publish_status(self, status: OdometryStatus, elapsed_ms: float) -> None:
        now_ns = self.get_clock().now().nanoseconds
        status.latency_ms = (now_ns - stamp_to_ns(status.header.stamp)) * 1e-6
        status.estimate_ms = elapsed_ms
        self._state = status.state
        self._status_out.publish(status)

    def _check_topics(self) -> None:
        if not self._diagnostics.received.count:
            self._matches_watchdog.check()
        if self._depths is not None:
            self._depths_in.follow()
            if not self._depths.received.count:
                self._depth_watchdog.check()
        depth = self._depths.received if self._depths else None
        self._diagnostics.publish(self._state, depth)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(OdometryNode, arguments)
