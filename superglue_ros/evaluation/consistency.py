"""Whether the odometry's covariances cover its errors: rendered flights, every pose known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from superglue_ros.evaluation.flights import RATE_HZ, fly
from superglue_ros.geometry import log_rotation
from superglue_ros.matching import ImageMatcher, KeyframeMatcher
from superglue_ros.odometry import (
    OdometryConfig,
    OdometryEstimate,
    TrackingState,
    VisualOdometry,
)
from superglue_ros.types import FloatArray, FrameMatches, Pose
from superglue_ros.world.flight import FlightFrame

KINDS = ("mono", "RGB-D", "stereo")
BASELINE_M = 0.12
UNSCALED_S = 1.0
"""After a start without depth, in which hardly anything says how long its first step was."""


@dataclass(frozen=True)
class FlightConsistency:
    """One flight of one kind over its num_poses tracked poses: nees, the normalised estimation
    error squared over its six degrees of freedom, 1 if the covariances are exact (Bar-Shalom et
    al. 2001, section 5.4); root mean square errors, and what the covariances say they are;
    num_lost: frames without a pose though an earlier one had one."""

    kind: str
    flight: int
    num_poses: int
    num_lost: int
    nees: float
    position_m: float
    said_position_m: float
    rotation_rad: float
    said_rotation_rad: float


def evaluate_consistency(
    matcher: ImageMatcher,
    flights: int,
    frames: int,
    config: OdometryConfig,
    size: tuple[int, int] = (640, 480),
    progress: bool = False,
) -> list[FlightConsistency]:
    """Flights through different rooms, each once matched and estimated without depth, with the
    depths of an RGB-D camera and with those of a stereo rig.

    The depth camera has the noise that config says of it. Raises ValueError for fewer than one
    flight or for flights that are over before a scale is known.
    """
    if flights < 1 or frames <= 2 * UNSCALED_S * RATE_HZ:
        least = int(2 * UNSCALED_S * RATE_HZ) + 1
        raise ValueError(f"a flight at least, of {least} frames at least")
    results = []
    for flight in tqdm(range(flights), desc="flights", disable=not progress):
        odometries = {kind: VisualOdometry(config, kind != "mono") for kind in KINDS}
        estimates: dict[str, list[OdometryEstimate]] = {kind: [] for kind in KINDS}
        truth: list[Pose] = []
        for flown, matches, depth_m in _matched(matcher, flight, frames, config, size):
            camera = flown.frame.camera
            if camera is None:
                raise ValueError("a flight without a camera")
            given: dict[str, tuple[FloatArray | None, float | None]] = {
                "mono": (None, None),
                "RGB-D": (depth_m, None),
                "stereo": (None, BASELINE_M),
            }
            for kind, odometry in odometries.items():
                estimates[kind].append(odometry.process(matches, camera, *given[kind]))
            truth.append(flown.pose)
        for kind in KINDS:
            results.append(flight_consistency(kind, flight, estimates[kind], truth))
    return results


def _matched(
    matcher: ImageMatcher, flight: int, frames: int, config: OdometryConfig, size: tuple[int, int]
) -> Iterator[tuple[FlightFrame, FrameMatches, FloatArray | None]]:
    """Frames of a flight, their matches, and what a depth camera sees from the keyframe."""
    keyframes, rng = KeyframeMatcher(matcher), np.random.default_rng(flight)
    depth_m: FloatArray | None = None
    for flown in fly(flight, frames, size, BASELINE_M):
        matches = keyframes.process(flown.frame)
        yield flown, matches, depth_m
        if matches.is_keyframe and flown.frame.right is not None:
            keyframes.search_right_image(flown.frame.right)
            inverse = 1 / flown.depth + config.depth_noise * rng.normal(size=flown.depth.shape)
            known = inverse > config.depth_noise
            depth_m = np.where(known, 1 / np.where(known, inverse, 1.0), 0.0)


def flight_consistency(
    kind: str, flight: int, estimates: Sequence[OdometryEstimate], truth: Sequence[Pose]
) -> FlightConsistency:
    """Errors of the tracked poses against cameras in a world of their own, whose first is where
    the odometry's world begins; those of "mono" after the scale that fits best, and from
    UNSCALED_S after the first of them on."""
    begin = truth[0].inverse()
    pairs = [
        (estimate, begin @ pose)
        for estimate, pose in zip(estimates, truth)
        if estimate.state is TrackingState.TRACKING
    ]
    scale = 1.0
    if kind == "mono" and pairs:
        from_ns = pairs[0][0].stamp_ns + UNSCALED_S * 1e9
        pairs = [(estimate, pose) for estimate, pose in pairs if estimate.stamp_ns >= from_ns]
        found = np.array([estimate.pose.position for estimate, _ in pairs])
        true = np.array([pose.position for _, pose in pairs])
        scale = float((found * true).sum() / (true**2).sum())
    errors = np.zeros((len(pairs), 6))
    said = np.zeros((len(pairs), 6))
    nees = np.full(len(pairs), np.nan)
    for number, (estimate, pose) in enumerate(pairs):
        errors[number, :3] = estimate.pose.position - scale * pose.position
        errors[number, 3:] = log_rotation(estimate.pose.rotation @ pose.rotation.T)
        said[number] = np.diag(estimate.covariance)
        nees[number] = errors[number] @ np.linalg.solve(estimate.covariance, errors[number]) / 6
    squares = [errors[:, :3] ** 2, said[:, :3], errors[:, 3:] ** 2, said[:, 3:]]
    roots = [_root_mean(values) for values in squares]
    lost = sum(estimate.state is TrackingState.LOST for estimate in estimates)
    return FlightConsistency(
        kind,
        flight,
        len(pairs),
        lost,
        float(nees.mean()) if len(nees) else float("nan"),
        roots[0] / scale,
        roots[1] / scale,
        roots[2],
        roots[3],
    )


def _root_mean(squares: FloatArray) -> float:
    """Of the sums of (N, 3) squares; NaN for none."""
    return float(np.sqrt(squares.sum(axis=1).mean())) if len(squares) else float("nan")
