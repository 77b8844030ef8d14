"""The launch files, as far as this installation can read them."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

LAUNCH_FILES = ("matcher", "localization", "odometry", "replay", "rtabmap", "tracks")


def file_of(repository: Path, name: str) -> Path:
    return repository / "launch" / f"{name}.launch.py"


def named_files(path: Path) -> list[str]:
    """Files of this package that a launch file names."""
    words = [n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)]
    ends = (".yaml", ".rviz", ".launch.py")
    return [w for w in words if isinstance(w, str) and w.endswith(ends) and " " not in w]


def declared_arguments(path: Path) -> dict[str, dict[str, Any]]:
    """Names of the DeclareLaunchArgument calls of a file and of those that it includes, with
    their keyword arguments."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    declared = {
        ast.literal_eval(call.args[0]): {word.arg or "": word.value for word in call.keywords}
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "DeclareLaunchArgument"
    }
    for name in named_files(path):
        if name.endswith(".launch.py"):
            included = declared_arguments(path.parent / name)
            assert not set(declared) & set(included), "declared twice"
            declared.update(included)
    return declared


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_every_argument_is_described(repository: Path, name: str) -> None:
    arguments = declared_arguments(file_of(repository, name))
    assert {"image", "camera_info", "namespace", "matcher_params"} <= set(arguments)
    for argument, keywords in arguments.items():
        assert ast.literal_eval(keywords["description"]), argument


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_every_file_that_it_names_is_there(repository: Path, name: str) -> None:
    found = named_files(file_of(repository, name))
    assert found
    for file in found:
        folder = "launch" if file.endswith(".py") else "config"
        assert (repository / folder / file).is_file(), file


def test_rviz_shows_the_topics_of_the_nodes(repository: Path) -> None:
    content = yaml.safe_load((repository / "config" / "odometry.rviz").read_text())
    manager = content["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "odom"
    topics = {display["Topic"]["Value"] for display in manager["Displays"] if "Topic" in display}
    tree = ast.parse(file_of(repository, "replay").read_text())
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert topics <= words  # which it moves into the nodes' namespace
    assert topics == {
        "/matcher_node/match_picture",
        "/odometry_node/landmarks",
        "/odometry_node/odometry",
        "/odometry_node/path",
    }


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_launch_descriptions_can_be_made(repository: Path, name: str) -> None:
    pytest.importorskip("launch_ros")
    path = file_of(repository, name)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    declared = module.generate_launch_description().get_launch_arguments()
    assert {argument.name for argument in declared} == set(declared_arguments(path))
