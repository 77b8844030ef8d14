"""Cameras of text files: KITTI, TUM, 4Seasons (DSO) and COLMAP."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from superglue_ros.errors import SourceError
from superglue_ros.sources.distortion import distortion_of_file
from superglue_ros.sources.tables import Row, read_table
from superglue_ros.types import CameraModel, FloatArray

Size = tuple[int, int]

MAX_BYTES = 64_000
"""Of a file that can be a calibration."""

_TUM_COLUMNS = {4: 0, 8: 4, 9: 5}
"""Columns of calibration.txt: fx fy cx cy and how many distortion coefficients follow."""

_DSO_MODELS = {
    "Pinhole": "none", "RadTan": "radtan", "EquiDistant": "equidistant",
    "KannalaBrandt": "equidistant",
}  # fmt: skip

_COLMAP_MODELS = {
    "SIMPLE_PINHOLE": ("f cx cy", "none"),
    "PINHOLE": ("fx fy cx cy", "none"),
    "SIMPLE_RADIAL": ("f cx cy k1", "plumb_bob"),
    "RADIAL": ("f cx cy k1 k2", "plumb_bob"),
    "OPENCV": ("fx fy cx cy k1 k2 p1 p2", "plumb_bob"),
    "FULL_OPENCV": ("fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6", "rational_polynomial"),
    "OPENCV_FISHEYE": ("fx fy cx cy k1 k2 k3 k4", "equidistant"),
}
_ORDERS = {
    "none": "",
    "plumb_bob": "k1 k2 p1 p2",
    "rational_polynomial": "k1 k2 p1 p2 k3 k4 k5 k6",
    "equidistant": "k1 k2 k3 k4",
}


def camera_matrix(fx: float, fy: float, cx: float, cy: float) -> FloatArray:
    """(3, 3) intrinsic matrix of focal lengths and principal point in pixels."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def camera_from_text(path: Path, size: Size) -> tuple[CameraModel, str]:
    """The camera of a text file of any kind that is read, and the format's name.

    size: (width, height) of the images. Raises SourceError.
    """
    rows = _rows(path)
    if not rows:
        raise SourceError(f"{path}: no numbers in it")
    first = rows[0].words
    if any(row.words[0].startswith("P_rect_") for row in rows):
        return read_kitti_raw_calibration(path, size)[0], "KITTI raw, camera 00"
    if first[0] in (*_DSO_MODELS, "FOV"):
        return _dso_camera(path, rows), "4Seasons (DSO)"
    if len(first) > 4 and first[1] in _COLMAP_MODELS:
        return _colmap_camera(path, rows), "COLMAP"
    numbers = _number_rows(path, rows)
    if len(numbers[0]) == 12:
        return read_kitti_calibration(path, size)[0], "KITTI"
    return _tum_camera(path, numbers[0], size), "TUM"


def _rows(path: Path) -> list[Row]:
    return read_table(path, max_bytes=MAX_BYTES)


def read_kitti_calibration(
    path: Path, size: Size, left: int = 0
) -> tuple[CameraModel, float | None]:
    """Left camera and the stereo baseline in metres (None without a right row) of a calib.txt.

    Rows are 3 x 4 projection matrices, row-major, with or without `P0:` before them; row `left` is
    the left camera and the next one the right. Raises SourceError.
    """
    rows = [row for row in _number_rows(path, _rows(path)) if len(row) == 12]
    if len(rows) <= left:
        raise SourceError(f"{path}: no row {left + 1} of 12 numbers (a 3x4 projection matrix)")
    right = rows[left + 1] if len(rows) > left + 1 else None
    return _rectified(path, rows[left], right, size)


def read_kitti_raw_calibration(
    path: Path, size: Size, left: int = 0
) -> tuple[CameraModel, float | None]:
    """Camera `left` and its baseline to the next one in metres of a calib_cam_to_cam.txt.

    size tells rectified images (S_rect, P_rect) from those as they were taken (S, K, D), which
    have no baseline. Raises SourceError.
    """
    numbers = _labelled(path)

    def of(name: str, count: int) -> list[float]:
        values = numbers.get(name, [])
        if len(values) != count:
            raise SourceError(f"{path}: {name} has {len(values)} numbers, expected {count}")
        return values

    number = f"{left:02d}"
    sizes = {
        kind: tuple(int(value) for value in of(f"{kind}_{number}", 2)) for kind in ("S_rect", "S")
    }
    if size == sizes["S_rect"]:
        right = f"P_rect_{left + 1:02d}"
        partner = of(right, 12) if right in numbers else None
        return _rectified(path, of(f"P_rect_{number}", 12), partner, size)
    if size == sizes["S"]:
        matrix = np.array(of(f"K_{number}", 9)).reshape(3, 3)
        model, distortion = distortion_of_file("plumb_bob", of(f"D_{number}", 5))
        return CameraModel(*size, matrix, model, distortion), None
    text = "the images have {}x{} pixels, camera {} has {}x{} rectified and {}x{} as taken"
    text = text.format(*size, number, *sizes["S_rect"], *sizes["S"])
    raise SourceError(f"{path}: {text}")


def _rectified(
    path: Path, left: list[float], right: list[float] | None, size: Size
) -> tuple[CameraModel, float | None]:
    projection = np.array(left).reshape(3, 4)
    camera = CameraModel(size[0], size[1], projection[:, :3].copy())
    if projection[0, 0] <= 0:
        raise SourceError(f"{path}: focal length {projection[0, 0]} is not positive")
    if right is None:
        return camera, None
    baseline = float((projection[0, 3] - right[3]) / projection[0, 0])
    return camera, baseline if baseline > 0 else None


def _labelled(path: Path) -> dict[str, list[float]]:
    """Numbers by the label before them; dates and names are none."""
    found = {}
    for row in _rows(path):
        try:
            values = [float(word) for word in row.words[1:]]
        except ValueError:
            continue
        if row.words[0].endswith(":") and all(map(math.isfinite, values)):
            found[row.words[0].removesuffix(":")] = values
    return found


def _number_rows(path: Path, rows: list[Row]) -> list[list[float]]:
    """Rows of finite numbers; labels as `P0:` are left out, and rows of other words."""
    found = []
    for row in rows:
        words = row.words[1:] if row.words[0].endswith(":") else row.words
        try:
            values = [float(word) for word in words]
        except ValueError:
            continue
        if not all(map(math.isfinite, values)):
            raise SourceError(f"{path}:{row.number}: not a finite number")
        if values:
            found.append(values)
    if not found:
        raise SourceError(f"{path}: no numbers in it")
    return found


def _tum_camera(path: Path, row: list[float], size: Size) -> CameraModel:
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


def _dso_camera(path: Path, rows: list[Row]) -> CameraModel:
    """`Pinhole fx fy cx cy 0`, or another model's name and coefficients; then width and height."""
    name, *numbers = rows[0].words
    values = _numbers(path, rows[0], numbers)
    if len(rows) < 2 or len(rows[1].words) != 2 or len(values) < 4:
        raise SourceError(f"{path}: expected a model, fx fy cx cy, and then width and height")
    width, height = _numbers(path, rows[1], rows[1].words)
    if name == "FOV" or (name == "Pinhole" and any(values[4:])):
        raise SourceError(f"{path}: the FOV distortion model is not read")
    if values[2] < 1 and values[3] < 1:
        raise SourceError(f"{path}: intrinsics relative to the image's size are not read")
    coefficients = values[4:] if name != "Pinhole" else None
    try:
        model, distortion = distortion_of_file(_DSO_MODELS[name], coefficients)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from error
    return CameraModel(int(width), int(height), camera_matrix(*values[:4]), model, distortion)


def _colmap_camera(path: Path, rows: list[Row]) -> CameraModel:
    """The one camera of a cameras.txt: number, model, width, height and its parameters."""
    if len(rows) != 1:
        raise SourceError(f"{path}: {len(rows)} cameras where one is needed")
    words = rows[0].words
    names, model = _COLMAP_MODELS[words[1]]
    values = _numbers(path, rows[0], words[2:])
    width, height, *given = values
    if len(given) != len(names.split()):
        raise SourceError(f"{path}: {words[1]} has the parameters {names}, found {len(given)}")
    value = dict(zip(names.split(), given))
    f = value.get("f", 0.0)
    # COLMAP counts from the top left corner of the first pixel, not from its centre.
    matrix = camera_matrix(
        value.get("fx", f), value.get("fy", f), value["cx"] - 0.5, value["cy"] - 0.5
    )
    coefficients = [value.get(name, 0.0) for name in _ORDERS[model].split()]
    model, distortion = distortion_of_file(model, coefficients or None)
    return CameraModel(int(width), int(height), matrix, model, distortion)


def _numbers(path: Path, row: Row, words: list[str]) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise SourceError(f"{path}:{row.number}: {error}") from error
    if not all(map(math.isfinite, values)):
        raise SourceError(f"{path}:{row.number}: not a finite number")
    return values
