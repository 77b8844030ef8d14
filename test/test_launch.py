"""The launch files: what they start, by stand-ins of launch, and by launch where it is there."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from launch_stand_in import Launched, run_launch_file

LAUNCH_FILES = ("matcher", "localization", "odometry", "replay", "rtabmap", "tracks")
NEEDED = {
    "localization": {"map": "/maps/hall.npz"},
    "replay": {"bag": "/bags/drive"},
    "rtabmap": {"depth": "camera/depth"},
}
SHOWN = {
    "/matcher_node/match_picture",
    "/odometry_node/landmarks",
    "/odometry_node/odometry",
    "/odometry_node/path",
}


def launched(monkeypatch: pytest.MonkeyPatch, name: str, **arguments: str) -> Launched:
    return run_launch_file(monkeypatch, name, **{**NEEDED.get(name, {}), **arguments})


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_arguments_are_described_and_files_are_there(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    found = launched(monkeypatch, name)
    assert {"image", "camera_info", "namespace", "matcher_params"} <= set(found.declared)
    for argument in found.declared.values():
        assert argument.description, argument.name
    assert "matcher_node" in found.nodes
    for node in found.nodes.values():
        assert all(Path(file).is_file() for file in node.files), node.files
        if node.package == "superglue_ros" and node.executable != "bag_player":
            assert node.files == [node.files[0]]
            assert node.files[0].endswith(f"/{node.name.removesuffix('_node')}.yaml")


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_a_namespace_alone_gives_two_robots_two_cameras(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    topics = {"image": "camera/image_raw", "camera_info": "camera/camera_info"}
    for robot in ("robot1", "/robot2"):
        inside = f"/{robot.strip('/')}/"
        for node in launched(monkeypatch, name, namespace=robot).nodes.values():
            for topic in ("image", "camera_info"):
                if topic in dict(node.remappings):
                    assert node.topic(topic) == inside + topics[topic], node.name
            for topic in dict(node.remappings):
                assert node.topic(topic).startswith(inside), (node.name, topic)
    absolute = launched(monkeypatch, name, namespace="robot1", image="/cam0/image_raw")
    assert absolute.nodes["matcher_node"].topic("image") == "/cam0/image_raw"


def test_what_is_not_given_is_left_to_the_parameter_files(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = launched(monkeypatch, "localization").nodes
    assert plain["odometry_node"].values == {"use_sim_time": False}
    given = launched(
        monkeypatch,
        "localization",
        base_frame="base_link",
        frame_prefix="robot1/",
        rectified="true",
        use_sim_time="true",
    ).nodes
    frames = {"base_frame": "base_link", "frame_prefix": "robot1/", "rectified": True}
    assert given["odometry_node"].values == {"use_sim_time": True, **frames}
    own = {"map": "/maps/hall.npz", "publish_tf": False}
    assert given["localization_node"].values == {"use_sim_time": True, **own, **frames}


def test_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of both nodes, with the parameters and topics that each of them has by itself."""
    arguments = {
        "image_right": "right/image_rect",
        "camera_info_right": "right/camera_info",
        "base_frame": "base_link",
        "publish_tf": "true",
        "use_sim_time": "true",
        "namespace": "robot1",
        "log_level": "warn",
        "matcher_params": "/own/matcher.yaml",
    }
    two = launched(monkeypatch, "odometry", **arguments).nodes
    one = launched(monkeypatch, "odometry", one_process="true", **arguments).nodes
    assert list(one) == ["matcher_and_odometry"]
    both = one["matcher_and_odometry"]
    assert both.namespace == "robot1"
    assert both.parameters == []
    assert both.arguments[-3:] == ["--ros-args", "--log-level", "warn"]
    words = both.arguments[:-3]
    start = words.index("--odometry")
    own = {"matcher_node": words[1:start], "odometry_node": words[start + 1 :]}
    assert words[0] == "--matcher"
    for name, (file, *values) in own.items():
        assert [file] == two[name].files
        given = {
            key: str(value).replace("True", "true") for key, value in two[name].values.items()
        }
        assert dict(word.split("=", 1) for word in values) == given
        assert dict(two[name].remappings).items() <= dict(both.remappings).items()
    assert own["matcher_node"][0] == "/own/matcher.yaml"
    for name in ("localization", "replay", "rtabmap"):
        nodes = launched(monkeypatch, name, one_process="true").nodes
        assert "matcher_and_odometry" in nodes
        assert not {"matcher_node", "odometry_node"} & set(nodes)
    assert "matcher_node" in launched(monkeypatch, "tracks", one_process="true").nodes


def test_depth_and_right_images(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = launched(monkeypatch, "odometry", depth="camera/depth").nodes["odometry_node"]
    assert deep.values["use_depth"] is True
    assert deep.topic("depth") == "/camera/depth"
    right = {"image_right": "right/image_rect", "camera_info_right": "right/camera_info"}
    stereo = launched(monkeypatch, "odometry", **right).nodes
    assert stereo["matcher_node"].values["use_stereo"] is True
    assert stereo["odometry_node"].values["use_stereo"] is True
    assert stereo["matcher_node"].topic("image_right") == "/right/image_rect"
    with pytest.raises(RuntimeError, match="need each other"):
        launched(monkeypatch, "odometry", image_right="right/image_rect")
    with pytest.raises(RuntimeError, match="rtabmap needs depth, or image_right"):
        launched(monkeypatch, "rtabmap", depth="")
    rtabmap = launched(
        monkeypatch, "rtabmap", base_frame="base_link", frame_prefix="robot1/"
    ).nodes["rtabmap"]
    assert rtabmap.values["frame_id"] == "robot1/base_link"


@pytest.mark.parametrize(
    ("name", "arguments", "package"),
    [
        ("replay", {}, "ros2bag"),
        ("replay", {"rviz": "true"}, "rviz2"),
        ("odometry", {"rviz": "true"}, "rviz2"),
        ("rtabmap", {}, "rtabmap_slam"),
    ],
)
def test_what_is_missing_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, name: str, arguments: dict[str, str], package: str
) -> None:
    there = {"ros2bag", "rviz2", "rtabmap_slam"} - {package}
    arguments = {**NEEDED.get(name, {}), **arguments}
    with pytest.raises(RuntimeError, match=rf"needs {package}: apt install ros-\$ROS_DISTRO-"):
        run_launch_file(monkeypatch, name, there, **arguments)


def test_rviz_and_foxglove_show_the_topics_of_the_nodes(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load((repository / "config" / "odometry.rviz").read_text())
    manager = content["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "odom"
    topics = {display["Topic"]["Value"] for display in manager["Displays"] if "Topic" in display}
    assert topics == SHOWN
    assert "rviz2" not in launched(monkeypatch, "odometry").nodes
    rviz = launched(
        monkeypatch, "odometry", rviz="true", namespace="robot1", frame_prefix="robot1/"
    ).nodes["rviz2"]
    assert rviz.arguments[2:] == ["-f", "robot1/odom"]
    assert Path(rviz.arguments[1]) == repository / "config" / "odometry.rviz"
    assert dict(rviz.remappings) == {topic: f"robot1{topic}" for topic in SHOWN}

    layout = json.loads((repository / "config" / "odometry.foxglove.json").read_text())
    panels = layout["configById"]

    def leaves(place: Any) -> list[str]:
        return (
            [place] if isinstance(place, str) else leaves(place["first"]) + leaves(place["second"])
        )

    assert sorted(leaves(layout["layout"])) == sorted(panels)
    seen = {*panels["3D!odometry"]["topics"], panels["Image!matches"]["imageMode"]["imageTopic"]}
    assert seen == SHOWN
    for name, message in (
        ("odometry_node/status", "OdometryStatus"),
        ("matcher_node/matches", "Matches"),
    ):
        fields = re.findall(rf'"/{name}\.(\w+)"', json.dumps(panels))
        assert fields
        text = (repository / "msg" / f"{message}.msg").read_text()
        assert all(re.search(rf"^\w+ {field} ", text, re.M) for field in fields), fields


def test_a_replay_ends_with_its_bag_and_with_an_error_where_something_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ends(executable: str, status: int, shutdown: bool = False, rviz: str = "false") -> Any:
        found = launched(monkeypatch, "replay", rviz=rviz)
        found.context.is_shutdown = shutdown
        action = SimpleNamespace(node_executable=executable)
        return found.on_exit[0](SimpleNamespace(action=action, returncode=status), found.context)

    found = launched(monkeypatch, "replay", namespace="robot1", rate="2.0")
    player = found.nodes["bag_player"]
    assert player.values == {"bag": "/bags/drive", "rate": 2.0}
    assert player.topic("matches") == "/robot1/matcher_node/matches"
    assert player.topic("status") == "/robot1/odometry_node/status"
    assert all(found.nodes[n].values["use_sim_time"] for n in ("matcher_node", "odometry_node"))
    assert ends("bag_player", 0) == ["bag_player has ended"]
    assert ends("bag_player", 0, rviz="true") == []
    assert ends("rviz2", 0, rviz="true") == ["rviz2 has ended"]
    assert ends("matcher_node", 0, shutdown=True) == []
    for executable, status in (("bag_player", 1), ("matcher_node", 1), ("odometry_node", 0)):
        with pytest.raises(RuntimeError, match=f"{executable} ended with status {status}"):
            ends(executable, status)


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_launch_descriptions_can_be_made(
    repository: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pytest.importorskip("launch_ros")
    path = repository / "launch" / f"{name}.launch.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    declared = module.generate_launch_description().get_launch_arguments()
    assert {argument.name for argument in declared} == set(launched(monkeypatch, name).declared)
