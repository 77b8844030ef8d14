"""How an option is declared, once: parameters, command line and docs derive from its field."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any

_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
}
"""Types of values by the type of an option's default, and what they are called."""


def option(
    default: Any,
    description: str,
    *,
    unit: str = "",
    range: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that says what it means, its unit, its closed range or its choices.

    Units are symbols: px, s, deg, m, 1/m; a count's is what it counts.
    """
    metadata = {"description": description, "unit": unit, "range": range, "choices": choices}
    return field(default=default, metadata=metadata)


def check_options(config: Any) -> None:
    """ValueError for the first field of a dataclass of another type than its default's (whole
    numbers are numbers, too), or outside its range or choices."""
    for f in fields(config):
        value = getattr(config, f.name)
        kinds, called = _KINDS[type(f.default)]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ValueError(f"{f.name} must be {called}, not {value!r}")
        limits, choices = f.metadata["range"], f.metadata["choices"]
        # Written so that NaN fails.
        if limits is not None and not limits[0] <= value <= limits[1]:
            raise ValueError(f"{f.name} must be in [{limits[0]:g}, {limits[1]:g}], not {value:g}")
        if choices and value not in choices:
            raise ValueError(f"{f.name} must be one of {', '.join(choices)}, not {value!r}")
