"""Bundle adjustment of a window, its derivatives, its gauge and its covariance."""

from __future__ import annotations

import numpy as np
import pytest
from odometry_world import straight

from superglue_ros.geometry import exp_rotation, log_rotation
from superglue_ros.odometry.normal_equations import (
    Problem,
    State,
    build_equations,
    eliminate_landmarks,
)
from superglue_ros.odometry.window import adjust_window
from superglue_ros.types import FloatArray, Pose

NOISE = 1 / 500.0
POSES = tuple(straight(5, (0.4, 0.05, 0.3)))
ONE_FIXED = np.arange(5) == 0
TWO_FIXED = np.arange(5) < 2


def scene(count: int = 120, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    points = rng.uniform([-4, -3, 5], [4, 3, 15], (count, 3))
    views = []
    for pose in POSES:
        in_camera = (points - pose.position) @ pose.rotation
        views.append(in_camera[:, :2] / in_camera[:, 2:])
    observations = np.stack(views, axis=1)
    observations[rng.random((count, 5)) < 0.2] = np.nan
    observations[:, 1:3] = np.stack(views, axis=1)[:, 1:3]  # each is seen twice at least
    return points, observations


def disturbed(rng: np.random.Generator, size: float, fixed: FloatArray) -> tuple[Pose, ...]:
    return tuple(
        pose
        if held
        else Pose(
            exp_rotation(size * 0.1 * rng.normal(size=3)) @ pose.rotation,
            pose.position + size * rng.normal(size=3),
        )
        for pose, held in zip(POSES, fixed)
    )


def test_exact_observations_bring_back_the_scene() -> None:
    points, observations = scene()
    rng = np.random.default_rng(1)
    solution = adjust_window(
        disturbed(rng, 0.05, TWO_FIXED),
        points + 0.2 * rng.normal(size=points.shape),
        observations,
        TWO_FIXED,
        NOISE,
        30,
    )
    for found, pose in zip(solution.poses, POSES):
        np.testing.assert_allclose(found.matrix, pose.matrix, atol=1e-5)
    np.testing.assert_allclose(solution.landmarks, points, atol=1e-3)
    assert solution.inliers.sum() == np.isfinite(observations[..., 0]).sum()
    assert not solution.pose_covariances[:2].any()


def test_what_is_right_stays() -> None:
    points, observations = scene()
    solution = adjust_window(POSES, points, observations, ONE_FIXED, NOISE)
    for found, pose in zip(solution.poses, POSES):
        np.testing.assert_allclose(found.matrix, pose.matrix, atol=1e-9)


def test_outliers_are_found() -> None:
    points, observations = scene()
    spoilt = observations.copy()
    spoilt[:20, 2] += 0.1
    rng = np.random.default_rng(1)
    solution = adjust_window(disturbed(rng, 0.02, TWO_FIXED), points, spoilt, TWO_FIXED, NOISE, 30)
    assert not solution.inliers[:20, 2].any()
    assert solution.inliers[20:].sum() > 0.98 * np.isfinite(observations[20:, :, 0]).sum()
    for found, pose in zip(solution.poses, POSES):
        assert np.linalg.norm(found.position - pose.position) < 0.01


def test_one_fixed_view_keeps_the_scale() -> None:
    points, observations = scene()
    rng = np.random.default_rng(1)
    start = disturbed(rng, 0.02, ONE_FIXED)
    solution = adjust_window(start, points, observations, ONE_FIXED, NOISE, 30)
    before = np.array([pose.position for pose in start])
    after = np.array([pose.position for pose in solution.poses])
    ratio = (after * before).sum() / (before * before).sum()
    assert ratio == pytest.approx(1, abs=0.01)
    true = np.array([pose.position for pose in POSES])
    scale = (after * true).sum() / (true * true).sum()
    np.testing.assert_allclose(after, scale * true, atol=2e-3)


def test_priors_hold_landmarks_that_parallax_does_not() -> None:
    still = (Pose.identity(), Pose(np.eye(3), np.array([1e-4, 0, 0])))
    points = np.random.default_rng(0).uniform([-4, -3, 5], [4, 3, 15], (40, 3))
    views = np.repeat((points[:, :2] / points[:, 2:])[:, None], 2, axis=1)
    views += NOISE * np.random.default_rng(1).normal(size=views.shape)
    priors = np.tile(np.eye(3) / 0.1**2, (40, 1, 1))
    solution = adjust_window(still, points, views, np.array([True, False]), NOISE, 10, priors)
    assert np.abs(solution.landmarks - points).max() < 0.5


def with_depths(points: FloatArray, observations: FloatArray) -> FloatArray:
    """The observations with exact inverse depths for two thirds of the landmarks."""
    depths = [((points - pose.position) @ pose.rotation)[:, 2] for pose in POSES]
    inverse = 1 / np.stack(depths, axis=1)[..., None]
    inverse[::3] = np.nan
    return np.concatenate([observations, inverse], axis=2)


def test_depths_bring_back_the_scale() -> None:
    points, observations = scene()
    rng = np.random.default_rng(1)
    start = tuple(Pose(p.rotation, 1.2 * p.position) for p in disturbed(rng, 0.02, ONE_FIXED))
    seen = with_depths(points, observations)
    seen[1::12, :, 2] *= 3  # a few of them wrong
    solution = adjust_window(start, 1.2 * points, seen, ONE_FIXED, NOISE, 30, depth_noise=0.002)
    for found, pose in zip(solution.poses, POSES):
        assert np.linalg.norm(found.position - pose.position) < 0.01
    free = solution.pose_covariances[1:]
    assert (np.linalg.eigvalsh(free) > 0).all()


@pytest.mark.parametrize("depths", [False, True])
def test_gradient_is_that_of_the_cost(depths: bool) -> None:
    points, observations = scene(10)
    if depths:
        observations = with_depths(points, observations)
    rng = np.random.default_rng(2)
    poses = disturbed(rng, 0.01, TWO_FIXED)
    landmarks = points + 0.05 * rng.normal(size=points.shape)
    priors = np.tile(np.eye(3), (10, 1, 1))
    problem = Problem.from_observations(observations, TWO_FIXED, NOISE, points, priors, 0.01)
    state = State(
        np.stack([p.rotation for p in poses]), np.stack([p.position for p in poses]), landmarks
    )
    equations = build_equations(problem, state)
    step = 1e-7

    def slope(changed: State) -> float:
        return (build_equations(problem, changed).cost - equations.cost) / step

    for axis in range(3):
        unit = np.eye(3)[axis] * step
        positions, rotations = state.positions.copy(), state.rotations.copy()
        positions[3] += unit
        rotations[3] = exp_rotation(unit) @ rotations[3]
        moved = landmarks.copy()
        moved[4] += unit
        checks = [
            (State(state.rotations, positions, landmarks), equations.pose_gradient[3, axis]),
            (State(rotations, state.positions, landmarks), equations.pose_gradient[3, 3 + axis]),
            (State(state.rotations, state.positions, moved), equations.landmark_gradient[4, axis]),
        ]
        for changed, gradient in checks:
            assert slope(changed) == pytest.approx(-2 * gradient, rel=1e-3, abs=1e-2)


def test_elimination_solves_the_whole_system() -> None:
    points, observations = scene(6)
    priors = np.zeros((6, 3, 3))
    problem = Problem.from_observations(observations, TWO_FIXED, NOISE, points, priors)
    state = State(
        np.stack([p.rotation for p in POSES]),
        np.stack([p.position for p in POSES]),
        points + 0.01 * np.random.default_rng(3).normal(size=points.shape),
    )
    equations = build_equations(problem, state)
    whole = np.zeros((18 + 18, 18 + 18))
    for slot, view in enumerate(problem.free):
        whole[6 * slot : 6 * slot + 6, 6 * slot : 6 * slot + 6] = equations.pose_blocks[view]
    for row in range(6):
        at = slice(18 + 3 * row, 21 + 3 * row)
        whole[at, at] = equations.landmark_blocks[row]
    for row, view, block in zip(problem.landmark_of, problem.frame_of, equations.cross_blocks):
        if view >= 2:
            left, right = slice(6 * (view - 2), 6 * (view - 1)), slice(18 + 3 * row, 21 + 3 * row)
            whole[left, right], whole[right, left] = block, block.T
    gradient = np.concatenate(
        [equations.pose_gradient[2:].ravel(), equations.landmark_gradient.ravel()]
    )
    expected = np.linalg.solve(whole, gradient)
    eliminated = eliminate_landmarks(problem, equations, 0.0)
    pose_steps = np.linalg.solve(eliminated.reduced, eliminated.gradient)
    np.testing.assert_allclose(pose_steps, expected[:18], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(
        eliminated.landmark_steps(pose_steps).ravel(), expected[18:], rtol=1e-5, atol=1e-9
    )


def test_covariance_is_that_of_the_errors() -> None:
    """Normalised estimation error squared of the last pose; 6 is honest."""
    points, observations = scene()
    errors, trials = [], 40
    for seed in range(trials):
        noisy = observations + NOISE * np.random.default_rng(seed).normal(size=observations.shape)
        solution = adjust_window(POSES, points, noisy, TWO_FIXED, NOISE, 20)
        found = solution.poses[4]
        error = np.concatenate(
            [
                found.position - POSES[4].position,
                log_rotation(found.rotation @ POSES[4].rotation.T),
            ]
        )
        errors.append(error @ np.linalg.solve(solution.pose_covariances[4], error))
        assert solution.noise_ratio == pytest.approx(1, rel=0.1)
    assert 4.0 < np.mean(errors) < 9.0


def test_callers_mistakes() -> None:
    points, observations = scene(5)
    with pytest.raises(ValueError, match="fixed"):
        adjust_window(POSES, points, observations, np.zeros(5, bool), NOISE)
    observations[0] = np.nan
    with pytest.raises(ValueError, match="without observations"):
        adjust_window(POSES, points, observations, ONE_FIXED, NOISE)
