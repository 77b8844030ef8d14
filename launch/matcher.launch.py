"""Start matcher_node.

ros2 launch superglue_ros matcher.launch.py image:=/camera/image_raw
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from superglue_ros.nodes.launching import matcher_arguments, matcher_setting, superglue_node


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*matcher_arguments(), OpaqueFunction(function=matcher)])


def matcher(context: LaunchContext) -> list[Node]:
    """The node, with pairs of images where there is a topic of right ones."""
    return [superglue_node("matcher", *matcher_setting(context))]
