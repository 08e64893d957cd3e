"""The model card of a run, and the pages that lie in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmbal.config import read_yaml
from mmbal.diagnosis import Diagnosis
from mmbal.engine.evaluate import run_folder
from mmbal.errors import UsageError
from mmbal.files import read_json, write_text
from mmbal.report.compare import Source, own_figures
from mmbal.report.html import diagnosis_html
from mmbal.report.render import number, percent

CARD = "CARD.md"
PAGE = "report.html"


def write_pages(source: Source) -> list[Path]:
    """Write CARD.md and report.html into the folder of a finished run; raises UsageError where it is none."""
    folder = run_folder(source.path)
    if folder is None or "best_epoch" not in source.summary:
        raise UsageError(f"{source.path} is not a finished run of mmbal.", "Give the folder that `mmbal train` made.")
    write_text(folder / CARD, card(folder, source.diagnosis))
    write_text(folder / PAGE, diagnosis_html(source.diagnosis, folder.name))
    return [folder / CARD, folder / PAGE]


def card(folder: Path, diagnosis: Diagnosis) -> str:
    """The model card of a run folder: what it is, how good, how biased, for what, and how to make it again."""
    config = read_yaml(folder / "config.yaml")
    environment, summary = read_json(folder / "env.json"), read_json(folder / "summary.json")
    data, fused = diagnosis.data, diagnosis.calibration["fused"]
    store = environment["store"]
    honest = {f"{m} alone": (diagnosis.accuracy.alone[m], diagnosis.calibration[m]) for m in data.modalities}
    decisions = "".join(
        f"| {name} | {percent(right)} | {number(found.nll)} | {number(found.ece)} |\n"
        for name, (right, found) in {"fused": (diagnosis.accuracy.fused, fused), **honest}.items()
    )
    classes = "".join(f"| {name} | {c.samples} | {percent(c.fused)} |\n" for name, c in diagnosis.classes.items())
    versions = ", ".join(f"{name} {v}" for name, v in environment["versions"].items() if v)
    return f"""# {folder.name}

{" ".join(diagnosis.verdict)}

## What it is

A multimodal classifier of {len(data.classes)} classes on {_names(data.modalities)}, trained on `{store["name"]}`
(store {store["hash"][:12]}) with method `{_name(config["method"])}` and fusion `{_name(config["fusion"])}`, seed
{environment["seed"]}; the best epoch on validation was {_epochs(summary["best_epoch"])}, of {_epochs(summary["epochs"])}.

## How good it is

On the {data.split} split, {data.samples} samples; accuracy in %, [ ] {100 * diagnosis.settings.confidence:.0f} % intervals.

| decision | accuracy | NLL | ECE |
| --- | ---: | ---: | ---: |
{decisions}
| class | samples | accuracy |
| --- | ---: | ---: |
{classes}
{own_figures_table(folder)}## Use and limits

It knows the classes above and nothing else; the figures hold for data like the {data.split} split of `{store["name"]}`.
Where a modality is missing or disturbed, see `mmbal diagnose {folder.name}`. The licence of the data applies.

## Make it again

`mmbal train --config {folder.name}/config.yaml` on the same store; made with {versions}, on {environment["device"]}.
"""


def own_figures_table(folder: Path) -> str:
    """What the method itself recorded in the last epoch, as a section; empty where it recorded nothing."""
    own = own_figures(folder)
    if not own:
        return ""
    rows = "".join(f"| {name} | {value:.3g} |\n" for name, value in own.items())
    return f"## What the method saw\n\nMeans over the last epoch.\n\n| figure | value |\n| --- | ---: |\n{rows}\n"


def _epochs(value: Any) -> str:
    """A number, or one for each separately trained modality."""
    return ", ".join(f"{n} ({m})" for m, n in value.items()) if isinstance(value, dict) else str(value)


def _name(choice: Any) -> str:
    return str(choice["name"] if isinstance(choice, dict) else choice)


def _names(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
