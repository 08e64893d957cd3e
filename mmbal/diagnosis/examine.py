"""The diagnosis itself: every section measured on one split with one bootstrap table, then put into words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import mmbal
from mmbal.diagnosis import decomposition, schema
from mmbal.diagnosis.absence import absence_of
from mmbal.diagnosis.balance import Shares, adjusted_p_values, shares_of
from mmbal.diagnosis.calibration import calibration_of
from mmbal.diagnosis.coalitions import MAX_MODALITIES, Decision, correct, decision_of, log_likelihood
from mmbal.diagnosis.discrepancy import discrepancy_of
from mmbal.diagnosis.figures import Figures, present
from mmbal.diagnosis.human import human_of
from mmbal.diagnosis.norms import geometry_of, norms_of
from mmbal.diagnosis.preference import preference_of, samples_of
from mmbal.diagnosis.probes import Probe, groups_of, read
from mmbal.diagnosis.schema import Diagnosis, Estimates, NotComputed
from mmbal.diagnosis.significance import Bootstrap, Estimate
from mmbal.diagnosis.verdict import advice_of, verdict_of
from mmbal.maths.resampling import SHARE
from mmbal.maths.shapley import shapley_values
from mmbal.predictions.format import Array, Predictions, Source, subsets_of

CALIBRATION_SPLITS = ("calibration", "val")
ADDITIVE = "contribution_<modality> (or subset_<a>+<b> for every coalition)"


def diagnose(
    predictions: Source,
    *,
    reference: Source | None = None,
    split: str = "test",
    calibration: Source | None = None,
    human: bool = False,
    rule: str = "adaptive",
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    source: str | None = None,
) -> Diagnosis:
    """Say which modality the model listens to, whether that is deserved, and what it costs.

    ``predictions``, ``reference``, ``calibration``: Predictions, a mapping of arrays, or the path of a predictions file,
    a feature file or a run. ``reference``: separately trained encoders with the same ids. ``calibration``: rows on which
    the decision rule that the model is compared with is fitted; the split ``calibration`` or ``val`` of ``predictions``
    where there is one, else the rule is cross-fitted within the diagnosed split. ``human`` adds CREMA-D's raters.
    ``rule``: the decision rule that the model's own decision is compared with.
    ``source`` is how the verdict's advice calls the predictions.
    Raises UsageError (no such split, no samples), DataError (labels that can't be right, a reference that does not fit,
    ``human`` on other data).
    """
    if source is None and isinstance(predictions, (str, os.PathLike)):
        source = os.fspath(predictions)
    found = read(predictions, seed)
    found.require_plausible()
    encoders, held_out = (None if x is None else read(x, seed) for x in (reference, calibration))
    chosen, held_out = choose(found, split, held_out)
    examination = Examination.of(chosen, held_out, rule, bootstrap, seed, confidence)
    return examination.report(split, encoders, human, source or str(found.meta.get("run", "PREDICTIONS.npz")))


def choose(
    predictions: Predictions, split: str, calibration: Predictions | None = None
) -> tuple[Predictions, Predictions | None]:
    """The rows to diagnose, and those to fit a rule on where there are such."""
    chosen = predictions.select(split)
    if calibration is None:
        found = [s for s in CALIBRATION_SPLITS if s in predictions.splits() and s not in chosen.split]
        calibration = predictions.select(found[0]) if found else None
    return replace(chosen, group=groups_of(chosen.group)), calibration


@dataclass
class Examination:
    """One split under examination: its decision, its bootstrap table, and what was and was not found so far.

    Every section's method returns the figures over all classes, and files those by class in ``per_class``.
    """

    predictions: Predictions
    calibration: Predictions | None
    decision: Decision
    figures: Figures
    rule: str
    seed: int
    not_computed: list[NotComputed] = field(default_factory=list)
    per_class: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        predictions: Predictions,
        calibration: Predictions | None,
        rule: str,
        bootstrap: int,
        seed: int,
        confidence: float,
    ) -> Examination:
        """Draw the bootstrap table and find the decision; raises UsageError where there is no sample."""
        decision = decision_of(predictions)
        boot = Bootstrap.of(len(predictions), predictions.group, bootstrap, seed, confidence)
        figures = Figures(boot, predictions.labels, predictions.classes)
        return cls(predictions, calibration, decision, figures, rule, seed)

    @property
    def names(self) -> tuple[str, ...]:
        return self.predictions.modalities

    def lacks(self, what: str, reason: str, needs: str = "") -> None:
        self.not_computed.append(NotComputed(what=what, reason=reason, needs=needs))

    def file(self, section: str, found: Mapping[str, Any], modality: str | None = None) -> None:
        """Keep figures by class, of one modality where it is given."""
        for c, value in found.items():
            own = self.per_class.setdefault(c, {})
            if modality is None:
                own[section] = value
            else:
                own.setdefault(section, {})[modality] = value

    def report(self, split: str, reference: Predictions | None, human: bool, source: str) -> Diagnosis:
        """Measure every section and put the verdict into words."""
        p, figures = self.predictions, self.figures
        probes = self.probes()
        readout = self.read_out(reference, probes)
        sections: dict[str, Any] = {
            **self.balance(),
            "accuracy": self.accuracy(probes, readout),
            "decision_gap": self.decision_gap(),
            "representation_gap": self.representation_gap(readout),
            "shapley": self.shapley(),
            "calibration": self.calibrations(),
            "preference": self.preference(),
            "samples": samples_of(figures, p, self.decision),
            "discrepancy": discrepancy_of(figures, p, self.decision, reference),
            "norms": self.norms(),
            "geometry": self.geometry(),
            "missing": self.missing(),
        }
        counts = dict(zip(p.classes, np.bincount(p.labels, minlength=len(p.classes)).tolist(), strict=True))
        draft = Diagnosis(
            mmbal=mmbal.__version__,
            verdict=[],
            advice=[],
            **sections,
            shortfall=decomposition.shortfall(figures),
            classes={c: schema.ClassDiagnosis(samples=n, **self.per_class.get(c, {})) for c, n in counts.items()},
            human=human_of(p, figures, sections["preference"], self.per_class) if human else None,
            not_computed=self.not_computed,
            data=self.described(split, counts, readout),
            settings=schema.Settings(
                bootstrap=len(figures.boot.counts) - 1,
                seed=self.seed,
                confidence=figures.boot.confidence,
                resampled=figures.boot.unit,
                rule=self.rule,
                fitted_on="cross-fitted in the split" if self.calibration is None else "calibration split",
            ),
        )
        return draft.model_copy(update={"verdict": verdict_of(draft), "advice": advice_of(draft, source)})

    def described(self, split: str, counts: dict[str, int], readout: decomposition.Readout | None) -> schema.Data:
        p = self.predictions
        mask = p.present_mask()
        return schema.Data(
            split=split,
            samples=len(p),
            modalities=list(self.names),
            classes=counts,
            absent={m: int((~mask[:, k]).sum()) for k, m in enumerate(self.names)},
            groups=None if p.group is None else len(np.unique(p.group)),
            decision=self.decision.source,
            contributions=self.decision.parts,
            reference=None
            if readout is None
            else f"read out by {readout.by} on {len(readout.rows)} of {len(p)} samples",
            meta=p.meta,
            warnings=list(p.warnings),
        )

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
                found[m] = Probe.fit(p.features[m], p.labels, len(p.classes), here, p.group, self.seed)
        return found

    def here(self, m: str) -> Array:
        """Which samples have the modality ``(N,)``."""
        value: Array = self.predictions.present_mask()[:, self.names.index(m)]
        return value

    def read_out(self, reference: Predictions | None, probes: dict[str, Probe]) -> decomposition.Readout | None:
        if reference is None:
            needs = "predictions of separately trained encoders with the same ids (mmbal pretrain; --reference)"
            self.lacks("representation_gap", "no reference is known", needs)
            return None
        return decomposition.read_out(self.predictions, reference, probes, self.seed)

    def decision_gap(self) -> schema.Gap | None:
        p = self.predictions
        if len(np.unique(p.labels)) < 2:
            self.lacks("decision_gap", "a rule can't be fitted to fewer than two classes")
            return None
        best = decomposition.best_decision(p, self.calibration, self.rule, self.seed)
        gap, by_class = decomposition.decision_gap(self.figures, self.decision.fused, best)
        self.file("decision_gap", by_class)
        return gap

    def representation_gap(self, readout: decomposition.Readout | None) -> schema.RepresentationGap | None:
        if readout is None:
            return None
        gap, by_class = decomposition.representation_gap(self.figures, readout)
        self.file("representation_gap", by_class)
        return gap

    def preference(self) -> schema.Preference | None:
        found, by_class = preference_of(self.figures, self.predictions, self.decision)
        for m, table in by_class.items():
            self.file("follows", table, m)
        if found is None and len(self.names) > 1:
            self.lacks("preference", "no sample has two modalities")
        return found

    def norms(self) -> dict[str, schema.Norms]:
        found, by_class = norms_of(self.figures, self.predictions, self.decision)
        for m, table in by_class.items():
            self.file("norms", table, m)
        return found

    def accuracy(self, probes: dict[str, Probe], readout: decomposition.Readout | None) -> schema.Accuracy:
        p, figures = self.predictions, self.figures
        fused = correct(self.decision.fused, p.labels)
        self.file("fused", figures.by_class("classes.{}.fused", fused, bounds=SHARE))
        right = {m: correct(p.logits[m], p.labels) for m in self.names}
        found: dict[str, Estimates] = {"alone": {}, "probe": {}, "reference": {}}
        for kind, table in (("alone", right), ("probe", {m: correct(x.logits, p.labels) for m, x in probes.items()})):
            for m, values in table.items():
                estimate = figures.mean(f"accuracy.{kind}.{m}", values, np.flatnonzero(self.here(m)), SHARE)
                if estimate is None:
                    self.lacks(f"accuracy.{kind}.{m}", "every sample lacks the modality")
                    continue
                found[kind][m] = estimate
                self.file(kind, figures.by_class(f"classes.{{}}.{kind}.{m}", values, self.here(m), SHARE), m)
        if readout is not None:
            found["reference"] = decomposition.reference_accuracy(figures, readout)
        best = max(found["alone"], key=lambda m: found["alone"][m].value)
        return schema.Accuracy.model_validate(
            {
                **found,
                "fused": figures.mean("accuracy.fused", fused, bounds=SHARE),
                "best": best,
                "fusion_gain": self.fusion_gain(fused, right[best], np.flatnonzero(self.here(best))),
                "chance": float(np.bincount(p.labels).max() / len(p)),
            }
        )

    def fusion_gain(self, fused: Array, alone: Array, rows: Array) -> Estimate | None:
        """Accuracy of the fused decision less that of the best modality; its interval allows for picking the best."""
        figures = self.figures
        gain = figures.boot.means((fused - alone)[rows], rows)
        figures.add("accuracy.fusion_gain", gain)
        doubt = (1 - figures.boot.confidence) / len(self.names)  # Bonferroni
        return replace(figures.boot, confidence=1 - doubt).estimate(gain)

    def balance(self) -> dict[str, Any]:
        """The sections ``index``, ``contribution``, ``capability`` and ``balance``."""
        empty: dict[str, Any] = {"index": None, "contribution": {}, "capability": {}, "balance": {}}
        if len(self.names) == 1:
            self.lacks("index", "there is one modality only")
            return empty
        if not self.decision.contribution:
            self.lacks("index", "the modalities' parts of the fused decision are not known", ADDITIVE)
            return empty
        shares = shares_of(self.decision, self.predictions, self.figures.boot)
        overall_p, class_p = adjusted_p_values(shares)
        found = self._shares("", shares.contribution, shares.capability, shares, overall_p, len(self.predictions))
        flags = [b.flag for b in found["balance"].values()]
        for k, c in enumerate(self.predictions.classes):
            said, worth = shares.class_contribution[:, k], shares.class_capability[:, k]
            n = int(shares.class_samples[0, k])
            own = self._shares(f"classes.{c}.", said, worth, shares, class_p[k], n)
            flags += [b.flag for b in own["balance"].values()]
            for section, table in own.items():
                self.file(section, {c: table})
        index = self.figures.add("index", shares.index)
        if index is None or not found["capability"]:
            self.lacks("index", "no modality's votes carry any evidence, so none has a worth")
            return {**found, "index": None}
        # An average of distances is never negative; where no difference stands the test, zero is not excluded.
        return {**found, "index": index if any(flags) or index.low is None else index.model_copy(update={"low": 0.0})}

    def _shares(
        self, path: str, said: Array, worth: Array, shares: Shares, p_values: list[float | None], support: int
    ) -> dict[str, Any]:
        contribution, capability, balance = {}, {}, {}
        level = 1 - self.figures.boot.confidence
        for k, m in enumerate(self.names):
            contribution[m] = self.figures.add(f"{path}contribution.{m}", said[:, k], support)
            capability[m] = self.figures.add(f"{path}capability.{m}", worth[:, k], support)
            difference = self.figures.add(f"{path}balance.{m}.difference", said[:, k] - worth[:, k], support)
            weight = self.figures.add(f"{path}balance.{m}.weight", shares.relative_weight[:, k])
            if difference is not None and weight is not None:
                p = p_values[k]
                shown = p is not None and p < level
                flag = ("too little" if difference.value < 0 else "too much") if shown else None
                balance[m] = schema.Balance(difference=difference, weight=weight, p=p, flag=flag)
        return {"contribution": present(contribution), "capability": present(capability), "balance": balance}

    def shapley(self) -> schema.Shapley | None:
        if len(self.names) > MAX_MODALITIES:
            self.lacks("shapley", f"exact values are computed for at most {MAX_MODALITIES} modalities")
            return None
        labels, right, likely = self.predictions.labels, {}, {}
        for names in subsets_of(self.names):
            logits = self.decision.coalition(names)
            if logits is None:
                self.lacks("shapley", "the decision without some modalities is not known", ADDITIVE)
                return None
            right[names], likely[names] = correct(logits, labels), log_likelihood(logits, labels)
        gains, nats = shapley_values(right, self.names), shapley_values(likely, self.names)
        figures = self.figures
        for m, values in gains.items():
            self.file("shapley", figures.by_class(f"classes.{{}}.shapley.{m}", values), m)
        return schema.Shapley(
            accuracy=present({m: figures.mean(f"shapley.accuracy.{m}", v) for m, v in gains.items()}),
            log_likelihood=present({m: figures.mean(f"shapley.log_likelihood.{m}", v) for m, v in nats.items()}),
            none={"accuracy": float(right[()].mean()), "log_likelihood": float(likely[()].mean())},
            helps=present({m: figures.mean(f"shapley.helps.{m}", v > 0, bounds=SHARE) for m, v in nats.items()}),
        )

    def calibrations(self) -> dict[str, schema.Calibration]:
        p = self.predictions
        everyone = np.ones(len(p), dtype=bool)
        found = {m: calibration_of(self.figures, f"calibration.{m}", p.logits[m], self.here(m)) for m in self.names}
        found["fused"] = calibration_of(self.figures, "calibration.fused", self.decision.fused, everyone)
        return {name: value for name, value in found.items() if value is not None}

    def geometry(self) -> dict[str, schema.Geometry]:
        p, found = self.predictions, {}
        for m in self.names:
            if m not in p.features:
                self.lacks(f"geometry.{m}", "the predictions hold no features", f"features_{m}")
                continue
            geometry = geometry_of(self.figures, m, p.features[m], self.here(m), p.group, self.seed)
            if geometry is not None:
                found[m] = geometry
        return found

    def missing(self) -> dict[str, schema.Absence]:
        p, found = self.predictions, {}
        if len(self.names) == 1:
            return {}
        for m in self.names:
            absence = absence_of(self.figures, p, self.decision, m, self.seed)
            if absence is None:
                self.lacks(f"missing.{m}", "the decision without the modality is not known", ADDITIVE)
                continue
            found[m] = absence
            if absence.mean is None:
                self.lacks(f"missing.{m}.mean", "the fusion is not additive, so the model itself would have to run")
            elif absence.zeroed is None:
                self.lacks(f"missing.{m}.zeroed", "the head's bias is not known", "bias")
        return found
