"""Estimates to the topics ~/odometry, ~/path and ~/landmarks, and to TF."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from superglue_ros.nodes.conversions import make_header
from superglue_ros.nodes.health import Problems
from superglue_ros.nodes.odometry_messages import (
    OdometryFrames,
    landmarks_message,
    null_odometry,
    odometry_message,
    pose_message,
    transform_message,
)
from superglue_ros.nodes.options import OdometryNodeOptions, OdometryOutputs
from superglue_ros.odometry import OdometryEstimate, TrackingState

ODOMETRY_QUEUE_SIZE = 50


class OdometryPublisher:
    """Publishes each estimate: the odometry as `outputs`, which may be replaced, says; the rest
    where it is wanted."""

    def __init__(
        self,
        node: Node,
        options: OdometryNodeOptions,
        outputs: OdometryOutputs,
        problems: Problems,
    ) -> None:
        self.outputs, self._problems = outputs, problems
        self._odometry = node.create_publisher(Odometry, "~/odometry", ODOMETRY_QUEUE_SIZE)
        self._paths = node.create_publisher(Path, "~/path", 2)
        self._landmarks = node.create_publisher(PointCloud2, "~/landmarks", 2)
        self._tf = make_broadcaster(node) if options.publish_tf else None
        self._path: deque[PoseStamped] = deque(maxlen=options.path_max_poses)
        self._path_published = 0.0

    def clear(self) -> None:
        """Begin the path anew."""
        self._path.clear()

    def publish(self, estimate: OdometryEstimate, image: Header, frames: OdometryFrames) -> None:
        """Publish an estimate for the image that has this header."""
        tracking = estimate.state is TrackingState.TRACKING
        odometry = odometry_message(estimate, image, frames)
        if tracking or self.outputs.when_lost == "publish":
            self._odometry.publish(odometry)
        elif self.outputs.when_lost == "null":
            self._odometry.publish(null_odometry(image, frames))
        if tracking:
            self._broadcast(odometry)
            self._extend_path(estimate, frames)
        if self._landmarks.get_subscription_count():
            landmarks = estimate.landmarks[: self.outputs.max_landmarks]
            self._landmarks.publish(landmarks_message(landmarks, image, frames))

    def _broadcast(self, odometry: Odometry) -> None:
        if self._tf is None:
            return
        if odometry.child_frame_id:
            self._tf.sendTransform(transform_message(odometry))
        else:
            self._problems.report("no frame_id", "images without a frame_id: no TF")

    def _extend_path(self, estimate: OdometryEstimate, frames: OdometryFrames) -> None:
        """Add a tracked pose, and those found late, to the path; publish it now and then."""
        for stamp_ns, pose in (*estimate.backfill, (estimate.stamp_ns, estimate.pose)):
            stamped = PoseStamped(header=make_header(stamp_ns, frames.odom_frame))
            stamped.pose = pose_message(frames.base.pose(pose))
            self._path.append(stamped)
        now = time.monotonic()
        due = now - self._path_published >= self.outputs.path_period_s
        if (due or estimate.backfill) and self._paths.get_subscription_count():
            self._path_published = now
            self._paths.publish(Path(header=stamped.header, poses=list(self._path)))


def make_broadcaster(node: Node) -> Any:
    """A tf2_ros.TransformBroadcaster, or None with one log line where tf2_ros is missing."""
    try:
        from tf2_ros import TransformBroadcaster
    except ImportError as error:
        node.get_logger().warning(f"publish_tf is on, but there is no tf2_ros ({error}): no TF")
        return None
    return TransformBroadcaster(node)
