import json

import pytest
import torch
from safetensors.torch import save_file

from superglue_ros.errors import CheckpointError
from superglue_ros.matching import MatcherConfig
from superglue_ros.networks.checkpoints import (
    card_path,
    load_superglue,
    load_superpoint,
    save_weights,
)
from superglue_ros.networks.keypoints import SuperPointConfig
from superglue_ros.networks.superglue import SuperGlue, SuperGlueConfig
from superglue_ros.networks.superpoint import SuperPoint

SMALL = SuperGlueConfig(descriptor_dim=64, num_layers=2, keypoint_encoder=(8, 16))


@pytest.fixture
def small_file(tmp_path):
    torch.manual_seed(0)
    network = SuperGlue(SMALL)
    return network, save_weights(network, tmp_path / "small.safetensors", {"licence": "x"}).path


def test_saved_weights_come_back_with_their_configuration(small_file):
    network, path = small_file
    loaded, file = load_superglue(path, match_threshold=0.5, sinkhorn_iterations=7)
    assert loaded.config.num_layers == 2
    assert loaded.config.match_threshold == 0.5
    assert loaded.config.sinkhorn_iterations == 7
    assert json.loads(card_path(path).read_text())["sha256"] == file.sha256
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("counters", [True, False])
def test_a_published_state_dict_loads_strictly(tmp_path, counters):
    network = SuperGlue(SuperGlueConfig(num_layers=4))
    state = {k: v for k, v in network.state_dict().items() if counters or "num_batches" not in k}
    torch.save(state, tmp_path / "superglue_indoor.pth")
    loaded, _ = load_superglue(tmp_path / "superglue_indoor.pth")
    assert loaded.config.num_layers == 4
    torch.testing.assert_close(loaded.final_proj.weight, network.final_proj.weight)
    # The same as .safetensors, which lists the encoder's twelfth layer before its third.
    save_file(state, tmp_path / "superglue_indoor.safetensors")
    again, _ = load_superglue(tmp_path / "superglue_indoor.safetensors")
    assert again.config == loaded.config


def test_weights_that_cannot_be_written_are_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_weights(SuperGlue(SMALL), tmp_path / "file" / "small.safetensors", {})


def test_how_keypoints_are_found_is_the_files_matter(tmp_path):
    own = {"nms_radius": 3, "subpixel_radius": 2, "subpixel_power": 1.5, "smoothing_px": 1.0}
    network = SuperPoint(SuperPointConfig(**own))
    save_weights(network, tmp_path / "ours.safetensors", {})
    torch.save(network.state_dict(), tmp_path / "published.pth")
    ours, _ = load_superpoint(tmp_path / "ours.safetensors", max_keypoints=7)
    assert ours.config == SuperPointConfig(max_keypoints=7, **own)
    published, _ = load_superpoint(tmp_path / "published.pth", max_keypoints=7)
    assert published.config == SuperPointConfig(max_keypoints=7)
    # What the user asks for comes before what the file says.
    for radius, expected in ((-1, 3), (0, 0), (5, 5)):
        options = MatcherConfig(nms_radius=radius).superpoint_options()
        asked, _ = load_superpoint(tmp_path / "ours.safetensors", **options)
        assert asked.config.nms_radius == expected


def test_superpoint_loads_and_refuses_others_weights(tmp_path, small_file):
    torch.save(SuperPoint().state_dict(), tmp_path / "superpoint_v1.pth")
    load_superpoint(tmp_path / "superpoint_v1.pth")
    with pytest.raises(CheckpointError, match=r"small.safetensors.*expected .*conv1a.*found"):
        load_superpoint(small_file[1])
    with pytest.raises(CheckpointError, match=r"superpoint_v1.pth is not SuperGlue's"):
        load_superglue(tmp_path / "superpoint_v1.pth")


def test_a_damaged_file_names_both_hashes(small_file):
    path = small_file[1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"expected SHA-256 \w{64} .* found \w{64}"):
        load_superglue(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_truncated_missing_and_foreign_files_are_one_clear_error(tmp_path, small_file, suffix):
    path = tmp_path / f"broken{suffix}"
    with pytest.raises(CheckpointError, match="does not exist"):
        load_superglue(path)
    path.write_bytes(small_file[1].read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=rf"broken{suffix}"):
        load_superglue(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"broken{suffix}"):
        load_superglue(path)


def test_wrong_shapes_surplus_and_nan_are_named(tmp_path):
    path = tmp_path / "superpoint.pth"
    good = SuperPoint().state_dict()
    torch.save({**good, "conv1a.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(CheckpointError, match=r"expected conv1a.weight of shape \(64, 1, 3, 3\)"):
        load_superpoint(path)
    torch.save({**good, "extra": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="found extra"):
        load_superpoint(path)
    torch.save({**good, "convDb.bias": torch.full((256,), torch.nan)}, path)
    with pytest.raises(CheckpointError, match=r"convDb\.bias holds NaN"):
        load_superpoint(path)
    torch.save({"state": {"deep": good}}, path)
    with pytest.raises(CheckpointError, match="expected a state dict of tensors"):
        load_superpoint(path)


def test_the_shipped_weights_match_their_cards():
    for load in (load_superpoint, load_superglue):
        _, file = load()
        assert json.loads(card_path(file.path).read_text())["licence"] == "Apache-2.0"
