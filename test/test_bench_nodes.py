"""`superglue_ros bench nodes`: the matcher node's way over DDS, timed for real."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

from superglue_ros.cli import bench as command
from superglue_ros.cli import main as console
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.nodes import bench
from superglue_ros.nodes.bench import RateResult

pytestmark = pytest.mark.ros


def test_figures_of_a_small_node(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "nodes", "--size", "96x64", "--images", "3", "--rates", "2", "1000"]
    words += ["--seconds", "0.05", "--output", str(tmp_path), "--parameters"]
    words += ["device:=cpu", "precision:=float32", "max_keypoints:=32", "sinkhorn_iterations:=2"]
    assert console.main(words) == 0
    assert "callback to published" in capfd.readouterr().out
    content = json.loads((tmp_path / "nodes.json").read_text())
    assert "commit" in content["machine"]
    result = content["result"]
    assert (result["width"], result["height"]) == (96, 64)
    assert 0 < result["overhead_median_ms"] <= result["overhead_most_ms"] < 1000
    assert result["inference"]["median_ms"] > 0
    slow, fast = result["rates"]
    assert (slow["sent"], slow["matched"]) == (5, 5)
    assert fast["sent"] == 50
    assert 0 < fast["matched"] < 50


def test_drops() -> None:
    assert RateResult(10.0, 50, 12, 3.1).dropped == 38


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--images", "0"], "must be above 0"),
        (["--images", "1", "--parameters", "device:=abacus"], "matcher_node ended with status 1"),
    ],
)
def test_what_cannot_be_measured(
    words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(words) == 1
    lines = capfd.readouterr().err.splitlines()
    assert said in lines[-1]


def test_without_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SuperGlueRosError, match="make setup"):
        command.run_nodes(argparse.Namespace(words=[]))
