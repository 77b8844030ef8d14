"""The rendered world: hand-worked depths, exact geometry between views, the demo flight."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from superglue_ros.errors import SourceError
from superglue_ros.world import flight_poses, render_flight
from superglue_ros.world.prints import PAINTERS, paint
from superglue_ros.world.raycast import View
from superglue_ros.world.render import render, render_depth
from superglue_ros.world.scene import Material, SceneBuilder, stack_scenes
from superglue_ros.world.shading import Lights
from superglue_ros.world.texture_bank import TextureBank, load_photographs

WHITE = Material()
WIDTH, HEIGHT, FOCAL = 64, 48, 50.0
CENTRE = 24, 32  # row, column of the principal point


def ahead(position: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> View:
    """A camera that looks along the world's +y, upright."""
    rotation = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])[None]
    matrix = torch.tensor([[FOCAL, 0, 32], [0, FOCAL, 24], [0, 0, 1.0]])[None]
    place = torch.tensor([position])
    return View(torch.zeros(1, dtype=torch.int64), rotation, place, matrix, WIDTH, HEIGHT)


def depth_of(scene: SceneBuilder, view: View | None = None) -> torch.Tensor:
    return render_depth(stack_scenes([scene]), view or ahead())[0]


def test_depth_of_a_wall_and_nothing_beside_it() -> None:
    scene = SceneBuilder()
    # One metre wide each way at 5 m: 10 px each side of the centre.
    scene.rectangle([0, 5, 0], [1, 0, 0], [0, 0, 1], WHITE)
    depth = depth_of(scene)
    seen = depth > 0
    rows, columns = torch.nonzero(seen, as_tuple=True)
    assert (int(rows.min()), int(rows.max())) == (14, 34)
    assert (int(columns.min()), int(columns.max())) == (22, 42)
    torch.testing.assert_close(depth[seen], torch.full((21 * 21,), 5.0))


def test_a_wall_is_seen_from_its_front_only() -> None:
    scene = SceneBuilder()
    scene.rectangle([0, 5, 0], [-1, 0, 0], [0, 0, 1], WHITE)
    assert not depth_of(scene).any()


def test_depth_of_a_floor() -> None:
    scene = SceneBuilder()
    scene.rectangle([0, 0, -1.5], [100, 0, 0], [0, 100, 0], WHITE)
    # A ray (y - 24) / 50 below the horizon meets the floor where it is 1.5 m down.
    row = 44
    torch.testing.assert_close(
        depth_of(scene)[row], torch.full((WIDTH,), 1.5 * FOCAL / (row - 24))
    )


def test_depth_of_a_turned_box() -> None:
    scene = SceneBuilder()
    scene.place([0, 6, 0], np.pi / 4).box([0, 0, 0], [1, 1, 1], WHITE)
    depth = depth_of(scene)
    # The nearest edge points at the camera; x to its side the faces recede by x at 45 degrees.
    assert depth[CENTRE].item() == pytest.approx(6 - np.sqrt(2), abs=1e-4)
    tangent = 8 / FOCAL
    expected = (6 - np.sqrt(2)) / (1 - tangent)
    assert depth[24, 40].item() == pytest.approx(expected, abs=1e-4)
    assert depth[24, 24].item() == pytest.approx(expected, abs=1e-4)


def test_depth_of_cylinder_sphere_disc_and_triangle() -> None:
    scene = SceneBuilder()
    scene.cylinder([0, 5, -1], 0.5, 2.0, WHITE, WHITE)
    depth = depth_of(scene)
    assert depth[CENTRE].item() == pytest.approx(4.5, abs=1e-4)
    # Ray (t, 1) meets the circle at z: t² z² + (z - 5)² = 0.25.
    tangent = 4 / FOCAL
    a = 1 + tangent**2
    expected = (5 - np.sqrt(25 - a * (25 - 0.25))) / a
    assert depth[24, 36].item() == pytest.approx(expected, abs=1e-3)
    from_above = replace(ahead((0, 5, 4)), rotation=torch.diag(torch.tensor([1.0, -1, -1]))[None])
    assert depth_of(scene, from_above)[CENTRE].item() == pytest.approx(3.0, abs=1e-4)

    ball = SceneBuilder()
    ball.sphere([0, 4, 0], 1.0, WHITE)
    assert depth_of(ball)[CENTRE].item() == pytest.approx(3.0, abs=1e-4)

    hill = SceneBuilder()
    hill.place([-2, 2, -1]).height_field(np.array([[0.0, 0, 0], [0, 0, 0]]), 2.0, WHITE)
    flat = depth_of(hill)
    torch.testing.assert_close(flat[44, 20:44], torch.full((24,), FOCAL / 20))


def test_the_nearer_of_many_wins_in_every_pixel() -> None:
    rng = np.random.default_rng(2)
    scene = SceneBuilder()
    for _ in range(20):
        place = scene.place(rng.uniform([-2, 3, -1.5], [2, 9, 1.5]), rng.uniform(0, 6))
        place.box([0, 0, 0], rng.uniform(0.1, 0.8, 3), WHITE)
    surfaces = stack_scenes([scene])
    depth = render_depth(surfaces, ahead())[0]
    alone = []
    for index in range(surfaces.kind.shape[1]):
        single = replace(surfaces, kind=torch.where(
            torch.arange(surfaces.kind.shape[1]) == index, surfaces.kind, 0
        ))  # fmt: skip
        alone.append(render_depth(single, ahead())[0])
    each = torch.stack(alone)
    nearest = torch.where(each > 0, each, torch.inf).amin(0)
    torch.testing.assert_close(depth, torch.where(nearest.isfinite(), nearest, 0.0))


def test_texture_lies_upright_and_is_averaged_far_away() -> None:
    layer = np.zeros((1, 32, 32, 1), np.uint8)
    layer[0, :16, :16] = 240  # bright top left
    bank = TextureBank(layer)
    scene = SceneBuilder()
    scene.rectangle([0, 4, 0], [1.5, 0, 0], [0, 0, 1.5], Material(0, 0.0))
    one = torch.ones(1, 1)
    dark = Lights(one, torch.zeros(1, 0, 3), torch.zeros(1, 0, 1), torch.zeros(1, 0), one)
    image = render(stack_scenes([scene]), bank, ahead(), dark).image[0, 0]
    top_left, top_right, bottom_left = image[16, 22], image[16, 42], image[32, 22]
    assert top_left > 0.7
    assert top_right == bottom_left == 0
    zero = torch.zeros(1)
    mean = bank.sample(zero.int(), zero, zero, zero + 4.0)
    assert mean.item() == pytest.approx(60 / 255, abs=0.01)


def test_flight_is_smooth_deterministic_and_inside_the_room() -> None:
    poses = flight_poses(120, 10.0)
    positions = np.array([pose.position for pose in poses])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    assert steps.min() > 0.02
    assert steps.max() < 0.15
    assert np.linalg.norm(np.diff(positions, 2, axis=0), axis=1).max() < 0.01
    for before, after in itertools.pairwise(poses):
        turn = (np.trace(before.rotation.T @ after.rotation) - 1) / 2
        assert np.degrees(np.arccos(min(1.0, turn))) < 3
        np.testing.assert_allclose(after.rotation.T @ after.rotation, np.eye(3), atol=1e-12)
    first, again = (next(iter(render_flight(1, 96, 72, seed=3))) for _ in range(2))
    assert np.array_equal(first.frame.image, again.frame.image)
    other = next(iter(render_flight(1, 96, 72, seed=4)))
    assert not np.array_equal(first.frame.image, other.frame.image)


def test_flight_frames_are_what_a_source_gives() -> None:
    frames = list(render_flight(3, 96, 72, rate_hz=20.0, start_ns=5))
    assert [f.frame.stamp_ns for f in frames] == [5, 50_000_005, 100_000_005]
    for flight in frames:
        assert flight.frame.image.shape == (72, 96, 3)
        assert flight.frame.image.dtype == np.uint8
        assert flight.frame.camera is not None
        assert flight.depth.shape == (72, 96)
        assert flight.depth.min() > 0.3
        assert 40 < flight.frame.image.mean() < 200
    gray = next(iter(render_flight(1, 96, 72, gray=True)))
    assert gray.frame.image.shape == (72, 96)


def test_flight_views_agree_by_depth_and_pose() -> None:
    first, *_, last = render_flight(6, 160, 120, gray=True)
    assert first.frame.camera is not None
    matrix = first.frame.camera.matrix
    y, x = np.mgrid[0:120, 0:160]
    rays = np.linalg.solve(matrix, np.stack([x, y, np.ones_like(x)]).reshape(3, -1).astype(float))
    moved = (last.pose.inverse() @ first.pose).matrix
    points = moved[:3, :3] @ (rays * first.depth.ravel()) + moved[:3, 3:]
    pixels = (matrix @ points)[:2] / points[2]
    grid = torch.from_numpy(pixels.T.reshape(1, 120, 160, 2) / [79.5, 59.5] - 1)

    def warped(values: np.ndarray) -> np.ndarray:
        stack = torch.from_numpy(values.astype(float))[None, None]
        return F.grid_sample(stack, grid, align_corners=True)[0, 0].numpy()

    expected = points[2].reshape(120, 160)
    same = np.abs(warped(last.depth) / expected - 1) < 0.02
    assert same.mean() > 0.8
    difference = np.abs(warped(last.frame.image) - first.frame.image)[same]
    unmoved = np.abs(last.frame.image.astype(float) - first.frame.image)[same]
    assert np.median(difference) < 4
    assert difference.mean() < 0.4 * unmoved.mean()


@pytest.mark.parametrize("kind", sorted(PAINTERS))
def test_textures_are_drawn_from_their_seed(kind: str) -> None:
    first, again, other = paint([kind], 64, 1), paint([kind], 64, 1), paint([kind], 64, 2)
    assert first.shape == (1, 64, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_callers_mistakes() -> None:
    with pytest.raises(ValueError, match="frames"):
        flight_poses(0, 10.0)
    with pytest.raises(ValueError, match="rate"):
        flight_poses(2, 0.0)
    with pytest.raises(ValueError, match="too small"):
        render_flight(1, 8, 8)
    with pytest.raises(ValueError, match="unknown textures"):
        paint(["marble"], 64, 0)
    with pytest.raises(ValueError, match="power of two"):
        TextureBank(np.zeros((1, 48, 48, 1), np.uint8))
    with pytest.raises(ValueError, match="span no surface"):
        SceneBuilder().rectangle([0, 0, 0], [1, 0, 0], [2, 0, 0], WHITE)
    with pytest.raises(ValueError, match="no scenes"):
        stack_scenes([])


def test_folder_without_pictures(tmp_path: object) -> None:
    with pytest.raises(SourceError, match="no readable pictures"):
        load_photographs(str(tmp_path), 64)
