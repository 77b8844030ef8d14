"""`superglue_ros evaluate tracks`: do tracks stay on what they begin on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.cli.options import add_matcher_options, matcher_config
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.tracks import ASTRAY_PX, TrackScores, evaluate_tracks
from superglue_ros.matching import ImageMatcher
from superglue_ros.reporting.files import make_folder, write_json
from superglue_ros.reporting.tables import format_table, slashed


def add_tracks(kinds: Any) -> None:
    """Add the subcommand to those of `evaluate`."""
    summary = "tracks over keyframes against the surfaces of rendered flights"
    parser = kinds.add_parser(
        "tracks",
        help=summary,
        description=f"{summary.capitalize()}: distances of a track's points from where its first "
        "one is by the true depths and poses; astray is what is farther than "
        f"{ASTRAY_PX:g} px. An id is kept where what was seen before has it again.",
    )
    parser.add_argument("--flights", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--frames", type=int, default=40, metavar="N", help="default: 40")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT")
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="writes tracks.json")
    add_matcher_options(parser)
    parser.set_defaults(run=run_tracks)


def run_tracks(args: argparse.Namespace) -> int:
    """Fly, and print the figures of both kinds of tracks over all flights."""
    config = matcher_config(args)
    output = make_folder(args.output) if args.output else None
    matcher = ImageMatcher.from_config(config)
    try:
        scores = evaluate_tracks(matcher, args.flights, args.frames, tuple(args.size), True)
    except ValueError as error:
        raise SuperGlueRosError(f"--flights, --frames or --size: {error}") from error
    header = ["tracks of", "tracks", "sightings", "px: 50/90/99 %", "astray %", "tracks astray"]
    print(format_table([*header, "ids kept %"], [_row(*item) for item in scores.items()]))
    if output is not None:
        write_json(output / "tracks.json", scores)
        print(f"figures: {output}")
    return 0


def _row(kind: str, flights: list[TrackScores]) -> list[Any]:
    sightings = sum(x.num_sightings for x in flights)
    renamed = sum(x.num_renamed for x in flights)
    astray = sum(x.num_astray for x in flights)
    return [
        *(kind, sum(x.num_tracks for x in flights), sightings),
        slashed(np.mean([x.errors_px for x in flights], axis=0).tolist()),
        f"{100 * astray / max(sightings, 1):.2f}",
        sum(x.num_tracks_astray for x in flights),
        f"{100 * sightings / max(sightings + renamed, 1):.1f}",
    ]
