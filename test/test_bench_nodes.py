"""`superglue_ros bench nodes`: the matcher node's way over DDS, timed for real."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

from node_harness import wait_for

from superglue_ros.cli import bench as command
from superglue_ros.demo import live_benchmark as bench
from superglue_ros.errors import SuperGlueRosError

pytestmark = pytest.mark.ros


TINY = ("device:=cpu", "precision:=float32", "max_keypoints:=96", "sinkhorn_iterations:=20")


def test_figures_of_a_small_node(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--size", "160x120", "--images", "3", "--rates", "2", "1000"]
    words += ["--seconds", "0.05", "--output", str(tmp_path), "--parameters", *TINY]
    assert bench.main(words) == 0
    assert "callback to published" in capfd.readouterr().out
    content = json.loads((tmp_path / "nodes.json").read_text())
    assert "commit" in content["machine"]
    result = content["result"]
    assert (result["width"], result["height"], result["keypoints"]) == (160, 120, 96)
    assert 0 < result["matches"] <= 96
    assert (result["device"], result["precision"]) == ("cpu", "float32")
    for name in ("overhead", "way", "inference"):
        spread = result[name]
        assert 0 < spread["median_ms"] <= spread["p90_ms"] <= spread["most_ms"] < math.inf
    slow, fast = result["rates"]
    assert (slow["sent"], slow["matched"]) == (5, 5)
    assert fast["sent"] == 50
    assert fast["dropped"] > 0
    for rate in (slow, fast):
        assert rate["sent"] == rate["matched"] + rate["dropped"] + rate["lost"]
        assert rate["matched_hz"] > 0


def test_told_to_stop(tmp_path: Path) -> None:
    """By SIGTERM, while the node works: one line, and the node ends, too."""
    log = tmp_path / "bench.log"
    command = [sys.executable, "-m", "superglue_ros.cli.main", "bench", "nodes"]
    command += ["--size", "160x120"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--images", "100000", "--parameters", *TINY], stderr=output
        )
    try:
        wait_for(lambda: b"image/s" in log.read_bytes(), "the first image")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert children
        process.terminate()
        assert process.wait(60) == 130
    finally:
        process.kill()
    words = log.read_text()
    assert words.splitlines()[-1] == "superglue_ros: interrupted"
    assert "Traceback" not in words
    assert not any(Path("/proc", child).exists() for child in children)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--images", "0"], "must be above 0"),
        (["--seconds", "nan"], "must be above 0"),
        (["--output", "/dev/null/folder"], "cannot make folder"),
        (["--images", "1", "--parameters", "device:=abacus"], "matcher_node ended with status 1"),
    ],
)
def test_what_cannot_be_measured(
    words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(words) == 1
    errors = capfd.readouterr().err
    assert said in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_without_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SuperGlueRosError, match="make setup"):
        command.run_nodes(argparse.Namespace(kind="nodes", words=[]))
