"""One training on several GPUs: processes that torchrun starts, gradients shared by DDP."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import nn

from superglue_ros.errors import CheckpointError, SuperGlueRosError

RANK_SEED = 7_919
"""Between the seeds of two processes of a group."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process's rank among `size` that train together; a batch is each one's own."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that validates, writes and reports."""
        return self.rank == 0

    def data_parallel(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over the group."""
        if self.size == 1:
            return module
        devices = [self.device.index] if self.device.type == "cuda" else None
        # The descriptor's head has no gradient where the detector trains alone.
        return nn.parallel.DistributedDataParallel(
            module, device_ids=devices, find_unused_parameters=True
        )

    def any_of(self, flag: bool) -> bool:
        """True for all where it is for any, so that no process waits for one that has left."""
        if self.size == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags.item())

    def restore_generator(self, generator: torch.Generator, saved: torch.Tensor) -> None:
        """Set a generator to the state that the main process's had when it wrote a checkpoint.

        The others must not draw what it draws, nor in every slice what they drew in the first.
        """
        generator.set_state(saved)
        if not self.is_main:
            ahead = torch.randint(2**40, (), generator=generator, device=generator.device)
            generator.manual_seed(int(ahead) + RANK_SEED * self.rank)

    def check_device(self, saved_on: str) -> None:
        """CheckpointError where a run was begun on a kind of device whose random numbers this
        one's cannot go on with."""
        own = self.device.type
        if saved_on != own:
            raise CheckpointError(
                f"the run was begun on {saved_on}, whose random numbers {own} cannot go on with: "
                "resume it with --device"
            )

    def barrier(self) -> None:
        """Wait until all have come here."""
        if self.size > 1:
            dist.barrier()


def join_process_group(device: str) -> ProcessGroup:
    """The group that torchrun's environment names, or one process alone on `device`.

    Raises SuperGlueRosError where torchrun has started more processes than there are GPUs.
    """
    if "LOCAL_RANK" not in os.environ:
        return ProcessGroup(device=torch.device(device))
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
    return ProcessGroup(dist.get_rank(), dist.get_world_size(), own)


def leave_process_group() -> None:
    """End what `join_process_group` began."""
    if dist.is_initialized():
        dist.destroy_process_group()
