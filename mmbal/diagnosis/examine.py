"""The diagnosis itself: every section measured on one split with one bootstrap table, then put into words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmbal.decision.calibration_split import sparse
from mmbal.diagnosis import decomposition
from mmbal.diagnosis.coalitions import (
    ADDITIVE,
    MAX_MODALITIES,
    Decision,
    correct,
    decision_of,
    log_likelihood,
)
from mmbal.diagnosis.document import SECTIONS, ClassDiagnosis, Diagnosis
from mmbal.diagnosis.figures import Figures
from mmbal.diagnosis.probes import Probe
from mmbal.diagnosis.schema import NO_LABELS, Data, NotComputed, Settings
from mmbal.diagnosis.verdict import advice_of, verdict_of
from mmbal.maths.bootstrap import Bootstrap
from mmbal.maths.folds import groups_of
from mmbal.predictions.format import Array, Predictions, Source, subsets_of
from mmbal.predictions.order import canonical
from mmbal.progress import steps
from mmbal.runs import read
from mmbal.version import __version__

CALIBRATION_SPLITS = ("calibration", "val")
FOLD_SEED = 0  # folds are the same whatever the seed of the replicates: other folds would give another verdict


def diagnose(
    predictions: Source,
    *,
    reference: Source | None = None,
    reference_name: str | None = None,
    split: str = "test",
    calibration: Source | None = None,
    human: bool = False,
    baseline: Diagnosis | str | os.PathLike[str] | None = None,
    rule: str = "adaptive",
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    source: str | None = None,
    run: Path | None = None,
) -> Diagnosis:
    """Say which modality the model follows, whether the evidence supports that, and what it costs.

    ``predictions``, ``reference``, ``calibration``: Predictions, a mapping of arrays, or the path of a predictions file,
    a feature file or a run. ``reference``: separately trained encoders with the same ids; ``reference_name`` names them
    in the diagnosis. ``calibration``: samples on which the decision rule is fitted; the split ``calibration`` or ``val`` of
    ``predictions`` where not given. Without either, the rule is cross-fitted within the diagnosed split. ``human`` adds
    CREMA-D's raters. ``baseline``: an earlier diagnosis, or the path of one, to say what has changed since. ``rule``: the
    decision rule that the model's own decision is compared with. ``seed`` draws the ``bootstrap`` replicates; no sentence
    of the verdict depends on it. ``confidence``: level of the intervals and tests. ``source`` is the name of the
    predictions in the verdict's advice. ``run``: the folder of the run that they come from. Raises UsageError (no such
    split, no samples), DataError (labels that can't be right, a reference that does not fit, ``human`` on other data).

    >>> labels = np.arange(200) % 2
    >>> sound, face = np.eye(2)[labels], np.eye(2)[np.arange(200) // 2 % 2]  # always right, right in half
    >>> arrays = {"labels": labels, "logits_sound": sound, "logits_face": face, "fused": sound + 3 * face}
    >>> diagnosis = mmbal.diagnose(arrays)
    >>> diagnosis.accuracy.fused.value, diagnosis.preference.follows["face"].value
    (0.5, 1.0)
    """
    if source is None and isinstance(predictions, (str, os.PathLike)):
        source = os.fspath(predictions)
    found = read(predictions, unlabelled=True)
    found.require_plausible()
    encoders, held_out = (None if x is None else read(x) for x in (reference, calibration))
    chosen, held_out = choose(found, split, held_out)
    examination = Examination.of(
        chosen,
        held_out,
        rule,
        bootstrap,
        seed,
        confidence,
        reference=encoders,
        human=human,
        run=run,
        earlier=baseline if baseline is None or isinstance(baseline, Diagnosis) else Diagnosis.load(Path(baseline)),
    )
    return examination.report(split, source or str(found.meta.get("run", "PREDICTIONS.npz")), reference_name)


def choose(
    predictions: Predictions, split: str, calibration: Predictions | None = None
) -> tuple[Predictions, Predictions | None]:
    """The samples to diagnose, and those to fit a rule on where there are such."""
    chosen = predictions.select(split)
    if calibration is None and predictions.labelled:
        found = [s for s in CALIBRATION_SPLITS if s in predictions.splits() and s not in chosen.split]
        calibration = predictions.select(found[0]) if found else None
    return canonical(replace(chosen, group=groups_of(chosen.group))), calibration


class Values(NamedTuple):
    """Whether each coalition is right ``(N,)``, and its log-likelihood ``(N,)`` in nats."""

    right: dict[tuple[str, ...], Array]
    likely: dict[tuple[str, ...], Array]


@dataclass
class Examination:
    """One split under examination: what the sections need to measure, and what they have found so far.

    ``found`` holds the keys of the sections measured so far, ``per_class`` their figures by class.
    """

    predictions: Predictions
    calibration: Predictions | None
    decision: Decision
    figures: Figures
    rule: str
    seed: int
    reference: Predictions | None = None
    human: bool = False
    run: Path | None = None
    earlier: Diagnosis | None = None  # the baseline of what has changed
    fold_seed: int = FOLD_SEED
    found: dict[str, Any] = field(default_factory=dict)
    not_computed: list[NotComputed] = field(default_factory=list)
    per_class: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        predictions: Predictions,
        calibration: Predictions | None,
        rule: str = "adaptive",
        bootstrap: int = 1000,
        seed: int = 0,
        confidence: float = 0.95,
        **given: Any,
    ) -> Examination:
        """Draw the bootstrap table and find the decision; ``given``: reference, human, run, earlier.

        Raises UsageError where there is no sample.
        """
        decision = decision_of(predictions)
        boot = Bootstrap.of(len(predictions), predictions.group, bootstrap, seed, confidence)
        figures = Figures(boot, predictions.labels, predictions.classes)
        return cls(predictions, calibration, decision, figures, rule, seed, **given)

    @property
    def names(self) -> tuple[str, ...]:
        return self.predictions.modalities

    @property
    def learned(self) -> bool:
        """Whether the decision is shown to be better than chance."""
        above = self.found["accuracy"].above_chance if "accuracy" in self.found else None
        return above is not None and above.sign > 0

    def here(self, m: str) -> Array:
        """Which samples have the modality ``(N,)``."""
        return self.predictions.present_mask()[:, self.names.index(m)]

    @property
    def single(self) -> str:
        """Why nothing can be said of several modalities together; empty where some sample has two."""
        if len(self.names) == 1:
            return "there is one modality only"
        return "" if (self.predictions.present_mask().sum(axis=1) > 1).any() else "no sample has two modalities"

    def without_values(self) -> tuple[str, str]:
        """Why :attr:`values` is None, and what they would need."""
        if len(self.names) > MAX_MODALITIES:
            return f"exact values are computed for at most {MAX_MODALITIES} modalities", ""
        return "the decision without some modalities is not known", ADDITIVE

    def lacks(self, what: str | Iterable[str], reason: str, needs: str = "") -> None:
        """Note that a figure, or each of several, can't be computed."""
        for path in [what] if isinstance(what, str) else what:
            self.not_computed.append(NotComputed(what=path, reason=reason, needs=needs))

    def file(self, key: str, found: Mapping[str, Any], modality: str | None = None) -> None:
        """Keep figures by class, of one modality where it is given."""
        for c, value in found.items():
            own = self.per_class.setdefault(c, {})
            if modality is None:
                own[key] = value
            else:
                own.setdefault(key, {})[modality] = value

    @cached_property
    def probes(self) -> dict[str, Probe]:
        """A linear probe for each modality with features."""
        p, found = self.predictions, {}
        for m in self.names:
            here = self.here(m)
            if m not in p.features:
                self.lacks(f"accuracy.probe.{m}", "the predictions hold no features", f"features_{m}")
            elif len(np.unique(p.labels[here])) < 2:
                self.lacks(f"accuracy.probe.{m}", "fewer than two classes have samples with this modality")
            else:
                found[m] = Probe.fit(p.features[m], p.labels, len(p.classes), here, p.group, self.fold_seed)
        return found

    @cached_property
    def readout(self) -> decomposition.Readout | None:
        """What the encoders of the model and of the reference give when they are read out alike."""
        if self.reference is None:
            return None
        return decomposition.read_out(self.predictions, self.reference, self.probes, self.fold_seed)

    def under(self, baseline: str) -> Diagnosis:
        """The diagnosis of the same samples under another baseline."""
        held_out = self.calibration
        if held_out is not None:
            held_out = held_out.baselines.get(baseline, held_out)
        other = self.predictions.baselines[baseline]
        return Examination(
            other, held_out, decision_of(other), replace(self.figures, replicates={}, means={}), self.rule, self.seed
        ).report(str(other.split[0]), "")

    @cached_property
    def best(self) -> Array:
        """Log-probabilities ``(N, C)`` of the rule that the decision is compared with."""
        return decomposition.best_decision(self.predictions, self.calibration, self.rule, self.fold_seed)

    @cached_property
    def values(self) -> Values | None:
        """What each coalition of modalities is worth, sample by sample; None where the coalitions are not known."""
        if len(self.names) > MAX_MODALITIES:
            return None
        right, likely = {}, {}
        for names in subsets_of(self.names):
            known = self.value(names)
            if known is None:
                return None
            right[names], likely[names] = known
        return Values(right, likely)

    def value(self, names: tuple[str, ...]) -> tuple[Array, Array] | None:
        """Whether a coalition's decision is right ``(N,)``, and its log-likelihood ``(N,)``; None where it is not known."""
        logits, labels = self.decision.coalition(names), self.predictions.labels
        return None if logits is None else (correct(logits, labels), log_likelihood(logits, labels))

    def report(self, split: str, source: str, reference_name: str | None = None) -> Diagnosis:
        """Measure every section and put the verdict into words."""
        labelled = self.predictions.labelled
        for section in steps(SECTIONS, [section.effort for section in SECTIONS]):
            if section.needs_labels and not labelled:
                if not section.on_request:
                    self.lacks(section.fields, *NO_LABELS)
                continue
            self.found |= {key: value for key, value in section.measure(self).items() if value is not None}
        p, boot = self.predictions, self.figures.boot
        counts = dict(
            zip(p.classes, np.bincount(p.labels[p.labels >= 0], minlength=len(p.classes)).tolist(), strict=True)
        )
        draft = Diagnosis(
            mmbal=__version__,
            verdict=[],
            advice=[],
            **self.found,
            classes={c: ClassDiagnosis(samples=n, **self.per_class.get(c, {})) for c, n in counts.items()},
            not_computed=self.not_computed,
            data=self.described(split, counts, reference_name),
            settings=Settings(
                bootstrap=boot.replicates,
                seed=self.seed,
                confidence=boot.confidence,
                resampled=boot.unit,
                rule=self.rule,
                fitted_on="cross-fitted in the split" if self.calibration is None else "calibration split",
                fitted_samples=len(p if self.calibration is None else self.calibration),
            ),
        )
        return draft.model_copy(update={"verdict": verdict_of(draft), "advice": advice_of(draft, source)})

    def described(self, split: str, counts: dict[str, int], reference_name: str | None) -> Data:
        """What was diagnosed."""
        p, readout = self.predictions, self.readout
        mask = p.present_mask()
        by = None if readout is None else f"read out by {readout.by} on {len(readout.rows)} of {len(p)} samples"
        return Data(
            split=split,
            samples=len(p),
            modalities=list(self.names),
            classes=counts,
            missing={m: int((~mask[:, k]).sum()) for k, m in enumerate(self.names)},
            labelled=p.labelled,
            groups=None if p.group is None else len(np.unique(p.group)),
            decision=self.decision.source,
            contributions=self.decision.parts,
            reference=by if reference_name is None or by is None else f"{reference_name}, {by}",
            meta=p.meta,
            warnings=[*p.warnings, *filter(None, [self.calibration and sparse(self.calibration).rstrip(".")])],
        )
