"""Tracks as messages: ours, and the clouds that VINS's estimators read."""

from __future__ import annotations

import array

import numpy as np
from geometry_msgs.msg import Point32
from sensor_msgs.msg import ChannelFloat32, PointCloud
from std_msgs.msg import Header

from superglue_ros.msg import Tracks
from superglue_ros.tracks import FrameTracks, VinsFeatures
from superglue_ros.types import FloatArray

_CAMERA = 0.0
"""Number of the only camera."""


def tracks_message(tracks: FrameTracks, header: Header) -> Tracks:
    """Tracks message with the header of the frame's image."""
    message = Tracks(header=header, restarted=tracks.restarted)
    message.width, message.height = tracks.image_size
    # Generated messages take an array.array as it is, but check anything else value by value.
    message.ids = array.array("Q", np.ascontiguousarray(tracks.ids, np.uint64).tobytes())
    message.points = array.array("f", np.ascontiguousarray(tracks.points, "f4").tobytes())
    message.ages = array.array("I", np.ascontiguousarray(tracks.ages, np.uint32).tobytes())
    message.confidences = array.array(
        "f", np.ascontiguousarray(tracks.confidences, "f4").tobytes()
    )
    return message


def vins_message(features: VinsFeatures, header: Header, kind: str) -> PointCloud:
    """Cloud of normalised points with z = 1, for "mono" or "fusion".

    Channels are read by their place. mono: id, u, v (pixels as received), vx, vy (normalised
    units per second). fusion: id, camera, u, v, vx, vy and, as there are more than five, three of
    a true position, which are zeros.
    """
    message = PointCloud(header=header)
    message.points = [Point32(x=float(x), y=float(y), z=1.0) for x, y in features.points]
    values: list[tuple[str, FloatArray]] = [("id", features.ids.astype(np.float32))]
    if kind == "fusion":
        values.append(("camera", np.full(len(features), _CAMERA)))
    values += zip("uv", features.pixels.T)
    values += zip(("vx", "vy"), features.velocities.T)
    if kind == "fusion":
        values += [(name, np.zeros(len(features))) for name in ("gx", "gy", "gz")]
    message.channels = [
        ChannelFloat32(name=name, values=np.asarray(value, float).tolist())
        for name, value in values
    ]
    return message
