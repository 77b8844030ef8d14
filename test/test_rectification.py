"""Pairs as cameras take them, made rectified ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from superglue_ros.errors import CameraError, ImageError
from superglue_ros.geometry import exp_rotation, normalize_points, project_points
from superglue_ros.geometry.rectification import rectify_pair
from superglue_ros.matching.stereo import find_right_points
from superglue_ros.sources import (
    open_source,
    poses_from_trajectory,
    trajectory_from_poses,
    turned_cameras,
)
from superglue_ros.types import CameraModel, FloatArray, Frame, ImageArray, Pose
from superglue_ros.world import render_flight

SIZE = 320, 240
BASELINE_M = 0.12
RIGHT_IN_LEFT = Pose(
    exp_rotation(np.array([0.012, -0.02, 0.008])), np.array([BASELINE_M, -0.002, 0.003])
)
LENSES = {
    "none": ([], []),
    "plumb_bob": ([-0.28, 0.07, 2e-4, 2e-5, 0.0], [-0.27, 0.06, -1e-4, -3e-5, 0.0]),
    "equidistant": ([3e-3, 7e-4, -2e-3, 2e-4], [2e-3, 6e-4, -2e-3, 3e-4]),
}


def cameras(model: str) -> tuple[CameraModel, CameraModel]:
    first, second = (
        CameraModel(
            *SIZE,
            np.array([[focal, 0, SIZE[0] / 2 + x], [0, focal - 1, SIZE[1] / 2], [0, 0, 1.0]]),
            model,
            np.array(lens),
        )
        for focal, x, lens in zip((300.0, 297.0), (-3.0, 4.0), LENSES[model])
    )
    return first, second


@pytest.mark.parametrize("model", LENSES)
def test_a_point_is_in_the_same_row_and_as_far_as_it_is(model: str) -> None:
    left, right = cameras(model)
    rectified = rectify_pair(left, right, RIGHT_IN_LEFT)
    assert rectified.baseline_m == pytest.approx(np.linalg.norm(RIGHT_IN_LEFT.position))
    assert (rectified.camera.width, rectified.camera.height) == SIZE
    assert rectified.camera.model == "none"
    # What a pixel of the rectified left image shows, 2.5 m away.
    pixels = np.stack(np.meshgrid(np.arange(60, 300, 20), np.arange(20, 220, 20)), -1)
    pixels = pixels.reshape(-1, 2)
    taken = rectified.maps[0][:, pixels[:, 1], pixels[:, 0]].T
    rays = np.column_stack([normalize_points(taken, left), np.ones(len(taken))])
    points = 2.5 * rays / np.linalg.norm(rays, axis=1, keepdims=True)
    back = RIGHT_IN_LEFT.inverse()
    seen = project_points(points @ back.rotation.T + back.position, right)
    # Where the right map takes it from must be on the row, at the disparity of its distance.
    offsets = (pixels - rectified.camera.matrix[:2, 2]) / rectified.camera.matrix[0, 0]
    depth = 2.5 / np.sqrt((offsets**2).sum(axis=1) + 1)
    disparity = rectified.camera.matrix[0, 0] * rectified.baseline_m / depth
    at = np.column_stack([pixels[:, 0] - disparity, pixels[:, 1]]).astype(np.float32)
    inside = at[:, 0] >= 0
    both = np.ascontiguousarray(np.moveaxis(rectified.maps[1], 0, 2))
    found = cv2.remap(both, at[:, :1], at[:, 1:], cv2.INTER_LINEAR)[:, 0]
    assert inside.sum() > 60
    np.testing.assert_allclose(found[inside], seen[inside], atol=0.1)


def test_nothing_stays_empty() -> None:
    for model in LENSES:
        for each in rectify_pair(*cameras(model), RIGHT_IN_LEFT).maps:
            assert each.min() > -0.6
            assert (each.max(axis=(1, 2)) < np.array(SIZE) - 0.4).all()


def test_what_cannot_be_rectified_is_said() -> None:
    left, right = cameras("plumb_bob")
    for position in ([-0.1, 0, 0], [0.0, 0.1, 0], [0.01, 0, 0.2]):
        with pytest.raises(CameraError, match="not to the right of the first"):
            rectify_pair(left, right, Pose(np.eye(3), np.array(position)))
    unknown = CameraModel(0, 0, left.matrix)
    with pytest.raises(CameraError, match="unknown image size"):
        rectify_pair(left, unknown, RIGHT_IN_LEFT)
    with pytest.raises(ImageError, match="100 x 100 pixels, the calibration is of 320 x 240"):
        rectify_pair(left, right, RIGHT_IN_LEFT).left(np.zeros((100, 100), np.uint8))


def as_taken(image: ImageArray, camera: CameraModel, taken: CameraModel, turn: FloatArray):
    """What a turned camera with a lens sees where an image is what one without sees; turn maps
    its points to the other's."""
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    rays = normalize_points(np.stack([x.ravel(), y.ravel()], 1).astype(float), taken)
    seen = project_points(np.column_stack([rays, np.ones(len(rays))]) @ turn.T, camera)
    at = seen.astype(np.float32).T.reshape(2, SIZE[1], SIZE[0])
    return cv2.remap(image, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


TURNS = exp_rotation(np.array([0.03, 0.02, -0.02])), exp_rotation(np.array([-0.03, 0, 0.02]))


def write_euroc(folder: Path, frames: list[Frame]) -> None:
    """The frames as two turned cameras with lenses take them, 5 degrees off to one another."""
    for number, (camera, turn) in enumerate(zip(cameras("plumb_bob"), TURNS)):
        home = folder / "mav0" / f"cam{number}"
        (home / "data").mkdir(parents=True)
        rows = ""
        for frame in frames:
            assert frame.right is not None
            assert frame.camera is not None
            image = frame.right if number else frame.image
            name = f"{frame.stamp_ns + number * 1000}.png"
            picture = as_taken(image, frame.camera, camera, turn)
            cv2.imwrite(str(home / "data" / name), picture)
            rows += f"{name[:-4]},{name}\n"
        (home / "data.csv").write_text("#timestamp [ns],filename\n" + rows)
        in_body = np.eye(4)
        in_body[:3, :3], in_body[0, 3] = turn, number * BASELINE_M
        k = camera.matrix
        (home / "sensor.yaml").write_text(
            f"T_BS:\n  cols: 4\n  rows: 4\n  data: {in_body.ravel().tolist()}\n"
            f"resolution: [{SIZE[0]}, {SIZE[1]}]\ncamera_model: pinhole\n"
            f"intrinsics: [{k[0, 0]}, {k[1, 1]}, {k[0, 2]}, {k[1, 2]}]\n"
            "distortion_model: radial-tangential\n"
            f"distortion_coefficients: {camera.distortion[:4].tolist()}\n"
        )


def test_a_euroc_folder_comes_rectified(tmp_path: Path) -> None:
    flight = render_flight(2, *SIZE, start_ns=10**18, gray=True, baseline_m=BASELINE_M)
    frames = [flown.frame for flown in flight]
    write_euroc(tmp_path, frames)
    as_it_is = open_source(tmp_path)
    assert (as_it_is.is_stereo, as_it_is.camera.model) == (False, "plumb_bob")
    assert next(iter(as_it_is)).right is None
    said = "right images: cam1, 0.1200 m away, rectified where depth is wanted"
    assert said in as_it_is.notes
    source = open_source(tmp_path, rectify=True)
    assert (source.is_stereo, source.camera.model) == (True, "none")
    for frame, true in zip(source, frames):
        assert frame.right is not None
        assert frame.camera is not None
        assert frame.baseline_m == pytest.approx(BASELINE_M)
        assert (frame.stamp_ns, frame.image.shape) == (true.stamp_ns, true.image.shape)
        x, y = np.meshgrid(np.arange(60, 310, 7), np.arange(20, 220, 7))
        points = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
        found = find_right_points(frame.image, frame.right, points)
        known = np.isfinite(found[:, 0])
        assert known.mean() > 0.9
        assert abs(np.median((found - points)[known, 1])) < 0.05
        matrix = frame.camera.matrix
        depth = matrix[0, 0] * BASELINE_M / (points - found)[:, 0]
        offsets = (points - matrix[:2, 2]) / matrix[0, 0]
        away = depth * np.sqrt((offsets**2).sum(axis=1) + 1)
        ratio = away / true_distances(points, true)
        assert np.nanmedian(ratio) == pytest.approx(1, abs=0.01)
        assert np.nanpercentile(np.abs(ratio - 1), 80) < 0.05


def test_true_poses_are_those_of_the_rectified_camera(rng: np.random.Generator) -> None:
    left, right = cameras("plumb_bob")
    rectified = rectify_pair(left, right, RIGHT_IN_LEFT)
    poses = [Pose(exp_rotation(rng.normal(size=3)), rng.normal(size=3)) for _ in range(3)]
    turned = turned_cameras(trajectory_from_poses([1, 2, 3], poses), rectified.left_rotation)
    for pose, found in zip(poses, poses_from_trajectory(turned)):
        np.testing.assert_array_equal(found.position, pose.position)
        # The middle of the rectified image, and where the map takes it from.
        matrix = rectified.camera.matrix
        column, row = np.round(matrix[:2, 2]).astype(int)
        offset = (np.array([column, row]) - matrix[:2, 2]) / matrix[0, 0]
        taken = normalize_points(rectified.maps[0][:, row, column][None], left)[0]
        before = pose.rotation @ np.append(taken, 1) / np.linalg.norm(np.append(taken, 1))
        after = found.rotation @ np.append(offset, 1) / np.linalg.norm(np.append(offset, 1))
        np.testing.assert_allclose(after, before, atol=1e-4)


def true_distances(points: FloatArray, frame: Frame) -> FloatArray:
    """Metres from the left camera of what the pixels of its rectified image show."""
    left, right = cameras("plumb_bob")
    poses = Pose(TURNS[0], np.zeros(3)), Pose(TURNS[1], np.array([BASELINE_M, 0, 0]))
    rectified = rectify_pair(left, right, poses[0].inverse() @ poses[1])
    columns, rows = points.astype(int).T
    taken = normalize_points(rectified.maps[0][:, rows, columns].T, left)
    rays = np.column_stack([taken, np.ones(len(taken))]) @ TURNS[0].T
    rays /= rays[:, 2:]
    assert frame.camera is not None
    assert frame.depth_m is not None
    at = project_points(rays, frame.camera).astype(np.float32)
    depth = cv2.remap(frame.depth_m, at[:, :1], at[:, 1:], cv2.INTER_NEAREST)[:, 0]
    return depth * np.linalg.norm(rays, axis=1)
