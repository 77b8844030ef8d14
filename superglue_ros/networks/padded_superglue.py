"""SuperGlue for inference on keypoints padded to a fixed number, which CUDA graphs ask for.

Padding is never attended to and has no mass to transport, so that the matches are those of the
keypoints alone; both images run as one batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from superglue_ros.networks.assignment import Assignment, read_assignment
from superglue_ros.networks.optimal_transport import augment_scores
from superglue_ros.networks.superglue import normalize_keypoints
from superglue_ros.networks.superglue_inference import (
    FoldedSuperGlue,
    PresentKeypoints,
    sharpness_of_counts,
)

_NOTHING = -1e4
"""Logarithm of no mass; finite, since the difference of two infinities is none."""


class PaddedSuperGlue:
    """The same network, weights and options as those of a `FoldedSuperGlue`."""

    def __init__(self, network: FoldedSuperGlue) -> None:
        self.network = network

    def encode(
        self,
        keypoints: Tensor,
        scores: Tensor,
        descriptors: Tensor,
        counts: Tensor,
        image_size: tuple[int, int],
    ) -> Tensor:
        """States (B, K, D) as of `FoldedSuperGlue.encode`, of which counts (B,) say how many of
        the K keypoints are none of padding."""
        points = normalize_keypoints(keypoints, image_size)
        states = self.network.embed(points, scores, descriptors)
        for layer in self.network.layers[:1]:
            states = layer(states, states, self._attended(counts, states.shape[1]))
        return states

    def __call__(self, states: Tensor, counts: Tensor) -> Assignment:
        """Matches of two encoded images, states (2, K, D) and counts (2,); padding has none."""
        present = self._attended(counts, states.shape[1])
        others = present.swapped()
        for i, layer in enumerate(self.network.layers):
            if i == 0:
                continue  # in `encode`
            if i % 2:
                states = layer(states, states.flip(0), others)
            else:
                states = layer(states, states, present)
        features = self.network.final_proj(states)
        scores = features[:1] @ features[1:].transpose(1, 2)
        config = self.network.config
        plan = padded_transport(
            scores, self.network.bin_score, counts[:1], counts[1:], config.sinkhorn_iterations
        )
        return read_assignment(plan, config.match_threshold)

    def _attended(self, counts: Tensor, size: int) -> PresentKeypoints:
        """The first counts (B,) of `size`, and always the first one, since the attention to
        nothing is no number."""
        columns = torch.arange(size, device=counts.device)
        padding = columns >= counts[:, None].clamp(min=1)
        mask = torch.zeros_like(padding, dtype=self.network.dtype)
        mask = mask.masked_fill(padding, -torch.inf)[:, None, None]
        training_keypoints = self.network.config.attention_keypoints
        if not training_keypoints:
            return PresentKeypoints(mask, 1.0)
        sharpness = sharpness_of_counts(training_keypoints, counts).to(self.network.dtype)
        return PresentKeypoints(mask, sharpness[:, None, None, None])


def padded_transport(
    scores: Tensor, bin_score: Tensor, counts0: Tensor, counts1: Tensor, iterations: int
) -> Tensor:
    """Log assignment (B, M + 1, N + 1) of scores (B, M, N), of which only the first counts0 (B,)
    rows and counts1 (B,) columns are of keypoints; the others hold no mass (eq. 8-9)."""
    present0, present1 = _present(counts0, scores.shape[1]), _present(counts1, scores.shape[2])
    z = augment_scores(scores, bin_score)
    z = z.masked_fill(~(present0[:, :, None] & present1[:, None, :]), _NOTHING)
    m, n = counts0.float()[:, None], counts1.float()[:, None]
    norm = (m + n).clamp(min=1).log()
    log_mu = _log_marginal(present0, n, norm)
    log_nu = _log_marginal(present1, m, norm)
    if z.device.type == "cuda":
        from superglue_ros.networks.sinkhorn_triton import sinkhorn_potentials

        u, v = sinkhorn_potentials(z.contiguous(), log_mu, log_nu, iterations)
    else:
        u, v = torch.zeros_like(log_mu), torch.zeros_like(log_nu)
        for _ in range(iterations):
            u = log_mu - torch.logsumexp(z + v[:, None, :], dim=2)
            v = log_nu - torch.logsumexp(z + u[:, :, None], dim=1)
    return z + u[:, :, None] + v[:, None, :] + norm[:, :, None]


def _present(counts: Tensor, size: int) -> Tensor:
    """(B, size + 1): whether a row is a keypoint's, or the dustbin, which is last."""
    rows = torch.arange(size + 1, device=counts.device)
    return (rows < counts[:, None]) | (rows == size)


def _log_marginal(present: Tensor, dustbin: Tensor, norm: Tensor) -> Tensor:
    """(B, K + 1): 1 a keypoint, as many as the others' keypoints for the dustbin, normalised."""
    marginal = torch.zeros_like(present, dtype=norm.dtype)
    marginal[:, -1:] = dustbin.clamp(min=1e-30).log()
    return (marginal - norm).masked_fill(~present, _NOTHING)
