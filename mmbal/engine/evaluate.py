"""From a model to Predictions, and from a path on the command line to the Predictions behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbal.config import read_yaml
from mmbal.data.store.loader import Batch, Loader
from mmbal.decision import Rule, rule_from_json, scores
from mmbal.engine.checkpoint import RULE
from mmbal.engine.tracking import CONFIG, ENVIRONMENT, SUMMARY
from mmbal.errors import UsageError
from mmbal.files import read_json
from mmbal.maths.shapley import shapley_values
from mmbal.methods.base import Method
from mmbal.models.fusion import LinearFusion
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.predictions.format import Predictions, log_softmax, subsets_of

SPLIT_FILES = ("val", "test")
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
) -> Predictions:
    """The model's decisions on a loader; encoders run once a batch.

    Where the decision is not additive, the fused logits of every coalition of modalities are kept as well, and the
    contributions are their exact Shapley values plus an equal share of the empty coalition's logits, so that they sum
    to the fused logits as b/M does for linear heads. ``brief`` leaves out all but logits and fused.
    """
    model.eval()
    method.eval()
    columns: dict[str, list[Tensor]] = {}
    modalities = model.modalities

    def keep(key: str, value: Tensor) -> None:
        columns.setdefault(key, []).append(value.float().cpu())

    rows, labels = [], []
    for batch in (b.to(device) for b in loader.epoch(0)):
        output = method.predict(model(batch))
        rows.append(batch.index.cpu())
        labels.append(batch.labels.cpu())
        keep("fused", output.fused)
        for m in modalities:
            keep(f"logits_{m}", output.logits[m])
            columns.setdefault(f"present_{m}", []).append(batch.present[m].cpu())
        if not brief:
            _keep_parts(keep, model, method, output, batch)
    index = torch.cat(rows).numpy()
    store = loader.store
    arrays: dict[str, Any] = {key: torch.cat(parts).numpy() for key, parts in columns.items()}
    for m in modalities:
        if arrays[f"present_{m}"].all():
            del arrays[f"present_{m}"]
    if store.group is not None:
        arrays["group"] = store.group[index]
    if not brief:
        arrays |= _linear_head(model, arrays)
    arrays |= {"labels": torch.cat(labels).numpy(), "ids": store.ids[index], "split": np.full(len(index), loader.split)}
    arrays |= {"classes": np.array(store.classes), "modalities": np.array(modalities)}
    found = Predictions.from_arrays(arrays)
    if found.subsets:
        found = replace(found, contribution=coalition_contributions(found.subsets, modalities))
    return replace(found, meta=dict(meta or {}))


def _keep_parts(keep: Any, model: MultimodalClassifier, method: Method, output: Output, batch: Batch) -> None:
    for m in model.modalities:
        keep(f"features_{m}", output.features[m])
        if output.contribution is not None:
            keep(f"contribution_{m}", output.contribution[m])
    if output.contribution is None:
        for names, fused in _coalitions(model, method, output).items():
            keep("subset_" + "+".join(names), fused)


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


def coalition_contributions(
    values: Mapping[tuple[str, ...], np.ndarray], modalities: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Shapley value of each modality's part in logits ``(N, C)`` by coalition, plus 1/M of the empty coalition's."""
    shares = shapley_values(values, modalities)
    return {m: shares[m] + values[()] / len(modalities) for m in modalities}


def with_rule(predictions: Predictions, rule: Rule, name: str) -> Predictions:
    """The same decisions of single modalities, fused by a fitted rule; parts of the decision follow from coalitions."""
    subsets: dict[tuple[str, ...], np.ndarray] = {}
    mask = predictions.present_mask()
    for names in subsets_of(predictions.modalities):
        present = {m: mask[:, i] & (m in names) for i, m in enumerate(predictions.modalities)}
        subsets[names] = rule.apply(replace(predictions, present=present))
    return replace(
        predictions,
        fused=subsets[predictions.modalities],
        subsets=subsets,
        contribution=coalition_contributions(subsets, predictions.modalities),
        meta=predictions.meta | {"rule": name},
    )


def summarise(predictions: Predictions) -> dict[str, float]:
    """Accuracy and negative log-likelihood (nats) of the fused decision."""
    assert predictions.fused is not None
    found = scores(log_softmax(predictions.fused), predictions.labels)
    return {"accuracy": float(found["accuracy"]), "nll": float(found["nll"])}


def run_folder(path: Path) -> Path | None:
    """The run folder that ``path`` is, or whose checkpoint it is; None for anything else."""
    folder = path if path.is_dir() else path.parent
    return folder if (folder / CONFIG).is_file() and (path.is_dir() or path.suffix == ".pt") else None


def find_predictions(path: str | Path) -> Predictions:
    """The Predictions of a run folder, a checkpoint in one, or a predictions file, all splits together.

    A rule that `mmbal calibrate` stored with the run is applied. Raises UsageError where there are none.
    """
    path = Path(path)
    folder = run_folder(path)
    if folder is None:
        if path.suffix == ".pt" and path.is_file():
            raise UsageError(
                f"{path} stands alone, without the predictions of its run.",
                "Give the run folder, or make predictions from your model: docs/your-model.md.",
            )
        if path.is_dir():
            raise UsageError(f"{path} is not a run folder: it has no {CONFIG}.", "`mmbal train` makes one.")
        return Predictions.load(path)
    files = [f for f in (folder / "predictions" / f"{split}.npz" for split in SPLIT_FILES) if f.is_file()]
    if not files:
        raise UsageError(f"{folder} has no predictions yet.", f"Finish it: mmbal train --resume {folder}")
    found = Predictions.concatenate([Predictions.load(f) for f in files])
    if (folder / RULE).is_file():
        stored = read_json(folder / RULE)
        rule = rule_from_json(stored, found.classes)
        found = with_rule(found, rule, stored["name"])
    return replace(found, meta=found.meta | {"run": str(folder)})


def find_reference(path: str | Path) -> Predictions | None:
    """The separately trained encoders' Predictions for a run: those it started from, or the latest of the same store."""
    folder = run_folder(Path(path))
    if folder is None or not (folder / CONFIG).is_file():
        return None
    named = read_yaml(folder / CONFIG).get("encoders_from")
    own = read_json(folder / ENVIRONMENT)
    siblings = sorted(folder.parent.glob(f"*/{SUMMARY}"), key=lambda file: file.stat().st_mtime, reverse=True)
    for candidate in ([Path(named)] if named else []) + [file.parent for file in siblings]:
        if candidate != folder and (candidate / ENVIRONMENT).is_file() and (candidate / SUMMARY).is_file():
            environment = read_json(candidate / ENVIRONMENT)
            if environment["kind"] == "pretrain" and environment["store"]["hash"] == own["store"]["hash"]:
                return find_predictions(candidate)
    return None
