"""Where accuracy is lost: at the decision layer or in the encoders.

    decision gap        = a fitted rule, that sees the model's own logits           -  the decision as it is (`fused`)
    representation gap  = the separately trained encoders, read out and fused       -  the model's encoders, likewise
    total               = decision gap + representation gap

Both gaps compare like with like. For the representation each encoder is read out by a linear probe on its features
(its own decision where there are none), calibrated by a temperature, and the modalities are fused by one weight each,
all cross-fitted. Probes and folds cost accuracy, on both sides alike, so it cancels in the difference. A probe is itself
uncertain, so the intervals of the whole and of each modality in nats redraw every sample in both its roles: as one that is
scored, and, by its influence on the probes, as one that they were fitted to. The intervals by class redraw the scores alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mmbal.decision import cross_fit, cross_fitted_rules, fit_rule
from mmbal.decision.fused import only
from mmbal.decision.gains import class_tests, gain_bounds
from mmbal.diagnosis.coalitions import log_likelihood
from mmbal.diagnosis.figures import Figures, present
from mmbal.diagnosis.probes import Probe
from mmbal.diagnosis.schema import Estimates, Gap, RepresentationGap
from mmbal.errors import DataError
from mmbal.maths.bootstrap import GAIN, SHARE
from mmbal.maths.folds import groups_of
from mmbal.maths.scoring import correct
from mmbal.predictions.format import Array, Predictions
from mmbal.predictions.pairing import shared_rows

FOLDS = 5


def best_decision(predictions: Predictions, calibration: Predictions | None, rule: str, seed: int) -> Array:
    """Log-probabilities ``(N, C)`` of a rule: fitted on ``calibration``, else cross-fitted in the rows."""
    if calibration is not None:
        log_p: Array = fit_rule(calibration, rule).apply(predictions)
        return log_p
    return cross_fit(predictions, rule, FOLDS, seed)


def decision_gap(
    figures: Figures, as_is: Array, best: Array, group: Array | None
) -> tuple[Gap | None, dict[str, Gap], dict[str, float]]:
    """What ``best (N, C)`` gains over ``as_is (N, C)``, overall and by class, as `calibrate` counts it; p of each class."""
    labels = figures.labels
    bounds = gain_bounds(best, as_is)
    right = correct(best, labels) - correct(as_is, labels)
    nats = log_likelihood(best, labels) - log_likelihood(as_is, labels)

    def gap(path: str, rows: Array | None = None) -> Gap | None:
        accuracy = figures.mean(f"{path}.accuracy", right, rows, bounds)
        gained = figures.mean(f"{path}.nats", nats, rows)
        return None if accuracy is None else Gap(accuracy=accuracy, nats=gained)

    each = {c: gap(f"classes.{c}.decision_gap", np.flatnonzero(labels == k)) for k, c in enumerate(figures.classes)}
    p = {figures.classes[k]: value for k, value in class_tests(right, labels, group).items()}
    return gap("decision_gap"), {c: g for c, g in each.items() if g is not None}, p


@dataclass(frozen=True)
class Reading:
    """Cross-fitted log-probabilities ``(N, C)``, and each sample's influence ``(N,)`` on their summed log-likelihood."""

    log_p: Array
    influence: Array

    @classmethod
    def of(cls, predictions: Predictions, rule: str, probes: Mapping[str, Probe], seed: int) -> Reading:
        """Fused by ``rule``; the logits of modalities in ``probes`` are uncertain, those of the others are given."""
        import torch  # its gradients are needed here alone, where there is a reference

        log_p = np.empty((len(predictions), len(predictions.classes)))
        slopes = {m: np.zeros_like(log_p) for m in probes}
        for fitted, rows in cross_fitted_rules(predictions, rule, FOLDS, seed):
            held_out = predictions.take(rows)
            logits = {m: torch.from_numpy(held_out.logits[m]).double().requires_grad_() for m in fitted.modalities}
            fused = fitted.apply(logits, held_out.present)
            log_p[rows] = fused.detach().numpy()
            total = fused[torch.arange(len(rows)), torch.from_numpy(held_out.labels)].sum()
            for m, slope in zip(logits, torch.autograd.grad(total, list(logits.values())), strict=True):
                if m in slopes:
                    slopes[m][rows] = slope.numpy()
        influence = np.zeros(len(predictions))
        for m, probe in probes.items():
            influence += probe.influence(slopes[m])
        return cls(log_p, influence)


@dataclass(frozen=True)
class Readout:
    """What the encoders give when read out alike, per modality and fused, of some of the rows."""

    rows: Array
    model: dict[str, Reading]
    reference: dict[str, Reading]
    model_fused: Reading
    reference_fused: Reading
    here: dict[str, Array]
    by: str

    def spread(self, values: Array, figures: Figures) -> Array:
        """Values of these rows in the place of all samples, zero elsewhere."""
        out = np.zeros(len(figures.labels))
        out[self.rows] = values
        return out


def read_out(predictions: Predictions, reference: Predictions, probes: Mapping[str, Probe], seed: int) -> Readout:
    """Read out the encoders of both on the samples they share; ``probes`` are those of the model's features.

    Raises DataError where no samples or no modalities are shared.
    """
    own, other = shared_rows([predictions, reference])
    if predictions.classes != reference.classes:
        raise DataError("The classes of the reference are others, or stand in another order.")
    shared = [m for m in predictions.modalities if m in reference.modalities]
    if not shared:
        raise DataError("The reference has none of the modalities.", f"It has: {', '.join(reference.modalities)}.")
    model, separate = only(predictions.take(own), shared), only(reference.take(other), shared)
    group = model.group if model.group is not None else separate.group
    sides = [replace(side, group=groups_of(group)) for side in (model, separate)]
    by_probe = all(m in side.features for side in sides for m in shared) and set(shared) <= set(probes)
    known: list[dict[str, Probe]] = [{}, {}]
    if by_probe:
        complete = len(own) == len(predictions)
        known = [{m: probes[m] for m in shared} if complete else _probed(sides[0], seed), _probed(sides[1], seed)]
        sides = [
            replace(side, logits={m: probe.logits for m, probe in fitted.items()})
            for side, fitted in zip(sides, known, strict=True)
        ]
    alone = [
        {m: Reading.of(only(side, [m]), "temperature", _of(fitted, m), seed) for m in shared}
        for side, fitted in zip(sides, known, strict=True)
    ]
    fused = [Reading.of(side, "pool", fitted, seed) for side, fitted in zip(sides, known, strict=True)]
    masks = [side.present_mask() for side in sides]
    return Readout(
        rows=own,
        model=alone[0],
        reference=alone[1],
        model_fused=fused[0],
        reference_fused=fused[1],
        here={m: masks[0][:, i] & masks[1][:, i] for i, m in enumerate(shared)},
        by="linear probes" if by_probe else "own decisions",
    )


def _probed(predictions: Predictions, seed: int) -> dict[str, Probe]:
    p, here = predictions, predictions.present_mask()
    return {
        m: Probe.fit(p.features[m], p.labels, len(p.classes), here[:, k], p.group, seed)
        for k, m in enumerate(p.modalities)
    }


def _of(probes: Mapping[str, Probe], m: str) -> dict[str, Probe]:
    return {m: probes[m]} if m in probes else {}


def representation_gap(figures: Figures, readout: Readout) -> tuple[RepresentationGap | None, dict[str, Gap]]:
    """What the reference's encoders gain over the model's: overall with each modality alone, and fused by class."""
    labels = figures.labels[readout.rows]

    def gap(path: str, model: Reading, reference: Reading, inside: Array, probed: bool = True) -> Gap | None:
        right = correct(reference.log_p, labels) - correct(model.log_p, labels)
        nats = log_likelihood(reference.log_p, labels) - log_likelihood(model.log_p, labels)
        if probed and inside.any():
            fitted = reference.influence - model.influence
            nats = nats + fitted - fitted[inside].mean()
        rows = readout.rows[inside]
        accuracy = figures.mean(f"{path}.accuracy", readout.spread(right, figures), rows, GAIN)
        gained = figures.mean(f"{path}.nats", readout.spread(nats, figures), rows)
        return None if accuracy is None else Gap(accuracy=accuracy, nats=gained)

    fused = readout.model_fused, readout.reference_fused
    whole = gap("representation_gap", *fused, np.ones(len(labels), dtype=bool))
    each = {
        m: gap(f"representation_gap.modalities.{m}", readout.model[m], readout.reference[m], readout.here[m])
        for m in readout.model
    }
    classes = {
        c: gap(f"classes.{c}.representation_gap", *fused, labels == k, probed=False)
        for k, c in enumerate(figures.classes)
    }
    known = {m: g for m, g in each.items() if g is not None}
    return (
        None if whole is None else RepresentationGap(**whole.model_dump(), modalities=known, by=readout.by),
        {c: g for c, g in classes.items() if g is not None},
    )


def reference_accuracy(figures: Figures, readout: Readout) -> Estimates:
    """Accuracy of each of the reference's encoders, read out, over the samples that have the modality."""
    found = {}
    for m, reading in readout.reference.items():
        rows = readout.rows[readout.here[m]]
        right = correct(reading.log_p, figures.labels[readout.rows])
        found[m] = figures.mean(f"accuracy.reference.{m}", readout.spread(right, figures), rows, SHARE)
    return present(found)


def total(figures: Figures) -> Gap | None:
    """The sum of the two gaps with its interval, from their replicates."""
    kept = figures.replicates
    found = {}
    for unit in ("accuracy", "nats"):
        parts = [kept.get(f"{gap}.{unit}") for gap in ("decision_gap", "representation_gap")]
        if parts[0] is None or parts[1] is None:
            return None
        found[unit] = figures.add(f"total.{unit}", parts[0] + parts[1])
    return Gap.model_validate(found)
