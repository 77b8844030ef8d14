"""Cameras of YAML files: ROS, Kalibr, EuRoC, ORB-SLAM, VINS (camodocal), OpenCV."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from superglue_ros.errors import SourceError
from superglue_ros.sources.distortion import distortion_of_file, model_name
from superglue_ros.types import CameraModel, FloatArray

Content = Mapping[str, Any]
Size = tuple[int, int]

MAX_BYTES = 64_000
"""Of a file that can be a calibration; PyYAML takes seconds for ten times as much."""


class _Loader(yaml.SafeLoader):
    """Also takes the matrices that OpenCV's FileStorage writes."""


_Loader.add_constructor(
    "tag:yaml.org,2002:opencv-matrix",
    lambda loader, node: loader.construct_mapping(node, deep=True),  # type: ignore[arg-type]
)


def camera_from_yaml(text: str, size: Size, topic: str | None = None) -> tuple[CameraModel, str]:
    """The camera, and which tool's format it is in.

    size: (width, height) of the images, for files that do not say; topic: of the images, which
    chooses among the cameras of a Kalibr camchain. Raises SourceError, which says what is missing.
    """
    content = _load(text)
    for key, read in (
        ("camera_matrix", _ros_or_opencv),
        ("projection_parameters", _camodocal),
        ("mirror_parameters", _camodocal),
        ("Camera.fx", _orb_slam),
        ("Camera1.fx", _orb_slam),
        ("intrinsics", _kalibr),
    ):
        if key in content:
            return _of(read, content, size)
    if ("K" in content and "D" in content) or ("k" in content and "d" in content):
        return _of(_echoed, content, size)
    cameras = {
        key: value for key, value in content.items()
        if re.fullmatch(r"cam\d+", str(key)) and isinstance(value, Mapping)
    }  # fmt: skip
    if cameras:
        key = _chosen(cameras, topic)
        camera, _ = _of(_kalibr, cameras[key], size)
        return camera, f"{key} of {len(cameras)} in a Kalibr camchain"
    keys = ", ".join(str(key) for key in list(content)[:5])
    raise SourceError(f"no camera calibration in it, only {keys}")


def camera_in_body(path: Path) -> FloatArray:
    """(4, 4) T_BS of an EuRoC sensor.yaml, which maps points of the camera into the body; raises
    SourceError."""
    try:
        matrix = _array(_load(read_limited(path))["T_BS"]).reshape(4, 4)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{path}: no T_BS of 4 x 4 numbers: {error}") from error
    rotation = matrix[:3, :3]
    if not np.all(np.isfinite(matrix)) or np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2:
        raise SourceError(f"{path}: T_BS is no rigid motion")
    return matrix


def read_limited(path: Path) -> str:
    """The text of a file that is no longer than a calibration; raises SourceError."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8", "replace")
    except OSError as error:
        raise SourceError(f"cannot read it: {error.strerror or error}") from error


def _load(text: str) -> Content:
    if len(text) > MAX_BYTES:
        raise SourceError(f"no camera calibration: over {MAX_BYTES} bytes")
    # OpenCV writes a version that YAML does not know, and some of its files have no blank.
    text = re.sub(r"^%YAML.*$", "", text.lstrip("\ufeff"), flags=re.MULTILINE)
    text = re.sub(r"^([ \t]*[\w.]+):\[", r"\1: [", text, flags=re.MULTILINE)
    try:
        documents = list(yaml.load_all(text, _Loader))
    # PyYAML also lets through what its constructors of numbers, dates and keys raise.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"no camera calibration in it: {reason}") from error
    for content in documents:
        if isinstance(content, Mapping) and content:
            return content
    raise SourceError("no camera calibration in it")


def _of(read: Any, content: Content, size: Size) -> tuple[CameraModel, str]:
    try:
        camera, name = read(content, size)
    except KeyError as error:
        raise SourceError(f"{error.args[0]} is missing") from error
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise SourceError(f"no camera calibration in it: {error}") from error
    return camera, name


def _chosen(cameras: Content, topic: str | None) -> str:
    """Of several cameras that of the topic; never a guess which it could be."""
    if len(cameras) == 1:
        return str(next(iter(cameras)))
    matching = [
        key for key, camera in cameras.items()
        if topic is not None and _same_topic(str(camera.get("rostopic", "")), topic)
    ]  # fmt: skip
    if len(matching) == 1:
        return str(matching[0])
    if topic is None and "cam0" in cameras:
        return "cam0"
    topics = ", ".join(f"{key} {camera.get('rostopic', '?')}" for key, camera in cameras.items())
    raise SourceError(f"{len(cameras)} cameras and none is of topic {topic}: {topics}")


def _same_topic(one: str, other: str) -> bool:
    return one.removesuffix("/compressed") == other.removesuffix("/compressed") and bool(one)


def _kalibr(content: Content, size: Size) -> tuple[CameraModel, str]:
    """Kalibr's camera block, and EuRoC's sensor.yaml, which has one under longer names."""
    euroc = "distortion_coefficients" in content
    kind = str(content.get("camera_model", "pinhole"))
    if kind.lower() != "pinhole":
        raise SourceError(f"camera_model {kind!r}: only pinhole is read")
    coefficients = content.get("distortion_coeffs", content.get("distortion_coefficients"))
    intrinsics = _array(content["intrinsics"])
    if len(intrinsics) != 4:
        raise ValueError(f"{len(intrinsics)} intrinsics, expected fx fy cx cy")
    matrix = _matrix(*intrinsics)
    model, distortion = distortion_of_file(_word(content, "distortion_model"), coefficients)
    width, height = content.get("resolution", size)
    camera = CameraModel(int(width), int(height), matrix, model, distortion)
    return camera, "EuRoC" if euroc else "Kalibr"


def _ros_or_opencv(content: Content, size: Size) -> tuple[CameraModel, str]:
    """camera_info yaml, and what OpenCV's calibration samples write."""
    matrix = _array(content["camera_matrix"]).reshape(3, 3)
    name = _word(content, "distortion_model")
    kind = _word(content, "camera_model")
    if "fisheye_model" in content:
        kind = "fisheye" if int(content["fisheye_model"]) else "plumb_bob"
    if kind is not None and kind.lower() != "pinhole":
        named = model_name(kind)
        if named is None:
            raise SourceError(f"camera_model {kind!r} is not read")
        if name is not None and (named == "equidistant") != (model_name(name) == "equidistant"):
            raise SourceError(f"camera_model {kind!r} contradicts distortion_model {name!r}")
        name = name or kind
    coefficients = content.get("distortion_coefficients")
    given = None if coefficients is None else _array(coefficients)
    model, distortion = distortion_of_file(name, given)
    width, height = content.get("image_width", size[0]), content.get("image_height", size[1])
    camera = CameraModel(int(width), int(height), matrix, model, distortion)
    return camera, "OpenCV" if "fisheye_model" in content else "ROS"


def _echoed(content: Content, size: Size) -> tuple[CameraModel, str]:
    """A CameraInfo as `ros2 topic echo` and `rostopic echo` print it."""
    upper = "K" in content
    matrix = _array(content["K" if upper else "k"]).reshape(3, 3)
    coefficients = _array(content["D" if upper else "d"])
    model, distortion = distortion_of_file(_word(content, "distortion_model"), coefficients)
    width, height = content.get("width", size[0]), content.get("height", size[1])
    return CameraModel(int(width), int(height), matrix, model, distortion), "CameraInfo"


def _orb_slam(content: Content, size: Size) -> tuple[CameraModel, str]:
    camera = "Camera1" if "Camera1.fx" in content else "Camera"
    kind = str(content.get("Camera.type", "PinHole"))

    def numbers(*names: str) -> list[float]:
        return [float(content[f"{camera}.{name}"]) for name in names]

    matrix = _matrix(*numbers("fx", "fy", "cx", "cy"))
    plain = re.sub(r"[^a-z0-9]", "", kind.lower())
    if plain == "pinhole":
        third = ["k3"] if f"{camera}.k3" in content else []
        given = numbers("k1", "k2", "p1", "p2", *third)
        model, distortion = distortion_of_file("plumb_bob", given)
    elif plain in ("kannalabrandt", "kannalabrandt8"):
        model, distortion = distortion_of_file("equidistant", numbers("k1", "k2", "k3", "k4"))
    elif plain == "rectified":
        model, distortion = "none", np.zeros(0)
    else:
        raise SourceError(f"Camera.type {kind!r}: PinHole, KannalaBrandt8 and Rectified are read")
    width, height = content.get("Camera.width", size[0]), content.get("Camera.height", size[1])
    return CameraModel(int(width), int(height), matrix, model, distortion), "ORB-SLAM"


def _camodocal(content: Content, size: Size) -> tuple[CameraModel, str]:
    """VINS-Mono, VINS-Fusion and others that take camodocal's cameras."""
    kind = str(content["model_type"])
    if kind not in ("PINHOLE", "PINHOLE_FULL", "KANNALA_BRANDT"):
        raise SourceError(f"model_type {kind!r}: PINHOLE and KANNALA_BRANDT are read")
    projection = content["projection_parameters"]
    if kind == "KANNALA_BRANDT":
        # theta + k2 theta^3 + ..., so that their k2 is the others' k1.
        fx, fy, cx, cy, *given = (
            float(projection[key]) for key in ("mu", "mv", "u0", "v0", "k2", "k3", "k4", "k5")
        )
        model, distortion = distortion_of_file("equidistant", given)
    else:
        fx, fy, cx, cy = (float(projection[key]) for key in ("fx", "fy", "cx", "cy"))
        names = ["k1", "k2", "p1", "p2"]
        if kind == "PINHOLE_FULL":
            names += ["k3", "k4", "k5", "k6"]
        given = [float(content["distortion_parameters"][key]) for key in names]
        model, distortion = distortion_of_file("rational_polynomial", given)
        if kind == "PINHOLE" and model != "none":
            model = "plumb_bob"
    width, height = content.get("image_width", size[0]), content.get("image_height", size[1])
    matrix = _matrix(fx, fy, cx, cy)
    return CameraModel(int(width), int(height), matrix, model, distortion), "VINS"


def _word(content: Content, key: str) -> str | None:
    value = content.get(key)
    return None if value is None else str(value)


def _array(value: Any) -> FloatArray:
    """Numbers of a list, or of the `data` of a matrix; `1e-5` is a word to YAML."""
    data = value["data"] if isinstance(value, Mapping) else value
    return np.array(data, float).ravel()


def _matrix(fx: float, fy: float, cx: float, cy: float) -> FloatArray:
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
