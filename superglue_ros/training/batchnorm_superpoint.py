"""SuperPoint with batch normalisation for training, folded away in what it hands over."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from superglue_ros.networks.superpoint import SuperPoint, SuperPointConfig


class BatchNormSuperPoint(SuperPoint):
    """Each convolution before a rectifier is followed by a batch norm."""

    def __init__(self, config: SuperPointConfig | None = None) -> None:
        super().__init__(config)
        self.norms = nn.ModuleDict(
            {
                name: nn.BatchNorm2d(module.out_channels)
                for name, module in self.named_children()
                if isinstance(module, nn.Conv2d) and name not in ("convPb", "convDb")
            }
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def block(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.norms[name](self.get_submodule(name)(x)), inplace=True)

    @torch.no_grad()
    def folded(self) -> SuperPoint:
        """A plain SuperPoint that computes what this one does in eval mode."""
        plain = SuperPoint(self.config)
        state = {k: v.clone() for k, v in self.state_dict().items() if not k.startswith("norms.")}
        for name, norm in self.norms.items():
            if not isinstance(norm, nn.BatchNorm2d):
                continue
            if norm.running_var is None or norm.running_mean is None:
                raise ValueError("batch norms without running statistics cannot be folded")
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            state[f"{name}.weight"] *= gain[:, None, None, None]
            state[f"{name}.bias"] = (state[f"{name}.bias"] - norm.running_mean) * gain + norm.bias
        plain.load_state_dict(state)
        return plain.eval()
