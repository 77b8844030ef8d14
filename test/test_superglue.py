from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from superglue_ros.networks.assignment import read_assignment
from superglue_ros.networks.optimal_transport import log_optimal_transport
from superglue_ros.networks.superglue import (
    ImageKeypoints,
    SuperGlue,
    SuperGlueConfig,
    normalize_keypoints,
)
from superglue_ros.networks.superglue_inference import FoldedSuperGlue

TINY = SuperGlueConfig(descriptor_dim=32, num_layers=4, keypoint_encoder=(8, 16))
SIZE0, SIZE1 = (640, 480), (320, 240)


def make_network(config: SuperGlueConfig = TINY) -> SuperGlue:
    """A network whose batch norms have seen something, in eval mode."""
    torch.manual_seed(0)
    network = SuperGlue(config).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
    return network


def make_features(count: int, dim: int = 32, seed: int = 0, batch: int = 1):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(batch, count, 2, generator=generator) * 240
    scores = torch.rand(batch, count, generator=generator)
    descriptors = torch.randn(batch, count, dim, generator=generator)
    return points, scores, F.normalize(descriptors, dim=2)


def test_parameters_have_the_published_names_and_shapes():
    state = SuperGlue().state_dict()
    assert state["kenc.encoder.0.weight"].shape == (32, 3, 1)
    assert state["kenc.encoder.12.weight"].shape == (256, 256, 1)
    assert state["kenc.encoder.10.running_var"].shape == (256,)
    assert state["gnn.layers.17.attn.merge.weight"].shape == (256, 256, 1)
    assert state["gnn.layers.0.attn.proj.2.bias"].shape == (256,)
    assert state["gnn.layers.9.mlp.0.weight"].shape == (512, 512, 1)
    assert state["gnn.layers.9.mlp.1.weight"].shape == (512,)
    assert state["gnn.layers.9.mlp.3.weight"].shape == (256, 512, 1)
    assert state["final_proj.weight"].shape == (256, 256, 1)
    assert state["bin_score"].shape == ()
    assert sum(p.numel() for p in SuperGlue().parameters()) == 12_023_297


def test_keypoints_are_normalised_by_the_longer_side():
    points = torch.tensor([[[320.0, 240.0], [0.0, 0.0], [640.0, 480.0]]])
    expected = torch.tensor([[[0, 0], [-320 / 448, -240 / 448], [320 / 448, 240 / 448]]])
    torch.testing.assert_close(normalize_keypoints(points, (640, 480)), expected)


def test_attention_heads_interleave_in_the_channels():
    network = make_network()
    attention = network.gnn.layers[0].attn
    x, source = torch.randn(1, 3, 32), torch.randn(1, 5, 32)
    query, key, value = (p(y) for p, y in zip(attention.proj, (x, source, source)))
    message = torch.zeros(1, 3, 32)
    for head in range(4):
        q, k, v = (y[0, :, head::4] for y in (query, key, value))
        message[0, :, head::4] = (q @ k.T / 8**0.5).softmax(dim=1) @ v
    torch.testing.assert_close(
        attention(x, source), attention.merge(message), atol=1e-5, rtol=1e-4
    )


def test_attention_is_sharper_to_more_keypoints_than_usual():
    attention = make_network(replace(TINY, attention_keypoints=4)).gnn.layers[0].attn
    plain = make_network().gnn.layers[0].attn
    x, few, many = torch.randn(1, 3, 32), torch.randn(1, 4, 32), torch.randn(1, 16, 32)
    torch.testing.assert_close(attention(x, few), plain(x, few))
    # log 16 is twice log 4, for queries and for keys.
    for parameter in (*plain.proj[0].parameters(), *plain.proj[1].parameters()):
        parameter.data *= 2
    torch.testing.assert_close(attention(x, many), plain(x, many))


@pytest.mark.parametrize("usual", [0, 8])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 30), (50, 3), (64, 64)])
def test_folding_keeps_the_function(m, n, usual):
    network = make_network(replace(TINY, attention_keypoints=usual))
    folded = FoldedSuperGlue(network)
    a, b = make_features(m, seed=1, batch=2), make_features(n, seed=2, batch=2)
    with torch.no_grad():
        plain = network(ImageKeypoints(*a, SIZE0), ImageKeypoints(*b, SIZE1))
    fast = folded.log_assignment(folded.encode(*a, SIZE0), folded.encode(*b, SIZE1))
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)


def test_the_keyframes_encoding_can_be_used_again():
    folded = FoldedSuperGlue(make_network())
    a, b = make_features(20, seed=1), make_features(25, seed=2)
    encoded = folded.encode(*a, SIZE0)
    first = folded.log_assignment(encoded, folded.encode(*b, SIZE1))
    again = folded.log_assignment(encoded, folded.encode(*b, SIZE1))
    torch.testing.assert_close(first, again, atol=0, rtol=0)


@pytest.mark.parametrize(("m", "n"), [(0, 5), (5, 0), (0, 0)])
def test_no_keypoints_match_nothing(m, n):
    folded = FoldedSuperGlue(make_network())
    result = folded(
        folded.encode(*make_features(m), SIZE0), folded.encode(*make_features(n), SIZE1)
    )
    assert result.indices0.tolist() == [[-1] * m]
    assert result.indices1.tolist() == [[-1] * n]
    assert result.confidences0.shape == (1, m)


def test_swapping_the_images_swaps_the_matches():
    network = make_network()
    network.initialize_as_transport()
    folded = FoldedSuperGlue(network)
    points, scores, descriptors = make_features(30)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    encoded0 = folded.encode(points, scores, descriptors, SIZE0)
    encoded1 = folded.encode(points[:, order], scores[:, order], descriptors[:, order], SIZE0)
    forward, backward = folded(encoded0, encoded1), folded(encoded1, encoded0)
    assert forward.indices0.tolist() == backward.indices1.tolist()
    assert order[forward.indices0[0]].tolist() == list(range(30))


def test_untrained_is_optimal_transport_over_the_cosines():
    network = make_network()
    network.initialize_as_transport(temperature=0.1, bin_cosine=0.6)
    a, b = make_features(12, seed=1), make_features(15, seed=2)
    expected = log_optimal_transport(
        a[2] @ b[2].transpose(1, 2) / 0.1, torch.tensor(6.0), TINY.sinkhorn_iterations
    )
    sides = ImageKeypoints(*a, SIZE0), ImageKeypoints(*b, SIZE1)
    with torch.no_grad():
        torch.testing.assert_close(network(*sides), expected, atol=1e-4, rtol=1e-4)
        network.train()
        torch.testing.assert_close(network(*sides), expected, atol=1e-4, rtol=1e-4)


def test_untrained_attention_finds_the_like():
    network = make_network()
    network.initialize_as_transport(attention_logit=100.0)
    attention = network.gnn.propagations[1].attn
    for passing in (attention.projections[2], attention.merge):
        nn.init.dirac_(passing.weight)
        nn.init.zeros_(passing.bias)
    x = make_features(12)[2]
    messages = attention(x, x.flip(1))
    # A head of eight channels sometimes finds another more like it.
    assert F.cosine_similarity(messages, x, dim=2).mean() > 0.7


def test_assignment_is_read_by_hand():
    probability = torch.tensor(
        [[[0.8, 0.1, 0.05, 0.05], [0.6, 0.15, 0.05, 0.2], [0.1, 0.1, 0.1, 0.7], [0.0, 0.5, 0, 0]]]
    )
    result = read_assignment((probability + 1e-9).log(), 0.2)
    # Row 1 prefers column 0, which prefers row 0; row 2's best pair is under the threshold.
    assert result.indices0.tolist() == [[0, -1, -1]]
    assert result.indices1.tolist() == [[0, -1, -1]]
    assert result.confidences0[0, 0].item() == pytest.approx(0.8)
    assert result.confidences0[0, 1].item() == 0


@pytest.mark.parametrize(
    "options",
    [
        {"descriptor_dim": 30},
        {"num_layers": 3},
        {"sinkhorn_iterations": 0},
        {"match_threshold": 1.5},
        {"attention_keypoints": 1},
    ],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SuperGlueConfig(**options)
