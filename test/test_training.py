import dataclasses
import itertools
import json
import math
import subprocess
import sys
import types

import cv2
import numpy as np
import pytest
import torch
import yaml

from superglue_ros.cli.main import main
from superglue_ros.errors import CheckpointError, SuperGlueRosError
from superglue_ros.networks.checkpoints import load_superpoint, read_weights, save_weights
from superglue_ros.networks.keypoints import SuperPointConfig
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.data.corners import MARGIN, find_corners, refine_maxima
from superglue_ros.training.data.crops import corner_crops
from superglue_ros.training.data.homographies import (
    HomographyConfig,
    random_homographies,
    similarity_matrix,
    translation_matrix,
    warp_points,
)
from superglue_ros.training.data.homography_pairs import HomographyPairs, PairConfig
from superglue_ros.training.data.photometry import augment_photometry
from superglue_ros.training.data.photos import PhotoBank, draw_procedural
from superglue_ros.training.data.shapes import ShapeImages
from superglue_ros.training.options import Run
from superglue_ros.training.recipes import RECIPES, from_dict, read_recipe, to_dict
from superglue_ros.training.schedule import ScheduleConfig
from superglue_ros.training.superglue.recipe import SuperGlueRecipe, SuperGlueStage
from superglue_ros.training.superglue.task import SuperGlueTask, untrained
from superglue_ros.training.superpoint.adaptation import (
    AdaptationConfig,
    adapt_labels,
    load_crops,
    save_crops,
)
from superglue_ros.training.superpoint.recipe import (
    LABELS,
    StageConfig,
    SuperPointRecipe,
)

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


def test_every_level_of_a_texture_has_its_edges_where_the_texture_has():
    # 83 pixels halve to 41, 20, 10: a ramp must read the same at every level.
    ramp = np.tile(np.linspace(0, 249, 83), (40, 1))
    bank = PhotoBank([ramp.round().astype(np.uint8)], CPU)
    x = torch.linspace(12, 70, 30)
    points = torch.stack((x, torch.full_like(x, 20.0)), dim=-1)[None, None]
    levels = [
        bank.sample(torch.tensor([0]), points, torch.tensor([float(2**level)]))[0]
        for level in range(3)
    ]
    for coarser in levels[1:]:
        torch.testing.assert_close(coarser, levels[0], atol=1 / 255, rtol=0)


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


def test_a_share_of_homographies_zooms_by_up_to_two_and_a_half():
    still = HomographyConfig(0.0, 0.0, 1.0, 0.0, 0.0, full_scale_share=0.25)
    generator = torch.Generator().manual_seed(0)
    homographies = random_homographies(400, (160, 120), still, generator)
    zoom = homographies[:, 0, 0]
    zoomed = (zoom - 1).abs() > 1e-4
    assert 70 < int(zoomed.sum()) < 130
    assert 0.4 <= zoom.min() < 0.5
    assert 2 < zoom.max() <= 2.5


def test_second_view_is_the_first_one_warped(bank):
    pairs = HomographyPairs(bank, PairConfig(photometric=0.0), seed=1)
    pair = pairs.sample(6)
    height, width = pair.images0.shape[-2:]
    x, y = torch.meshgrid(
        torch.arange(20, width - 20), torch.arange(20, height - 20), indexing="xy"
    )
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


def test_maxima_are_found_between_pixels():
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    peak = torch.tensor((12.3, 8.8))
    response = (-((x - peak[0]) ** 2 + (y - peak[1]) ** 2) / 8).exp()[None]
    refined = refine_maxima(response, torch.tensor([[[12.0, 9.0]]]))
    torch.testing.assert_close(refined[0, 0], peak, atol=1e-3, rtol=0)


def test_shapes_have_their_labels_on_strong_corners_in_view():
    images, points, scores = ShapeImages((96, 80), torch.Generator().manual_seed(0)).draw(5)
    assert images.shape == (5, 80, 96)
    assert 0 <= images.min() < 0.2
    assert 0.8 < images.max() <= 1
    sure = scores > 0
    assert sure.sum(1).min() >= 3
    assert (points[sure] >= 0).all()
    assert (points[sure] <= torch.tensor((95, 79))).all()
    # A sure label has contrast around it: the patch under it is not flat.
    padded = torch.nn.functional.pad(images[:, None], (3, 3, 3, 3), mode="replicate")
    spread = padded.unfold(2, 7, 1).unfold(3, 7, 1).flatten(4).std(-1)[:, 0]
    for image, label, is_sure in zip(spread, points.round().long(), sure):
        x, y = label[is_sure].T
        assert image[y, x].min() > 0.01


def test_a_square_is_covered_exactly_and_whichever_way_round():
    shapes = ShapeImages((20, 16), torch.Generator().manual_seed(0))
    square = torch.tensor([[[4.0, 3.0], [9.0, 3.0], [9.0, 8.0], [4.0, 8.0]]])
    cover = shapes._cover(square)
    torch.testing.assert_close(cover, shapes._cover(square.flip(1)))
    assert cover[0, 5, 6] == 1
    assert cover[0, 5, 4] == 0.5
    assert cover.sum() == pytest.approx(25, abs=1)


def test_labels_of_crops_are_seen_at_the_same_place_in_both_views(bank):
    generator = torch.Generator().manual_seed(4)
    crops = corner_crops(bank, 20, (240, 180), (0.8, 1.5), 100, generator)
    sure = crops.scores > 0
    assert sure.sum(1).min() > 5
    limit = torch.tensor(crops.size) - 1 - MARGIN
    assert (crops.points[sure] >= MARGIN - 0.5).all()
    assert (crops.points[sure] <= limit + 0.5).all()
    # Without light and noise the corners found in a view are the labels that moved there.
    config = PairConfig(photometric=0.0, homography=HomographyConfig(20.0, 0.0, 1.1, 0.05, 0.05))
    pair = HomographyPairs(bank, config, 5, crops).sample(8)
    torch.testing.assert_close(warp_points(pair.labels0, pair.H_0to1), pair.labels1)
    for images, valid, labels in (
        (pair.images0, pair.valid0, pair.labels0),
        (pair.images1, pair.valid1, pair.labels1),
    ):
        found, scores = find_corners(images[:, 0], valid, 30)
        near = torch.cdist(found, labels).amin(2)[scores > 5e-3]
        assert (near < 2).float().mean() > 0.8


def test_adapted_labels_are_what_the_detector_finds_again(bank, tmp_path):
    class CornerNetwork(torch.nn.Module):
        """A detector with a known answer: the corner response, as logits of each pixel."""

        conv1a = torch.nn.Conv2d(1, 1, 1)

        def dense(self, image):
            from superglue_ros.training.data.corners import corner_response

            response = (corner_response(image[:, 0]).clamp(min=1e-9) * 2e3).log()
            height, width = (side // 8 * 8 for side in response.shape[1:])
            cells = torch.nn.functional.pixel_unshuffle(response[:, None, :height, :width], 8)
            # "Nothing" outweighs all, so that a probability is the response times a constant.
            return torch.cat((cells, torch.full_like(cells[:, :1], 9.0)), 1), None

    generator = torch.Generator().manual_seed(4)
    crops = corner_crops(bank, 6, (243, 180), (0.8, 1.5), 100, generator)
    mild = HomographyConfig(45.0, 0.0, 1.1, 0.05, 0.05)
    config = AdaptationConfig(
        6, 0.0, keypoint_threshold=2e-4, ignore_threshold=1e-4, homography=mild
    )
    adapted = adapt_labels(CornerNetwork(), bank, crops, config, generator)
    assert adapted.points.shape == crops.points.shape
    strong = crops.scores > 5e-3
    near = torch.cdist(crops.points, adapted.points + 1e6 * (adapted.scores <= 0)[..., None])
    assert strong.sum() > 30
    assert (near.amin(2)[strong] < 1.5).float().mean() > 0.9
    # Files keep places to 1/32 px, and know the photographs they are of.
    file = tmp_path / "labels.pt"
    save_crops(file, adapted, bank)
    loaded = load_crops(file, bank)
    assert loaded.size == adapted.size
    torch.testing.assert_close(loaded.to_texture, adapted.to_texture)
    torch.testing.assert_close(loaded.points, adapted.points, atol=1 / 64, rtol=0)
    torch.testing.assert_close(loaded.scores.sign(), adapted.scores.sign())
    with pytest.raises(CheckpointError, match="other photographs"):
        load_crops(file, PhotoBank(draw_procedural(2, seed=0, size=(400, 300)), CPU))
    file.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="no labels"):
        load_crops(file, bank)
    with pytest.raises(ValueError, match="ignore_threshold"):
        AdaptationConfig(keypoint_threshold=0.01, ignore_threshold=0.02)


def test_compression_keeps_flat_blocks_and_loses_fine_detail():
    from superglue_ros.training.data.photometry import _jpeg

    flat = torch.full((1, 20, 27), 0.5)
    torch.testing.assert_close(_jpeg(flat, torch.ones(1, 1, 1)), flat)
    noise = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    fine, coarse = (_jpeg(noise, torch.full((1, 1, 1), c)) for c in (0.01, 4.0))
    torch.testing.assert_close(fine, noise, atol=0.01, rtol=0)
    assert 0.05 < (coarse - noise).abs().mean() < 0.5


def test_photometry_keeps_shape_and_range_and_follows_its_seed():
    images = torch.rand(4, 30, 40)
    first, again = (augment_photometry(images, torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first, again)
    assert first.min() >= 0
    assert first.max() <= 1
    untouched = augment_photometry(images, torch.Generator().manual_seed(3), strength=0.0)
    torch.testing.assert_close(untouched, images)


def test_recipes_go_to_plain_values_and_back_and_refuse_unknown_keys():
    stages = (StageConfig("a", "shapes", batch=3), StageConfig("b", pairs=PairConfig((80, 64))))
    recipe = SuperPointRecipe(stages=stages)
    assert from_dict(SuperPointRecipe, to_dict(recipe)) == recipe
    with pytest.raises(ValueError, match="no 'batches'"):
        from_dict(SuperPointRecipe, {"batches": 3})
    with pytest.raises(ValueError, match="subpixel_radius above 0"):
        SuperPointRecipe(subpixel_radius=0, stages=(StageConfig("a", reprojection_weight=1.0),))
    stage = SuperGlueStage("a")
    for stages, wrong in (((), "needs stages"), ((stage, stage), "name of its own")):
        with pytest.raises(ValueError, match=wrong):
            SuperGlueRecipe(stages=stages)
    with pytest.raises(ValueError, match="letters, digits and _"):
        SuperGlueRecipe(stages=(SuperGlueStage("a/b"),))
    with pytest.raises(ValueError, match="averaged_stages must be 1 to 1"):
        SuperGlueRecipe(averaged_stages=2)
    with pytest.raises(ValueError, match="shares of one batch"):
        SuperGlueStage("a", rendered_share=0.7, no_overlap_share=0.4)
    with pytest.raises(ValueError, match="no range of numbers"):
        SuperGlueStage("a", keypoints=(200, 100))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_shipped_recipes_read(path):
    kind = SuperPointRecipe if path.stem.startswith("superpoint") else SuperGlueRecipe
    recipe = read_recipe(kind, path)
    assert set(yaml.safe_load(path.read_text())) <= {f.name for f in dataclasses.fields(recipe)}
    tried = recipe.trial()
    assert [stage.name for stage in tried.stages] == [stage.name for stage in recipe.stages]
    assert sum(stage.schedule.steps * stage.batch for stage in tried.stages) < 100


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
        "drawings: 3\nbfloat16: false\nvalidation_batches: 1\nvalidation: {size: [96, 80]}\n"
        "stages:\n"
        "- {name: base, labels: shapes, crops: 4, renew_steps: 2, batch: 2,\n"
        "   descriptor_weight: 0, pairs: &pairs {size: [64, 64]},\n"
        "   schedule: &schedule {steps: 4, validate_every: 2}}\n"
        "- {name: corners, crops: 4, batch: 2, correspondences: 16,\n"
        "   pairs: *pairs, schedule: *schedule}\n"
        "- {name: joint, labels: adapted, crops: 4, batch: 2, correspondences: 16,\n"
        "   reprojection_weight: 1.0,\n"
        "   adaptation: {homographies: 2}, pairs: *pairs, schedule: *schedule}\n"
        "- {name: last, labels: repeatable, batch: 2, correspondences: 16,\n"
        "   reprojection_weight: 1.0, distillation_weight: 1.0,\n"
        "   pairs: *pairs, schedule: *schedule}\n"
    )
    return path


def train_in_slices(network, recipe, folder, monkeypatch):
    """Number of slices that a clock makes which goes on by a second a look: of a few steps each,
    within the stages."""
    from superglue_ros.training import loop, runs

    ticks = itertools.count()
    clock = types.SimpleNamespace(monotonic=lambda: float(next(ticks)))
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", clock)
        patch.setattr(runs, "time", clock)
        slices, asked = 1, Run(recipe, folder, minutes=0.15)
        while not runs.train(network, asked)[1]:
            slices, asked = slices + 1, dataclasses.replace(asked, resume=True)
    return slices


@pytest.mark.slow
def test_superpoint_trains_in_slices_that_end_where_one_run_does(
    tmp_path, tiny_recipe, capsys, monkeypatch
):
    from superglue_ros.training import loop, runs

    whole, sliced = tmp_path / "whole", tmp_path / "sliced"
    weights, finished = runs.train("superpoint", Run(tiny_recipe, whole))
    assert finished
    with pytest.raises(CheckpointError, match="without --resume"):
        runs.train("superpoint", Run(tiny_recipe, sliced, resume=True))
    assert 3 < train_in_slices("superpoint", tiny_recipe, sliced, monkeypatch) < 30
    again = ["train", "superpoint", "--config", str(tiny_recipe), "--output", str(sliced)]
    assert main([*again]) == 1
    assert "--resume" in capsys.readouterr().err
    assert main([*again, "--resume", "--device", "cpu"]) == 0
    card = json.loads((sliced / "superpoint.json").read_text())
    assert card["steps"] == 16
    assert card["pairs_seen"] == 32
    assert [stage["labels"] for stage in card["stages"].values()] == list(LABELS)
    assert [stage["reprojection_weight"] for stage in card["stages"].values()] == [0, 0, 1, 1]
    assert [stage["distillation_weight"] for stage in card["stages"].values()] == [0, 0, 0, 1]
    assert {"repeatability", "precision", "recall"} <= set(card["validation"])
    assert card["sha256"] == weights.sha256
    for place in ("1_base", "2_corners", "3_joint", "4_last"):
        lines = (whole / place / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [2, 4]
        assert (sliced / place / loop.CHECKPOINT).stat().st_size < 16 * 2**20
    tiny_recipe.write_text(tiny_recipe.read_text().replace("batch: 2", "batch: 3"))
    with pytest.raises(CheckpointError, match=r"another recipe \(stages\)"):
        runs.train("superpoint", Run(tiny_recipe, sliced, resume=True))


@pytest.mark.slow
def test_training_goes_on_from_weights(tmp_path, tiny_recipe):
    from superglue_ros.networks.checkpoints import shipped_path
    from superglue_ros.training import runs

    first, _, joint, _ = tiny_recipe.read_text().split("- {name: ")[1:]
    assert "shapes" in first
    head = tiny_recipe.read_text().split("- {name: ")[0]
    pairs, schedule = "{size: [64, 64]}", "{steps: 2, validate_every: 2, learning_rate: 1.0e-9}"
    joint = joint.replace("*pairs", pairs).replace("*schedule", schedule)
    tiny_recipe.write_text(f"{head}- {{name: {joint}")
    own = tmp_path / "own.yaml"
    own.write_text("stages: [{name: last, labels: repeatable}]")
    for recipe in (tiny_recipe, own):
        with pytest.raises(SuperGlueRosError, match="first stage has no network"):
            runs.train("superpoint", Run(recipe, tmp_path / "nothing"))
    start = shipped_path("superpoint")
    weights, _ = runs.train("superpoint", Run(tiny_recipe, tmp_path / "run", start=start))
    card = json.loads((tmp_path / "run" / "superpoint.json").read_text())
    before = read_weights(start)
    assert card["start"] == f"superpoint.safetensors {before.short_hash}"
    # The last layers have no norm, so that at a rate of nearly nothing they stay what they were.
    torch.testing.assert_close(weights.tensors["convPb.weight"], before.tensors["convPb.weight"])


def train_in_two_processes(network, recipe, folder):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--local-addr", "127.0.0.1", "--nproc-per-node", "2"]
    command += ["-m", "superglue_ros.cli.main", "train", network, "--device", "cpu"]
    command += ["--config", str(recipe), "--output", str(folder), "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / f"{network}.json").read_text())


@pytest.mark.slow
def test_two_processes_train_together(tmp_path, tiny_recipe):
    card = train_in_two_processes("superpoint", tiny_recipe, tmp_path)
    assert card["pairs_seen"] == 64  # twice as many as one process sees in as many steps
    lines = (tmp_path / "3_joint" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 2  # the main process alone
    kept = [torch.load(tmp_path / "3_joint" / f"labels_{rank}.pt")["places"] for rank in (0, 1)]
    assert not torch.equal(*kept)


@pytest.mark.slow
def test_two_processes_train_superglue_together(tmp_path, tiny_superglue):
    card = train_in_two_processes("superglue", tiny_superglue, tmp_path / "run")
    assert card["pairs_seen"] == 32
    for place in ("1_mixed", "2_rendered"):
        assert len((tmp_path / "run" / place / "log.jsonl").read_text().splitlines()) == 1


def test_large_checkpoints_come_in_parts(tmp_path, monkeypatch):
    from superglue_ros.training import checkpoint_files

    monkeypatch.setattr(checkpoint_files, "PART_BYTES", 10_000)
    path = tmp_path / "checkpoint.pt"
    for step in (1, 2):
        state = {"network": {"w": torch.full((10_000,), float(step))}, "step": step}
        checkpoint_files.write_state(path, state)
        found = checkpoint_files.read_state(path)
        assert found["step"] == step
        torch.testing.assert_close(found["network"]["w"], state["network"]["w"])
        files = sorted(tmp_path.iterdir())
        assert len(files) == 6  # those of the step before are gone
        assert max(file.stat().st_size for file in files) <= 10_000
    files[1].write_bytes(files[1].read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="parts are damaged"):
        checkpoint_files.read_state(path)
    files[1].unlink()
    with pytest.raises(CheckpointError, match="no readable checkpoint"):
        checkpoint_files.read_state(path)
    checkpoint_files.write_state(path, {"step": 3})
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.fixture
def tiny_superglue(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "drawings: 2\nbfloat16: false\nvalidation_batches: 1\n"
        "network: {num_layers: 2, sinkhorn_iterations: 10}\n"
        "averaged_stages: 2\nattention_keypoints: 16\n"
        "pairs: {size: [96, 80]}\n"
        "world: {width: 96, height: 80, procedural: 4, texture_size: 64, scenes: 2}\n"
        "stages:\n"
        "- {name: mixed, keypoints: [20, 30], batch: 3, rendered_share: 0.34,\n"
        "   no_overlap_share: 0.34,\n"
        "   schedule: &schedule {steps: 4, validate_every: 4, warmup_steps: 1}}\n"
        "- {name: rendered, keypoints: [20, 30], batch: 2, rendered_share: 1,\n"
        "   reuse: 2, schedule: *schedule}\n"
    )
    return path


@pytest.mark.slow
def test_superglue_trains_on_homographies_and_the_rendered_world(tmp_path, tiny_superglue):
    from superglue_ros.training import loop, runs

    path = tiny_superglue
    weights, finished = runs.train("superglue", Run(path, tmp_path / "run"))
    assert finished
    assert weights.config["num_layers"] == 2
    assert weights.config["attention_keypoints"] == 16
    first, second = (
        loop.read_checkpoint(tmp_path / "run" / place / loop.CHECKPOINT)["network"]
        for place in ("1_mixed", "2_rendered")
    )
    for name in ("final_proj.weight", "gnn.layers.1.mlp.1.running_var"):
        assert (first[name] != second[name]).any()
        expected = (first[name] + second[name]) / 2
        torch.testing.assert_close(weights.tensors[name].float(), expected, atol=2e-3, rtol=1e-3)
    card = json.loads((tmp_path / "run" / "superglue.json").read_text())
    assert card["method"].endswith("after the last 2 stages")
    assert set(card["validation"]) == set(card["validation_untrained"])
    assert set(card["validation"]) == set(card["validation_nearest_neighbour"])
    figures = {"rendered_auc10", "homography_accuracy", "no_overlap_matches"}
    assert figures <= set(card["validation"])
    assert [stage["pairs_seen"] for stage in card["stages"].values()] == [12, 4]
    assert card["pairs_seen"] == 16
    # A pair of each kind together in every batch, and the weights can be trained on.
    again = Run(path, tmp_path / "again", start=weights.path)
    runs.train("superglue", again)
    assert "start" in json.loads((tmp_path / "again" / "superglue.json").read_text())
    # A run that goes on sees scenes of its own, not those of its first slice again.
    more = dataclasses.replace(again, folder=tmp_path / "sliced", minutes=0.0)
    assert not runs.train("superglue", more)[1]
    more = dataclasses.replace(more, minutes=None, resume=True)
    assert not (tmp_path / "sliced" / "2_rendered").exists()
    other = SuperPoint(SuperPointConfig(nms_radius=3))
    other = save_weights(other, tmp_path / "other.safetensors", {}).path
    with pytest.raises(CheckpointError, match=r"another recipe \(features\)"):
        runs.train("superglue", dataclasses.replace(more, superpoint=other))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32), np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((32, 32), np.uint8))
    with pytest.raises(CheckpointError, match=r"another recipe \(photographs\)"):
        runs.train("superglue", dataclasses.replace(more, textures=tmp_path))
    assert runs.train("superglue", more)[1]
    path.write_text(path.read_text().replace("num_layers: 2", "num_layers: 4"))
    with pytest.raises(CheckpointError, match="2 layers, the recipe 4"):
        runs.train("superglue", dataclasses.replace(again, folder=tmp_path / "other"))


@pytest.mark.slow
def test_superglue_goes_on_from_stage_to_stage_in_slices(tmp_path, tiny_superglue, monkeypatch):
    from superglue_ros.training import loop, runs

    still = "{steps: 4, validate_every: 4, learning_rate: 1.0e-9}"
    text = tiny_superglue.read_text().replace(
        "reuse: 2, schedule: *schedule", f"schedule: {still}"
    )
    tiny_superglue.write_text(text)
    folder = tmp_path / "run"
    assert 2 < train_in_slices("superglue", tiny_superglue, folder, monkeypatch) < 30
    card = json.loads((folder / "superglue.json").read_text())
    assert [stage["steps"] for stage in card["stages"].values()] == [4, 4]
    first, second = (
        loop.read_checkpoint(folder / place / loop.CHECKPOINT)["network"]["final_proj.weight"]
        for place in ("1_mixed", "2_rendered")
    )
    before = untrained(read_recipe(SuperGlueRecipe, tiny_superglue)).final_proj.weight
    assert (first - before).abs().max() > 1e-4
    torch.testing.assert_close(second, first, atol=1e-6, rtol=0)
    # A finished run stays what it is.
    again, _ = runs.train("superglue", Run(tiny_superglue, folder, resume=True))
    assert again.sha256 == card["sha256"]
    # What a later stage has trained is not written over by a run without --resume.
    (folder / "1_mixed" / loop.CHECKPOINT).unlink()
    with pytest.raises(CheckpointError, match=r"2_rendered.* exists"):
        runs.train("superglue", Run(tiny_superglue, folder))


def test_the_dustbins_score_learns_fast_and_is_calibrated_afterwards(bank, tiny_superglue):
    recipe = read_recipe(SuperGlueRecipe, tiny_superglue)
    network = untrained(recipe)
    task = SuperGlueTask(recipe, recipe.stages[0], network, load_superpoint()[0], bank, {})
    scales = {id(p): group["scale"] for group in task.parameter_groups() for p in group["params"]}
    assert set(scales) == {id(p) for p in network.parameters()}
    assert scales[id(network.bin_score)] == recipe.bin_rate > 1
    assert scales[id(network.final_proj.weight)] == 1
    assert scales[id(network.branches()[0][-1].weight)] == recipe.branch_rate < 1
    # As low as this everything matches something, which is worse than it need be.
    with torch.no_grad():
        network.bin_score.fill_(0.0)
    task.calibrate_dustbin()
    assert network.bin_score.item() > 2
    later = SuperGlueTask(recipe, recipe.stages[1], network, load_superpoint()[0], bank, {})
    images, others = task.pairs.sample()[0].images0, later.pairs.sample()[0].images0
    assert not torch.equal(images, others[:1])


def test_memory_that_torch_frees_is_kept_for_the_next_step():
    code = """
import resource, torch
from superglue_ros.training.memory import keep_freed_memory
def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
assert keep_freed_memory()
before = megabytes()
for _ in range(30):
    torch.ones(16, 1024, 1024)
kept = megabytes() - before
assert 60 < kept < 900, kept
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_without_photographs_is_one_clear_error(tmp_path):
    from superglue_ros.training.data.photos import read_photos
    from superglue_ros.training.options import check_textures

    with pytest.raises(SuperGlueRosError, match="no folder"):
        check_textures(tmp_path / "none")
    with pytest.raises(SuperGlueRosError, match="no photographs"):
        read_photos(tmp_path, validation=False)
