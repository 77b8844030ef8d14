"""`superglue_ros evaluate agreement`: do the fast forms give the plain network's matches."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from superglue_ros.cli.options import add_matcher_options, matcher_config
from superglue_ros.errors import SourceError, SuperGlueRosError
from superglue_ros.evaluation.agreement import (
    Agreement,
    AgreementScores,
    PlainMatcher,
    compare_forms,
    forms_of,
    summarise_agreement,
)
from superglue_ros.evaluation.rendered import rendered_images
from superglue_ros.matching import MatcherConfig
from superglue_ros.reporting.files import make_folder, write_json
from superglue_ros.reporting.tables import format_table
from superglue_ros.sources import open_source
from superglue_ros.types import ImageArray


def add_agreement(kinds: Any) -> None:
    """Add the subcommand to those of `evaluate`."""
    summary = "keypoints and matches of the fast forms against the plain float32 network's"
    parser = kinds.add_parser(
        "agreement",
        help=summary,
        description=f"{summary.capitalize()}, on pairs of frames and on rendered pairs: float32 "
        "and, where it is another, the precision given (float16 on a CPU in software, slowly).",
    )
    parser.add_argument("source", type=Path, nargs="*", metavar="SOURCE")
    parser.add_argument("--gap", type=int, default=1, metavar="N", help="frames apart")
    parser.add_argument(
        "--pairs", type=int, default=100, metavar="N", help="at most, of all sources together"
    )
    parser.add_argument("--rendered", type=int, default=100, metavar="N", help="rendered pairs")
    parser.add_argument("--output", type=Path, metavar="DIR", help="agreement.json")
    # The plain form takes images as they are.
    add_matcher_options(parser, without={"resize"})
    parser.set_defaults(run=run_agreement)


def run_agreement(args: argparse.Namespace) -> int:
    """Print a row a form and kind of images."""
    if args.gap < 1 or min(args.pairs, args.rendered) < 0:
        raise SuperGlueRosError("--gap is at least 1, --pairs and --rendered at least 0")
    if not args.rendered and not (args.source and args.pairs):
        raise SuperGlueRosError("evaluate agreement takes sources, --rendered, or both")
    config = matcher_config(args)
    output = make_folder(args.output) if args.output else None
    try:
        scores, results = _compare(args, config)
    except ValueError as error:
        raise SuperGlueRosError(str(error)) from error
    rows = [
        [kind, x.form, x.num_pairs, f"{x.keypoints_percent:.3f}", f"{x.move_px:.1e}"]
        + [f"{x.descriptor_difference:.1e}", x.num_matches, f"{x.matches_percent:.3f}"]
        + [f"{x.worst_pair_percent:.1f}"]
        for kind, found in scores.items()
        for x in found
    ]
    header = ["images", "form", "pairs", "same keypoints %", "moved px", "descriptors differ by"]
    print(format_table([*header, "matches", "same matches %", "least of a pair %"], rows))
    if output is not None:
        write_json(output / "agreement.json", {"scores": scores, "pairs": results})
        print(f"figures: {output}")
    return 0


def _compare(
    args: argparse.Namespace, config: MatcherConfig
) -> tuple[dict[str, list[AgreementScores]], dict[str, list[Agreement]]]:
    """Scores and results by kind of images."""
    plain = PlainMatcher(config)
    precisions = (config.precision,) if config.engine else ("float32", config.precision)
    forms = forms_of(config, precisions)
    results: dict[str, list[Agreement]] = {"real": [], "rendered": []}
    per_source = max(1, args.pairs // max(len(args.source), 1))
    for source in args.source if args.pairs else ():
        for pair in _frame_pairs(source, args.gap, per_source):
            results["real"] += compare_forms(pair, plain, forms)
    for pair in tqdm(rendered_images(args.rendered), total=args.rendered, desc="rendered pairs"):
        results["rendered"] += compare_forms(pair, plain, forms)
    return {kind: summarise_agreement(found) for kind, found in results.items() if found}, results


def _frame_pairs(source: Path, gap: int, count: int) -> Iterator[tuple[ImageArray, ImageArray]]:
    """At most so many pairs of frames from the whole sequence."""
    opened = open_source(source)
    total = (len(opened) or sum(1 for _ in opened)) - gap
    if total < 1:
        raise SourceError(f"{source}: {total + gap} frames have no pair {gap} apart")
    count = min(count, total)
    chosen = {i * total // count + gap for i in range(count)}
    window: deque[ImageArray] = deque(maxlen=gap + 1)
    for index, frame in enumerate(tqdm(opened, total=total + gap, desc=opened.name)):
        window.append(frame.image)
        if index in chosen:
            yield window[0], window[-1]
