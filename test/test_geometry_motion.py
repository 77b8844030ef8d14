"""Rotations, triangulation, two views and PnP on exact and on spoilt points."""

from __future__ import annotations

import numpy as np
import pytest

from superglue_ros.geometry import (
    estimate_pose,
    estimate_two_view,
    exp_rotation,
    fit_rotation,
    log_motion,
    log_rotation,
    project_points,
    refine_pose,
    triangulate,
)
from superglue_ros.geometry.epipolar import agree_with_motion
from superglue_ros.types import CameraModel, FloatArray, Pose

PIXEL = 1 / 500.0
THRESHOLD = 3 * PIXEL
MOVED = Pose(exp_rotation(np.array([0.02, -0.06, 0.01])), np.array([0.8, 0.1, 0.6]))


def cloud(count: int = 300, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return rng.uniform([-5, -4, 5], [5, 4, 20], (count, 3))


def seen(points: FloatArray, pose: Pose) -> FloatArray:
    in_camera = (points - pose.position) @ pose.rotation
    return in_camera[:, :2] / in_camera[:, 2:]


def spoilt(points: FloatArray, noise: float, outliers: float, seed: int = 1) -> FloatArray:
    rng = np.random.default_rng(seed)
    points = points + noise * rng.normal(size=points.shape)
    wrong = np.flatnonzero(rng.random(len(points)) < outliers)
    points[wrong] = points[np.roll(wrong, 1)]
    return points


def angle_between(rotation: FloatArray, other: FloatArray) -> float:
    return float(np.degrees(np.linalg.norm(log_rotation(rotation.T @ other))))


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, 3.0, np.pi - 1e-9, np.pi])
def test_rotation_vectors_come_back(angle: float) -> None:
    axis = np.array([2.0, -1.0, 2.0]) / 3
    rotation = exp_rotation(axis * angle)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(exp_rotation(log_rotation(rotation)), rotation, atol=1e-8)
    assert np.linalg.norm(log_rotation(rotation)) == pytest.approx(angle, abs=1e-7)


def test_quarter_turn_by_hand() -> None:
    turn = exp_rotation(np.array([0, 0, np.pi / 2]))
    np.testing.assert_allclose(turn @ [1, 0, 0], [0, 1, 0], atol=1e-15)


def test_a_constant_twist_is_the_logarithm_of_its_motion() -> None:
    twist = np.array([0.8, -0.3, 2.0, 0.4, -1.1, 0.7])
    pose, steps = np.eye(4), 20000
    step = np.eye(4)
    step[:3, :3] = exp_rotation(twist[3:] / steps)
    step[:3, 3] = twist[:3] / steps
    for _ in range(steps):
        pose = pose @ step
    np.testing.assert_allclose(log_motion(pose[:3, :3], pose[:3, 3]), twist, atol=2e-4)
    np.testing.assert_array_equal(log_motion(np.eye(3), twist[:3]), [*twist[:3], 0, 0, 0])


def test_fit_rotation_survives_outliers() -> None:
    turn = Pose(exp_rotation(np.array([0.05, 0.1, -0.2])), np.zeros(3))
    first = seen(cloud(), Pose.identity())
    second = spoilt(seen(cloud(), turn), 0.2 * PIXEL, 0.3)
    assert angle_between(fit_rotation(first, second, THRESHOLD), turn.rotation.T) < 0.05
    np.testing.assert_array_equal(fit_rotation(first[:1], second[:1], THRESHOLD), np.eye(3))


def test_triangulation_by_hand() -> None:
    # Two cameras 2 apart see a point at depth 1 halfway between them, at a right angle.
    views = np.array([[[1.0, 0.0], [-1.0, 0.0]]])
    found = triangulate(views, np.stack([np.eye(3)] * 2), np.array([[0.0, 0, 0], [2.0, 0, 0]]))
    np.testing.assert_allclose(found.points, [[1, 0, 1]], atol=1e-12)
    assert found.parallax_rad[0] == pytest.approx(np.pi / 2)
    assert found.residuals[0] == pytest.approx(0, abs=1e-12)
    assert found.good(1.0, 1e-6).tolist() == [True]
    assert found.good(1.6, 1e-6).tolist() == [False]


def test_triangulation_of_many_views_with_gaps() -> None:
    poses = [Pose.identity(), MOVED, Pose(np.eye(3), np.array([-1.0, 0.3, 0.2]))]
    points = cloud(50)
    views = np.stack([seen(points, pose) for pose in poses], axis=1)
    views[:20, 0] = np.nan
    views[-1, 1:] = np.nan  # seen once only
    found = triangulate(
        views, np.stack([p.rotation for p in poses]), np.stack([p.position for p in poses])
    )
    np.testing.assert_allclose(found.points[:-1], points[:-1], atol=1e-8)
    assert found.in_front[:-1].all()
    assert not found.in_front[-1]


def test_triangulation_rejects_what_is_behind_or_parallel() -> None:
    parallel = np.zeros((1, 2, 2))
    diverging = np.array([[[-0.1, 0.0], [0.1, 0.0]]])
    positions = np.array([[0.0, 0, 0], [1.0, 0, 0]])
    for views in (parallel, diverging):
        found = triangulate(views, np.stack([np.eye(3)] * 2), positions)
        assert not found.good(0.01, 0.01).any()
    empty = triangulate(np.zeros((0, 2, 2)), np.stack([np.eye(3)] * 2), positions)
    assert empty.points.shape == (0, 3)


def test_triangulation_covariance_is_that_of_the_errors() -> None:
    poses = [Pose.identity(), MOVED]
    point = np.array([[0.5, -0.3, 8.0]])
    exact = np.stack([seen(point, pose) for pose in poses], axis=1)
    rng = np.random.default_rng(0)
    noisy = exact + PIXEL * rng.normal(size=(2000, 2, 2))
    found = triangulate(
        noisy, np.stack([p.rotation for p in poses]), np.stack([p.position for p in poses])
    )
    errors = found.points - point
    information = np.linalg.inv(found.covariances * PIXEL**2)
    normalized = np.einsum("ni,nij,nj->n", errors, information, errors)
    assert 2.5 < normalized.mean() < 3.5


@pytest.mark.parametrize(("noise", "outliers", "degrees"), [(0, 0, 0.01), (1, 0.4, 4.0)])
def test_two_views(noise: float, outliers: float, degrees: float) -> None:
    points = cloud(500)
    first = spoilt(seen(points, Pose.identity()), noise * PIXEL, 0, seed=2)
    second = spoilt(seen(points, MOVED), noise * PIXEL, outliers)
    found = estimate_two_view(first, second, THRESHOLD, np.radians(1), 30)
    assert found.ok
    assert angle_between(found.rotation, MOVED.rotation.T) < 1.0
    direction = -MOVED.rotation.T @ MOVED.position
    cosine = direction @ found.translation / np.linalg.norm(direction)
    assert np.degrees(np.arccos(min(1.0, cosine))) < degrees
    assert found.inliers.sum() > 0.9 * (1 - outliers) * len(points)


def test_two_views_give_the_same_twice() -> None:
    first = spoilt(seen(cloud(), Pose.identity()), PIXEL, 0, seed=2)
    second = spoilt(seen(cloud(), MOVED), PIXEL, 0.3)
    one, two = (estimate_two_view(first, second, THRESHOLD) for _ in range(2))
    np.testing.assert_array_equal(one.rotation, two.rotation)
    np.testing.assert_array_equal(one.translation, two.translation)


def test_far_points_on_the_horizon_do_not_invent_a_rotation() -> None:
    rng = np.random.default_rng(3)
    far = rng.uniform([-400, -6, 200], [400, 6, 900], (300, 3))
    near = rng.uniform([-8, -2, 6], [8, 2, 30], (120, 3))
    points = np.concatenate([far, near])
    ahead = Pose(np.eye(3), np.array([0, 0, 1.0]))
    first = spoilt(seen(points, Pose.identity()), 0.5 * PIXEL, 0, seed=4)
    second = spoilt(seen(points, ahead), 0.5 * PIXEL, 0.3)
    found = estimate_two_view(first, second, THRESHOLD, np.radians(1), 30)
    assert angle_between(found.rotation, np.eye(3)) < 1.0
    assert found.translation @ [0, 0, -1] > 0.9


@pytest.mark.parametrize("turn", [0.0, 0.1])
def test_rotation_and_standstill_have_a_reason(turn: float) -> None:
    pose = Pose(exp_rotation(np.array([0, turn, 0])), np.zeros(3))
    first = spoilt(seen(cloud(), Pose.identity()), 0.5 * PIXEL, 0, seed=2)
    second = spoilt(seen(cloud(), pose), 0.5 * PIXEL, 0.2)
    found = estimate_two_view(first, second, THRESHOLD, np.radians(1), 30)
    assert not found.ok
    assert "rotation" in found.reason
    assert angle_between(found.rotation, pose.rotation.T) < 0.3


def test_a_plane_gives_the_right_motion_or_a_reason() -> None:
    ground = cloud()
    ground[:, 1] = 1.5
    first = spoilt(seen(ground, Pose.identity()), 0.3 * PIXEL, 0, seed=2)
    second = spoilt(seen(ground, MOVED), 0.3 * PIXEL, 0.1)
    found = estimate_two_view(first, second, THRESHOLD, np.radians(1), 30)
    if found.ok:
        assert angle_between(found.rotation, MOVED.rotation.T) < 2.0
    else:
        assert found.reason


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_matches(count: int) -> None:
    points = np.zeros((count, 2))
    found = estimate_two_view(points, points, THRESHOLD)
    assert not found.ok
    assert found.inliers.shape == (count,)
    assert "needed" in found.reason
    pose = estimate_pose(np.zeros((count, 3)), points, THRESHOLD, min_inliers=8)
    assert not pose.ok
    assert pose.inliers.shape == (count,)


def test_random_matches_are_no_motion() -> None:
    rng = np.random.default_rng(0)
    found = estimate_two_view(
        rng.uniform(-0.6, 0.6, (200, 2)),
        rng.uniform(-0.6, 0.6, (200, 2)),
        THRESHOLD,
        np.radians(1),
        50,
    )
    assert not found.ok


def test_identical_points_do_not_crash() -> None:
    points = np.zeros((50, 2))
    assert not estimate_two_view(points, points, THRESHOLD, np.radians(1)).ok
    landmarks = np.tile([0.0, 0, 5], (50, 1))
    start = estimate_pose(landmarks, points, THRESHOLD, Pose.identity())
    assert not refine_pose(landmarks, points, start.pose, PIXEL).ok


def test_pose_from_landmarks_with_outliers() -> None:
    points = cloud()
    observed = spoilt(seen(points, MOVED), PIXEL, 0.4)
    start = estimate_pose(points, observed, THRESHOLD)
    found = refine_pose(points, observed, start.pose, PIXEL, None, 2 * THRESHOLD)
    assert found.ok
    assert np.linalg.norm(found.pose.position - MOVED.position) < 0.03
    assert angle_between(found.pose.rotation, MOVED.rotation) < 0.15
    assert found.inliers.sum() > 0.55 * len(points)


def test_exact_pose_and_a_prior_that_is_right() -> None:
    points = cloud(20)
    found = estimate_pose(points, seen(points, MOVED), THRESHOLD, MOVED)
    np.testing.assert_allclose(found.pose.position, MOVED.position, atol=1e-6)
    refined = refine_pose(points, seen(points, MOVED), Pose.identity(), PIXEL)
    np.testing.assert_allclose(refined.pose.matrix, MOVED.matrix, atol=1e-6)


def test_pose_covariance_is_that_of_the_errors() -> None:
    """Normalised estimation error squared over seeds; its mean is 6 for an honest covariance."""
    points, total, trials = cloud(60), 0.0, 60
    spread = 0.05**2 * np.eye(3)
    rng = np.random.default_rng(5)
    for seed in range(trials):
        observed = spoilt(seen(points, MOVED), PIXEL, 0, seed=seed)
        landmarks = points + 0.05 * rng.normal(size=points.shape)
        covariances = np.tile(spread, (len(points), 1, 1))
        found = refine_pose(landmarks, observed, MOVED, PIXEL, covariances)
        error = np.concatenate(
            [
                found.pose.position - MOVED.position,
                log_rotation(found.pose.rotation @ MOVED.rotation.T),
            ]
        )
        total += float(error @ np.linalg.solve(found.covariance, error))
    assert 4.0 < total / trials < 8.0


class TestAgreement:
    CAMERA = CameraModel(640, 480, np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]))

    def matches(self, rng, T_0to1):
        points = rng.uniform([-2, -1.5, 3], [2, 1.5, 8], (100, 3))
        moved = points @ T_0to1.rotation.T + T_0to1.position
        return project_points(points, self.CAMERA), project_points(moved, self.CAMERA)

    @pytest.mark.parametrize("shift", [[0.4, 0.05, 0.1], [0.0, 0.0, 0.0]])
    def test_right_matches_agree_and_others_do_not(self, rng, shift):
        T_0to1 = Pose(exp_rotation(np.array([0.02, -0.05, 0.01])), np.array(shift))
        points0, points1 = self.matches(rng, T_0to1)
        cameras = self.CAMERA, self.CAMERA
        assert agree_with_motion(points0, points1, cameras, T_0to1, 0.1).all()
        # Across the epipolar lines, which are nearly horizontal; a rotation leaves no way at all.
        spoilt = points1 + [0, 8.0]
        assert not agree_with_motion(points0, spoilt, cameras, T_0to1, 2.0).any()
        assert agree_with_motion(points0, spoilt, cameras, T_0to1, 20.0).all()

    def test_no_matches(self):
        nothing = np.zeros((0, 2))
        cameras = self.CAMERA, self.CAMERA
        assert agree_with_motion(nothing, nothing, cameras, Pose.identity(), 1.0).shape == (0,)
