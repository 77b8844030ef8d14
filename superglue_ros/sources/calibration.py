"""Camera models from the calibration files and messages that data come with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from superglue_ros.errors import SourceError
from superglue_ros.types import DISTORTION_MODELS, CameraModel, FloatArray

_EUROC_MODELS = {"radial-tangential": "plumb_bob", "radtan": "plumb_bob"}
_TUM_COLUMNS = {4: 0, 8: 4, 9: 5}
"""Columns of calibration.txt: fx fy cx cy and how many distortion coefficients follow."""


def camera_matrix(fx: float, fy: float, cx: float, cy: float) -> FloatArray:
    """(3, 3) intrinsic matrix of focal lengths and principal point in pixels."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def camera_from_info(message: Any, rectified: bool = False) -> CameraModel:
    """Camera of a sensor_msgs/CameraInfo of ROS 1 or ROS 2, by its K and D, or of its rectified
    images, by its P; all-zero distortion becomes "none", but for the equidistant model, which
    bends rays without any coefficients.

    It is of the image as published: of the message's region of interest, binned. Takes any object
    with the message's fields; checks nothing (`geometry.camera` does).
    """
    lower = hasattr(message, "k")
    matrix = np.array(message.k if lower else message.K, float).reshape(3, 3)
    distortion = np.array(message.d if lower else message.D, float).ravel()
    model = str(message.distortion_model)
    if rectified:
        matrix = np.array(message.p if lower else message.P, float).reshape(3, 4)[:, :3].copy()
    if rectified or (model != "equidistant" and not np.any(distortion)):
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


def read_calibration(path: Path, size: tuple[int, int]) -> CameraModel:
    """Camera of a calibration file: KITTI, TUM, EuRoC sensor.yaml, or ROS camera_info yaml.

    size: (width, height) of the images, for the formats that do not say. Raises SourceError.
    """
    if path.suffix in (".yaml", ".yml"):
        return _read_yaml(path, size)
    rows = _number_rows(path)
    if len(rows[0]) == 12:
        return read_kitti_calibration(path, size)[0]
    return _read_tum(path, rows[0], size)


def read_kitti_calibration(
    path: Path, size: tuple[int, int], left: int = 0
) -> tuple[CameraModel, float | None]:
    """Left camera and the stereo baseline in metres (None without a right row) of a calib.txt.

    Rows are 3 x 4 projection matrices, row-major, with or without `P0:` before them; row `left` is
    the left camera and the next one the right. Raises SourceError.
    """
    rows = [row for row in _number_rows(path) if len(row) == 12]
    if len(rows) <= left:
        raise SourceError(f"{path}: no row {left + 1} of 12 numbers (a 3x4 projection matrix)")
    projection = np.array(rows[left]).reshape(3, 4)
    camera = CameraModel(size[0], size[1], projection[:, :3].copy())
    if projection[0, 0] <= 0:
        raise SourceError(f"{path}: focal length {projection[0, 0]} is not positive")
    if len(rows) <= left + 1:
        return camera, None
    right = np.array(rows[left + 1]).reshape(3, 4)
    baseline = float((projection[0, 3] - right[0, 3]) / projection[0, 0])
    return camera, baseline if baseline > 0 else None


def _read_tum(path: Path, row: list[float], size: tuple[int, int]) -> CameraModel:
    if len(row) not in _TUM_COLUMNS:
        raise SourceError(
            f"{path}: {len(row)} numbers in the first row; expected 12 (KITTI) or "
            f"fx fy cx cy [k1 k2 p1 p2 [k3]] (4, 8 or 9)"
        )
    distortion = np.array(row[4:])
    model = "plumb_bob" if np.any(distortion) else "none"
    if model == "none":
        distortion = np.zeros(0)
    return CameraModel(size[0], size[1], camera_matrix(*row[:4]), model, distortion)


def _read_yaml(path: Path, size: tuple[int, int]) -> CameraModel:
    try:
        content = yaml.safe_load(path.read_text())
        if "intrinsics" in content:
            return _euroc_camera(content, size)
        matrix = np.array(content["camera_matrix"]["data"], float).reshape(3, 3)
        distortion = np.array(content["distortion_coefficients"]["data"], float)
        model = str(content.get("distortion_model", "plumb_bob"))
        width, height = content.get("image_width", size[0]), content.get("image_height", size[1])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: no camera calibration in it: {error!r}") from error
    if model != "equidistant" and not np.any(distortion):
        model, distortion = "none", np.zeros(0)
    if model not in DISTORTION_MODELS:
        raise SourceError(f"{path}: unknown distortion model {model!r}")
    return CameraModel(int(width), int(height), matrix, model, distortion)


def _euroc_camera(content: dict[str, Any], size: tuple[int, int]) -> CameraModel:
    width, height = content.get("resolution", size)
    name = str(content.get("distortion_model", "none"))
    model = _EUROC_MODELS.get(name, name)
    distortion = np.array(content.get("distortion_coefficients", []), float)
    if model == "plumb_bob" and len(distortion) == 4:
        distortion = np.append(distortion, 0.0)
    if model not in DISTORTION_MODELS:
        raise ValueError(f"unknown distortion model {name!r}")
    matrix = camera_matrix(*(float(value) for value in content["intrinsics"]))
    return CameraModel(int(width), int(height), matrix, model, distortion)


def _number_rows(path: Path) -> list[list[float]]:
    """Rows of finite numbers; `P0:`-like labels and # comments are left out."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read calibration {path}: {error}") from error
    rows = []
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].split(":")[-1].strip()
        if not text:
            continue
        try:
            row = [float(word) for word in text.replace(",", " ").split()]
        except ValueError:
            # KITTI's raw calibration files also hold dates and names.
            continue
        if not np.all(np.isfinite(row)):
            raise SourceError(f"{path}:{number}: not a finite number")
        rows.append(row)
    if not rows:
        raise SourceError(f"{path}: no numbers in it")
    return rows
