"""Set up the virtual environment and build the workspace; runs on the bare system Python.

Two parts, each left alone while its stamp file is newer than what it is made from:
  packages   virtual environment, this package (editable), ROS 2 wheels unless a ROS 2 is sourced
  workspace  messages and nodes, by colcon, into the install folder
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHEELS = [
    "rclpy[fastrtps]",
    "std-msgs",
    "sensor-msgs",
    "geometry-msgs",
    "nav-msgs",
    "diagnostic-msgs",
    "visualization-msgs",
    "std-srvs",
    "ament-cmake",
    "ament-cmake-python",
    "ament-cmake-pytest",
    "ament-cmake-ros",
    "ament-cmake-gtest",
    "ament-cmake-gmock",
    "ament-cmake-include-directories",
    "ament-package",
    "rosidl-default-generators",
    "rosidl-core-generators",
]
ONLY_IN = {"jazzy": ["python-cmake-module"], "kilted": ["ament-cmake-ros-core"]}
BUILD_TOOLS = ["colcon-common-extensions", "empy", "lark", "catkin_pkg", "setuptools"]
# What a ROS distribution brings by apt, unknown to pip: requirement -> importable name.
SYSTEM_MODULES = {
    "torch": "torch",
    "numpy": "numpy",
    "opencv-python": "cv2",
    "scipy": "scipy",
    "matplotlib": "matplotlib",
    "safetensors": "safetensors",
    "rosbags": "rosbags",
    "tqdm": "tqdm",
    "PyYAML": "yaml",
    "pytest": "pytest",
    "hypothesis": "hypothesis",
    "mypy": "mypy",
    "ruff": "ruff",
    "evo": "evo",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "triton": "triton",
}


class SetupError(Exception):
    """A prerequisite is missing; the message says what to install."""


def check_prerequisites(sourced: bool) -> None:
    """Raise SetupError, in one line, for the first thing that the set-up needs and lacks."""
    version = sys.version_info
    name = f"Python {version.major}.{version.minor}"
    if not (3, 10) <= version[:2] <= (3, 13):
        raise SetupError(
            f"{name} at {sys.executable} does not suit: install Python 3.10 to 3.13 "
            "(choose one with PYTHON=python3.12)"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            f"{name} has no venv module: install it (apt install "
            f"python{version.major}.{version.minor}-venv)"
        ) from None
    if not find_compiler():
        raise SetupError("no C++ compiler found: install one (apt install g++), or set CXX")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        raise SetupError(
            f"no Python headers ({header}): install them (apt install "
            f"python{version.major}.{version.minor}-dev)"
        )
    if not sourced and (sys.platform != "linux" or platform.machine() != "x86_64"):
        raise SetupError(
            f"no ROS 2 wheels for {sys.platform} {platform.machine()}: install ROS 2 and "
            "source it (. /opt/ros/jazzy/setup.sh), then try again"
        )
    if sourced:
        for tool, package in (("cmake", "cmake"), ("colcon", "python3-colcon-common-extensions")):
            if not shutil.which(tool):
                raise SetupError(f"no {tool} found: install it (apt install {package})")


def find_compiler() -> str | None:
    """Path of the C++ compiler that cmake will take, or None."""
    chosen = os.environ.get("CXX", "").split()
    names = chosen[:1] or ["c++", "g++", "clang++"]
    return next((path for path in map(shutil.which, names) if path), None)


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a step from the repository's root, raising SetupError that names it when it fails."""
    process = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if process.returncode:
        raise SetupError(f"this step failed, its own words are above: {' '.join(command[:6])} ...")


def output(command: list[str]) -> str:
    """Standard output of a command that must succeed."""
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def install_packages(venv: Path, distribution: str, sourced: bool, python: Path) -> None:
    """Create the virtual environment and fill it from versions.txt."""
    say("1/2 Python packages (several minutes the first time)")
    site = ["--system-site-packages"] if sourced else []
    run([sys.executable, "-m", "venv", *site, str(venv)])
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    if sourced:
        install_beside_system(venv, pip, python)
        return
    wheels = [f"ros-{distribution}-{name}" for name in (*WHEELS, *ONLY_IN[distribution])]
    tools = BUILD_TOOLS + ([] if shutil.which("cmake") else ["cmake"])
    constraint = ["--constraint", "versions.txt"]
    run([*pip, *constraint, "setuptools", "wheel"])
    run([*pip, *constraint, "--no-build-isolation", "--editable", ".[test]"])
    run([*pip, *constraint, "cv-bridge", *wheels, *tools])
    repair_cmake_paths(venv, python)
    write_local_setup(venv)


def install_beside_system(venv: Path, pip: list[str], python: Path) -> None:
    """Add only what the sourced ROS lacks: its cv_bridge is built for its own numpy and OpenCV."""
    probe = (
        "import importlib.util as u, sys\nprint(*[n for n in sys.argv[1:] if u.find_spec(n)])\n"
    )
    found = output([str(python), "-c", probe, *SYSTEM_MODULES.values()]).split()
    missing = [name for name, module in SYSTEM_MODULES.items() if module not in found]
    pins = (ROOT / "versions.txt").read_text().splitlines()
    if "numpy" in found:
        # opencv-python and scipy follow the numpy that is there
        loose = ("numpy==", "opencv-python==", "scipy==", "matplotlib==")
        pins = [line for line in pins if not line.startswith(loose)]
        number = output([str(python), "-c", "import numpy; print(numpy.__version__)"])
        pins.append(f"numpy=={number.strip()}")
    pins = [line for line in pins if not line.startswith("setuptools==")]
    constraints = venv / "constraints.txt"
    constraints.write_text("\n".join(pins) + "\n")
    if missing:
        run([*pip, "--constraint", str(constraints), *missing])
    run([*pip, "--no-deps", "--editable", "."])


def repair_cmake_paths(venv: Path, python: Path) -> None:
    """Replace the include folders of the machine that built the wheels by those of this one."""
    script = (
        "import numpy, sysconfig\nprint(sysconfig.get_path('include'))\nprint(numpy.get_include())"
    )
    include, numpy_include = output([str(python), "-c", script]).split("\n")[:2]
    for path in (venv / "share").rglob("*.cmake"):
        text = path.read_text()
        if "/opt/python/" not in text:
            continue
        words = [
            numpy_include if "/numpy/" in word else include if "/include/" in word else word
            for word in split_paths(text)
        ]
        path.write_text("".join(words))


def split_paths(text: str) -> list[str]:
    """Cut a cmake file into paths that start with /opt/python/ and the text between them."""
    return re.split(r'(/opt/python/[^;"\s]+)', text)


def write_local_setup(venv: Path) -> None:
    """Write what a ROS prefix has and the wheels lack, so that install/setup.bash chains to it."""
    libraries = [str(venv / "lib"), *map(str, venv.glob("lib/python3*/site-packages/*.libs"))]
    lines = (
        f'export AMENT_PREFIX_PATH="{venv}${{AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}}"',
        f'export LD_LIBRARY_PATH="{":".join(libraries)}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"',
        "export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1",
    )
    for shell in ("sh", "bash", "zsh"):
        (venv / f"local_setup.{shell}").write_text("\n".join(lines) + "\n")


def build_workspace(venv: Path, base: Path, sourced: bool) -> None:
    """Build messages and nodes with colcon into base/install."""
    say("2/2 messages and nodes")
    environment = dict(os.environ)
    environment["PATH"] = f"{venv / 'bin'}{os.pathsep}{environment['PATH']}"
    if not sourced:
        prefix = {"AMENT_PREFIX_PATH": str(venv), "CMAKE_PREFIX_PATH": str(venv)}
        environment.update(prefix, LD_LIBRARY_PATH=str(venv / "lib"))
        environment.pop("PYTHONPATH", None)
    colcon = venv / "bin" / "colcon"
    run(
        [
            str(colcon) if colcon.exists() else "colcon",
            *("--log-base", str(base / "log"), "build"),
            *("--base-paths", str(ROOT), "--packages-select", "superglue_ros"),
            *("--build-base", str(base / "build"), "--install-base", str(base / "install")),
            *("--symlink-install", "--cmake-args", "-DBUILD_TESTING=OFF", "-Wno-dev"),
            f"-DPython3_EXECUTABLE={venv / 'bin' / 'python3'}",
        ],
        environment,
    )


def say(line: str) -> None:
    print(f"setup: {line}", flush=True)


def main() -> int:
    """Do one part ("packages" or "workspace"); 1 with one line when it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("packages", "workspace"))
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=ROOT, help="folder of build/ and install/")
    parser.add_argument("--wheels", choices=("jazzy", "kilted"), default="jazzy")
    parser.add_argument("--sourced", action="store_true", help="use the ROS 2 that is sourced")
    options = parser.parse_args()
    venv = (ROOT / options.venv).absolute()
    python = venv / "bin" / "python"
    try:
        check_prerequisites(options.sourced)
        if options.part == "packages":
            install_packages(venv, options.wheels, options.sourced, python)
        else:
            build_workspace(venv, (ROOT / options.base).absolute(), options.sourced)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
