"""Nodes that cannot start say why in one line, and whoever tells one to stop gets status 0."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

from node_harness import SMALL, wait_for

from superglue_ros.demo.node_process import executable

pytestmark = pytest.mark.ros

IMPORTED = {
    "bag_player": "_rclpy_pybind11",
    "localization_node": "libtorch_cpu",
    "matcher_and_odometry": "libtorch_cpu",
    "matcher_node": "libtorch_cpu",
    "odometry_node": "_rclpy_pybind11",
    "rtabmap_node": "_rclpy_pybind11",
    "tracks_node": "_rclpy_pybind11",
}
"""A library that each loads long before it is a node."""

WARM_UP_WITHOUT_END = f"""
import torch
from superglue_ros.nodes import matcher_node, starting, worker

def warm_up(core):
    print("warming up", flush=True)
    matrix = torch.eye(700)
    while True:
        matrix = matrix @ matrix

matcher_node.warm_up, worker.CLOSE_TIMEOUT_S = warm_up, 0.2
import sys
sys.argv[1:] = ["--ros-args", *{SMALL!r}]
starting.start("superglue_ros.nodes.matcher_node")
"""


def the_line(stderr: str) -> str:
    """The one line that says what is wrong."""
    assert "Traceback" not in stderr
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, stderr
    return lines[0]


@pytest.mark.parametrize(
    ("node", "arguments", "words"),
    [
        ("matcher_node", "-p match_threshold:=2.0", "match_threshold"),
        ("matcher_node", "-p match_threshold:=half", "match_threshold must be of type float"),
        ("matcher_node", "-p decoder:=guess", "decoder must be one of own, cv_bridge"),
        ("matcher_node", "-p device:=abacus", "device must be one of auto, cuda, cpu"),
        ("matcher_node", "-p superpoint:=/no/such.safetensors", "/no/such.safetensors does not"),
        ("odometry_node", "-p base_to_camera:=1_2_3", "base_to_camera needs a base_frame"),
        ("odometry_node", "-p min_inliers:=1", "min_inliers"),
        ("odometry_node", "-p odom_frame:=''", "odom_frame must not be empty"),
        ("odometry_node", "-p use_sim_time:=perhaps", "'use_sim_time' to 'perhaps'"),
        ("odometry_node", "-p min_inliers", "parameter override rule: '-p min_inliers'"),
        ("odometry_node", "--log-level loud", "log level: '--log-level loud'"),
        ("odometry_node", "--params-file /no/such.yaml", "params file: '--params-file /no/such"),
        ("odometry_node", "--params-file FILE", "Cannot have a value before ros__parameters"),
        ("odometry_node", "-r matches=a", "remap rule: '-r matches=a'"),
        ("odometry_node", "-r __node:=1st", "remap rule: '-r __node:=1st'"),
        ("odometry_node", "--loud", "unknown ROS arguments: ['--loud']"),
        (
            "odometry_node",
            "-p qos_overrides./matches.subscription.reliability:=loud",
            "QoS override for policy `reliability`: `loud`",
        ),
        (
            "odometry_node",
            "-p qos_overrides./matches.subscription.reliability:=1",
            "qos_overrides./matches.subscription.reliability",
        ),
        ("tracks_node", "-p vins:=stereo", "vins must be one of none, mono, fusion"),
        ("localization_node", "-p rate_hz:=1.0", "map must be a file"),
        ("bag_player", "-p bag:=/no/bag", "there is no bag '/no/bag'"),
    ],
)
def test_bad_start(
    node: str, arguments: str, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "parameters.yaml").write_text("odometry_node:\n  min_inliers: 30\n")
    given = arguments.replace("FILE", str(tmp_path / "parameters.yaml")).split()
    main = importlib.import_module(f"superglue_ros.nodes.{node}").main
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    assert main(["--ros-args", *given]) == 1
    line = the_line(capfd.readouterr().err)
    assert words in line
    assert "/project/src" not in line
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_bad_start_of_a_process() -> None:
    command = [str(executable("odometry_node")), "--ros-args", "--log-level", "loud"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "loud" in the_line(ended.stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("node", IMPORTED)
def test_told_to_stop_while_it_imports(node: str, number: signal.Signals) -> None:
    process = subprocess.Popen([executable(node)], stderr=subprocess.PIPE, text=True)
    maps = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: IMPORTED[node] in maps.read_text(), f"{node} to import")
    for _ in range(2):
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert said == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_while_it_warms_up(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", WARM_UP_WITHOUT_END], stdout=output, stderr=output
        )
    wait_for(lambda: "warming up" in log.read_text(), "the warm-up")
    for _ in range(2):
        process.send_signal(number)
    assert process.wait(60) == 0, log.read_text()
    assert log.read_text() == "warming up\n"


def test_the_command_line_is_an_executable_of_the_package() -> None:
    """For `ros2 run superglue_ros superglue_ros`."""
    command = executable("superglue_ros")
    assert os.access(command, os.X_OK)
    ended = subprocess.run(
        [command, "--help"], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0
    assert "SUBCOMMAND" in ended.stdout
