"""Figures as lines of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def slashed(values: Sequence[float], decimals: int = 1) -> str:
    """Figures of several thresholds, or the thresholds, in one word."""
    return "/".join(f"{value:.{decimals}f}" for value in values)


def format_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns aligned for a terminal: text to the left, numbers with one decimal to the right."""
    texts = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *texts)]
    numeric = [
        all(isinstance(row[i], int | float) for row in rows) and bool(rows)
        for i in range(len(header))
    ]
    lines = []
    for cells in (header, ["-" * width for width in widths], *texts):
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if math.isfinite(value) else "-"
    return str(value)
