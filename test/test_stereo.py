"""Points of a keyframe in its right image: found exactly, once a keyframe, or not at all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from superglue_ros.errors import ImageError
from superglue_ros.matching import ImageMatcher, KeyframeMatcher, KeyframePolicy
from superglue_ros.matching.stereo import find_right_points
from superglue_ros.types import FloatArray, Frame, FrameMatches, ImageArray
from superglue_ros.world import render_flight

BASELINE_M = 0.12


def blobs(width: int = 320, height: int = 240) -> ImageArray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
    return cv2.normalize(
        cv2.GaussianBlur(noise, (0, 0), 2.0), None, 30, 220, cv2.NORM_MINMAX
    ).astype(np.uint8)


def moved(image: ImageArray, left_px: float, down_px: float = 0.0) -> ImageArray:
    """What a right camera sees of a wall."""
    matrix = np.array([[1, 0, -left_px], [0, 1, down_px]])
    size = image.shape[1::-1]
    return cv2.warpAffine(
        image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def grid(left: int = 60, right: int = 300, top: int = 20, bottom: int = 220) -> FloatArray:
    x, y = np.meshgrid(np.arange(left, right, 9.3), np.arange(top, bottom, 9.7))
    return np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)


@pytest.mark.parametrize("disparity", [0.6, 7.37, 21.5, 40.25])
def test_a_wall_is_found_to_hundredths_of_a_pixel(disparity: float) -> None:
    image, points = blobs(), grid()
    found = find_right_points(image, moved(image, disparity), points)
    assert (found.shape, found.dtype) == (points.shape, np.float32)
    known = np.isfinite(found[:, 0])
    assert known.mean() > 0.95
    errors = found[known] - points[known] + [disparity, 0]
    assert np.abs(errors).max() < 0.2
    assert np.abs(errors).mean() < 0.04


def test_brightness_contrast_and_rows_may_differ() -> None:
    image, points = blobs(), grid()
    right = np.clip(moved(image, 12.3, 1.2) * 0.7 + 20, 0, 255).astype(np.uint8)
    found = find_right_points(image, right, points)
    known = np.isfinite(found[:, 0])
    assert known.mean() > 0.9
    assert np.abs(found[known] - points[known] - [-12.3, 1.2]).mean() < 0.06


def test_colour_is_seen_as_gray() -> None:
    image = blobs()
    pair = image, moved(image, 9.0)
    colour = [cv2.cvtColor(one, cv2.COLOR_GRAY2BGR) for one in pair]
    np.testing.assert_array_equal(
        find_right_points(*colour, grid()), find_right_points(*pair, grid())
    )


def test_a_large_image_is_found_as_exactly() -> None:
    image = blobs(1280, 400)
    points = grid(200, 1260, 20, 380)
    found = find_right_points(image, moved(image, 71.4), points)
    known = np.isfinite(found[:, 0])
    assert known.mean() > 0.9
    assert np.abs(found[known] - points[known] + [71.4, 0]).mean() < 0.04


def test_nothing_is_made_up() -> None:
    image, points = blobs(), grid()
    flat = np.full_like(image, 90)
    other = np.ascontiguousarray(image[::-1])
    assert np.isnan(find_right_points(flat, flat, points)).all()
    assert np.isnan(find_right_points(image, other, points)).mean() > 0.95
    # Swapped cameras: everything lies to the right.
    assert np.isnan(find_right_points(moved(image, 12), image, points)).mean() > 0.95
    # What the right camera does not see.
    gone = find_right_points(image, moved(image, 40.0), grid(5, 30))
    assert np.isnan(gone).all()
    assert find_right_points(image, image, np.zeros((0, 2))).shape == (0, 2)


def test_two_sizes_are_no_pair() -> None:
    image = blobs()
    with pytest.raises(ImageError, match="left image of a pair has 320 x 240 pixels, the right"):
        find_right_points(image, image[:100], grid())


@pytest.fixture(scope="module")
def matcher() -> ImageMatcher:
    return ImageMatcher(max_keypoints=400, device="cpu", precision="float32")


def test_a_rendered_rig_is_found_where_it_is(matcher: ImageMatcher) -> None:
    errors, share = [], []
    for flown in render_flight(3, 640, 480, rate_hz=0.3, gray=True, baseline_m=BASELINE_M):
        frame = flown.frame
        assert frame.right is not None
        assert frame.camera is not None
        assert (frame.right.shape, frame.baseline_m) == (frame.image.shape, BASELINE_M)
        points = matcher.extract(frame.image).points
        found = find_right_points(frame.image, frame.right, points)
        near = cv2.remap(1 / flown.depth, points[:, :1], points[:, 1:], cv2.INTER_LINEAR)[:, 0]
        wanted = near * frame.camera.matrix[0, 0] * BASELINE_M
        known = np.isfinite(found[:, 0])
        errors.append(np.abs(points[:, 0] - found[:, 0] - wanted)[known])
        share.append(known.mean())
    error = np.concatenate(errors)
    assert np.mean(share) > 0.85
    assert np.median(error) < 0.07
    assert np.mean(error > 1) < 0.1  # most of them at edges, where the truth is not clear


def pair(pixels: int, time_s: float, disparity: float | None = 10.0) -> Frame:
    image = np.roll(blobs(), pixels, axis=1)
    right = None if disparity is None else moved(image, disparity)
    return Frame(image, int(time_s * 1e9), right=right, baseline_m=BASELINE_M)


class TestKeyframeMatcher:
    @pytest.fixture
    def keyframes(self, matcher: ImageMatcher) -> KeyframeMatcher:
        return KeyframeMatcher(matcher, KeyframePolicy(min_matches=20))

    def process(self, keyframes: KeyframeMatcher, frame: Frame) -> FrameMatches:
        matches = keyframes.process(frame)
        if matches.is_keyframe and frame.right is not None:
            keyframes.search_right_image(frame.right)
        return matches

    def test_every_frame_brings_the_right_points_of_its_keyframe(
        self, keyframes: KeyframeMatcher
    ) -> None:
        first = self.process(keyframes, pair(0, 1.0))
        assert first.is_keyframe
        assert first.keyframe_right_points is None
        for step in range(1, 4):
            matches = self.process(keyframes, pair(step, 1 + 0.1 * step))
            assert matches.keyframe_id == 1
            assert len(matches) > 50
            right = matches.keyframe_right_points
            assert right is not None
            assert right.shape == matches.keyframe_points.shape
            known = np.isfinite(right[:, 0])
            assert known.mean() > 0.7
            apart = (right - matches.keyframe_points)[known]
            np.testing.assert_allclose(np.median(apart, axis=0), (-10, 0), atol=0.05)
        # The next keyframe's own matches are those of the one before it.
        far = self.process(keyframes, pair(60, 2.0, disparity=4.0))
        assert (far.is_keyframe, far.keyframe_id) == (True, 1)
        after = self.process(keyframes, pair(61, 2.1))
        assert after.keyframe_id == 2
        assert after.keyframe_right_points is not None
        apart = (after.keyframe_right_points - after.keyframe_points)[:, 0]
        assert np.nanmedian(apart) == pytest.approx(-4, abs=0.05)

    def test_without_a_right_image_there_are_none(self, keyframes: KeyframeMatcher) -> None:
        keyframes.search_right_image(blobs())  # there is no keyframe to search it for
        self.process(keyframes, pair(0, 1.0))
        self.process(keyframes, pair(60, 1.1, disparity=None))
        after = self.process(keyframes, pair(61, 1.2))
        assert after.keyframe_id == 2
        assert after.keyframe_right_points is None

    @pytest.mark.parametrize(
        ("right", "words"),
        [
            (blobs(160, 120), "pixels, the right 160 x 120"),
            (moved(blobs(), 10, 2.3), r"off by 2\.3 pixels: the pair is not rectified"),
            (blobs()[::-1].copy(), "keypoints are found in the right image: the pair is hardly"),
        ],
    )
    def test_an_image_that_is_no_partner_is_refused(
        self, keyframes: KeyframeMatcher, right: ImageArray, words: str
    ) -> None:
        keyframes.process(pair(0, 1.0))
        with pytest.raises(ImageError, match=words):
            keyframes.search_right_image(right)
        assert keyframes.process(pair(1, 1.1)).keyframe_right_points is None
