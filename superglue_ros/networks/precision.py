"""Which precision a device multiplies in."""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware; in software it takes ten times as long."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not torch.backends.mkldnn.is_available():
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def training_dtype(device: torch.device, bfloat16: bool) -> torch.dtype:
    """Precision of the products while training: bfloat16 where wished and in hardware, else
    float32."""
    return torch.bfloat16 if bfloat16 and has_bfloat16(device) else torch.float32
