"""One training on several GPUs: processes that torchrun starts, gradients shared by DDP."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import nn

from superglue_ros.errors import CheckpointError, SuperGlueRosError

RANK_SEED = 7_919
"""Between the seeds of two processes of a team."""


@dataclass(frozen=True)
class Team:
    """This process's number among `size` that train together; a batch is each one's own."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process is the one that validates, writes and reports."""
        return self.rank == 0

    def share(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over the team."""
        if self.size == 1:
            return module
        devices = [self.device.index] if self.device.type == "cuda" else None
        # The descriptor's head has no gradient where the detector trains alone.
        return nn.parallel.DistributedDataParallel(
            module, device_ids=devices, find_unused_parameters=True
        )

    def agree(self, stop: bool) -> bool:
        """True for all where it is for any, so that no process waits for one that has left."""
        if self.size == 1:
            return stop
        flag = torch.tensor(float(stop), device=self.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())

    def take_up(self, generator: torch.Generator, saved: torch.Tensor) -> None:
        """Put a generator where the leader's was when it wrote a checkpoint.

        The others must not draw what it draws, nor in every slice what they drew in the first.
        """
        generator.set_state(saved)
        if not self.leads:
            ahead = torch.randint(2**40, (), generator=generator, device=generator.device)
            generator.manual_seed(int(ahead) + RANK_SEED * self.rank)

    def check_device(self, begun_on: str) -> None:
        """CheckpointError where a run was begun on a kind of device whose random numbers this
        one's cannot go on with."""
        own = self.device.type
        if begun_on != own:
            raise CheckpointError(
                f"the run was begun on {begun_on}, whose random numbers {own} cannot go on with: "
                "resume it with --device"
            )

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            dist.barrier()


def join_team(device: str) -> Team:
    """The team that torchrun's environment names, or one process alone on `device`.

    Raises SuperGlueRosError where torchrun has started more processes than there are GPUs.
    """
    if "LOCAL_RANK" not in os.environ:
        return Team(device=torch.device(device))
    local = int(os.environ["LOCAL_RANK"])
    cuda = device.startswith("cuda")
    if cuda and local >= torch.cuda.device_count():
        raise SuperGlueRosError(
            f"torchrun started process {local} of this machine, which has "
            f"{torch.cuda.device_count()} GPUs"
        )
    own = torch.device("cuda", local) if cuda else torch.device(device)
    if cuda:
        torch.cuda.set_device(own)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    return Team(dist.get_rank(), dist.get_world_size(), own)


def leave_team() -> None:
    """End what `join_team` began."""
    if dist.is_initialized():
        dist.destroy_process_group()
