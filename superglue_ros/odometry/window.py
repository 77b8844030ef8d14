"""Bundle adjustment of a window of frames and the landmarks that they see.

Levenberg-Marquardt with the landmarks eliminated (Schur complement) and a Cauchy kernel, after
Triggs et al. 2000, Bundle Adjustment - A Modern Synthesis, sections 4.3 and 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.geometry.pnp import CHI2_2DOF
from superglue_ros.geometry.rotations import exp_rotation, nearest_rotation
from superglue_ros.odometry.normal_equations import (
    CHI2_1DOF,
    Eliminated,
    NormalEquations,
    Problem,
    State,
    build_equations,
    eliminate_landmarks,
)
from superglue_ros.types import BoolArray, FloatArray, Pose

_GAIN_TOLERANCE = 1e-4
_FIRST_DAMPING = 1e-8
_MAX_DAMPING = 1e6
_REGULARIZATION = 1e-12
_MAX_SCALE_DEVIATION = 0.01
"""Of the depths of a window alone, from which on they determine the scale."""


@dataclass(frozen=True)
class WindowSolution:
    """poses of the V frames; landmarks (L, 3); pose_covariances (V, 6, 6) of (x y z rx ry rz)
    relative to the fixed frames, zero where fixed; landmark_covariances (L, 3, 3) given the poses;
    inliers (L, V): observations within the 99 % gate; noise_ratio: standard deviation that the
    inliers' residuals show, over that which was said."""

    poses: tuple[Pose, ...]
    landmarks: FloatArray
    pose_covariances: FloatArray
    landmark_covariances: FloatArray
    inliers: BoolArray
    noise_ratio: float


def adjust_window(
    poses: tuple[Pose, ...],
    landmarks: FloatArray,
    observations: FloatArray,
    fixed: BoolArray,
    noise: float | FloatArray,
    iterations: int = 8,
    priors: FloatArray | None = None,
    depth_noise: float | FloatArray = 1.0,
) -> WindowSolution:
    """Adjust the poses that are not fixed and all landmarks to their observations.

    poses: of V frames; landmarks (L, 3) finite; observations (L, V, 2) normalised points, NaN
    where not seen, or (L, V, 3) with inverse depths, NaN where not measured; fixed (V,) bool, at
    least one; noise: standard deviation of the observations, of all or (L, V) of each, normalised
    units; priors (L, 3, 3): information that there is on the landmarks besides the observations,
    none by default; depth_noise: standard deviation of the inverse depths, likewise. With a
    single fixed frame and hardly any depths the mean distance to it is held as well, since
    nothing else determines the scale.
    """
    if priors is None:
        priors = np.zeros((len(landmarks), 3, 3))
    anchors = np.array(landmarks, float)
    problem = Problem.from_observations(
        observations, np.asarray(fixed, bool), noise, anchors, priors, depth_noise
    )
    state = State(
        np.stack([pose.rotation for pose in poses]),
        np.stack([pose.position for pose in poses]),
        anchors,
    )
    gauge = _gauge(state, problem)
    equations = build_equations(problem, state)
    damping = _FIRST_DAMPING
    for _ in range(iterations):
        step = _step(problem, equations, damping, gauge)
        candidate = None if step is None else _moved(state, problem, *step)
        if candidate is not None:
            proposed = build_equations(problem, candidate)
            gain = (equations.cost - proposed.cost) / max(equations.cost, 1e-12)
            if gain > 0:
                state, equations = candidate, proposed
                damping = max(damping / 10, 1e-10)
                if gain < _GAIN_TOLERANCE:
                    break
                continue
        damping *= 10
        if damping > _MAX_DAMPING:
            break
    return _solution(problem, state, equations, gauge)


def _gauge(state: State, problem: Problem) -> FloatArray:
    """(6F,) direction of the pose parameters that is held, zero where two frames are fixed or
    depths determine the scale."""
    direction = np.zeros(6 * len(problem.free))
    scaled = problem.scale_information > _MAX_SCALE_DEVIATION**-2
    if scaled or problem.fixed.sum() > 1 or not len(problem.free):
        return direction
    arms = state.positions[problem.free] - state.positions[problem.fixed][0]
    length = np.linalg.norm(arms)
    if length > 0:
        direction.reshape(-1, 6)[:, :3] = arms / length
    return direction


def _held(reduced: FloatArray, gauge: FloatArray) -> FloatArray:
    weight = 1e6 * float(np.diag(reduced).max(initial=0.0))
    return reduced + weight * np.outer(gauge, gauge)


def _step(
    problem: Problem, equations: NormalEquations, damping: float, gauge: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """Pose steps (F, 6) and landmark steps (L, 3), or None where the system is singular."""
    eliminated = eliminate_landmarks(problem, equations, damping)
    pose_steps = np.zeros(0)
    if len(problem.free):
        reduced = _held(eliminated.reduced, gauge)
        reduced[np.diag_indices(len(reduced))] *= 1 + damping
        # Positions and angles have different units: scaling keeps the factors accurate.
        scale = np.sqrt(np.maximum(np.diag(reduced), 1e-12))
        try:
            factor = np.linalg.cholesky(reduced / np.outer(scale, scale))
        except np.linalg.LinAlgError:
            return None
        halfway = np.linalg.solve(factor, eliminated.gradient / scale)
        pose_steps = np.linalg.solve(factor.T, halfway) / scale
    return pose_steps.reshape(-1, 6), eliminated.landmark_steps(pose_steps)


def _moved(
    state: State, problem: Problem, pose_steps: FloatArray, landmark_steps: FloatArray
) -> State:
    rotations, positions = state.rotations.copy(), state.positions.copy()
    rotations[problem.free] = exp_rotation(pose_steps[:, 3:]) @ rotations[problem.free]
    positions[problem.free] += pose_steps[:, :3]
    return State(rotations, positions, state.landmarks + landmark_steps)


def _solution(
    problem: Problem, state: State, equations: NormalEquations, gauge: FloatArray
) -> WindowSolution:
    near = equations.distances <= CHI2_2DOF
    inliers = np.zeros((len(state.landmarks), len(state.positions)), bool)
    inliers[problem.landmark_of[near], problem.frame_of[near]] = True
    unknowns = 3 * int(inliers.any(axis=1).sum()) + 6 * len(problem.free)
    deep = near & problem.has_depth & (equations.depth_distances <= CHI2_1DOF)
    freedom = max(2 * int(near.sum()) + int(deep.sum()) - unknowns, 1)
    squares = equations.distances[near].sum() + equations.depth_distances[deep].sum()
    excess = float(squares) / freedom
    eliminated = eliminate_landmarks(problem, equations, 0.0)
    covariances = np.zeros((len(state.positions), 6, 6))
    if len(problem.free):
        held = _held(eliminated.reduced, gauge)
        scale = np.sqrt(np.maximum(np.diag(held), 1e-12))
        normed = held / np.outer(scale, scale) + _REGULARIZATION * np.eye(len(held))
        inverse = np.linalg.inv(normed) / np.outer(scale, scale)
        if gauge.any():
            inverse = _with_scale(inverse, problem, state, eliminated)
        blocks = inverse.reshape(len(problem.free), 6, len(problem.free), 6)
        covariances[problem.free] = np.einsum("fifj->fij", blocks) * max(1.0, excess)
    poses = tuple(
        Pose(nearest_rotation(rotation), position)
        for rotation, position in zip(state.rotations, state.positions)
    )
    return WindowSolution(
        poses,
        state.landmarks,
        covariances,
        eliminated.landmark_covariances() * max(1.0, excess),
        inliers,
        float(np.sqrt(excess)),
    )


def _with_scale(
    covariance: FloatArray, problem: Problem, state: State, eliminated: Eliminated
) -> FloatArray:
    """Covariance (6F, 6F) of the free poses, given that where the length of the poses' arms is
    held, with the uncertainty of the scale between these arms and the landmarks' distances.

    The next poses are measured on the landmarks: their scale goes on, not that of the arms, in
    which a start would know its first step exactly.
    """
    origin = state.positions[problem.fixed][0]
    arms = state.landmarks - origin
    along = arms / np.maximum((arms**2).sum(axis=1), 1e-12)[:, None]
    weights = 1 / np.maximum((eliminated.whitened(along) ** 2).sum(axis=1), 1e-12)
    along *= (weights / weights.sum())[:, None]
    by_poses, own = eliminated.combination(along)
    scaling = np.zeros((len(problem.free), 6))
    scaling[:, :3] = state.positions[problem.free] - origin
    variance = own + by_poses @ covariance @ by_poses
    grown: FloatArray = covariance + variance * np.outer(scaling, scaling)
    return grown
