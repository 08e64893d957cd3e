"""From a model to Predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbal.data.store.loader import Batch, Loader
from mmbal.decision import scores
from mmbal.decision.fused import coalition_contributions
from mmbal.engine.distributed import Processes
from mmbal.engine.finite import require_finite_decisions
from mmbal.maths.arrays import log_softmax
from mmbal.maths.folds import exchanged
from mmbal.maths.scoring import correct
from mmbal.methods.base import Method
from mmbal.models.fusion import LinearFusion
from mmbal.models.modes import evaluating
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.predictions.format import Predictions, subsets_of
from mmbal.predictions.names import SEGMENT

GATE = "gate "  # before the name of a gate, among the columns
MOST_OF_GATES = 2**28  # numbers, 1 GiB: the gates of a larger split are not kept, and so not exchanged
COALITIONS_AT_ONCE = 16  # more would hold as many copies of a batch in memory


@torch.no_grad()
def collect(
    model: MultimodalClassifier,
    method: Method,
    loader: Loader,
    device: torch.device,
    *,
    meta: Mapping[str, Any] | None = None,
    brief: bool = False,
    exchange: bool = False,
    processes: Processes = Processes(),  # noqa: B008, a constant
) -> Predictions:
    """The model's decisions on a loader; encoders run once a batch, in one of the ``processes``, which all get the whole.

    Where the decision is not additive, the fused logits of every coalition of modalities are kept as well, and the
    contributions are their exact Shapley values plus an equal share of the empty coalition's logits, so that they sum
    to the fused logits as b/M does for linear heads. ``brief`` leaves out all but logits and fused. ``exchange``: a fusion
    with gates decides once more, by the gates of other samples, in a second pass. Raises NotFinite where a decision is not
    finite.
    """
    columns: dict[str, list[Tensor]] = {}
    modalities = model.modalities

    def keep(key: str, value: Tensor) -> None:
        columns.setdefault(key, []).append(value.float().cpu())

    rows: list[Tensor] = []
    with evaluating(model, method):
        for batch in (b.to(device) for b in loader.epoch(0, skip=processes.rank, every=processes.world)):
            own = model(batch)
            output = method.predict(own)
            require_finite_decisions(output, batch, loader)
            rows.append(batch.index.cpu())
            keep("fused", output.fused)
            for m in modalities:
                keep(f"logits_{m}", output.logits[m])
                columns.setdefault(f"present_{m}", []).append(batch.present[m].cpu())
            if not brief:
                _keep_parts(keep, model, method, output, batch)
                if exchange and output.fused is own.fused:  # the fusion decides, and not the method
                    held = model.fusion.gates(own.inputs)
                    numbers = sum(gate[0].numel() for gate in held.values()) * len(loader.split_rows)
                    for name, gate in held.items() if numbers <= MOST_OF_GATES else ():
                        keep(f"{GATE}{name}", gate)
    store, index = loader.store, loader.split_rows
    mine = torch.from_numpy(np.searchsorted(index, torch.cat(rows).numpy())) if rows else torch.zeros(0).long()
    found_here = {key: torch.cat(parts) for key, parts in columns.items()}
    whole = processes.gather(found_here, mine, len(index), device)
    gates = {key.removeprefix(GATE): whole.pop(key) for key in list(whole) if key.startswith(GATE)}
    arrays: dict[str, Any] = {key: values.numpy() for key, values in whole.items()}
    if gates:
        arrays |= {f"weights_{m}": w.numpy() for m, w in model.fusion.sample_weights(gates).items()}
        arrays["exchanged"] = _exchanged(model, loader, device, gates, arrays, processes, mine)
    weights = {m: arrays[f"weights_{m}"][arrays[f"present_{m}"]] for m in modalities if f"weights_{m}" in arrays}
    if all(len(np.unique(w)) < 2 for w in weights.values()):  # the same in every sample: no gate
        arrays = {key: value for key, value in arrays.items() if not key.startswith("weights_")}
    for m in modalities:
        if arrays[f"present_{m}"].all():
            del arrays[f"present_{m}"]
    if store.group is not None:
        arrays["group"] = store.group[index]
    arrays |= {f"{SEGMENT}{name}": values[index] for name, values in store.segments.items()}
    if not brief:
        arrays |= _linear_head(model, arrays)
    labels = store.labels[index].astype(np.int64)
    arrays |= {"labels": labels, "ids": store.ids[index], "split": np.full(len(index), loader.split)}
    arrays |= {"classes": np.array(store.classes), "modalities": np.array(modalities)}
    found = Predictions.from_arrays(arrays, {**(meta or {}), "scores": "logits"})
    if found.subsets:
        found = replace(found, contribution=coalition_contributions(found.subsets, modalities))
    return found


def _keep_parts(keep: Any, model: MultimodalClassifier, method: Method, output: Output, batch: Batch) -> None:
    for m in model.modalities:
        keep(f"features_{m}", output.features[m])
        if m in output.weights:
            keep(f"weights_{m}", output.weights[m])
        if output.contribution is not None:
            keep(f"contribution_{m}", output.contribution[m])
    if output.contribution is None:
        for names, fused in _coalitions(model, method, output).items():
            keep("subset_" + "+".join(names), fused)


@torch.no_grad()
def _exchanged(
    model: MultimodalClassifier,
    loader: Loader,
    device: torch.device,
    gates: Mapping[str, Tensor],
    arrays: Mapping[str, np.ndarray],
    processes: Processes,
    mine: Tensor,
) -> np.ndarray:
    """The decision ``(N, C)`` with the gates of other samples that have the same modalities; a second pass.

    The pass goes in the order of the first one, whose ``gates (N, ...)`` and ``arrays`` are given; ``mine`` are the places
    of this process's samples.
    """
    present = np.stack([arrays[f"present_{m}"] for m in model.modalities], axis=1)
    other = torch.from_numpy(exchanged(present, np.random.default_rng(0)))
    found: list[Tensor] = []
    with evaluating(model):
        for batch in (b.to(device) for b in loader.epoch(0, skip=processes.rank, every=processes.world)):
            done = sum(map(len, found))
            rows = other[mine[done : done + len(batch)]]
            given = {name: gate[rows].to(device) for name, gate in gates.items()}
            found.append(model.fusion.gated_head(model.encode(batch), given).float().cpu())
    here = {"exchanged": torch.cat(found)} if found else {}
    return processes.gather(here, mine, len(other), device)["exchanged"].numpy()


def _coalitions(model: MultimodalClassifier, method: Method, output: Output) -> dict[tuple[str, ...], Tensor]:
    """Fused logits ``(B, C)`` by coalition; the rows are repeated, once a coalition, so that few large steps do it."""
    every = subsets_of(model.modalities)
    found: list[Tensor] = []
    for start in range(0, len(every), COALITIONS_AT_ONCE):
        some = every[start : start + COALITIONS_AT_ONCE]
        inputs = {
            m: torch.cat([x if m in names else torch.zeros_like(x) for names in some]) for m, x in output.inputs.items()
        }
        present = {m: torch.cat([p & (m in names) for names in some]) for m, p in output.present.items()}
        found += method.predict(model.decide(inputs, present)).fused.chunk(len(some))
    return dict(zip(every, found, strict=True)) | {model.modalities: output.fused}


def _linear_head(model: MultimodalClassifier, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Decision weights and bias, where the contributions are what these weights make of the features."""
    fusion = model.fusion
    if not isinstance(fusion, LinearFusion) or f"contribution_{model.modalities[0]}" not in arrays:
        return {}
    found: dict[str, np.ndarray] = {}
    biases = []
    for m in model.modalities:
        weight, bias = (t.detach().float().cpu().numpy() for t in (fusion.weight(m), fusion.bias(m)))
        if not np.allclose(
            arrays[f"features_{m}"] @ weight.T + bias, arrays[f"contribution_{m}"], rtol=1e-2, atol=1e-2
        ):
            return {}
        found[f"weight_{m}"] = weight
        biases.append(bias)
    return found | {"bias": np.sum(biases, axis=0)}


def summarise(predictions: Predictions) -> dict[str, float]:
    """Accuracy and negative log-likelihood (nats) of the fused decision."""
    assert predictions.fused is not None
    found = scores(log_softmax(predictions.fused, axis=-1), predictions.labels)
    return {"accuracy": float(found["accuracy"]), "nll": float(found["nll"])}


def alone(predictions: Predictions) -> dict[str, float]:
    """Accuracy of each modality's own decision, over the samples that have it; a modality that none has is left out."""
    found = {}
    for m in predictions.modalities:
        here = predictions.present.get(m, np.ones(len(predictions), dtype=bool))
        if here.any():
            found[m] = float(correct(predictions.logits[m], predictions.labels)[here].mean())
    return found
