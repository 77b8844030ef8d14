"""Every figure of a replay as plain numbers, for summary.json and for tables."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from superglue_ros.evaluation.accuracy import Accuracy, summarise_accuracy
from superglue_ros.replay.records import ReplayResult, spread


def summarise_replay(result: ReplayResult, accuracy: Accuracy | None = None) -> dict[str, Any]:
    """Figures of a replay by name; errors only where ground truth was given."""
    records = result.records
    states = Counter(record.state for record in records if record.state)
    summary: dict[str, Any] = {
        "source": result.name,
        "interrupted": result.interrupted,
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
        "warnings": dict(result.warnings),
    }
    if accuracy is not None:
        summary |= summarise_accuracy(accuracy)
    return summary
