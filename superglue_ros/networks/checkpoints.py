"""Weights files: the shipped ones, other .safetensors, and the published .pth checkpoints."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from superglue_ros.errors import CheckpointError
from superglue_ros.networks.keypoints import SuperPointConfig
from superglue_ros.networks.superglue import SuperGlue, SuperGlueConfig
from superglue_ros.networks.superpoint import SuperPoint

WEIGHTS_FOLDER = Path(__file__).parent.parent / "weights"
SHIPPED = {"superpoint": "superpoint.safetensors", "superglue": "superglue.safetensors"}
SUPERPOINT_OPTIONS = ("nms_radius", "subpixel_radius", "subpixel_power", "smoothing_px")
"""Of a `SuperPointConfig`, what weights files say; the published ones take its defaults."""


@dataclass(frozen=True)
class WeightsFile:
    """A weights file as read: tensors by name, its configuration if it carries one, its hash."""

    path: Path
    sha256: str
    tensors: dict[str, Tensor] = field(repr=False)
    config: dict[str, Any]

    @property
    def short_hash(self) -> str:
        """First eight hexadecimal digits of the SHA-256, as the messages carry it."""
        return self.sha256[:8]


def shipped_path(network: str) -> Path:
    """Where the weights of "superpoint" or "superglue" that come with the package lie."""
    return WEIGHTS_FOLDER / SHIPPED[network]


def card_path(weights: Path) -> Path:
    """The card beside a weights file."""
    return weights.with_suffix(".json")


def read_card(weights: Path) -> dict[str, Any] | None:
    """The card of a weights file, None where it has none; CheckpointError if unreadable."""
    path = card_path(weights)
    if not path.is_file():
        return None
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no readable card: {error}") from error
    return card


def read_weights(path: Path) -> WeightsFile:
    """Tensors of a .safetensors, or of a .pth/.pt state dict (loaded with weights_only).

    A file that has a card must have the hash its card names. Raises CheckpointError.
    """
    if not path.is_file():
        raise CheckpointError(f"weights file {path} does not exist")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"weights file {path} cannot be read: {error}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    card = read_card(path)
    if card is not None and card.get("sha256") != sha256:
        raise CheckpointError(
            f"weights file {path} is damaged or replaced: expected SHA-256 "
            f"{card.get('sha256')} of its card, found {sha256}"
        )
    config: dict[str, Any] = {}
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                config = json.loads((file.metadata() or {}).get("config", "{}"))
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"weights file {path} is truncated or damaged: {error}") from error
    except Exception as error:  # torch.load raises many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"weights file {path} is no state dict: {reason}") from error
    if not isinstance(tensors, Mapping) or not all(
        isinstance(value, Tensor) for value in tensors.values()
    ):
        raise CheckpointError(f"weights file {path}: expected a state dict of tensors")
    return WeightsFile(path, sha256, dict(tensors), config)


def load_superpoint(path: Path | None = None, **options: Any) -> tuple[SuperPoint, WeightsFile]:
    """SuperPoint in eval mode with the weights of a file, the shipped ones by default.

    options: fields of `SuperPointConfig`, before what the file says; a published file says
    nothing, so that all is as published.
    """
    file = read_weights(path or shipped_path("superpoint"))
    try:
        own = {name: file.config[name] for name in SUPERPOINT_OPTIONS if name in file.config}
        network = SuperPoint(SuperPointConfig(**(own | options)))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"weights file {file.path}: wrong configuration: {error}") from error
    _load_strictly(network, file)
    return network.eval(), file


def load_superglue(
    path: Path | None = None,
    *,
    match_threshold: float = 0.2,
    sinkhorn_iterations: int = 100,
) -> tuple[SuperGlue, WeightsFile]:
    """SuperGlue in eval mode with the weights of a file, the shipped ones by default.

    The network's shape is the file's: from the configuration it carries, else from its tensors.
    """
    file = read_weights(path or shipped_path("superglue"))
    config = replace(
        _superglue_config(file),
        match_threshold=match_threshold,
        sinkhorn_iterations=sinkhorn_iterations,
    )
    network = SuperGlue(config)
    _load_strictly(network, file)
    return network.eval(), file


def _superglue_config(file: WeightsFile) -> SuperGlueConfig:
    try:
        if file.config:
            values = dict(file.config)
            values["keypoint_encoder"] = tuple(values["keypoint_encoder"])
            return SuperGlueConfig(**values)
        dim = file.tensors["final_proj.weight"].shape[0]
        layers = {m[1] for k in file.tensors if (m := re.match(r"gnn\.layers\.(\d+)\.", k))}
        # A .safetensors file sorts its names as text, 12 before 3.
        encoder = {
            int(name.split(".")[2]): tensor.shape[0]
            for name, tensor in file.tensors.items()
            if name.startswith("kenc.encoder.") and tensor.dim() == 3
        }
        widths = tuple(encoder[i] for i in sorted(encoder))
        return SuperGlueConfig(dim, len(layers), keypoint_encoder=widths[:-1])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"weights file {file.path} is not SuperGlue's: expected its configuration or "
            f"final_proj, gnn.layers and kenc.encoder, found {_first_names(file)} ({error})"
        ) from error


def _first_names(file: WeightsFile) -> str:
    names = sorted(file.tensors)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _load_strictly(network: nn.Module, file: WeightsFile) -> None:
    # Batch counters exist or not by the version of torch that saved the file, and mean nothing.
    found = {k: v for k, v in file.tensors.items() if not k.endswith("num_batches_tracked")}
    expected = {
        k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")
    }
    name = type(network).__name__
    for key, tensor in expected.items():
        if key not in found:
            raise CheckpointError(
                f"weights file {file.path} is not {name}'s: expected a tensor {key}, found "
                f"{_first_names(file)}"
            )
        if found[key].shape != tensor.shape:
            raise CheckpointError(
                f"weights file {file.path} does not fit {name}: expected {key} of shape "
                f"{tuple(tensor.shape)}, found {tuple(found[key].shape)}"
            )
        if not bool(torch.isfinite(found[key]).all()):
            raise CheckpointError(f"weights file {file.path}: {key} holds NaN or infinity")
    surplus = sorted(set(found) - set(expected))
    if surplus:
        raise CheckpointError(
            f"weights file {file.path} does not fit {name}: expected {len(expected)} tensors, "
            f"found {surplus[0]} beside them"
        )
    network.load_state_dict({k: v.float() for k, v in found.items()}, strict=False)


def save_weights(
    network: SuperPoint | SuperGlue, path: Path, card: Mapping[str, Any]
) -> WeightsFile:
    """Write half-precision .safetensors and its card, the hash added; returns the file as read.

    Raises CheckpointError where they cannot be written.
    """
    tensors = {
        # Running variances of dead channels underflow float16; a float32 vector costs nothing.
        name: tensor.detach().cpu().to(torch.float16 if tensor.dim() > 1 else torch.float32)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    config = asdict(network.config)
    if isinstance(network, SuperPoint):
        config = {name: config[name] for name in SUPERPOINT_OPTIONS}
    content = save(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        # One entry only: several come in random order, and so would the file's hash.
        metadata={"config": json.dumps(config)},
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error
    write_card(path, {**card, "sha256": hashlib.sha256(content).hexdigest()})
    return read_weights(path)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file as a whole; OSError leaves what was there, which may be mapped into memory."""
    partial = path.with_suffix(".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_card(weights: Path, card: Mapping[str, Any]) -> None:
    """Write the card beside a weights file; CheckpointError if it cannot."""
    try:
        card_path(weights).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{card_path(weights)} cannot be written: {error}") from error
