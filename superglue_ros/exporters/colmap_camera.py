"""Cameras of CameraInfo as COLMAP names them."""

from __future__ import annotations

import numpy as np

from superglue_ros.errors import CameraError
from superglue_ros.geometry import check_camera
from superglue_ros.types import CameraModel

PIXEL_CENTRE = 0.5
"""COLMAP counts pixels from the corner of the top-left one, we from its centre."""


def colmap_camera(camera: CameraModel) -> tuple[str, list[float]]:
    """COLMAP's model and its parameters; CameraError for a camera that is unusable, skewed or of
    unknown size.

    plumb_bob is OPENCV, or FULL_OPENCV where it has a k3; rational_polynomial FULL_OPENCV;
    equidistant OPENCV_FISHEYE; without distortion PINHOLE.
    """
    check_camera(camera)
    if camera.width <= 0 or camera.height <= 0:
        raise CameraError("COLMAP needs the size of the calibrated images")
    if camera.matrix[0, 1] != 0:
        raise CameraError("COLMAP's cameras have no skew")
    fx, fy = (float(camera.matrix[i, i]) for i in (0, 1))
    cx, cy = (float(camera.matrix[i, 2]) + PIXEL_CENTRE for i in (0, 1))
    pinhole = [fx, fy, cx, cy]
    given = np.zeros(8)
    if camera.model != "none":
        values = np.asarray(camera.distortion, float).ravel()
        given[: len(values)] = values
    if camera.model == "equidistant":
        return "OPENCV_FISHEYE", [*pinhole, *given[:4].tolist()]
    if not given.any():
        return "PINHOLE", pinhole
    if camera.model == "rational_polynomial" or given[4:].any():
        return "FULL_OPENCV", [*pinhole, *given.tolist()]
    return "OPENCV", [*pinhole, *given[:4].tolist()]
