"""Frames against keyframes: what the matcher node and the offline replay both run."""

from __future__ import annotations

import time

import numpy as np

from superglue_ros.matching.image_matcher import ImageMatcher
from superglue_ros.matching.keyframe_policy import KeyframePolicy
from superglue_ros.matching.results import ExtractedFeatures, FeatureMatches
from superglue_ros.matching.stereo import check_rectified, find_right_points
from superglue_ros.one_camera import OneCamera
from superglue_ros.stamps import StampOrder
from superglue_ros.types import Features, FloatArray, Frame, FrameMatches, ImageArray

_FEWEST_KEYPOINTS = 8
"""Of a keyframe; to fewer hardly anything can be matched."""

_DARK_S = 3.0
"""A view that has only darkened, and still has some keypoints, will match its keyframe again; one
that has not for so long is another, barer one."""

_NOTHING = FeatureMatches(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))


class KeyframeMatcher:
    """Matches each frame against the current keyframe and chooses the next one.

    A frame of another size than the keyframe's starts anew, and so does one after the clock
    jumped back (see `StampOrder`), and of another camera where the one before is gone (see
    `OneCamera`): it is matched to nothing and becomes a keyframe. Of a stereo rig,
    `search_right_image` is to be called with the right image of each new keyframe.
    """

    def __init__(self, matcher: ImageMatcher, policy: KeyframePolicy | None = None) -> None:
        self.matcher = matcher
        self.policy = policy or KeyframePolicy()
        self._keyframe_id = 0
        self._order, self._camera = StampOrder(), OneCamera()
        self._restart_reason = ""
        self._bare_since_ns: int | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the keyframe; identifiers keep growing."""
        self._keyframe: tuple[Frame, ExtractedFeatures] | None = None
        self._last: tuple[Frame, ExtractedFeatures] | None = None
        self._right_points: FloatArray | None = None
        self._quarter_turns = 0

    @property
    def last_features(self) -> Features | None:
        """Features of the frame processed last."""
        return self._last[1].features if self._last else None

    @property
    def last_extracted(self) -> ExtractedFeatures | None:
        """The same on the device, as pairs of other images are matched."""
        return self._last[1] if self._last else None

    @property
    def keyframe_image(self) -> ImageArray | None:
        """Image of the keyframe that the next frame will be matched against."""
        return self._keyframe[0].image if self._keyframe else None

    def process(self, frame: Frame) -> FrameMatches:
        """Matches of a frame against the keyframe.

        Raises LateFrame for one that comes after a later one, and ImageError for an image that
        cannot be matched or is of another camera; the keyframe is then as before.
        """
        # Judged first, as the networks take long.
        self._start_anew(self._camera.follow(frame.frame_id, frame.stamp_ns))
        self._start_anew(self._order.follow(frame.stamp_ns))
        started = time.perf_counter()
        extracted = self.matcher.extract(frame.image, self._quarter_turns)
        between = time.perf_counter()
        self._start_anew(self._size_change(extracted))
        found = _NOTHING
        if self._keyframe is not None:
            extracted, found = self._match(self._keyframe[1], extracted, frame.image)
        key_frame, key_extracted = self._keyframe or (frame, extracted)
        points0 = key_extracted.points[found.indices0]
        points1 = self.matcher.refine(
            key_frame.image,
            frame.image,
            points0,
            extracted.points[found.indices1],
            extracted.quarter_turns - key_extracted.quarter_turns,
        )
        finished = time.perf_counter()
        right = self._right_points
        is_keyframe = self._becomes_keyframe(frame, extracted, points0, points1)
        result = FrameMatches(
            stamp_ns=frame.stamp_ns,
            keyframe_stamp_ns=key_frame.stamp_ns,
            frame_id=frame.frame_id,
            keyframe_id=self._keyframe_id,
            is_keyframe=is_keyframe,
            image_size=extracted.image_size,
            keyframe_image_size=key_extracted.image_size,
            keyframe_points=points0,
            points=points1,
            keyframe_indices=found.indices0,
            indices=found.indices1,
            confidences=found.confidences,
            num_features=len(extracted),
            num_keyframe_features=len(key_extracted),
            extract_ms=(between - started) * 1e3,
            match_ms=(finished - between) * 1e3,
            model=self.matcher.model,
            weights_hash=self.matcher.weights_hash,
            restart_reason=self._restart_reason,
            keyframe_right_points=None if right is None else right[found.indices0],
        )
        self._restart_reason = ""
        if is_keyframe:
            self._keyframe_id += 1
            self._keyframe = (frame, extracted)
            self._right_points = None
        self._last = (frame, extracted)
        return result

    def search_right_image(self, right: ImageArray) -> None:
        """Find the newest keyframe's features in its rectified right image, for the matches of the
        frames to come. It is apart from `process`, so that the keyframe's own need not wait.

        Raises ImageError for an image of another size, or where the two are hardly rectified;
        the keyframe then has no right points.
        """
        if self._keyframe is not None:
            frame, extracted = self._keyframe
            found = find_right_points(frame.image, right, extracted.points)
            check_rectified(extracted.points, found)
            self._right_points = found

    def _match(
        self, keyframe: ExtractedFeatures, extracted: ExtractedFeatures, image: ImageArray
    ) -> tuple[ExtractedFeatures, FeatureMatches]:
        """A frame's features and matches, in another turn where the policy says so; frames to
        come begin with that turn, so that their features are like the keyframe's."""
        matches = self.matcher.match_features(keyframe, extracted)
        if self.policy.rotation_retry:
            least = self.policy.min_matches
            extracted, matches = self.matcher.retry_turned(
                keyframe, image, extracted, matches, least
            )
            self._quarter_turns = extracted.quarter_turns
        return extracted, matches

    def _start_anew(self, reason: str) -> None:
        """Forget the keyframe where there is a reason, for the next result to say."""
        if reason:
            self.reset()
            self._restart_reason = reason

    def _size_change(self, extracted: ExtractedFeatures) -> str:
        size, before = extracted.image_size, self._keyframe and self._keyframe[1].image_size
        if before is None or size == before:
            return ""
        return "images of {} x {}, before {} x {}".format(*size, *before)

    def _becomes_keyframe(
        self, frame: Frame, extracted: ExtractedFeatures, points0: FloatArray, points1: FloatArray
    ) -> bool:
        policy = self.policy
        self._bare_since_ns = bare_since_ns = self._bare_since(frame, extracted, len(points0))
        if len(extracted) < _FEWEST_KEYPOINTS:
            return False
        if self._keyframe is None:
            return True
        age_s = (frame.stamp_ns - self._keyframe[0].stamp_ns) * 1e-9
        if 0 < policy.max_age_s < age_s:
            return True
        if len(extracted) < policy.min_matches <= len(self._keyframe[1]):
            # The view may only have darkened, and will match again.
            return bare_since_ns is not None and frame.stamp_ns - bare_since_ns > _DARK_S * 1e9
        if len(points0) < max(policy.min_matches, 1):
            return True
        possible = min(len(extracted), len(self._keyframe[1]))
        if len(points0) / possible < policy.min_ratio:
            return True
        displacement = float(np.median(np.linalg.norm(points1 - points0, axis=1)))
        return displacement > policy.max_displacement * extracted.image_size[0]

    def _bare_since(
        self, frame: Frame, extracted: ExtractedFeatures, num_matches: int
    ) -> int | None:
        """Stamp from which on every frame up to this one has had few keypoints, hardly any of
        them matched to the keyframe's many; None where this one has not."""
        richer = self._keyframe is not None and len(self._keyframe[1]) >= self.policy.min_matches
        few = _FEWEST_KEYPOINTS <= len(extracted) < self.policy.min_matches
        if not (richer and few) or num_matches / len(extracted) >= self.policy.min_ratio:
            return None
        return frame.stamp_ns if self._bare_since_ns is None else self._bare_since_ns
