"""The matcher's options of a parameter file, as ROS reads them, without ROS."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.matching import MatcherConfig


def matcher_options(path: Path) -> dict[str, Any]:
    """Fields of MatcherConfig that a file (config/matcher_cpu.yaml) sets, whatever node it names;
    SuperGlueRosError for a file that is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        given: dict[str, Any] = {}
        for node in content.values():
            given |= node["ros__parameters"]
    except OSError as error:
        raise SuperGlueRosError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise SuperGlueRosError(f"{path} is no parameter file of a node") from error
    known = {field.name for field in fields(MatcherConfig)}
    return {name: value for name, value in given.items() if name in known}
