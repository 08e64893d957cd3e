"""Where the shortfall lies: in the decision layer or in the encoders.

    decision gap        = best cross-fitted rule on the model's own logits          -  the model's decision as it is
    representation gap  = the separately trained encoders, read out and fused       -  the model's encoders, likewise
    shortfall           = decision gap + representation gap

Both gaps compare like with like. For the representation each encoder is read out by a linear probe on its features
(its own decision where there are none), calibrated by a temperature, and the modalities are fused by one weight each,
all cross-fitted; what probes and folds cost cancels in the difference, since both sides pay it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mmbal.data.predictions import Array, Predictions
from mmbal.decision import cross_fit, fit_rule
from mmbal.diagnosis.coalitions import correct, log_likelihood
from mmbal.diagnosis.figures import Figures, present
from mmbal.diagnosis.probes import groups_of, probe
from mmbal.diagnosis.schema import Estimates, Gap, RepresentationGap
from mmbal.errors import DataError

FOLDS = 5


def best_decision(predictions: Predictions, calibration: Predictions | None, rule: str, seed: int) -> Array:
    """Log-probabilities ``(N, C)`` of a rule: fitted on ``calibration``, else cross-fitted in the rows."""
    if calibration is not None:
        log_p: Array = fit_rule(calibration, rule).apply(predictions)
        return log_p
    return cross_fit(replace(predictions, group=groups_of(predictions.group)), rule, FOLDS, seed)


def decision_gap(figures: Figures, as_is: Array, best: Array) -> tuple[Gap | None, dict[str, Gap]]:
    """What the decision ``best (N, C)`` gains over ``as_is (N, C)``, overall and by class."""
    labels = figures.labels
    right = correct(best, labels) - correct(as_is, labels)
    nats = log_likelihood(best, labels) - log_likelihood(as_is, labels)

    def gap(path: str, rows: Array | None = None) -> Gap | None:
        accuracy = figures.mean(f"{path}.accuracy", right, rows)
        gained = figures.mean(f"{path}.nats", nats, rows)
        return None if accuracy is None else Gap(accuracy=accuracy, nats=gained)

    each = {c: gap(f"classes.{c}.decision_gap", np.flatnonzero(labels == k)) for k, c in enumerate(figures.classes)}
    return gap("decision_gap"), {c: g for c, g in each.items() if g is not None}


@dataclass(frozen=True)
class Readout:
    """What the encoders give when read out alike: log-probabilities per modality and fused, of some of the rows."""

    rows: Array
    model: dict[str, Array]
    reference: dict[str, Array]
    model_fused: Array
    reference_fused: Array
    here: dict[str, Array]
    by: str


def pair_rows(predictions: Predictions, reference: Predictions) -> tuple[Array, Array]:
    """Rows of both with the same id, in the order of the first.

    Raises DataError where no ids are shared, or where a shared one has another label or the classes differ.
    """
    where = {name: i for i, name in enumerate(reference.ids.tolist())}
    own = np.array([i for i, name in enumerate(predictions.ids.tolist()) if name in where], dtype=np.int64)
    other = np.array([where[predictions.ids[i]] for i in own], dtype=np.int64)
    if not len(own):
        raise DataError("No sample of the two predictions has the same id.", "Write 'ids' into both.")
    if predictions.classes != reference.classes or (predictions.labels[own] != reference.labels[other]).any():
        raise DataError("The same ids have different labels or classes in the two predictions.")
    return own, other


def read_out(predictions: Predictions, reference: Predictions, probes: dict[str, Array], seed: int) -> Readout:
    """Read out the encoders of both on the samples they share; ``probes`` are those of the model's features.

    Raises DataError where no samples or no modalities are shared.
    """
    own, other = pair_rows(predictions, reference)
    shared = [m for m in predictions.modalities if m in reference.modalities]
    if not shared:
        raise DataError("The reference has none of the modalities.", f"It has: {', '.join(reference.modalities)}.")
    model, separate = _only(predictions.take(own), shared), _only(reference.take(other), shared)
    group = model.group if model.group is not None else separate.group
    model, separate = replace(model, group=groups_of(group)), replace(separate, group=groups_of(group))
    by_probe = all(m in model.features and m in separate.features for m in shared)
    if by_probe:
        c = len(model.classes)
        full = len(own) == len(predictions)
        votes = {m: probes[m] if full else probe(model.features[m], model.labels, c, model.group, seed) for m in shared}
        model = replace(model, logits=votes)
        others = {m: probe(separate.features[m], separate.labels, c, separate.group, seed) for m in shared}
        separate = replace(separate, logits=others)
    return Readout(
        rows=own,
        model={m: cross_fit(_only(model, [m]), "temperature", FOLDS, seed) for m in shared},
        reference={m: cross_fit(_only(separate, [m]), "temperature", FOLDS, seed) for m in shared},
        model_fused=cross_fit(model, "pool", FOLDS, seed),
        reference_fused=cross_fit(separate, "pool", FOLDS, seed),
        here={m: model.present_mask()[:, i] & separate.present_mask()[:, i] for i, m in enumerate(shared)},
        by="linear probes" if by_probe else "own decisions",
    )


def _only(predictions: Predictions, names: list[str]) -> Predictions:
    """The decisions of some modalities alone, as rules take them."""
    return replace(
        predictions,
        modalities=tuple(names),
        logits={m: predictions.logits[m] for m in names},
        present={m: mask for m, mask in predictions.present.items() if m in names},
        fused=None,
        contribution={},
        subsets={},
        weight={},
        bias=None,
        features={m: z for m, z in predictions.features.items() if m in names},
    )


def representation_gap(figures: Figures, readout: Readout) -> tuple[RepresentationGap | None, dict[str, Gap]]:
    """What the reference's encoders gain over the model's: overall with each modality alone, and fused by class."""
    labels = figures.labels[readout.rows]

    def gains(model: Array, reference: Array) -> tuple[Array, Array]:
        right = correct(reference, labels) - correct(model, labels)
        return right, log_likelihood(reference, labels) - log_likelihood(model, labels)

    def gap(path: str, gained: tuple[Array, Array], inside: Array) -> Gap | None:
        rows = readout.rows[inside]
        found = [
            figures.add(f"{path}.{unit}", figures.boot.means(values[inside], rows), len(rows))
            for unit, values in zip(("accuracy", "nats"), gained, strict=True)
        ]
        return None if found[0] is None else Gap(accuracy=found[0], nats=found[1])

    fused = gains(readout.model_fused, readout.reference_fused)
    whole = gap("representation_gap", fused, np.ones(len(labels), dtype=bool))
    each = {
        m: gap(f"representation_gap.modalities.{m}", gains(readout.model[m], readout.reference[m]), readout.here[m])
        for m in readout.model
    }
    classes = {c: gap(f"classes.{c}.representation_gap", fused, labels == k) for k, c in enumerate(figures.classes)}
    known = {m: g for m, g in each.items() if g is not None}
    return (
        None if whole is None else RepresentationGap(**whole.model_dump(), modalities=known, by=readout.by),
        {c: g for c, g in classes.items() if g is not None},
    )


def reference_accuracy(figures: Figures, readout: Readout) -> Estimates:
    """Accuracy of each of the reference's encoders, read out, over the samples that have the modality."""
    found = {}
    for m, log_p in readout.reference.items():
        rows = readout.rows[readout.here[m]]
        right = correct(log_p[readout.here[m]], figures.labels[rows])
        found[m] = figures.add(f"accuracy.reference.{m}", figures.boot.means(right, rows), len(rows))
    return present(found)


def shortfall(figures: Figures) -> Gap | None:
    """The sum of the two gaps with its interval, from their replicates."""
    kept = figures.replicates
    total = {}
    for unit in ("accuracy", "nats"):
        parts = [kept.get(f"{gap}.{unit}") for gap in ("decision_gap", "representation_gap")]
        if parts[0] is None or parts[1] is None:
            return None
        total[unit] = figures.add(f"shortfall.{unit}", parts[0] + parts[1])
    return Gap.model_validate(total)
