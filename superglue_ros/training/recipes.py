"""Training recipes: YAML files that fill the recipe dataclasses; unknown keys fail."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from superglue_ros.errors import SuperGlueRosError

RECIPES = Path(__file__).parent / "recipes"

T = TypeVar("T")


def check_stage_names(stages: list[str]) -> None:
    """ValueError where a recipe has no stages, or two of one name, or one that names no folder."""
    if not stages or len(set(stages)) < len(stages):
        raise ValueError("a recipe needs stages, each with a name of its own")
    for name in stages:
        if not name.isidentifier():
            raise ValueError(f"a stage's name is letters, digits and _, not {name!r}")


def from_dict(kind: type[T], values: dict[str, Any]) -> T:
    """A dataclass, nested ones too, filled from plain values; ValueError for an unknown key."""
    hints = typing.get_type_hints(kind)
    unknown = set(values) - set(hints)
    if unknown:
        known = ", ".join(sorted(hints))
        raise ValueError(f"{kind.__name__} has no {sorted(unknown)[0]!r}; it has {known}")
    filled = {}
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            value = from_dict(hint, value)
        elif isinstance(value, list):
            item = (typing.get_args(hint) or (None,))[0]
            nested = dataclasses.is_dataclass(item) and isinstance(item, type)
            value = tuple(from_dict(item, v) if nested else v for v in value)
        filled[name] = value
    return kind(**filled)


def to_dict(recipe: Any) -> dict[str, Any]:
    """Plain values of a recipe, lists for tuples, as YAML and a checkpoint hold them."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value

    return plain(dataclasses.asdict(recipe))


def read_recipe(kind: type[T], path: Path) -> T:
    """The recipe of a YAML file; SuperGlueRosError where it is missing or wrong."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SuperGlueRosError(f"{path} is no readable recipe: {error}") from error
    try:
        return from_dict(kind, values)
    except (ValueError, TypeError, AttributeError) as error:
        raise SuperGlueRosError(f"{path}: {error}") from error
