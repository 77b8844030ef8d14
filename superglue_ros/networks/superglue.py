"""SuperGlue (Sarlin et al., arXiv:1911.11763) as it is trained.

Parameter names and shapes are those of the published `superglue_indoor.pth` and
`superglue_outdoor.pth`: convolutions of width 1. States are (B, N, C) all the same, keypoints
before channels: the convolutions then are plain products, and a CPU trains a quarter faster.
For inference `superglue_inference.FoldedSuperGlue` computes the same with fewer, larger products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from superglue_ros.networks.attention import fused_attention
from superglue_ros.networks.optimal_transport import log_optimal_transport


@dataclass(frozen=True)
class SuperGlueConfig:
    """Shape of the network and how its assignment is read.

    num_layers counts self and cross layers, which alternate; match_threshold: least probability;
    attention_keypoints: see `attention_sharpness`, 0 as published.
    """

    descriptor_dim: int = 256
    num_layers: int = 18
    num_heads: int = 4
    keypoint_encoder: tuple[int, ...] = (32, 64, 128, 256)
    sinkhorn_iterations: int = 100
    match_threshold: float = 0.2
    attention_keypoints: int = 0

    def __post_init__(self) -> None:
        if self.descriptor_dim < 1 or self.descriptor_dim % self.num_heads:
            raise ValueError(
                f"descriptor_dim {self.descriptor_dim} must divide into {self.num_heads} heads"
            )
        if self.num_layers < 0 or self.num_layers % 2:
            raise ValueError(f"num_layers must be even, not {self.num_layers}")
        if self.sinkhorn_iterations < 1:
            raise ValueError("sinkhorn_iterations must be at least 1")
        if not 0.0 <= self.match_threshold <= 1.0:
            raise ValueError("match_threshold must be in [0, 1]")
        if self.attention_keypoints < 0 or self.attention_keypoints == 1:
            raise ValueError("attention_keypoints must be 0 or at least 2")


class ImageKeypoints(NamedTuple):
    """One image's input: keypoints (B, N, 2) in pixels, detection scores (B, N), descriptors
    (B, N, D) of norm 1, and the image's (width, height)."""

    keypoints: Tensor
    scores: Tensor
    descriptors: Tensor
    image_size: tuple[int, int]


class Pointwise(nn.Conv1d):
    """A convolution of width 1 of keypoints' channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, outputs) of (B, N, inputs)."""
        return F.linear(x, self.weight[:, :, 0], self.bias)


class KeypointNorm(nn.BatchNorm1d):
    """A batch norm of keypoints' channels, over all keypoints of a batch."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) of the same."""
        return super().forward(x.flatten(0, 1)).view_as(x)


def mlp(channels: list[int]) -> nn.Sequential:
    """Layers of width-1 convolutions, each but the last with batch norm and rectifier."""
    layers: list[nn.Module] = []
    for i in range(1, len(channels)):
        layers.append(Pointwise(channels[i - 1], channels[i]))
        if i < len(channels) - 1:
            layers += [KeypointNorm(channels[i]), nn.ReLU()]
    return nn.Sequential(*layers)


def normalize_keypoints(keypoints: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Keypoints (B, N, 2) in pixels about the image's centre, over 0.7 of its longer side.

    image_size is (width, height).
    """
    width, height = image_size
    # Filled on the device: a copy from the host would wait, and CUDA graphs forbid it.
    centre = torch.stack((keypoints.new_full((), width / 2), keypoints.new_full((), height / 2)))
    return (keypoints - centre) / (max(image_size) * 0.7)


def attention_sharpness(training_keypoints: int, count: int) -> float:
    """Factor, at least 1, of the attention's logits to `count` keypoints.

    The softmax over more keypoints than a network was trained with is flatter, and attends to
    more that does not matter; logits that grow with the logarithm of the number hold against
    that (Chiang and Cholak, arXiv:2202.12172). Here queries and keys both grow by
    log count / log training_keypoints: measured, few keypoints then need less to help many. 1
    where training_keypoints is 0.
    """
    if not 0 < training_keypoints < count:
        return 1.0
    return (math.log(count) / math.log(training_keypoints)) ** 2


class KeypointEncoder(nn.Module):
    """Embeds position and detection score into the descriptor's space (eq. 2)."""

    def __init__(self, config: SuperGlueConfig) -> None:
        super().__init__()
        self.encoder = mlp([3, *config.keypoint_encoder, config.descriptor_dim])

    def forward(self, keypoints: Tensor, scores: Tensor) -> Tensor:
        """Encodings (B, N, D) of normalised keypoints (B, N, 2) and scores (B, N)."""
        return self.encoder(torch.cat((keypoints, scores[..., None]), dim=2))


class MultiHeadedAttention(nn.Module):
    """Scaled dot-product attention whose heads interleave in the channels, as published."""

    def __init__(self, config: SuperGlueConfig) -> None:
        super().__init__()
        dim = config.descriptor_dim
        self.heads = config.num_heads
        self.training_keypoints = config.attention_keypoints
        self.merge = Pointwise(dim, dim)
        self.proj = nn.ModuleList(Pointwise(dim, dim) for _ in range(3))

    @property
    def projections(self) -> list[Pointwise]:
        """Those of query, key and value."""
        return [proj for proj in self.proj if isinstance(proj, Pointwise)]

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Messages (B, N, D) to x (B, N, D) from source (B, M, D) (eq. 4-6)."""
        b, n, d = x.shape
        query, key, value = (
            proj(y).view(b, -1, d // self.heads, self.heads).permute(0, 3, 1, 2)
            for proj, y in zip(self.projections, (x, source, source))
        )
        sharpness = attention_sharpness(self.training_keypoints, source.shape[1])
        message = _attend(query, key, value, sharpness)
        return self.merge(message.permute(0, 2, 3, 1).reshape(b, n, d))


def _attend(query: Tensor, key: Tensor, value: Tensor, sharpness: float) -> Tensor:
    """Scaled dot-product attention (eq. 4) of (B, H, N, D) and (B, H, M, D)."""
    scale = sharpness * query.shape[-1] ** -0.5
    if query.device.type != "cpu":
        # The fused kernels of a GPU refuse interleaved heads, and the plain one stores all scores.
        return fused_attention(
            query.contiguous(), key.contiguous(), value.contiguous(), scale=scale
        )
    # There forward and backward of the fused one take three times as long in bfloat16.
    scores = query * scale @ key.transpose(2, 3)
    return scores.softmax(3) @ value


class AttentionalPropagation(nn.Module):
    """Residual of one layer: MLP([x || message]) (eq. 3)."""

    def __init__(self, config: SuperGlueConfig) -> None:
        super().__init__()
        dim = config.descriptor_dim
        self.attn = MultiHeadedAttention(config)
        self.mlp = mlp([2 * dim, 2 * dim, dim])

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Residual (B, N, D) of x (B, N, D) that attends to source (B, M, D)."""
        return self.mlp(torch.cat((x, self.attn(x, source)), dim=2))


class AttentionalGNN(nn.Module):
    """Alternates self and cross attention over the keypoints of both images."""

    def __init__(self, config: SuperGlueConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            AttentionalPropagation(config) for _ in range(config.num_layers)
        )

    @property
    def propagations(self) -> list[AttentionalPropagation]:
        """The layers in their order."""
        return [layer for layer in self.layers if isinstance(layer, AttentionalPropagation)]

    def forward(self, x0: Tensor, x1: Tensor) -> tuple[Tensor, Tensor]:
        """Refined (B, M, D) and (B, N, D); even layers attend within, odd ones across."""
        for i, layer in enumerate(self.propagations):
            source0, source1 = (x1, x0) if i % 2 else (x0, x1)
            delta0, delta1 = layer(x0, source0), layer(x1, source1)
            x0, x1 = x0 + delta0, x1 + delta1
        return x0, x1


class SuperGlue(nn.Module):
    """Keypoint encoder, graph network, score matrix and optimal matching layer."""

    def __init__(self, config: SuperGlueConfig | None = None) -> None:
        super().__init__()
        self.config = config or SuperGlueConfig()
        self.kenc = KeypointEncoder(self.config)
        self.gnn = AttentionalGNN(self.config)
        self.final_proj = Pointwise(self.config.descriptor_dim, self.config.descriptor_dim)
        self.bin_score = nn.Parameter(torch.tensor(1.0))

    def sharpen_attention(self, training_keypoints: int) -> None:
        """Take another number for the configuration's attention_keypoints."""
        self.config = replace(self.config, attention_keypoints=training_keypoints)
        for layer in self.gnn.propagations:
            layer.attn.training_keypoints = training_keypoints

    def branches(self) -> list[nn.Sequential]:
        """The MLPs whose outputs are added to the descriptors."""
        return [self.kenc.encoder, *(layer.mlp for layer in self.gnn.propagations)]

    @torch.no_grad()
    def initialize_as_transport(
        self, temperature: float = 0.05, bin_cosine: float = 0.7, attention_logit: float = 10.0
    ) -> None:
        """Make the untrained network optimal transport over the descriptors' cosines.

        The encoder's and each residual branch's last layer become zero and the projection a
        scaled identity, so that scores are cosine / temperature and the dustbin's score
        bin_cosine / temperature; training can only add to that.

        Query and key become the same scaled rotation: a keypoint attends to those whose
        descriptors are like its own, by logits of about attention_logit * cosine. By default they
        would be some hundredths, as a channel of a descriptor of norm 1 is about 1/16: every
        keypoint would attend to the mean of all, and did so still after 3,000 steps.
        """
        for branch in self.branches():
            for parameter in branch[-1].parameters():
                nn.init.zeros_(parameter)
        dim, heads = self.config.descriptor_dim, self.config.num_heads
        # A head of a rotation's rows keeps 1 / heads of the product, and is scaled (eq. 4).
        gain = (attention_logit * heads * (dim / heads) ** 0.5) ** 0.5
        for layer in self.gnn.propagations:
            query, key, _ = layer.attn.projections
            query.weight.copy_(gain * nn.init.orthogonal_(torch.empty(dim, dim))[:, :, None])
            nn.init.zeros_(query.state_dict()["bias"])
            key.load_state_dict(query.state_dict())
        scale = (dim**0.5 / temperature) ** 0.5
        self.final_proj.weight.copy_(scale * torch.eye(dim)[:, :, None])
        nn.init.zeros_(self.final_proj.state_dict()["bias"])
        self.bin_score.fill_(bin_cosine / temperature)

    def scores(self, side0: ImageKeypoints, side1: ImageKeypoints) -> Tensor:
        """Score matrix (B, M, N) of M and N keypoints (eq. 7)."""
        x0, x1 = self.gnn(self._encode(side0), self._encode(side1))
        f0, f1 = self.final_proj(x0), self.final_proj(x1)
        return f0 @ f1.transpose(1, 2) / self.config.descriptor_dim**0.5

    def forward(self, side0: ImageKeypoints, side1: ImageKeypoints) -> Tensor:
        """Log assignment (B, M + 1, N + 1) with dustbins last.

        Raises ValueError when either image has no keypoints.
        """
        return self.assign(self.scores(side0, side1))

    def _encode(self, side: ImageKeypoints) -> Tensor:
        points = normalize_keypoints(side.keypoints, side.image_size)
        return side.descriptors + self.kenc(points, side.scores)

    def assign(self, scores: Tensor) -> Tensor:
        """Log assignment (B, M + 1, N + 1) of a score matrix (B, M, N) (eq. 8-9)."""
        return log_optimal_transport(scores, self.bin_score, self.config.sinkhorn_iterations)
