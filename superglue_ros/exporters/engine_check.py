"""Checks the graphs of an exported engine against torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.engines.exported import Difference, EngineManifest
from superglue_ros.errors import EngineError
from superglue_ros.networks.pair import Networks
from superglue_ros.networks.superglue_inference import EncodedKeypoints

TOLERANCES = {"onnx": 1e-4, "tensorrt": 0.01}
"""Largest difference to torch's float32, as a share of the output's largest value. Measured with
the shipped weights: 2e-6 for ONNX Runtime, and 0.0009 for torch itself in float16 on a CPU."""

CHECKED_SIZES = ((16, 16), (243, 321), (480, 640))
"""(height, width) in pixels; none is the traced one."""

CHECKED_COUNTS = ((1, 1), (1, 7), (256, 7), (256, 1000), (1000, 600))
"""Keypoints of both images."""


def random_side(count: int, networks: Networks) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised points (1, N, 2), scores (1, N) and descriptors (1, N, D) of norm 1."""
    descriptors = torch.randn(1, count, networks.superpoint.descriptor_dim)
    points = torch.rand(1, count, 2) * 2 - 1
    return points / 1.4, torch.rand(1, count), F.normalize(descriptors, dim=2)


@torch.inference_mode()
def compare(
    exact: Networks,
    exported: Networks,
    device: torch.device,
    max_keypoints: int = 0,
    max_side: int = 0,
) -> Iterator[Difference]:
    """Differences of an engine's outputs on a device to torch's on the CPU, in float32.

    The inputs are random, from a seed of their own, and of several sizes within the limits (0:
    none), which are an image's keypoints and a side's pixels.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for height, width in CHECKED_SIZES:
            if 0 < max_side < max(height, width):
                continue
            image = torch.rand(1, 1, height, width)
            pairs = zip(exact.superpoint.dense(image), exported.superpoint.dense(image.to(device)))
            for name, (wanted, found) in zip(("logits", "descriptors"), pairs):
                yield _difference("superpoint", name, f"{width} x {height}", found, wanted)
        for counts in CHECKED_COUNTS:
            m, n = (min(count, max_keypoints or count) for count in counts)
            sides = [random_side(count, exact) for count in (m, n)]
            states = [exact.superglue.encode_normalized(*side) for side in sides]
            moved = [tensor.to(device) for tensor in sides[0]]
            found = exported.superglue.encode_normalized(*moved)
            yield _difference("encoder", "states", str(m), found, states[0])
            wanted = exact.superglue.score_matrix(*map(EncodedKeypoints, states))
            found = exported.superglue.score_matrix(
                *(EncodedKeypoints(state.to(device)) for state in states)
            )
            yield _difference("superglue", "scores", f"{m} x {n}", found, wanted)


def _difference(graph: str, output: str, inputs: str, found: Tensor, wanted: Tensor) -> Difference:
    difference = float((found.cpu() - wanted).abs().max())
    return Difference(graph, output, inputs, difference, float(wanted.abs().max()))


def check_differences(manifest: EngineManifest) -> None:
    """EngineError for the first output that is further from torch's than its tolerance."""
    tolerance = TOLERANCES[manifest.kind]
    for row in manifest.differences:
        # Written so that NaN fails.
        if not row.difference <= tolerance * max(row.largest, 1e-6):
            raise EngineError(
                f"{row.output} of {row.graph} at {row.inputs} differ from torch's by "
                f"{row.difference:.2g} of at most {row.largest:.2g}, over the tolerance of "
                f"{tolerance:g}: no engine was written"
            )


def difference_table(differences: Sequence[Difference]) -> str:
    """The differences as lines of text."""
    lines = [f"{'graph':<12}{'output':<13}{'input':<13}{'difference':>11}{'largest value':>15}"]
    for row in differences:
        lines.append(
            f"{row.graph:<12}{row.output:<13}{row.inputs:<13}{row.difference:>11.1e}"
            f"{row.largest:>15.3g}"
        )
    return "\n".join(lines)
