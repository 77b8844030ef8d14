"""What the launch files use of launch, launch_ros and the package index, for machines without.

A launch file and those that it includes are run, and the nodes that they would start kept as text.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = "superglue_ros.nodes.launching"


def performed(context: Context, value: Any) -> Any:
    """A value with its substitutions put in, as text, or in its type where that is given."""
    if isinstance(value, Substitution):
        return value.perform(context)
    if isinstance(value, (list, tuple)):
        return "".join(str(performed(context, part)) for part in value)
    return value


class Context:
    """Arguments of a launch, and whether it is ending."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments, self.is_shutdown = dict(arguments), False


class Substitution:
    """Text that is known when the launch runs."""

    def __init__(self, perform: Callable[[Context], Any]) -> None:
        self.perform = perform


def launch_configuration(name: str) -> Substitution:
    return Substitution(lambda context: performed(context, context.arguments[name]))


def path_join(parts: list[Any]) -> Substitution:
    return Substitution(lambda context: "/".join(performed(context, part) for part in parts))


def parameter_value(value: Any, value_type: type) -> Substitution:
    def perform(context: Context) -> Any:
        text = performed(context, value)
        return {"true": True, "false": False}[text] if value_type is bool else value_type(text)

    return Substitution(perform)


@dataclass
class DeclareLaunchArgument:
    """An argument; one without a default has to be given."""

    name: str
    default_value: Any = None
    description: str = ""
    choices: Any = None


@dataclass
class Include:
    """Another launch file."""

    path: Any
    launch_arguments: Iterable[tuple[str, Any]] = ()


@dataclass
class Opaque:
    """A function of the context that gives more actions."""

    function: Callable[[Context], Any]
    condition: Any = None


@dataclass
class StartedNode:
    """A node as it would be started, all of it performed."""

    package: str
    executable: str
    name: str = ""
    namespace: str = ""
    parameters: list[Any] = field(default_factory=list)
    remappings: list[tuple[Any, Any]] = field(default_factory=list)
    arguments: list[Any] = field(default_factory=list)
    output: str = ""

    def perform(self, context: Context) -> None:
        """Put all substitutions in."""
        self.namespace = performed(context, self.namespace)
        self.remappings = [(old, performed(context, new)) for old, new in self.remappings]
        self.arguments = [performed(context, part) for part in self.arguments]
        self.parameters = [
            {name: performed(context, value) for name, value in part.items()}
            if isinstance(part, dict)
            else performed(context, part)
            for part in self.parameters
        ]

    def topic(self, name: str) -> str:
        """The topic that a name of the node's becomes."""
        new = dict(self.remappings).get(name, name)
        inside = f"/{self.namespace.strip('/')}/" if self.namespace else "/"
        return new if new.startswith("/") else inside + new

    @property
    def values(self) -> dict[str, Any]:
        """Parameters that the launch file sets itself."""
        return {
            k: v for part in self.parameters if isinstance(part, dict) for k, v in part.items()
        }

    @property
    def files(self) -> list[str]:
        """Its parameter files."""
        return [part for part in self.parameters if isinstance(part, str)]


@dataclass
class Launched:
    """What came of a launch file: its nodes by name, arguments, and what waits for processes."""

    context: Context
    nodes: dict[str, StartedNode] = field(default_factory=dict)
    declared: dict[str, DeclareLaunchArgument] = field(default_factory=dict)
    on_exit: list[Callable[..., Any]] = field(default_factory=list)

    def run(self, path: Path) -> None:
        """Run a launch file."""
        spec = importlib.util.spec_from_file_location(path.stem.replace(".", "_"), path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._take(module.generate_launch_description())

    def _take(self, actions: Iterable[Any]) -> None:
        for action in actions:
            if isinstance(action, DeclareLaunchArgument):
                assert action.name not in self.declared, "declared twice"
                self.declared[action.name] = action
                if action.name not in self.context.arguments:
                    assert action.default_value is not None, f"{action.name} has to be given"
                    self.context.arguments[action.name] = action.default_value
            elif isinstance(action, Include):
                self.context.arguments.update(action.launch_arguments)
                self.run(Path(performed(self.context, action.path)))
            elif isinstance(action, Opaque):
                if action.condition is None or performed(self.context, action.condition) == "true":
                    self._take(action.function(self.context) or [])
            elif isinstance(action, StartedNode):
                action.perform(self.context)
                self.nodes[action.name or action.executable] = action
            else:
                self.on_exit.append(action)


def run_launch_file(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    installed: Iterable[str] = ("rviz2", "ros2bag", "rtabmap_slam"),
    **arguments: str,
) -> Launched:
    """Run a launch file of the repository by these stand-ins, with some packages installed."""

    class PackageNotFoundError(KeyError):
        pass

    def get_package_prefix(package: str) -> str:
        if package not in installed:
            raise PackageNotFoundError(package)
        return "/"

    modules: dict[str, dict[str, Any]] = {
        "launch": {"LaunchContext": Context, "LaunchDescription": list},
        "launch.actions": {
            "DeclareLaunchArgument": DeclareLaunchArgument,
            "IncludeLaunchDescription": Include,
            "OpaqueFunction": Opaque,
            "RegisterEventHandler": lambda handler: handler,
            "EmitEvent": lambda event: event,
        },
        "launch.conditions": {"IfCondition": lambda value: value},
        "launch.event_handlers": {"OnProcessExit": lambda on_exit: on_exit},
        "launch.events": {"Shutdown": lambda reason: reason},
        "launch.events.process": {"ProcessExited": object},
        "launch.launch_description_sources": {"PythonLaunchDescriptionSource": lambda path: path},
        "launch.substitutions": {
            "LaunchConfiguration": launch_configuration,
            "PathJoinSubstitution": path_join,
        },
        "launch_ros": {},
        "launch_ros.actions": {"Node": StartedNode},
        "launch_ros.parameter_descriptions": {"ParameterValue": parameter_value},
        "launch_ros.substitutions": {"FindPackageShare": lambda package: str(ROOT)},
        "ament_index_python": {},
        "ament_index_python.packages": {
            "PackageNotFoundError": PackageNotFoundError,
            "get_package_prefix": get_package_prefix,
        },
    }
    with monkeypatch.context() as patched:
        for module_name, contents in modules.items():
            module = types.ModuleType(module_name)
            module.__dict__.update(contents)
            patched.setitem(sys.modules, module_name, module)
        patched.delitem(sys.modules, SHARED, raising=False)
        launched = Launched(Context(arguments))
        try:
            launched.run(ROOT / "launch" / f"{name}.launch.py")
        finally:
            sys.modules.pop(SHARED, None)  # whose names are the stand-ins
    return launched
