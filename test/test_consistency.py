"""Normalised errors of flights: exact by hand, and one small flight by the networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from odometry_world import CAMERA, box_of_points, matches_of, run, straight

from superglue_ros.cli.main import main
from superglue_ros.evaluation.consistency import evaluate_consistency, flight_consistency
from superglue_ros.geometry import exp_rotation
from superglue_ros.matching import ImageMatcher
from superglue_ros.odometry import OdometryConfig, OdometryEstimate, TrackingState
from superglue_ros.types import FloatArray, Pose

WORLD = Pose(exp_rotation(np.array([0.3, -0.2, 1.0])), np.array([4.0, 1.0, -2.0]))
"""Where the truth's own world has its first camera."""


def estimates_of(
    poses: Sequence[Pose], deviations: FloatArray, seed: int = 0
) -> list[OdometryEstimate]:
    """Poses with errors of the standard deviations (6,) that they say."""
    rng = np.random.default_rng(seed)
    (empty,) = run(matches_of(box_of_points(50), poses[:1]), camera=CAMERA)
    found = []
    for number, pose in enumerate(poses):
        error = deviations * rng.normal(size=6)
        noisy = Pose(exp_rotation(error[3:]) @ pose.rotation, pose.position + error[:3])
        fields = {**vars(empty), "pose": noisy, "covariance": np.diag(deviations**2)}
        fields.update(stamp_ns=number * 100_000_000, state=TrackingState.TRACKING)
        found.append(OdometryEstimate(**fields))
    return found


def test_exact_covariances_have_a_nees_of_one() -> None:
    poses = straight(400)
    deviations = np.array([0.01, 0.02, 0.05, 0.001, 0.003, 0.002])
    estimates = estimates_of(poses, deviations)
    result = flight_consistency("RGB-D", 3, estimates, [WORLD @ pose for pose in poses])
    assert (result.kind, result.flight, result.num_poses, result.num_lost) == ("RGB-D", 3, 400, 0)
    assert result.nees == pytest.approx(1, abs=0.1)
    assert result.position_m == pytest.approx(result.said_position_m, rel=0.1)
    assert result.said_position_m == pytest.approx(np.linalg.norm(deviations[:3]))
    assert result.rotation_rad == pytest.approx(result.said_rotation_rad, rel=0.1)


def test_errors_of_twice_what_is_said_have_a_nees_of_four() -> None:
    poses = straight(400)
    estimates = estimates_of(poses, np.full(6, 0.01))
    halved = [
        OdometryEstimate(**{**vars(estimate), "covariance": estimate.covariance / 4})
        for estimate in estimates
    ]
    result = flight_consistency("stereo", 0, halved, poses)
    assert result.nees == pytest.approx(4, rel=0.1)


def test_without_depth_the_scale_and_the_first_second_do_not_count() -> None:
    poses = straight(40)
    scaled = [Pose(pose.rotation, 2.5 * pose.position) for pose in poses]
    estimates = estimates_of(scaled, np.full(6, 1e-4))
    wrong = Pose(np.eye(3), np.array([9.0, 9.0, 9.0]))
    estimates[:10] = [OdometryEstimate(**{**vars(e), "pose": wrong}) for e in estimates[:10]]
    result = flight_consistency("mono", 0, estimates, poses)
    assert result.num_poses == 30
    assert result.nees == pytest.approx(1, abs=0.3)
    assert result.said_position_m == pytest.approx(1e-4 * np.sqrt(3) / 2.5, rel=1e-3)


def test_a_flight_without_a_pose_has_none() -> None:
    poses = straight(3)
    lost = [
        OdometryEstimate(**{**vars(estimate), "state": TrackingState.LOST})
        for estimate in estimates_of(poses, np.ones(6))
    ]
    result = flight_consistency("mono", 0, lost, poses)
    assert (result.num_poses, result.num_lost) == (0, 3)
    assert np.isnan(result.nees)


def test_callers_mistakes() -> None:
    matcher = ImageMatcher(max_keypoints=50, device="cpu", precision="float32")
    with pytest.raises(ValueError, match="at least"):
        evaluate_consistency(matcher, 0, 40, OdometryConfig())
    with pytest.raises(ValueError, match="21 frames"):
        evaluate_consistency(matcher, 1, 20, OdometryConfig())
    assert main(["evaluate", "consistency", "--flights", "0", "--device", "cpu"]) == 1


@pytest.mark.slow
def test_a_small_flight() -> None:
    matcher = ImageMatcher(max_keypoints=300, device="cpu", precision="float32")
    results = evaluate_consistency(matcher, 1, 24, OdometryConfig(), size=(320, 240))
    assert [result.kind for result in results] == ["mono", "RGB-D", "stereo"]
    for result in results:
        assert result.num_lost == 0
        assert result.num_poses >= 5
        assert 0.01 < result.nees < 20
        assert result.position_m < 0.05
