"""The model card of a run, with metadata for the Hugging Face Hub at its head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from mmbal.diagnosis import Diagnosis
from mmbal.report.making import again, command
from mmbal.report.rendering import markdown_page
from mmbal.report.sources import own_figures
from mmbal.runs import decided_by, read_config, read_environment, read_summary
from mmbal.tables import Column, Table
from mmbal.text import ERROR, NATS, SHARE

TASK = "multimodal-classification"


def card(folder: Path, diagnosis: Diagnosis) -> str:
    """The model card of a run folder: what it is, its figures, its balance, its use, and how to reproduce it."""
    config, environment, summary = read_config(folder), read_environment(folder), read_summary(folder)
    own = own_figures(folder)
    return markdown_page(
        "card",
        front=Markup(yaml.safe_dump(front_matter(folder, diagnosis), sort_keys=False, allow_unicode=True)),
        name=folder.resolve().name,
        verdict=diagnosis.verdict,
        data=diagnosis.data,
        modalities=_names(diagnosis.data.modalities),
        store=environment["store"],
        method=_name(config["method"]),
        fusion=_name(config["fusion"]),
        seed=environment["seed"],
        best_epoch=_epochs(summary["best_epoch"]),
        epochs=_epochs(summary["epochs"]),
        confidence=f"{100 * diagnosis.settings.confidence:.0f}",
        decided_by=decided_by(diagnosis.data.meta.get("rule")),
        decisions=_decisions(diagnosis),
        per_class=_classes(diagnosis),
        own=Table.of([Column("figure", list(own)), Column("mean", [f"{x:.3g}" for x in own.values()])])
        if own
        else None,
        diagnose=command("diagnose", folder.resolve()),
        again=again(folder),
        versions=", ".join(f"{name} {v}" for name, v in environment["versions"].items() if v),
        device=environment["device"],
    )


def front_matter(folder: Path, diagnosis: Diagnosis) -> dict[str, Any]:
    """The metadata at the head of a model card, as the Hugging Face Hub reads it (``huggingface_hub.ModelCard``)."""
    config, environment = read_config(folder), read_environment(folder)
    fused, data = diagnosis.accuracy.fused, diagnosis.data
    values = {"accuracy": fused.value, "nll": diagnosis.calibration["fused"].nll.value}
    result = {
        "task": {"type": TASK, "name": "Multimodal classification"},
        "dataset": {"name": environment["store"]["name"], "type": environment["store"]["name"], "split": data.split},
        "metrics": [{"type": name, "value": round(value, 4), "name": name} for name, value in values.items()],
    }
    return {
        "library_name": "mmbal",
        "tags": [TASK, "mmbal", *data.modalities, _name(config["method"]), _name(config["fusion"])],
        "metrics": ["accuracy"],
        "model-index": [{"name": folder.resolve().name, "results": [result]}],
    }


def _decisions(d: Diagnosis) -> Table:
    alone = d.accuracy.alone  # a modality that every sample misses is left out
    found = [("fused", d.accuracy.fused, d.calibration["fused"])]
    found += [(f"{m} alone", right, d.calibration[m]) for m, right in alone.items()]
    return Table.of(
        [
            Column("decision", [name for name, _, _ in found]),
            Column("accuracy %", [right for _, right, _ in found], SHARE.bare()),
            Column("NLL", [c.nll for _, _, c in found], NATS),
            Column("ECE", [c.ece for _, _, c in found], ERROR),
        ]
    )


def _classes(d: Diagnosis) -> Table:
    known = d.classes
    return Table.of(
        [
            Column("class", list(known)),
            Column("samples", [c.samples for c in known.values()]),
            Column("accuracy %", [c.fused for c in known.values()], SHARE.bare()),
        ]
    )


def _epochs(value: Any) -> str:
    """A number, or one for each separately trained modality."""
    return ", ".join(f"{n} ({m})" for m, n in value.items()) if isinstance(value, dict) else str(value)


def _name(choice: Any) -> str:
    return str(choice["name"] if isinstance(choice, dict) else choice)


def _names(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
