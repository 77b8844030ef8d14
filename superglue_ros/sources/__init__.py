"""Frames from bags, folders and videos; trajectory files; bag writing. Free of ROS."""

from superglue_ros.sources.bag_writer import write_bag
from superglue_ros.sources.bags import BagSource
from superglue_ros.sources.calibration import camera_from_info, read_calibration
from superglue_ros.sources.folders import (
    find_groundtruth,
    load_stamped_trajectory,
    open_folder,
    read_stamped_trajectory,
)
from superglue_ros.sources.gray_range import GrayRange, ImageOptions
from superglue_ros.sources.image_files import ImageFileSource, read_depth, read_image
from superglue_ros.sources.opening import open_source
from superglue_ros.sources.source import FrameSource
from superglue_ros.sources.trajectories import (
    RecordedTrajectory,
    load_trajectory,
    needs_stamps,
    poses_from_trajectory,
    read_trajectory,
    trajectory_from_poses,
    turned_cameras,
    write_trajectory,
)
from superglue_ros.sources.video import VideoSource

__all__ = [
    "BagSource",
    "FrameSource",
    "GrayRange",
    "ImageFileSource",
    "ImageOptions",
    "RecordedTrajectory",
    "VideoSource",
    "camera_from_info",
    "find_groundtruth",
    "load_stamped_trajectory",
    "load_trajectory",
    "needs_stamps",
    "open_folder",
    "open_source",
    "poses_from_trajectory",
    "read_calibration",
    "read_depth",
    "read_image",
    "read_stamped_trajectory",
    "read_trajectory",
    "trajectory_from_poses",
    "turned_cameras",
    "write_bag",
    "write_trajectory",
]
