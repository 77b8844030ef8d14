"""Which format a trajectory file has: which of its columns is what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from superglue_ros.errors import SourceError
from superglue_ros.sources.tables import Row, read_lines, split


class Named(Enum):
    """The numbers of a pose."""

    X = "x"
    Y = "y"
    Z = "z"
    QX = "qx"
    QY = "qy"
    QZ = "qz"
    QW = "qw"


@dataclass(frozen=True)
class Format:
    """Where a pose is in a row: columns by what they hold, or a matrix, row-major.

    time: the column of the stamps, None where there is none; time_unit_ns: their unit, None where
    their size tells; scale: the column of a factor of the position; is_ned: axes are a body's
    (forward, right, down); of_body: of a body, not of its camera.
    """

    name: str
    columns: Mapping[Named, int] = field(default_factory=dict)
    time: int | None = None
    time_unit_ns: int | None = None
    scale: int | None = None
    is_matrix: bool = False
    is_ned: bool = False
    of_body: bool = False


def _pose(first: int, order: str = "xyzw") -> dict[Named, int]:
    """Columns of a position from `first` on and of the quaternion behind it."""
    columns = {axis: first + i for i, axis in enumerate((Named.X, Named.Y, Named.Z))}
    return columns | {Named("q" + axis): first + 3 + i for i, axis in enumerate(order)}


_TUM = Format("TUM", _pose(1), time=0)
_TARTANAIR = Format("TartanAir", _pose(0), is_ned=True)
_EUROC = Format("EuRoC", _pose(1, "wxyz"), time=0, time_unit_ns=1, of_body=True)
_VINS = Format("stamps in ns, x y z, w x y z (EuRoC, VINS)", _pose(1, "wxyz"), time=0)
_4SEASONS = Format("4Seasons", _pose(1), time=0, time_unit_ns=1, scale=8)

_POSITION = {
    f"{before}{axis}": Named(axis)
    for axis in "xyz"
    for before in (
        "", "t", "p", "t_", "p_", "pos_", "position_", "position.", "translation_",
        "translation.", "p_rs_r_",
    )
}  # fmt: skip
_ROTATION = {
    f"{before}{axis}": Named("q" + axis)
    for axis in "xyzw"
    for before in (
        "q", "q_", "q_rs_", "quat_", "quaternion_", "orientation_", "orientation.", "rotation_",
        "rotation.",
    )
}  # fmt: skip
_NAMES = {**_POSITION, **_ROTATION}
_TIMES = ("stamp", "timestamp", "timestamp_s", "time", "time_s", "t", "frame_id")
_TIMES_NS = ("stamp_ns", "timestamp_ns", "time_ns")
"""What columns of times are called, the first that there is being the best."""

_MAX_HEADER = 5000
_EXPECTED = (
    "a pose has 8 (TUM: stamp x y z qx qy qz qw), 12 (KITTI: 3x4 row-major), or columns that a "
    "header names"
)
_NS_SINCE_1970 = 1e17


def recognise(path: Path) -> tuple[Format, list[Row]]:
    """The file's format and its rows, which all have as many columns as the first; raises
    SourceError for a file without rows, and for one of no known format."""
    header, comment, rows, has_commas = _rows(path)
    if not rows:
        raise SourceError(f"{path}: no poses in it")
    first = rows[0]
    count = len(first.words)
    form = _named(header or comment, count)
    if form is None and header:
        raise SourceError(f"{path}: columns called {' '.join(header)[:200]} are no stamped poses")
    if form is None and count in (12, 16):
        form = Format("KITTI" if count == 12 else "4x4 matrix", is_matrix=True)
    if form is None and has_commas and count >= 8:
        form = _without_names(path, first)
    elif form is None:
        form = {7: _TARTANAIR, 8: _TUM}.get(count)
    if form is None:
        raise SourceError(f"{path}:{first.number}: {count} columns; {_EXPECTED}")
    return form, rows


def _rows(path: Path) -> tuple[list[str], list[str], list[Row], bool]:
    """Names of the columns in a first row of words and in the last comment before the poses, the
    rows, and whether commas part their columns; SourceError for too few, or not always as many."""
    header: list[str] = []
    comment = ""
    rows: list[Row] = []
    has_commas = False
    for number, line in enumerate(read_lines(path), 1):
        words = split(line)
        if words and (rows or header or _is_number(words[0])):
            has_commas = has_commas or "," in line
            rows.append(Row(number, words))
            count = len(rows[0].words)
            if len(words) != count:
                text = f"{len(words)} columns where the first row has {count}"
                raise SourceError(f"{path}:{number}: {text}")
            if count < len(Named):
                raise SourceError(f"{path}:{number}: {count} columns; {_EXPECTED}")
        elif words:
            header = _column_names(line)
        elif not rows and line.strip():
            comment = line
    return header, _column_names(comment), rows, has_commas


def _column_names(line: str) -> list[str]:
    """Lower-case names without units, but for nanoseconds; of a field's path the last two."""
    text = line[:_MAX_HEADER].strip().lstrip("#%/ ").lower()
    text = re.sub(r"\s*[\[(]\s*ns\s*[\])]", "_ns", text)
    text = re.sub(r"\[[^\[\]]*\]|\([^()]*\)", "", text)
    words = [word.strip() for word in text.removesuffix(",").split("," if "," in text else None)]
    return [".".join(word.split(".")[-2:]) for word in words]


def _named(names: list[str], count: int) -> Format | None:
    """The format that names of columns describe, None where they name no stamped pose."""
    if len(names) != count:
        return None
    columns: dict[Named, int] = {}
    for i, name in enumerate(names):
        if name in _NAMES:
            columns.setdefault(_NAMES[name], i)
    ends = [name.split(".")[-1] for name in names]
    time = next((ends.index(name) for name in (*_TIMES_NS, *_TIMES) if name in ends), None)
    if len(columns) < len(Named) or time is None:
        return None
    if "q_rs_w" in names:
        return Format("EuRoC", columns, time, time_unit_ns=1, of_body=True)
    return Format(
        "columns as its header names them",
        columns,
        time,
        time_unit_ns=1 if ends[time] in _TIMES_NS else None,
        scale=names.index("scale") if "scale" in names else None,
    )


def _without_names(path: Path, first: Row) -> Format | None:
    """Of commas and no header: what datasets and programs write so."""
    count = len(first.words)
    if path.name == "GNSSPoses.txt" or count == 10:
        return _4SEASONS
    if count == 17:
        return _EUROC
    if abs(float(first.words[0])) >= _NS_SINCE_1970:
        return _EUROC if count == 8 else _VINS
    return _TUM if count == 8 else None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
