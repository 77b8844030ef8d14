"""Matches and CameraInfo in, odometry out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from superglue_ros.errors import CameraError, MessageError, OtherCamera
from superglue_ros.geometry.rigid_body import pose_from_text
from superglue_ros.msg import Matches, OdometryStatus
from superglue_ros.nodes.camera_infos import CameraInfos
from superglue_ros.nodes.camera_mount import CameraMount
from superglue_ros.nodes.conversions import matches_from_message, stamp_to_ns
from superglue_ros.nodes.depth_images import DepthImages
from superglue_ros.nodes.health import diagnose_regularly, shortened
from superglue_ros.nodes.image_inputs import WatchedImages
from superglue_ros.nodes.matches_link import MATCHES_QUEUE_SIZE, HandOver, listen_to_matches
from superglue_ros.nodes.odometry_diagnostics import OdometryDiagnostics
from superglue_ros.nodes.odometry_messages import OdometryFrames, status_message
from superglue_ros.nodes.odometry_publisher import OdometryPublisher
from superglue_ros.nodes.options import OdometryNodeOptions, OdometryOutputs
from superglue_ros.nodes.parameters import NodeParameters
from superglue_ros.nodes.right_camera import RightCamera
from superglue_ros.nodes.running import run_node
from superglue_ros.nodes.subscribing import CameraInfoSubscription, RectifiedCheck
from superglue_ros.nodes.watchdog import TopicWatchdog
from superglue_ros.odometry import OdometryConfig, TrackingState, VisualOdometry
from superglue_ros.odometry.base_frame import BaseFrame
from superglue_ros.one_camera import OneCamera
from superglue_ros.stamps import StampOrder
from superglue_ros.types import CameraModel, FloatArray, FrameMatches

STATUS_QUEUE_SIZE = 50
DEPTH_QUEUE_SIZE = 30

Waiting: TypeAlias = tuple[Matches, FrameMatches, "FloatArray | None", float]
"""A message, what it holds, its keyframe's depth, and when it came."""


class OdometryNode(Node):
    """Estimates the camera's pose from each Matches message, and publishes it or the base's.

    Subscribes matches and camera_info, depth with use_depth, camera_info_right with use_stereo,
    and TF until it has said where the camera is; publishes ~/odometry, ~/path, ~/landmarks,
    ~/status, TF and /diagnostics; ~/reset begins anew. Raises ValueError where its parameters do
    not suit. hand_over: of the matches of a matcher in this process.
    """

    def __init__(self, hand_over: HandOver | None = None, **options: Any) -> None:
        super().__init__("odometry_node", **options)
        self._settings = NodeParameters(
            self,
            fixed=[OdometryNodeOptions],
            live=[OdometryConfig, OdometryOutputs],
            on_change=self._change_settings,
        )
        self._options = self._settings.get(OdometryNodeOptions)
        use_depth, use_stereo = self._options.use_depth, self._options.use_stereo
        self._odometry = VisualOdometry(
            self._settings.get(OdometryConfig), use_depth or use_stereo
        )
        self._diagnostics = OdometryDiagnostics(self)
        self._problems = self._diagnostics.problems
        outputs = self._settings.get(OdometryOutputs)
        self._publisher = OdometryPublisher(self, self._options, outputs, self._problems)
        self._status_out = self.create_publisher(OdometryStatus, "~/status", STATUS_QUEUE_SIZE)
        base, base_to_camera = self._options.base, self._options.base_to_camera
        self._mount = CameraMount(self, base, base_to_camera) if base else None
        self._waiting: deque[Waiting] = deque()
        self._frames: OdometryFrames | None = None
        self._order, self._one_camera = StampOrder(late_ns=0), OneCamera()
        self._state, self._reset_count = "", 0
        self._rectified = self._options.rectified or use_stereo
        self._infos = CameraInfos(self._problems.report, self._rectified)
        self._right = RightCamera(self, self._problems.report) if use_stereo else None
        self._depths: DepthImages | None = None
        self._depth_topic: WatchedImages | None = None
        if use_depth:
            self._listen_to_depth()
        self._listen(hand_over)
        self.create_service(Trigger, "~/reset", self._on_reset)
        diagnose_regularly(self, self._check_topics)

    def _listen(self, hand_over: HandOver | None) -> None:
        self._matches_watchdog = TopicWatchdog(self, "matches", Matches, from_matcher=True)
        self._rectified_check = RectifiedCheck(self, "matches", self._rectified)
        listen_to_matches(self, self._on_matches, self._diagnostics.drop_waiting, hand_over)
        CameraInfoSubscription(self, "camera_info", self._on_camera_info)

    def _listen_to_depth(self) -> None:
        report = self._problems.report
        self._depths = DepthImages(self._options.depth_tolerance_s, report)
        take = self._depths.add
        self._depth_topic = WatchedImages(self, "depth", take, DEPTH_QUEUE_SIZE, report)

    def _change_settings(self) -> None:
        self._odometry.configure(self._settings.get(OdometryConfig))
        self._publisher.outputs = self._settings.get(OdometryOutputs)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._diagnostics.num_unusable_infos += not self._infos.add(message)
        self._diagnostics.num_camera_infos += 1

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._start_anew()
        self.get_logger().info("reset: starting anew")
        response.success, response.message = True, "starting anew with the next matches"
        return response

    def _on_matches(self, message: Matches) -> None:
        self._diagnostics.received.tick()
        try:
            matches = matches_from_message(message)
            change = self._one_camera.follow(matches.frame_id, matches.stamp_ns)
        except (MessageError, OtherCamera) as error:
            cause = "bad message" if isinstance(error, MessageError) else "two cameras"
            self._diagnostics.drop(cause, f"message dropped: {error}", f"{cause}: {error}")
            return
        if reason := self._order.follow(matches.stamp_ns) or change:
            self._start_anew()
            self._problems.report(reason, f"{reason}: starting anew")
        depth = None
        if self._depths is not None:
            self._depths.add_matches(message)
            depth = self._depths.of_keyframe(matches)
        if len(self._waiting) == MATCHES_QUEUE_SIZE:
            self._waiting.popleft()
            self._diagnostics.drop_waiting()
        self._waiting.append((message, matches, depth, time.monotonic()))
        self._process_waiting()

    def _process_waiting(self) -> None:
        """Estimate what has come, or let it wait a little for the camera's place on the robot."""
        while self._waiting:
            message, matches, depth, arrived = self._waiting[0]
            if self._frames is None:
                self._frames = self._find_frames(message.header)
            waited_s = time.monotonic() - arrived
            if self._frames is None and waited_s < self._options.wait_for_transform_s:
                return
            self._waiting.popleft()
            if self._frames is None:
                self._refuse(message, self._mount.problem if self._mount else "")
            elif (camera := self._infos.of(matches.frame_id)) is None:
                topic = self.resolve_topic_name("camera_info")
                self._refuse(message, f"no CameraInfo on {topic} yet")
            else:
                self._estimate(message, matches, camera, depth, self._frames)

    def _find_frames(self, image: Header) -> OdometryFrames | None:
        """The frames of an odometry that begins with an image; None while TF lacks the camera."""
        text, odom_frame = self._publisher.outputs.initial_pose, self._options.odom
        start = pose_from_text(text) if text else None
        if self._mount is None:
            return OdometryFrames(odom_frame, image.frame_id, BaseFrame.of_camera(start))
        camera = self._mount.of_camera(image)
        if camera is None:
            return None
        base = BaseFrame.of_robot(camera, start)
        return OdometryFrames(odom_frame, self._options.base, base)

    def _estimate(
        self,
        message: Matches,
        matches: FrameMatches,
        camera: CameraModel,
        depth: FloatArray | None,
        frames: OdometryFrames,
    ) -> None:
        baseline_m, problem = None, ""
        if self._right is not None:
            baseline_m, problem = self._right.baseline(camera, matches)
        if problem:
            self._refuse(message, problem)
            return
        started = time.perf_counter()
        try:
            estimate = self._odometry.process(matches, camera, depth, baseline_m)
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
        self._reset_count = estimate.reset_count
        self._diagnostics.add(estimate, elapsed_ms)
        self._publisher.publish(estimate, message.header, frames)
        self._publish_status(status_message(estimate, message.header), elapsed_ms)

    def _start_anew(self) -> None:
        self._odometry.reset()
        self._publisher.clear()
        self._diagnostics.drop_waiting(len(self._waiting))
        self._waiting.clear()
        self._frames = None

    def _refuse(self, message: Matches, reason: str) -> None:
        """Say in the log, the status and the diagnostics why a message gave no estimate."""
        self._diagnostics.drop(reason, f"no odometry: {reason}")
        begun = self._state in (TrackingState.TRACKING.value, TrackingState.LOST.value)
        state = TrackingState.LOST if begun else TrackingState.INITIALISING
        status = OdometryStatus(header=message.header, state=state.value)
        status.reason = shortened(reason)
        status.scale_is_metric = self._odometry.use_depth
        status.num_matches = len(message.confidences)
        status.keyframe_id = message.keyframe_id
        status.reset_count = self._reset_count
        self._publish_status(status, 0.0)

    def _publish_status(self, status: OdometryStatus, elapsed_ms: float) -> None:
        now_ns = self.get_clock().now().nanoseconds
        status.latency_ms = (now_ns - stamp_to_ns(status.header.stamp)) * 1e-6
        status.estimate_ms = elapsed_ms
        if self._state and status.state != self._state:
            reason = f": {status.reason}" if status.reason else ""
            self.get_logger().info(f"{status.state}, after {self._state}{reason}")
        self._state = status.state
        self._status_out.publish(status)

    def _check_topics(self) -> None:
        self._process_waiting()
        self._rectified_check.check()
        if not self._diagnostics.received.count:
            self._matches_watchdog.check()
        if self._depth_topic is not None:
            self._depth_topic.look_after()
        depth = self._depth_topic.received if self._depth_topic else None
        self._diagnostics.publish(self._state, depth)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(OdometryNode, arguments)
