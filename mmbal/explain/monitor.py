"""Watches a model while it trains: what each modality contributes, measured in the evaluation pass that happens anyway.

monitor = Monitor(model.fusion, ["audio", "video"], out="monitored")
for epoch in range(epochs):
    train(model)
    model.eval()
    for audio, video, labels in validation:
        model(audio, video)
        monitor.batch(labels)  # after each evaluated batch
    print(monitor.epoch())  # after the pass: {"mmbal/accuracy/audio": 0.71, ...}
monitor.finish()  # writes predictions.npz and diagnosis.json

A forward hook keeps the features that the head was given; nothing runs twice but the head. Memory is bounded: norms are
summed up, and of decisions and features at most ``limit`` samples are kept, drawn evenly from the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbal.diagnosis import Diagnosis, diagnose
from mmbal.diagnosis.balance import shares_of
from mmbal.diagnosis.coalitions import decision_of
from mmbal.diagnosis.weights import layer_of
from mmbal.errors import DataError, UsageError
from mmbal.explain.heads import AnyHead, Features, head_of
from mmbal.maths.bootstrap import Bootstrap
from mmbal.maths.scoring import correct
from mmbal.predictions.columns import Array, plain
from mmbal.predictions.format import Predictions
from mmbal.predictions.labels import labels_of

LIMIT = 4096
NORMS = ("feature_norm", "score_norm", "gradient_norm")
FEWEST = 10  # samples of a pass with fewer get no shares


class Reservoir:
    """At most ``limit`` rows of several arrays, each row of a stream with the same chance (Vitter 1985, algorithm R)."""

    def __init__(self, limit: int, seed: int) -> None:
        self.limit, self.seen = limit, 0
        self.random = np.random.default_rng(seed)
        self.arrays: dict[str, Array] = {}

    def add(self, rows: Mapping[str, Array]) -> None:
        """Take the next rows; the same keys each time."""
        n = len(next(iter(rows.values())))
        position = np.arange(self.seen, self.seen + n)
        slot = np.where(position < self.limit, position, self.random.integers(0, position + 1))
        kept = np.flatnonzero(slot < self.limit)
        for key, value in rows.items():
            if key not in self.arrays:
                self.arrays[key] = np.empty((0, *value.shape[1:]), value.dtype)
            more = min(self.seen + n, self.limit) - len(self.arrays[key])
            if more > 0:
                self.arrays[key] = np.concatenate([self.arrays[key], np.empty((more, *value.shape[1:]), value.dtype)])
            self.arrays[key][slot[kept]] = value[kept]
        self.seen += n


class Monitor:
    """Watches a head; call :meth:`batch` after each evaluated batch and :meth:`epoch` after the pass.

    ``fusion``: the module that takes the features of all modalities and gives the logits (``head`` follows where it does
    not), a linear layer on concatenated features (``modalities`` then gives the widths), or modality -> module where the
    model adds logits. ``out``: the folder for :meth:`finish`. ``limit``: samples kept of a pass. ``classes``: their names.
    Only calls in evaluation mode are watched. Raises UsageError where the head can't be understood.
    """

    def __init__(
        self,
        fusion: nn.Module | Mapping[str, nn.Module],
        modalities: Sequence[str] | Mapping[str, int] | None = None,
        *,
        head: Callable[[Any], Any] | None = None,
        classes: Sequence[str] | None = None,
        out: str | Path | None = None,
        limit: int = LIMIT,
        seed: int = 0,
    ) -> None:
        self.head = head_of(fusion, modalities, head)
        self.classes = None if classes is None else [str(name) for name in classes]
        self.out = None if out is None else Path(out)
        self.limit, self.seed = limit, seed
        self.passes: dict[str, Predictions] = {}  # of the latest pass over each split
        self._calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self._hooks = [
            module.register_forward_pre_hook(self._hook(name), with_kwargs=True)
            for name, module in self.head.watched().items()
        ]
        self._begin()

    def _hook(self, name: str) -> Callable[..., None]:
        def watch(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not module.training:
                self._calls[name] = (args, kwargs)

        return watch

    def _begin(self) -> None:
        self._kept = Reservoir(self.limit, self.seed)
        self._norms: dict[str, float] = {}
        self._calls.clear()

    def forget(self) -> None:
        """Leave out what was seen since the last pass, as of a sanity check."""
        self._begin()

    def batch(self, labels: Any) -> None:
        """Take the batch that was just evaluated; ``labels (B,)`` are class indices.

        Raises UsageError where the watched modules were not called in evaluation mode, DataError for labels that do not fit.
        """
        if len(self._calls) < len(self.head.watched()):
            raise UsageError(
                "The watched head was not called in evaluation mode before monitor.batch.",
                "Call model.eval(), run the model, then call monitor.batch(labels).",
            )
        with torch.inference_mode(False), torch.no_grad():
            calls = {name: _own(call) for name, call in self._calls.items()}
            self._calls.clear()
            features = self.head.features(calls)
            found = self._decisions(features)
        n = len(found["fused"])
        given = plain(labels, "labels").reshape(-1)
        if len(given) != n:
            raise DataError(f"There are {len(given)} labels for a batch of {n}.")
        found["labels"] = given.astype(np.int64)
        self._sum_norms(features, found)
        self._kept.add(found)

    def _decisions(self, features: Features) -> dict[str, Array]:
        head = self.head
        if isinstance(head, AnyHead):
            tables = head.coalitions(features)
            found = {f"subset_{'+'.join(names)}": value for names, value in tables.items()}
            found |= {f"logits_{m}": tables[(m,)] - tables[()] for m in head.modalities}
            found["fused"] = tables[head.modalities]
        else:
            parts = head.parts(features)
            found = {f"{key}_{m}": value for m, value in parts.items() for key in ("logits", "contribution")}
            found["fused"] = torch.stack(list(parts.values())).sum(dim=0)
        found |= {f"features_{m}": z for m, z in features.items() if z.ndim == 2}
        return {key: value.float().cpu().numpy() for key, value in found.items()}

    def _sum_norms(self, features: Features, found: Mapping[str, Array]) -> None:
        """Norms of features, of unimodal scores, and of the gradient of the loss with respect to the features."""
        for m, gradient in self._gradients(features, found["labels"]).items():
            scores = found[f"logits_{m}"]
            rows = {
                "feature_norm": features[m].flatten(1).norm(dim=1).sum(),
                "score_norm": np.linalg.norm(scores - scores.mean(axis=1, keepdims=True), axis=1).sum(),
                "gradient_norm": gradient.flatten(1).norm(dim=1).sum(),
            }
            for name, value in rows.items():
                self._norms[f"{name}/{m}"] = self._norms.get(f"{name}/{m}", 0.0) + float(value)

    def _gradients(self, features: Features, labels: Array) -> Features:
        with torch.inference_mode(False), torch.enable_grad():
            leaves = {m: z.detach().requires_grad_() for m, z in features.items()}
            fused = self.head.decide(leaves)
            loss = nn.functional.cross_entropy(fused, torch.as_tensor(labels, device=fused.device), reduction="sum")
            found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        return {m: torch.zeros_like(z) if g is None else g for (m, z), g in zip(leaves.items(), found, strict=True)}

    def epoch(self, split: str = "val") -> dict[str, float]:
        """End a pass over ``split``: its figures by name (``mmbal/accuracy/<modality>``...); empty where nothing was seen.

        Accuracy alone, contribution, capability and index as in the diagnosis; mean norms over all samples of the pass.
        """
        if not self._kept.seen:
            return {}
        kept, norms, seen = self._kept.arrays, self._norms, self._kept.seen
        self._begin()
        self.passes[split] = self._predictions(kept, split, seen)
        found = {f"mmbal/{name}": value / seen for name, value in norms.items()}
        return figures_of(self.passes[split]) | found

    def _predictions(self, kept: Mapping[str, Array], split: str, seen: int) -> Predictions:
        told = labels_of(kept["labels"], self.classes, kept["fused"].shape[1])
        arrays: dict[str, Any] = {**kept, "labels": told.index, "classes": np.array(told.classes)}
        arrays |= {"modalities": np.array(self.head.modalities), "split": np.full(len(told.index), split)}
        arrays["ids"] = np.array([f"{split}-{i}" for i in range(len(told.index))])
        meta: dict[str, Any] = {"producer": "mmbal.Monitor", "scores": "logits", "samples_seen": seen}
        if not self.head.additive:
            meta["baseline"] = "zero features"
        return Predictions.from_arrays(arrays, meta)

    def predictions(self) -> Predictions:
        """The latest pass over each split, as one; raises UsageError where there was none."""
        if not self.passes:
            raise UsageError("The monitor has seen no evaluation pass.", "Call batch and epoch in it.")
        return Predictions.concatenate(list(self.passes.values()))

    def close(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()

    def finish(self, split: str | None = None) -> Diagnosis | None:
        """Stop watching; diagnose the last pass, and write predictions.npz and diagnosis.json to ``out``.

        None where no pass was seen. ``split``: ``test`` where there was a pass over it, else the first.
        """
        self.close()
        if not self.passes:
            return None
        found = self.predictions()
        wanted = split or ("test" if "test" in self.passes else next(iter(self.passes)))
        diagnosis = diagnose(found, split=wanted, source="predictions.npz")
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            found.save(self.out / "predictions.npz")
            diagnosis.save(self.out / "diagnosis.json")
        return diagnosis


def _own(value: Any) -> Any:
    """The same with copies of its tensors: gradients can't be taken of those that were made in inference mode."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _own(part) for key, part in value.items()}
    return type(value)(_own(part) for part in value) if type(value) in (list, tuple) else value


def figures_of(p: Predictions) -> dict[str, float]:
    """The figures that a monitor logs: accuracy alone, contribution, capability and the imbalance index."""
    found = {f"mmbal/accuracy/{m}": float(correct(p.logits[m], p.labels).mean()) for m in p.modalities}
    decision = decision_of(p)
    found["mmbal/accuracy/fused"] = float(correct(decision.fused, p.labels).mean())
    if len(p) < FEWEST or len(np.unique(p.labels)) < 2:
        return found
    shares = shares_of(layer_of(decision, p), Bootstrap.of(len(p), replicates=2))
    for k, m in enumerate(p.modalities):
        for name, table in (("contribution", shares.contribution), ("capability", shares.capability)):
            if np.isfinite(table[0, k]):
                found[f"mmbal/{name}/{m}"] = float(table[0, k])
    if np.isfinite(shares.index[0]):
        found["mmbal/index"] = float(shares.index[0])
    return found
