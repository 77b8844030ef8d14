"""What the odometry promises to a robot: twist, growing covariance while lost, resets, stereo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from odometry_world import (
    CAMERA,
    PERIOD_NS,
    box_of_points,
    depth_of,
    emptied,
    matches_of,
    run,
    states,
    straight,
)

from superglue_ros.errors import CameraError, MessageError
from superglue_ros.geometry import exp_rotation
from superglue_ros.odometry import OdometryConfig, OdometryEstimate, VisualOdometry
from superglue_ros.types import FloatArray, FrameMatches, Pose

WORLD = box_of_points(depth=25.0)
TWIST = np.array([0.3, -0.1, 1.5, 0.05, 0.2, -0.1])
"""Per second, in the camera's own axes."""
BASELINE_M = 0.4


def cruise(count: int, twist: FloatArray = TWIST) -> list[Pose]:
    """Poses of a camera with a constant twist."""
    poses, steps = [Pose.identity()], 100
    step = twist * PERIOD_NS * 1e-9 / steps
    motion = Pose(exp_rotation(step[3:]), step[:3])
    while len(poses) < count:
        pose = poses[-1]
        for _ in range(steps):
            pose = pose @ motion
        poses.append(pose)
    return poses


def with_depth(
    messages: Sequence[FrameMatches], poses: Sequence[Pose], odometry: VisualOdometry | None = None
) -> list[OdometryEstimate]:
    """Estimates with the depths of the keyframes."""
    odometry = odometry or VisualOdometry(OdometryConfig(depth_noise=0.002), use_depth=True)
    depths = {i * PERIOD_NS: depth_of(WORLD, pose) for i, pose in enumerate(poses)}
    return [
        odometry.process(message, CAMERA, depths.get(message.keyframe_stamp_ns))
        for message in messages
    ]


def variances(estimate: OdometryEstimate) -> FloatArray:
    return np.diag(estimate.covariance)


def test_twist_is_that_of_the_camera_with_an_honest_covariance() -> None:
    poses = cruise(25)
    normalized = []
    for seed in range(4):
        messages = matches_of(WORLD, poses, noise_px=0.5, outliers=0.1, max_age=5, seed=seed)
        config = OdometryConfig(depth_noise=0.002, point_noise_px=0.5)
        estimates = with_depth(messages, poses, VisualOdometry(config, use_depth=True))
        assert states(estimates) == "i" + "t" * 24
        for estimate in estimates[:2]:
            assert np.isnan(estimate.twist).all()
            assert np.isnan(estimate.twist_covariance).all()
        for estimate in estimates[3:]:
            error = estimate.twist - TWIST
            assert np.linalg.norm(error[:3]) < 0.1 * np.linalg.norm(TWIST[:3])
            normalized.append(error @ np.linalg.solve(estimate.twist_covariance, error))
    assert 3 < np.mean(normalized) < 12  # 6 is exact


def test_twist_without_depth_is_in_units_of_the_start() -> None:
    poses = cruise(25)
    estimates = run(matches_of(WORLD, poses, noise_px=0.3, max_age=5))
    tracked = [e for e in estimates[8:] if np.isfinite(e.twist).all()]
    assert len(tracked) == 17
    direction = TWIST[:3] / np.linalg.norm(TWIST[:3])
    for estimate in tracked:
        linear = estimate.twist[:3]
        assert linear @ direction > 0.98 * np.linalg.norm(linear)
        np.testing.assert_allclose(estimate.twist[3:], TWIST[3:], atol=0.03)


def test_a_covariance_grows_while_lost_and_stays_that_of_a_pose() -> None:
    poses = straight(20)
    messages = matches_of(WORLD, poses, noise_px=0.5)
    last = replace(emptied(messages[-1]), is_keyframe=False)
    gaps_s = [0.1, 0.5, 2.0, 20.0, 3600.0, 36000.0]
    lost = [replace(last, stamp_ns=last.stamp_ns + int(1e9 * gap)) for gap in gaps_s]
    estimates = with_depth(messages + lost, poses)
    assert states(estimates)[-6:] == "llllll"
    grown = np.array([variances(e) for e in estimates[-7:]])
    assert (np.diff(grown, axis=0) >= -1e-9).all()
    assert (np.diff(grown[:5], axis=0)[:, :3] > 0).all()
    assert grown.max() < 9999
    for estimate in estimates[-6:]:
        assert np.linalg.eigvalsh(estimate.covariance)[0] > 0
        assert np.isnan(estimate.twist).all()
    # Within half a second of a standstill or of twice the speed.
    assert 0.5 < np.sqrt(grown[2, :3].max()) / (0.5 * np.linalg.norm(poses[1].position) * 10) < 2


def test_what_goes_on_is_no_reset() -> None:
    poses = straight(30)
    messages = matches_of(WORLD, poses, noise_px=0.5, keep_ratio=0.2)
    for number in (12, 13):
        messages[number] = emptied(messages[number])
    estimates = with_depth(messages, poses)
    assert states(estimates) == "i" + "t" * 11 + "ll" + "t" * 16
    assert {estimate.reset_count for estimate in estimates} == {0}


@pytest.mark.parametrize("use_depth", [False, True])
def test_a_start_from_a_guessed_pose_is_a_reset(use_depth: bool) -> None:
    poses = straight(40)
    messages = matches_of(WORLD, poses, noise_px=0.5, max_age=6)
    missed = next(i for i, m in enumerate(messages) if i > 12 and m.is_keyframe)
    cut = messages[:missed] + messages[missed + 1 :]
    estimates = with_depth(cut, poses) if use_depth else run(cut)
    counts = [estimate.reset_count for estimate in estimates]
    assert states(estimates)[missed - 5 :] == "t" * (44 - missed)
    assert counts == [0] * missed + [1] * (39 - missed)
    assert np.isnan(estimates[missed].twist).all()


@pytest.mark.parametrize("use_depth", [False, True])
def test_reset_to_a_pose(use_depth: bool) -> None:
    poses = straight(20)
    messages = matches_of(WORLD, poses, noise_px=0.3)
    odometry = VisualOdometry(use_depth=use_depth)
    before = with_depth(messages, poses, odometry)
    there = Pose(exp_rotation(np.array([0.1, 0.4, -0.2])), np.array([5.0, -2.0, 1.0]))
    odometry.reset(there)
    after = with_depth(messages, poses, odometry)
    assert [e.reset_count for e in before + after] == [0] * 20 + [1] * 20
    np.testing.assert_array_equal(after[0].pose.matrix, there.matrix)
    for one, two in zip(before[6:], after[6:]):
        np.testing.assert_allclose((there @ one.pose).matrix, two.pose.matrix, atol=2e-3)
        turn = np.kron(np.eye(2), there.rotation)
        turned = np.diag(turn @ one.covariance @ turn.T)
        np.testing.assert_allclose(turned, variances(two), rtol=0.1)
    odometry.reset()
    assert not odometry.process(messages[0], CAMERA).pose.position.any()


def test_options_may_change_while_it_runs() -> None:
    messages = matches_of(WORLD, straight(20), noise_px=0.3)
    odometry = VisualOdometry()
    run(messages[:15], odometry)
    odometry.configure(OdometryConfig(min_inliers=5000, max_coast_s=0.0))
    lost = run(messages[15:], odometry)
    assert states(lost) == "lllll"
    assert "5000 needed" in lost[0].reason
    np.testing.assert_array_equal(lost[0].pose.matrix, lost[4].pose.matrix)
    odometry.configure(OdometryConfig())
    assert states(run(messages[19:], odometry)) == "t"


def with_right_points(
    message: FrameMatches, pose: Pose, noise_px: float, rng: np.random.Generator
) -> FrameMatches:
    """A message with the points of a right camera, exact but for noise, one in ten not found."""
    rays = (message.keyframe_points - CAMERA.matrix[:2, 2]) / CAMERA.matrix[0, 0]
    in_camera = (WORLD - pose.position) @ pose.rotation
    in_camera = in_camera[in_camera[:, 2] > 0]
    apart = np.linalg.norm(in_camera[:, None, :2] / in_camera[:, None, 2:] - rays, axis=2)
    depths = in_camera[apart.argmin(axis=0), 2]
    right = message.keyframe_points.copy()
    right[:, 0] -= CAMERA.matrix[0, 0] * BASELINE_M / depths
    right[:, 0] += noise_px * rng.normal(size=len(right))
    right[rng.random(len(right)) < 0.1] = np.nan
    return replace(message, keyframe_right_points=right.astype(np.float32))


def stereo_messages(poses: Sequence[Pose], noise_px: float, seed: int = 0) -> list[FrameMatches]:
    rng = np.random.default_rng(seed)
    messages = matches_of(WORLD, poses, noise_px=0.3, max_age=5, max_features=200, seed=seed)
    return [
        with_right_points(message, poses[message.keyframe_stamp_ns // PERIOD_NS], noise_px, rng)
        for message in messages
    ]


def test_stereo_is_metric_and_its_covariance_honest() -> None:
    poses = straight(20)
    normalized = []
    for seed in range(3):
        odometry = VisualOdometry(
            OdometryConfig(disparity_noise_px=0.5, point_noise_px=0.3), use_depth=True
        )
        messages = stereo_messages(poses, 0.5, seed)
        estimates = [odometry.process(m, CAMERA, baseline_m=BASELINE_M) for m in messages]
        assert states(estimates) == "i" + "t" * 19
        for estimate, pose in list(zip(estimates, poses))[1:]:
            error = estimate.pose.position - pose.position
            assert np.linalg.norm(error) < 0.02 * np.linalg.norm(poses[-1].position)
            normalized.append(error @ np.linalg.solve(estimate.covariance[:3, :3], error))
    assert 1.5 < np.mean(normalized) < 6  # 3 is exact


def test_stereo_is_left_alone_without_a_baseline_or_use_depth() -> None:
    poses = straight(8)
    messages = stereo_messages(poses, 0.0)
    metric = VisualOdometry(use_depth=True)
    assert states([metric.process(m, CAMERA) for m in messages]) == "i" * 8
    plain = VisualOdometry()
    for message, expected in zip(messages, run(messages)):
        found = plain.process(message, CAMERA, baseline_m=BASELINE_M)
        np.testing.assert_array_equal(found.pose.matrix, expected.pose.matrix)


def test_a_depth_image_fills_in_where_stereo_found_nothing() -> None:
    poses = straight(8)
    messages = stereo_messages(poses, 0.0)
    none = [replace(m, keyframe_right_points=np.full((len(m), 2), np.nan)) for m in messages]
    odometry = VisualOdometry(use_depth=True)
    estimates = [
        odometry.process(m, CAMERA, depth_of(WORLD, poses[m.keyframe_stamp_ns // PERIOD_NS]), 0.4)
        for m in none
    ]
    for one, two in zip(estimates, with_depth(messages, poses, VisualOdometry(use_depth=True))):
        np.testing.assert_array_equal(one.pose.matrix, two.pose.matrix)


def test_stereo_that_does_not_fit_changes_nothing() -> None:
    poses = straight(6)
    odometry, expected = VisualOdometry(use_depth=True), VisualOdometry(use_depth=True)
    distorted = replace(CAMERA, model="plumb_bob", distortion=np.array([0.1, 0, 0, 0]))
    for message in stereo_messages(poses, 0.0):
        right = message.keyframe_right_points
        assert right is not None
        with pytest.raises(CameraError, match="rectified"):
            odometry.process(message, distorted, baseline_m=BASELINE_M)
        with pytest.raises(ValueError, match="baseline"):
            odometry.process(message, CAMERA, baseline_m=0.0)
        wrong = replace(message, keyframe_right_points=np.zeros((len(right) + 1, 2)))
        with pytest.raises(MessageError, match="keyframe_right_points has shape"):
            odometry.process(wrong, CAMERA, baseline_m=BASELINE_M)
        found = odometry.process(message, CAMERA, baseline_m=BASELINE_M)
        wanted = expected.process(message, CAMERA, baseline_m=BASELINE_M)
        np.testing.assert_array_equal(found.pose.matrix, wanted.pose.matrix)
