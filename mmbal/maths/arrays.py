"""The few functions that NumPy and torch spell differently: one formula then serves arrays and tensors.

An array in gives an array out, a tensor a tensor with its gradient. torch is imported only where tensors are asked for.
What both spell alike is written as it is: arithmetic, comparisons, indexing, ``x.sum(axis=1, keepdims=True)``,
``x.mean(axis=-1)``, ``x.reshape(...)``, ``x @ y``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

AnyArray = Any  # a NumPy array or a torch tensor
NARROW = 32  # columns of a short last axis


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a torch tensor; false where torch was never imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def namespace(x: AnyArray) -> Any:
    """The module whose functions take ``x``: torch or numpy."""
    return sys.modules["torch"] if is_tensor(x) else np


def like(value: Any, x: AnyArray) -> AnyArray:
    """``value`` with the type of ``x``, and on its device."""
    return namespace(x).as_tensor(value).to(x) if is_tensor(x) else np.asarray(value, dtype=x.dtype)


def whole(value: Any, x: AnyArray) -> AnyArray:
    """``value`` as whole numbers, to index ``x`` with."""
    torch = namespace(x)
    return torch.as_tensor(value, dtype=torch.long, device=x.device) if is_tensor(x) else np.asarray(value, np.int64)


def floating(value: Any, tensor: bool) -> AnyArray:
    """``value`` as a tensor of floating-point numbers, of single precision at least, or as a float64 array."""
    if tensor:
        import torch

        value = value if is_tensor(value) else torch.from_numpy(np.array(value, dtype=np.float64))
        return value if value.dtype in (torch.float32, torch.float64) else value.float()
    return np.asarray(value.detach().cpu() if is_tensor(value) else value, dtype=np.float64)


def full_precision(x: AnyArray) -> AbstractContextManager[Any]:
    """A context without half precision, which would change close decisions, and without NumPy's warnings."""
    if is_tensor(x):
        return sys.modules["torch"].autocast(x.device.type, enabled=False)
    return np.errstate(all="ignore")


def constant(x: AnyArray) -> AnyArray:
    """``x`` without its gradient."""
    return x.detach() if is_tensor(x) else x


def exp(x: AnyArray) -> AnyArray:
    return namespace(x).exp(x)


def log(x: AnyArray) -> AnyArray:
    """The logarithm; -inf of 0, without a warning."""
    if is_tensor(x):
        return x.log()
    with np.errstate(divide="ignore"):
        return np.log(x)


def where(condition: AnyArray, x: Any, y: Any) -> AnyArray:
    return namespace(condition).where(condition, x, y)


def stack(parts: Sequence[AnyArray], axis: int = 0) -> AnyArray:
    return namespace(parts[0]).stack(parts, axis)


def concatenate(parts: Sequence[AnyArray], axis: int = 0) -> AnyArray:
    return sys.modules["torch"].cat(list(parts), axis) if is_tensor(parts[0]) else np.concatenate(parts, axis)


def highest(x: AnyArray, axis: int, keepdims: bool = False) -> AnyArray:
    """The greatest value along an axis."""
    if is_tensor(x):
        return x.amax(axis, keepdim=keepdims)
    if axis == -1 and 0 < x.shape[-1] <= NARROW and x.size:
        # NumPy is slow along a short last axis, so the array is turned first
        found = np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T).max(axis=0).reshape(x.shape[:-1])
        return found[..., None] if keepdims else found
    return x.max(axis=axis, keepdims=keepdims)


def total_of(x: np.ndarray) -> np.ndarray:
    """The sum of a NumPy array along its last axis, which is kept with length 1."""
    if 0 < x.shape[-1] <= NARROW:
        return np.asarray(x @ np.ones((x.shape[-1], 1), x.dtype))
    return np.asarray(x.sum(axis=-1, keepdims=True))


def at_least(x: AnyArray, low: float) -> AnyArray:
    return x.clamp(min=low) if is_tensor(x) else np.maximum(x, low)


def clip(x: AnyArray, low: float, high: float) -> AnyArray:
    return x.clamp(low, high) if is_tensor(x) else np.clip(x, low, high)


def ordered(x: AnyArray) -> AnyArray:
    """The values along the last axis in rising order."""
    return x.sort(dim=-1).values if is_tensor(x) else np.sort(x, axis=-1)


def sigmoid(x: AnyArray) -> AnyArray:
    """``1 / (1 + exp(-x))``, right to the last digits where it is near 0 too."""
    return x.sigmoid() if is_tensor(x) else np.exp(-np.logaddexp(0.0, -x))


def softplus(x: AnyArray) -> AnyArray:
    """``log(1 + exp(x))``."""
    return sys.modules["torch"].nn.functional.softplus(x) if is_tensor(x) else np.logaddexp(0.0, x)


def logsumexp(x: AnyArray, axis: int = -1) -> AnyArray:
    """``log sum exp(x)`` along an axis; -inf where all are."""
    if is_tensor(x):
        return x.logsumexp(axis)
    top = x.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    return log(np.exp(x - top).sum(axis=axis)) + np.squeeze(top, axis)


def log_softmax(x: AnyArray, axis: int = -1) -> AnyArray:
    if is_tensor(x):
        return x.log_softmax(axis)
    if axis != -1:
        shifted = x - x.max(axis=axis, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    shifted = x - highest(x, -1, keepdims=True)
    shifted -= np.log(total_of(np.exp(shifted)))
    return shifted


def softmax(x: AnyArray, axis: int = -1) -> AnyArray:
    if is_tensor(x):
        return x.softmax(axis)
    p = np.exp(x - x.max(axis=axis, keepdims=True))
    return p / p.sum(axis=axis, keepdims=True)


def occurring(x: AnyArray, possible: Iterable[int]) -> list[int]:
    """The ``possible`` whole numbers that ``x`` holds; all of them while torch traces, when no value is known."""
    torch = sys.modules.get("torch")
    if torch is not None and (torch.compiler.is_compiling() or torch.jit.is_tracing()):
        return list(possible)
    found = set(namespace(x).unique(x).tolist())
    return [value for value in possible if value in found]


def lowest_number(x: AnyArray) -> float:
    """The lowest finite number of the type of ``x``."""
    return float(namespace(x).finfo(x.dtype).min)


def smallest_number(x: AnyArray) -> float:
    """The smallest positive normal number of the type of ``x``."""
    return float(namespace(x).finfo(x.dtype).tiny)
