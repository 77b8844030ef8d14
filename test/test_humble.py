"""The nodes use nothing that ROS 2 Humble's rclpy does not have, and run without it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
from humble_rclpy import MODULE_NAMES, later_names
from node_harness import SMALL, TOPICS, Harness, camera_info, image, textured, wait_for

from superglue_ros.demo.node_process import NodeProcess, spinning

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[1]
STAND_IN = ROOT / "test" / "humble_rclpy.py"
GUARDED = {"add_post_set_parameters_callback"}
"""Used where it is there (a test of the parameters takes it away)."""
FILES = [
    p for room in ("nodes", "demo") for p in sorted((ROOT / "superglue_ros" / room).glob("*"))
]
S = 1_000_000_000


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".py"], ids=lambda p: p.name)
def test_names_are_humbles(path: Path) -> None:
    later = set(later_names()) - GUARDED
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rclpy."):
            names = {alias.name for alias in node.names}
            assert names <= MODULE_NAMES.get(str(node.module), set()), node.module
        if isinstance(node, ast.Attribute):
            assert node.attr not in later, f"line {node.lineno}: Humble has no {node.attr}"


class HumbleNode(NodeProcess):
    """A node whose rclpy is like Humble's."""

    def __init__(self, name: str, arguments: list[str], log: Path) -> None:
        super().__init__(name, arguments, log)
        self._command = [sys.executable, str(STAND_IN), name, "--ros-args", *arguments]


@pytest.fixture
def harness() -> Iterator[Harness]:
    rclpy.init()
    try:
        made = Harness()
        with spinning(made):
            yield made
    finally:
        rclpy.try_shutdown()


def test_nodes_run(harness: Harness, tmp_path: Path) -> None:
    with (
        HumbleNode("matcher_node", [*TOPICS, *SMALL], tmp_path / "matcher.log") as matcher,
        HumbleNode("odometry_node", [*TOPICS], tmp_path / "odometry.log") as odometry,
    ):
        harness.wait_until_heard(matcher, odometry)

        def introduced() -> bool:
            harness.infos.publish(camera_info(0))
            values = harness.values.get("/odometry_node", {})
            return values.get("camera_info") == "received"

        wait_for(introduced, "CameraInfo")
        for number in range(6):
            message = image(100 * S + number * S // 10, textured(4 * number))
            found = harness.send_and_match(message, matcher)
        assert len(found.confidences) > 10
        wait_for(lambda: len(harness.statuses) >= 6, "the odometry's answers")
        odometry.check()
        assert matcher.stop() == 0, matcher.output()
        assert odometry.stop() == 0, odometry.output()
    assert "Traceback" not in matcher.output() + odometry.output()
