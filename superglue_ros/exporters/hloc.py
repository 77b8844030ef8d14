"""Features and matches as hloc's HDF5 files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.errors import ExportError
from superglue_ros.exporters.sequence import MatchedSequence, write_pairs
from superglue_ros.types import UNMATCHED


def write_hloc(folder: Path, sequence: MatchedSequence) -> None:
    """Write features.h5, matches.h5 and pairs.txt.

    features.h5 has a group per image: keypoints (N, 2) float32 pixels, (0, 0) the centre of the
    top-left pixel (hloc itself adds 0.5 for COLMAP); scores (N,), descriptors (D, N) float32;
    image_size (2,) width and height. matches.h5 has a group name0/name1 per pair: matches0 (N0,)
    int16, index into the second image or -1, matching_scores0 (N0,) float16. Raises ExportError
    without h5py or where a file cannot be written.
    """
    h5py = import_h5py()
    try:
        with h5py.File(folder / "features.h5", "w") as file:
            for image in sequence.images:
                group = file.create_group(image.name)
                keypoints = group.create_dataset(
                    "keypoints", data=np.asarray(image.features.keypoints, np.float32)
                )
                # By which hloc widens its thresholds.
                keypoints.attrs["uncertainty"] = 1.0
                group["scores"] = np.asarray(image.features.scores, np.float32)
                group["descriptors"] = np.asarray(image.features.descriptors.T, np.float32)
                group["image_size"] = np.array(image.features.image_size)
        with h5py.File(folder / "matches.h5", "w") as file:
            for pair in sequence.pairs:
                first, second = (sequence.images[place] for place in (pair.first, pair.second))
                matches0 = np.full(len(first.features), UNMATCHED, np.int16)
                scores0 = np.zeros(len(first.features), np.float16)
                matches0[pair.matches.indices0] = pair.matches.indices1
                scores0[pair.matches.indices0] = pair.matches.confidences
                group = file.create_group("/".join(_key(i.name) for i in (first, second)))
                group["matches0"] = matches0
                group["matching_scores0"] = scores0
        write_pairs(folder / "pairs.txt", sequence, sequence.pairs)
    except OSError as error:
        raise ExportError(f"cannot write to {folder}: {error}") from error


def _key(name: str) -> str:
    """A name as part of a path in matches.h5, which "/" divides."""
    return name.replace("/", "-")


def import_h5py() -> Any:
    """The module; ExportError where it is missing."""
    try:
        import h5py
    except ImportError as error:
        raise ExportError("hloc's files need h5py: pip install h5py") from error
    return h5py
