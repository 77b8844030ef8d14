"""What the launch files share; only they import it, as launch is no part of the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "superglue_ros"
SHARE = FindPackageShare(PACKAGE)


def included(name: str, **arguments: str) -> IncludeLaunchDescription:
    """Another of this package's launch files, with its arguments, of which some may be set."""
    path = PathJoinSubstitution([SHARE, "launch", f"{name}.launch.py"])
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path), launch_arguments=arguments.items()
    )


def config(file: str) -> PathJoinSubstitution:
    """A file of config/."""
    return PathJoinSubstitution([SHARE, "config", file])


def params_argument(name: str, more: str = "") -> DeclareLaunchArgument:
    """The argument NAME_params that `superglue_node` reads."""
    return DeclareLaunchArgument(
        f"{name}_params",
        default_value=config(f"{name}.yaml"),
        description=f"Parameter file of {name}_node, for what differs from "
        f"config/{name}.yaml{more}.",
    )


def superglue_node(
    name: str, parameters: dict[str, Any], remappings: Sequence[tuple[str, Any]], **options: Any
) -> Node:
    """NAME_node of this package, as the arguments that all launch files have say.

    parameters: beside the file of the argument NAME_params, over which they have the say; options:
    more of Node's.
    """
    return Node(
        package=PACKAGE,
        executable=f"{name}_node",
        name=f"{name}_node",
        parameters=[
            # Not after config/NAME.yaml, which holds the nodes' own defaults: of two files rcl
            # takes a whole number of the first before any other number of the second.
            LaunchConfiguration(f"{name}_params"),
            {"use_sim_time": typed("use_sim_time", bool), **parameters},
        ],
        remappings=list(remappings),
        **common(),
        **options,
    )


def matcher_arguments() -> list[DeclareLaunchArgument]:
    """What every launch file that starts a matcher has."""
    return [
        DeclareLaunchArgument(
            "image",
            default_value="camera/image_raw",
            description="Topic of the images; compressed ones where it ends in /compressed. Names "
            "without a leading / are in the namespace.",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value="camera/camera_info",
            description="Topic of the CameraInfo of the images; the matcher can do without.",
        ),
        DeclareLaunchArgument(
            "image_right",
            default_value="",
            description="Topic of the right images of a rectified stereo pair, whose left ones "
            "are on image.",
        ),
        DeclareLaunchArgument(
            "namespace", default_value="", description="Namespace of the nodes, as robot1."
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", description="Take the time from /clock."
        ),
        params_argument(
            "matcher", "; presets are config/matcher_cpu.yaml and config/matcher_gpu.yaml"
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="From which severity on the nodes' lines are shown.",
        ),
    ]


def matcher_setting(context: LaunchContext) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Parameters and remappings of matcher_node that follow from its arguments."""
    remappings: list[tuple[str, Any]] = [
        (name, LaunchConfiguration(name)) for name in ("image", "camera_info")
    ]
    if right := text(context, "image_right"):
        remappings.append(("image_right", right))
    return ({"use_stereo": True} if right else {}), remappings


def both_nodes(
    context: LaunchContext,
    matcher: dict[str, Any],
    odometry: dict[str, Any],
    remappings: Sequence[tuple[str, Any]],
) -> Node:
    """matcher_node and odometry_node in one process, each with its parameters, as with
    `superglue_node`; remappings: of both."""

    def words(name: str, parameters: dict[str, Any]) -> list[Any]:
        """As matcher_and_odometry takes them, which tells the two nodes apart."""
        given = [
            f"{key}={str(value).lower() if isinstance(value, bool) else text(context, key)}"
            for key, value in parameters.items()
        ]
        sim_time = f"use_sim_time={text(context, 'use_sim_time')}"
        return [f"--{name}", LaunchConfiguration(f"{name}_params"), sim_time, *given]

    options = common()
    arguments = [*words("matcher", matcher), *words("odometry", odometry)]
    return Node(
        package=PACKAGE,
        executable="matcher_and_odometry",
        remappings=list(dict(remappings).items()),
        **{**options, "arguments": [*arguments, *options["arguments"]]},
    )


def common() -> dict[str, Any]:
    """Options of every node, by arguments that all launch files have."""
    return {
        "namespace": LaunchConfiguration("namespace"),
        "arguments": ["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        "output": "screen",
    }


def typed(name: str, kind: type) -> ParameterValue:
    """An argument as a parameter of a type."""
    return ParameterValue(LaunchConfiguration(name), value_type=kind)


def text(context: LaunchContext, name: str) -> str:
    """An argument as it is given."""
    return str(LaunchConfiguration(name).perform(context))


def given(context: LaunchContext, **kinds: type) -> dict[str, ParameterValue]:
    """Those of these arguments, with their types, that are not empty, as parameters: what is not
    given is left to the parameter files."""
    return {name: typed(name, kind) for name, kind in kinds.items() if text(context, name)}


def need(package: str, for_what: str) -> None:
    """RuntimeError, which launch says in one line, where another package is not installed."""
    try:
        get_package_prefix(package)
    except PackageNotFoundError as error:
        name = package.replace("_", "-")
        raise RuntimeError(
            f"{for_what} needs {package}: apt install ros-$ROS_DISTRO-{name}"
        ) from error
