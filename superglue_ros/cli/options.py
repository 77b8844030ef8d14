"""Command-line options that derive from the fields of the configuration dataclasses."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import Field, fields
from typing import Any, TypeVar

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.matching import KeyframePolicy, MatcherConfig

Config = TypeVar("Config")


def add_matcher_options(parser: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    """The options of everything that matches: fields of MatcherConfig, `without` some of them."""
    add_config_options(parser, MatcherConfig, "matcher", without=without)


def matcher_config(args: argparse.Namespace) -> MatcherConfig:
    """MatcherConfig of parsed options; SuperGlueRosError for a value out of range."""
    return config_from(args, MatcherConfig)


def add_keyframe_options(parser: argparse.ArgumentParser) -> None:
    """Options of the keyframe policy, as --keyframe-NAME."""
    add_config_options(parser, KeyframePolicy, "keyframes", prefix="keyframe_")


def keyframe_policy(args: argparse.Namespace) -> KeyframePolicy:
    """KeyframePolicy of parsed options; SuperGlueRosError for a value out of range."""
    return config_from(args, KeyframePolicy, prefix="keyframe_")


def add_config_options(
    parser: argparse.ArgumentParser,
    config: type,
    title: str,
    prefix: str = "",
    without: Collection[str] = (),
) -> None:
    """One option per field of a config dataclass, in a group of its own.

    Names, defaults, units, ranges and choices are the fields'.
    """
    group = parser.add_argument_group(title)
    for field in fields(config):
        if field.name in without:
            continue
        name = "--" + (prefix + field.name).replace("_", "-")
        if isinstance(field.default, bool):
            group.add_argument(
                name,
                dest=prefix + field.name,
                action=argparse.BooleanOptionalAction,
                default=field.default,
                help=_help(field),
            )
            continue
        group.add_argument(
            name,
            dest=prefix + field.name,
            type=_pixels_or_none if field.name == "resize" else type(field.default),
            default=field.default,
            choices=field.metadata.get("choices") or None,
            metavar=None if field.metadata.get("choices") else _metavar(field),
            help=_help(field),
        )


def config_from(args: argparse.Namespace, config: type[Config], prefix: str = "") -> Config:
    """The config dataclass of parsed options; SuperGlueRosError for a value out of range."""
    values = {
        field.name: getattr(args, prefix + field.name, field.default)
        for field in fields(config)  # type: ignore[arg-type]
    }
    try:
        return config(**values)
    except ValueError as error:
        raise SuperGlueRosError(str(error)) from error


def _pixels_or_none(text: str) -> int:
    if text == "none":
        return 0
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither pixels nor none") from error


def _metavar(field: Field[Any]) -> str:
    if field.name == "resize":
        return "PX|none"
    if field.name in ("superpoint", "superglue"):
        return "FILE"
    if field.name == "engine":
        return "FOLDER"
    return {int: "N", float: "X"}.get(type(field.default), "TEXT")


def _help(field: Field[Any]) -> str:
    parts = [str(field.metadata.get("description", "")).rstrip(".")]
    details = []
    if field.metadata.get("unit"):
        details.append(str(field.metadata["unit"]))
    if field.metadata.get("range"):
        details.append("{:g} to {:g}".format(*field.metadata["range"]))
    if field.name == "resize":
        details.append("default none")
    elif isinstance(field.default, bool):
        pass  # argparse before 3.13 adds it
    elif field.default != "":
        details.append(f"default {field.default}")
    if details:
        parts.append(f"({', '.join(details)})")
    return " ".join(parts).replace("%", "%%")
