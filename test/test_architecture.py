"""The floors of the house: who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "superglue_ros"
MAX_LINES = 300
MAX_NODE_LINES = 250

FLOORS = {
    "types": 0,
    "errors": 0,
    "options": 0,
    "provenance": 0,
    "npz": 1,
    "waiting": 0,
    "stamps": 1,
    "one_camera": 1,
    "networks": 1,
    "geometry": 1,
    "sources": 2,
    "engines": 2,
    "world": 2,
    "matching": 3,
    "odometry": 3,
    "training": 3,
    "exporters": 4,
    "tracks": 4,
    "mapping": 4,
    "reporting": 4,
    "evaluation": 5,
    "replay": 6,
    "benchmarks": 6,
    "nodes": 6,
    "demo": 7,
    "cli": 7,
}
"""Rooms of the package, lowest first; a room imports only itself and lower floors."""

GROUND = {"types", "errors", "options", "provenance", "waiting", "stamps", "one_camera", "npz"}
ALLOWED = {
    "matching": {*GROUND, "networks", "geometry", "engines"},
    "odometry": {*GROUND, "geometry"},
    "training": {*GROUND, "networks", "geometry", "world"},
    "world": {*GROUND, "geometry"},
    "engines": {*GROUND, "networks"},
    "exporters": {*GROUND, "geometry", "networks", "engines", "matching"},
    "reporting": GROUND,
    "tracks": {*GROUND, "geometry"},
    "mapping": {*GROUND, "geometry", "matching"},
    "nodes": {*GROUND, "sources", "geometry", "matching", "odometry", "tracks", "mapping"},
}
"""Where the floor alone would allow too much (matching must not need a bag reader)."""

ROS_MODULES = {
    "rclpy", "cv_bridge", "message_filters", "sensor_msgs", "nav_msgs", "geometry_msgs",
    "std_msgs", "tf2_ros", "diagnostic_msgs", "builtin_interfaces", "ament_index_python",
    "rtabmap_msgs",
}  # fmt: skip
TORCH_ROOMS = {
    "networks", "engines", "world", "matching", "training", "exporters", "evaluation",
    "benchmarks", "nodes", "demo", "cli",
}  # fmt: skip
ROS_ROOMS = {"nodes", "demo"}
NEVER_SHIPPED = {"evo", "pytest", "hypothesis"}


def python_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """First part of the path inside the package ("" for the package's own __init__)."""
    name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if name == "__init__" else name


def imported_modules(path: Path) -> set[str]:
    """Absolute names of all modules a file imports, at any depth of the code."""
    package = ["superglue_ros", *path.relative_to(PACKAGE).parts[:-1]]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def external(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_modules(path)}


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    used = {
        name.split(".")[1]
        for name in imported_modules(path)
        if name.startswith("superglue_ros.") and name.split(".")[1] in FLOORS
    }
    for target in used - {room}:
        if not room:
            assert FLOORS[target] == 0, f"the package itself imports {target}"
            continue
        assert FLOORS[target] < FLOORS[room], f"{room} imports {target}"
        assert target in ALLOWED.get(room, FLOORS), f"{room} imports {target}"
        assert not (room == "cli" and target in ROS_ROOMS), f"cli imports {target}"


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_external_imports(path: Path) -> None:
    room, used = room_of(path), external(path)
    assert not used & NEVER_SHIPPED, f"{path} ships a test dependency"
    if room not in ROS_ROOMS:
        assert not used & ROS_MODULES, f"{path} imports ROS outside {ROS_ROOMS}"
    if room not in TORCH_ROOMS:
        assert "torch" not in used, f"{path} imports torch"
    if room in ("types", "errors"):
        assert used <= {"numpy", "dataclasses", "typing", "__future__", "enum"}


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    most = MAX_NODE_LINES if room_of(path) == "nodes" else MAX_LINES
    assert lines <= most, f"{path} has {lines} lines"


@pytest.mark.parametrize("room", ["types", "errors"])
def test_every_room_is_known(room: str) -> None:
    rooms = {room_of(path) for path in python_files()} - {""}
    assert rooms <= set(FLOORS), f"unknown rooms {rooms - set(FLOORS)}"
    assert room in rooms


@pytest.mark.parametrize(
    "module", ["superglue_ros", "superglue_ros.odometry", "superglue_ros.sources"]
)
def test_stays_free_of_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_console_stays_quick_and_free_of_torch() -> None:
    code = "import sys, superglue_ros.cli.main; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
