"""Furnished worlds: exact depth, textures where they belong, cameras that fit, the same views for
a seed; the bank of their features, and its truth for any subset of keypoints."""

from __future__ import annotations

import argparse
import importlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from furnished_room import SIZE_M, write_room

from superglue_ros.cli import world as world_command
from superglue_ros.cli.main import main
from superglue_ros.errors import SourceError, SuperGlueRosError
from superglue_ros.networks.checkpoints import load_superpoint
from superglue_ros.networks.superglue import SuperGlueConfig
from superglue_ros.training.data.assignment import ground_truth_assignment
from superglue_ros.training.data.homography_pairs import PairConfig
from superglue_ros.training.data.photos import PhotoBank, draw_procedural
from superglue_ros.training.options import Run
from superglue_ros.training.superglue.bank import Bank, join_views, make_bank
from superglue_ros.training.superglue.recipe import BankConfig, SuperGlueRecipe, SuperGlueStage
from superglue_ros.training.superglue.task import SuperGlueTask, untrained
from superglue_ros.world import WorldConfig
from superglue_ros.world.furnished import FurnishedWorld, load_model
from superglue_ros.world.furnished_cameras import FurnishedConfig, draw_cameras
from superglue_ros.world.furnished_render import Camera, DressedWorld, Lighting, render_depth
from superglue_ros.world.furnished_textures import TexturePool
from superglue_ros.world.furnished_views import FurnishedViews

pytest.importorskip("trimesh", reason="furnished worlds need the extra [train]")
pytest.importorskip("embreex", reason="furnished worlds need the extra [train]")

SIZE = (160, 120)
CPU = torch.device("cpu")
ALONG_X = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], float)
"""Rotation, camera to world, of an upright camera that looks along x."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("worlds")
    write_room(path / "room.glb")
    return path


@pytest.fixture(scope="module")
def room(folder: Path) -> FurnishedWorld:
    return FurnishedWorld.load(folder / "room.glb")


@pytest.fixture(scope="module")
def config(folder: Path) -> FurnishedConfig:
    return FurnishedConfig(folder, size=SIZE, views=5, turned=0.0)


@pytest.fixture(scope="module")
def bank_folder(config: FurnishedConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bank")
    features, _ = load_superpoint()
    features.prepare(CPU, torch.float32)
    asked = BankConfig(3, 200, config)
    assert make_bank(path, asked, features, "abc", CPU, seed=1) == 3
    return path


def camera(position: tuple[float, float, float]) -> Camera:
    matrix = np.array([[90.0, 0, 79.5], [0, 90.0, 59.5], [0, 0, 1]])
    return Camera(ALONG_X, np.array(position), matrix, SIZE)


def test_depth_is_that_along_the_cameras_axis(room: FurnishedWorld) -> None:
    depth = render_depth(room, camera((4.0, 3.5, 1.3)))
    assert depth.shape == (120, 160)
    # To the left the shelf's front, 1.2 m ahead; to the right the wall, 3.0 m.
    assert abs(depth[30:90, 2:24] - 1.2).max() < 1e-3
    assert abs(depth[25:95, 85:155] - 3.0).max() < 1e-3


def test_texels_are_where_the_file_has_them() -> None:
    image = np.array([[0, 40], [80, 200]], np.uint8)
    pool = TexturePool([image, np.full((3, 5), 7, np.uint8)])

    def at(u: float, v: float, level: float = 0.0, texture: int = 0) -> float:
        values = (np.array([x], np.float32) for x in (u, v, level))
        return float(pool.sample(np.array([texture], np.int32), *values)[0])

    assert [at(0.25, 0.25), at(0.75, 0.25), at(0.25, 0.75), at(0.75, 0.75)] == [0, 40, 80, 200]
    assert at(1.25, -0.75) == 0  # it repeats
    assert at(0.0, 0.25) == pytest.approx(20)  # between the last column and the first
    assert at(0.4, 0.9, level=5.0) == pytest.approx(80, abs=1)
    assert at(0.1, 0.3, texture=1) == pytest.approx(7)


def test_a_view_warped_into_another_looks_and_measures_the_same(room: FurnishedWorld) -> None:
    dress = DressedWorld(room, np.random.default_rng(0), exchanged=0.0)
    lights = Lighting(1.0, np.zeros((0, 3), np.float32), np.zeros(0, np.float32), 1.0)
    cameras = camera((1.0, 3.0, 1.3)), camera((1.4, 3.2, 1.2))
    (image0, depth0), (image1, depth1) = (dress.picture(c, lights) for c in cameras)
    points = cameras[0].position + cameras[0].rays() * depth0.reshape(-1, 1)
    local = (points - cameras[1].position) @ cameras[1].rotation
    x, y = (
        (local[:, i] / local[:, 2] * 90 + c).reshape(depth0.shape).astype(np.float32)
        for i, c in ((0, 79.5), (1, 59.5))
    )
    there = cv2.remap(depth1, x, y, cv2.INTER_LINEAR)
    same = abs(there - local[:, 2].reshape(depth0.shape)) < 0.02
    assert same.mean() > 0.5
    warped = cv2.remap(image1, x, y, cv2.INTER_LINEAR)
    assert np.median(abs(warped - image0)[same]) < 0.02
    assert image0.std() > 0.1


def test_a_camera_fits_in_the_free_room_alone(room: FurnishedWorld) -> None:
    places = np.array(
        [[1.2, 4.5, 1.2], [2.9, 2.4, 0.4], [2.9, 2.4, 0.95], [9.0, 3.0, 1.0], [0.1, 3, 1]]
    )
    assert room.is_free(places.astype(np.float32)).tolist() == [True, False, False, False, False]
    found = room.free_places(np.random.default_rng(0), 20)
    assert ((found > 0.3 - 1e-6) & (found < np.array(SIZE_M) - 0.3)).all()


def test_clusters_see_one_another_and_are_the_same_for_a_seed(config: FurnishedConfig) -> None:
    first, again = (FurnishedViews(config, seed=3).cluster(4) for _ in range(2))
    torch.testing.assert_close(first.images, again.images)
    assert first.images.shape[1:] == (1, 120, 160)
    assert torch.equal(first.overlap, first.overlap.T)
    with_anchor = first.overlap[0, 1 : len(first) - config.stray]
    assert (with_anchor > 0.02).all()
    assert (with_anchor < 0.9).all()
    other = FurnishedViews(config, seed=3).cluster(5)
    assert not torch.equal(first.position[0], other.position[0])


def test_pairs_have_the_overlap_asked_for(config: FurnishedConfig) -> None:
    pairs = FurnishedViews(replace(config, overlap=(0.1, 0.4)), seed=2).sample(3)
    assert len(pairs) == 3
    assert pairs.overlap.min() >= 0.1
    assert pairs.overlap.max() <= 0.4
    y, x = torch.meshgrid(torch.arange(2, 120, 4), torch.arange(2, 160, 4), indexing="ij")
    grid = torch.stack([x, y], -1).reshape(1, -1, 2).float().repeat(3, 1, 1)
    truth = ground_truth_assignment(
        grid, grid, pairs.depth0, pairs.depth1, pairs.K0, pairs.K1, pairs.T_0to1
    )
    assert ((truth.matches0 >= 0).float().mean(1) > 0.03).all()


def test_zoomed_cameras_of_a_cluster_have_other_focal_lengths(
    config: FurnishedConfig, room: FurnishedWorld
) -> None:
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(6):
        anchor, *others = draw_cameras(room, rng, replace(config, zoomed=1.0, stray=0))
        ratios += [camera.matrix[0, 0] / anchor.matrix[0, 0] for camera in others]
    assert 0.4 <= min(ratios) < 0.8
    assert 1.25 < max(ratios) <= 2.5


def test_photographs_take_the_place_of_textures(
    folder: Path, config: FurnishedConfig, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((90, 120, 3), 255, np.uint8))
    views = FurnishedViews(replace(config, photographs=tmp_path), seed=0)
    assert views.cluster(0).images.isfinite().all()
    with pytest.raises(SourceError, match="no readable pictures"):
        FurnishedViews(replace(config, photographs=folder), seed=0).cluster(0)


def test_what_is_missing_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceError, match="no furnished worlds"):
        FurnishedViews(FurnishedConfig(tmp_path))
    with pytest.raises(SourceError, match="no world attic; it has room"):
        FurnishedViews(FurnishedConfig(folder, ("attic",)))
    with pytest.raises(SourceError, match="but those left out"):
        FurnishedViews(FurnishedConfig(folder, leave_out=("room",)))
    (tmp_path / "broken.glb").write_bytes(b"glTF and nothing else")
    with pytest.raises(SourceError, match=r"no readable \.glb"):
        load_model(tmp_path / "broken.glb")

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(SuperGlueRosError, match="trimesh and embreex"):
        load_model(folder / "room.glb")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("overlap", (0.5, 0.2), "overlap"),
        ("size", (8, 8), "size"),
        ("stray", 7, "stray"),
        ("turned", 2.0, "turned"),
        ("zoomed", -1.0, "zoomed"),
    ],
)
def test_config_is_validated(option: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FurnishedConfig(**{option: value})


def test_command_writes_a_sheet_of_furnished_worlds(folder: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    world_command.add_parser(parser.add_subparsers())
    words = ["world", "--output", str(tmp_path), "--pairs", "2", "--frames", "0"]
    words += ["--worlds", str(folder), "--width", "96", "--height", "72"]
    args = parser.parse_args(words)
    assert args.run(args) == 0
    assert cv2.imread(str(tmp_path / "pairs.png")).shape == (72, 96 * 8, 3)


def test_a_bank_keeps_features_and_truth(bank_folder: Path, config: FurnishedConfig) -> None:
    """All keypoints of a pair from the bank have the assignment that depth and pose give."""
    bank = Bank(bank_folder, (0.05, 0.8), CPU)
    pairs = bank.sample((4, 2), 200, torch.Generator().manual_seed(0))
    assert pairs.view0.descriptors.shape == (6, 200, 256)
    norms = pairs.view0.descriptors.norm(dim=2)
    torch.testing.assert_close(norms, torch.ones_like(norms), atol=2e-3, rtol=0)
    assert (pairs.truth.matches0[:4] >= 0).sum(1).min() > 0
    assert (pairs.truth.matches0[4:] == -1).all()
    cluster = FurnishedViews(config, seed=1).cluster(0)
    i, j = (torch.tensor([k]) for k in (0, 1))
    features, _ = load_superpoint(max_keypoints=200, keypoint_threshold=0.0)
    features.prepare(CPU, torch.float32)
    points0, points1 = (features(cluster.images[k]).keypoints for k in (i, j))
    truth = ground_truth_assignment(
        points0, points1, cluster.depth[i], cluster.depth[j], cluster.K[i], cluster.K[j],
        cluster.pose(i, j),
    )  # fmt: skip
    from safetensors.torch import load_file

    kept = load_file(bank_folder / "000000.safetensors")
    torch.testing.assert_close(kept["keypoints"][:1], points0)
    row = int(torch.nonzero((kept["pairs"] == torch.tensor([0, 1])).all(1))[0, 0])
    matched = truth.matches0[0] >= 0
    away = kept["points0"][row][matched] - points1[0][truth.matches0[0][matched]]
    assert away.norm(dim=1).max() < 3.0
    assert (kept["seen0"][row][matched] == 1).all()


def test_a_bank_goes_on_and_refuses_another_recipe(
    bank_folder: Path, config: FurnishedConfig, tmp_path: Path
) -> None:
    features, _ = load_superpoint()
    features.prepare(CPU, torch.float32)
    before = (bank_folder / "000001.safetensors").stat().st_mtime_ns
    assert make_bank(bank_folder, BankConfig(3, 200, config), features, "abc", CPU, seed=1) == 3
    assert (bank_folder / "000001.safetensors").stat().st_mtime_ns == before
    with pytest.raises(SourceError, match="other features or another recipe"):
        make_bank(bank_folder, BankConfig(3, 200, config), features, "def", CPU, seed=1)
    with pytest.raises(SourceError, match="no bank"):
        Bank(tmp_path, (0.05, 0.8), CPU)
    made = make_bank(
        tmp_path, BankConfig(3, 200, config), features, "abc", CPU, seed=1, deadline=0.0
    )
    assert made == 0


def test_subsets_come_in_any_order(bank_folder: Path) -> None:
    bank = Bank(bank_folder, (0.05, 0.8), CPU)
    generator = torch.Generator().manual_seed(4)
    first, second = (bank.sample((1, 0), 60, generator) for _ in range(2))
    assert first.view0.scores.shape == (1, 60)
    falling = first.view0.scores.sort(dim=1, descending=True).values
    assert not torch.equal(falling, first.view0.scores)
    assert not torch.equal(first.view0.keypoints, second.view0.keypoints)


def test_views_of_two_sizes_are_one_batch(bank_folder: Path) -> None:
    from superglue_ros.networks.superglue import normalize_keypoints

    pairs = Bank(bank_folder, (0.05, 0.8), CPU).sample((2, 0), 50, torch.Generator())
    large = pairs.view0
    small = large._replace(keypoints=large.keypoints / 2, image_size=(80, 60))
    joined = join_views(large, small)
    places = normalize_keypoints(joined.keypoints, joined.image_size)
    torch.testing.assert_close(places[:2], places[2:])
    torch.testing.assert_close(
        places[2:], normalize_keypoints(small.keypoints, small.image_size), atol=1e-6, rtol=0
    )


def test_a_stage_trains_on_the_bank(bank_folder: Path, config: FurnishedConfig) -> None:
    stage = SuperGlueStage(
        "rooms", (40, 60), 4, rendered_share=0.0, bank_share=0.5, bank_no_overlap_share=0.25
    )
    assert stage.counts == (0, 0, 1)
    assert stage.bank_counts == (2, 1)
    recipe = SuperGlueRecipe(
        network=SuperGlueConfig(num_layers=2, sinkhorn_iterations=5),
        pairs=PairConfig(size=SIZE),
        world=WorldConfig(width=96, height=72),
        bank=BankConfig(3, 200, config),
        stages=(stage,),
        bfloat16=False,
    )
    features, _ = load_superpoint()
    features.prepare(CPU, torch.float32)
    photos = PhotoBank(draw_procedural(2, seed=0, size=(400, 300)), CPU)
    bank = Bank(bank_folder, (0.05, 0.8), CPU)
    task = SuperGlueTask(recipe, stage, untrained(recipe), features, photos, {}, furnished=bank)
    loss, figures, _ = task.loss(0)
    assert loss.isfinite()
    assert 0 <= float(figures["precision"]) <= 1
    loss.backward()


def test_a_recipe_says_what_its_bank_lacks() -> None:
    stage = SuperGlueStage("rooms", rendered_share=0.25, bank_share=0.5)
    with pytest.raises(ValueError, match="asks for a bank"):
        SuperGlueRecipe(stages=(stage,))
    with pytest.raises(ValueError, match="keeps 100 keypoints"):
        SuperGlueRecipe(stages=(stage,), bank=BankConfig(2, 100))
    with pytest.raises(ValueError, match="shares of one batch"):
        SuperGlueStage("rooms", rendered_share=0.75, bank_share=0.5)


def test_evaluation_takes_a_furnished_world(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "rendered", "--worlds", str(folder), "--world", "room", "--pairs", "1"]
    words += ["--size", "160", "120", "--max-keypoints", "100", "--output", str(tmp_path)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "room 0.1 to 0.5" in printed
    assert "partner nearest %" in printed
    assert main(words[:4]) == 1
    assert "go together" in capsys.readouterr().err


@pytest.mark.slow
def test_one_command_makes_the_bank_and_mixes_in_what_a_stage_began_with(
    folder: Path, tmp_path: Path
) -> None:
    from superglue_ros.training import loop, runs

    recipe = tmp_path / "rooms.yaml"
    recipe.write_text(
        "drawings: 2\nbfloat16: false\nvalidation_batches: 1\nstart_share: 0.25\n"
        "network: {num_layers: 2, sinkhorn_iterations: 5}\n"
        "pairs: {size: [96, 80]}\n"
        "world: {width: 96, height: 80, procedural: 4, texture_size: 64, scenes: 2}\n"
        "bank: {clusters: 2, keypoints: 60, views: {size: [160, 120], views: 4}}\n"
        "stages:\n"
        "- {name: flat, keypoints: [20, 30], batch: 2, rendered_share: 0,\n"
        "   schedule: &schedule {steps: 3, validate_every: 3, warmup_steps: 1}}\n"
        "- {name: rooms, keypoints: [20, 30], batch: 3, rendered_share: 0, bank_share: 0.7,\n"
        "   from_mean: 1, schedule: *schedule}\n"
    )
    run = Run(recipe, tmp_path / "run", worlds=folder)
    weights, finished = runs.train("superglue", run)
    assert finished
    assert len(list((run.folder / "bank").glob("*.safetensors"))) == 2
    first, last = (
        loop.read_checkpoint(run.folder / place / loop.CHECKPOINT)["network"]
        for place in ("1_flat", "2_rooms")
    )
    for name in ("final_proj.weight", "gnn.layers.1.mlp.1.running_var"):
        assert (first[name] != last[name]).any()
        expected = 0.25 * first[name] + 0.75 * last[name]
        torch.testing.assert_close(weights.tensors[name].float(), expected, atol=2e-3, rtol=1e-3)
    card = json.loads((run.folder / "superglue.json").read_text())
    assert "2 clusters of views of furnished worlds" in card["data"]
    assert card["method"].endswith("0.25 of it the weights that these began with")
    again = replace(run, folder=tmp_path / "again", bank=run.folder / "bank", trial=True)
    assert runs.train("superglue", again)[1]
    assert not (again.folder / "bank").exists()
    with pytest.raises(SuperGlueRosError, match="name --worlds"):
        runs.train("superglue", replace(run, folder=tmp_path / "other", worlds=None))
