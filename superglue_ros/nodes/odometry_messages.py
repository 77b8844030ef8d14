"""Poses of the odometry to ROS messages, in the frames of REP 103 and 105."""

from __future__ import annotations

import array
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Point, Quaternion, TransformStamped
from geometry_msgs.msg import Pose as PoseMessage
from nav_msgs.msg import Odometry
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from superglue_ros.geometry import quaternions_from_rotations, rotations_from_quaternions
from superglue_ros.msg import OdometryStatus
from superglue_ros.odometry import OdometryEstimate, TrackingState
from superglue_ros.odometry.base_frame import BaseFrame
from superglue_ros.odometry.frames import MOST_COVARIANCE
from superglue_ros.types import FloatArray, Pose

UNKNOWN_VARIANCE = 9999.0
"""On the diagonal of the covariance of what is not known; rtabmap reads it so."""


@dataclass(frozen=True)
class OdometryFrames:
    """Names of the two frames of an Odometry, and where the core's frames are in them."""

    odom_frame: str
    child_frame: str
    base: BaseFrame

    def header(self, image: Header) -> Header:
        """Header of what is said in odom of an image."""
        return Header(stamp=image.stamp, frame_id=self.odom_frame)


def pose_message(pose: Pose) -> PoseMessage:
    """Pose message of a pose."""
    x, y, z = (float(value) for value in pose.position)
    qx, qy, qz, qw = (float(value) for value in quaternions_from_rotations(pose.rotation)[0])
    return PoseMessage(
        position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw)
    )


def pose_from_message(message: PoseMessage) -> Pose:
    """Pose of a pose message, whose quaternion must not be zero (ValueError)."""
    p, q = message.position, message.orientation
    rotation = rotations_from_quaternions(np.array([[q.x, q.y, q.z, q.w]]))[0]
    return Pose(rotation, np.array([p.x, p.y, p.z]))


def odometry_message(
    estimate: OdometryEstimate, image: Header, frames: OdometryFrames
) -> Odometry:
    """Odometry of the estimate for an image; its twist is in the child frame's axes."""
    message = Odometry(header=frames.header(image), child_frame_id=frames.child_frame)
    message.pose.pose = pose_message(frames.base.pose(estimate.pose))
    covariance = frames.base.covariance(estimate.pose, estimate.covariance)
    if estimate.state is TrackingState.LOST:
        # What the camera's distance from the base adds is no reason to say that nothing is known.
        covariance = covariance * min(1.0, MOST_COVARIANCE / covariance.diagonal().max())
    message.pose.covariance = covariance.ravel()
    twist, covariance = frames.base.twist(estimate.twist, estimate.twist_covariance)
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = map(
        float, np.nan_to_num(twist)
    )
    known = np.isfinite(twist)
    covariance = np.where(known[:, None] & known, covariance, UNKNOWN_VARIANCE * np.eye(6))
    message.twist.covariance = covariance.ravel()
    return message


def null_odometry(image: Header, frames: OdometryFrames) -> Odometry:
    """Odometry that says that there is none: a quaternion of zero, all variances unknown."""
    message = Odometry(header=frames.header(image), child_frame_id=frames.child_frame)
    message.pose.pose.orientation.w = 0.0
    unknown = (UNKNOWN_VARIANCE * np.eye(6)).ravel()
    message.pose.covariance, message.twist.covariance = unknown, unknown
    return message


def transform_message(odometry: Odometry) -> TransformStamped:
    """The transform of an Odometry."""
    message = TransformStamped(header=odometry.header, child_frame_id=odometry.child_frame_id)
    pose = odometry.pose.pose
    translation = message.transform.translation
    translation.x, translation.y, translation.z = pose.position.x, pose.position.y, pose.position.z
    message.transform.rotation = pose.orientation
    return message


def landmarks_message(landmarks: FloatArray, image: Header, frames: OdometryFrames) -> PointCloud2:
    """Unordered cloud of float32 x, y, z in odom of (L, 3) landmarks in the core's world."""
    points = frames.base.points(np.reshape(landmarks, (-1, 3)))
    points = np.ascontiguousarray(points, np.float32)
    message = PointCloud2(header=frames.header(image))
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
    message.reset_count = estimate.reset_count
    return message
