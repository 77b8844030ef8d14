"""Every figure of a replay as plain numbers, for summary.json and for tables."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.features import HOMOGRAPHY_PX, MATCHING_PX, REPEATABILITY_PX
from superglue_ros.evaluation.metrics import POSE_THRESHOLDS_DEG
from superglue_ros.evaluation.replay import ReplayResult, spread
from superglue_ros.evaluation.rotations import TURNED
from superglue_ros.evaluation.trajectory import RelativeErrors, TrajectoryErrors

FRAMES_OF_REFERENCE = {
    "sim3": "ground truth's world, after a similarity alignment (scale, rotation, translation)",
    "se3": "ground truth's world, after a rigid alignment (rotation, translation)",
    "none": "the world both files are in, without alignment",
}


def summarise_replay(
    result: ReplayResult,
    errors: TrajectoryErrors | None = None,
    relative: RelativeErrors | None = None,
) -> dict[str, Any]:
    """Figures of a replay by name; errors only where ground truth was given."""
    records = result.records
    states = Counter(record.state for record in records if record.state)
    summary: dict[str, Any] = {
        "source": result.name,
        "frames": len(records),
        "skipped": result.skipped,
        "keyframes": result.num_keyframes,
        "matched": sum(record.num_matches > 0 for record in records),
        "features_per_frame": spread([record.num_features for record in records]),
        "matches_per_frame": spread([r.num_matches for r in records if r.num_matches]),
        "inliers_per_frame": spread([r.num_inliers for r in records if r.num_inliers]),
        "states": dict(states),
        "poses": len(result.trajectory),
        "scale": "metric" if result.scale_is_metric else "up to scale",
        "wall_s": result.wall_s,
        "frames_per_s": len(records) / result.wall_s if result.wall_s > 0 else math.nan,
        "milliseconds": {
            "extract": spread([record.extract_ms for record in records]),
            "match": spread([r.match_ms for r in records if r.num_matches]),
            "odometry": spread([r.odometry_ms for r in records if r.state]),
        },
        "device": result.device,
        "precision": result.precision,
        "model": result.model,
        "weights_hash": result.weights_hash,
    }
    if errors is not None:
        summary["ate"] = summarise_errors(errors)
    if relative is not None:
        summary["relative"] = asdict(relative)
    return summary


def summarise_errors(errors: TrajectoryErrors) -> dict[str, Any]:
    """The scalar figures of absolute errors, and which frame they are in."""
    plain = {
        f.name: getattr(errors, f.name)
        for f in fields(errors)
        if isinstance(getattr(errors, f.name), str | int | float)
    }
    return {**plain, "frame": FRAMES_OF_REFERENCE[errors.alignment]}


def check_output(path: Path) -> None:
    """SuperGlueRosError now for a file that could not be written later."""
    if not path.parent.is_dir():
        raise SuperGlueRosError(f"cannot write {path}: {path.parent} is no folder")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SuperGlueRosError(f"cannot write {path}: no permission, or a folder")


def slashed(values: Sequence[float], decimals: int = 1) -> str:
    """Figures of several thresholds, or the thresholds, in one word."""
    return "/".join(f"{value:.{decimals}f}" for value in values)


def rendered_name(overlap: tuple[float, float]) -> str:
    """How figures call rendered pairs of a range of overlaps."""
    return "rendered {:g} to {:g}".format(*overlap)


def card_scores(figures: Mapping[str, Any], method: str) -> dict[str, str]:
    """What a card says of features.json or pairs.json: a method's figures, and SIFT's for
    comparison, by what they measure. Raises ValueError, KeyError or TypeError for other files."""

    if not isinstance(figures, Mapping):
        raise ValueError("no object of scores")
    lines: dict[str, dict[str, str]] = {}
    for row in [*figures.get("scores", []), *figures.get("rotations", [])]:
        if "homography_auc_percent" not in row:
            continue
        name = row["sequence"]
        accuracy = f"{name}, matching accuracy % at {slashed(MATCHING_PX, 0)} px"
        if name.startswith(TURNED):
            value = slashed(row["matching_accuracy_percent"])
            lines.setdefault(accuracy, {})[row["method"]] = value
            continue
        values = {
            f"{name}, repeatability % at {REPEATABILITY_PX:.0f} px": (
                f"{row['repeatability_percent']:.1f}"
            ),
            accuracy: slashed(row["matching_accuracy_percent"]),
            f"{name}, homography AUC % at {slashed(HOMOGRAPHY_PX, 0)} px": slashed(
                row["homography_auc_percent"]
            ),
        }
        for key, value in values.items():
            lines.setdefault(key, {})[row["method"]] = value
    for row in [*figures.get("poses", []), *figures.get("scores", [])]:
        if "auc_percent" not in row:
            continue
        if row["dataset"] == rendered_name((0, 0)):
            # There is no pose to find, and every match is wrong.
            key = "rendered, nothing in common, matches a pair"
            lines.setdefault(key, {})[row["method"]] = f"{row['mean_matches']:.1f}"
            continue
        degrees = slashed(POSE_THRESHOLDS_DEG, 0)
        key = f"{row['dataset']} gap {row['gap']}, pose AUC % at {degrees} deg"
        key += f" ({row['estimator']})"
        lines.setdefault(key, {})[row["method"]] = slashed(row["auc_percent"])
        key = f"{row['dataset']} gap {row['gap']}, matches' precision %"
        lines.setdefault(key, {})[row["method"]] = f"{row['precision_percent']:.1f}"
    return {
        key: values[method] + (f" (SIFT {values['SIFT']})" if "SIFT" in values else "")
        for key, values in lines.items()
        if method in values
    }


def write_json(path: str | Path, content: Any) -> None:
    """Write figures as JSON, what is not finite as null; raises SuperGlueRosError if it cannot."""
    text = json.dumps(plain_numbers(content), indent=2, allow_nan=False)
    write_text(path, text + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file; raises SuperGlueRosError if it cannot."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SuperGlueRosError(f"cannot write {path}: {error.strerror or error}") from error


def plain_numbers(content: Any) -> Any:
    """The same content in types that JSON has: dataclasses as objects, NaN and infinity null."""
    if is_dataclass(content) and not isinstance(content, type):
        content = asdict(content)
    if isinstance(content, dict):
        return {str(key): plain_numbers(value) for key, value in content.items()}
    if isinstance(content, list | tuple | np.ndarray):
        return [plain_numbers(value) for value in content]
    if isinstance(content, bool | np.bool_):
        return bool(content)
    if isinstance(content, int | np.integer):
        return int(content)
    if isinstance(content, float | np.floating):
        return float(content) if math.isfinite(content) else None
    return content if content is None else str(content)


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
