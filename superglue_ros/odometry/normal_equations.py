"""Normal equations of the bundle adjustment, and the elimination of the landmarks from them.

Everything is an array over the O observations or over the L landmarks; blocks of 3x3 and 6x3 are
written out in components, which numpy does several times faster than small matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.geometry.pnp import CHI2_2DOF
from superglue_ros.types import BoolArray, FloatArray, IntArray

CHI2_1DOF = 6.63
"""99th percentile of the chi-square distribution with one degree of freedom."""

_MIN_DEPTH = 1e-6
_BEHIND = 1e4
"""Squared residual that an observation counts as where its landmark lies behind the frame."""
_MAX_PRODUCT = 250_000
"""Multiplications of one matrix product; larger ones make BLAS wake its threads, which on a busy
machine takes hundreds of milliseconds."""


@dataclass(frozen=True)
class Problem:
    """O observations `targets` (O, 2) of landmarks `landmark_of` (O,) by frames `frame_of` (O,),
    sorted by landmark; starts (L,): first observation of each landmark; fixed (V,); free (F,)
    places; noise (O,): standard deviations of the targets; priors (L, 3, 3): information on the
    landmarks, which are expected at anchors (L, 3); inverse_depths (O,): 1 / z of the landmark in
    the frame where it was measured, else NaN, with standard deviations depth_noise (O,)."""

    targets: FloatArray
    landmark_of: IntArray
    frame_of: IntArray
    starts: IntArray
    fixed: BoolArray
    free: IntArray
    noise: FloatArray
    anchors: FloatArray
    priors: FloatArray
    inverse_depths: FloatArray
    depth_noise: FloatArray

    @staticmethod
    def from_observations(
        observations: FloatArray,
        fixed: BoolArray,
        noise: float | FloatArray,
        anchors: FloatArray,
        priors: FloatArray,
        depth_noise: float | FloatArray = 1.0,
    ) -> Problem:
        """From (L, V, 2) normalised points, NaN where not seen, or (L, V, 3) with inverse depths;
        the noise of all, or (L, V) of each; ValueError for a landmark that no frame sees, or
        where no frame is fixed."""
        seen = np.isfinite(observations[..., 0]) & np.isfinite(observations[..., 1])
        if not seen.any(axis=1).all():
            raise ValueError("a landmark without observations cannot be adjusted")
        if not fixed.any():
            raise ValueError("at least one frame must be fixed")
        landmark_of, frame_of = np.nonzero(seen)
        starts = np.searchsorted(landmark_of, np.arange(len(observations)))
        measured = observations[landmark_of, frame_of]
        inverse_depths = (
            measured[:, 2] if measured.shape[1] == 3 else np.full(len(measured), np.nan)
        )
        deviations = np.broadcast_to(depth_noise, seen.shape)[landmark_of, frame_of]
        return Problem(
            measured[:, :2],
            landmark_of,
            frame_of,
            starts,
            fixed,
            np.flatnonzero(~fixed),
            np.broadcast_to(noise, seen.shape)[landmark_of, frame_of],
            anchors,
            priors,
            inverse_depths,
            np.where(np.isfinite(inverse_depths), deviations, 1.0),
        )

    @property
    def has_depth(self) -> BoolArray:
        """(O,) whether the depth was measured as well."""
        return np.isfinite(self.inverse_depths)

    @property
    def scale_information(self) -> float:
        """What the depths say of the logarithm of the scale: its inverse variance."""
        known = self.has_depth
        return float(((self.inverse_depths[known] / self.depth_noise[known]) ** 2).sum())


@dataclass(frozen=True)
class State:
    """rotations (V, 3, 3) and positions (V, 3) of the frames, landmarks (L, 3), in the world."""

    rotations: FloatArray
    positions: FloatArray
    landmarks: FloatArray


@dataclass(frozen=True)
class NormalEquations:
    """cost; distances and depth_distances (O,) squared residuals of the points and of the inverse
    depths in units of the noise, 0 where there is no depth; pose_blocks (V, 6, 6), pose_gradient
    (V, 6), landmark_blocks (L, 3, 3), landmark_gradient (L, 3), and cross_blocks (O, 6, 3)."""

    cost: float
    distances: FloatArray
    depth_distances: FloatArray
    pose_blocks: FloatArray
    pose_gradient: FloatArray
    landmark_blocks: FloatArray
    landmark_gradient: FloatArray
    cross_blocks: FloatArray


def build_equations(problem: Problem, state: State) -> NormalEquations:
    """Linearise the errors of reprojection and of inverse depth, robust each on its own; poses
    are disturbed as in geometry.pnp."""
    arms = state.landmarks[problem.landmark_of] - state.positions[problem.frame_of]
    axes = np.swapaxes(state.rotations, 1, 2)[problem.frame_of]  # rows: camera axes in the world
    in_camera = np.matmul(axes, arms[:, :, None])[..., 0]
    front = in_camera[:, 2] > _MIN_DEPTH
    depth = np.where(front, in_camera[:, 2], 1.0)
    projected = in_camera[:, :2] / depth[:, None]
    residuals = (problem.targets - projected) / problem.noise[:, None]
    distances = np.where(front, (residuals**2).sum(axis=1), _BEHIND)
    cost = CHI2_2DOF * float(np.log1p(distances / CHI2_2DOF).sum())
    offsets = problem.anchors - state.landmarks
    pull = np.einsum("lij,lj->li", problem.priors, offsets)
    cost += float((offsets * pull).sum())
    roots = np.where(front, 1 / np.sqrt(1 + distances / CHI2_2DOF), 0.0)
    residuals = residuals * roots[:, None]
    by_landmark = axes[:, :2] - projected[:, :, None] * axes[:, 2:]
    by_landmark *= (roots / (depth * problem.noise))[:, None, None]
    measured = problem.has_depth
    depth_distances = np.zeros(len(depth))
    if measured.any():
        errors = (problem.inverse_depths - 1 / depth) / problem.depth_noise
        errors[~(measured & front)] = 0.0
        depth_distances = errors**2
        cost += CHI2_1DOF * float(np.log1p(depth_distances / CHI2_1DOF).sum())
        weights = (measured & front) / np.sqrt(1 + depth_distances / CHI2_1DOF)
        by_depth = axes[:, 2] * (-weights / (depth**2 * problem.depth_noise))[:, None]
        residuals = np.concatenate([residuals, (errors * weights)[:, None]], axis=1)
        by_landmark = np.concatenate([by_landmark, by_depth[:, None]], axis=1)
    by_pose = np.concatenate([-by_landmark, _cross(by_landmark, arms[:, None])], axis=2)
    pose_blocks = np.zeros((len(state.positions), 6, 6))
    pose_gradient = np.zeros((len(state.positions), 6))
    for frame in problem.free:
        chosen = problem.frame_of == frame
        jacobian = by_pose[chosen].reshape(-1, 6)
        pose_blocks[frame] = jacobian.T @ jacobian
        pose_gradient[frame] = jacobian.T @ residuals[chosen].ravel()
    return NormalEquations(
        cost,
        distances,
        depth_distances,
        pose_blocks,
        pose_gradient,
        problem.priors + np.add.reduceat(_outer(by_landmark, by_landmark), problem.starts),
        pull + np.add.reduceat((by_landmark * residuals[:, :, None]).sum(axis=1), problem.starts),
        _outer(by_pose, by_landmark),
    )


def _cross(first: FloatArray, second: FloatArray) -> FloatArray:
    x, y, z = (first[..., axis] for axis in range(3))
    u, v, w = (second[..., axis] for axis in range(3))
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)


def _outer(left: FloatArray, right: FloatArray) -> FloatArray:
    """(O, K, A) and (O, K, B) to the (O, A, B) products left^T right."""
    product = left[:, 0, :, None] * right[:, 0, None, :]
    for row in range(1, left.shape[1]):
        product += left[:, row, :, None] * right[:, row, None, :]
    return product


@dataclass(frozen=True)
class Eliminated:
    """What is left for the F free poses: reduced (6F, 6F), gradient (6F,); and what leads back
    to the landmarks: factors (L, 3, 3) lower, halfway (L, 3), and cross (B, 6F, 3C), the blocks
    of the landmarks in B batches of C."""

    reduced: FloatArray
    gradient: FloatArray
    factors: FloatArray
    cross: FloatArray
    halfway: FloatArray

    def landmark_steps(self, pose_steps: FloatArray) -> FloatArray:
        """(L, 3) steps that belong to the (6F,) steps of the poses."""
        from_poses = (pose_steps @ self.cross).reshape(-1, 3)[: len(self.halfway)]
        right = self.halfway - from_poses
        return _solve_upper(self.factors, right)

    def whitened(self, directions: FloatArray) -> FloatArray:
        """(L, 3) whose squared norms are the landmarks' variances along directions (L, 3), given
        the poses."""
        return _solve_lower(self.factors, directions)

    def combination(self, directions: FloatArray) -> tuple[FloatArray, float]:
        """The sum of the landmarks' steps along directions (L, 3): how it follows the (6F,) steps
        of the poses, and its variance given these."""
        whitened = self.whitened(directions)
        padded = np.zeros((self.cross.shape[0] * self.cross.shape[2] // 3, 3))
        padded[: len(whitened)] = whitened
        blocks = padded.reshape(len(self.cross), -1, 1)
        by_poses = -np.matmul(self.cross, blocks).sum(axis=0).ravel()
        return by_poses, float((whitened**2).sum())

    def landmark_covariances(self) -> FloatArray:
        """(L, 3, 3) inverses of the landmarks' blocks: covariances given the poses."""
        columns = [
            _solve_upper(self.factors, _solve_lower(self.factors, np.broadcast_to(unit, (1, 3))))
            for unit in np.eye(3)
        ]
        return np.stack(columns, axis=2)


def eliminate_landmarks(
    problem: Problem, equations: NormalEquations, damping: float
) -> Eliminated:
    """Schur complement of the landmarks' blocks, these with their diagonal times 1 + damping."""
    factors = _cholesky(equations.landmark_blocks, damping)
    count = len(problem.free)
    slot = np.full(len(problem.fixed), -1)
    slot[problem.free] = np.arange(count)
    used = slot[problem.frame_of] >= 0
    landmarks, slots = problem.landmark_of[used], slot[problem.frame_of[used]]
    whitened = _solve_lower(factors[landmarks][:, None], equations.cross_blocks[used])  # (O, 6, 3)
    size = max(1, _MAX_PRODUCT // max(1, 3 * (6 * count) ** 2))
    batches = -(-len(factors) // size)
    blocks = np.zeros((batches, count, 6, size, 3))
    blocks[landmarks // size, slots, :, landmarks % size] = whitened
    cross = blocks.reshape(batches, 6 * count, 3 * size)
    halfway = _solve_lower(factors, equations.landmark_gradient)
    padded = np.zeros((batches * size, 3))
    padded[: len(halfway)] = halfway
    reduced = -np.matmul(cross, cross.transpose(0, 2, 1)).sum(axis=0)
    for place, frame in enumerate(problem.free):
        at = slice(6 * place, 6 * place + 6)
        reduced[at, at] += equations.pose_blocks[frame]
    along = np.matmul(cross, padded.reshape(batches, -1, 1)).sum(axis=0).ravel()
    gradient = equations.pose_gradient[problem.free].ravel() - along
    return Eliminated(reduced, gradient, factors, cross, halfway)


def _cholesky(blocks: FloatArray, damping: float) -> FloatArray:
    """Lower factors of (L, 3, 3) blocks; a floor on the pivots stands for what is not observed."""
    diagonal = np.einsum("lii->li", blocks)
    floor = 1e-12 * diagonal.max(axis=1, initial=0.0) + 1e-30
    raised = diagonal * (1 + damping)
    factors = np.zeros_like(blocks)
    factors[:, 0, 0] = np.sqrt(np.maximum(raised[:, 0], floor))
    factors[:, 1, 0] = blocks[:, 1, 0] / factors[:, 0, 0]
    factors[:, 2, 0] = blocks[:, 2, 0] / factors[:, 0, 0]
    factors[:, 1, 1] = np.sqrt(np.maximum(raised[:, 1] - factors[:, 1, 0] ** 2, floor))
    factors[:, 2, 1] = (blocks[:, 2, 1] - factors[:, 2, 0] * factors[:, 1, 0]) / factors[:, 1, 1]
    last = raised[:, 2] - factors[:, 2, 0] ** 2 - factors[:, 2, 1] ** 2
    factors[:, 2, 2] = np.sqrt(np.maximum(last, floor))
    return factors


def _solve_lower(factors: FloatArray, right: FloatArray) -> FloatArray:
    """Solve factors x = right for the last axis of right (..., 3)."""
    first = right[..., 0] / factors[..., 0, 0]
    second = (right[..., 1] - factors[..., 1, 0] * first) / factors[..., 1, 1]
    third = right[..., 2] - factors[..., 2, 0] * first - factors[..., 2, 1] * second
    return np.stack([first, second, third / factors[..., 2, 2]], axis=-1)


def _solve_upper(factors: FloatArray, right: FloatArray) -> FloatArray:
    """Solve factors^T x = right for the last axis of right (..., 3)."""
    third = right[..., 2] / factors[..., 2, 2]
    second = (right[..., 1] - factors[..., 2, 1] * third) / factors[..., 1, 1]
    first = right[..., 0] - factors[..., 1, 0] * second - factors[..., 2, 0] * third
    return np.stack([first / factors[..., 0, 0], second, third], axis=-1)
