"""Attention by torch's fused kernels, without the one that is slow for our shapes."""

from __future__ import annotations

from torch import Tensor
from torch.backends import cuda
from torch.nn import functional as F


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, scale: float
) -> Tensor:
    """Scaled dot-product attention (arXiv:1911.11763, eq. 4) of (B, H, N, D) and (B, H, M, D).

    mask: (B, 1, 1, M) bool or additive, None for all keys.
    """
    if query.device.type != "cuda":
        return F.scaled_dot_product_attention(query, key, value, mask, scale=scale)
    # cuDNN's plans anew, for up to a second, at every new number of keypoints.
    enabled = cuda.cudnn_sdp_enabled()
    cuda.enable_cudnn_sdp(False)
    try:
        return F.scaled_dot_product_attention(query, key, value, mask, scale=scale)
    finally:
        cuda.enable_cudnn_sdp(enabled)
