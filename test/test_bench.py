"""`superglue_ros bench`: what it prints and writes, alone and beside another implementation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from superglue_ros.benchmarks.memory import peak_growth_mb
from superglue_ros.benchmarks.speed import _graphs, noise_image, untrain
from superglue_ros.cli import main as console
from superglue_ros.engines.cuda_graphs import CapturedNetworks
from superglue_ros.matching import ImageMatcher
from superglue_ros.networks.superglue import SuperGlue
from superglue_ros.networks.superpoint import SuperPoint

SMALL = ["bench", "--device", "cpu", "--precision", "float32", "--size", "96x64", "--runs", "2"]


def test_stages_and_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shows_something: Callable[[Path], bool]
) -> None:
    words = [*SMALL, "--keypoints", "16", "32", "--layers", "2", "--output", str(tmp_path)]
    assert console.main(words) == 0
    assert "SuperGlue graph" in capsys.readouterr().out
    content = json.loads((tmp_path / "bench.json").read_text())
    assert "commit" in content["machine"]
    assert [row["keypoints"] for row in content["results"]] == [16, 32]
    for row in content["results"]:
        assert (row["width"], row["height"], row["layers"]) == (96, 64, 2)
        assert (row["precision"], row["device"]) == ("float32", "cpu")
        laps = {stage["stage"]: stage["median_ms"] for stage in row["stages"]}
        assert laps["whole frame"] > laps["SuperPoint network"] > 0
        assert row["frames_per_s"] == pytest.approx(1e3 / laps["whole frame"])
        assert row["gpu_memory_mb"] is None
    assert shows_something(tmp_path / "bench.png")


def test_another_superglue_is_captured_anew() -> None:
    """On a CPU, where nothing is captured but the same functions run."""
    matcher = ImageMatcher(device="cpu", precision="float32", max_keypoints=32)
    matcher._captured = CapturedNetworks(matcher.superpoint, matcher.superglue)
    untrain(matcher, 2)
    keyframe = matcher.extract(noise_image((96, 64), 0))
    laps = _graphs(matcher, keyframe, noise_image((96, 64), 1))
    assert set(laps) == {"upload to keypoints", "matching"}
    assert min(laps.values()) > 0
    assert len(matcher._captured._superglue.network.layers) == 2


def test_peak_of_a_call() -> None:
    def call() -> None:
        np.ones(48 << 20, np.uint8)

    assert peak_growth_mb(call, torch.device("cpu")) == pytest.approx(48, abs=4)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder laid out like a checkout of the reference, which computes nothing."""
    models = tmp_path / "models"
    (models / "weights").mkdir(parents=True)
    torch.save(SuperPoint().state_dict(), models / "weights" / "superpoint_v1.pth")
    torch.save(SuperGlue().state_dict(), models / "weights" / "superglue_outdoor.pth")
    (models / "superpoint.py").write_text(
        "import torch\n"
        "class SuperPoint(torch.nn.Module):\n"
        "    def __init__(self, config):\n"
        "        super().__init__()\n"
        "        self.n = config['max_keypoints']\n"
        "    def forward(self, data):\n"
        "        assert data['image'].shape == (1, 1, 64, 96)\n"
        "        parts = torch.zeros(self.n, 2), torch.zeros(self.n), torch.zeros(256, self.n)\n"
        "        return dict(zip(('keypoints', 'scores', 'descriptors'), ([p] for p in parts)))\n"
    )
    (models / "superglue.py").write_text(
        "import torch\n"
        "class SuperGlue(torch.nn.Module):\n"
        "    def __init__(self, config):\n"
        "        super().__init__()\n"
        "        assert config['sinkhorn_iterations'] == 7\n"
        "    def forward(self, data):\n"
        "        assert data['descriptors1'].shape == (1, 256, 16)\n"
    )
    return tmp_path


def test_beside_a_checkout(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = checkout / "out"
    words = [*SMALL, "--keypoints", "16", "--sinkhorn-iterations", "7", "--output", str(output)]
    assert console.main([*words, "--against", str(checkout)]) == 0
    assert "times faster" in capsys.readouterr().out
    rows = json.loads((output / "bench.json").read_text())["results"]
    assert [row["work"] for row in rows] == ["SuperPoint, one image", "SuperGlue, both sides"]
    assert all(0 < row["their_ms"] < row["our_ms"] for row in rows)


def test_what_cannot_be_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(*words: str) -> str:
        assert console.main([*SMALL, *words]) == 1
        return capsys.readouterr().err

    assert "superglue.py is missing" in fails("--against", str(tmp_path))
    assert "--runs must be at least 1" in fails("--runs", "0")
    assert "--against brings its weights" in fails("--layers", "2", "--against", str(tmp_path))
    assert "--engine" in fails("--layers", "2", "--engine", str(tmp_path))
    assert "num_layers must be even" in fails("--layers", "3")
    assert "float16 needs a GPU" in fails("--precision", "float16")
