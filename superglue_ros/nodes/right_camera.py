"""What the right camera of a stereo rig says of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from superglue_ros.errors import CameraError, OtherCamera
from superglue_ros.nodes.conversions import camera_from_message, stamp_to_ns
from superglue_ros.nodes.subscribing import CameraInfoSubscription
from superglue_ros.one_camera import OneCamera
from superglue_ros.sources.calibration import baseline_of_info
from superglue_ros.types import CameraModel, FrameMatches

RECTIFY = (
    "ros2 launch stereo_image_proc stereo_image_proc.launch.py rectifies a pair: take its "
    "image_rect topics"
)
_SAME_PX = 0.5


class RightCamera:
    """What `camera_info_right` says: how far the right camera of a rectified pair is.

    report(cause, text) is told of matches that carry no right points, of each CameraInfo that is
    dropped as it is of another camera than those before, and of each without a baseline.
    """

    def __init__(self, node: Node, report: Callable[[str, str], None]) -> None:
        self._report = report
        self._topic = node.resolve_topic_name("camera_info_right")
        self._camera = OneCamera()
        self._message: CameraInfo | None = None
        CameraInfoSubscription(node, "camera_info_right", self._on_camera_info)

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            self._camera.follow(message.header.frame_id, stamp_to_ns(message.header.stamp))
        except OtherCamera as error:
            text = f"two cameras on {self._topic}: CameraInfo dropped: {error}"
            self._report(f"two cameras on {self._topic}", text)
            return
        self._message = message
        try:
            baseline_of_info(message)
        except CameraError as error:
            problem = self._unusable(error)
            self._report(problem, problem)

    def _unusable(self, error: CameraError) -> str:
        return f"CameraInfo on {self._topic}: {error}; {RECTIFY}"

    def baseline(self, left: CameraModel, matches: FrameMatches) -> tuple[float | None, str]:
        """Metres from the left camera, which is of rectified images and matches, or None and why
        not."""
        if len(matches) and matches.keyframe_right_points is None:
            text = (
                "matches without right points: is the matcher's use_stereo on? Its log says more"
            )
            self._report("no right points", text)
        if self._message is None:
            return None, f"no CameraInfo on {self._topic} yet"
        try:
            baseline_m = baseline_of_info(self._message)
        except CameraError as error:
            return None, self._unusable(error)
        right = camera_from_message(self._message, rectified=True)
        if not np.allclose(right.matrix, left.matrix, atol=_SAME_PX):
            return None, f"P on {self._topic} is another camera's than the left one's; {RECTIFY}"
        return baseline_m, ""
