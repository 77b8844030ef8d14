"""Images that look alike, by one vector for each that is aggregated from its descriptors.

Source: vectors of locally aggregated descriptors (Jegou 2010), with residuals normalised within
each cluster and the square root of their entries (Arandjelovic & Zisserman 2013).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.cluster.vq import kmeans2

from superglue_ros.types import FloatArray, IntArray

_CLUSTERS = 32
_SAMPLES = 20_000
"""Descriptors that the clusters are found among."""
_SEED = 0


class ImageIndex:
    """Images of a map or a sequence; its clusters are those of their own descriptors."""

    def __init__(self, descriptors: Sequence[FloatArray]) -> None:
        """descriptors: (N, D) of each image, of norm 1. Raises ValueError where there is none."""
        rng = np.random.default_rng(_SEED)
        stacked = np.concatenate([np.asarray(d, np.float32) for d in descriptors])
        if not len(stacked):
            raise ValueError("images without a single descriptor")
        if len(stacked) > _SAMPLES:
            stacked = stacked[rng.choice(len(stacked), _SAMPLES, replace=False)]
        starts = stacked[rng.choice(len(stacked), min(_CLUSTERS, len(stacked)), replace=False)]
        self._centres: FloatArray = kmeans2(stacked, starts, minit="matrix", iter=10)[0]
        self._vectors = np.stack([self.describe(d) for d in descriptors])

    def describe(self, descriptors: FloatArray) -> FloatArray:
        """The vector (clusters * D,) of an image, of norm 1, or 0 without descriptors."""
        nearest = np.argmax(
            descriptors @ self._centres.T - 0.5 * (self._centres**2).sum(axis=1), axis=1
        )
        residuals = np.asarray(descriptors, np.float32) - self._centres[nearest]
        sums = np.zeros_like(self._centres, dtype=np.float32)
        np.add.at(sums, nearest, residuals)
        sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
        vector = (np.sign(sums) * np.sqrt(np.abs(sums))).ravel()
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)

    def most_alike(self, descriptors: FloatArray, count: int) -> IntArray:
        """Places of at most `count` images that look most like one, the most alike first."""
        return np.argsort(-(self._vectors @ self.describe(descriptors)), kind="stable")[:count]
