"""New landmarks from the views, and the optimisation of the window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.geometry.rotations import cross_matrix
from superglue_ros.geometry.triangulation import Triangulation, triangulate
from superglue_ros.odometry.landmarks import LandmarkStore, View
from superglue_ros.odometry.window import WindowSolution, adjust_window
from superglue_ros.types import BoolArray, FloatArray, IntArray, Pose

UNKNOWN_COVARIANCE = 1e4
"""Variance of every pose component while there is no measurement."""

FLOOR_COVARIANCE = 1e-9
"""Least variance that is ever reported: the origin is known by definition, not measured."""

_WANTED_LANDMARKS = 100
_NOISE_PARALLAX = 3.0
"""Least parallax of a landmark in standard deviations of a point."""


@dataclass(frozen=True)
class Tolerances:
    """Thresholds of one camera: threshold and noise in units of its normalised plane, depth_noise
    of inverse depths."""

    threshold: float
    noise: float
    min_parallax_rad: float
    depth_noise: float


@dataclass(frozen=True)
class Observation:
    """What a frame sees: rows (M,) of the store at normalised points (M, 2)."""

    stamp_ns: int
    rows: IntArray
    points: FloatArray


def unknown_covariance() -> FloatArray:
    """(6, 6) covariance of a pose that was not measured."""
    return np.eye(6) * UNKNOWN_COVARIANCE


def carried_covariance(view: View, position: FloatArray) -> FloatArray:
    """Covariance (6, 6) that a pose at `position` inherits when it is known relative to a view."""
    carry = np.eye(6)
    carry[:3, 3:] = -cross_matrix(position - view.pose.position)
    return carry @ view.covariance @ carry.T


def triangulate_rows(store: LandmarkStore, observation: Observation, pose: Pose) -> Triangulation:
    """Triangulate a frame's rows from the frame and all located views that see them."""
    places = [place for place, view in enumerate(store.views) if view.located]
    seen = np.concatenate(
        [store.observations[observation.rows][:, places, :2], observation.points[:, None]], axis=1
    )
    poses = [store.views[place].pose for place in places] + [pose]
    return triangulate(
        seen, np.stack([p.rotation for p in poses]), np.stack([p.position for p in poses])
    )


def required_parallax(parallax_rad: FloatArray, known: int, tolerances: Tolerances) -> float:
    """Parallax that makes a landmark of a point, radians.

    parallax_rad: (N,) of the candidates; known: landmarks that the frame sees already. Poorly
    determined depths bias the scale, so it is min_parallax where that gives the frame enough
    landmarks, and otherwise as much less as it takes, though never within the noise.
    """
    missing = _WANTED_LANDMARKS - known
    if missing <= 0 or not len(parallax_rad):
        return tolerances.min_parallax_rad
    ranked = np.sort(parallax_rad)[::-1]
    least = float(ranked[min(missing, len(ranked)) - 1])
    floor = _NOISE_PARALLAX * tolerances.noise
    return min(max(least, floor), tolerances.min_parallax_rad)


def measured_depths(store: LandmarkStore, place: int) -> BoolArray:
    """(N,) bool: rows that the view at `place` sees and whose depth it has."""
    return np.all(np.isfinite(store.observations[:, place]), axis=1)


def measured_points(store: LandmarkStore, place: int, rows: IntArray) -> FloatArray:
    """(M, 3) points in the camera of the view at `place`, of rows whose depth it has."""
    seen = store.observations[rows, place]
    return np.concatenate([seen[:, :2], np.ones((len(seen), 1))], axis=1) / seen[:, 2:]


def place_measured_depths(store: LandmarkStore, place: int, tolerances: Tolerances) -> None:
    """Make landmarks of the rows without position whose depth the located view at `place` has."""
    view = store.views[place]
    rows = np.flatnonzero(measured_depths(store, place) & ~store.located)
    points = measured_points(store, place, rows)
    store.positions[rows] = points @ view.pose.rotation.T + view.pose.position
    depths = points[:, 2]
    along = (depths * tolerances.depth_noise)[:, None] * points
    covariances = along[:, :, None] * along[:, None]
    across = (depths * tolerances.noise) ** 2
    covariances += across[:, None, None] * np.eye(3)
    store.covariances[rows] = view.pose.rotation @ covariances @ view.pose.rotation.T


def extend_landmarks(
    store: LandmarkStore, observation: Observation, pose: Pose, tolerances: Tolerances
) -> BoolArray:
    """Give positions to a tracked frame's rows that have none and are seen at enough parallax.

    Returns (M,) bool: the rows whose observation in this frame contradicts the other views.
    """
    contradicts = np.zeros(len(observation.rows), bool)
    open_rows = np.flatnonzero(~store.located[observation.rows])
    if not len(open_rows):
        return contradicts
    chosen = Observation(
        observation.stamp_ns, observation.rows[open_rows], observation.points[open_rows]
    )
    found = triangulate_rows(store, chosen, pose)
    fits = found.good(0.0, tolerances.threshold)
    known = len(observation.rows) - len(open_rows)
    least = required_parallax(found.parallax_rad[fits], known, tolerances)
    good = fits & (found.parallax_rad >= least)
    rows = chosen.rows[good]
    store.positions[rows] = found.points[good]
    store.covariances[rows] = found.covariances[good] * tolerances.noise**2
    with np.errstate(invalid="ignore"):
        agrees = found.residuals <= tolerances.threshold
    distant = found.parallax_rad < tolerances.min_parallax_rad
    contradicts[open_rows] = ~(agrees & (found.in_front | distant))
    return contradicts


def optimize_window(
    store: LandmarkStore, tolerances: Tolerances, iterations: int
) -> WindowSolution | None:
    """Adjust the located views and the landmarks that two of them see; None where too few.

    The oldest located view is held, and the mean distance to it unless depths are measured: place
    and scale. Landmarks that no two views of the window see at parallax and none measures the
    depth of enter with what was known of them. Observations outside the 99 % gate are dropped, and
    landmarks left with fewer than two lose their position.
    """
    places = np.flatnonzero([view.located for view in store.views])
    if len(places) < 2 or iterations == 0:
        return None
    seen = np.isfinite(store.observations[:, places, 0])
    rows = np.flatnonzero(store.located & (seen.sum(axis=1) >= 2))
    if len(rows) < 8:
        return None
    fixed = np.arange(len(places)) == 0
    views = [store.views[place] for place in places]
    block = store.observations[np.ix_(rows, places)]
    priors, weak = _priors(store, rows, views, block, tolerances)
    solution = adjust_window(
        tuple(view.pose for view in views),
        store.positions[rows],
        block,
        fixed,
        tolerances.noise,
        iterations,
        priors,
        tolerances.depth_noise,
    )
    anchor = views[0]
    for view, held, pose, own in zip(views, fixed, solution.poses, solution.pose_covariances):
        if not held:
            view.pose = pose
            view.covariance = carried_covariance(anchor, pose.position) + own
    store.positions[rows] = solution.landmarks
    store.covariances[rows[~weak]] = solution.landmark_covariances[~weak]
    outliers = seen[rows] & ~solution.inliers
    block[outliers] = np.nan
    store.observations[np.ix_(rows, places)] = block
    lost = rows[solution.inliers.sum(axis=1) < 2]
    store.positions[lost] = np.nan
    store.covariances[lost] = np.nan
    return solution


def _priors(
    store: LandmarkStore,
    rows: IntArray,
    views: list[View],
    observations: FloatArray,
    tolerances: Tolerances,
) -> tuple[FloatArray, BoolArray]:
    """Information (L, 3, 3) on landmarks from before the window, zero for those (~weak) that the
    window of the views and their observations (L, V, 3) itself determines."""
    seen = np.isfinite(observations[..., 0])
    arms = np.stack([view.pose.position for view in views]) - store.positions[rows][:, None]
    arms *= seen[..., None] / np.linalg.norm(arms, axis=2, keepdims=True)
    cosines = np.einsum("lvi,lwi->lvw", arms, arms)
    pairs = seen[:, :, None] & seen[:, None, :]
    widest = np.where(pairs, cosines, 1.0).min(axis=(1, 2))
    weak = widest > np.cos(tolerances.min_parallax_rad)
    weak &= ~(seen & np.isfinite(observations[..., 2])).any(axis=1)
    priors = np.zeros((len(rows), 3, 3))
    priors[weak] = np.linalg.inv(store.covariances[rows[weak]])
    return priors, weak
