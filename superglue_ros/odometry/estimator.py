"""Visual odometry from match messages, and from depths of the keyframes where there are some."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from superglue_ros.odometry.config import OdometryConfig
from superglue_ros.odometry.correspondences import usable_correspondences
from superglue_ros.odometry.depths import InverseDepths, measured_depths
from superglue_ros.odometry.estimate import OdometryEstimate, TrackingState
from superglue_ros.odometry.frames import (
    FLOOR_COVARIANCE,
    Observation,
    WindowFrame,
    limited_covariance,
    unknown_covariance,
)
from superglue_ros.odometry.initialization import Start, start_from_depths, start_from_two_frames
from superglue_ros.odometry.local_map import LocalMap
from superglue_ros.odometry.motion import MotionModel, Twist
from superglue_ros.odometry.tracking import TrackedPose
from superglue_ros.types import UNMATCHED, CameraModel, FloatArray, FrameMatches, Pose

_MAX_PENDING_FRAMES = 4
"""Frames after which the window is optimised even without a keyframe."""
_YOUNG_FRAMES = 8
"""A window of no more located frames is optimised at each."""


class VisualOdometry:
    """Camera poses from matches against keyframes: in metres with their depths (RGB-D, stereo),
    up to one scale without.

    With `use_depth` the depths of a keyframe are its landmarks, and the window is optimised on
    them as well; a keyframe without depth can be tracked but nothing starts on it. Without, it
    starts from two frames once their parallax suffices; the distance between these two is the
    unit of length. From then on each frame's pose comes from the landmarks that it sees, and
    the recent keyframes and their landmarks are optimised together at each new keyframe.

    Loss is a state. While lost, the pose goes on at the last speed for `max_coast_s` and then
    stands. Tracking resumes when the frame sees enough of the old landmarks, else by a new start,
    placed at the keyframe's own or predicted pose, without depth with the scale of old landmarks
    that are seen again, else of the last speed. A message whose keyframe is not known (a missed
    message, a restarted matcher) counts as loss. Whoever sends the messages judges their order
    (see `stamps`), and calls `reset` where a clock jumped back. The same messages give the same
    estimates.
    """

    def __init__(self, config: OdometryConfig | None = None, use_depth: bool = False) -> None:
        self.config = config if config is not None else OdometryConfig()
        self.use_depth = use_depth
        self._reset_count = 0
        self._started = False
        self.reset()

    def configure(self, config: OdometryConfig) -> None:
        """Go on with other options."""
        self.config = self._map.config = config
        self._motion.max_coast_s = config.max_coast_s

    def reset(self, pose: Pose | None = None) -> None:
        """Forget everything: the next message begins a new world, with the first camera at a
        pose, the origin by default."""
        self._reset_count += self._started
        self._origin = pose if pose is not None else Pose.identity()
        self._map = LocalMap(self.config)
        self._motion = MotionModel(self.config.max_coast_s, self._origin)
        self._covariance: FloatArray = FLOOR_COVARIANCE * np.eye(6)
        self._started = False
        self._pending_frames = 0
        self._waiting: list[Observation] = []

    def process(
        self,
        matches: FrameMatches,
        camera: CameraModel,
        keyframe_depth_m: FloatArray | None = None,
        baseline_m: float | None = None,
    ) -> OdometryEstimate:
        """Estimate the pose of one frame from its matches.

        camera: of the images in which the matches' points are. With `use_depth` alone:
        keyframe_depth_m: (H, W) z-depth in metres of the keyframe's image, 0 or NaN where unknown;
        baseline_m: of the stereo rig in whose right images keyframe_right_points are. Raises
        CameraError where the camera is unusable, or not rectified though there is a baseline,
        MessageError where the message contradicts itself or the depth is of another size, and
        ValueError for a baseline that is not positive; the state is then as before the call.
        """
        found = usable_correspondences(
            matches, camera, self.config.min_confidence, self.config.use_confidence
        )
        depths = InverseDepths.of_none(len(found))
        if self.use_depth:
            depths = measured_depths(
                matches, found, camera, self.config, keyframe_depth_m, baseline_m
            )
        self._map.use_camera(camera)
        keyframe, reason = self._link(matches)
        observation = Observation.nothing(matches.stamp_ns)
        if keyframe is not None:
            observation = self._map.observe(keyframe, matches.stamp_ns, found, depths)
        tracked, starts = self._locate(observation, keyframe, reason)
        twist = Twist.unknown()
        if tracked.ok and not starts:
            twist = self._motion.twist_to(matches.stamp_ns, tracked)
        if tracked.ok:
            tracked = self._extend(matches, observation, tracked, starts)
        elif matches.is_keyframe:
            self._map.add_frame(matches, observation, tracked)
        backfill: tuple[tuple[int, Pose], ...] = ()
        if starts:
            tracked, backfill = self._settle(tracked)
        self._remember(observation, tracked, starts)
        estimate = self._estimate(matches, observation, tracked, twist, backfill)
        self._trim(matches.keyframe_id)
        return estimate

    def _link(self, matches: FrameMatches) -> tuple[int | None, str]:
        """Place of the message's keyframe in the map, begun anew where it is not known."""
        place = self._map.find_keyframe(matches.keyframe_id, matches.keyframe_stamp_ns)
        if place is not None:
            return place, ""
        self._map.clear()
        self._waiting.clear()
        if matches.keyframe_id == 0 and not len(matches):
            return None, "first frame: there is no keyframe yet"
        keyframe = WindowFrame(
            matches.keyframe_stamp_ns,
            matches.keyframe_id,
            self._motion.predict(matches.keyframe_stamp_ns),
            unknown_covariance(),
            False,
            np.full(matches.num_keyframe_features, UNMATCHED),
        )
        place = self._map.add_keyframe(keyframe)
        return place, f"keyframe {matches.keyframe_id} was not seen before"

    def _locate(
        self, observation: Observation, keyframe: int | None, reason: str
    ) -> tuple[TrackedPose, bool]:
        """Pose of the frame, and whether it took a start."""
        predicted = self._motion.predict(observation.stamp_ns)
        if keyframe is None:
            return self._unlocated(observation, predicted, reason), False
        tracked = self._map.locate(observation, predicted)
        if tracked.ok:
            inherited = self._inherited_covariance(keyframe, tracked.pose.position)
            return replace(tracked, covariance=tracked.covariance + inherited), False
        if self._motion.seconds_since(observation.stamp_ns) > self.config.max_coast_s:
            if tracked.contradicted or self._map.tracks.moving.any():
                self._map.doubt_everything()
        elif tracked.contradicted:
            # A start would follow what moves.
            return self._unlocated(observation, predicted, tracked.reason), False
        start = self._start(observation, keyframe)
        if start.ok:
            tracked = self._map.locate(observation, start.pose)
            if tracked.ok:
                self._reset_count += self._started and start.guessed
                return tracked, True
        # Before the first start there are no landmarks, but for those of one that failed here.
        parts = [reason, tracked.reason if self._started or start.ok else "", start.reason]
        reason = "; ".join(part for part in parts if part)
        return self._unlocated(observation, predicted, reason), False

    def _unlocated(self, observation: Observation, predicted: Pose, reason: str) -> TrackedPose:
        covariance = unknown_covariance()
        if self._started:
            grown = self._covariance + self._motion.uncertainty(observation.stamp_ns)
            covariance = limited_covariance(grown)
        return TrackedPose.predicted(predicted, covariance, len(observation), reason)

    def _start(self, observation: Observation, keyframe: int) -> Start:
        least = max(self.config.min_start_inliers, self.config.min_inliers)
        stamp_ns = self._map.frames[keyframe].stamp_ns
        guess = self._covariance + self._motion.uncertainty(stamp_ns)
        if self.use_depth:
            return start_from_depths(self._map, keyframe, observation, least, guess)
        speed = self._motion.speed
        return start_from_two_frames(self._map, keyframe, observation, least, speed, guess)

    def _inherited_covariance(self, keyframe: int, position: FloatArray) -> FloatArray:
        """Covariance (6, 6) of the landmarks that a pose at `position` is measured on: that of
        the keyframe, which a lost frame may have become, else of the newest located frame."""
        frame, newest = self._map.frames[keyframe], self._map.newest_located
        if not frame.located:
            self._map.locate_frame(keyframe)
            if frame.located:
                carried = self._covariance_at(newest, frame.pose.position)
                frame.covariance = frame.covariance + carried
        return self._covariance_at(frame if frame.located else newest, position)

    def _covariance_at(self, frame: WindowFrame | None, position: FloatArray) -> FloatArray:
        """What a pose inherits from a frame, or where there is none from the last pose."""
        return self._covariance if frame is None else frame.carried_covariance(position)

    def _extend(
        self,
        matches: FrameMatches,
        observation: Observation,
        tracked: TrackedPose,
        starts: bool,
    ) -> TrackedPose:
        """New landmarks from a tracked frame; a keyframe also enters the window."""
        if tracked.contradicted:
            self._map.set_moving(observation, ~tracked.inliers)
        fits = tracked.inliers | ~self._map.tracks.are_landmarks[observation.tracks]
        self._map.judge_landmarks(observation, tracked.inliers)
        fits &= ~self._map.add_landmarks(observation, tracked.pose)
        moved = self._map.shows_parallax(observation, tracked)
        if not (matches.is_keyframe or starts or moved):
            return tracked
        frame = self._map.add_frame(matches, observation, tracked, fits)
        if starts:
            for place in range(len(self._map.frames)):
                self._map.locate_frame(place)
        self._pending_frames += 1
        young = sum(frame.located for frame in self._map.frames) <= _YOUNG_FRAMES
        due = young or self._pending_frames >= _MAX_PENDING_FRAMES
        if matches.is_keyframe or starts or due:
            self._map.optimize()
            self._pending_frames = 0
        return replace(tracked, pose=frame.pose, covariance=frame.covariance)

    def _settle(self, tracked: TrackedPose) -> tuple[TrackedPose, tuple[tuple[int, Pose], ...]]:
        """After a start: the world's origin, if it is the first, and poses of waiting frames."""
        if not self._started:
            first = next(frame for frame in self._map.frames if frame.located)
            self._map.transform(self._origin @ first.pose.inverse())
            tracked = replace(tracked, pose=self._map.frames[-1].pose)
        located = [frame for frame in self._map.frames if frame.located]
        times = Counter(frame.stamp_ns for frame in located)  # Frames may share a stamp.
        poses = {f.stamp_ns: f.pose for f in located if times[f.stamp_ns] == 1}
        backfill = []
        for waiting in self._waiting:
            pose = poses.get(waiting.stamp_ns)
            if pose is None:
                found = self._map.locate(waiting)
                pose = found.pose if found.ok else None
            if pose is not None:
                backfill.append((waiting.stamp_ns, pose))
        return tracked, tuple(backfill)

    def _remember(self, observation: Observation, tracked: TrackedPose, starts: bool) -> None:
        if not tracked.ok:
            self._waiting.append(observation)
            del self._waiting[: -self.config.max_backfill_frames or None]
            return
        if starts:
            self._motion.place(*self._before(observation.stamp_ns))
        self._motion.update(observation.stamp_ns, tracked)
        self._waiting.clear()
        self._covariance = tracked.covariance
        self._started = True

    def _before(self, stamp_ns: int) -> tuple[int, Pose]:
        """Stamp and pose of the newest located frame before a time, else of the motion model."""
        earlier = [f for f in self._map.frames if f.located and f.stamp_ns < stamp_ns]
        if not earlier:
            return stamp_ns, self._motion.pose
        newest = max(earlier, key=lambda frame: frame.stamp_ns)
        return newest.stamp_ns, newest.pose

    def _estimate(
        self,
        matches: FrameMatches,
        observation: Observation,
        tracked: TrackedPose,
        twist: Twist,
        backfill: tuple[tuple[int, Pose], ...],
    ) -> OdometryEstimate:
        positions = self._map.tracks.positions[observation.tracks]
        if tracked.ok:
            state = TrackingState.TRACKING
        else:
            state = TrackingState.LOST if self._started else TrackingState.INITIALISING
        return OdometryEstimate(
            matches.stamp_ns,
            state,
            tracked.pose,
            tracked.covariance,
            twist.values,
            twist.covariance,
            self._reset_count,
            self.use_depth,
            len(matches),
            int(tracked.inliers.sum()),
            matches.keyframe_id,
            positions[np.isfinite(positions).all(axis=1)] if tracked.ok else np.zeros((0, 3)),
            tracked.reason,
            backfill,
        )

    def _trim(self, keyframe_id: int) -> None:
        while len(self._map.frames) > self.config.window_frames:
            new_numbers = self._map.drop_surplus_frame(keyframe_id)
            self._waiting = [waiting.renumbered(new_numbers) for waiting in self._waiting]
