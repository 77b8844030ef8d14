"""Rendered training pairs: exact correspondence, the overlap asked for, the same for a seed."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from superglue_ros.cli import world as world_command
from superglue_ros.errors import SourceError
from superglue_ros.training.data.assignment import ground_truth_assignment
from superglue_ros.world import RenderedPairs, WorldConfig, WorldPairs, raycast
from superglue_ros.world.cameras import Pool, choose_pairs, look_at
from superglue_ros.world.layouts import random_layout
from superglue_ros.world.overlap import seen_share
from superglue_ros.world.photometry import Draw
from superglue_ros.world.raycast import View
from superglue_ros.world.render import render_depth

SMALL = {"width": 96, "height": 72, "procedural": 12, "texture_size": 64, "scenes": 4}


@pytest.fixture(scope="module")
def pairs() -> RenderedPairs:
    """Pairs under the same light, without noise."""
    return WorldPairs(WorldConfig(**SMALL, photometric=False), seed=5).sample(12)


def test_a_gpus_casting_gives_what_a_cpus_does(monkeypatch: pytest.MonkeyPatch) -> None:
    by_rank = raycast._update_by_rank
    differ: list[float] = []

    def both(cell, surface, depths, nearest, winner):
        other_nearest, other_winner = nearest.clone(), winner.clone()
        by_rank(cell, surface, depths, nearest, winner)
        raycast._update_at_once(cell, surface, depths, other_nearest, other_winner)
        torch.testing.assert_close(other_nearest, nearest, atol=1e-6, rtol=0)
        differ.append(float((other_winner != winner).float().mean()))

    monkeypatch.setattr(raycast, "_update_by_rank", both)
    WorldPairs(WorldConfig(**SMALL), seed=1).sample(4)
    assert len(differ) > 4
    assert max(differ) < 1e-4  # where two surfaces meet, rounding decides


def test_shapes_and_ranges(pairs: RenderedPairs) -> None:
    assert len(pairs) == 12
    assert pairs.images0.shape == pairs.images1.shape == (12, 1, 72, 96)
    assert pairs.depth0.shape == pairs.depth1.shape == (12, 72, 96)
    assert pairs.K0.shape == pairs.K1.shape == (12, 3, 3)
    assert pairs.T_0to1.shape == (12, 4, 4)
    assert pairs.images0.min() >= 0
    assert pairs.images0.max() <= 1
    for field in fields(pairs):
        assert getattr(pairs, field.name).isfinite().all()
    rotation = pairs.T_0to1[:, :3, :3]
    torch.testing.assert_close(
        rotation @ rotation.transpose(1, 2), torch.eye(3).expand(12, 3, 3), atol=1e-5, rtol=0
    )


def project(pairs: RenderedPairs) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (B, H, W, 2) and depths (B, H, W) of view 0's surfaces in view 1."""
    batch, height, width = pairs.depth0.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    homogeneous = torch.stack([x, y, torch.ones_like(x)]).flatten(1).float()
    rays = torch.linalg.inv(pairs.K0) @ homogeneous
    points = pairs.T_0to1[:, :3, :3] @ (rays * pairs.depth0.flatten(1)[:, None])
    points = points + pairs.T_0to1[:, :3, 3:]
    image = pairs.K1 @ points
    pixels = image[:, :2] / image[:, 2:].clamp(min=1e-6)
    depth = points[:, 2].reshape(batch, height, width)
    return pixels.transpose(1, 2).reshape(batch, height, width, 2), depth


def test_view_0_warped_into_view_1_looks_and_measures_the_same(pairs: RenderedPairs) -> None:
    pixels, depth = project(pairs)
    grid = pixels / torch.tensor([95 / 2, 71 / 2]) - 1
    inside = (grid.abs() <= 1).all(-1) & (depth > 0.1) & (pairs.depth0 > 0)
    there = F.grid_sample(pairs.depth1[:, None], grid, align_corners=True)[:, 0]
    same = inside & ((there / depth - 1).abs() < 0.01)
    share = same.flatten(1).float().mean(1)
    # The renderer's own overlap is the smaller of both ways, at coarse pixels.
    assert (share > pairs.overlap * 0.6).all()
    warped = F.grid_sample(pairs.images1, grid, align_corners=True)[:, 0]
    difference = (warped - pairs.images0[:, 0]).abs()[same]
    shuffled = (warped.roll(1, 0) - pairs.images0[:, 0]).abs()[same]
    assert difference.median() < 0.03
    assert difference.median() < 0.25 * shuffled.median()


def test_overlap_is_within_the_range_asked_for() -> None:
    low = WorldPairs(WorldConfig(**SMALL, overlap=(0.1, 0.3)), seed=1).sample(12).overlap
    high = WorldPairs(WorldConfig(**SMALL, overlap=(0.6, 0.9)), seed=1).sample(12).overlap
    none = WorldPairs(WorldConfig(**SMALL, overlap=(0.0, 0.0)), seed=1).sample(12).overlap
    # Cameras are chosen by small sketches of depth, hence the margins.
    assert low.min() > 0.05
    assert low.max() < 0.4
    assert high.min() > 0.45
    assert none.max() < 0.02


@pytest.mark.parametrize(("turned", "zoomed"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)])
def test_a_share_of_second_views_is_rolled_and_zoomed(turned: float, zoomed: float) -> None:
    rng = np.random.default_rng(1)
    pool = Pool.of([random_layout(rng, 12, 0.0) for _ in range(2)], torch.device("cpu"))
    size, count = (96, 72), 60
    views = choose_pairs(
        Draw(torch.device("cpu"), 1), pool, size, (0.0, 0.0), 2, count, turned, zoomed
    )
    right, down, _ = views.rotation[:, 2].unbind(1)
    rolled = (torch.atan2(right, -down).abs() > 1.2).view(count, 2)
    focal = views.intrinsics[:, 0, 0].view(count, 2) / size[0]
    unlike = (focal < 0.49) | (focal > 1.21)
    assert not rolled[:, 0].any()
    assert not unlike[:, 0].any()
    # Of the half that are chosen three in five are rolled by over 69 degrees, or zoomed so much
    # that no camera is alike.
    for share, hits in ((turned, rolled[:, 1]), (zoomed, unlike[:, 1])):
        assert 0.15 * count < hits.sum() < 0.5 * count if share else not hits.any()


def test_same_seed_same_pairs_and_next_batch_differs() -> None:
    source, again = (WorldPairs(WorldConfig(**SMALL), seed=7) for _ in range(2))
    other = WorldPairs(WorldConfig(**SMALL), seed=8)
    first, same, different = source.sample(2), again.sample(2), other.sample(2)
    for field in fields(first):
        assert torch.equal(getattr(first, field.name), getattr(same, field.name))
    assert not torch.equal(first.images0, different.images0)
    assert not torch.equal(first.images0, source.sample(2).images0)


def test_ground_truth_has_matches_where_there_is_overlap(pairs: RenderedPairs) -> None:
    y, x = torch.meshgrid(torch.arange(2, 72, 4), torch.arange(2, 96, 4), indexing="ij")
    grid = torch.stack([x, y], -1).reshape(1, -1, 2).float().repeat(len(pairs), 1, 1)
    found = ground_truth_assignment(
        grid, grid, pairs.depth0, pairs.depth1, pairs.K0, pairs.K1, pairs.T_0to1
    )
    matched = (found.matches0 >= 0).float().mean(1)
    assert (matched[pairs.overlap > 0.3] > 0.1).all()
    # Both lists tell the same story.
    for row0, row1 in zip(found.matches0, found.matches1):
        partners = row0[row0 >= 0]
        assert torch.equal(row1[partners], torch.nonzero(row0 >= 0)[:, 0])


def test_overlap_of_hand_worked_views() -> None:
    depth, matrix = torch.full((1, 10, 20), 2.0), torch.eye(3)[None] * 10
    matrix[0, 2, 2] = 1
    pose = torch.eye(4)[None].clone()
    assert seen_share(depth, depth, matrix, matrix, pose).item() == 1.0
    # One metre at 2 m with a focal length of 10 px is 5 px of 20.
    pose[0, 0, 3] = -1.0
    assert seen_share(depth, depth, matrix, matrix, pose).item() == pytest.approx(0.75)
    assert seen_share(depth, depth * 0.5, matrix, matrix, pose).item() == 0.0


def test_random_scenes_close_rooms_and_keep_cameras_out_of_things() -> None:
    layouts = [random_layout(np.random.default_rng(n), 5, street_share=0.0) for n in range(3)]
    device = torch.device("cpu")
    pool, draw = Pool.of(layouts, device), Draw(device, 0)
    scene = torch.arange(3).repeat_interleave(20)
    place, target = pool.free_places(draw, scene), pool.free_places(draw, scene)
    rotation = look_at(place, target, torch.zeros(60))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(60))
    matrix = torch.tensor([[20.0, 0, 16], [0, 20, 12], [0, 0, 1]]).repeat(60, 1, 1)
    depth = render_depth(pool.surfaces, View(scene, rotation, place, matrix, 32, 24))
    # A room is closed, so that only what is nearer than the near plane may be missing.
    assert (depth > 0).float().mean() > 0.99


def test_photographs_become_textures(tmp_path: Path, rng: np.random.Generator) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), rng.integers(0, 255, (90, 120, 3), np.uint8))
    config = WorldConfig(**SMALL, photographs=tmp_path)
    assert WorldPairs(config).sample(1).images0.shape == (1, 1, 72, 96)
    with pytest.raises(SourceError, match="no readable pictures"):
        WorldPairs(WorldConfig(**SMALL, photographs=tmp_path / "none")).sample(1)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("overlap", (0.5, 0.2)),
        ("width", 4),
        ("scenes", 0),
        ("texture_size", 100),
        ("street_share", 2.0),
        ("turned", 2.0),
        ("zoomed", -0.1),
    ],
)
def test_config_is_validated(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=option):
        WorldConfig(**{option: value})


def test_empty_batch_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        WorldPairs().sample(0)


def test_command_writes_sheet_and_video(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    world_command.add_parser(parser.add_subparsers())
    words = ["world", "--output", str(tmp_path), "--pairs", "3", "--frames", "2"]
    args = parser.parse_args([*words, "--width", "96", "--height", "72"])
    assert args.run(args) == 0
    assert cv2.imread(str(tmp_path / "pairs.png")).shape == (72, 96 * 8, 3)
    video = cv2.VideoCapture(str(tmp_path / "flight.mp4"))
    frames = 0
    while video.read()[0]:
        frames += 1
    assert frames == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_draws_pairs_too() -> None:
    pairs = WorldPairs(WorldConfig(**SMALL, antialias=True), "cuda").sample(4)
    assert pairs.images0.is_cuda
    assert pairs.overlap.min() > 0.02
