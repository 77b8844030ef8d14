"""Poses of the odometry to ROS messages, in ROS axes.

The core's world has the axes of the first camera's optical frame (x right, y down, z forward);
`odom` is the same place in ROS axes (x forward, y left, z up; REP 103). Poses are of the camera's
optical frame.
"""

from __future__ import annotations

import array

import numpy as np
from geometry_msgs.msg import Point, Quaternion, TransformStamped
from geometry_msgs.msg import Pose as PoseMessage
from nav_msgs.msg import Odometry
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from superglue_ros.geometry import quaternions_from_rotations, rotations_from_quaternions
from superglue_ros.msg import OdometryStatus
from superglue_ros.odometry import OdometryEstimate
from superglue_ros.types import FloatArray, Pose

ODOM_FROM_WORLD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Rotation (3, 3) of the first camera's optical axes into ROS axes."""

UNKNOWN_VARIANCE = 1e4
"""On the diagonal of the covariance of what is not known."""


def pose_in_odom(pose: Pose) -> Pose:
    """Pose in odom of a camera in the core's world."""
    return Pose(ODOM_FROM_WORLD @ pose.rotation, ODOM_FROM_WORLD @ pose.position)


def pose_in_world(pose: Pose) -> Pose:
    """Pose in the core's world of a camera in odom; the inverse of `pose_in_odom`."""
    return Pose(ODOM_FROM_WORLD.T @ pose.rotation, ODOM_FROM_WORLD.T @ pose.position)


def covariance_in_odom(covariance: FloatArray) -> FloatArray:
    """(6, 6) covariance of (x y z rx ry rz) in odom's axes of one in the world's."""
    turn = np.kron(np.eye(2), ODOM_FROM_WORLD)
    turned: FloatArray = turn @ covariance @ turn.T
    return turned


def pose_message(pose: Pose) -> PoseMessage:
    """Pose message of a camera."""
    x, y, z = (float(value) for value in pose.position)
    qx, qy, qz, qw = (float(value) for value in quaternions_from_rotations(pose.rotation)[0])
    return PoseMessage(
        position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw)
    )


def pose_from_message(message: PoseMessage) -> Pose:
    """Camera of a pose message, whose quaternion must not be zero (ValueError)."""
    p, q = message.position, message.orientation
    rotation = rotations_from_quaternions(np.array([[q.x, q.y, q.z, q.w]]))[0]
    return Pose(rotation, np.array([p.x, p.y, p.z]))


def odometry_message(estimate: OdometryEstimate, header: Header, odom_frame: str) -> Odometry:
    """Odometry of the camera's optical frame (child_frame_id: the image's) in odom.

    The twist is not estimated and says so by its covariance.
    """
    message = Odometry(header=Header(stamp=header.stamp, frame_id=odom_frame))
    message.child_frame_id = header.frame_id
    message.pose.pose = pose_message(pose_in_odom(estimate.pose))
    message.pose.covariance = covariance_in_odom(estimate.covariance).ravel()
    message.twist.covariance = (UNKNOWN_VARIANCE * np.eye(6)).ravel()
    return message


def transform_message(odometry: Odometry) -> TransformStamped:
    """The transform odom -> camera that an Odometry says."""
    message = TransformStamped(header=odometry.header, child_frame_id=odometry.child_frame_id)
    pose = odometry.pose.pose
    translation = message.transform.translation
    translation.x, translation.y, translation.z = pose.position.x, pose.position.y, pose.position.z
    message.transform.rotation = pose.orientation
    return message


def landmarks_message(landmarks: FloatArray, header: Header, odom_frame: str) -> PointCloud2:
    """Unordered cloud of float32 x, y, z in odom of (L, 3) landmarks in the core's world."""
    points = np.ascontiguousarray(np.reshape(landmarks, (-1, 3)) @ ODOM_FROM_WORLD.T, np.float32)
    message = PointCloud2(header=Header(stamp=header.stamp, frame_id=odom_frame))
    message.height, message.width = 1, len(points)
    message.fields = [
        PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
        for place, name in enumerate("xyz")
    ]
    message.point_step = points.itemsize * 3
    message.row_step = message.point_step * len(points)
    message.data = array.array("B", points.tobytes())
    message.is_dense = True
    return message


def status_message(estimate: OdometryEstimate, header: Header) -> OdometryStatus:
    """Status of an estimate; the two times are left to the caller."""
    message = OdometryStatus(header=header)
    message.state = estimate.state.value
    message.reason = estimate.reason
    message.scale_is_metric = estimate.scale_is_metric
    message.num_matches = estimate.num_matches
    message.num_inliers = estimate.num_inliers
    message.keyframe_id = estimate.keyframe_id
    return message
