"""What training, pretraining, importing, a dry run and new clips' classification gave, as tables and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from mmbal.runs import decided_by
from mmbal.tables import Column, Table
from mmbal.text import COUNT, NATS, SHARE, Form, plural

if TYPE_CHECKING:
    from mmbal.engine.importing import ImportedRun
    from mmbal.engine.predict import Classified
    from mmbal.engine.train import Result
    from mmbal.models.adapters import Imported

MARGIN = Form(2, sign=True)  # nats
SPLITS = {"val": "validation", "test": "test"}


def next_commands(path: Path | str) -> list[tuple[str, str]]:
    """What to do with a run or a predictions file that was just made: commands, each with its purpose."""
    return [
        (f"mmbal diagnose {path}", "shows which modality decides, and what that costs"),
        (f"mmbal calibrate {path}", "fits the decision layer, in seconds"),
    ]


def trained(results: Sequence[Result]) -> Table:
    """One row for each model of each run: the best epoch, the last one, and the best on test data where it was recorded."""
    rows: list[tuple[str, str, int, Mapping[str, Any]]] = []
    for result in results:
        s = result.summary
        name = result.folder.name
        rows.append((name, "best validation", s["best_epoch"], s))
        rows.append((name, "last", s["last"]["epoch"], s["last"]))
        if "optimistic" in s:
            best = s["optimistic"]
            rows.append((name, "best test (optimistic)", best["epoch"], {"test": best["test"]}))
    columns = [
        Column("run", [name for name, *_ in rows]),
        Column("model of", [model for _, model, *_ in rows], left=True),
        Column("epoch", [epoch for *_, epoch, _ in rows], drop=2),
    ]
    for split, word in SPLITS.items():
        figures = [found.get(split) for *_, found in rows]
        columns.append(Column(f"{word} accuracy", [f and f["accuracy"] for f in figures], SHARE))
        columns.append(Column(f"{word} NLL", [f and f["nll"] for f in figures], NATS, drop=3))
    return Table.of(columns)


def spread(results: Sequence[Result]) -> list[str]:
    """Mean and standard deviation of the accuracy over the seeds, a line for each split; nothing for one run."""
    lines = []
    for split, word in SPLITS.items():
        values = [r.summary[split]["accuracy"] for r in results if split in r.summary]
        if len(values) > 1:
            told = f"{SHARE.text(mean(values))} ± {SHARE.number(stdev(values))}"
            lines.append(f"{word.capitalize()} accuracy over {len(values)} seeds: {told} (standard deviation).")
    return lines


def pretrained(result: Result) -> Table:
    """One row for each modality's encoder, and one for the plain sum of their decisions."""
    s = result.summary
    rows = [(m, s["best_epoch"][m], figures) for m, figures in s["modalities"].items()]
    if len(rows) > 1:
        rows.append(("plain sum of all", None, s))
    columns = [Column("modality", [m for m, *_ in rows]), Column("best epoch", [epoch for _, epoch, _ in rows])]
    for split, word in SPLITS.items():
        figures = [found.get(split) for *_, found in rows]
        columns.append(Column(f"{word} accuracy", [f and f["accuracy"] for f in figures], SHARE))
    return Table.of(columns, title=str(result.folder))


def dry_run(found: Mapping[str, Any]) -> tuple[list[Table], str]:
    """The shapes and the sizes of a run that was not made, and how long it would take."""
    shapes = Table.of(
        [
            Column("modality", list(found["shapes"])),
            Column("input", [" x ".join(map(str, shape)) for shape in found["shapes"].values()]),
            Column("feature", [found["features"][m] for m in found["shapes"]]),
        ]
    )
    sizes = Table.of(
        [
            Column("part", list(found["parameters"])),
            Column("parameters", [f"{n:,}" for n in found["parameters"].values()]),
        ]
    )
    time = (
        f"{plural(found['batches'], 'batch', 'batches')} an epoch, {found['seconds_per_batch']:.2f} s each: "
        f"about {COUNT.number(found['seconds_estimated'])} s in all."
    )
    return [shapes, sizes], time


def imported(run: ImportedRun) -> tuple[Table, list[str]]:
    """Which keys of a foreign checkpoint became which part, and how the model does on the store."""
    found = run.imported
    parts = [(f"encoder of {m}", prefix.rstrip(".") or "(top)") for m, prefix in found.encoders.items()]
    parts.append(("fusion" if found.head.method == "joint" else "decision", _decided_by(found)))
    parts.append(("head of", ", ".join(found.layout.repositories)))
    parts.append(("classes", ", ".join(run.order)))
    table = Table.of(
        [Column("part", [part for part, _ in parts]), Column("in the file", [key for _, key in parts], left=True)]
    )
    lines = []
    if found.unused:
        lines.append(f"{plural(len(found.unused), 'key')} of the file had no use: {', '.join(found.unused)}.")
    for split, word in SPLITS.items():
        if split in run.summary:
            f = run.summary[split]
            lines.append(
                f"{word.capitalize()} split: accuracy {SHARE.text(f['accuracy'])}, NLL {NATS.number(f['nll'])}."
            )
    lines.append(
        "If this is far below the model's known accuracy, the store was not prepared as the model's training data were."
    )
    return table, lines


def _decided_by(found: Imported) -> str:
    head = found.head
    if head.method == "joint":
        return head.fusion
    weights = found.layout.weights
    fixed = ", ".join(f"{m} {w:g}" for m, w in zip(found.encoders, weights, strict=True)) if weights else ""
    return f"as in {head.method}, weights: {fixed or 'by entropy'}"


def classified(result: Classified) -> Table:
    """One row for each sample: its class, the probability, and each modality's margin for that class."""
    modalities = list(dict.fromkeys(m for d in result.decisions for m in d.contribution))
    columns = [
        Column("files", [", ".join(d.files) for d in result.decisions], wrap=True),
        Column("class", [result.classes[d.best] for d in result.decisions], left=True),
        Column("probability", [float(d.probabilities[d.best]) for d in result.decisions], SHARE),
    ]
    for m in modalities:
        margins = [d.margin(m) if m in d.contribution else None for d in result.decisions]
        columns.append(Column(f"margin of {m}", margins, MARGIN, drop=2))
    return Table.of(columns, caption=decided_by(result.rule))
