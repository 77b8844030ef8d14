"""`superglue_ros evaluate consistency`: do the odometry's covariances cover its errors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.cli.options import (
    add_config_options,
    add_matcher_options,
    config_from,
    matcher_config,
)
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.consistency import KINDS, FlightConsistency, evaluate_consistency
from superglue_ros.matching import ImageMatcher
from superglue_ros.odometry import OdometryConfig
from superglue_ros.reporting.files import make_folder, write_json
from superglue_ros.reporting.tables import format_table


def add_consistency(kinds: Any) -> None:
    """Add the subcommand to those of `evaluate`."""
    summary = "errors of the odometry against the covariances that it states, on rendered flights"
    parser = kinds.add_parser(
        "consistency",
        help=summary,
        description=f"{summary.capitalize()}: without depth (after the scale), with the depths "
        "of an RGB-D camera and with those of a stereo rig. NEES / 6 is 1 for exact covariances.",
    )
    parser.add_argument("--flights", type=int, default=20, metavar="N", help="default: 20")
    parser.add_argument("--frames", type=int, default=40, metavar="N", help="default: 40")
    parser.add_argument("--output", type=Path, metavar="DIR", help="writes consistency.json")
    add_matcher_options(parser)
    add_config_options(parser, OdometryConfig, "odometry", prefix="odometry_")
    parser.set_defaults(run=run_consistency)


def run_consistency(args: argparse.Namespace) -> int:
    """Fly, and print each kind's figures over all flights."""
    config = config_from(args, OdometryConfig, prefix="odometry_")
    output = make_folder(args.output) if args.output else None
    matcher = ImageMatcher.from_config(matcher_config(args))
    try:
        results = evaluate_consistency(matcher, args.flights, args.frames, config, progress=True)
    except ValueError as error:
        raise SuperGlueRosError(f"--flights or --frames: {error}") from error
    header = ["kind", "flights", "poses", "lost", "NEES / 6: mean", "median", "largest"]
    header += ["position error, said [m]", "rotation error, said [rad]"]
    print(format_table(header, [_row(kind, results) for kind in KINDS]))
    if output is not None:
        write_json(output / "consistency.json", {"flights": results})
        print(f"figures: {output}")
    return 0


def _row(kind: str, results: list[FlightConsistency]) -> list[Any]:
    chosen = [result for result in results if result.kind == kind and result.num_poses]
    nees = np.array([result.nees for result in chosen])
    row: list[Any] = [kind, len(chosen), sum(result.num_poses for result in chosen)]
    row.append(sum(result.num_lost for result in results if result.kind == kind))
    if not chosen:
        return [*row, "-", "-", "-", "-", "-"]
    row += [f"{nees.mean():.2f}", f"{np.median(nees):.2f}", f"{nees.max():.2f}"]
    for name, digits in (("position_m", 4), ("rotation_rad", 5)):
        found, said = (
            np.mean([getattr(result, prefix + name) for result in chosen])
            for prefix in ("", "said_")
        )
        row.append(f"{found:.{digits}f}, {said:.{digits}f}")
    return row
