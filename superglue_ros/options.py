"""How an option is declared, once: parameters, command line and docs derive from its field."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any


def option(
    default: Any,
    description: str,
    *,
    unit: str = "",
    range: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that says what it means, its unit, its closed range or its choices."""
    metadata = {"description": description, "unit": unit, "range": range, "choices": choices}
    return field(default=default, metadata=metadata)


def check_ranges(config: Any) -> None:
    """ValueError for the first field of a dataclass outside its range or choices."""
    for f in fields(config):
        value = getattr(config, f.name)
        limits, choices = f.metadata.get("range"), f.metadata.get("choices")
        # Written so that NaN fails.
        if limits is not None and not limits[0] <= value <= limits[1]:
            raise ValueError(f"{f.name} must be in [{limits[0]}, {limits[1]}], not {value}")
        if choices and value not in choices:
            raise ValueError(f"{f.name} must be one of {', '.join(choices)}, not {value!r}")
