"""Camera models of sensor_msgs/CameraInfo: from pixels to rays and back.

Normalised points are (x, y) on the plane z = 1 of the camera frame, without distortion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from superglue_ros.errors import CameraError
from superglue_ros.types import DISTORTION_MODELS, CameraModel, FloatArray

_COEFFICIENT_COUNTS = {
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (0, 4, 5, 8),
    "equidistant": (4,),
}
_NEWTON_ITERATIONS = 20
_CONVERGED = 1e-8


def check_camera(camera: CameraModel) -> None:
    """Raise CameraError, saying what is wrong, unless points can be normalised with the camera.

    A width or height of 0 counts as unknown and passes; a polynomial without coefficients is none.
    """
    matrix = np.asarray(camera.matrix, float)
    if matrix.shape != (3, 3):
        raise CameraError(f"camera matrix has shape {matrix.shape}, expected (3, 3)")
    if not np.isfinite(matrix).all():
        raise CameraError("camera matrix has values that are not finite")
    if not matrix.any():
        raise CameraError("camera matrix is all zero: the camera is not calibrated")
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise CameraError(
            f"focal lengths must be positive, found {matrix[0, 0]:g} and {matrix[1, 1]:g}"
        )
    if matrix[1, 0] != 0 or not np.array_equal(matrix[2], [0, 0, 1]):
        raise CameraError("camera matrix is not [[fx, s, cx], [0, fy, cy], [0, 0, 1]]")
    if camera.width < 0 or camera.height < 0:
        raise CameraError(f"image size {camera.width}x{camera.height} is negative")
    if camera.model not in DISTORTION_MODELS:
        raise CameraError(
            f"unknown distortion model '{camera.model}', expected one of "
            + ", ".join(DISTORTION_MODELS)
        )
    distortion = np.asarray(camera.distortion, float).ravel()
    if camera.model == "none":
        return
    if distortion.size not in _COEFFICIENT_COUNTS[camera.model]:
        raise CameraError(
            f"distortion model '{camera.model}' has {distortion.size} coefficients, expected "
            + " or ".join(str(count) for count in _COEFFICIENT_COUNTS[camera.model])
        )
    if not np.isfinite(distortion).all():
        raise CameraError("distortion has coefficients that are not finite")


def check_camera_fits(camera: CameraModel, image_size: tuple[int, int]) -> None:
    """Raise CameraError where a camera is of images of another size than (width, height); one
    that does not know its size fits any."""
    size = (camera.width, camera.height)
    if 0 not in size and size != image_size:
        text = "the calibration is of {} x {} pixels, the images are of {} x {}"
        raise CameraError(text.format(*size, *image_size))


def scale_camera(camera: CameraModel, width: int, height: int) -> CameraModel:
    """The same camera for images resized to width x height pixels.

    Pixel centres are whole numbers, so (x + 0.5) scales, not x. Raises CameraError where the
    camera does not know its own size, ValueError where width or height is not positive.
    """
    if width <= 0 or height <= 0:
        raise ValueError(f"size must be positive, found {width}x{height}")
    if camera.width <= 0 or camera.height <= 0:
        raise CameraError("camera of unknown image size cannot be scaled")
    scale_x, scale_y = width / camera.width, height / camera.height
    to_scaled = np.array(
        [[scale_x, 0, 0.5 * scale_x - 0.5], [0, scale_y, 0.5 * scale_y - 0.5], [0, 0, 1]]
    )
    matrix = to_scaled @ np.asarray(camera.matrix, float)
    return replace(camera, width=width, height=height, matrix=matrix)


def mean_focal(camera: CameraModel) -> float:
    """Geometric mean of the two focal lengths, pixels per unit of the normalised plane."""
    return float(np.sqrt(camera.matrix[0, 0] * camera.matrix[1, 1]))


def normalize_points(points_px: FloatArray, camera: CameraModel) -> FloatArray:
    """(N, 2) pixels to (N, 2) normalised points without distortion.

    Points outside the range in which the distortion can be inverted, or not finite, become NaN.
    Raises CameraError where the camera is unusable.
    """
    check_camera(camera)
    pixels = np.asarray(points_px, float).reshape(-1, 2)
    matrix = np.asarray(camera.matrix, float)
    y = (pixels[:, 1] - matrix[1, 2]) / matrix[1, 1]
    x = (pixels[:, 0] - matrix[0, 2] - matrix[0, 1] * y) / matrix[0, 0]
    distorted = np.stack([x, y], axis=1)
    coefficients = _padded(camera)
    if not coefficients.any() and camera.model != "equidistant":
        return distorted
    if camera.model == "equidistant":
        return _undistort_equidistant(distorted, coefficients)
    return _undistort_polynomial(distorted, coefficients)


def project_normalized(points: FloatArray, camera: CameraModel) -> FloatArray:
    """(N, 2) normalised points to (N, 2) pixels, distortion applied."""
    check_camera(camera)
    distorted = _distortion_function(camera)(np.asarray(points, float).reshape(-1, 2))
    matrix = np.asarray(camera.matrix, float)
    return distorted @ matrix[:2, :2].T + matrix[:2, 2]


def project_points(points_xyz: FloatArray, camera: CameraModel) -> FloatArray:
    """(N, 3) points in the camera frame to (N, 2) pixels; NaN for those not in front of it."""
    points = np.asarray(points_xyz, float).reshape(-1, 3)
    depth = np.where(points[:, 2:] > 0, points[:, 2:], np.nan)
    return project_normalized(points[:, :2] / depth, camera)


def _padded(camera: CameraModel) -> FloatArray:
    coefficients = np.zeros(4 if camera.model == "equidistant" else 8)
    if camera.model != "none":
        given = np.asarray(camera.distortion, float).ravel()
        coefficients[: given.size] = given
    return coefficients


def _distortion_function(camera: CameraModel) -> Callable[[FloatArray], FloatArray]:
    coefficients = _padded(camera)
    if camera.model == "equidistant":
        return lambda points: _distort_equidistant(points, coefficients)
    return lambda points: _distort_polynomial(points, coefficients)


def _distort_polynomial(points: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Brown-Conrady with the rational radial part (k1 k2 p1 p2 k3 k4 k5 k6)."""
    k1, k2, p1, p2, k3, k4, k5, k6 = coefficients
    x, y = points[:, 0], points[:, 1]
    r2 = x * x + y * y
    numerator = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    radial = numerator / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    tangential_x = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    tangential_y = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([x * radial + tangential_x, y * radial + tangential_y], axis=1)


def _undistort_polynomial(distorted: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Newton's method with a numeric 2x2 Jacobian, from the distorted points on."""
    points, step = distorted.copy(), 1e-6
    residual = _distort_polynomial(points, coefficients) - distorted
    for _ in range(_NEWTON_ITERATIONS):
        along_x = _distort_polynomial(points + [step, 0], coefficients) - distorted - residual
        along_y = _distort_polynomial(points + [0, step], coefficients) - distorted - residual
        determinant = along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0]
        # A folded model (determinant of the other sign) has no inverse there.
        determinant = np.where(determinant > 0, determinant, np.nan) / step
        points[:, 0] -= (residual[:, 0] * along_y[:, 1] - residual[:, 1] * along_y[:, 0]) / (
            determinant
        )
        points[:, 1] -= (along_x[:, 0] * residual[:, 1] - along_x[:, 1] * residual[:, 0]) / (
            determinant
        )
        residual = _distort_polynomial(points, coefficients) - distorted
        if not (np.abs(residual) > 1e-13).any():
            break
    converged = np.abs(residual).max(axis=1, initial=0.0) < _CONVERGED
    return np.where(converged[:, None], points, np.nan)


def _distort_equidistant(points: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Kannala-Brandt: theta_d = theta (1 + k1 theta^2 + ... + k4 theta^8)."""
    radius = np.linalg.norm(points, axis=1)
    theta = np.arctan(radius)
    ratio = np.divide(
        _equidistant_radius(theta, coefficients),
        radius,
        out=np.ones_like(radius),
        where=radius > 1e-12,
    )
    return points * ratio[:, None]


def _equidistant_radius(theta: FloatArray, coefficients: FloatArray) -> FloatArray:
    k1, k2, k3, k4 = coefficients
    t2 = theta * theta
    return theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))


def _undistort_equidistant(distorted: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Newton's method on the angle; angles of 90 degrees and more leave the plane z = 1."""
    k1, k2, k3, k4 = coefficients
    radius = np.linalg.norm(distorted, axis=1)
    theta = np.minimum(radius, np.pi / 2)
    for _ in range(_NEWTON_ITERATIONS):
        t2 = theta * theta
        slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
        slope = np.where(slope > 0, slope, np.nan)
        theta = theta - (_equidistant_radius(theta, coefficients) - radius) / slope
    residual = np.abs(_equidistant_radius(theta, coefficients) - radius)
    usable = (residual < _CONVERGED) & (theta >= 0) & (theta < np.pi / 2 - 1e-6)
    scale = np.divide(np.tan(theta), radius, out=np.ones_like(radius), where=radius > 1e-12)
    return np.where(usable[:, None], distorted * scale[:, None], np.nan)
