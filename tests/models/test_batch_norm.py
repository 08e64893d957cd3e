"""Batch normalisation over the shares of several processes is that of one process over the whole batch."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mmbal.models.batch_norm import SharedBatchNorm, share_batch_norm
from mmbal.models.whole_batch import mean_over, shared_by_processes

SHARES = (5, 3)  # samples of each process


def side_by_side(work: Callable[[int], None]) -> None:
    """``work(rank)`` in two threads, which stand in for processes: what they train on is shared by :func:`total`."""
    given: list[Tensor] = [torch.empty(0)] * len(SHARES)
    barrier = threading.Barrier(len(SHARES), timeout=30)
    failed: list[BaseException] = []

    def run(rank: int) -> None:
        def total(value: Tensor) -> Tensor:
            given[rank] = value
            barrier.wait()
            found = torch.stack(given).sum(dim=0)
            barrier.wait()
            return found

        try:
            with shared_by_processes(total, SHARES[rank] / sum(SHARES)):
                work(rank)
        except BaseException as error:
            failed.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(SHARES))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


@pytest.mark.parametrize("shape", [(8, 4), (8, 4, 5), (8, 4, 5, 3)])
def test_shares_are_normalised_and_learn_as_the_whole_batch(shape: tuple[int, ...]):
    torch.manual_seed(0)
    values, wanted = torch.randn(shape) * 3 + 20, torch.randn(shape)
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    alone = nn.Sequential(kind(4)).train()
    nn.init.normal_(alone[0].weight)
    copies = [copy.deepcopy(alone) for _ in SHARES]
    for module in copies:
        share_batch_norm(module)
        assert isinstance(module[0], SharedBatchNorm)
    whole = values.clone().requires_grad_()
    output = alone(whole)
    ((output - wanted) ** 2).mean().backward()
    parts = [part.clone().requires_grad_() for part in values.split(SHARES)]
    found: list[Tensor] = [torch.empty(0)] * len(SHARES)

    def work(rank: int) -> None:
        found[rank] = copies[rank](parts[rank])
        ((found[rank] - wanted.split(SHARES)[rank]) ** 2).mean().backward()

    side_by_side(work)
    assert torch.allclose(torch.cat(found), output, atol=1e-5)
    share = [n / sum(SHARES) for n in SHARES]
    gradient = torch.cat([s * part.grad for s, part in zip(share, parts, strict=True)])
    assert torch.allclose(gradient, whole.grad, atol=1e-6)
    for name, parameter in alone.named_parameters():
        mean = sum(s * dict(module.named_parameters())[name].grad for s, module in zip(share, copies, strict=True))
        assert torch.allclose(mean, parameter.grad, atol=1e-5), name
    for module in copies:
        for name, state in alone.state_dict().items():
            assert torch.allclose(module.state_dict()[name], state, rtol=1e-5), name


def test_evaluation_and_a_single_process_are_torchs_own():
    module, values = nn.Sequential(nn.BatchNorm1d(3)), torch.randn(6, 3)
    shared = copy.deepcopy(module)
    share_batch_norm(shared)
    assert torch.equal(shared(values), module(values))
    assert torch.equal(shared.eval()(values), module.eval()(values))


def test_a_mean_over_some_rows_is_that_of_the_whole_batch():
    """By hand: of rows 0 .. 7 the chosen ones are 1 (of the first process), 5, 6 and 7 (of the second): 19 / 4."""
    chosen = torch.tensor([False, True, False, False, False, True, True, True])
    found = [0.0, 0.0]

    def work(rank: int) -> None:
        found[rank] = float(mean_over(torch.arange(8.0).split(SHARES)[rank], chosen.split(SHARES)[rank]))

    side_by_side(work)
    assert 5 / 8 * found[0] + 3 / 8 * found[1] == pytest.approx(19 / 4)
