"""The folder that a replay leaves behind: trajectory, figures, pictures, and a page of all."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.accuracy import Accuracy
from superglue_ros.replay.page import ReportPictures, report_page
from superglue_ros.replay.plots import plot_matches, plot_times
from superglue_ros.replay.records import FrameRecord, ReplayResult
from superglue_ros.replay.summary import summarise_replay
from superglue_ros.replay.trajectory_plots import plot_components, plot_errors, plot_trajectory
from superglue_ros.reporting.files import make_folder, write_json, write_text
from superglue_ros.reporting.pictures import save_picture
from superglue_ros.sources import write_trajectory


def write_report(
    folder: str | Path,
    result: ReplayResult,
    accuracy: Accuracy | None = None,
    about: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write trajectory.txt, summary.json, matches.csv, pictures and report.html to a folder.

    about: what the page says of the run beside what the result knows, as topics and the command.
    Makes the folder if need be and returns the summary. Raises SuperGlueRosError if it cannot
    write.
    """
    folder = make_folder(folder)
    summary = summarise_replay(result, accuracy)
    write_trajectory(folder / "trajectory.txt", result.trajectory)
    write_json(folder / "summary.json", summary)
    _write_records(folder / "matches.csv", result.records)
    pictures = _write_pictures(folder, result, accuracy)
    write_text(folder / "report.html", report_page(result, accuracy, about or {}, pictures))
    return summary


def _write_pictures(
    folder: Path, result: ReplayResult, accuracy: Accuracy | None
) -> ReportPictures:
    errors = accuracy.absolute if accuracy is not None else None
    # Those of an earlier run may be more.
    for old in (folder / "errors.png", *folder.glob("pair_[0-9].jpg")):
        old.unlink(missing_ok=True)
    unit = "m" if result.scale_is_metric else "unit"
    trajectory, components = folder / "trajectory.png", folder / "components.png"
    plot_trajectory(trajectory, result.trajectory, errors, unit)
    plot_components(components, result.trajectory, errors, unit)
    over_time = None
    if errors is not None and len(errors.errors_m):
        over_time = folder / "errors.png"
        plot_errors(over_time, errors)
    matches, times = folder / "matches.png", folder / "times.png"
    plot_matches(matches, result.records)
    plot_times(times, result.records)
    pairs = []
    for number, picture in enumerate(result.pictures):
        pairs.append(folder / f"pair_{number}.jpg")
        save_picture(pairs[-1], picture.image)
    return ReportPictures(trajectory, components, over_time, matches, times, tuple(pairs))


def _write_records(path: Path, records: tuple[FrameRecord, ...]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(FrameRecord)])
            writer.writeheader()
            writer.writerows(asdict(record) for record in records)
    except OSError as error:
        raise SuperGlueRosError(f"cannot write {path}: {error.strerror or error}") from error
