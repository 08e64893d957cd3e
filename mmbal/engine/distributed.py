"""Several processes on one batch (torchrun): each takes its share, gradients are averaged before any method sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmbal.errors import Interrupted
from mmbal.torchrun import is_restarted, is_shared, restarted


class Lost(Interrupted):
    """Another process of the training has ended, so that this one can't go on."""


@contextmanager
def together() -> Iterator[None]:
    """What all processes do at once; raises Lost where one of them is gone."""
    try:
        yield
    except RuntimeError as error:
        raise Lost("One of the processes of this training has ended, so the others can't go on.") from error


@cache
def gradient_group() -> dist.ProcessGroup:
    """The group that gradients go through: what methods sum meanwhile can't get between them."""
    with together():
        return cast(dist.ProcessGroup, dist.new_group())


class Processes:
    """This process among ``world``; one process alone when not started by torchrun."""

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank = rank
        self.world = world

    @classmethod
    def start(cls, device: torch.device) -> Processes:
        """Join the process group that the environment describes, if any."""
        if not is_shared():
            return cls()
        if not dist.is_initialized():
            with together():
                backend = "nccl" if device.type == "cuda" else "gloo"
                if is_restarted():
                    # torchrun keeps its store where it starts all processes again: what is in it of those before, such as
                    # their addresses, is not to be found by the new ones.
                    store, rank, world = next(dist.rendezvous("env://"))
                    own = dist.PrefixStore(f"mmbal/start/{restarted()}", store)
                    dist.init_process_group(backend, store=own, rank=rank, world_size=world)
                else:
                    dist.init_process_group(backend)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """The sum over processes, in place."""
        if self.world > 1:
            with together():
                dist.all_reduce(value)
        return value

    def agree(self, value: Any) -> Any:
        """The first process's JSON value, in every process."""
        if self.world > 1:
            found = [json.dumps(value) if self.first else None]
            with together():
                dist.broadcast_object_list(found, src=0)
            value = json.loads(str(found[0]))
        return value

    def gather(
        self, columns: Mapping[str, Tensor], places: Tensor, rows: int, device: torch.device
    ) -> dict[str, Tensor]:
        """Columns of all ``rows``, of each process's at its ``places``; the first process has some rows of each column."""
        if self.world == 1:
            return dict(columns)
        shapes = self.agree({key: [list(values.shape[1:]), str(values.dtype)] for key, values in columns.items()})
        found = {}
        for key, (shape, kind) in shapes.items():
            dtype = getattr(torch, kind.removeprefix("torch."))
            whole = torch.zeros(rows, *shape, dtype=torch.uint8 if dtype == torch.bool else dtype)
            if len(places):
                whole[places] = columns[key].to(whole.dtype)
            found[key] = self.sum(whole.to(device)).cpu().to(dtype)
        return found

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            with together():
                dist.barrier()

    def any(self, values: Sequence[bool], device: torch.device) -> list[bool]:
        """Whether each is so in one of the processes."""
        if self.world == 1:
            return list(values)
        return [value > 0 for value in self.sum(torch.tensor(values, dtype=torch.float32, device=device)).tolist()]

    def mean(self, records: Mapping[str, Sequence[float]], shares: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """The mean of each record over all processes, where each value counts by its share of what it was taken from."""
        if self.world == 1:
            return {name: float(np.mean(values)) for name, values in records.items()}
        own = {
            name: (sum(v * s for v, s in zip(values, shares[name], strict=True)), sum(shares[name]))
            for name, values in records.items()
        }
        every: list[Any] = [None] * self.world
        with together():
            dist.all_gather_object(every, json.dumps(own))
        found: dict[str, list[float]] = {}
        for one in map(json.loads, every):
            for name, parts in one.items():
                found[name] = [a + b for a, b in zip(found.get(name, (0.0, 0.0)), parts, strict=True)]
        return {name: value / share for name, (value, share) in found.items()}

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the first one's buffers (running statistics), which each has of its own rows."""
        if self.world > 1:
            with together():
                for buffer in module.buffers():
                    dist.broadcast(buffer, src=0)
