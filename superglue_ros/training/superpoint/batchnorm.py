"""SuperPoint with batch normalisation for training, folded away in what it hands over."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from superglue_ros.networks.keypoints import SuperPointConfig
from superglue_ros.networks.superpoint import SuperPoint


class BatchNormSuperPoint(SuperPoint):
    """Each convolution before a rectifier is followed by a batch norm.

    norms_frozen: training mode, too, normalises by the running statistics and leaves them.
    """

    norms_frozen = False

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

    def train(self, mode: bool = True) -> BatchNormSuperPoint:
        super().train(mode)
        if self.norms_frozen:
            self.norms.eval()
        return self

    def convolve(self, name: str, x: Tensor, padding: tuple[int, int]) -> Tensor:
        return self.norms[name](super().convolve(name, x, padding))  # type: ignore[no-any-return]

    @classmethod
    @torch.no_grad()
    def unfolded(cls, plain: SuperPoint, images: Tensor) -> BatchNormSuperPoint:
        """A network to train on that computes what a plain one does.

        Its norms begin at the statistics of images (B, 1, H, W), so that in training mode, on
        images alike, it computes nearly the same.
        """
        network = cls(plain.config).eval().to(images.device)
        network.load_state_dict(plain.state_dict(), strict=False)

        def adopt(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
            norm.get_buffer("running_mean").copy_(mean)
            norm.get_buffer("running_var").copy_(variance)
            norm.get_parameter("weight").copy_((variance + 1e-5).sqrt())
            norm.get_parameter("bias").copy_(mean)

        hooks = [norm.register_forward_pre_hook(adopt) for norm in network.norms.values()]
        network.dense(images)
        for hook in hooks:
            hook.remove()
        return network

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
