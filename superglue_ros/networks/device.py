"""Choice of device, precision and threads; what cannot be had is an error, never a fallback."""

from __future__ import annotations

import cv2
import torch

from superglue_ros.errors import DeviceError
from superglue_ros.networks.precision import has_bfloat16


def choose_device(wish: str) -> torch.device:
    """The device of "auto", "cuda" or "cpu"; DeviceError where CUDA is asked for in vain."""
    available = torch.cuda.is_available()
    if wish == "cuda" and not available:
        raise DeviceError("device cuda was asked for, but torch finds no CUDA device here")
    if wish == "auto":
        wish = "cuda" if available else "cpu"
    return torch.device(wish)


def choose_precision(wish: str, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """The dtypes of SuperPoint and of SuperGlue for "auto", "mixed" or a dtype's name.

    DeviceError where the device cannot.
    """
    half = torch.float16 if device.type == "cuda" else torch.bfloat16
    if wish == "mixed":
        return torch.float32, half
    if wish == "auto":
        dtype = half if device.type == "cuda" or has_bfloat16(device) else torch.float32
    elif wish == "float16" and device.type == "cpu":
        raise DeviceError("precision float16 needs a GPU; a CPU takes float32, mixed or bfloat16")
    else:
        dtype = getattr(torch, wish)
    return dtype, dtype


def use_threads(count: int) -> None:
    """Let torch and OpenCV compute with so many threads in the whole process, which has one
    number of them; 0 leaves it as it is."""
    if count:
        torch.set_num_threads(count)
        cv2.setNumThreads(count)
