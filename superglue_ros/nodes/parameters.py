"""Config dataclasses as ROS parameters: declared, validated at start and whenever one is set.

A field's metadata gives the description, unit, range and choices; its default gives the type.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import Field, fields, replace
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

Config = TypeVar("Config")

QOS_OVERRIDES = "qos_overrides."
"""What the names of parameters begin with that come with publishers and subscriptions."""


class NodeParameters:
    """The configs of a node, kept equal to its parameters.

    fixed: configs whose fields are read-only (what they make cannot be changed while it runs);
    live: configs whose fields may be set at run time. ValueError for a value that does not suit.
    """

    def __init__(
        self,
        node: Node,
        fixed: Iterable[type],
        live: Iterable[type] = (),
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._on_change = on_change
        self._configs: dict[type, Any] = {}
        self._live = tuple(live)
        for config_type in (*fixed, *self._live):
            self._configs[config_type] = self._declare(node, config_type)
        warn_of_unknown(node, (option.name for c in self._configs for option in fields(c)))
        node.add_on_set_parameters_callback(self._check)
        # ROS 2 Humble has no callback after a setting; what is valid is taken in at once there.
        self._has_post_set = hasattr(node, "add_post_set_parameters_callback")
        if self._has_post_set:
            node.add_post_set_parameters_callback(self._apply)

    def get(self, config_type: type[Config]) -> Config:
        """The config of a type, with the values that the parameters have now."""
        config: Config = self._configs[config_type]
        return config

    def _declare(self, node: Node, config_type: type) -> Any:
        values = {}
        for option in fields(config_type):
            descriptor = describe(option, read_only=config_type not in self._live)
            whole = whole_number(node, option)
            default = option.default if whole is None else float(whole)
            try:
                parameter = node.declare_parameter(
                    option.name, default, descriptor, ignore_override=whole is not None
                )
            except InvalidParameterValueException as error:
                raise ValueError(f"parameter {option.name}: {error}") from error
            except (InvalidParameterTypeException, ParameterUninitializedException) as error:
                kind = type(option.default).__name__
                raise ValueError(f"parameter {option.name} must be of type {kind}") from error
            values[option.name] = parameter.value
        return config_type(**values)

    def _changed(self, parameters: list[Parameter]) -> dict[type, Any]:
        """The live configs that a setting of parameters touches, as they would be."""
        changed = {}
        for config_type in self._live:
            names = {option.name for option in fields(config_type)}
            values = {p.name: p.value for p in parameters if p.name in names}
            if values:
                changed[config_type] = replace(self._configs[config_type], **values)
        return changed

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            self._changed(parameters)
        except (TypeError, ValueError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not self._has_post_set:
            self._apply(parameters)
        return SetParametersResult(successful=True)

    def _apply(self, parameters: list[Parameter]) -> None:
        changed = self._changed(parameters)
        self._configs.update(changed)
        if changed and self._on_change:
            self._on_change()


def warn_of_unknown(node: Node, names: Iterable[str]) -> None:
    """Say which parameters that the node was given it does not have, names being those it has.

    No error: a file for `/**`, or a launch file that sets one in all its nodes, may name what
    others have.
    """
    known = {*names, "use_sim_time"}
    unknown = [
        name
        for name in getattr(node, "_parameter_overrides", {})
        if name not in known
        and not node.has_parameter(name)
        and not name.startswith(QOS_OVERRIDES)
    ]
    for name in unknown:
        like = difflib.get_close_matches(name, known, n=1)
        hint = f": {like[0]} is meant?" if like else ""
        node.get_logger().warning(f"there is no parameter {name}{hint}")


def whole_number(node: Node, option: Field[Any]) -> int | None:
    """A whole number that a parameter file gives for a parameter of floating point, which ROS
    would refuse: it tells 1 from 1.0."""
    if not isinstance(option.default, float):
        return None
    loose = ParameterDescriptor(dynamic_typing=True)
    value = node.declare_parameter(option.name, option.default, loose).value
    node.undeclare_parameter(option.name)
    return value if type(value) is int else None


def describe(option: Field[Any], read_only: bool) -> ParameterDescriptor:
    """Descriptor of a config's field: description with its unit, range, choices."""
    descriptor = ParameterDescriptor(read_only=read_only)
    descriptor.description = option.metadata["description"]
    if option.metadata.get("unit"):
        descriptor.description += f" [{option.metadata['unit']}]"
    if option.metadata.get("choices"):
        descriptor.additional_constraints = f"one of {', '.join(option.metadata['choices'])}"
    limits = option.metadata.get("range")
    if limits is not None:
        low, high = limits
        if isinstance(option.default, float):
            floats = FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
            descriptor.floating_point_range = [floats]
        else:
            integers = IntegerRange(from_value=int(low), to_value=int(high), step=1)
            descriptor.integer_range = [integers]
    return descriptor
