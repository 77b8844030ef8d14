"""Text files of rows: words between blanks or commas, comments, and the times in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from superglue_ros.errors import SourceError

NS_PER_S = 1_000_000_000
COMMENTS = ("#", "%", "//")
MAX_BYTES = 50_000_000
"""Half a million poses; what is longer is no table."""

_MAX_STEP_S = 3600.0
"""Between two frames or poses; what is further apart is in another unit."""
_MAX_NS = 2**63
_UNITS = ((1e17, 1, "ns"), (1e14, 1_000, "us"), (1e11, 1_000_000, "ms"), (0.0, NS_PER_S, "s"))
"""From which size on a time since 1970 is in which unit, and its nanoseconds: 1e11 s are 3,000
years, and 1e11 ms are three."""


@dataclass(frozen=True)
class Row:
    """One line of a file: its number, counted from 1, and its words."""

    number: int
    words: list[str]


def read_lines(path: Path, max_bytes: int = MAX_BYTES) -> list[str]:
    """Lines of a UTF-8 text file; raises SourceError."""
    try:
        if path.stat().st_size > max_bytes:
            raise SourceError(f"cannot read {path}: over {max_bytes} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read {path}: {error}") from error
    if "\0" in text:
        raise SourceError(f"cannot read {path}: it is no text")
    return text.splitlines()


def split(line: str, separator: str | None = None) -> list[str]:
    """Words of a line without its comment: between blanks and commas, or between separators;
    empty for a line that holds none."""
    text = line.split("#")[0].strip()
    if not text or text.startswith(COMMENTS):
        return []
    if separator is None and "," in text:
        # A comma after the last column ends it.
        words = [part.strip() for part in text.removesuffix(",").split(",")]
        if not any(" " in word or "\t" in word for word in words):
            return words
        text = text.replace(",", " ")
    return [word.strip() for word in text.split(separator)]


def read_table(path: Path, separator: str | None = None, max_bytes: int = MAX_BYTES) -> list[Row]:
    """The rows of a file that are neither empty nor comments, see `split`; raises SourceError."""
    lines = enumerate(read_lines(path, max_bytes), 1)
    rows = (Row(number, split(line, separator)) for number, line in lines)
    return [row for row in rows if row.words]


def parse_stamp(text: str, ns_per_unit: int = NS_PER_S) -> int:
    """Nanoseconds of a decimal time, exact where float64 would lose digits; raises ValueError."""
    try:
        # Before the exact product, which of 1e999999 would have a million digits.
        if not abs(float(text)) * ns_per_unit < _MAX_NS:
            raise ValueError("out of range")
        return int((Decimal(text) * ns_per_unit).to_integral_value())
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"{text[:30]!r} is no time") from error


def stamp_unit(text: str) -> tuple[int, str]:
    """Nanoseconds of the unit in which a time since 1970 must be, and its name; small times are
    seconds. Raises ValueError."""
    try:
        size = abs(float(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is no time") from error
    if size != size:
        raise ValueError(f"{text!r} is no time")
    return next((ns, name) for least, ns, name in _UNITS if size >= least)


def parse_stamps(
    path: Path, rows: list[Row], ns_per_unit: int | None = None, column: int = 0
) -> tuple[list[int], str]:
    """Nanoseconds of the words in a column of rows, and the unit in which they are: by default
    that in which the largest must be. Raises SourceError, naming the row."""
    unit = "ns" if ns_per_unit == 1 else "s"
    if ns_per_unit is None:
        ns_per_unit, unit = _unit_of(rows, column)
    stamps = []
    for row in rows:
        try:
            stamps.append(parse_stamp(row.words[column], ns_per_unit))
        except ValueError as error:
            raise SourceError(f"{path}:{row.number}: {error} in {unit}") from error
    steps = np.abs(np.diff(np.array(stamps, np.int64).astype(float)))
    if unit == "s" and len(steps) and np.median(steps) > _MAX_STEP_S * NS_PER_S:
        text = f"times {np.median(steps) / NS_PER_S:.6g} apart, which are hardly in seconds"
        raise SourceError(f"{path}: {text}")
    return stamps, unit


def _unit_of(rows: list[Row], column: int) -> tuple[int, str]:
    try:
        words = (row.words[column] for row in rows)
        return stamp_unit(max(words, key=lambda word: abs(float(word))))
    # Of no rows, or of words that are no times, which is said of the row that has them.
    except ValueError:
        return NS_PER_S, "s"


def stamps_repeat(stamps_ns: Sequence[int]) -> bool:
    """Whether most frames have the stamp of the frame before: a clock that stands still, or counts
    nothing but seconds, tells nothing about them."""
    same = np.diff(np.array(stamps_ns, np.int64)) == 0
    return bool(len(same) and np.count_nonzero(same) * 2 > len(same))
