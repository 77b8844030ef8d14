"""Which frames are kept as views of the landmarks, and which view goes when there are too many."""

from __future__ import annotations

import numpy as np

from superglue_ros.odometry.correspondences import Correspondences
from superglue_ros.odometry.landmarks import LandmarkStore, View
from superglue_ros.odometry.mapping import Observation, Tolerances
from superglue_ros.odometry.tracking import TrackedPose, track
from superglue_ros.types import UNMATCHED, BoolArray, FloatArray, FrameMatches

_FEW_SHARED = 15
"""Landmarks."""


def add_view(
    store: LandmarkStore,
    matches: FrameMatches,
    found: Correspondences,
    observation: Observation,
    tracked: TrackedPose,
    fits: BoolArray | None = None,
) -> View:
    """Add a frame to the views; its matches that fit (all by default) carry their rows on."""
    chosen = np.ones(len(observation.rows), bool) if fits is None else fits
    row_of_feature = np.zeros(0, np.int64)
    if matches.is_keyframe:
        size = max(matches.num_features, int(found.features.max(initial=-1)) + 1)
        row_of_feature = np.full(size, UNMATCHED, np.int64)
        features = found.features[: len(chosen)]
        row_of_feature[features[chosen]] = observation.rows[chosen]
    view = View(
        matches.stamp_ns,
        matches.keyframe_id + 1 if matches.is_keyframe else UNMATCHED,
        tracked.pose,
        tracked.covariance,
        tracked.ok,
        row_of_feature,
    )
    store.add_view(view, observation.rows[chosen], observation.points[chosen])
    return view


def shows_parallax(
    store: LandmarkStore,
    observation: Observation,
    tracked: TrackedPose,
    tolerances: Tolerances,
) -> bool:
    """Whether a tracked frame sees its landmarks at parallax to the newest located view; so it
    does where no view is located any more."""
    newest = newest_located(store)
    if newest is None:
        return True
    landmarks = store.positions[observation.rows[tracked.inliers]]
    return _apart(tracked.pose.position, newest.pose.position, landmarks, tolerances)


def newest_located(store: LandmarkStore) -> View | None:
    """The newest view whose pose was measured."""
    return next((view for view in reversed(store.views) if view.located), None)


def _apart(
    position: FloatArray, other: FloatArray, landmarks: FloatArray, tolerances: Tolerances
) -> bool:
    if not len(landmarks):
        return True
    distance = float(np.median(np.linalg.norm(landmarks - position, axis=1)))
    baseline = float(np.linalg.norm(position - other))
    return baseline > np.tan(tolerances.min_parallax_rad) * distance


def locate_views(store: LandmarkStore, tolerances: Tolerances, min_inliers: int) -> None:
    """Measure the poses of views that are not located on the landmarks that they see."""
    for place in range(len(store.views)):
        locate_view(store, place, tolerances, min_inliers)


def locate_view(
    store: LandmarkStore, place: int, tolerances: Tolerances, min_inliers: int
) -> None:
    """Measure the pose of the view at `place` on the landmarks that it sees, if it is not
    located and they allow it; its covariance is that given the landmarks."""
    view = store.views[place]
    if view.located:
        return
    rows = np.flatnonzero(np.isfinite(store.observations[:, place, 0]))
    seen = Observation(view.stamp_ns, rows, store.observations[rows, place, :2])
    tracked = track(store, seen, tolerances, min_inliers)
    if tracked.ok:
        view.pose, view.covariance, view.located = tracked.pose, tracked.covariance, True


def surplus_view(store: LandmarkStore, keyframe_id: int, tolerances: Tolerances) -> int:
    """Place of the view that is missed least: the oldest that shares too few landmarks with the
    newest, as of a camera that turns on the spot; else one that shows no parallax to the view
    before it, so that a camera that stands keeps the views that it came by; else the oldest.
    Neither the newest view nor the keyframe that is being matched against."""
    kept = [
        place
        for place, view in enumerate(store.views[:-1])
        if view.keyframe_id == UNMATCHED or view.keyframe_id != keyframe_id
    ]
    common = store.located & np.isfinite(store.observations[:, -1, 0])
    shared = np.isfinite(store.observations[common, :, 0]).sum(axis=0)
    for place in kept:
        if store.views[place].located and shared[place] < _FEW_SHARED:
            return place
    for place in reversed(kept):
        view, before = store.views[place], store.views[place - 1]
        if place == 0 or not (view.located and before.located):
            continue
        seen = store.located & np.isfinite(store.observations[:, place, 0])
        if seen.any() and not _apart(
            view.pose.position, before.pose.position, store.positions[seen], tolerances
        ):
            return place
    return kept[0]
