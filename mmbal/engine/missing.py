"""How well a trained model decides with a missing modality, and whether filling it in helps (docs/missing-modalities.md)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Frozen
from mmbal.data.store.loader import Loader
from mmbal.data.store.normalisation import with_normalisation
from mmbal.data.store.store import Store
from mmbal.engine.checkpoint import Checkpoint, load_model, move
from mmbal.engine.seeding import pick_device, seed_all
from mmbal.errors import ConfigError, DataError, UsageError, did_you_mean
from mmbal.maths.bootstrap import Estimate, mean_interval
from mmbal.maths.snr import Weighting
from mmbal.models.imputer import FeatureDiffusion
from mmbal.models.multimodal import Output
from mmbal.predictions.format import Predictions
from mmbal.progress import portion, reached, steps
from mmbal.runs import decided_by
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, NATS, SHARE

Impute = Literal["zero", "mean", "noise", "diffusion"]
IMPUTATIONS: tuple[Impute, ...] = get_args(Impute)

Features = dict[str, Tensor]


class Case(Frozen):
    """The decision where the modalities ``absent`` are missing and filled in by ``impute``; none in the complete case."""

    absent: list[str]
    impute: str | None
    accuracy: Estimate
    nll: Estimate = Field(description="nats")
    gain: Estimate | None = Field(None, description="accuracy minus that with zero, paired by sample")


class MissingReport(Frozen):
    """Every case, on the samples of a split that have all modalities."""

    run: str
    split: str
    samples: int
    rule: str | None = Field(None, description="the stored rule that decides; null: the model as it is")
    complete: Case
    cases: list[Case]

    def table(self) -> Table:
        """One row a case: what is missing, what fills it in, and what becomes of the decision."""
        cases = [self.complete, *self.cases]
        columns = [
            Column("missing", [" + ".join(case.absent) or "nothing" for case in cases]),
            Column("filled in by", [case.impute for case in cases], left=True),
            Column("accuracy", [case.accuracy for case in cases], SHARE),
            Column("NLL", [case.nll for case in cases], NATS, drop=1),
            Column("gain over zero (pp)", [case.gain for case in cases], DIFFERENCE.bare()),
        ]
        title = f"{self.run} · {self.split} · {self.samples} complete samples"
        caption = (
            f"{decided_by(self.rule)} 95 % intervals; the gain is paired by sample. zero: the model's own way with a "
            "missing modality."
        )
        return Table.of(columns, title, caption)

    def conclusions(self) -> list[str]:
        """A sentence for each case: what helps most where anything is shown to, and what does harm."""
        gains: dict[str, dict[str, Estimate]] = {}
        for case in self.cases:
            if case.gain is not None:
                gains.setdefault(" + ".join(case.absent), {})[str(case.impute)] = case.gain
        told = []
        for missing, found in gains.items():
            best, top = max(found.items(), key=lambda item: item[1].value)
            harmful = ", ".join(name for name, gain in found.items() if gain.sign < 0)
            helps = (
                f"{best} helps most, by {DIFFERENCE.text(top)}"
                if top.sign > 0
                else "nothing is shown to be better than zero"
            )
            told.append(f"Without {missing}: {helps}" + (f"; {harmful} is worse." if harmful else "."))
        return told


def evaluate_missing(
    run: str | Path,
    *,
    impute: Sequence[str] = IMPUTATIONS,
    split: str = "test",
    data: str | Path | None = None,
    draws: int = 8,
    updates: int = 2000,
    weighting: Weighting = "debias",
    seed: int = 0,
    device: str = "auto",
) -> MissingReport:
    """Remove each modality, and (for M > 2) all but one, and decide by the others.

    Encoders run once. ``zero`` is as in training: the feature is zero and the modality counts as missing; ``mean`` and
    ``noise`` put in the mean, or Gaussian draws with mean and spread, of the train split's features; ``diffusion`` draws
    them given the present modalities' features, by a :class:`~mmbal.models.imputer.FeatureDiffusion` trained on the train
    split for ``updates`` steps. What is put in counts as present. Where it is random, the probabilities of ``draws`` draws
    are averaged. Decisions are those of the run's stored rule where it has one, else the model's own. ``data`` says
    where the store is, if it has moved.

    Raises UsageError for an unknown imputation or split, ConfigError for another store, DataError where no sample is
    complete or there is only one modality.
    """
    for name in impute:
        if name not in IMPUTATIONS:
            raise UsageError(f"There is no imputation '{name}'.", did_you_mean(name, IMPUTATIONS))
    checkpoint = load_model(run)
    if len(checkpoint.modalities) < 2:
        raise DataError("The model has only one modality; without it, no decision is possible.")
    store = Store.open(data if data is not None else checkpoint.store["path"])
    store = with_normalisation(store, checkpoint.config.normalise)
    if store.hash != checkpoint.store["hash"]:
        raise ConfigError(
            f"{store.path} is not the store that {run} was trained on.", "Say where that is: --data STORE."
        )
    on = pick_device(device)
    move(checkpoint, on)
    with portion(0.1):
        labels, features = complete_features(checkpoint, store, split, on)
    seed_all(seed)
    with portion(0.3):
        known = complete_features(checkpoint, store, "train", on)[1]
    fill = Filler(known, updates, weighting)

    names = sorted(features)
    log_likelihood, right = _decide(checkpoint, [features], (), labels)
    complete = _case((), None, log_likelihood, right, None)
    absences = list(combinations(names, 1))
    if len(names) > 2:
        absences += list(combinations(names, len(names) - 1))
    cases = []
    for absent in steps(absences):
        left_out = {m: torch.zeros_like(z) if m in absent else z for m, z in features.items()}
        base_likelihood, base = _decide(checkpoint, [left_out], absent, labels)
        for name in steps(list(impute)):
            if name == "zero":
                cases.append(_case(absent, name, base_likelihood, base, None))
                continue
            filled = [fill(name, features, absent) for _ in range(draws if name in ("noise", "diffusion") else 1)]
            cases.append(_case(absent, name, *_decide(checkpoint, filled, (), labels), base))
    return MissingReport(
        run=str(run), split=split, samples=len(labels), rule=checkpoint.rule_name, complete=complete, cases=cases
    )


@torch.no_grad()
def complete_features(
    checkpoint: Checkpoint, store: Store, split: str, device: torch.device
) -> tuple[Tensor, Features]:
    """Labels ``(N,)`` and what the fusion is given of each modality, for the samples of a split that have all of them."""
    model = checkpoint.model
    loader = Loader(store, split, checkpoint.config.batch_size, modalities=model.modalities)
    labels, parts = [], []
    for k, batch in enumerate(b.to(device) for b in loader.epoch(0)):
        reached(k / len(loader))
        have = torch.stack([batch.present[m] for m in model.modalities]).all(dim=0)
        labels.append(batch.labels[have])
        parts.append({m: z[have] for m, z in model.encode(batch).items()})
    features = {m: torch.cat([part[m] for part in parts]) for m in model.modalities}
    if not sum(map(len, labels)):
        raise DataError(f"No sample of '{split}' has all modalities, so none can be removed and compared.")
    return torch.cat(labels), features


class Filler:
    """Fills in modalities from the ``known`` features of the train split; the imputer is trained on its first use."""

    def __init__(self, known: Features, updates: int, weighting: Weighting) -> None:
        self.known = known
        self.updates = updates
        self.weighting: Weighting = weighting
        self._imputer: FeatureDiffusion | None = None

    def __call__(self, name: str, features: Features, absent: Sequence[str]) -> Features:
        """``features`` with those of the modalities in ``absent`` replaced; their values are not read."""
        if name == "diffusion":
            return self._draw(features, absent)
        return {m: self._typical(m, z, name == "noise") if m in absent else z for m, z in features.items()}

    def _typical(self, m: str, like: Tensor, noisy: bool) -> Tensor:
        mean = self.known[m].mean(dim=0).expand_as(like)
        return mean + torch.randn_like(like) * self.known[m].std(dim=0) if noisy else mean

    def _draw(self, features: Features, absent: Sequence[str]) -> Features:
        imputer = self.imputer()
        given = {m: torch.zeros_like(z) if m in absent else z for m, z in features.items()}
        missing = torch.tensor([[m in absent for m in imputer.names]], device=imputer.mean.device)
        drawn = imputer.sample(
            {m: z.flatten(1) for m, z in given.items()}, missing.expand(len(next(iter(given.values()))), -1)
        )
        return {m: drawn[m].view_as(z) if m in absent else z for m, z in features.items()}

    def imputer(self) -> FeatureDiffusion:
        """The diffusion model of the known features."""
        if self._imputer is None:
            flat = {m: z.flatten(1) for m, z in self.known.items()}
            imputer = FeatureDiffusion({m: z.shape[1] for m, z in flat.items()}).to(next(iter(flat.values())).device)
            imputer.fit(flat, weighting=self.weighting, updates=self.updates)
            self._imputer = imputer
        return self._imputer


@torch.no_grad()
def _decide(
    checkpoint: Checkpoint, draws: Sequence[Features], absent: Sequence[str], labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-probability of the truth and whether it is decided rightly ``(N,)``, by the mean probability over draws."""
    present = {m: torch.full_like(labels, m not in absent, dtype=torch.bool) for m in draws[0]}
    outputs = [checkpoint.method.predict(checkpoint.model.decide(draw, present)) for draw in draws]
    log_probability = torch.stack([_log_probabilities(checkpoint, o, labels) for o in outputs]).logsumexp(dim=0)
    log_probability = log_probability.log_softmax(dim=1)
    return log_probability.gather(1, labels[:, None]).squeeze(1), (log_probability.argmax(dim=1) == labels).float()


def _log_probabilities(checkpoint: Checkpoint, output: Output, labels: Tensor) -> Tensor:
    """The fused log-probabilities ``(N, C)``, by the stored rule where there is one."""
    if checkpoint.rule is None:
        return output.fused.float().log_softmax(dim=1)

    def arrays(values: Features) -> dict[str, np.ndarray]:
        return {m: value.cpu().numpy().astype(np.float64) for m, value in values.items()}

    found = Predictions(
        labels=labels.cpu().numpy(),
        classes=checkpoint.classes,
        modalities=checkpoint.model.modalities,
        logits=arrays(output.logits),
        fused=output.fused.cpu().numpy().astype(np.float64),
        features=arrays(output.features),
        present={m: p.cpu().numpy() for m, p in output.present.items()},
        ids=np.arange(len(labels)).astype(str),
        split=np.full(len(labels), "missing"),
    )
    return torch.from_numpy(checkpoint.rule.apply(found)).to(labels.device)


def _case(absent: Sequence[str], impute: str | None, likelihood: Tensor, right: Tensor, base: Tensor | None) -> Case:
    return Case(
        absent=list(absent),
        impute=impute,
        accuracy=mean_interval(right.numpy(force=True)),
        nll=mean_interval(-likelihood.numpy(force=True)),
        gain=None if base is None else mean_interval((right - base).numpy(force=True)),
    )
