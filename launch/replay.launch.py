"""Play a bag through matcher_node and odometry_node, with RViz if wanted; the arguments
of odometry.launch.py count as well.

ros2 launch superglue_ros replay.launch.py bag:=/path/to/bag rviz:=true
"""

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    RegisterEventHandler,
)
from launch.conditions import IfCondition, UnlessCondition
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("superglue_ros")
CONFIG = PathJoinSubstitution([SHARE, "config"])
RVIZ_TOPICS = (
    *("/odometry_node/path", "/odometry_node/odometry", "/odometry_node/landmarks"),
    "/matcher_node/match_picture",
)
"""Of config/odometry.rviz, which are the nodes' without a namespace."""


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument("bag", description="Folder or file of the bag."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Speed of playing."),
        DeclareLaunchArgument(
            "delay", default_value="3.0", description="Seconds to wait before the bag is played."
        ),
        DeclareLaunchArgument("rviz", default_value="false", description="Show it in RViz."),
    ]
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([SHARE, "launch", "odometry.launch.py"])
        ),
        launch_arguments={"use_sim_time": "true"}.items(),
    )
    bag = ExecuteProcess(
        cmd=[
            *("ros2", "bag", "play", LaunchConfiguration("bag"), "--clock"),
            *("--rate", LaunchConfiguration("rate"), "--delay", LaunchConfiguration("delay")),
        ],
        output="screen",
    )
    end = RegisterEventHandler(
        OnProcessExit(
            target_action=bag,
            on_exit=[EmitEvent(event=Shutdown(reason="the bag has been played"))],
        ),
        # With RViz open there is something left to look at.
        condition=UnlessCondition(LaunchConfiguration("rviz")),
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", PathJoinSubstitution([CONFIG, "odometry.rviz"])],
        parameters=[{"use_sim_time": True}],
        remappings=[(topic, [LaunchConfiguration("namespace"), topic]) for topic in RVIZ_TOPICS],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*arguments, nodes, bag, end, rviz])
