"""The files that list the nodes' parameters, written from their declarations:

    python scripts/parameter_files.py

writes config/NODE.yaml of each node and docs/parameters.md; a test compares them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import yaml

from superglue_ros.mapping import LocalizerConfig
from superglue_ros.matching import KeyframePolicy, MatcherConfig
from superglue_ros.nodes.localization_options import LocalizationNodeOptions
from superglue_ros.nodes.options import MatcherNodeOptions, OdometryNodeOptions, OdometryOutputs
from superglue_ros.nodes.rtabmap_options import RtabmapNodeOptions
from superglue_ros.nodes.tracks_options import TracksNodeOptions
from superglue_ros.odometry import OdometryConfig
from superglue_ros.sources import ImageOptions

NODES: dict[str, tuple[tuple[type, bool], ...]] = {
    "matcher": (
        (MatcherConfig, False),
        (MatcherNodeOptions, False),
        (ImageOptions, False),
        (KeyframePolicy, True),
    ),
    "odometry": ((OdometryConfig, True), (OdometryNodeOptions, False), (OdometryOutputs, True)),
    "localization": (
        (LocalizationNodeOptions, False),
        (LocalizerConfig, False),
        (MatcherConfig, False),
        (ImageOptions, False),
    ),
    "rtabmap": ((RtabmapNodeOptions, False),),
    "tracks": ((TracksNodeOptions, False),),
}
"""Configs of each node, and whether their parameters may be set while it runs."""

HEAD = """\
# Parameters

Written by `python scripts/parameter_files.py` from the declarations; the defaults are
also in [config/](../config). A value outside its range stops the node at its start with one line,
and is refused with the reason when set later.
"""


def parameters_yaml(name: str) -> str:
    """A node's defaults as a ROS parameter file, each with what it means."""
    lines = [f"# Defaults of {name}_node; written from the declarations.", "/**:"]
    lines.append("  ros__parameters:")
    for option, _ in options_of(name):
        text = sentence(option)
        lines += textwrap.wrap(text, 95, initial_indent="    # ", subsequent_indent="    # ")
        lines.append(f"    {option.name}: {yaml_value(option.default)}")
    return "\n".join(lines) + "\n"


def parameters_markdown() -> str:
    """The page of all parameters."""
    parts = [HEAD]
    for name in NODES:
        parts.append(f"\n## {name}_node\n")
        parts.append("| parameter | type | default | range | unit | while running | meaning |")
        parts.append("|---|---|---|---|---|---|---|")
        for option, live in options_of(name):
            cells = (
                f"`{option.name}`",
                type(option.default).__name__,
                f"`{yaml_value(option.default)}`",
                range_of(option),
                option.metadata.get("unit") or "-",
                "settable" if live else "fixed",
                option.metadata["description"],
            )
            parts.append("| " + " | ".join(cells) + " |")
    return "\n".join(parts) + "\n"


def options_of(name: str) -> Iterable[tuple[Field[Any], bool]]:
    """Fields of a node's configs, each with whether it may be set while the node runs."""
    for config_type, live in NODES[name]:
        for option in fields(config_type):
            yield option, live


def sentence(option: Field[Any]) -> str:
    """Description, unit and range of an option in one line."""
    parts = [option.metadata["description"].rstrip(".")]
    if option.metadata.get("unit"):
        parts.append(f"[{option.metadata['unit']}]")
    if range_of(option) != "-":
        parts.append(f"({range_of(option)})")
    return " ".join(parts)


def range_of(option: Field[Any]) -> str:
    """An option's range or choices as text, "-" without any."""
    if option.metadata.get("choices"):
        return ", ".join(option.metadata["choices"])
    limits = option.metadata.get("range")
    return f"{limits[0]:g} to {limits[1]:g}" if limits else "-"


def yaml_value(value: Any) -> str:
    """A value as YAML, in one line."""
    return yaml.safe_dump(value, default_style='"' if isinstance(value, str) else None).split(
        "\n"
    )[0]


def write(root: Path) -> None:
    """Write all files below the repository's root."""
    for name in NODES:
        (root / "config" / f"{name}.yaml").write_text(parameters_yaml(name))
    (root / "docs" / "parameters.md").write_text(parameters_markdown())


if __name__ == "__main__":
    write(Path.cwd())
