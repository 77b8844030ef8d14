"""The images of a training: photographs, if any, with procedural ones, and some held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from superglue_ros.training.data.photos import PhotoBank, draw_procedural, photo_paths, read_photos


@dataclass(frozen=True)
class ImageBanks:
    """Images to train on and images to validate on; photographs: a digest of the folder they are
    from, which a resumed run must have the same, None where there is none."""

    training: PhotoBank
    validation: PhotoBank
    photographs: str | None


def open_banks(
    textures: Path | None, drawings: int, seed: int, device: torch.device
) -> ImageBanks:
    """Banks of a folder's photographs and of so many procedural images."""
    images = draw_procedural(drawings, seed)
    if textures is None:
        held_out = draw_procedural(max(2, drawings // 8), seed + 1)
        return ImageBanks(PhotoBank(images, device), PhotoBank(held_out, device), None)
    images = read_photos(textures, validation=False) + images
    held_out = read_photos(textures, validation=True)
    return ImageBanks(PhotoBank(images, device), PhotoBank(held_out, device), _digest(textures))


def _digest(folder: Path) -> str:
    """Of the names and sizes of a folder's photographs."""
    listing = [f"{path.name} {path.stat().st_size}" for path in photo_paths(folder)]
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()[:8]
