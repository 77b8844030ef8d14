"""Matches moved to where the two images look alike: to hundredths of a pixel, or not at all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from superglue_ros.evaluation.methods import SuperPointDetector
from superglue_ros.geometry import project_points
from superglue_ros.geometry.depth import depth_of_points
from superglue_ros.matching import ImageMatcher, KeyframeMatcher, KeyframePolicy
from superglue_ros.matching.alignment import REACH_PX, refine_points
from superglue_ros.types import UNMATCHED, FloatArray, ImageArray
from superglue_ros.world import FlightFrame, render_flight

OPTIONS = {"max_keypoints": 300, "device": "cpu", "precision": "float32", "refine": True}
SHIFT = np.array([3.375, -1.8125])
"""Of whole 32nds of a pixel, which OpenCV's warps are exact to."""


def blobs() -> ImageArray:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.asarray(cv2.normalize(smooth, None, 30, 220, cv2.NORM_MINMAX), np.uint8)


def moved(image: ImageArray, offset: FloatArray) -> ImageArray:
    matrix = np.array([[1, 0, offset[0]], [0, 1, offset[1]]])
    size = image.shape[1::-1]
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC), np.uint8)


def grid() -> FloatArray:
    x, y = np.meshgrid(np.arange(20, 300, 9.3), np.arange(20, 220, 9.7))
    return np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)


def roughly(points: FloatArray) -> FloatArray:
    """Where a detector might have seen them: off by half a pixel."""
    errors = np.random.default_rng(1).normal(0, 0.5, points.shape)
    return (points + SHIFT + errors.clip(-1.5, 1.5)).astype(np.float32)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0), (0.6, 0), (1.1, 15)])
def test_a_shift_is_found_to_hundredths_of_a_pixel_in_any_light(gain: float, offset: int) -> None:
    image, points = blobs(), grid()
    other = np.clip(moved(image, SHIFT) * gain + offset, 0, 255).astype(np.uint8)
    found = refine_points(image, other, points, roughly(points))
    assert (found.shape, found.dtype) == (points.shape, np.float32)
    errors = np.linalg.norm(found - points - SHIFT, axis=1)
    assert np.median(errors) < 0.06
    assert np.mean(errors < 0.2) > 0.95


def test_what_does_not_look_alike_stays() -> None:
    image, points = blobs(), grid()
    start = roughly(points)
    other = np.ascontiguousarray(image[::-1, ::-1])
    for second in (np.full_like(image, 90), other):
        np.testing.assert_array_equal(refine_points(image, second, points, start), start)
    far = (points + SHIFT + [5, 0]).astype(np.float32)
    same = moved(image, SHIFT)
    np.testing.assert_array_equal(refine_points(image, same, points, far), far)
    some = np.where(np.arange(len(points))[:, None] % 4 == 0, far, start)
    found = refine_points(image, same, points, some)
    errors = np.linalg.norm(found - points - SHIFT, axis=1)
    assert np.median(errors[1::4]) < 0.06
    np.testing.assert_allclose(np.median(errors[::4]), 5, atol=0.01)
    assert np.abs(found - some).max() <= REACH_PX


def test_points_at_and_beyond_the_edge_and_none_at_all() -> None:
    image = blobs()
    points = np.array([[0, 0], [319, 239], [-0.5, 120], [319.5, 3]], np.float32)
    found = refine_points(image, image, points, points)
    np.testing.assert_allclose(found, points, atol=0.05)
    nothing = np.zeros((0, 2), np.float32)
    assert refine_points(image, image, nothing, nothing).shape == (0, 2)


@pytest.fixture(scope="module")
def flight() -> list[FlightFrame]:
    return list(render_flight(3, 320, 240, rate_hz=5.0, gray=True))


@pytest.fixture(scope="module")
def matcher() -> ImageMatcher:
    return ImageMatcher(**OPTIONS)


def true_errors(
    first: FlightFrame, second: FlightFrame, points0: FloatArray, points1: FloatArray
) -> FloatArray:
    """Pixels of each match from where its point is, NaN where the depth is not known."""
    camera = first.frame.camera
    assert camera is not None
    depths = depth_of_points(first.depth, points0)
    rays = np.linalg.inv(camera.matrix) @ np.column_stack([points0, np.ones(len(points0))]).T
    motion = second.pose.inverse() @ first.pose
    moved = (rays * depths).T @ motion.rotation.T + motion.position
    return np.asarray(np.linalg.norm(project_points(moved, camera) - points1, axis=1))


@pytest.mark.parametrize("resize", [0, 240])
def test_matches_of_a_flight_are_several_times_as_exact(
    flight: list[FlightFrame], resize: int
) -> None:
    refined = ImageMatcher(**OPTIONS, resize=resize)
    plain = ImageMatcher(**{**OPTIONS, "refine": False}, resize=resize)
    images = flight[0].frame.image, flight[1].frame.image
    found, before = refined.match(*images), plain.match(*images)
    matched = found.matches0 != UNMATCHED
    np.testing.assert_array_equal(found.matches0, before.matches0)
    np.testing.assert_array_equal(found.keypoints1, before.keypoints1)
    np.testing.assert_array_equal(
        before.points1[matched], before.keypoints1[before.matches0[matched]]
    )
    assert np.isnan(found.points1[~matched]).all()
    errors, errors_before = (
        np.nanmedian(true_errors(*flight[:2], x.keypoints0[matched], x.points1[matched]))
        for x in (found, before)
    )
    assert errors < 0.4 * errors_before


def test_points_of_a_frame_are_refined_and_its_features_are_not(
    flight: list[FlightFrame], matcher: ImageMatcher
) -> None:
    keyframes = KeyframeMatcher(matcher, KeyframePolicy(max_displacement=0.0))
    keyframes.process(flight[0].frame)
    first = keyframes.process(flight[1].frame)
    assert first.is_keyframe
    detected = keyframes.last_features
    assert detected is not None
    extracted = matcher.extract(flight[1].frame.image)
    np.testing.assert_array_equal(detected.keypoints, extracted.points)
    offsets = np.abs(first.points - detected.keypoints[first.indices])
    assert 0.05 < np.median(offsets) < offsets.max() <= REACH_PX + 1e-3
    second = keyframes.process(flight[2].frame)
    np.testing.assert_array_equal(
        second.keyframe_points, detected.keypoints[second.keyframe_indices]
    )


def test_evaluation_takes_the_refined_points(
    flight: list[FlightFrame], matcher: ImageMatcher
) -> None:
    detector = SuperPointDetector(matcher)
    first, second = (detector.detect(one.frame.image) for one in flight[:2])
    matched = detector.match(first, second)
    points0, points1 = matched.points(first, second)
    expected = matcher.match(flight[0].frame.image, flight[1].frame.image)
    rows = expected.matches0 != UNMATCHED
    np.testing.assert_array_equal(points0, expected.keypoints0[rows])
    np.testing.assert_allclose(points1, expected.points1[rows], atol=1e-4)
