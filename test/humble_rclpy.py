"""Stands in for ROS 2 Humble's rclpy (3.3): a later one without what Humble does not have.

    python test/humble_rclpy.py NODE --ros-args ...

runs a node of this package so. The names are those of the branch `humble` of ros2/rclpy.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress

from rclpy import qos
from rclpy.node import Node

_NODE_NAMES = """
    PARAM_REL_TOL
    add_on_set_parameters_callback add_waitable clients context count_publishers
    count_subscribers create_client create_guard_condition create_publisher create_rate
    create_service create_subscription create_timer declare_parameter declare_parameters
    default_callback_group describe_parameter describe_parameters destroy_client
    destroy_guard_condition destroy_node destroy_publisher destroy_rate destroy_service
    destroy_subscription destroy_timer executor get_client_names_and_types_by_node get_clock
    get_fully_qualified_name get_logger get_name get_namespace get_node_names
    get_node_names_and_namespaces get_node_names_and_namespaces_with_enclaves get_parameter
    get_parameter_or get_parameter_type get_parameter_types get_parameters
    get_parameters_by_prefix get_publisher_names_and_types_by_node get_publishers_info_by_topic
    get_service_names_and_types get_service_names_and_types_by_node
    get_subscriber_names_and_types_by_node get_subscriptions_info_by_topic
    get_topic_names_and_types guards handle has_parameter publishers
    remove_on_set_parameters_callback remove_waitable resolve_service_name resolve_topic_name
    services set_descriptor set_parameters set_parameters_atomically subscriptions timers
    undeclare_parameter waitables
    """
NODE_NAMES = frozenset(_NODE_NAMES.split())
"""All public names of rclpy.node.Node."""

MODULE_NAMES = {
    "rclpy.clock": {"Clock", "ClockChange", "ClockType", "JumpThreshold", "ROSClock", "TimeJump"},
    "rclpy.exceptions": {
        "InvalidParameterTypeException",
        "InvalidParameterValueException",
        "NameValidationException",
        "NotInitializedException",
        "ParameterAlreadyDeclaredException",
        "ParameterException",
        "ParameterImmutableException",
        "ParameterNotDeclaredException",
        "ParameterUninitializedException",
        "ROSInterruptException",
    },
    "rclpy.executors": {
        "Executor",
        "ExternalShutdownException",
        "MultiThreadedExecutor",
        "ShutdownException",
        "SingleThreadedExecutor",
    },
    "rclpy.guard_condition": {"GuardCondition"},
    "rclpy.node": {"Node", "NodeNameNonExistentError"},
    "rclpy.parameter": {"Parameter"},
    "rclpy.publisher": {"Publisher"},
    "rclpy.qos": {
        "DurabilityPolicy",
        "HistoryPolicy",
        "LivelinessPolicy",
        "QoSProfile",
        "ReliabilityPolicy",
        "qos_profile_sensor_data",
    },
    "rclpy.qos_overriding_options": {"InvalidQosOverridesError", "QoSOverridingOptions"},
    "rclpy.serialization": {"deserialize_message", "serialize_message"},
    "rclpy.signals": {"SignalHandlerOptions"},
    "rclpy.subscription": {"Subscription"},
    "rclpy.time": {"Time"},
    "rclpy.topic_endpoint_info": {"TopicEndpointInfo", "TopicEndpointTypeEnum"},
    "rclpy.utilities": {"remove_ros_args"},
}
"""Of the modules that the nodes import from, names that they may import."""

POLICIES = ("DurabilityPolicy", "LivelinessPolicy", "ReliabilityPolicy")
"""Enumerations that got a BEST_AVAILABLE after Humble."""


def later_names() -> list[str]:
    """Public names of this rclpy's Node that Humble's does not have."""
    return [name for name in dir(Node) if not name.startswith("_") and name not in NODE_NAMES]


def take_away() -> None:
    """Make this process's rclpy like Humble's."""
    for name in later_names():
        delattr(Node, name)
    for policy in (getattr(qos, name) for name in POLICIES):
        policy._member_map_.pop("BEST_AVAILABLE", None)
        # From Python 3.11 on a member is an attribute as well, which an Enum does not let go.
        with suppress(AttributeError):
            type.__delattr__(policy, "BEST_AVAILABLE")
        assert not hasattr(policy, "BEST_AVAILABLE")


if __name__ == "__main__":
    take_away()
    node = importlib.import_module(f"superglue_ros.nodes.{sys.argv[1]}")
    sys.exit(node.main(sys.argv))
