"""SuperGlue on padded keypoints, and Sinkhorn as the GPU runs it, against the plain forms."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from superglue_ros.engines.cuda_graphs import CapturedNetworks
from superglue_ros.errors import DeviceError
from superglue_ros.evaluation.rendered import rendered_images
from superglue_ros.matching import ImageMatcher, MatcherConfig
from superglue_ros.networks.optimal_transport import log_optimal_transport
from superglue_ros.networks.padded_superglue import PaddedSuperGlue, padded_transport
from superglue_ros.networks.superglue import SuperGlue, SuperGlueConfig
from superglue_ros.networks.superglue_inference import FoldedSuperGlue
from superglue_ros.types import UNMATCHED

BIN = torch.tensor(0.5)
SIZE = (64, 48)


@pytest.mark.parametrize(("m", "n"), [(5, 8), (8, 3), (1, 1), (8, 8)])
def test_transport_without_the_padding(m: int, n: int) -> None:
    torch.manual_seed(0)
    scores = torch.randn(1, 8, 8) * 4
    counts = torch.tensor([m]), torch.tensor([n])
    plan = padded_transport(scores, BIN, *counts, 50)
    expected = log_optimal_transport(scores[:, :m, :n], BIN, 50)
    rows, columns = [*range(m), 8], [*range(n), 8]
    torch.testing.assert_close(plan[0][rows][:, columns], expected[0], atol=1e-4, rtol=0)
    inner = plan.exp()
    assert inner[0, m:8].sum() == 0
    assert inner[0, :, n:8].sum() == 0


def test_transport_of_nothing_is_finite() -> None:
    nothing = torch.tensor([0])
    plan = padded_transport(torch.randn(1, 4, 4), BIN, nothing, nothing, 20)
    assert not plan.isnan().any()
    assert plan.exp()[0, :4, :4].sum() == 0


@pytest.fixture(scope="module", params=[0, 8])
def network(request: pytest.FixtureRequest) -> FoldedSuperGlue:
    torch.manual_seed(1)
    config = SuperGlueConfig(64, num_layers=4, keypoint_encoder=(16,), sinkhorn_iterations=20)
    plain = SuperGlue(replace(config, attention_keypoints=request.param)).eval()
    plain.initialize_as_transport()
    for branch in plain.branches():
        torch.nn.init.normal_(branch[-1].weight, std=0.02)
    return FoldedSuperGlue(plain)


@pytest.mark.parametrize(("m", "n"), [(10, 16), (16, 7), (0, 5), (0, 0)])
def test_matches_are_those_without_padding(network: FoldedSuperGlue, m: int, n: int) -> None:
    torch.manual_seed(2)
    most = 16
    descriptors = torch.nn.functional.normalize(torch.randn(2, most, 64), dim=2)
    descriptors[1] = descriptors[0].flip(0)
    points = torch.rand(2, most, 2) * 40
    scores = torch.rand(2, most)
    counts = torch.tensor([m, n])
    padded = PaddedSuperGlue(network)
    inputs = [x.split(1) for x in (points, scores, descriptors, counts)]
    states = torch.cat([padded.encode(*side, SIZE) for side in zip(*inputs)])
    found = padded(states, counts)
    sides = [
        network.encode(points[i, None, :k], scores[i, None, :k], descriptors[i, None, :k], SIZE)
        for i, k in enumerate((m, n))
    ]
    expected = network(*sides)
    assert found.indices0[0, :m].tolist() == expected.indices0[0].tolist()
    assert found.indices1[0, :n].tolist() == expected.indices1[0].tolist()
    assert (found.indices0[0, m:] == UNMATCHED).all()
    assert (found.indices1[0, n:] == UNMATCHED).all()
    torch.testing.assert_close(
        found.confidences0[0, :m], expected.confidences0[0], atol=1e-4, rtol=0
    )
    if m > 5 and n > 5:
        assert (expected.indices0 != UNMATCHED).any()


TRITON = """
import torch
from superglue_ros.networks.optimal_transport import augment_scores, log_optimal_transport
from superglue_ros.networks.sinkhorn_triton import sinkhorn_potentials
torch.manual_seed(0)
for batch, m, n, iterations in ((1, 1, 1, 1), (2, 11, 18, 7), (1, 40, 25, 30)):
    scores, dustbin = torch.randn(batch, m, n) * 8, torch.tensor(0.5)
    z = augment_scores(scores, dustbin)
    norm = torch.tensor(float(m + n)).log()
    log_mu, log_nu = torch.zeros(batch, m + 1) - norm, torch.zeros(batch, n + 1) - norm
    log_mu[:, -1] += torch.tensor(float(n)).log()
    log_nu[:, -1] += torch.tensor(float(m)).log()
    u, v = sinkhorn_potentials(z, log_mu, log_nu, iterations)
    plan = z + u[:, :, None] + v[:, None, :] + norm
    expected = log_optimal_transport(scores, dustbin, iterations)
    torch.testing.assert_close(plan, expected, atol=2e-4, rtol=1e-4)
"""


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
def test_the_kernel_compiles_for_a_gpu() -> None:
    """What the interpreter forgives, the compiler may not; it needs no GPU."""
    triton = pytest.importorskip("triton", reason="Triton comes with torch for GPUs")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from superglue_ros.networks.sinkhorn_triton import _iterate, shape_of

    pointers = ("scores", "log_mu", "log_nu", "u", "v_before", "sums_before", "v", "sums")
    signature = dict.fromkeys(pointers, "*fp32") | {"height": "i32", "width": "i32"}
    signature |= {"least": "fp32", "FIRST": "constexpr", "ROWS": "constexpr", "BLOCK": "constexpr"}
    for first, block in ((True, 1024), (False, 2048), (False, 8192)):
        rows, warps = shape_of(block)
        constants = {"FIRST": first, "ROWS": rows, "BLOCK": block}
        source = ASTSource(_iterate, signature, constants)
        options = {"num_warps": warps}
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        assert "cubin" in compiled.asm


def test_the_kernel_in_the_interpreter() -> None:
    """In a process of its own: Triton asks for its interpreter once, when it is imported."""
    pytest.importorskip("triton", reason="Triton comes with torch for GPUs, or the test extra")
    ran = subprocess.run(
        [sys.executable, "-c", TRITON],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(("keypoints", "side"), [(100, 320), (1100, 32)])
def test_a_matcher_of_captured_networks(keypoints: int, side: int) -> None:
    """On a CPU, where the functions that a GPU would capture run as they are; also of images of
    fewer pixels than keypoints."""
    options = {"max_keypoints": keypoints, "device": "cpu", "precision": "float32"}
    options["sinkhorn_iterations"] = 10
    plain, captured = ImageMatcher(**options), ImageMatcher(**options)
    captured._captured = CapturedNetworks(captured.superpoint, captured.superglue)
    image0, image1 = (image[:side, :side] for image in next(iter(rendered_images(1))))
    for pair in ((image0, image1), (image1[:24], image0), (np.zeros_like(image0), image1)):
        expected, found = plain.match(*pair), captured.match(*pair)
        np.testing.assert_array_equal(found.keypoints0, expected.keypoints0)
        np.testing.assert_allclose(found.descriptors1, expected.descriptors1, atol=1e-5)
        np.testing.assert_array_equal(found.matches0, expected.matches0)
        np.testing.assert_allclose(found.confidence0, expected.confidence0, atol=1e-3)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("size", [7, 300, 1024, 2500])
def test_the_kernel_on_a_gpu(size: int) -> None:
    torch.manual_seed(0)
    scores, counts = torch.randn(1, size, size) * 6, torch.tensor([size - 3])
    expected = padded_transport(scores, BIN, counts, counts, 50)
    found = padded_transport(scores.cuda(), BIN.cuda(), counts.cuda(), counts.cuda(), 50).cpu()
    torch.testing.assert_close(found.exp(), expected.exp(), atol=1e-4, rtol=1e-3)


@pytest.mark.gpu
@needs_gpu
def test_cuda_graphs_give_the_same_matches() -> None:
    plain, captured = (ImageMatcher(device="cuda", cuda_graphs=graphs) for graphs in (False, True))
    for pair in rendered_images(3):
        expected, found = plain.match(*pair), captured.match(*pair)
        assert (expected.matches0 == found.matches0).mean() > 0.99


def test_cuda_graphs_need_a_gpu_and_a_number_of_keypoints() -> None:
    with pytest.raises(DeviceError, match="cuda_graphs need a GPU"):
        ImageMatcher(device="cpu", cuda_graphs=True)
    with pytest.raises(ValueError, match="max_keypoints above 0"):
        MatcherConfig(max_keypoints=-1, cuda_graphs=True)
