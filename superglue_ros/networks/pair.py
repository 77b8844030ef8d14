"""The networks of a matcher, with their weights, in torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from superglue_ros.errors import CheckpointError
from superglue_ros.networks.checkpoints import load_superglue, load_superpoint
from superglue_ros.networks.config import MatcherConfig
from superglue_ros.networks.device import choose_precision
from superglue_ros.networks.superglue_inference import FoldedSuperGlue
from superglue_ros.networks.superpoint import SuperPoint


@dataclass(frozen=True)
class Networks:
    """Both networks on one device, the precision of their products, and what messages call them.

    An exported engine is the same two classes with their layers run elsewhere.
    """

    superpoint: SuperPoint
    superglue: FoldedSuperGlue
    precision: str
    model: str
    weights_hash: str


def load_networks(
    config: MatcherConfig, device: torch.device, dtype: torch.dtype | None = None
) -> Networks:
    """Networks of a config's weights files on a device; the precision is the config's by default.

    Raises CheckpointError, also for a SuperGlue of another width, and DeviceError.
    """
    dtypes = (dtype, dtype) if dtype else choose_precision(config.precision, device)
    detector, detector_file = load_superpoint(
        Path(config.superpoint) if config.superpoint else None, **config.superpoint_options()
    )
    matcher, matcher_file = load_superglue(
        Path(config.superglue) if config.superglue else None,
        match_threshold=config.match_threshold,
        sinkhorn_iterations=config.sinkhorn_iterations,
    )
    if matcher.config.descriptor_dim != detector.descriptor_dim:
        raise CheckpointError(
            f"weights file {matcher_file.path}: SuperGlue of width "
            f"{matcher.config.descriptor_dim} does not take SuperPoint's "
            f"{detector.descriptor_dim} dimensions"
        )
    return Networks(
        detector.prepare(device, dtypes[0]),
        FoldedSuperGlue(matcher).to_precision(dtypes[1]).to(device),
        str(dtypes[0]).removeprefix("torch.") if dtypes[0] == dtypes[1] else "mixed",
        f"{detector_file.path.stem}+{matcher_file.path.stem}",
        f"{detector_file.short_hash}+{matcher_file.short_hash}",
    )
