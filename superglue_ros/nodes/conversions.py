"""ROS messages to the package's types and back, whole arrays at a time.

Images are decoded by `sources.encodings`, as they are from a bag, so that the nodes and the
offline replay see the same pixels, unless `decoding` says otherwise.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from superglue_ros.errors import MessageError
from superglue_ros.msg import Features as FeaturesMessage
from superglue_ros.msg import Matches
from superglue_ros.sources.calibration import camera_from_info
from superglue_ros.sources.encodings import image_of_message
from superglue_ros.types import (
    CameraModel,
    Features,
    FloatArray,
    Frame,
    FrameMatches,
    ImageArray,
    IntArray,
)

AnyImage: TypeAlias = Image | CompressedImage

NS_PER_S = 1_000_000_000

MOST_FEATURES = 1_000_000
"""Of an image, far beyond what any has: consumers keep something for each feature."""


def stamp_to_ns(stamp: Time) -> int:
    """Nanoseconds of a message's time."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def stamp_from_ns(stamp_ns: int) -> Time:
    """A message's time of nanoseconds; its seconds are 32 bit."""
    seconds, nanoseconds = divmod(int(stamp_ns), NS_PER_S)
    return Time(sec=seconds, nanosec=nanoseconds)


def make_header(stamp_ns: int, frame_id: str) -> Header:
    """A header of nanoseconds and a frame's name."""
    return Header(stamp=stamp_from_ns(stamp_ns), frame_id=frame_id)


def frame_from_image(
    message: AnyImage, decode: Callable[[AnyImage], ImageArray] = image_of_message
) -> Frame:
    """Frame of an image; the encodings of raw ones are those of `sources.encodings.ENCODINGS`.

    Raises ImageError for an empty image, too little data, too small a step, and an encoding or
    format that is not known.
    """
    pixels = decode(message)
    stamp_ns = stamp_to_ns(message.header.stamp)
    return Frame(pixels, stamp_ns, message.header.frame_id)


def image_message(image: ImageArray, header: Header) -> Image:
    """Image message of a gray (H, W) or BGR (H, W, 3) uint8 image."""
    gray = image.ndim == 2
    height, width = image.shape[:2]
    message = Image(header=header, height=height, width=width)
    message.encoding = "mono8" if gray else "bgr8"
    message.step = width if gray else 3 * width
    message.data = array.array("B", image.tobytes())
    return message


def depth_message(depth_m: FloatArray, header: Header) -> Image:
    """Image message, 32FC1, of depth (H, W) in metres."""
    height, width = depth_m.shape
    message = Image(header=header, height=height, width=width, encoding="32FC1", step=4 * width)
    message.data = array.array("B", np.ascontiguousarray(depth_m, "<f4").tobytes())
    return message


def camera_from_message(message: CameraInfo, rectified: bool = False) -> CameraModel:
    """Camera of a CameraInfo, as it is; `geometry.check_camera` says whether it is usable.

    rectified: that of the rectified images, by P, in place of that of the raw ones.
    """
    return camera_from_info(message, rectified)


def camera_info_message(
    camera: CameraModel, header: Header, baseline_m: float = 0.0
) -> CameraInfo:
    """CameraInfo of an unrectified camera, or with a baseline of a rectified pair's right one;
    model "none" becomes plumb_bob with zeros."""
    rectified = camera.model == "none"
    message = CameraInfo(header=header, width=camera.width, height=camera.height)
    message.distortion_model = "plumb_bob" if rectified else camera.model
    message.d = _doubles(np.zeros(5) if rectified else camera.distortion)
    message.k = np.asarray(camera.matrix, float).ravel()
    message.r = np.eye(3).ravel()
    shift = np.array([[-camera.matrix[0, 0] * baseline_m], [0], [0]])
    message.p = np.hstack([camera.matrix, shift]).ravel()
    return message


def matches_message(matches: FrameMatches, header: Header, keyframe_header: Header) -> Matches:
    """Matches message, with the headers of the frame's and the keyframe's images."""
    message = Matches(header=header, keyframe_header=keyframe_header)
    message.keyframe_id = matches.keyframe_id
    message.is_keyframe = matches.is_keyframe
    message.width, message.height = matches.image_size
    message.keyframe_width, message.keyframe_height = matches.keyframe_image_size
    message.keyframe_points = _floats(matches.keyframe_points)
    if matches.keyframe_right_points is not None:
        message.keyframe_right_points = _floats(matches.keyframe_right_points)
    message.points = _floats(matches.points)
    message.keyframe_indices = _integers(matches.keyframe_indices)
    message.indices = _integers(matches.indices)
    message.confidences = _floats(matches.confidences)
    message.num_features = matches.num_features
    message.num_keyframe_features = matches.num_keyframe_features
    message.extract_ms = float(matches.extract_ms)
    message.match_ms = float(matches.match_ms)
    message.model = matches.model
    message.weights_hash = matches.weights_hash
    return message


def matches_from_message(message: Matches) -> FrameMatches:
    """Matches of a message; MessageError where its arrays do not fit together."""
    count = len(message.confidences)
    for name in ("num_features", "num_keyframe_features"):
        if getattr(message, name) > MOST_FEATURES:
            raise MessageError(f"{name} is {getattr(message, name)}, over {MOST_FEATURES}")
    matches = FrameMatches(
        stamp_ns=stamp_to_ns(message.header.stamp),
        keyframe_stamp_ns=stamp_to_ns(message.keyframe_header.stamp),
        frame_id=message.header.frame_id,
        keyframe_id=message.keyframe_id,
        is_keyframe=message.is_keyframe,
        image_size=(message.width, message.height),
        keyframe_image_size=(message.keyframe_width, message.keyframe_height),
        keyframe_points=_points(message.keyframe_points, count, "keyframe_points"),
        points=_points(message.points, count, "points"),
        keyframe_indices=_indices(
            message.keyframe_indices, count, message.num_keyframe_features, "keyframe_indices"
        ),
        indices=_indices(message.indices, count, message.num_features, "indices"),
        confidences=np.frombuffer(message.confidences, np.float32),
        num_features=message.num_features,
        num_keyframe_features=message.num_keyframe_features,
        extract_ms=message.extract_ms,
        match_ms=message.match_ms,
        model=message.model,
        weights_hash=message.weights_hash,
        keyframe_right_points=_right_points(message, count),
    )
    if not np.all((matches.confidences >= 0) & (matches.confidences <= 1)):
        raise MessageError("Matches: confidences leave [0, 1]")
    return matches


def features_message(features: Features, header: Header) -> FeaturesMessage:
    """Features message of one image."""
    message = FeaturesMessage(header=header)
    message.width, message.height = features.image_size
    message.points = _floats(features.keypoints)
    message.scores = _floats(features.scores)
    message.descriptor_dim = features.descriptors.shape[1]
    message.descriptors = _floats(features.descriptors)
    return message


def features_from_message(message: FeaturesMessage) -> Features:
    """Features of a message; MessageError where its arrays do not fit together."""
    count, size = len(message.scores), message.descriptor_dim
    if len(message.descriptors) != count * size:
        raise MessageError(
            f"Features: {len(message.descriptors)} descriptor values for {count} x {size}"
        )
    return Features(
        (message.width, message.height),
        _points(message.points, count, "points"),
        np.frombuffer(message.scores, np.float32),
        np.frombuffer(message.descriptors, np.float32).reshape(count, size),
    )


def _points(values: Any, count: int, name: str) -> FloatArray:
    points = np.frombuffer(values, np.float32)
    if len(points) != 2 * count:
        raise MessageError(f"{name} holds {len(points)} values for {count} points")
    if not np.all(np.isfinite(points)):
        raise MessageError(f"{name} holds values that are not finite")
    return points.reshape(count, 2)


def _right_points(message: Matches, count: int) -> FloatArray | None:
    """None for an empty field, which is a rig without a right camera, or has nothing matched."""
    points = np.frombuffer(message.keyframe_right_points, np.float32)
    if not len(points):
        return None
    if len(points) != 2 * count:
        text = f"keyframe_right_points holds {len(points)} values for {count} points"
        raise MessageError(text)
    if np.any(np.isinf(points)):
        raise MessageError("keyframe_right_points holds values that are infinite")
    return points.reshape(count, 2)


def _indices(values: Any, count: int, end: int, name: str) -> IntArray:
    indices = np.frombuffer(values, np.int32)
    if len(indices) != count:
        raise MessageError(f"{name} holds {len(indices)} values for {count} matches")
    if count and not 0 <= indices.min() <= indices.max() < end:
        raise MessageError(f"{name} leaves the list of {end} features")
    return indices


# Generated messages take an array.array as it is, but check anything else value by value.
def _floats(values: NDArray[Any]) -> array.array[float]:
    return array.array("f", np.ascontiguousarray(values, np.float32).tobytes())


def _integers(values: NDArray[Any]) -> array.array[int]:
    return array.array("i", np.ascontiguousarray(values, np.int32).tobytes())


def _doubles(values: NDArray[Any]) -> array.array[float]:
    return array.array("d", np.ascontiguousarray(values, np.float64).tobytes())
