"""Several processes on one batch (torchrun): each takes its share, gradients are averaged before any method sees them."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


def is_first() -> bool:
    """Whether this process is the one that writes and prints: the first under torchrun, or the only one."""
    return os.environ.get("RANK", "0") == "0"


class Processes:
    """This process among ``world``; one process alone when not started by torchrun."""

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank = rank
        self.world = world

    @classmethod
    def start(cls, device: torch.device) -> Processes:
        """Join the process group that the environment describes, if any."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """The sum over processes, in place."""
        if self.world > 1:
            dist.all_reduce(value)
        return value

    def agree(self, text: str) -> str:
        """The first process's text, in every process."""
        if self.world > 1:
            found = [text]
            dist.broadcast_object_list(found, src=0)
            text = found[0]
        return text

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()

    def average_gradients(self, parameters: Iterable[nn.Parameter], rows: int) -> None:
        """Mean of the processes' gradients, each weighted by the rows it saw: the gradient of the whole batch."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return
        share = rows / float(self.sum(torch.tensor(float(rows), device=gradients[0].device)))
        flat = self.sum(torch.cat([g.flatten() for g in gradients]) * share)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the first one's buffers (running statistics), which each has of its own rows."""
        if self.world > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)
