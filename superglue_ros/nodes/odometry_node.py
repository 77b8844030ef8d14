"""Matches and CameraInfo in, odometry out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, PointCloud2
from std_msgs.msg import Header

from superglue_ros.errors import CameraError, MessageError
from superglue_ros.msg import Matches, OdometryStatus
from superglue_ros.nodes.conversions import (
    camera_from_message,
    make_header,
    matches_from_message,
    stamp_to_ns,
)
from superglue_ros.nodes.depth_images import DepthImages
from superglue_ros.nodes.health import (
    Awaited,
    Milliseconds,
    Problems,
    Rate,
    diagnose_regularly,
    diagnostics,
)
from superglue_ros.nodes.odometry_messages import (
    landmarks_message,
    odometry_message,
    pose_in_odom,
    pose_message,
    status_message,
    transform_message,
)
from superglue_ros.nodes.options import OdometryNodeOptions
from superglue_ros.nodes.parameters import NodeParameters
from superglue_ros.nodes.running import run_node
from superglue_ros.nodes.subscribing import ImageSubscription, message_type
from superglue_ros.odometry import (
    OdometryConfig,
    OdometryEstimate,
    TrackingState,
    VisualOdometry,
)
from superglue_ros.stamps import StampOrder
from superglue_ros.types import CameraModel

MATCHES_DEPTH = 50
DEPTHS_DEPTH = 30


class OdometryNode(Node):
    """Estimates the camera's pose from each Matches message.

    Subscribes matches and camera_info, and depth with use_depth; publishes ~/odometry, ~/path,
    ~/landmarks, ~/status, TF and /diagnostics. Raises ValueError where its parameters do not suit.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("odometry_node", **options)
        parameters = NodeParameters(self, fixed=[OdometryConfig, OdometryNodeOptions])
        self._options = parameters.get(OdometryNodeOptions)
        use_depth = self._options.use_depth
        self._odometry = VisualOdometry(parameters.get(OdometryConfig), use_depth)
        self._problems = Problems(self.get_logger().warning)
        self._received, self._estimate_ms = Rate(), Milliseconds()
        self._camera: CameraModel | None = None
        self._order = StampOrder(late_ns=0)
        self._last: OdometryEstimate | None = None
        self._refusal, self._state = "", ""
        self._path: deque[PoseStamped] = deque(maxlen=self._options.path_max_poses)
        self._path_published = 0.0
        self._tf = make_broadcaster(self) if self._options.publish_tf else None
        self._publish_to_topics()
        self._awaited = Awaited(self, "matches", Matches)
        self._depths: DepthImages | None = None
        if use_depth:
            tolerance_s = self._options.depth_tolerance_s
            self._depths = DepthImages(tolerance_s, self._problems.report)
            self._depths_in = ImageSubscription(self, "depth", self._depths.add, DEPTHS_DEPTH)
            depth_type = message_type(self.resolve_topic_name("depth"))
            self._depths_awaited = Awaited(self, "depth", depth_type)
        overriding = QoSOverridingOptions.with_default_policies()
        for kind, topic, callback, quality in (
            (Matches, "matches", self._on_matches, QoSProfile(depth=MATCHES_DEPTH)),
            (CameraInfo, "camera_info", self._on_camera_info, qos_profile_sensor_data),
        ):
            self.create_subscription(
                kind, topic, callback, quality, qos_overriding_options=overriding
            )

    def _publish_to_topics(self) -> None:
        self._odometry_out = self.create_publisher(Odometry, "~/odometry", MATCHES_DEPTH)
        self._status_out = self.create_publisher(OdometryStatus, "~/status", MATCHES_DEPTH)
        self._path_out = self.create_publisher(Path, "~/path", 2)
        self._landmarks_out = self.create_publisher(PointCloud2, "~/landmarks", 2)
        self._diagnostics_out = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        diagnose_regularly(self, self._look_around)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera = camera_from_message(message)

    def _on_matches(self, message: Matches) -> None:
        self._received.tick()
        try:
            matches = matches_from_message(message)
        except MessageError as error:
            self._refusal = f"bad message: {error}"
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
        self._estimate_ms.add(elapsed_ms)
        self._publish_estimate(estimate, message.header, elapsed_ms)

    def _start_anew(self) -> None:
        self._odometry.reset()
        self._path.clear()
        self._last = None

    def _refuse(self, message: Matches, reason: str) -> None:
        """Say in the log, the status and the diagnostics why a message gave no estimate."""
        self._problems.report(reason, f"no odometry: {reason}")
        self._refusal = reason
        self._publish_status(self._refusal_status(message, reason), 0.0)

    def _refusal_status(self, message: Matches, reason: str) -> OdometryStatus:
        begun = self._last is not None and self._last.state is not TrackingState.INITIALISING
        state = TrackingState.LOST if begun else TrackingState.INITIALISING
        status = OdometryStatus(header=message.header, state=state.value)
        status.reason = reason
        status.scale_is_metric = self._odometry.use_depth
        status.num_matches = len(message.confidences)
        status.keyframe_id = message.keyframe_id
        return status

    def _publish_estimate(
        self, estimate: OdometryEstimate, header: Header, elapsed_ms: float
    ) -> None:
        self._last, self._refusal = estimate, ""
        odometry = odometry_message(estimate, header, self._options.odom_frame)
        self._odometry_out.publish(odometry)
        if self._tf is not None and estimate.state is TrackingState.TRACKING:
            if header.frame_id:
                self._tf.sendTransform(transform_message(odometry))
            else:
                self._problems.report("no frame_id", "images without a frame_id: no TF")
        self._publish_status(status_message(estimate, header), elapsed_ms)
        self._extend_path(estimate)
        if self._landmarks_out.get_subscription_count():
            landmarks = estimate.landmarks[: self._options.max_landmarks]
            self._landmarks_out.publish(
                landmarks_message(landmarks, header, self._options.odom_frame)
            )

    def _publish_status(self, status: OdometryStatus, elapsed_ms: float) -> None:
        now_ns = self.get_clock().now().nanoseconds
        status.latency_ms = (now_ns - stamp_to_ns(status.header.stamp)) * 1e-6
        status.estimate_ms = elapsed_ms
        self._state = status.state
        self._status_out.publish(status)

    def _extend_path(self, estimate: OdometryEstimate) -> None:
        """Add the tracked pose, and those found late, to the path; publish it now and then."""
        if estimate.state is not TrackingState.TRACKING:
            return
        for stamp_ns, pose in (*estimate.backfill, (estimate.stamp_ns, estimate.pose)):
            stamped = PoseStamped(header=make_header(stamp_ns, self._options.odom_frame))
            stamped.pose = pose_message(pose_in_odom(pose))
            self._path.append(stamped)
        now = time.monotonic()
        due = now - self._path_published >= self._options.path_period_s
        if (due or estimate.backfill) and self._path_out.get_subscription_count():
            self._path_published = now
            self._path_out.publish(Path(header=stamped.header, poses=list(self._path)))

    def _look_around(self) -> None:
        if not self._received.count:
            self._awaited.look()
        if self._depths is not None:
            self._depths_in.follow()
            if not self._depths.received.count:
                self._depths_awaited.look()
        self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        last, counts = self._last, self._problems.counts
        values: dict[str, object] = {
            "messages received": self._received.count,
            "rate [Hz]": f"{self._received.per_second():.2f}",
            "estimate": self._estimate_ms,
            "camera_info": "received" if self._camera else "none yet",
            "state": self._state or "no estimate yet",
            "reason": self._refusal or (last.reason if last else ""),
            "inliers": last.num_inliers if last else 0,
            "matches": last.num_matches if last else 0,
            "scale is metric": last.scale_is_metric if last else False,
        }
        if self._depths is not None:
            values["depth images received"] = self._depths.received.count
            values["depth rate [Hz]"] = f"{self._depths.received.per_second():.2f}"
        values.update({f"problem: {cause}": n for cause, n in counts.items()})
        problem = self._refusal
        if silent_s := self._received.silent_s():
            problem = f"no matches for {silent_s:.0f} s"
        elif not self._received.count:
            problem = "no matches yet"
        elif self._depths is not None and (silent_s := self._depths.received.silent_s()):
            problem = f"no depth for {silent_s:.0f} s"
        elif not problem and (last is None or last.state is not TrackingState.TRACKING):
            problem = "not tracking"
        stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name()
        self._diagnostics_out.publish(diagnostics(stamp, name, "", problem, values))


def make_broadcaster(node: Node) -> Any:
    """A tf2_ros.TransformBroadcaster, or None with one log line where tf2_ros is missing."""
    try:
        from tf2_ros import TransformBroadcaster
    except ImportError as error:
        node.get_logger().warning(f"publish_tf is on, but there is no tf2_ros ({error}): no TF")
        return None
    return TransformBroadcaster(node)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(OdometryNode, arguments)
