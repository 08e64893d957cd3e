"""Where a run stands within an epoch, as tensors and plain values: with it, a run goes on after any batch to the same bits.

What a method, a fusion or an encoder has learned is in its parameters and buffers. Beside these a method keeps, within an
epoch, values as plain attributes (what its sampler has chosen, running sums). They are taken here from every module,
so no method has code for it. An attribute that holds modules, parameters or the graph of a batch is made again, not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbal.engine.distributed import Processes
from mmbal.methods.base import Method, Run

Rows = np.ndarray | Sequence[np.ndarray] | None
ARRAY, ELSEWHERE = "mmbal.array", "mmbal.elsewhere"  # marks of an array, and of a tensor that is not on the CPU
OWN = frozenset(vars(nn.Module()))  # attributes of every module


def take(run: Run, method: Method, rows: Rows, batches: int, processes: Processes) -> dict[str, Any]:
    """The state after so many batches of an epoch whose sampler has given ``rows``; the same in every process.

    It says nothing of the number of processes, so that another number can go on from it.
    """
    modules = dict(_modules(run, method))
    found = {name: _attributes(module) for name, module in modules.items()}
    for name in method.summed:
        found["method"][name] = _plain(run.sum(getattr(method, name)))
    return {
        "batches": batches,
        "rows": _plain(rows if rows is None or isinstance(rows, np.ndarray) else list(rows)),
        "random": _random(run.device),
        "records": _records(run, processes),
        "attributes": {name: attributes for name, attributes in found.items() if attributes},
        "evaluating": [name for name, module in modules.items() if not module.training],
    }


def restore(run: Run, method: Method, saved: dict[str, Any], processes: Processes) -> Rows:
    """Put a state that :func:`take` has given back; the rows of the epoch's sampler."""
    run.records.update({name: list(values) for name, values in saved["records"].items()})
    run.shares.update({name: [run.share] * len(values) for name, values in saved["records"].items()})
    evaluating = set(saved["evaluating"])
    for name, module in _modules(run, method):
        module.training = name not in evaluating
        for attribute, value in saved["attributes"].get(name, {}).items():
            setattr(module, attribute, _back(value, run.device))
    for name in method.summed if not processes.first else ():
        getattr(method, name).zero_()
    torch.set_rng_state(saved["random"]["cpu"])
    if run.device.type == "cuda" and "cuda" in saved["random"]:
        torch.cuda.set_rng_state(saved["random"]["cuda"], run.device)
    if run.device.type == "mps" and "mps" in saved["random"]:
        torch.mps.set_rng_state(saved["random"]["mps"])
    rows: Rows = _back(saved["rows"], run.device)
    return rows


def _modules(run: Run, method: Method) -> Iterator[tuple[str, nn.Module]]:
    for part, whole in (("model", run.model), ("method", method)):
        for path, module in whole.named_modules():
            yield f"{part}.{path}".rstrip("."), module


def _records(run: Run, processes: Processes) -> dict[str, list[float]]:
    """What is recorded so far: of several processes the mean of each figure, as often as it was taken."""
    if processes.world == 1:
        return {name: list(values) for name, values in run.records.items()}
    means = processes.mean(run.records, run.shares)
    times = processes.mean({name: [sum(s)] for name, s in run.shares.items()}, {name: [1.0] for name in run.shares})
    return {name: [value] * round(times[name] * processes.world) for name, value in means.items()}


def _random(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _attributes(module: nn.Module) -> dict[str, Any]:
    """The attributes of one module that are tensors and plain values."""
    found = {}
    for name, value in vars(module).items():
        if name not in OWN and name not in ("config", "model"):
            try:
                found[name] = _plain(value)
            except TypeError:
                continue
    return found


def _plain(value: Any) -> Any:
    """``value`` as what a checkpoint can hold; raises TypeError where it is something else."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and not value.requires_grad:
        return value if value.device.type == "cpu" else {ELSEWHERE: value}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {ARRAY: torch.from_numpy(np.ascontiguousarray(value))}
    if type(value) in (list, tuple, set):
        return type(value)(_plain(part) for part in value)
    if type(value) is dict:
        return {_plain(key): _plain(part) for key, part in value.items()}
    raise TypeError(type(value).__name__)


def _back(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        if ARRAY in value:
            return value[ARRAY].numpy()
        if ELSEWHERE in value:
            return value[ELSEWHERE].to(device)
        return {key: _back(part, device) for key, part in value.items()}
    if isinstance(value, (list, tuple, set)):
        return type(value)(_back(part, device) for part in value)
    return value
