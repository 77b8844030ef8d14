"""Camera models: checks, round trips, and agreement with OpenCV."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from superglue_ros.errors import CameraError
from superglue_ros.geometry import (
    check_camera,
    normalize_points,
    project_normalized,
    project_points,
    scale_camera,
)
from superglue_ros.types import CameraModel

MATRIX = np.array([[420.0, 0, 320.5], [0, 410.0, 239.0], [0, 0, 1]])
PLAIN = CameraModel(640, 480, MATRIX)
PLUMB_BOB = replace(
    PLAIN, model="plumb_bob", distortion=np.array([0.2624, -0.9531, -0.0054, 0.0026, 1.1633])
)
RATIONAL = replace(
    PLAIN,
    model="rational_polynomial",
    distortion=np.array([0.4, 0.03, 0.001, -0.0005, 0.002, 0.7, 0.1, 0.01]),
)
FISHEYE = replace(
    PLAIN, model="equidistant", distortion=np.array([-0.0133, 0.0086, -0.0056, 0.0013])
)
EVERY = [PLAIN, PLUMB_BOB, RATIONAL, FISHEYE]


def grid(camera: CameraModel) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, camera.width - 1, 17), np.linspace(0, camera.height - 1, 13))
    return np.stack([x.ravel(), y.ravel()], axis=1)


@pytest.mark.parametrize("camera", EVERY, ids=lambda camera: camera.model)
def test_pixels_come_back(camera: CameraModel) -> None:
    normalized = normalize_points(grid(camera), camera)
    assert np.isfinite(normalized).all()
    np.testing.assert_allclose(project_normalized(normalized, camera), grid(camera), atol=1e-6)


@pytest.mark.parametrize("camera", [PLUMB_BOB, RATIONAL], ids=lambda camera: camera.model)
def test_polynomial_models_agree_with_opencv(camera: CameraModel) -> None:
    normalized = normalize_points(grid(camera), camera)
    points = np.column_stack([normalized, np.ones(len(normalized))])
    pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), MATRIX, camera.distortion)
    np.testing.assert_allclose(pixels[:, 0], grid(camera), atol=1e-6)
    inner = grid(camera)[np.linalg.norm(grid(camera) - MATRIX[:2, 2], axis=1) < 150]
    expected = cv2.undistortPoints(inner[:, None], MATRIX, camera.distortion)[:, 0]
    np.testing.assert_allclose(normalize_points(inner, camera), expected, atol=1e-4)


def test_equidistant_agrees_with_opencv() -> None:
    normalized = normalize_points(grid(FISHEYE), FISHEYE)
    pixels = cv2.fisheye.distortPoints(normalized[:, None], MATRIX, FISHEYE.distortion)[:, 0]
    np.testing.assert_allclose(pixels, grid(FISHEYE), atol=1e-6)
    expected = cv2.fisheye.undistortPoints(grid(FISHEYE)[:, None], MATRIX, FISHEYE.distortion)
    np.testing.assert_allclose(normalized, expected[:, 0], atol=1e-6)


def test_by_hand() -> None:
    camera = CameraModel(200, 100, np.array([[100.0, 0, 50], [0, 200.0, 20], [0, 0, 1]]))
    np.testing.assert_allclose(normalize_points(np.array([[150.0, 60.0]]), camera), [[1, 0.2]])
    np.testing.assert_allclose(project_points(np.array([[2.0, 0.4, 2]]), camera), [[150, 60]])
    barrel = replace(camera, model="plumb_bob", distortion=np.array([-0.1, 0, 0, 0, 0]))
    # r2 = 1, so the point (1, 0) moves to 0.9.
    np.testing.assert_allclose(project_normalized(np.array([[1.0, 0]]), barrel), [[140, 20]])
    straight = replace(camera, model="equidistant", distortion=np.zeros(4))
    np.testing.assert_allclose(
        project_normalized(np.array([[1.0, 0]]), straight), [[50 + 100 * np.pi / 4, 20]]
    )


def test_no_points_and_no_coefficients() -> None:
    for camera in EVERY:
        assert normalize_points(np.zeros((0, 2)), camera).shape == (0, 2)
    bare = replace(PLAIN, model="plumb_bob", distortion=np.zeros(0))
    np.testing.assert_array_equal(
        normalize_points(grid(bare), bare), normalize_points(grid(PLAIN), PLAIN)
    )


def test_what_cannot_be_inverted_is_nan() -> None:
    folded = replace(PLAIN, model="plumb_bob", distortion=np.array([-0.5, 0, 0, 0, 0]))
    points = np.array([[320.5, 239.0], [5000.0, 239.0], [np.nan, 3.0]])
    normalized = normalize_points(points, folded)
    np.testing.assert_allclose(normalized[0], [0, 0])
    assert np.isnan(normalized[1:]).all()
    beyond = np.array([[320.5 + 420 * 1.6, 239.0]])
    bare = replace(FISHEYE, distortion=np.zeros(4))
    assert np.isnan(normalize_points(beyond, bare)).all()
    assert np.isnan(project_points(np.array([[0.0, 0, -1]]), PLAIN)).all()


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (replace(PLAIN, matrix=np.zeros((3, 3))), "all zero"),
        (replace(PLAIN, matrix=np.eye(4)), "shape"),
        (replace(PLAIN, matrix=MATRIX * [[np.nan], [1], [1]]), "finite"),
        (replace(PLAIN, matrix=np.diag([-400.0, 400, 1])), "positive"),
        (replace(PLAIN, matrix=np.diag([400.0, 400, 2])), "not \\[\\["),
        (replace(PLAIN, width=-1), "negative"),
        (replace(PLAIN, model="fov"), "'fov'"),
        (replace(PLUMB_BOB, distortion=np.zeros(3)), "3 coefficients"),
        (replace(FISHEYE, distortion=np.full(4, np.inf)), "finite"),
    ],
)
def test_unusable_cameras_say_why(camera: CameraModel, message: str) -> None:
    with pytest.raises(CameraError, match=message):
        check_camera(camera)
    with pytest.raises(CameraError, match=message):
        normalize_points(np.zeros((1, 2)), camera)


def test_scaling_keeps_rays() -> None:
    # The centre of a 640x480 image is (319.5, 239.5), that of a 320x240 image (159.5, 119.5).
    half = scale_camera(PLAIN, 320, 240)
    np.testing.assert_allclose(
        normalize_points(np.array([[159.5, 119.5]]), half),
        normalize_points(np.array([[319.5, 239.5]]), PLAIN),
    )
    same = scale_camera(PLAIN, 640, 480)
    np.testing.assert_allclose(same.matrix, PLAIN.matrix)
    with pytest.raises(CameraError, match="unknown image size"):
        scale_camera(replace(PLAIN, width=0), 320, 240)
    with pytest.raises(ValueError, match="positive"):
        scale_camera(PLAIN, 0, 240)
