"""SuperPoint (DeTone, Malisiewicz, Rabinovich, arXiv:1712.07629): keypoints and descriptors.

Parameter names and shapes are those of the published checkpoint `superpoint_v1.pth`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from superglue_ros.networks.keypoints import (
    CELL,
    Keypoints,
    SuperPointConfig,
    probability_map,
    refine_keypoints,
    sample_descriptors,
    select_keypoints,
    suppress_nonmaxima,
)

_FLOAT32_LAYERS = ("conv1a", "convPb", "convDb")
"""Whatever the precision of the others."""

_STRIP_PIXELS = 20_000
"""Of a strip of the first layers on a CPU: its 64 channels fit into the cache."""


class SuperPoint(nn.Module):
    """VGG-like encoder with a detector head and a descriptor head (paper, section 3)."""

    descriptor_dim = 256

    def __init__(self, config: SuperPointConfig | None = None) -> None:
        super().__init__()
        self.config = config or SuperPointConfig()
        self.conv1a = nn.Conv2d(1, 64, 3, padding=1)
        self.conv1b = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2a = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2b = nn.Conv2d(64, 64, 3, padding=1)
        self.conv3a = nn.Conv2d(64, 128, 3, padding=1)
        self.conv3b = nn.Conv2d(128, 128, 3, padding=1)
        self.conv4a = nn.Conv2d(128, 128, 3, padding=1)
        self.conv4b = nn.Conv2d(128, 128, 3, padding=1)
        self.convPa = nn.Conv2d(128, 256, 3, padding=1)
        self.convPb = nn.Conv2d(256, CELL * CELL + 1, 1)
        self.convDa = nn.Conv2d(128, 256, 3, padding=1)
        self.convDb = nn.Conv2d(256, self.descriptor_dim, 1)

    def convolve(self, name: str, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """One convolution; training puts batch normalisation after it."""
        layer = self.get_submodule(name)
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        return F.conv2d(x.to(weight.dtype), weight, bias, 1, padding)

    def block(self, name: str, x: Tensor, padding: tuple[int, int] = (1, 1)) -> Tensor:
        """One convolution with its rectifier."""
        return F.relu(self.convolve(name, x, padding), inplace=True)

    def pooled_block(self, name: str, x: Tensor, padding: tuple[int, int] = (1, 1)) -> Tensor:
        """A block, and of each 2 x 2 pixels the maximum, which is rectified: a quarter of the
        work, and the same."""
        return F.relu(_pool(self.convolve(name, x, padding)), inplace=True)

    def dense(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Both heads of a gray image (B, 1, H, W) in [0, 1].

        Returns detector logits (B, 65, H // 8, W // 8), the last channel "no keypoint", and
        descriptors (B, 256, H // 8, W // 8) of norm 1.
        """
        image = smooth_image(image, self.config.smoothing_px)
        if self.training or image.device.type != "cuda":
            return self._dense(image)
        with exact_convolutions():
            return self._dense(image)

    def _dense(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self._first_stage(image)
        for stage in "234":
            second = self.block if stage == "4" else self.pooled_block
            x = second(f"conv{stage}b", self.block(f"conv{stage}a", x))
        logits = self.convPb(self.block("convPa", x).to(self.convPb.weight.dtype))
        descriptors = self.convDb(self.block("convDa", x).to(self.convDb.weight.dtype))
        return logits, F.normalize(descriptors.float(), dim=1)

    def _first_stage(self, image: Tensor) -> Tensor:
        """Both full-size layers and the pooling after them: (B, 64, H // 2, W // 2).

        On a CPU strip by strip, since whole layers of 64 full-size channels go out to memory and
        back: a third of their time.
        """
        if self.training or image.device.type != "cpu" or torch.jit.is_tracing():
            return self.pooled_block("conv1b", self.block("conv1a", image))
        height, width = image.shape[2:]
        rows = max(2, _STRIP_PIXELS // width // 2 * 2)
        pooled = []
        for top in range(0, height - 1, rows):
            # A row's neighbours are those of the image, and zeros beyond its border.
            bottom = min(top + rows, height)
            first, last = max(top - 1, 0), min(bottom + 1, height)
            x = image[:, :, max(first - 1, 0) : last + 1]
            x = _pad_rows(x, first == 0, last == height)
            x = _pad_rows(self.block("conv1a", x, (0, 1)), top == 0, bottom == height)
            pooled.append(self.pooled_block("conv1b", x, (0, 1)))
        return torch.cat(pooled, dim=2)

    def prepare(self, device: torch.device, dtype: torch.dtype) -> SuperPoint:
        """Freeze for inference on a device with an encoder in `dtype`, channels last.

        The last layers stay float32: rounded scores tie, and tied neighbours would all survive
        the suppression. So does the first: what it loses of the image moves more keypoints than
        all other layers together.
        """
        self.eval().requires_grad_(False)
        for name, module in self.named_children():
            module.to(device, torch.float32 if name in _FLOAT32_LAYERS else dtype)
        use_channels_last(self)
        return self

    @torch.no_grad()
    def round_weights(self) -> None:
        """Round the weights of the layers that half precision computes to bfloat16.

        The same weights then serve every precision, and bfloat16 finds more of float32's
        keypoints.
        """
        for name, module in self.named_children():
            if name not in _FLOAT32_LAYERS:
                for parameter in module.parameters():
                    parameter.copy_(parameter.bfloat16())

    def find_keypoints(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keypoints (B, K, 2) pixels, scores (B, K), counts (B,) of detector logits."""
        probabilities = probability_map(logits)
        scores = suppress_nonmaxima(probabilities, self.config.nms_radius)
        keypoints, values, counts = select_keypoints(scores, self.config)
        radius, power = self.config.subpixel_radius, self.config.subpixel_power
        refined = refine_keypoints(probabilities, keypoints, radius, power)
        return refined, values, counts

    def forward(self, image: Tensor) -> Keypoints:
        """Keypoints of gray images (B, 1, H, W) in [0, 1], H and W at least 8.

        Raises ValueError for any other shape.
        """
        if image.dim() != 4 or image.shape[1] != 1 or min(image.shape[2:]) < CELL:
            raise ValueError(f"images must be (B, 1, H >= 8, W >= 8), not {tuple(image.shape)}")
        logits, descriptors = self.dense(image)
        keypoints, values, counts = self.find_keypoints(logits)
        return Keypoints(keypoints, values, sample_descriptors(keypoints, descriptors), counts)


def _pool(x: Tensor) -> Tensor:
    """Maxima (B, C, H // 2, W // 2) of each 2 x 2 pixels."""
    if x.device.type != "cpu" or x.requires_grad or torch.jit.is_tracing():
        return F.max_pool2d(x, 2)
    # torch's pooling finds their places, too, which takes twice as long.
    height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    rows = torch.maximum(x[:, :, 0:height:2, :width], x[:, :, 1:height:2, :width])
    return torch.maximum(rows[..., 0::2], rows[..., 1::2])


def _pad_rows(x: Tensor, above: bool, below: bool) -> Tensor:
    """x (B, C, H, W) with a row of zeros where asked for, and as it is where not: torch pads by
    nothing with a copy."""
    return F.pad(x, (0, 0, int(above), int(below))) if above or below else x


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Within it a GPU's float32 convolutions do not round to 10 bits (TF32)."""
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=False,
    ):
        yield


def use_channels_last(network: nn.Module) -> None:
    """Lay convolution weights out channels last, which CPUs and tensor cores are fastest with."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            # A copy: `contiguous` leaves the strides of a single input channel, which then say
            # nothing, and the whole network would run channels first.
            copy = torch.empty_like(parameter.data, memory_format=torch.channels_last)
            parameter.data = copy.copy_(parameter.data)


def smooth_image(image: Tensor, sigma: float) -> Tensor:
    """Image (B, 1, H, W) under a Gaussian of `sigma` pixels, its border's pixels going on beyond.

    What the sharper of two images alone shows cannot be found again; SIFT smooths by 1.6 pixels
    (Lowe 2004, section 3.3).
    """
    if sigma == 0:
        return image
    radius = math.ceil(3 * sigma)
    weights = [math.exp(-(step**2) / (2 * sigma**2)) for step in range(radius + 1)]
    total = 2 * sum(weights) - weights[0]
    x = F.pad(image, (radius,) * 4, mode="replicate")
    # Sums of slices: a convolution of one channel takes ten times as long on a CPU.
    for dim in (2, 3):
        length = x.shape[dim] - 2 * radius
        mean = x.narrow(dim, radius, length) * (weights[0] / total)
        for step in range(1, radius + 1):
            sides = x.narrow(dim, radius - step, length) + x.narrow(dim, radius + step, length)
            mean.add_(sides, alpha=weights[step] / total)
        x = mean
    return x
