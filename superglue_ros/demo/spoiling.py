"""Messages made wrong at random, whatever their type: for what a node must survive."""

from __future__ import annotations

import array
import copy
import re
from typing import Any

import numpy as np

from superglue_ros.sources.encodings import ENCODINGS

MOST_CHANGES = 3
"""Changes of one message."""

FLOATS = (0.0, -0.0, -1.0, 1.0, 0.5, 1e-30, 1e30, np.inf, -np.inf, np.nan)
TEXTS = (
    *("", " ", "\n", "plaid13", "ümlaut", "x" * 5000, "32FC1", "32FC1; compressedDepth png"),
    *("rational_polynomial", "equidistant", "fisheye", "none", *ENCODINGS),
)
_INTEGER = re.compile(r"(u?)int(\d+)$")


def spoil(message: Any, rng: np.random.Generator) -> str:
    """Change one to three fields of a message, or of messages in it, to values that are extreme,
    not finite, of wrong length or simply others; the names of those that were changed."""
    return ", ".join(
        _spoil_a_field(message, rng, "") for _ in range(rng.integers(1, MOST_CHANGES + 1))
    )


def _spoil_a_field(message: Any, rng: np.random.Generator, prefix: str) -> str:
    kinds = message.get_fields_and_field_types()
    name = str(rng.choice(list(kinds)))
    value = getattr(message, name)
    if hasattr(value, "get_fields_and_field_types"):
        # It may be shared by other messages.
        value = copy.deepcopy(value)
        named = _spoil_a_field(value, rng, f"{prefix}{name}.")
        setattr(message, name, value)
        return named
    setattr(message, name, _spoilt(value, kinds[name], rng))
    return prefix + name


def _spoilt(value: Any, kind: str, rng: np.random.Generator) -> Any:
    if isinstance(value, (bool, np.bool_)):
        return not value
    if isinstance(value, int):
        return _integer(value, kind, rng)
    if isinstance(value, float):
        return _float(value, kind, rng)
    if isinstance(value, str):
        return TEXTS[rng.integers(len(TEXTS))]
    if isinstance(value, array.array):
        return _array(value, rng)
    return _fixed(np.array(value), rng)


def _integer(value: int, kind: str, rng: np.random.Generator) -> int:
    found = _INTEGER.match(kind)
    unsigned, bits = (found[1], int(found[2])) if found else ("u", 8)  # octet
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    near = value + int(rng.integers(-8, 9))
    somewhere = low + int(rng.random() * (high - low))
    chosen = (low, high, 0, 1, near, near, value * 2, value // 2, somewhere)[rng.integers(9)]
    return min(max(chosen, low), high)


def _float(value: float, kind: str, rng: np.random.Generator) -> float:
    if rng.random() < 0.5:
        return float(FLOATS[rng.integers(len(FLOATS))])
    return float(np.float32(value * rng.normal(1.0, 1.0)))


def _array(values: array.array[Any], rng: np.random.Generator) -> array.array[Any]:
    """Shorter, longer, empty, or with some other elements."""
    how = rng.integers(5)
    count = len(values)
    if how == 0:
        return values[: rng.integers(0, count + 1)]
    if how == 1:
        return values + values[: rng.integers(0, count + 1)]
    if how == 2:
        return array.array(values.typecode)
    if how == 3 and count:
        return values[:-1]
    return array.array(values.typecode, _changed(np.array(values), rng).tobytes())


def _fixed(values: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    if rng.random() < 0.2:
        return np.zeros_like(values)
    return _changed(values, rng)


def _changed(values: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Some elements replaced, or all of them."""
    if not len(values):
        return values
    share = rng.choice([0.0, 0.1, 1.0])
    chosen = rng.random(len(values)) < share
    chosen[rng.integers(len(values))] = True
    if values.dtype.kind == "f":
        drawn = rng.choice(FLOATS, len(values))
    else:
        limits = np.iinfo(values.dtype)
        drawn = rng.integers(limits.min, limits.max, len(values), values.dtype, endpoint=True)
    with np.errstate(over="ignore"):
        return np.where(chosen, drawn, values).astype(values.dtype)
