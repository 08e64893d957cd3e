"""How a page was made: training by epoch, configuration, versions, hashes, and the commands that give all figures again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mmbal.diagnosis.document import Diagnosis
from mmbal.report.sources import Source, flat
from mmbal.report.study import runs_of
from mmbal.runs import CONFIG, IMPORT, PRETRAIN, read_config, read_environment, read_metrics, read_summary, started_from
from mmbal.tables import Column, Table
from mmbal.text import NATS, SHARE

if TYPE_CHECKING:
    from mmbal.report.compare import Comparison
    from mmbal.report.study import Study

FUSED = "fused"


@dataclass(frozen=True)
class History:
    """Figures by epoch of a run of `mmbal train`; ``accuracy`` by decision: of the modalities alone and fused."""

    epochs: list[int]
    best: int | None
    accuracy: dict[str, list[float | None]]
    nll: list[float]
    loss: list[float]

    @classmethod
    def of(cls, folder: Path | None) -> History | None:
        """What a run recorded; None for anything else, and for a run of fewer than two epochs."""
        found = [] if folder is None else read_metrics(folder)
        if folder is None or len(found) < 2:
            return None
        best = read_summary(folder).get("best_epoch")
        names = list(dict.fromkeys(m for entry in found for m in entry.get("alone", {})))
        accuracy: dict[str, list[float | None]] = {m: [entry.get("alone", {}).get(m) for entry in found] for m in names}
        return cls(
            epochs=[entry["epoch"] for entry in found],
            best=best if isinstance(best, int) else None,
            accuracy=accuracy | {FUSED: [entry["val"]["accuracy"] for entry in found]},
            nll=[entry["val"]["nll"] for entry in found],
            loss=[sum(v for name, v in entry["train"].items() if name.startswith("loss/")) for entry in found],
        )

    def tables(self) -> list[Table]:
        """One row an epoch."""
        columns = [
            Column("epoch", self.epochs),
            Column("", ["best" if e == self.best else "" for e in self.epochs], left=True),
        ]
        columns += [
            Column(name if name == FUSED else f"{name} alone", found, SHARE) for name, found in self.accuracy.items()
        ]
        columns += [Column("NLL (nats)", self.nll, NATS), Column("training loss", self.loss, NATS)]
        return [Table.of(columns, caption="Accuracy and NLL on the validation split, at the end of each epoch.")]


def reproduction(d: Diagnosis, source: Source | None = None) -> list[Table]:
    """What the figures rest on, and the commands that give them again."""
    folder = None if source is None else source.folder
    facts: list[tuple[str, Any]] = [
        ("mmbal", d.mmbal),
        ("split", f"{d.data.split}, {d.data.samples} samples"),
        ("the model's own decision", d.data.decision),
        ("contributions", d.data.contributions),
        ("separately trained encoders", d.data.reference),
        ("intervals", f"{100 * d.settings.confidence:g} %, {d.settings.bootstrap} replicates, seed {d.settings.seed}"),
        ("a replicate draws", d.settings.resampled + "s"),
        ("decision rule compared", f"{d.settings.rule}, {d.settings.fitted_on}"),
        ("hash of what was diagnosed", d.data.fingerprint),
        *((f"meta: {name}", value) for name, value in d.data.meta.items() if not isinstance(value, dict)),
    ]
    commands = [] if source is None else [("the diagnosis and this page", _diagnose(source, d))]
    found = []
    if folder is not None:
        environment = read_environment(folder)
        facts += [
            ("store", f"{environment['store']['name']}, {environment['store']['path']}"),
            ("hash of the store", environment["store"]["hash"]),
            ("device", environment["device"]),
            ("platform", environment.get("platform")),
            ("git revision", environment.get("git")),
            ("versions", ", ".join(f"{name} {v}" for name, v in environment["versions"].items() if v)),
        ]
        if environment["kind"] != IMPORT:
            commands.append(("the run", again(folder)))
        config = {name: _written(value) for name, value in flat(read_config(folder)).items()}
        found = [
            Table.of(
                [Column("setting", list(config)), Column("value", list(config.values()), left=True)], "Configuration"
            )
        ]
    told = {name: str(value) for name, value in facts if value not in (None, "")}
    own = {value for name, value in told.items() if not name.startswith("meta: ")}
    facts = [(name, value) for name, value in told.items() if not (name.startswith("meta: ") and value in own)]
    what = Table.of(
        [Column("what", [n for n, _ in facts]), Column("value", [v for _, v in facts], left=True)], "Made of"
    )
    if not commands:
        return [what, *found]
    made = [Column("gives again", [n for n, _ in commands]), Column("command", [c for _, c in commands], left=True)]
    return [Table.of(made, "Commands"), what, *found]


def _written(value: Any) -> str:
    """A value as a configuration file has it."""
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).removesuffix("...\n").strip()


def compared(comparison: Comparison, sources: Sequence[Source]) -> list[Table]:
    """What each row of a comparison was read from, and the command that compares them again, the first row first."""
    at = {str(source.path): source for source in sources}
    rows = [(row.label, entry, at[entry.path]) for row in comparison.rows for entry in row.entries]
    settings = rows[0][2].diagnosis.settings
    options = ["--split", comparison.split, "--bootstrap", settings.bootstrap, "--html", "report.html"]
    made = command("report", *(source.path.resolve() for *_, source in rows), *options)
    columns = [
        Column("model", [label for label, *_ in rows]),
        Column("seed", [entry.seed for _, entry, _ in rows]),
        Column("samples", [entry.samples for _, entry, _ in rows]),
        Column("path", [entry.path for _, entry, _ in rows], left=True),
        Column("hash of what was diagnosed", [s.diagnosis.data.fingerprint for *_, s in rows], left=True),
        Column("store", [str(s.meta.get("store", ""))[:12] for *_, s in rows], left=True),
        Column("mmbal", [s.diagnosis.mmbal for *_, s in rows], left=True),
    ]
    again_made = [Column("gives again", ["this page"]), Column("command", [made], left=True)]
    return [Table.of(again_made), Table.of(columns, "Made of")]


def swept(study: Study, folder: Path) -> list[Table]:
    """What each data set of a sweep's study rests on, and the commands that give the page and each run again."""
    counted = {row.variant for row in study.rows}
    runs = [run for run in runs_of(folder)[0] if run.variant in counted and run.data in study.sets]
    options = ["--split", study.split, "--within", f"{100 * study.within:g}", "--html", "report.html"]
    first = runs[0]
    made = {
        "this page": command("report", folder.resolve(), *options),
        f"a run, here {first.variant} on {first.data}, seed {first.seed}": again(first.folder),
    }
    of = {data: [read_environment(run.folder) for run in runs if run.data == data] for data in study.sets}

    def told(*path: str) -> list[str]:
        """What the runs of each data set say under a path of keys, each value once."""

        def under(environment: Any) -> str:
            for key in path:
                environment = environment.get(key) or {}
            return str(environment or "")

        return [", ".join(sorted({under(e) for e in environments} - {""})) for environments in of.values()]

    columns = [
        Column("data set", list(of)),
        Column("samples", [study.sets[data] for data in of]),
        Column("runs", [len(environments) for environments in of.values()]),
        Column("hash of the store", told("store", "hash"), left=True),
        Column("device", told("device"), left=True),
        *(Column(name, told("versions", name), left=True) for name in ("mmbal", "torch", "numpy", "python")),
    ]
    seeds = f"Seeds: {', '.join(map(str, study.seeds))}. The configuration of each run is in its folder, as {CONFIG}."
    commands = [Column("gives again", list(made)), Column("command", list(made.values()), left=True)]
    return [Table.of(commands), Table.of(columns, "Made of", seeds)]


def command(*words: object) -> str:
    """A command line of mmbal."""
    return shlex.join(["mmbal", *map(str, words)])


def again(folder: Path) -> str:
    """The command that trains a run anew, from whatever folder it is given."""
    config, environment = read_config(folder), read_environment(folder)
    kind = "pretrain" if environment["kind"] == PRETRAIN else "train"
    named = config.get("encoders_from")
    encoders = ["--encoders", started_from(folder, named).resolve()] if named else []
    return command(kind, "--config", folder.resolve() / CONFIG, "--data", environment["store"]["path"], *encoders)


def _diagnose(source: Source, d: Diagnosis) -> str:
    options: list[object] = ["--split", d.data.split, "--bootstrap", d.settings.bootstrap]
    return command("report", source.path.resolve(), *options, "--html", "report.html")
