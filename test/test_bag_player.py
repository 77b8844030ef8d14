"""The bag player: when it plays, and what it says came of it; `ros2 bag play` is a stand-in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
from node_harness import wait_for
from rclpy.node import Node
from sensor_msgs.msg import Image

from superglue_ros.demo.node_process import spinning
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.msg import Matches, OdometryStatus
from superglue_ros.nodes import bag_player
from superglue_ros.nodes.bag_player import BagPlayer
from superglue_ros.nodes.running import run_node

pytestmark = pytest.mark.ros

PLAY = """#!/bin/sh
echo "$@" > {folder}/played
while [ ! -e {folder}/status ]; do sleep 0.05; done
exit $(cat {folder}/status)
"""


class Bag:
    """A bag player that waits, what it would play, and the matcher that it waits for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bag").mkdir()
        self.matcher = Node("matcher_node", cli_args=["--ros-args", "-r", "__ns:=/robot1"])
        self.others = Node("odometry_node")
        self.matches = self.matcher.create_publisher(Matches, "~/matches", 10)
        self.others.create_publisher(OdometryStatus, "/robot1/odometry_node/status", 10)
        names = ["-r", "__ns:=/robot1", "-r", "matches:=matcher_node/matches"]
        names += ["-r", "status:=odometry_node/status"]
        values = ["-r", "image:=cam/image", "-p", f"bag:={folder / 'bag'}", "-p", "rate:=2.0"]
        self.player = BagPlayer(cli_args=["--ros-args", *names, *values])
        self.ended: list[str] = []
        self.player._end = self.ended.append  # type: ignore[method-assign]

    def played(self) -> str:
        """The arguments of ros2 once it plays."""
        path = self.folder / "played"
        return path.read_text() if path.exists() else ""

    def is_ready(self) -> None:
        """Let the matcher listen to images, and wait for the playing."""
        self.matcher.create_subscription(Image, "cam/image", print, 10)
        wait_for(self.played, "the bag to be played")

    def ends(self, status: int = 0) -> str:
        """Let the playing end, and return what the player says then."""
        (self.folder / "status").write_text(str(status))
        wait_for(lambda: self.ended, "the end")
        return self.ended[0]


@pytest.fixture
def bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bag]:
    (tmp_path / "ros2bag.py").write_text("")
    command = tmp_path / "ros2"
    command.write_text(PLAY.format(folder=tmp_path))
    command.chmod(0o755)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(bag_player, "SETTLED_S", 0.3)
    rclpy.init()
    try:
        made = Bag(tmp_path)
        with spinning(made.player, made.matcher, made.others):
            yield made
            made.player.close()
    finally:
        rclpy.try_shutdown()


def test_it_plays_once_the_matcher_is_ready(bag: Bag) -> None:
    for topic in ("matcher_node/matches", "odometry_node/status"):
        wait_for(
            lambda t=f"/robot1/{topic}": bag.player.count_publishers(t), f"{topic} to be there"
        )
    bag.player._poll()
    assert not bag.played()
    bag.is_ready()
    assert bag.played() == f"bag play {bag.folder / 'bag'} --clock --rate 2.0 --delay 1.0\n"
    wait_for(bag.matches.get_subscription_count, "the matcher to find the player")
    for _ in range(3):
        bag.matches.publish(Matches())
    wait_for(lambda: bag.player._matched == 3, "the matches")
    assert bag.ends() == ""


@pytest.mark.parametrize("there", [True, False])
def test_where_nothing_was_matched_the_topics_are_said(bag: Bag, there: bool) -> None:
    topic = "/robot1/cam/image" if there else "/cam1/image"
    publishers = [bag.others.create_publisher(Image, topic, 1)]
    publishers.append(bag.matcher.create_publisher(Image, "~/match_picture", 1))
    bag.is_ready()
    wait_for(lambda: topic in bag.player._images, "the topic to be known")
    problem = "nothing was matched: there were "
    if there:
        problem += f"images on {topic}, of which the matcher's log says more"
    else:
        problem += f"no images on /robot1/cam/image, but on {topic}"
    assert bag.ends() == problem


def test_where_playing_failed_it_is_said(bag: Bag) -> None:
    bag.is_ready()
    assert bag.ends(2) == "ros2 bag play ended with status 2"


def test_a_matcher_that_never_is_ready_is_given_up(
    bag: Bag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bag_player, "LOADING_S", 0.0)
    wait_for(lambda: bag.ended, "the end")
    assert bag.ended[0].startswith("matcher and odometry are not ready after ")


def test_told_to_stop_it_ends_the_playing(bag: Bag) -> None:
    bag.is_ready()
    process = bag.player._player
    assert process is not None
    assert process.poll() is None
    bag.player.close()
    assert process.poll() is not None


def test_what_it_says_ends_it_with_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bag_player.importlib.util, "find_spec", lambda name: name)

    def end(problem: str) -> int:
        def make() -> BagPlayer:
            player = BagPlayer()
            monkeypatch.setattr(player, "_poll", lambda: player._end(problem))
            player.create_timer(0.01, player._poll)
            return player

        return run_node(make, ["--ros-args", "-p", f"bag:={tmp_path}"])

    assert end("nothing was matched") == 1
    assert "nothing was matched" in capfd.readouterr().err
    assert end("") == 0
    assert "the bag has been played, 0 images are matched" in capfd.readouterr().err


def test_without_rosbag2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bag_player.importlib.util, "find_spec", lambda name: None)
    rclpy.init()
    try:
        with pytest.raises(SuperGlueRosError, match="there is no rosbag2: apt install"):
            BagPlayer(cli_args=["--ros-args", "-p", f"bag:={tmp_path}"])
    finally:
        rclpy.try_shutdown()
