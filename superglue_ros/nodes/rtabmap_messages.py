"""Images with our features as rtabmap_msgs/RGBDImage."""

from __future__ import annotations

import array
import zlib
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.nodes.conversions import AnyImage
from superglue_ros.types import Features, FloatArray

FLOAT32_TYPE = 5
"""CV_32F of one channel, in OpenCV's numbers."""

_KEYPOINT_SIZE_PX = 8.0
"""SuperPoint's keypoints have no size: its cells'."""

_STORED = 0
"""Level of the zlib stream: descriptors hardly shrink, and level 1 takes thirty times as long."""


def import_rtabmap_msgs() -> Any:
    """The module of rtabmap's messages; SuperGlueRosError where it is missing."""
    try:
        import rtabmap_msgs.msg
    except ImportError as error:
        raise SuperGlueRosError(
            f"rtabmap_node needs rtabmap_msgs ({error}): apt install ros-$ROS_DISTRO-rtabmap-msgs"
        ) from error
    return rtabmap_msgs.msg


def compressed_matrix(matrix: FloatArray) -> bytes:
    """A float32 matrix as rtabmap's uncompressData reads it: a zlib stream of its rows, then
    rows, columns and type as native int32."""
    rows = np.ascontiguousarray(matrix, np.float32)
    end = np.array([*rows.shape, FLOAT32_TYPE], np.int32)
    return zlib.compress(rows.tobytes(), _STORED) + end.tobytes()


def rgbd_image(
    messages: Any,
    image: AnyImage,
    depth: AnyImage,
    cameras: tuple[CameraInfo, CameraInfo],
    features: Features,
) -> Any:
    """RGBDImage of an image, the depth or right image that goes with it, and its features.

    messages: the module of rtabmap's messages; cameras: of both images. Each image is passed on
    as it is, raw or compressed. 3-D points are left to rtabmap, which has the depth.
    """
    message = messages.RGBDImage(header=image.header)
    message.rgb_camera_info, message.depth_camera_info = cameras
    for name, picture in (("rgb", image), ("depth", depth)):
        setattr(message, name if isinstance(picture, Image) else f"{name}_compressed", picture)
    message.key_points = [
        messages.KeyPoint(
            pt=messages.Point2f(x=x, y=y),
            size=_KEYPOINT_SIZE_PX,
            angle=-1.0,  # none, as OpenCV has it
            response=score,
            class_id=-1,
        )
        for (x, y), score in zip(features.keypoints.tolist(), features.scores.tolist())
    ]
    message.descriptors = array.array("B", compressed_matrix(features.descriptors))
    return message
