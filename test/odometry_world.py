"""A synthetic world of points, with exact poses, seen by a matcher that we can spoil at will."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from superglue_ros.geometry import exp_rotation, project_points
from superglue_ros.odometry import OdometryEstimate, TrackingState, VisualOdometry
from superglue_ros.types import CameraModel, FloatArray, FrameMatches, Pose

CAMERA = CameraModel(640, 480, np.array([[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]]))
PERIOD_NS = 100_000_000


def box_of_points(count: int = 3000, seed: int = 0, depth: float = 40.0) -> FloatArray:
    """(count, 3) points around a corridor along z, 16 m wide and 8 m high."""
    rng = np.random.default_rng(seed)
    low, high = [-8.0, -4.0, 2.0], [8.0, 4.0, depth]
    return rng.uniform(low, high, (count, 3))


def straight(count: int, step: Sequence[float] = (0.15, 0.0, 0.3)) -> list[Pose]:
    """Poses that move by `step` per frame, turning a little."""
    return [
        Pose(exp_rotation(np.array([0.0, 0.002 * i, 0.0])), np.array(step, float) * i)
        for i in range(count)
    ]


@dataclass(frozen=True)
class Seen:
    """One frame's features: which points, and where."""

    ids: FloatArray
    points: FloatArray
    stamp_ns: int


def depth_of(points: FloatArray, pose: Pose, camera: CameraModel = CAMERA) -> FloatArray:
    """Depth image with the points' depths at their pixels, and none anywhere else."""
    in_camera = (points - pose.position) @ pose.rotation
    pixels = project_points(in_camera, camera)
    inside = np.all((pixels >= 0) & (pixels <= [camera.width - 1, camera.height - 1]), axis=1)
    inside &= in_camera[:, 2] > 0
    depth = np.zeros((camera.height, camera.width), np.float32)
    columns, rows = np.round(pixels[inside]).astype(int).T
    depth[rows, columns] = in_camera[inside, 2]
    return depth


def matches_of(
    points: FloatArray | Callable[[int], FloatArray],
    poses: Sequence[Pose],
    camera: CameraModel = CAMERA,
    noise_px: float = 0.0,
    outliers: float = 0.0,
    seed: int = 0,
    keep_ratio: float = 0.6,
    max_age: int = 10**6,
    max_features: int = 500,
) -> list[FrameMatches]:
    """Messages of a matcher that becomes a new keyframe when fewer than keep_ratio of the first
    matches are left, or after max_age frames. The first visible points are the features; where
    they move they are given by the frame's number, NaN while they are hidden."""
    rng = np.random.default_rng(seed)
    messages: list[FrameMatches] = []
    keyframe: Seen | None = None
    keyframe_id, first_count, age = 0, None, 0
    for number, pose in enumerate(poses):
        now = points(number) if callable(points) else points
        frame = _seen(now, pose, camera, noise_px, max_features, rng, number * PERIOD_NS)
        if keyframe is None:
            none = np.zeros(0, np.int64)
            message = _message(keyframe_id, True, frame, frame, none, none, camera)
            message = replace(message, num_keyframe_features=0)
        else:
            _, first, second = np.intersect1d(keyframe.ids, frame.ids, return_indices=True)
            wrong = np.flatnonzero(rng.random(len(first)) < outliers)
            second[wrong] = second[np.roll(wrong, 1)]
            age += 1
            first_count = first_count or len(first)
            new = len(first) < keep_ratio * first_count or age >= max_age
            message = _message(keyframe_id, new, keyframe, frame, first, second, camera)
        if message.is_keyframe:
            keyframe, keyframe_id, first_count, age = frame, keyframe_id + 1, None, 0
        messages.append(message)
    return messages


def _seen(
    points: FloatArray,
    pose: Pose,
    camera: CameraModel,
    noise_px: float,
    max_features: int,
    rng: np.random.Generator,
    stamp_ns: int,
) -> Seen:
    pixels = project_points((points - pose.position) @ pose.rotation, camera)
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= 0) & (pixels <= [camera.width - 1, camera.height - 1])).all(axis=1)
    ids = rng.permutation(np.flatnonzero(inside)[:max_features])
    pixels = pixels[ids] + noise_px * rng.normal(size=(len(ids), 2))
    return Seen(ids, pixels, stamp_ns)


def _message(
    keyframe_id: int,
    is_keyframe: bool,
    keyframe: Seen,
    frame: Seen,
    first: FloatArray,
    second: FloatArray,
    camera: CameraModel,
) -> FrameMatches:
    size = (camera.width, camera.height)
    return FrameMatches(
        stamp_ns=frame.stamp_ns,
        keyframe_stamp_ns=keyframe.stamp_ns,
        frame_id="camera",
        keyframe_id=keyframe_id,
        is_keyframe=is_keyframe,
        image_size=size,
        keyframe_image_size=size,
        keyframe_points=keyframe.points[first].astype(np.float32),
        points=frame.points[second].astype(np.float32),
        keyframe_indices=first.astype(np.int32),
        indices=second.astype(np.int32),
        confidences=np.ones(len(first), np.float32),
        num_features=len(frame.ids),
        num_keyframe_features=len(keyframe.ids),
    )


def emptied(message: FrameMatches) -> FrameMatches:
    """The same message without a match."""
    return replace(
        message,
        keyframe_points=message.keyframe_points[:0],
        points=message.points[:0],
        keyframe_indices=message.keyframe_indices[:0],
        indices=message.indices[:0],
        confidences=message.confidences[:0],
    )


def run(
    messages: Sequence[FrameMatches],
    odometry: VisualOdometry | None = None,
    camera: CameraModel = CAMERA,
) -> list[OdometryEstimate]:
    """Estimates of all messages."""
    odometry = odometry if odometry is not None else VisualOdometry()
    return [odometry.process(message, camera) for message in messages]


def states(estimates: Sequence[OdometryEstimate]) -> str:
    """First letters of the states."""
    return "".join(estimate.state.value[0] for estimate in estimates)


def positions_by_stamp(estimates: Sequence[OdometryEstimate]) -> dict[int, FloatArray]:
    """Tracked and backfilled positions."""
    found: dict[int, FloatArray] = {}
    for estimate in estimates:
        for stamp_ns, pose in estimate.backfill:
            found.setdefault(stamp_ns, pose.position)
        if estimate.state is TrackingState.TRACKING:
            found[estimate.stamp_ns] = estimate.pose.position
    return found


def similarity_error(estimates: Sequence[OdometryEstimate], poses: Sequence[Pose]) -> float:
    """Root mean square position error after similarity alignment (Umeyama 1991), as a share of
    the path's length."""
    found = positions_by_stamp(estimates)
    numbers = [i for i in range(len(poses)) if i * PERIOD_NS in found]
    estimated = np.array([found[i * PERIOD_NS] for i in numbers])
    true = np.array([poses[i].position for i in numbers])
    from_mean, to_mean = estimated - estimated.mean(axis=0), true - true.mean(axis=0)
    u, singular, vt = np.linalg.svd(to_mean.T @ from_mean)
    signs = np.array([1, 1, np.linalg.det(u @ vt)])
    scale = (singular * signs).sum() / (from_mean**2).sum()
    aligned = scale * from_mean @ (u * signs @ vt).T
    path = np.linalg.norm(np.diff([pose.position for pose in poses], axis=0), axis=1).sum()
    return float(np.sqrt(((aligned - to_mean) ** 2).sum(axis=1).mean()) / path)
