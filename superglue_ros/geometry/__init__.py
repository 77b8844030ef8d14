"""Camera models, two-view geometry, triangulation and camera pose from landmarks."""

from superglue_ros.geometry.camera import (
    check_camera,
    check_camera_fits,
    mean_focal,
    normalize_points,
    project_normalized,
    project_points,
    scale_camera,
)
from superglue_ros.geometry.depth import depth_of_points, fit_depth
from superglue_ros.geometry.pnp import PoseEstimate, estimate_pose, refine_pose
from superglue_ros.geometry.pose_errors import area_under_recall, pose_errors_deg
from superglue_ros.geometry.quaternions import (
    quaternions_from_rotations,
    rotations_from_quaternions,
)
from superglue_ros.geometry.rotations import (
    exp_rotation,
    fit_rotation,
    log_motion,
    log_rotation,
)
from superglue_ros.geometry.triangulation import Triangulation, triangulate
from superglue_ros.geometry.two_view import TwoViewGeometry, estimate_two_view

__all__ = [
    "PoseEstimate",
    "Triangulation",
    "TwoViewGeometry",
    "area_under_recall",
    "check_camera",
    "check_camera_fits",
    "depth_of_points",
    "estimate_pose",
    "estimate_two_view",
    "exp_rotation",
    "fit_depth",
    "fit_rotation",
    "log_motion",
    "log_rotation",
    "mean_focal",
    "normalize_points",
    "pose_errors_deg",
    "project_normalized",
    "project_points",
    "quaternions_from_rotations",
    "refine_pose",
    "rotations_from_quaternions",
    "scale_camera",
    "triangulate",
]
