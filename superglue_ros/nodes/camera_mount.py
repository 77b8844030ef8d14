"""Where the camera is on the robot: by a parameter, or from TF."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from superglue_ros.geometry import rotations_from_quaternions
from superglue_ros.geometry.rigid_body import pose_from_text
from superglue_ros.types import Pose


class CameraMount:
    """Poses of cameras' optical frames in a robot's base frame.

    The one that `base_to_camera` spells counts for any camera; where it is empty, TF is asked once
    for each, at the stamp of an image. problem: why there is none yet. Raises ValueError for text
    that is no pose, and where TF is needed and there is no tf2_ros.
    """

    def __init__(self, node: Node, base_frame: str, base_to_camera: str) -> None:
        self._node, self._base_frame = node, base_frame
        self._fixed = pose_from_text(base_to_camera) if base_to_camera else None
        self._kept: dict[str, Pose] = {}
        self._tf2: Any = None
        self._listener: Any = None
        self.problem = ""
        if self._fixed is None:
            try:
                import tf2_ros
            except ImportError as error:
                raise ValueError(
                    f"base_frame takes the camera's place from TF, but there is no tf2_ros "
                    f"({error}): set base_to_camera"
                ) from error
            self._tf2 = tf2_ros
            self._listen()

    def of_camera(self, header: Header) -> Pose | None:
        """Pose of the camera of an image with this header; None while there is none."""
        if self._fixed is not None:
            return self._fixed
        kept = self._kept.get(header.frame_id)
        return self._look_up(header) if kept is None else kept

    def _listen(self) -> None:
        self._buffer = self._tf2.Buffer()
        self._listener = self._tf2.TransformListener(self._buffer, self._node)

    def _look_up(self, header: Header) -> Pose | None:
        if not header.frame_id:
            self.problem = "images without a frame_id: set base_to_camera"
            return None
        if self._listener is None:
            self._listen()
        stamp = Time.from_msg(header.stamp)
        try:
            found = self._buffer.lookup_transform(self._base_frame, header.frame_id, stamp)
        except self._tf2.TransformException as error:
            text = " ".join(str(error).split())
            self.problem = f"no transform of {header.frame_id} in {self._base_frame}: {text}"
            return None
        # All of a robot's TF is a lot to listen to, so it ends here.
        self._listener.unregister()
        self._listener = None
        self._kept[header.frame_id] = pose = pose_from_transform(found)
        x, y, z = pose.position
        self._node.get_logger().info(
            f"{header.frame_id} is at ({x:.3f}, {y:.3f}, {z:.3f}) m in {self._base_frame}"
        )
        return pose


def pose_from_transform(message: TransformStamped) -> Pose:
    """Pose of the child frame in the header's."""
    t, q = message.transform.translation, message.transform.rotation
    rotation = rotations_from_quaternions(np.array([q.x, q.y, q.z, q.w]))[0]
    return Pose(rotation, np.array([t.x, t.y, t.z]))
