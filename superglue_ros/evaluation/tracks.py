"""Whether tracks stay on what they are on: rendered flights, every depth and pose known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from superglue_ros.evaluation.flights import fly
from superglue_ros.geometry import normalize_points, project_points
from superglue_ros.matching import ImageMatcher, KeyframeMatcher
from superglue_ros.tracks import EPIPOLAR_THRESHOLD_PX, TrackChain, agree_with_one_motion
from superglue_ros.types import CameraModel, FloatArray, IntArray, Pose

KINDS = ("all matches", "verified")

ASTRAY_PX = 8.0
"""A track farther than this from where it began is on something else."""

_AROUND_PX = 2
"""A keypoint lies on a surface that is seen so near to it."""
_SAME_PX = 2.0
_SAME_DEPTH = 0.03


@dataclass(frozen=True)
class TrackScores:
    """One kind of tracks: num_tracks; num_sightings after each track's first; errors_px, their
    distances of 50, 90, 99 % from where the track's first point is; num_astray sightings, and
    num_tracks_astray; num_renamed: tracks that begin where an earlier one was."""

    num_tracks: int
    num_sightings: int
    errors_px: tuple[float, float, float]
    num_astray: int
    num_tracks_astray: int
    num_renamed: int

    @property
    def kept_percent(self) -> float:
        """Of the sightings of what had been seen before, those under the id of before."""
        return 100.0 * self.num_sightings / max(self.num_sightings + self.num_renamed, 1)


class TrackTruth:
    """Follows the points that tracks begin at, by the camera's poses and depths."""

    def __init__(self, camera: CameraModel) -> None:
        self._camera = camera
        self._places: dict[int, int] = {}
        self._landmarks = np.zeros((0, (2 * _AROUND_PX + 1) ** 2, 3))
        self._errors: list[FloatArray] = []
        self._astray: set[int] = set()
        self._renamed = 0

    def see(self, ids: IntArray, points: FloatArray, pose: Pose, depth: FloatArray) -> None:
        """Judge the tracks (M,) at points (M, 2) of a frame with its true pose and depth (H, W)
        metres, 0 where nothing is."""
        begun = np.array([number not in self._places for number in ids.tolist()], bool)
        known = [self._places[number] for number in ids[~begun].tolist()]
        pixels, depths = self._seen_from(pose)
        away = np.linalg.norm(pixels[known] - points[~begun, None], axis=2)
        errors = np.where(np.isfinite(away), away, np.inf).min(axis=1, initial=np.inf)
        self._errors.append(errors)
        self._astray |= set(ids[~begun][errors > ASTRAY_PX].tolist())
        lost = np.setdiff1d(np.arange(len(self._landmarks)), known)
        around = self._depths_around(points[begun], depth)
        for point, surface in zip(points[begun], around):
            near = np.linalg.norm(pixels[lost] - point, axis=2) <= _SAME_PX
            off = np.abs(depths[lost, :, None] - surface) <= _SAME_DEPTH * surface
            self._renamed += bool((near & off.any(axis=2)).any())
        for number in ids[begun].tolist():
            self._places[number] = len(self._places)
        rays = normalize_points(points[begun], self._camera)
        rays = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
        found = (rays[:, None] * around[:, :, None]) @ pose.rotation.T + pose.position
        self._landmarks = np.concatenate([self._landmarks, found])

    def _seen_from(self, pose: Pose) -> tuple[FloatArray, FloatArray]:
        """Pixels (N, K, 2) of all landmarks' candidates, and their depths (N, K)."""
        in_camera = (self._landmarks - pose.position) @ pose.rotation
        pixels = project_points(in_camera.reshape(-1, 3), self._camera)
        return pixels.reshape(*in_camera.shape[:2], 2), in_camera[..., 2]

    def _depths_around(self, points: FloatArray, depth: FloatArray) -> FloatArray:
        """(M, K) depths about points, NaN where nothing is."""
        steps = np.arange(-_AROUND_PX, _AROUND_PX + 1)
        columns, rows = np.round(points).astype(int).T
        rows = np.clip(rows[:, None, None] + steps[:, None], 0, depth.shape[0] - 1)
        columns = np.clip(columns[:, None, None] + steps, 0, depth.shape[1] - 1)
        found = depth[rows, columns].reshape(len(points), len(steps) ** 2)
        return np.where(found > 0, found, np.nan)

    def scores(self) -> TrackScores:
        """What has been seen so far; errors are NaN before the first sighting."""
        errors = np.concatenate([np.zeros(0), *self._errors])
        spread = np.percentile(errors, [50, 90, 99]) if len(errors) else np.full(3, np.nan)
        return TrackScores(
            len(self._places),
            len(errors),
            (float(spread[0]), float(spread[1]), float(spread[2])),
            int((errors > ASTRAY_PX).sum()),
            len(self._astray),
            self._renamed,
        )


def evaluate_tracks(
    matcher: ImageMatcher,
    flights: int,
    frames: int,
    size: tuple[int, int] = (640, 480),
    progress: bool = False,
) -> dict[str, list[TrackScores]]:
    """Scores of each flight, by kind: tracks of all matches, and of those that agree with one
    motion of the camera. Raises ValueError for fewer than one flight of two frames."""
    if flights < 1 or frames < 2:
        raise ValueError("a flight at least, of 2 frames at least")
    scores: dict[str, list[TrackScores]] = {kind: [] for kind in KINDS}
    for flight in tqdm(range(flights), desc="flights", disable=not progress):
        keyframes = KeyframeMatcher(matcher)
        chains = {kind: TrackChain() for kind in KINDS}
        truths: dict[str, TrackTruth] = {}
        for flown in fly(flight, frames, size):
            camera = flown.frame.camera
            if camera is None:
                raise ValueError("a flight without a camera")
            matches = keyframes.process(flown.frame)
            agree = agree_with_one_motion(matches, camera, EPIPOLAR_THRESHOLD_PX)
            for kind, chosen in zip(KINDS, (None, agree)):
                tracks = chains[kind].process(matches, chosen)
                truth = truths.setdefault(kind, TrackTruth(camera))
                truth.see(tracks.ids, tracks.points, flown.pose, flown.depth)
        for kind, truth in truths.items():
            scores[kind].append(truth.scores())
    return scores
