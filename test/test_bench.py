"""`superglue_ros bench`: what it prints and writes, alone and beside another implementation."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from superglue_ros.benchmarks.busy import busy_processes, measure_throughput
from superglue_ros.benchmarks.memory import peak_growth_mb
from superglue_ros.benchmarks.opponents import FEATURES, LIVE, MATCHING, PAIR
from superglue_ros.benchmarks.products import measure_products
from superglue_ros.benchmarks.speed import (
    ENCODING,
    GRAPH,
    NETWORK,
    _graphs,
    noise_image,
    untrain,
)
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
        assert [part["stage"] for part in row["products"]] == [NETWORK, ENCODING, GRAPH]
    assert shows_something(tmp_path / "bench.png")


def test_products_are_counted() -> None:
    """Of a convolution, a linear layer, a product and an attention, each worked out by hand."""
    x, image = torch.ones(1, 4, 8), torch.ones(1, 3, 5, 7)
    weight, kernel = torch.ones(16, 8), torch.ones(2, 3, 3, 3)

    def stage() -> None:
        torch.nn.functional.linear(x, weight)
        torch.relu(x @ x.transpose(1, 2))
        torch.nn.functional.conv2d(image, kernel, padding=1)
        heads = torch.ones(1, 2, 4, 8)
        torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)

    stages = {"products": stage, "none": lambda: torch.relu(x)}
    (found,) = measure_products(stages, {"products": 50.0, "none": 1.0}, runs=2)
    flop = 2 * 4 * 8 * 16 + 2 * 4 * 8 * 4 + 2 * (5 * 7 * 2) * 27 + 2 * (2 * 4 * 4) * (8 + 8)
    assert found.stage == "products"
    assert found.gflop == pytest.approx(flop / 1e9)
    assert found.percent == pytest.approx(2 * found.alone_ms)
    assert found.gflop_per_s == pytest.approx(flop / found.alone_ms / 1e6)


def test_parameters_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "preset.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    max_keypoints: 16\n    sinkhorn_iterations: 5\n"
        "    resize: 96\n    image_transport: raw\n"
    )
    words = ["bench", "--parameters", str(file), "--size", "192x128", "--runs", "1"]
    words += ["--sinkhorn-iterations", "7", "--device", "cpu"]
    assert console.main(words) == 0
    shown = capsys.readouterr().out
    assert "192x128 shrunk to 96, 16 keypoints, 6 layers, 7 iterations" in shown
    assert "matrix products alone: " in shown
    assert console.main([*words, "--against", "lightglue"]) == 1
    assert "--parameters" in capsys.readouterr().err
    file.write_text("resize: 96\n")
    assert console.main(words) == 1
    assert "is no parameter file" in capsys.readouterr().err


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
    assert [row["work"] for row in rows] == [FEATURES, MATCHING, PAIR, LIVE]
    assert {row["opponent"] for row in rows} == {str(checkout)}
    assert all(0 < row["their_ms"] < row["our_ms"] for row in rows)


def test_beside_busy_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALL, "--keypoints", "16", "--runs", "1", "--busy", "1", "--output", str(tmp_path)]
    assert console.main(words) == 0
    assert "beside 1 busy processes" in capsys.readouterr().out
    beside = json.loads((tmp_path / "bench.json").read_text())["results"][0]["beside"]
    assert beside["processes"] == len(beside["idle_frames_per_s"]) == 1
    assert min(*beside["idle_frames_per_s"], *beside["busy_frames_per_s"]) > 0


def test_busy_processes_compute_when_told() -> None:
    def cpu_s(pid: int) -> float:
        parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, parts[11:13])) / os.sysconf("SC_CLK_TCK")

    def wait_for(seconds: float) -> None:
        deadline = time.monotonic() + 60
        while min(cpu_s(pid) for pid in pids) < seconds:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    with busy_processes(2) as others:
        pids = [process.pid for process in others._processes]
        others.tell(True)
        wait_for(0.2)
        others.tell(False)
    assert not any(Path("/proc", str(pid)).exists() for pid in pids)
    with pytest.raises(ValueError, match="at least one process"):
        measure_throughput(lambda: None, 0, 1)


def test_beside_lightglue(
    fake_lightglue: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On two pictures of the user's, scaled to the size."""
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), noise_image((200, 100), 0))
    images = [str(tmp_path / name) for name in ("a.png", "b.png")]
    words = [*SMALL, "--keypoints", "16", "--output", str(tmp_path), "--images", *images]
    assert console.main([*words, "--against", "lightglue", "disk-lightglue"]) == 0
    assert "ALIKED+LightGlue" in capsys.readouterr().out
    rows = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert [row["work"] for row in rows] == 2 * [FEATURES, MATCHING, PAIR, LIVE]
    assert {(row["width"], row["height"]) for row in rows} == {(96, 64)}
    assert all(row["same_matches_percent"] is None for row in rows)


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
    assert "--busy must be at least 0" in fails("--busy", "-1")
    assert "--against does not go with" in fails("--busy", "1", "--against", "lightglue")
    assert "--images go with --against" in fails("--images", "a.png", "b.png")
