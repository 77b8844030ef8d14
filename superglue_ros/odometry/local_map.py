"""The local map: the frames of a window, the tracks that they see, and the landmarks."""

from __future__ import annotations

import numpy as np

from superglue_ros.geometry.triangulation import triangulate
from superglue_ros.odometry.config import OdometryConfig
from superglue_ros.odometry.correspondences import Correspondences
from superglue_ros.odometry.depths import InverseDepths
from superglue_ros.odometry.frames import Observation, Tolerances, WindowFrame
from superglue_ros.odometry.landmarks import (
    landmark_priors,
    landmarks_from_depths,
    required_parallax,
)
from superglue_ros.odometry.tracking import TrackedPose, locate_on_landmarks
from superglue_ros.odometry.tracks import Tracks, renumber
from superglue_ros.odometry.window import WindowSolution, adjust_window
from superglue_ros.odometry.window_policy import moved_apart, surplus_frame
from superglue_ros.types import (
    UNMATCHED,
    BoolArray,
    CameraModel,
    FloatArray,
    FrameMatches,
    IntArray,
    Pose,
)


class LocalMap:
    """Recent frames and what they see. A frame is spoken of by its place in `frames`, which
    changes when one is dropped; a frame that is not located is there for its tracks alone.

    A track is begun by a keyframe's feature that is matched, and carried from keyframe to keyframe
    by the indices of the matches. `use_camera` comes before anything that compares points.
    """

    def __init__(self, config: OdometryConfig) -> None:
        self.config = config
        self.frames: list[WindowFrame] = []
        self.tracks = Tracks()
        self.tolerances: Tolerances

    def use_camera(self, camera: CameraModel) -> None:
        """Points that come from now on are of this camera."""
        self.tolerances = Tolerances.of_camera(self.config, camera)

    def clear(self) -> None:
        """Forget every frame and track."""
        self.frames, self.tracks = [], Tracks()

    def find_keyframe(self, keyframe_id: int, stamp_ns: int) -> int | None:
        """Place of a keyframe, which must have both the id and the stamp."""
        for place, frame in enumerate(self.frames):
            if frame.keyframe_id == keyframe_id and frame.stamp_ns == stamp_ns:
                return place
        return None

    @property
    def newest_located(self) -> WindowFrame | None:
        """The newest frame whose pose was measured."""
        return next((frame for frame in reversed(self.frames) if frame.located), None)

    def add_keyframe(self, keyframe: WindowFrame) -> int:
        """Add a keyframe of which nothing is known but its features; returns its place."""
        self.tracks.add_frame(np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(0))
        self.frames.append(keyframe)
        return len(self.frames) - 1

    def add_frame(
        self,
        matches: FrameMatches,
        observation: Observation,
        tracked: TrackedPose,
        fits: BoolArray | None = None,
    ) -> WindowFrame:
        """Add a frame; its observations that fit (all by default) carry their tracks on."""
        chosen = observation if fits is None else observation.only(fits)
        track_of_feature = np.zeros(0, np.int64)
        if matches.is_keyframe:
            size = max(matches.num_features, int(observation.features.max(initial=-1)) + 1)
            track_of_feature = np.full(size, UNMATCHED, np.int64)
            track_of_feature[chosen.features] = chosen.tracks
        frame = WindowFrame(
            matches.stamp_ns,
            matches.keyframe_id + 1 if matches.is_keyframe else UNMATCHED,
            tracked.pose,
            tracked.covariance,
            tracked.ok,
            track_of_feature,
        )
        self.tracks.add_frame(chosen.tracks, chosen.points, chosen.noise)
        self.frames.append(frame)
        return frame

    def observe(
        self,
        keyframe: int,
        stamp_ns: int,
        found: Correspondences,
        depths: InverseDepths,
    ) -> Observation:
        """What a frame sees of the tracks of the keyframe at a place, by its M matches; their
        depths in a located keyframe make them landmarks."""
        tracks = self._tracks_of(keyframe, found.keyframe_features, found.keyframe_points)
        self.tracks.measure(keyframe, tracks, depths)
        if self.frames[keyframe].located:
            self.place_measured_depths(keyframe)
        noise = self.tolerances.noise * found.noise_ratios
        return Observation(stamp_ns, tracks, found.points, noise, found.features)

    def _tracks_of(self, keyframe: int, features: IntArray, points: FloatArray) -> IntArray:
        """Tracks (M,) of a keyframe's features, seen by it at points (M, 2); new ones begun."""
        frame = self.frames[keyframe]
        missing = int(features.max(initial=-1)) + 1 - len(frame.track_of_feature)
        if missing > 0:
            frame.track_of_feature = np.concatenate(
                [frame.track_of_feature, np.full(missing, UNMATCHED)]
            )
        tracks: IntArray = frame.track_of_feature[features]
        fresh = tracks == UNMATCHED
        tracks[fresh] = self.tracks.begin(keyframe, points[fresh], self.tolerances.keyframe_noise)
        frame.track_of_feature[features[fresh]] = tracks[fresh]
        return tracks

    def place_measured_depths(self, place: int) -> None:
        """Make landmarks of the tracks without position whose depth the located frame has."""
        new = np.flatnonzero(self.tracks.measured_in(place) & ~self.tracks.are_landmarks)
        points = self.tracks.measured_points(place, new)
        landmarks = landmarks_from_depths(
            points,
            self.tracks.depth_noise[new, place],
            self.frames[place],
            self.tolerances.noise,
        )
        self.tracks.set_landmarks(new, *landmarks)

    def restart_from(self, place: int, guess: FloatArray) -> None:
        """Forget all landmarks and measured poses but that of the frame at `place`, which new
        landmarks are then placed from; guess: covariance (6, 6) where its pose is predicted."""
        self.tracks.unset_all_landmarks()
        first = self.frames[place]
        if not first.located:
            first.covariance = guess
        for frame in self.frames:
            frame.located = frame is first

    def locate(self, observation: Observation, prior: Pose | None = None) -> TrackedPose:
        """Pose of a frame on the landmarks that it sees, near a predicted one if that fits."""
        return locate_on_landmarks(
            self.tracks.positions[observation.tracks],
            self.tracks.covariances[observation.tracks],
            observation.points,
            observation.noise,
            self.tracks.are_settled[observation.tracks],
            self.tolerances,
            self.config.min_inliers,
            prior,
        )

    def locate_frame(self, place: int) -> None:
        """Measure the pose of a frame that is not located, if the landmarks that it sees allow
        it; its covariance is that given the landmarks."""
        frame = self.frames[place]
        if frame.located:
            return
        tracks = np.flatnonzero(self.tracks.seen_in(place))
        points, noise = (
            self.tracks.observations[tracks, place, :2],
            self.tracks.noise[tracks, place],
        )
        tracked = self.locate(Observation(frame.stamp_ns, tracks, points, noise, tracks))
        if tracked.ok:
            frame.pose, frame.covariance, frame.located = tracked.pose, tracked.covariance, True

    def judge_landmarks(self, observation: Observation, agree: BoolArray) -> None:
        """Take in which of a frame's observations (M,) agree with their landmarks."""
        passing = [not frame.is_keyframe for frame in self.frames]
        self.tracks.judge(observation.tracks, agree, np.flatnonzero(passing))

    def set_moving(self, observation: Observation, moving: BoolArray) -> None:
        """Take the landmarks of those of a frame's observations (M,) for what moves."""
        self.tracks.set_moving(observation.tracks[moving])

    def doubt_everything(self) -> None:
        """What seemed to move may stand, and the poses of all frames may be wrong."""
        self.tracks.moving[:] = False
        for frame in self.frames:
            frame.located = False

    def add_landmarks(self, observation: Observation, pose: Pose) -> BoolArray:
        """Give positions to a frame's tracks that have none and are seen at enough parallax.

        Returns (M,) bool: observations of this frame that contradict those of the other frames.
        """
        contradicts = np.zeros(len(observation), bool)
        tracks = self.tracks
        is_open = ~(tracks.are_landmarks | tracks.moving)[observation.tracks]
        open_places = np.flatnonzero(is_open)
        if not len(open_places):
            return contradicts
        chosen = observation.only(open_places)
        located = [place for place, frame in enumerate(self.frames) if frame.located]
        seen = tracks.observations[chosen.tracks][:, located, :2]
        poses = [self.frames[place].pose for place in located] + [pose]
        found = triangulate(
            np.concatenate([seen, chosen.points[:, None]], axis=1),
            np.stack([each.rotation for each in poses]),
            np.stack([each.position for each in poses]),
        )
        fits = found.good(0.0, self.tolerances.threshold)
        known = int(tracks.are_landmarks[observation.tracks].sum())
        least = required_parallax(found.parallax_rad[fits], known, self.tolerances)
        good = fits & (found.parallax_rad >= least)
        covariances = found.covariances[good] * chosen.noise[good, None, None] ** 2
        tracks.set_landmarks(chosen.tracks[good], found.points[good], covariances)
        with np.errstate(invalid="ignore"):
            agrees = found.residuals <= self.tolerances.threshold
        distant = found.parallax_rad < self.tolerances.min_parallax_rad
        contradicts[open_places] = ~(agrees & (found.in_front | distant))
        return contradicts

    def shows_parallax(self, observation: Observation, tracked: TrackedPose) -> bool:
        """Whether a tracked frame sees its landmarks at parallax to the newest located frame; so
        it does where none is located any more."""
        newest = self.newest_located
        landmarks = self.tracks.positions[observation.tracks[tracked.inliers]]
        return newest is None or moved_apart(
            tracked.pose.position,
            newest.pose.position,
            landmarks,
            self.tolerances.min_parallax_rad,
        )

    def optimize(self) -> WindowSolution | None:
        """Adjust the located frames and the landmarks that two of them see; None if too few.

        The oldest located frame is held, and the mean distance to it unless depths are measured:
        place and scale. Landmarks that no two frames see at parallax and none measures the depth
        of enter with what was known of them. Observations outside the 99 % gate are dropped, and
        landmarks left with fewer than two lose their position.
        """
        tracks = self.tracks
        places = np.flatnonzero([frame.located for frame in self.frames])
        if len(places) < 2 or self.config.window_iterations == 0:
            return None
        seen = np.isfinite(tracks.observations[:, places, 0])
        chosen = np.flatnonzero(tracks.are_landmarks & (seen.sum(axis=1) >= 2))
        if len(chosen) < 8:
            return None
        frames = [self.frames[place] for place in places]
        block = tracks.observations[np.ix_(chosen, places)]
        positions, covariances = tracks.positions[chosen], tracks.covariances[chosen]
        priors, weak = landmark_priors(
            frames, positions, covariances, block, self.tolerances.min_parallax_rad
        )
        solution = adjust_window(
            tuple(frame.pose for frame in frames),
            positions,
            block,
            np.arange(len(places)) == 0,
            tracks.noise[np.ix_(chosen, places)],
            self.config.window_iterations,
            priors,
            tracks.depth_noise[np.ix_(chosen, places)],
        )
        anchor, *others = frames
        for frame, pose, own in zip(others, solution.poses[1:], solution.pose_covariances[1:]):
            frame.pose = pose
            frame.covariance = anchor.carried_covariance(pose.position) + own
        covariances[~weak] = solution.landmark_covariances[~weak]
        tracks.set_landmarks(chosen, solution.landmarks, covariances)
        block[seen[chosen] & ~solution.inliers] = np.nan
        tracks.observations[np.ix_(chosen, places)] = block
        tracks.unset_landmarks(chosen[solution.inliers.sum(axis=1) < 2])
        return solution

    def drop_surplus_frame(self, keyframe_id: int) -> IntArray:
        """Drop the frame that is missed least, though not the keyframe that is being matched
        against; returns the new number of each track (see Tracks.drop_frame)."""
        least = self.tolerances.min_parallax_rad
        place = surplus_frame(self.frames, self.tracks, keyframe_id, least)
        del self.frames[place]
        new_numbers = self.tracks.drop_frame(place)
        for frame in self.frames:
            frame.track_of_feature = renumber(frame.track_of_feature, new_numbers)
        return new_numbers

    def transform(self, motion: Pose) -> None:
        """Move all frames and landmarks rigidly."""
        self.tracks.transform(motion)
        turn = np.kron(np.eye(2), motion.rotation)
        for frame in self.frames:
            frame.pose = motion @ frame.pose
            frame.covariance = turn @ frame.covariance @ turn.T
