"""What the data sets of the benchmark are like, and what each family of methods gains on them.

    python benchmarks/benchmark_sets.py runs/benchmark

Of a data set: how much its weakest modality tells, measured by its own accuracy under `unimodal` training against the share
of the most frequent class; and where joint training loses accuracy, measured by the diagnosis of its runs with the
`unimodal` run of the same seed as the reference (encoders: representation gap; decision layer: decision gap).

A family is what a method's page says. *Own losses* are the methods with a loss ``own/<modality>``, the cross-entropy of a
modality's own decision. The gain of a family is that of the mean accuracy of its methods over joint training.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mmbal.diagnosis import diagnose
from mmbal.diagnosis.coalitions import correct, decision_of
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.significance import holm
from mmbal.predictions.format import Predictions
from mmbal.registry import methods
from mmbal.report.paired import Difference, align
from mmbal.report.study import Run, runs_of, study_of
from mmbal.report.tables import markdown
from mmbal.runs import find_predictions, read_metrics
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, SHARE, Form, p_value

JOINT, ALONE = "joint", "unimodal"
OWN, NO_OWN = "own losses", "no own losses"
LEVEL = 0.05
HALF = 0.5  # a weakest modality with less than this part of the strongest one's gain over chance tells little


@dataclass(frozen=True)
class Set:
    """The runs of one data set, whose samples are those of the test split."""

    name: str
    runs: list[Run]
    aligned: dict[str, list[Predictions]]  # by variant, a file a seed
    member: np.ndarray  # the independent unit of each sample

    @classmethod
    def of(cls, folder: Path, variants: set[str]) -> Set:
        """Of the finished runs of ``variants`` in the folder of one data set."""
        runs = sorted((r for r in runs_of(folder)[0] if r.variant in variants), key=lambda r: (r.variant, r.seed))
        aligned: dict[str, list[Predictions]] = {}
        each = align([find_predictions(run.folder).select("test") for run in runs])
        for run, found in zip(runs, each, strict=True):
            aligned.setdefault(run.variant, []).append(found)
        group = each[0].group
        member = np.arange(len(each[0])) if group is None else np.unique(group, return_inverse=True)[1]
        return cls(folder.name, runs, aligned, member)

    @cached_property
    def right(self) -> dict[str, np.ndarray]:
        """Whether each variant is right, ``(seeds, samples)``."""
        return {
            v: np.stack([correct(decision_of(p).fused, p.labels) for p in files]).astype(float)
            for v, files in self.aligned.items()
        }

    def gain(self, variants: Iterable[str]) -> Difference:
        """Of the mean accuracy of ``variants`` over that of joint training."""
        mean = np.mean([self.right[v] for v in sorted(variants)], axis=0)
        return Difference.of_scores(self.right[JOINT], mean, self.member, True)

    @cached_property
    def alone(self) -> dict[str, Difference]:
        """How far each modality alone is above the share of the most frequent class, under unimodal training."""
        files = self.aligned.get(ALONE, [])
        found = {}
        for k, m in enumerate(files[0].modalities if files else ()):
            there = files[0].present_mask()[:, k]
            own = np.stack([correct(p.logits[m][there], p.labels[there]) for p in files]).astype(float)
            labels = files[0].labels[there]
            frequent = (labels == np.bincount(labels).argmax()).astype(float)
            chance = np.broadcast_to(frequent, own.shape)
            found[m] = Difference.of_scores(chance, own, self.member[there], True)
        return found

    @cached_property
    def ends(self) -> tuple[str, str] | None:
        """The weakest and the strongest modality alone; None without runs of unimodal training."""
        ranked = sorted(self.alone, key=lambda m: self.alone[m].value)
        return (ranked[0], ranked[-1]) if ranked else None

    @property
    def informative(self) -> bool | None:
        """Whether the weakest modality alone is shown to be above chance."""
        return None if self.ends is None else self.alone[self.ends[0]].estimate(0.95).low > 0  # type: ignore[operator]

    @property
    def part(self) -> float | None:
        """The weakest modality's gain over chance as a part of the strongest one's."""
        return None if self.ends is None else self.alone[self.ends[0]].value / self.alone[self.ends[1]].value

    @cached_property
    def lost(self) -> dict[str, Difference | None]:
        """What joint training loses in the encoders and at the decision layer: the mean over seeds, and its variances."""
        folders = {(run.variant, run.seed): run.folder for run in self.runs}
        seeds = [run.seed for run in self.runs if run.variant == JOINT]
        gaps: dict[str, list[Estimate]] = {"encoders": [], "decision layer": []}
        for seed in seeds:
            found = diagnose(folders[JOINT, seed], reference=folders.get((ALONE, seed)), bootstrap=200)
            for where, gap in zip(gaps, (found.representation_gap, found.decision_gap), strict=True):
                gaps[where] += [gap.accuracy] if gap is not None else []
        return {where: self._pooled(of) if len(of) == len(seeds) else None for where, of in gaps.items()}

    def _pooled(self, of: Sequence[Estimate]) -> Difference:
        """The mean of a figure over seeds: its variance over samples, which all seeds share, and that over seeds."""
        samples = float(np.mean([(e.high - e.low) / 2 / 1.96 for e in of])) ** 2  # type: ignore[operator]
        values = np.array([e.value for e in of])
        spread = [values] if len(values) > 1 else []
        return Difference.of_parts(float(values.mean()), samples, len(np.unique(self.member)) - 1, spread)


def sets_table(sets: Sequence[Set]) -> Table:
    """What the sets are like."""

    def figure(found: Difference | None) -> Estimate | None:
        return None if found is None else found.estimate(0.95)

    def end(k: int) -> list[str | None]:
        return [
            None if s.ends is None else f"{s.ends[k]} {DIFFERENCE.text(s.alone[s.ends[k]].estimate(0.95))}"
            for s in sets
        ]

    return Table.of(
        [
            Column("set", [s.name for s in sets]),
            Column("modalities", [len(s.aligned[JOINT][0].modalities) for s in sets]),
            Column("test samples", [len(s.member) for s in sets], Form(0)),
            Column("joint %", [float(s.right[JOINT].mean()) for s in sets], SHARE.bare()),
            Column("weakest alone, above chance", end(0), left=True),
            Column("strongest alone, above chance", end(1), left=True),
            Column("weakest / strongest", [s.part for s in sets], Form(2)),
            Column("lost in the encoders (pp)", [figure(s.lost["encoders"]) for s in sets], DIFFERENCE.bare()),
            Column("at the decision layer (pp)", [figure(s.lost["decision layer"]) for s in sets], DIFFERENCE.bare()),
        ],
    )


def has_own_losses(run: Run) -> bool:
    """Whether a modality's own decision has a loss of its own in some epoch."""
    return any(name.startswith("loss/own/") for epoch in read_metrics(run.folder) for name in epoch["train"])


def families(sets: Sequence[Set]) -> dict[str, set[str]]:
    """The methods of each family, without joint training; first those with own losses and those without."""
    groups: dict[str, set[str]] = {NO_OWN: set(), OWN: set()}
    for run in (run for s in sets for run in s.runs if run.variant != JOINT):
        groups.setdefault(methods.entry(run.variant).about.family, set()).add(run.variant)
        if has_own_losses(run):
            groups[OWN].add(run.variant)
    groups[NO_OWN] = {v for s in sets for v in s.right} - groups[OWN] - {JOINT}
    return {name: found for name, found in groups.items() if found}


@dataclass(frozen=True)
class Families:
    """What each family gains over joint training on each set, with p corrected over all of these."""

    sets: Sequence[Set]
    members: dict[str, set[str]]
    gains: dict[tuple[str, str], Difference]  # by family and set
    p: dict[tuple[str, str], float]

    @classmethod
    def of(cls, sets: Sequence[Set]) -> Families:
        members = families(sets)
        gains = {(name, s.name): s.gain(of) for name, of in members.items() for s in sets}
        return cls(sets, members, gains, dict(zip(gains, holm([d.p for d in gains.values()]).tolist(), strict=True)))

    def pooled(self, family: str, sets: Iterable[Set] | None = None) -> Difference:
        """The mean gain of a family over sets, or over all."""
        return Difference.pooled([self.gains[family, s.name] for s in (self.sets if sets is None else sets)])

    def table(self) -> Table:
        """A row for each family, a column for each set; a star where the corrected p is below .05."""
        order = sorted(self.members, key=lambda f: (f not in (OWN, NO_OWN), -self.pooled(f).value))

        def cell(family: str, s: Set) -> str:
            star = " *" if self.p[family, s.name] < LEVEL else ""
            return DIFFERENCE.bare().text(self.gains[family, s.name].estimate(0.95)) + star

        each = [Column(s.name, [cell(f, s) for f in order]) for s in self.sets]
        mean = [self.pooled(f).estimate(0.95) for f in order]
        p = [p_value(x) for x in holm([self.pooled(f).p for f in order]).tolist()]
        columns = [
            Column("family", order),
            Column("methods", [len(self.members[f]) for f in order]),
            *each,
            *([Column("mean", mean, DIFFERENCE.bare())] if len(self.sets) > 1 else []),
            Column("p", p),
        ]
        return Table.of(columns)

    def sentences(self) -> list[str]:
        """What the corrected tests show, set by set, and between the sets where a condition holds and the others."""
        told = []
        for s in self.sets:
            shown = [f for f in self.members if self.p[f, s.name] < LEVEL]
            for family in sorted(shown, key=lambda f: -self.gains[f, s.name].value):
                gain = self.gains[family, s.name]
                verb = "gains" if gain.value > 0 else "loses"
                told.append(
                    f"On {s.name}, *{family}* {verb} against joint training "
                    f"({DIFFERENCE.text(gain.estimate(0.95))}, {p_is(self.p[family, s.name])})."
                )
            if not shown:
                told.append(f"On {s.name}, no family is shown to gain or to lose against joint training.")
        return told + [line for name, holds in conditions(self.sets) for line in self.between(name, holds)]

    def between(self, name: str, holds: dict[str, bool | None]) -> list[str]:
        """Whether a family gains more where a condition ``name`` holds than where it does not."""
        yes = [s for s in self.sets if holds[s.name]]
        no = [s for s in self.sets if holds[s.name] is False]
        where = f"Where {name} ({', '.join(s.name for s in yes) or 'no set'}; not {', '.join(s.name for s in no) or 'none'})"
        if not yes or not no:
            return [f"{where}: the sets do not differ in this. Nothing can be said of it."]
        found = {}
        for family in self.members:
            a, b = self.pooled(family, yes), self.pooled(family, no)
            found[family] = Difference(a.value - b.value, a.variances + b.variances, a.freedom + b.freedom)
        corrected = dict(zip(found, holm([d.p for d in found.values()]).tolist(), strict=True))
        shown = sorted((f for f in found if corrected[f] < LEVEL), key=lambda f: -found[f].value)
        return [
            f"{where}, *{f}* gains {'more' if found[f].value > 0 else 'less'} than elsewhere "
            f"({DIFFERENCE.text(found[f].estimate(0.95))}, {p_is(corrected[f])})."
            for f in shown
        ] or [f"{where}, no family is shown to gain more or less than elsewhere."]


def p_is(p: float) -> str:
    """``p = 0.031``, or ``p < 0.001``."""
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def conditions(sets: Sequence[Set]) -> list[tuple[str, dict[str, bool | None]]]:
    """What the sets differ in, by their own measurements: by set, whether it holds; None where it is not known."""

    def shown(s: Set, where: str) -> bool | None:
        found = s.lost[where]
        return None if found is None else found.estimate(0.95).low > 0  # type: ignore[operator]

    little = {s.name: None if s.part is None else s.part < HALF for s in sets}
    return [
        (
            "the weakest modality is not above chance",
            {s.name: None if s.ends is None else not s.informative for s in sets},
        ),
        ("the weakest modality tells less than half as much as the strongest", little),
        ("a loss in the encoders is shown", {s.name: shown(s, "encoders") for s in sets}),
        ("a loss at the decision layer is shown", {s.name: shown(s, "decision layer") for s in sets}),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    sweep = parser.parse_args().sweep
    study = study_of(sweep)
    sets = [Set.of(sweep / name, {row.variant for row in study.rows}) for name in study.sets]
    found = Families.of(sets)
    print(markdown(sets_table(sets)), markdown(found.table()), *found.sentences(), sep="\n\n")


if __name__ == "__main__":
    main()
