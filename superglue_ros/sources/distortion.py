"""Distortion models by the names that calibration tools and drivers give them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from superglue_ros.errors import SourceError
from superglue_ros.types import FloatArray

_NAMES = {
    "none": ("none", "rectified"),
    "plumb_bob": ("plumb_bob", "radtan", "radial-tangential", "Brown-Conrady", "OpenCV"),
    "rational_polynomial": ("rational_polynomial", "rational"),
    "equidistant": (
        "equidistant", "equi", "fisheye", "Kannala-Brandt", "kannala_brandt4", "KannalaBrandt8",
        "KB", "KB4", "KB8", "OpenCV_fisheye",
    ),
}  # fmt: skip
"""What ROS, Kalibr, EuRoC, librealsense, ORB-SLAM, COLMAP and others call the models; how they
are written (case, spaces, signs) does not matter."""

_POLYNOMIAL = ("plumb_bob", "rational_polynomial")
_COUNTS = {"plumb_bob": (4, 5), "rational_polynomial": (4, 5, 8), "equidistant": (4,)}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_MODELS = {_plain(name): model for model, names in _NAMES.items() for name in names}


def model_name(name: str) -> str | None:
    """The model's name in sensor_msgs/CameraInfo, or "none"; None where it is not known."""
    return _MODELS.get(_plain(name))


def normalise(name: str, coefficients: Sequence[float] | FloatArray) -> tuple[str, FloatArray]:
    """Model and coefficients (D,) as `types.CameraModel` has them; checks nothing.

    Zeros beyond the model's coefficients are dropped, polynomials of nothing but zeros are "none"
    (an equidistant lens bends rays without any), and more coefficients than plumb_bob has are
    rational_polynomial's, whose first five they share. A name that is not known stays.
    """
    distortion = np.array(coefficients, float).ravel()
    model = model_name(name)
    if model is None:
        # Whatever it is called, nothing but zeros is no lens, unless the lens has a name.
        none = not name.strip() and not np.any(distortion)
        return ("none", np.zeros(0)) if none else (name, distortion)
    if model == "none" or (model in _POLYNOMIAL and not np.any(distortion)):
        return "none", np.zeros(0)
    most = 8 if model in _POLYNOMIAL else 4
    if not np.any(distortion[most:]):
        distortion = distortion[:most]
    if model == "plumb_bob" and len(distortion) > 5:
        if np.any(distortion[5:]):
            return "rational_polynomial", distortion
        distortion = distortion[:5]
    return model, distortion


def distortion_of_file(
    name: str | None, coefficients: Sequence[float] | FloatArray | None
) -> tuple[str, FloatArray]:
    """Model and coefficients that a calibration file names; a file must say both, or "none".

    Raises SourceError for a model that is not named or not known, coefficients that are missing,
    not finite, or not as many as the model has.
    """
    if name is None:
        raise SourceError("it does not say which distortion model it has (nor that it has none)")
    model = model_name(name)
    if model is None:
        known = ", ".join(names for group in _NAMES.values() for names in group)
        raise SourceError(f"distortion model {name!r} is none of those that are read: {known}")
    if model == "none":
        if coefficients is not None and np.any(np.array(coefficients, float)):
            raise SourceError("it has distortion coefficients, but its distortion model is none")
        return "none", np.zeros(0)
    given = np.array([] if coefficients is None else coefficients, float).ravel()
    if not len(given):
        raise SourceError(f"distortion model {name!r} without distortion coefficients")
    if not np.all(np.isfinite(given)):
        raise SourceError("distortion coefficients that are not finite")
    model, distortion = normalise(name, given)
    if model != "none" and len(distortion) not in _COUNTS[model]:
        expected = " or ".join(str(count) for count in _COUNTS[model])
        raise SourceError(
            f"distortion model {name!r} with {len(given)} coefficients, expected {expected}"
        )
    if model == "plumb_bob" and len(distortion) == 4:
        distortion = np.append(distortion, 0.0)
    return model, distortion
