"""The folder that a replay leaves behind: trajectory, figures, and a page with pictures."""

from __future__ import annotations

import csv
import html
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.trajectory import RelativeErrors, TrajectoryErrors
from superglue_ros.replay.plots import plot_matches, plot_trajectory
from superglue_ros.replay.records import FrameRecord, ReplayResult
from superglue_ros.replay.summary import summarise_replay
from superglue_ros.reporting.files import make_folder, write_json, write_text
from superglue_ros.reporting.pictures import save_picture
from superglue_ros.sources import write_trajectory

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "img{max-width:100%}td,th{padding:.1em 1em .1em 0;text-align:left;vertical-align:top}"
)


def write_report(
    folder: str | Path,
    result: ReplayResult,
    errors: TrajectoryErrors | None = None,
    relative: RelativeErrors | None = None,
) -> dict[str, Any]:
    """Write trajectory.txt, summary.json, matches.csv, pictures and report.html to a folder.

    Makes the folder if need be and returns the summary. Raises SuperGlueRosError if it cannot
    write.
    """
    folder = make_folder(folder)
    summary = summarise_replay(result, errors, relative)
    write_trajectory(folder / "trajectory.txt", result.trajectory)
    write_json(folder / "summary.json", summary)
    _write_records(folder / "matches.csv", result.records)
    plot_trajectory(folder / "trajectory.png", result.trajectory, errors)
    plot_matches(folder / "matches.png", result.records)
    pictures = {"Trajectory": "trajectory.png", "Matches per frame": "matches.png"}
    for number, picture in enumerate(result.pictures):
        name = f"pair_{number}.png"
        save_picture(folder / name, picture.image)
        pictures[f"Keyframe and frame: {picture.title} ({picture.num_matches} matches)"] = name
    write_text(folder / "report.html", _page(result.name, summary, pictures))
    return summary


def _write_records(path: Path, records: tuple[FrameRecord, ...]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(FrameRecord)])
            writer.writeheader()
            writer.writerows(asdict(record) for record in records)
    except OSError as error:
        raise SuperGlueRosError(f"cannot write {path}: {error.strerror or error}") from error


def _page(name: str, summary: dict[str, Any], pictures: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(key.replace('_', ' '))}</th>"
        f"<td>{html.escape(_text(value))}</td></tr>\n"
        for key, value in summary.items()
    )
    figures = "".join(
        f'<h2>{html.escape(title)}</h2>\n<img src="{file}" alt="{html.escape(title)}">\n'
        for title, file in pictures.items()
    )
    title = f"Replay of {html.escape(name)}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{title}</h1>\n<table>\n{rows}</table>\n"
        f"{figures}</body></html>\n"
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_text(part)}" for key, part in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
