"""Batch normalisation over the samples of all processes, on any device (torch's own SyncBatchNorm needs a GPU)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmbal.models.whole_batch import Shared, shared_now


class SharedBatchNorm(_BatchNorm):
    """A batch normalisation whose statistics in training are those of the whole batch, of which each process has a share.

    The state is that of torch's batch normalisation. Within :func:`mmbal.models.whole_batch.shared_by_processes` every
    process must run it; elsewhere it is torch's own.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape ``(B, C, ...)``."""

    def forward(self, input: Tensor) -> Tensor:
        shared = shared_now()
        if not self.training or shared.share == 1:
            return super().forward(input)
        output, mean, variance, many = _Normalise.apply(input, self.weight, self.bias, self.eps, shared)  # type: ignore[no-untyped-call]
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            part = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.to(self.running_mean), part)
            self.running_var.lerp_((variance * many / (many - 1)).to(self.running_var), part)
        return output  # type: ignore[no-any-return]


class _Normalise(torch.autograd.Function):
    """``(x - mean) / sqrt(var + eps) w + b``, and the mean, the variance ``(C,)`` and the number of values of all processes.

    A loss is this process's share of that of the whole batch, so what other processes' losses add to a gradient is divided
    by the share.
    """

    @staticmethod
    def forward(
        context: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, shared: Shared
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dims = [d for d in range(values.dim()) if d != 1]
        own_variance, own_mean = torch.var_mean(values.float(), dims, correction=0)
        many = values.numel() // values.shape[1]
        own = torch.stack([own_mean, own_variance]).double()
        sums = torch.cat([many * own[0], many * (own[1] + own[0].square()), own.new_tensor([many])])
        sums = shared.total(sums)
        first, second = (sums[:-1] / sums[-1]).chunk(2)
        mean, variance = first.float(), (second - first.square()).clamp(min=0).float()
        context.save_for_backward(values, weight, mean, (variance + eps).rsqrt())
        context.shared, context.many = shared, float(sums[-1])
        context.mark_non_differentiable(mean, variance)
        output = torch.batch_norm(values, weight, bias, mean, variance, False, 0.0, eps, False)
        return output, mean, variance, sums[-1]

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        values, weight, mean, inverse = context.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.preserve_format)
        shape = [1, -1, *[1] * (values.dim() - 2)]
        dims = [d for d in range(values.dim()) if d != 1]
        centred = values - mean.to(values.dtype).view(shape)
        with_bias = gradient.sum(dims, dtype=torch.float32)
        with_weight = (gradient * centred).sum(dims, dtype=torch.float32) * inverse
        share, total = context.shared.share, context.shared.total
        level, slope = total(torch.stack([with_bias, with_weight]).mul_(share)).div_(context.many * share)
        scale = inverse if weight is None else inverse * weight
        kind = gradient.dtype
        passed = gradient.sub(level.to(kind).view(shape)).sub_(centred.mul_((slope * inverse).to(kind).view(shape)))
        passed.mul_(scale.to(kind).view(shape))
        needs = context.needs_input_grad
        return (
            passed if needs[0] else None,
            with_weight if needs[1] else None,
            with_bias if needs[2] else None,
            None,
            None,
        )


def share_batch_norm(module: nn.Module) -> None:
    """Replace every batch normalisation within a module, in place, by one over all processes."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
            setattr(module, name, _shared(child))
        else:
            share_batch_norm(child)


def _shared(module: _BatchNorm) -> SharedBatchNorm:
    fresh = SharedBatchNorm(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
    fresh.weight, fresh.bias = module.weight, module.bias
    fresh.running_mean, fresh.running_var = module.running_mean, module.running_var
    fresh.num_batches_tracked = module.num_batches_tracked
    fresh.training = module.training
    return fresh
