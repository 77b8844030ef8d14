"""Subcommand `world`: look at the rendered world, as a contact sheet and a fly-through video."""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

from superglue_ros.errors import SourceError

SHEET_COLUMNS = 4


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    summary = "write pictures of the rendered worlds: a contact sheet and a fly-through"
    parser = subparsers.add_parser("world", help=summary, description=summary)
    parser.add_argument("--output", type=Path, default=Path("world_output"), metavar="DIR")
    parser.add_argument("--pairs", type=int, default=16, metavar="N", help="pairs on the sheet")
    parser.add_argument("--frames", type=int, default=120, metavar="N", help="frames of the video")
    parser.add_argument("--width", type=int, default=320, help="pixels of a picture on the sheet")
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument(
        "--overlap", type=float, nargs=2, default=(0.1, 0.9), metavar=("LOW", "HIGH")
    )
    parser.add_argument("--photographs", type=Path, metavar="DIR", help="pictures as textures too")
    parser.add_argument(
        "--worlds", type=Path, metavar="FOLDER", help="the sheet shows furnished worlds (.glb)"
    )
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write DIR/pairs.png and DIR/flight.mp4."""
    args.output.mkdir(parents=True, exist_ok=True)
    if args.pairs > 0:
        print(f"{_write_sheet(args)}: {args.pairs} pairs")
    if args.frames > 0:
        print(f"{_write_flight(args)}: {args.frames} frames")
    return 0


def _write_sheet(args: argparse.Namespace) -> Path:
    import cv2
    import numpy as np

    from superglue_ros.networks.device import choose_device
    from superglue_ros.world import WorldConfig, WorldPairs
    from superglue_ros.world.furnished_cameras import FurnishedConfig
    from superglue_ros.world.furnished_views import FurnishedViews

    size, overlap = (args.width, args.height), tuple(args.overlap)
    source: WorldPairs | FurnishedViews
    try:
        if args.worlds is not None:
            furnished = FurnishedConfig(
                args.worlds, photographs=args.photographs, size=size, overlap=overlap, dressed=2
            )
            source = FurnishedViews(furnished, args.seed)
        else:
            config = WorldConfig(*size, overlap, args.photographs, antialias=True)
            source = WorldPairs(config, choose_device(args.device), args.seed)
    except ValueError as error:
        raise SourceError(str(error)) from error
    pairs = source.sample(args.pairs)
    height, width = pairs.images0.shape[-2:]
    shape = (-(-args.pairs // SHEET_COLUMNS), SHEET_COLUMNS, height, 2 * width)
    sheet = np.full(shape, 255, np.uint8)
    for index, views in enumerate(zip(pairs.images0, pairs.images1)):
        side_by_side = np.concatenate([view[0].cpu().numpy() for view in views], axis=1)
        cell = (side_by_side * 255).astype(np.uint8)
        text, base = f"{float(pairs.overlap[index]):.2f}", (2, height // 12)
        for ink, thickness in ((0, 4), (255, 1)):
            cv2.putText(cell, text, base, cv2.FONT_HERSHEY_SIMPLEX, height / 400, ink, thickness)
        sheet[divmod(index, SHEET_COLUMNS)] = cell
    path: Path = args.output / "pairs.png"
    rows = sheet.transpose(0, 2, 1, 3).reshape(-1, SHEET_COLUMNS * 2 * width)
    if not cv2.imwrite(str(path), rows):
        raise SourceError(f"cannot write {path}")
    return path


def _write_flight(args: argparse.Namespace) -> Path:
    import cv2
    from tqdm import tqdm

    from superglue_ros.world import render_flight

    path: Path = args.output / "flight.mp4"
    flight = render_flight(args.frames, seed=args.seed)
    first = next(flight)
    height, width = first.frame.image.shape[:2]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (width, height))
    if not video.isOpened():
        raise SourceError(f"cannot write {path}")
    frames = chain([first], flight)
    for flown in tqdm(frames, total=args.frames, desc="flight", unit="frame"):
        video.write(flown.frame.image)
    video.release()
    return path
