"""The few match pictures of a sequence that are worth looking at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from superglue_ros.geometry.epipolar import agree_with_motion
from superglue_ros.matching import draw_matches
from superglue_ros.types import BoolArray, CameraModel, FrameMatches, ImageArray, Pose

AGREEMENT_PX = 2.0
"""Largest distance from an epipolar line of a match that agrees with the poses."""

MIN_MATCHES = 20
"""A pair with fewer matches shows little and is not chosen for its distance."""


@dataclass(frozen=True)
class MatchPicture:
    """A keyframe and a frame side by side with their matches, and why the pair was chosen."""

    title: str
    image: ImageArray
    keyframe_stamp_ns: int
    stamp_ns: int
    num_matches: int


@dataclass(frozen=True)
class _Pair:
    number: int
    keyframe_image: ImageArray
    image: ImageArray
    matches: FrameMatches


class Gallery:
    """Holds, while a sequence goes by, the images of the pairs that may become pictures.

    Chosen are the widest displacement, the fewest matches, the fewest inliers, and a pair
    half way; memory is bounded by these. expected_frames: length of the sequence, 0 if unknown.
    """

    def __init__(self, expected_frames: int = 0) -> None:
        self._middle = expected_frames // 2
        self._seen = 0
        self._keyframe_image: ImageArray | None = None
        self._chosen: dict[str, tuple[float, _Pair]] = {}

    def offer(
        self, image: ImageArray, matches: FrameMatches, num_inliers: int | None = None
    ) -> None:
        """Show the gallery the next frame of the sequence.

        num_inliers: of the odometry, None where it does not judge, as without one or before it
        has started.
        """
        if self._keyframe_image is not None and len(matches):
            pair = _Pair(self._seen, self._keyframe_image, image, matches)
            offsets = np.linalg.norm(matches.points - matches.keyframe_points, axis=1)
            displacement = float(np.median(offsets)) / matches.image_size[0]
            if len(matches) >= MIN_MATCHES:
                self._consider("widest displacement", displacement, pair)
                if num_inliers is not None:
                    self._consider("fewest inliers", -num_inliers, pair)
            self._consider("fewest matches", -len(matches), pair)
            self._consider("half way", -abs(self._seen - self._middle), pair)
        if matches.is_keyframe:
            self._keyframe_image = image
        self._seen += 1

    def pictures(
        self, poses: Mapping[int, Pose] | None = None, camera: CameraModel | None = None
    ) -> tuple[MatchPicture, ...]:
        """The chosen pairs, drawn; a pair chosen for two reasons is one picture.

        With the poses of the frames by their stamps, and the camera, matches that agree with them
        are told from others; raises CameraError for an unusable camera.
        """
        reasons: dict[int, list[str]] = {}
        pairs: dict[int, _Pair] = {}
        for reason, (_, pair) in self._chosen.items():
            reasons.setdefault(pair.number, []).append(reason)
            pairs[pair.number] = pair
        return tuple(
            _draw(pair, ", ".join(reasons[number]), _inliers(pair.matches, poses or {}, camera))
            for number, pair in pairs.items()
        )

    def _consider(self, reason: str, merit: float, pair: _Pair) -> None:
        if reason not in self._chosen or merit > self._chosen[reason][0]:
            self._chosen[reason] = (merit, pair)


def _inliers(
    matches: FrameMatches, poses: Mapping[int, Pose], camera: CameraModel | None
) -> BoolArray | None:
    """Matches that agree with both poses, None where one is not known."""
    pose0, pose1 = poses.get(matches.keyframe_stamp_ns), poses.get(matches.stamp_ns)
    if camera is None or pose0 is None or pose1 is None:
        return None
    T_0to1 = pose1.inverse() @ pose0
    points = matches.keyframe_points, matches.points
    return agree_with_motion(*points, (camera, camera), T_0to1, AGREEMENT_PX)


def _draw(pair: _Pair, title: str, inliers: BoolArray | None) -> MatchPicture:
    matches = pair.matches
    picture = draw_matches(
        pair.keyframe_image,
        pair.image,
        matches.keyframe_points,
        matches.points,
        matches.confidences,
        inliers=inliers,
    )
    stamps = matches.keyframe_stamp_ns, matches.stamp_ns
    return MatchPicture(title, picture, *stamps, len(matches))
