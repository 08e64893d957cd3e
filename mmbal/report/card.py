"""The model card of a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from mmbal.diagnosis import Diagnosis
from mmbal.report.compare import own_figures
from mmbal.report.render import code, number, percent, plain
from mmbal.runs import CONFIG, PRETRAIN, decided_by, read_config, read_environment, read_summary, started_from


def card(folder: Path, diagnosis: Diagnosis) -> str:
    """The model card of a run folder: what it is, how good, how biased, for what, and how to make it again."""
    config, environment, summary = read_config(folder), read_environment(folder), read_summary(folder)
    data, fused = diagnosis.data, diagnosis.calibration["fused"]
    store = environment["store"]
    alone = diagnosis.accuracy.alone  # without a modality that no sample has
    honest = {f"{m} alone": (right, diagnosis.calibration[m]) for m, right in alone.items()}
    decisions = "".join(
        f"| {plain(name)} | {percent(right)} | {number(found.nll)} | {number(found.ece)} |\n"
        for name, (right, found) in {"fused": (diagnosis.accuracy.fused, fused), **honest}.items()
    )
    classes = "".join(
        f"| {plain(name)} | {c.samples} | {percent(c.fused)} |\n" for name, c in diagnosis.classes.items()
    )
    modalities, named = _names([plain(m) for m in data.modalities]), code(store["name"])
    method, fusion = code(_name(config["method"])), code(_name(config["fusion"]))
    best, epochs = plain(_epochs(summary["best_epoch"])), plain(_epochs(summary["epochs"]))
    versions = ", ".join(f"{name} {v}" for name, v in environment["versions"].items() if v)
    return f"""# {plain(folder.resolve().name)}

{plain(" ".join(diagnosis.verdict))}

## What it is

A multimodal classifier of {len(data.classes)} classes on {modalities}, trained on {named}
(store {store["hash"][:12]}) with method {method} and fusion {fusion}, seed
{environment["seed"]}; the best epoch on validation was {best}, of {epochs}.

## How good it is

On the {data.split} split, {data.samples} samples; accuracy in %, [ ] {100 * diagnosis.settings.confidence:.0f} % intervals.
{plain(decided_by(data.meta.get("rule")))}

| decision | accuracy | NLL | ECE |
| --- | ---: | ---: | ---: |
{decisions}
| class | samples | accuracy |
| --- | ---: | ---: |
{classes}
{own_figures_table(folder)}## Use and limits

It knows the classes above and nothing else; the figures hold for data like the {data.split} split of {named}.
Where a modality is missing or disturbed, see {code(_command("diagnose", folder.resolve()))}. The licence of the data
applies.

## Make it again

{code(_again(folder))}

This command works in any folder. The run was made with {versions}, on {environment["device"]}.
"""


def _again(folder: Path) -> str:
    """The command that trains the run anew, from whatever folder it is given."""
    config, environment = read_config(folder), read_environment(folder)
    kind = "pretrain" if environment["kind"] == PRETRAIN else "train"
    named = config.get("encoders_from")
    encoders = ["--encoders", started_from(folder, named).resolve()] if named else []
    return _command(kind, "--config", folder.resolve() / CONFIG, "--data", environment["store"]["path"], *encoders)


def _command(*words: object) -> str:
    return shlex.join(["mmbal", *map(str, words)])


def own_figures_table(folder: Path) -> str:
    """What the method itself recorded in the last epoch, as a section; empty where it recorded nothing."""
    own = own_figures(folder)
    if not own:
        return ""
    rows = "".join(f"| {plain(name)} | {value:.3g} |\n" for name, value in own.items())
    return f"## What the method saw\n\nMeans over the last epoch.\n\n| figure | value |\n| --- | ---: |\n{rows}\n"


def _epochs(value: Any) -> str:
    """A number, or one for each separately trained modality."""
    return ", ".join(f"{n} ({m})" for m, n in value.items()) if isinstance(value, dict) else str(value)


def _name(choice: Any) -> str:
    return str(choice["name"] if isinstance(choice, dict) else choice)


def _names(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
