"""`superglue_ros evaluate trajectory`: errors of a trajectory file against ground truth."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.accuracy import (
    accuracy_rows,
    measure_accuracy,
    summarise_accuracy,
)
from superglue_ros.evaluation.relative import relative_errors
from superglue_ros.evaluation.trajectory import ALIGNMENTS
from superglue_ros.replay.trajectory_plots import (
    plot_components,
    plot_errors,
    plot_trajectory,
)
from superglue_ros.reporting.files import make_folder, write_json
from superglue_ros.reporting.tables import format_table
from superglue_ros.sources import load_stamped_trajectory


def add_trajectory(kinds: Any) -> None:
    """Add the subcommand to those of `evaluate`."""
    summary = "absolute and relative errors of a trajectory file"
    parser = kinds.add_parser("trajectory", help=summary, description=summary)
    parser.add_argument("estimate", type=Path, metavar="ESTIMATE", help="see docs/sources.md")
    parser.add_argument("groundtruth", type=Path, metavar="GROUNDTRUTH")
    parser.add_argument("--alignment", choices=ALIGNMENTS, default="sim3")
    parser.add_argument(
        "--max-gap", type=float, default=0.02, metavar="S", help="seconds between paired poses"
    )
    parser.add_argument("--metres", type=float, metavar="M", help="length of relative segments")
    parser.add_argument("--output", type=Path, metavar="DIR", help="trajectory.json and .png")
    parser.set_defaults(run=run_trajectory)


def run_trajectory(args: argparse.Namespace) -> int:
    """Errors of a trajectory file against ground truth."""
    if args.metres is not None and not 0 < args.metres < math.inf:
        raise SuperGlueRosError(f"--metres is a length above 0, not {args.metres}")
    given = load_stamped_trajectory(args.estimate), load_stamped_trajectory(args.groundtruth)
    print(f"estimate: {given[0].origin}\nground truth: {given[1].origin}")
    estimate, groundtruth = given[0].trajectory, given[1].trajectory
    output = make_folder(args.output) if args.output else None
    accuracy = measure_accuracy(estimate, groundtruth, args.alignment, args.max_gap)
    errors = accuracy.absolute
    if errors.reason:
        raise SuperGlueRosError(f"{args.estimate}: {errors.reason}")
    rows, figures = accuracy_rows(accuracy), summarise_accuracy(accuracy)
    if args.metres:
        asked = relative_errors(
            estimate, groundtruth, scale=errors.scale, metres=args.metres, max_gap_s=args.max_gap
        )
        figures["segments"] = asked
        text = (
            f"{asked.translation_rmse_m:.4f} m, {asked.rotation_rmse_deg:.4f} deg (RMSE), "
            f"{asked.translation_percent:.3f} %, {asked.rotation_deg_per_m:.5f} deg/m"
        )
        rows.append([f"RPE over {asked.segment}", asked.reason or text])
    print(format_table(["figure", "value"], rows))
    if output is not None:
        plot_trajectory(output / "trajectory.png", estimate, errors)
        plot_errors(output / "errors.png", errors)
        plot_components(output / "components.png", estimate, errors)
        write_json(output / "trajectory.json", figures)
        print(f"figures and plots: {output}")
    return 0
