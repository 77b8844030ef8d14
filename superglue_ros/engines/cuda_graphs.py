"""Both networks as CUDA graphs: a frame is two launches in place of a thousand.

Not measured on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.networks.assignment import Assignment
from superglue_ros.networks.keypoints import Keypoints, sample_descriptors
from superglue_ros.networks.padded_superglue import PaddedSuperGlue
from superglue_ros.networks.superglue_inference import EncodedKeypoints, FoldedSuperGlue
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.types import ImageArray

_SIZES_KEPT = 4
"""Graphs of so many image sizes; one more takes the place of the one not used for longest."""

_WARM_UPS = 3


@dataclass(frozen=True)
class PaddedKeypoints(EncodedKeypoints):
    """One image's side, its states (1, K, D) padded, and how many are none of padding (1,); its
    length is K."""

    counts: Tensor


class CapturedNetworks:
    """SuperPoint and SuperGlue on a fixed number of keypoints, padded where there are fewer.

    On a GPU each image size is captured at its first image; on a CPU the same functions run as
    they are. The graphs' inputs are shared, so that one thread at a time may call. ValueError for
    a SuperPoint that keeps all keypoints.
    """

    def __init__(self, superpoint: SuperPoint, superglue: FoldedSuperGlue) -> None:
        self._keypoints = superpoint.config.max_keypoints
        if self._keypoints < 1:
            raise ValueError("CUDA graphs need a fixed number of keypoints: max_keypoints above 0")
        self._superpoint = superpoint
        self._superglue = PaddedSuperGlue(superglue)
        self._width = superglue.config.descriptor_dim
        self._device = superglue.bin_score.device
        # One for all captures: cuBLAS keeps a workspace for each stream it has seen.
        self._stream = torch.cuda.Stream() if self._device.type == "cuda" else None
        # And one memory: they run one after the other, and their outputs are copied at once.
        self._pool = torch.cuda.graph_pool_handle() if self._stream is not None else None
        self._frames: dict[tuple[int, int], _Captured] = {}
        self._matching: _Captured | None = None

    def extract(self, image: ImageArray) -> tuple[Keypoints, PaddedKeypoints]:
        """Keypoints, padded, of a gray (H, W) uint8 image, and its side of SuperGlue."""
        height, width = image.shape
        frame = self._frames.pop((height, width), None)
        if frame is None:
            if len(self._frames) == _SIZES_KEPT:
                del self._frames[next(iter(self._frames))]
            frame = _Captured(
                self._frame,
                [torch.zeros(1, 1, height, width, dtype=torch.uint8, device=self._device)],
                self._stream,
                self._pool,
            )
        self._frames[height, width] = frame
        found = frame([torch.from_numpy(image)[None, None]])
        keypoints, scores, descriptors, counts, states = found
        return Keypoints(keypoints, scores, descriptors, counts), PaddedKeypoints(states, counts)

    def match(self, encoded0: EncodedKeypoints, encoded1: EncodedKeypoints) -> Assignment:
        """Matches of two sides of `extract`; ValueError for others."""
        if not isinstance(encoded0, PaddedKeypoints) or not isinstance(encoded1, PaddedKeypoints):
            raise ValueError("features must be of the matcher that matches them")
        if self._matching is None:
            states = torch.zeros(1, self._keypoints, self._width, device=self._device)
            counts = torch.ones(1, dtype=torch.int64, device=self._device)
            inputs = [states, states, counts, counts]
            self._matching = _Captured(self._assign, inputs, self._stream, self._pool)
        found = self._matching(
            [encoded0.states, encoded1.states, encoded0.counts, encoded1.counts]
        )
        return Assignment(*found)

    def _frame(self, image: Tensor) -> tuple[Tensor, ...]:
        height, width = image.shape[2:]
        logits, dense = self._superpoint.dense(image.float() / 255)
        keypoints, scores, counts = self._superpoint.find_keypoints(logits)
        missing = self._keypoints - keypoints.shape[1]
        if missing:  # an image of fewer pixels than keypoints
            keypoints = F.pad(keypoints, (0, 0, 0, missing))
            scores = F.pad(scores, (0, missing))
        descriptors = sample_descriptors(keypoints, dense)
        states = self._superglue.encode(keypoints, scores, descriptors, counts, (width, height))
        return keypoints, scores, descriptors, counts, states

    def _assign(
        self, states0: Tensor, states1: Tensor, counts0: Tensor, counts1: Tensor
    ) -> tuple[Tensor, ...]:
        found = self._superglue(torch.cat((states0, states1)), torch.cat((counts0, counts1)))
        return found.indices0, found.indices1, found.confidences0, found.confidences1


class _Captured:
    """A function of tensors of fixed shapes, captured once on a stream and replayed; without a
    stream it runs as it is."""

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        inputs: Sequence[Tensor],
        stream: torch.cuda.Stream | None,
        pool: Any,
    ) -> None:
        self._function = function
        self._graph: torch.cuda.CUDAGraph | None = None
        if stream is None:
            return
        self._inputs = [tensor.clone() for tensor in inputs]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # Kernels are chosen, compiled and given their workspaces before the capture.
            for _ in range(_WARM_UPS):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # What other threads do on the GPU is not captured, nor does it disturb.
        with torch.cuda.graph(
            self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"
        ):
            self._outputs = function(*self._inputs)

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Outputs, which the next call leaves alone."""
        if self._graph is None:
            return self._function(*inputs)
        for own, given in zip(self._inputs, inputs):
            own.copy_(given.pin_memory() if given.device.type == "cpu" else given, True)
        self._graph.replay()
        return tuple(output.clone() for output in self._outputs)
