"""An evaluation's figures as a card of weights says them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from superglue_ros.evaluation.features import HOMOGRAPHY_PX, MATCHING_PX, REPEATABILITY_PX
from superglue_ros.evaluation.metrics import POSE_THRESHOLDS_DEG
from superglue_ros.evaluation.rotations import TURNED
from superglue_ros.reporting.tables import slashed


def rendered_name(overlap: tuple[float, float], world: str | None = None) -> str:
    """How figures call rendered pairs of a range of overlaps, of the procedural world or of a
    furnished one."""
    return "{} {:g} to {:g}".format(world or "rendered", *overlap)


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
