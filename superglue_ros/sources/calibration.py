"""Camera models from the calibration files and messages that data come with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.errors import CameraError, SourceError
from superglue_ros.sources.calibration_text import camera_from_text
from superglue_ros.sources.calibration_yaml import camera_from_yaml, read_limited
from superglue_ros.sources.distortion import normalise
from superglue_ros.types import CameraModel


@dataclass(frozen=True)
class Calibration:
    """A camera, and from where it is: the file and which format, for the user to see."""

    camera: CameraModel
    origin: str


def camera_from_info(message: Any, rectified: bool = False) -> CameraModel:
    """Camera of a sensor_msgs/CameraInfo of ROS 1 or ROS 2, by its K and D, or of its rectified
    images, by its P. Its distortion model may have any of the names that drivers use
    (`distortion.normalise`); all-zero distortion becomes "none", but for the equidistant model,
    which bends rays without any coefficients.

    It is of the image as published: of the message's region of interest, binned. Takes any object
    with the message's fields; checks nothing (`geometry.camera` does).
    """
    lower = hasattr(message, "k")
    matrix = np.array(message.k if lower else message.K, float).reshape(3, 3)
    coefficients = message.d if lower else message.D
    model, distortion = normalise(str(message.distortion_model), coefficients)
    if rectified:
        matrix = np.array(message.p if lower else message.P, float).reshape(3, 4)[:, :3].copy()
        model, distortion = "none", np.zeros(0)
    width, height, roi = int(message.width), int(message.height), message.roi
    if roi.width and roi.height:
        width, height = int(roi.width), int(roi.height)
        matrix[:2, 2] -= roi.x_offset, roi.y_offset
    for axis, binning in enumerate((int(message.binning_x), int(message.binning_y))):
        if binning > 1:
            # Pixel centres are whole numbers, so (x + 0.5) scales, not x.
            matrix[axis, 2] += 0.5
            matrix[axis] /= binning
            matrix[axis, 2] -= 0.5
    size = width // max(int(message.binning_x), 1), height // max(int(message.binning_y), 1)
    return CameraModel(*size, matrix, model, distortion)


def baseline_of_info(message: Any) -> float:
    """Metres to the right camera of a rectified pair from the left one, by the right one's
    sensor_msgs/CameraInfo; CameraError where its P has none."""
    projection = np.array(message.p if hasattr(message, "p") else message.P, float).ravel()
    focal_px, shift = float(projection[0]), float(projection[3]) + 0.0  # no -0
    if not (focal_px > 0 and shift < 0):
        raise CameraError(
            f"P[3] is {shift:g}, not -fx * baseline: that is no right camera of a rectified pair"
        )
    return -shift / focal_px


def read_calibration(path: Path, size: tuple[int, int]) -> CameraModel:
    """Camera of a calibration file, see `load_calibration`."""
    return load_calibration(path, size).camera


def load_calibration(path: Path, size: tuple[int, int], topic: str | None = None) -> Calibration:
    """Camera of a calibration file of any format of docs/sources.md.

    size: (width, height) of the images, for the formats that do not say; topic: of the images,
    for a Kalibr camchain of several cameras. Raises SourceError.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        camera, name = _read_yaml(path, size, topic)
    else:
        camera, name = camera_from_text(path, size)
    _check(path, camera)
    return Calibration(camera, f"{path} ({name})")


def _read_yaml(path: Path, size: tuple[int, int], topic: str | None) -> tuple[CameraModel, str]:
    try:
        return camera_from_yaml(read_limited(path), size, topic)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from error


def _check(path: Path, camera: CameraModel) -> None:
    """SourceError for a camera that no file can mean; `geometry.check_camera` knows the rest."""
    matrix = camera.matrix
    if not np.all(np.isfinite(matrix)) or not np.all(np.isfinite(camera.distortion)):
        raise SourceError(f"{path}: not a finite number in it")
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        text = f"focal lengths {matrix[0, 0]:g} and {matrix[1, 1]:g} are not positive"
        raise SourceError(f"{path}: {text}")
    if camera.width <= 0 or camera.height <= 0:
        raise SourceError(f"{path}: an image of {camera.width}x{camera.height} pixels")
