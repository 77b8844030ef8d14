import dataclasses
import json
import math

import numpy as np
import pytest
import torch
import yaml

from superglue_ros.cli.main import main
from superglue_ros.errors import CheckpointError, SuperGlueRosError
from superglue_ros.training.homographies import (
    HomographyConfig,
    random_homographies,
    similarity_matrix,
    translation_matrix,
    warp_points,
)
from superglue_ros.training.homography_pairs import HomographyPairs, PairConfig, find_corners
from superglue_ros.training.loop import ScheduleConfig
from superglue_ros.training.photometry import augment_photometry
from superglue_ros.training.photos import PhotoBank, draw_procedural
from superglue_ros.training.recipes import RECIPES, from_dict, read_recipe, to_dict
from superglue_ros.training.superglue_task import SuperGlueRecipe
from superglue_ros.training.superpoint_task import SuperPointRecipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bank() -> PhotoBank:
    return PhotoBank(draw_procedural(4, seed=0, size=(400, 300)), CPU)


def test_bank_samples_each_image_at_its_own_pixels():
    images = [np.full((20, 30), 51, np.uint8), np.arange(0, 80, 2, np.uint8).reshape(2, 20)]
    images[1] = np.repeat(images[1], 10, axis=0)
    bank = PhotoBank(images, CPU)
    points = torch.tensor([[[[3.5, 4.0], [29.0, 19.0]]], [[[3.5, 4.0], [40.0, 19.0]]]])
    values, inside = bank.sample(torch.tensor([0, 1]), points, torch.ones(2))
    np.testing.assert_allclose(values[0] * 255, [[51, 51]], atol=1e-3)
    np.testing.assert_allclose(values[1, 0, 0] * 255, 7.0, atol=1e-3)
    assert inside.tolist() == [[[True, True]], [[True, False]]]


def test_homographies_by_hand():
    points = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    turn = similarity_matrix(torch.tensor([math.pi / 2]), torch.tensor([2.0]))
    move = translation_matrix(torch.tensor([[10.0, 20.0]]))
    torch.testing.assert_close(
        warp_points(points, move @ turn), torch.tensor([[[10.0, 22.0], [6.0, 20.0]]])
    )


def test_the_identity_range_gives_the_identity():
    config = HomographyConfig(0.0, 0.0, 1.0, 0.0, 0.0)
    generator = torch.Generator().manual_seed(0)
    homographies = random_homographies(3, (160, 120), config, generator)
    torch.testing.assert_close(homographies, torch.eye(3).repeat(3, 1, 1), atol=1e-4, rtol=0)


def test_second_view_is_the_first_one_warped(bank):
    pairs = HomographyPairs(bank, PairConfig(photometric=0.0), seed=1)
    pair = pairs.sample(6)
    height, width = pair.images0.shape[-2:]
    x, y = torch.meshgrid(torch.arange(20, width - 20), torch.arange(20, height - 20),
                          indexing="xy")
    points0 = torch.stack((x, y), dim=-1).float().expand(6, -1, -1, -1)
    points1 = warp_points(points0, pair.H_0to1)
    scale = torch.tensor((width - 1, height - 1)) / 2
    seen = torch.nn.functional.grid_sample(pair.images1, points1 / scale - 1, align_corners=True)
    inside = ((points1 > 2) & (points1 < 2 * scale - 2)).all(-1)
    inside &= pair.valid0[:, 20 : height - 20, 20 : width - 20]
    error = (seen[:, 0] - pair.images0[:, 0, 20 : height - 20, 20 : width - 20]).abs()
    assert inside.sum() > 10_000
    assert error[inside].median() < 0.02


def test_corner_labels_lie_on_the_corners_of_a_square():
    image = torch.zeros(1, 60, 80)
    image[:, 20:40, 30:60] = 1.0
    points, scores = find_corners(image, torch.ones(1, 60, 80, dtype=torch.bool), 10)
    found = points[0][scores[0] > 0]
    corners = torch.tensor([[30.0, 20], [59, 20], [30, 39], [59, 39]])
    assert len(found) == 4
    assert torch.cdist(found, corners).amin(0).max() < 2.5


def test_photometry_keeps_shape_and_range_and_follows_its_seed():
    images = torch.rand(4, 30, 40)
    first, again = (
        augment_photometry(images, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    torch.testing.assert_close(first, again)
    assert first.min() >= 0
    assert first.max() <= 1
    untouched = augment_photometry(images, torch.Generator().manual_seed(3), strength=0.0)
    torch.testing.assert_close(untouched, images)


def test_recipes_go_to_plain_values_and_back_and_refuse_unknown_keys():
    recipe = SuperPointRecipe(batch=3, pairs=PairConfig(size=(80, 64)))
    assert from_dict(SuperPointRecipe, to_dict(recipe)) == recipe
    with pytest.raises(ValueError, match="no 'batches'"):
        from_dict(SuperPointRecipe, {"batches": 3})


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_shipped_recipes_read(path):
    kind = SuperPointRecipe if path.stem.startswith("superpoint") else SuperGlueRecipe
    recipe = read_recipe(kind, path)
    assert set(yaml.safe_load(path.read_text())) <= {f.name for f in dataclasses.fields(recipe)}


def test_the_rate_rises_and_falls():
    schedule = ScheduleConfig(steps=100, learning_rate=1.0, warmup_steps=10)
    rates = [schedule.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] > 0.97
    assert rates[99] < 0.001


@pytest.fixture
def tiny_recipe(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "batch: 2\ncorrespondences: 16\ndrawings: 3\nbfloat16: false\n"
        "validation_batches: 1\nvalidation_size: [96, 80]\n"
        "pairs: {size: [64, 64], max_corners: 30}\n"
        "schedule: {steps: 6, validate_every: 3, warmup_steps: 2}\n"
    )
    return path


@pytest.mark.slow
def test_superpoint_trains_in_slices_that_end_where_one_run_does(tmp_path, tiny_recipe, capsys):
    from superglue_ros.training import runs

    whole, sliced = tmp_path / "whole", tmp_path / "sliced"
    weights, finished = runs.train("superpoint", tiny_recipe, whole, textures=None)
    assert finished
    _, finished = runs.train("superpoint", tiny_recipe, sliced, textures=None, minutes=0.0)
    assert not finished
    again = ["train", "superpoint", "--config", str(tiny_recipe), "--output", str(sliced)]
    assert main([*again]) == 1
    assert "--resume" in capsys.readouterr().err
    assert main([*again, "--resume", "--device", "cpu"]) == 0
    card = json.loads((sliced / "superpoint.json").read_text())
    assert card["steps"] == 6
    assert card["pairs_seen"] == 12
    assert {"repeatability", "precision", "recall"} <= set(card["validation"])
    resumed = json.loads((sliced / "superpoint.json").read_text())["sha256"]
    assert resumed == weights.sha256
    rows = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6]
    tiny_recipe.write_text(tiny_recipe.read_text().replace("batch: 2", "batch: 3"))
    with pytest.raises(CheckpointError, match="another recipe"):
        runs.train("superpoint", tiny_recipe, sliced, textures=None, resume=True)


@pytest.mark.slow
def test_superglue_trains_on_homographies_and_the_rendered_world(tmp_path):
    from superglue_ros.training import runs

    path = tmp_path / "tiny.yaml"
    path.write_text(
        "batch: 2\nkeypoints: [20, 30]\ndrawings: 2\nrendered_share: 0.5\nbfloat16: false\n"
        "validation_batches: 1\n"
        "network: {num_layers: 2, sinkhorn_iterations: 10}\n"
        "pairs: {size: [96, 80]}\n"
        "world: {width: 96, height: 80, procedural: 4, texture_size: 64, scenes: 2}\n"
        "schedule: {steps: 4, validate_every: 4, warmup_steps: 1, learning_rate: 0.0005}\n"
    )
    weights, finished = runs.train("superglue", path, tmp_path / "run", textures=None)
    assert finished
    assert weights.config["num_layers"] == 2
    card = json.loads((tmp_path / "run" / "superglue.json").read_text())
    assert set(card["validation"]) == set(card["validation_untrained"])
    assert "rendered_precision" in card["validation"]


def test_a_folder_without_photographs_is_one_clear_error(tmp_path):
    from superglue_ros.training.photos import read_photos
    from superglue_ros.training.runs import check_textures

    with pytest.raises(SuperGlueRosError, match="no folder"):
        check_textures(tmp_path / "none")
    with pytest.raises(SuperGlueRosError, match="no photographs"):
        read_photos(tmp_path, validation=False)
