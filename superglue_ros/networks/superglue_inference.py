"""SuperGlue for inference: the trained network's function in fewer, larger products.

Batch norms are folded into the convolutions before them, the three projections of an attention
are one product, its heads are contiguous, and the merge is multiplied into the MLP after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.onnx.operators import shape_as_tensor

from superglue_ros.networks.assignment import Assignment, empty_assignment, read_assignment
from superglue_ros.networks.attention import fused_attention
from superglue_ros.networks.optimal_transport import log_optimal_transport_inference
from superglue_ros.networks.superglue import (
    AttentionalPropagation,
    SuperGlue,
    SuperGlueConfig,
    attention_sharpness,
    normalize_keypoints,
)

_QUERIES = 512
"""Keypoints at once in the attention of bfloat16 on a CPU."""


@dataclass(frozen=True)
class EncodedKeypoints:
    """One image's side of the network up to the first cross attention: states (B, N, D),
    float32."""

    states: Tensor

    def __len__(self) -> int:
        return self.states.shape[1]


class PresentKeypoints(NamedTuple):
    """What an attention needs to know of the keypoints attended to: a mask (B, 1, 1, M) in the
    layers' precision that is added to its logits, None for none, and the logits' factor, see
    `attention_sharpness`, a Tensor (B, 1, 1, 1)."""

    mask: Tensor | None
    sharpness: float | Tensor

    def swapped(self) -> PresentKeypoints:
        """Of a batch of two images, for each the other's."""
        mask, sharpness = self
        mask = None if mask is None else mask.flip(0)
        sharpness = sharpness.flip(0) if isinstance(sharpness, Tensor) else sharpness
        return PresentKeypoints(mask, sharpness)


class FoldedSuperGlue(nn.Module):
    """Inference twin of a trained `SuperGlue`; results agree to about 1e-5 in float32."""

    def __init__(self, network: SuperGlue) -> None:
        super().__init__()
        self.config: SuperGlueConfig = network.config
        first, *others = _fold_mlp(network.kenc.encoder)
        rectified = [module for linear in others for module in (nn.ReLU(inplace=True), linear)]
        self.encoder = nn.Sequential(first, *rectified)
        self.layers = nn.ModuleList(_FoldedLayer(layer) for layer in network.gnn.propagations)
        self.final_proj = _linear(network.final_proj)
        with torch.no_grad():
            # Both sides carry the fourth root, so that their product has the score's 1/sqrt(D).
            scale = self.config.descriptor_dim**-0.25
            self.final_proj.weight.mul_(scale)
            self.final_proj.bias.mul_(scale)
        self.bin_score: Tensor
        self.register_buffer("bin_score", network.bin_score.detach().float().clone())
        self.eval().requires_grad_(False)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the layers' products."""
        return next(self.encoder.parameters()).dtype

    def to_precision(self, dtype: torch.dtype) -> FoldedSuperGlue:
        """Compute the products of encoder and layers in `dtype`.

        States, scores and the assignment stay float32: what rounding would add to them at every
        layer changes a match in a hundred.
        """
        for module in (self.encoder, self.layers):
            module.to(dtype)
        return self

    def encode(
        self,
        keypoints: Tensor,
        keypoint_scores: Tensor,
        descriptors: Tensor,
        image_size: tuple[int, int],
    ) -> EncodedKeypoints:
        """Everything that one image's side needs nothing of the other for.

        Keypoints (B, N, 2) pixels, scores (B, N), descriptors (B, N, D), size (width, height).
        A keyframe is encoded once and matched many times.
        """
        points = normalize_keypoints(keypoints.float(), image_size)
        return EncodedKeypoints(
            self.encode_normalized(points, keypoint_scores.float(), descriptors)
        )

    def encode_normalized(self, points: Tensor, scores: Tensor, descriptors: Tensor) -> Tensor:
        """States (B, N, D) of `encode`, with its points (B, N, 2) already normalised."""
        states = self.embed(points, scores, descriptors)
        if len(self.layers) and states.shape[1]:
            states = self.layers[0](states, states)
        return states

    def embed(self, points: Tensor, scores: Tensor, descriptors: Tensor) -> Tensor:
        """States (B, N, D) before the first layer, of normalised points (B, N, 2) (eq. 2)."""
        inputs = torch.cat((points, scores[..., None]), dim=2)
        return descriptors.float() + self.encoder(inputs.to(self.dtype))

    def log_assignment(self, encoded0: EncodedKeypoints, encoded1: EncodedKeypoints) -> Tensor:
        """Log assignment (B, M + 1, N + 1), float32; ValueError when M or N is 0."""
        return self.transport(self.score_matrix(encoded0, encoded1))

    def score_matrix(self, encoded0: EncodedKeypoints, encoded1: EncodedKeypoints) -> Tensor:
        """Scores (B, M, N), float32 (eq. 7)."""
        x0, x1 = encoded0.states, encoded1.states
        for i, layer in enumerate(self.layers):
            if i == 0:
                continue  # in `encode`
            source0, source1 = (x1, x0) if i % 2 else (x0, x1)
            x0, x1 = layer(x0, source0), layer(x1, source1)
        f0, f1 = self.final_proj(x0), self.final_proj(x1)
        return f0 @ f1.transpose(1, 2)

    def transport(self, scores: Tensor) -> Tensor:
        """Log assignment (B, M + 1, N + 1) of scores (B, M, N) (eq. 8-9)."""
        return log_optimal_transport_inference(
            scores, self.bin_score, self.config.sinkhorn_iterations
        )

    def forward(self, encoded0: EncodedKeypoints, encoded1: EncodedKeypoints) -> Assignment:
        """Matches of two encoded images; nothing matched where either has no keypoints."""
        m, n = len(encoded0), len(encoded1)
        if m == 0 or n == 0:
            return empty_assignment(encoded0.states.shape[0], m, n, encoded0.states.device)
        return read_assignment(
            self.log_assignment(encoded0, encoded1), self.config.match_threshold
        )


class _FoldedLayer(nn.Module):
    def __init__(self, layer: AttentionalPropagation) -> None:
        super().__init__()
        attention = layer.attn
        self.heads, self.training_keypoints = attention.heads, attention.training_keypoints
        dim = attention.merge.in_channels
        # Published heads interleave: channel c belongs to head c % heads. Contiguous ones are
        # what the fused attention wants.
        order = torch.arange(dim).view(-1, self.heads).T.reshape(-1)
        query, key, value = (_linear(p) for p in attention.projections)
        self.query = _linear_of(query.weight[order], query.bias[order])
        self.key_value = _linear_of(
            torch.cat((key.weight[order], value.weight[order])),
            torch.cat((key.bias[order], value.bias[order])),
        )
        first, second = _fold_mlp(layer.mlp)
        self.output = second
        merge = _linear(attention.merge)
        own, message = first.weight[:, :dim].double(), first.weight[:, dim:].double()
        weight = torch.cat((own, message @ merge.weight.double()[:, order]), dim=1)
        bias = first.bias.double() + message @ merge.bias.double()
        self.hidden = _linear_of(weight.float(), bias.float())

    def forward(
        self, x: Tensor, source: Tensor, present: PresentKeypoints | None = None
    ) -> Tensor:
        """x (B, N, D) plus its residual from source (B, M, D), both float32; present: which of
        the latter are none of padding, by default all."""
        dtype = self.query.weight.dtype
        own = x.to(dtype)
        given = own if source is x else source.to(dtype)
        query = self._split(self.query(own))
        key, value = (self._split(y) for y in self.key_value(given).chunk(2, dim=2))
        if present is None:
            present = PresentKeypoints(None, self._sharpness(source))
        message = _attend(query, key, value, present).transpose(1, 2).flatten(2)
        return x + self.output(F.relu(self.hidden(torch.cat((own, message), dim=2)), inplace=True))

    def _sharpness(self, source: Tensor) -> float | Tensor:
        if self.training_keypoints and torch.jit.is_tracing():
            # A number would stay that of the trace.
            return sharpness_of_counts(self.training_keypoints, shape_as_tensor(source)[1])
        return attention_sharpness(self.training_keypoints, source.shape[1])

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def sharpness_of_counts(training_keypoints: int, counts: Tensor) -> Tensor:
    """`attention_sharpness` of numbers of keypoints that only the device knows, float32."""
    more = counts.float().clamp(min=training_keypoints)
    return (more.log() / math.log(training_keypoints)) ** 2


def _attend(query: Tensor, key: Tensor, value: Tensor, present: PresentKeypoints) -> Tensor:
    """Messages (B, heads, N, d) of attention, in memory linear in the number of keypoints.

    torch's own attention in bfloat16 on a CPU computes its products in float32; chunks of queries
    take a third less.
    """
    mask, sharpness = present
    scale = query.shape[3] ** -0.5
    if isinstance(sharpness, Tensor):
        query = query * sharpness.to(query.dtype)
    else:
        scale *= sharpness
    if mask is not None or query.dtype != torch.bfloat16 or query.device.type != "cpu":
        return fused_attention(query, key, value, mask, scale=scale)
    key = (key * scale).transpose(2, 3)
    messages = [(chunk @ key).softmax(3) @ value for chunk in query.split(_QUERIES, dim=2)]
    return torch.cat(messages, dim=2)


def _linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear


def _linear(convolution: nn.Conv1d) -> nn.Linear:
    bias = convolution.bias
    if bias is None:
        raise ValueError("every convolution of SuperGlue has a bias")
    return _linear_of(convolution.weight.detach().float().squeeze(-1), bias.detach().float())


def _fold_mlp(sequential: nn.Sequential) -> list[nn.Linear]:
    """Linear layers of an `mlp`, its batch norms (in eval mode) folded; rectifiers between."""
    layers: list[nn.Linear] = []
    for module in sequential:
        if isinstance(module, nn.Conv1d):
            layers.append(_linear(module))
        elif isinstance(module, nn.BatchNorm1d):
            mean, variance = module.running_mean, module.running_var
            if mean is None or variance is None:
                raise ValueError("batch norms without running statistics cannot be folded")
            gain = module.weight.double() / (variance.double() + module.eps).sqrt()
            shift = module.bias.double() - mean.double() * gain
            weight = layers[-1].weight.double() * gain[:, None]
            bias = layers[-1].bias.double() * gain + shift
            layers[-1] = _linear_of(weight.float(), bias.float())
    return layers
