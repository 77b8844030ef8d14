"""Visual odometry from match messages, and from depths of the keyframes where there are some."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from superglue_ros.geometry.camera import mean_focal
from superglue_ros.odometry.config import OdometryConfig
from superglue_ros.odometry.correspondences import (
    Correspondences,
    inverse_depths,
    usable_correspondences,
)
from superglue_ros.odometry.estimate import OdometryEstimate, TrackingState
from superglue_ros.odometry.initialization import Start, start_from_depths, start_landmarks
from superglue_ros.odometry.landmarks import LandmarkStore, View, renumber
from superglue_ros.odometry.mapping import (
    FLOOR_COVARIANCE,
    Observation,
    Tolerances,
    carried_covariance,
    extend_landmarks,
    optimize_window,
    place_measured_depths,
    unknown_covariance,
)
from superglue_ros.odometry.motion import MotionModel
from superglue_ros.odometry.tracking import TrackedPose, track
from superglue_ros.odometry.views import (
    add_view,
    locate_view,
    locate_views,
    newest_located,
    shows_parallax,
    surplus_view,
)
from superglue_ros.types import (
    UNMATCHED,
    CameraModel,
    FloatArray,
    FrameMatches,
    IntArray,
    Pose,
)

_MAX_PENDING_VIEWS = 4
"""Views after which the window is optimised even without a keyframe."""


class VisualOdometry:
    """Camera poses from matches against keyframes: in metres with their depths (RGB-D, stereo),
    up to one scale without.

    With `use_depth` the depths of a keyframe are its landmarks, and the window is optimised on
    them as well; a keyframe without depth can be tracked but nothing starts on it. Without, it
    starts from two views once their parallax suffices; the distance between these two views is
    the unit of length. From then on each frame's pose comes from the landmarks that it sees, and
    the recent keyframes and their landmarks are optimised together at each new keyframe.

    Loss is a state. While lost, the pose goes on at the last speed for `max_coast_s` and then
    stands. Tracking resumes when the frame sees enough of the old landmarks, else by a new start,
    placed at the keyframe's own or predicted pose, without depth with the scale of old landmarks
    that are seen again, else of the last speed. A message whose keyframe is not known (a missed
    message, a restarted matcher) counts as loss; one that in addition lies before the last one in
    time begins a new world. The same messages give the same estimates.
    """

    def __init__(self, config: OdometryConfig | None = None, use_depth: bool = False) -> None:
        self.config = config if config is not None else OdometryConfig()
        self.use_depth = use_depth
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next message begins a new world."""
        self._store = LandmarkStore()
        self._motion = MotionModel(self.config.max_coast_s)
        self._covariance: FloatArray = FLOOR_COVARIANCE * np.eye(6)
        self._started = False
        self._pending_views = 0
        self._waiting: list[Observation] = []
        self._last_stamp_ns: int | None = None

    def process(
        self,
        matches: FrameMatches,
        camera: CameraModel,
        keyframe_depth_m: FloatArray | None = None,
    ) -> OdometryEstimate:
        """Estimate the pose of one frame from its matches.

        camera: of the images in which the matches' points are; keyframe_depth_m: (H, W) z-depth
        in metres of the keyframe's image, 0 or NaN where unknown, used with `use_depth` alone.
        Raises CameraError where the camera is unusable and MessageError where the message
        contradicts itself or the depth is of another size; the state is then as before the call.
        """
        found = usable_correspondences(matches, camera, self.config.min_confidence)
        depth_m = keyframe_depth_m if self.use_depth else None
        depths = inverse_depths(matches, found, depth_m, self.config.depth_noise)
        tolerances = self._tolerances(camera)
        place, reason = self._link(matches)
        rows: IntArray = np.zeros(0, np.int64)
        if place is not None:
            rows = self._store.rows_of(
                place, found.keyframe_features, found.keyframe_points, depths
            )
            if self._store.views[place].located:
                place_measured_depths(self._store, place, tolerances)
        observation = Observation(matches.stamp_ns, rows, found.points[: len(rows)])
        tracked, starts = self._locate(observation, place, tolerances, reason)
        if tracked.ok:
            tracked = self._extend(matches, found, observation, tracked, tolerances, starts)
        elif matches.is_keyframe:
            add_view(self._store, matches, found, observation, tracked)
        backfill: tuple[tuple[int, Pose], ...] = ()
        if starts:
            tracked, backfill = self._settle(tracked, tolerances)
        self._remember(observation, tracked, starts)
        estimate = self._estimate(matches, observation, tracked, backfill)
        self._trim(matches.keyframe_id, tolerances)
        return estimate

    def _tolerances(self, camera: CameraModel) -> Tolerances:
        focal = mean_focal(camera)
        return Tolerances(
            self.config.inlier_threshold_px / focal,
            self.config.point_noise_px / focal,
            float(np.radians(self.config.min_parallax_deg)),
            self.config.depth_noise,
        )

    def _link(self, matches: FrameMatches) -> tuple[int | None, str]:
        """Place of the message's keyframe in the store, begun anew where it is not known."""
        place = self._store.find_keyframe(matches.keyframe_id, matches.keyframe_stamp_ns)
        if place is not None:
            return place, ""
        backwards = self._last_stamp_ns is not None and matches.stamp_ns < self._last_stamp_ns
        if backwards:
            self.reset()
        self._store.clear()
        self._waiting.clear()
        if matches.keyframe_id == 0 and not len(matches):
            return None, "first frame: there is no keyframe yet"
        view = View(
            matches.keyframe_stamp_ns,
            matches.keyframe_id,
            self._motion.predict(matches.keyframe_stamp_ns),
            unknown_covariance(),
            False,
            np.full(matches.num_keyframe_features, UNMATCHED),
        )
        place = self._store.add_view(view, np.zeros(0, np.int64), np.zeros((0, 2)))
        return place, f"keyframe {matches.keyframe_id} was not seen before"

    def _locate(
        self, observation: Observation, place: int | None, tolerances: Tolerances, reason: str
    ) -> tuple[TrackedPose, bool]:
        """Pose of the frame, and whether it took a start."""
        predicted = self._motion.predict(observation.stamp_ns)
        none = np.zeros(len(observation.rows), bool)
        if place is None:
            return TrackedPose(predicted, unknown_covariance(), none, reason), False
        tracked = track(self._store, observation, tolerances, self.config.min_inliers, predicted)
        if tracked.ok:
            carried = self._inherited_covariance(place, tracked.pose.position, tolerances)
            return replace(tracked, covariance=tracked.covariance + carried), False
        start = self._start(observation, place, tolerances)
        if start.ok:
            tracked = track(
                self._store, observation, tolerances, self.config.min_inliers, start.pose
            )
            if tracked.ok:
                return tracked, True
        # Before the first start there are no landmarks, but for those of one that failed here.
        parts = [reason, tracked.reason if self._started or start.ok else "", start.reason]
        reason = "; ".join(part for part in parts if part)
        return TrackedPose(predicted, unknown_covariance(), none, reason), False

    def _start(self, observation: Observation, place: int, tolerances: Tolerances) -> Start:
        least = max(self.config.min_start_inliers, self.config.min_inliers)
        guess = self._covariance + self._motion.uncertainty(self._store.views[place].stamp_ns)
        if self.use_depth:
            return start_from_depths(self._store, place, observation, tolerances, least, guess)
        speed = self._motion.speed
        return start_landmarks(self._store, place, observation, tolerances, least, speed, guess)

    def _inherited_covariance(
        self, place: int, position: FloatArray, tolerances: Tolerances
    ) -> FloatArray:
        """Covariance (6, 6) of the landmarks that a pose at `position` is measured on: that of
        the keyframe at `place`, which a lost frame may have become, else of the newest view."""
        view, newest = self._store.views[place], newest_located(self._store)
        if not view.located:
            locate_view(self._store, place, tolerances, self.config.min_inliers)
            if view.located:
                view.covariance = view.covariance + self._covariance_at(newest, view.pose.position)
        return self._covariance_at(view if view.located else newest, position)

    def _covariance_at(self, view: View | None, position: FloatArray) -> FloatArray:
        """What a pose inherits from a view, or where there is none from the last pose."""
        return self._covariance if view is None else carried_covariance(view, position)

    def _extend(
        self,
        matches: FrameMatches,
        found: Correspondences,
        observation: Observation,
        tracked: TrackedPose,
        tolerances: Tolerances,
        starts: bool,
    ) -> TrackedPose:
        """New landmarks from a tracked frame; a keyframe also enters the window."""
        fits = tracked.inliers | ~self._store.located[observation.rows]
        self._store.judge(observation.rows, tracked.inliers)
        fits &= ~extend_landmarks(self._store, observation, tracked.pose, tolerances)
        moved = shows_parallax(self._store, observation, tracked, tolerances)
        if not (matches.is_keyframe or starts or moved):
            return tracked
        view = add_view(self._store, matches, found, observation, tracked, fits)
        if starts:
            locate_views(self._store, tolerances, self.config.min_inliers)
        self._pending_views += 1
        if matches.is_keyframe or starts or self._pending_views >= _MAX_PENDING_VIEWS:
            optimize_window(self._store, tolerances, self.config.window_iterations)
            self._pending_views = 0
        return replace(tracked, pose=view.pose, covariance=view.covariance)

    def _settle(
        self, tracked: TrackedPose, tolerances: Tolerances
    ) -> tuple[TrackedPose, tuple[tuple[int, Pose], ...]]:
        """After a start: the world's origin, if it is the first, and poses of waiting frames."""
        if not self._started:
            first = next(view for view in self._store.views if view.located)
            self._store.transform(first.pose.inverse())
            tracked = replace(tracked, pose=self._store.views[-1].pose)
        # Frames may share a stamp, which then says of none which view it is.
        located = [view for view in self._store.views if view.located]
        times = Counter(view.stamp_ns for view in located)
        views = {view.stamp_ns: view.pose for view in located if times[view.stamp_ns] == 1}
        backfill = []
        for waiting in self._waiting:
            pose = views.get(waiting.stamp_ns)
            if pose is None:
                found = track(self._store, waiting, tolerances, self.config.min_inliers)
                pose = found.pose if found.ok else None
            if pose is not None:
                backfill.append((waiting.stamp_ns, pose))
        return tracked, tuple(backfill)

    def _remember(self, observation: Observation, tracked: TrackedPose, starts: bool) -> None:
        self._last_stamp_ns = observation.stamp_ns
        if not tracked.ok:
            self._waiting.append(observation)
            del self._waiting[: -self.config.max_backfill_frames or None]
            return
        if starts:
            self._motion.place(*self._before(observation.stamp_ns))
        self._motion.update(observation.stamp_ns, tracked.pose, tracked.deviation)
        self._waiting.clear()
        self._covariance = tracked.covariance
        self._started = True

    def _before(self, stamp_ns: int) -> tuple[int, Pose]:
        """Stamp and pose of the newest located view before a time, else of the motion model."""
        earlier = [v for v in self._store.views if v.located and v.stamp_ns < stamp_ns]
        if not earlier:
            return stamp_ns, self._motion.pose
        newest = max(earlier, key=lambda view: view.stamp_ns)
        return newest.stamp_ns, newest.pose

    def _estimate(
        self,
        matches: FrameMatches,
        observation: Observation,
        tracked: TrackedPose,
        backfill: tuple[tuple[int, Pose], ...],
    ) -> OdometryEstimate:
        positions = self._store.positions[observation.rows]
        if tracked.ok:
            state = TrackingState.TRACKING
        else:
            state = TrackingState.LOST if self._started else TrackingState.INITIALISING
        return OdometryEstimate(
            matches.stamp_ns,
            state,
            tracked.pose,
            tracked.covariance,
            self.use_depth,
            len(matches),
            int(tracked.inliers.sum()),
            matches.keyframe_id,
            positions[np.isfinite(positions).all(axis=1)] if tracked.ok else np.zeros((0, 3)),
            tracked.reason,
            backfill,
        )

    def _trim(self, keyframe_id: int, tolerances: Tolerances) -> None:
        while len(self._store.views) > self.config.window_views:
            place = surplus_view(self._store, keyframe_id, tolerances)
            new_rows = self._store.drop_view(place)
            self._waiting = [_renumbered(waiting, new_rows) for waiting in self._waiting]


def _renumbered(waiting: Observation, new_rows: IntArray) -> Observation:
    """What a waiting frame still sees after a view was dropped."""
    rows = renumber(waiting.rows, new_rows)
    kept = rows != UNMATCHED
    return replace(waiting, rows=rows[kept], points=waiting.points[kept])
