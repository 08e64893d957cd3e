"""Options that several commands share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbal.cli import console
from mmbal.errors import UsageError

if TYPE_CHECKING:
    from mmbal.engine.config import TrainConfig

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is at --out.")]
Data = Annotated[
    Path | None, typer.Option(help="A store made by `mmbal prepare`. Default: the latest, or the embedded digits.")
]
Encoder = Annotated[
    list[str] | None, typer.Option(help="resnet18, cnn, mlp..., for all modalities or as MODALITY=NAME. Repeatable.")
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Number of epochs.")]
BatchSize = Annotated[int | None, typer.Option(min=2, help="Samples a step.")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Learning rate.")]
Patience = Annotated[int | None, typer.Option(min=1, help="Stop after so many epochs without a better validation.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:0 or mps.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any key of the config: --set optimiser.lr=0.1.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A config.yaml, as in a run's folder.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder. Default: runs/<data>-<method>-<fusion>-s<seed>.")]


def choose_store(data: Path | None) -> Path:
    """The store asked for, else the latest prepared here, else the embedded digits; says which was taken."""
    from mmbal.data.prepare import embedded_store
    from mmbal.data.store.store import latest_store

    if data is not None:
        return data
    found = latest_store()
    if found is not None:
        console.note(f"Data: {found}, the store prepared last (another: --data STORE).")
        return found
    found = embedded_store()
    console.note("Data: the embedded spoken and written digits (your own: mmbal prepare SOURCE).")
    return found


def training_config(
    data: Path | None,
    file: Path | None,
    *,
    encoder: list[str] | None,
    assignments: list[str] | None,
    **given: Any,
) -> TrainConfig:
    """The configuration from a file, the command's own options (dotted keys, None: not given) and --set, in this order."""
    from mmbal.config import override, read_yaml, validate
    from mmbal.data.store.store import Store
    from mmbal.engine.config import TrainConfig
    from mmbal.registry import methods

    values: dict[str, Any] = {"method": {"name": "joint"}, "fusion": {"name": "concat"}, "optimiser": {}}
    if file is not None:
        values |= read_yaml(file)
    method, fusion = given.pop("method", None), given.pop("fusion", None)
    if method is not None:
        values["method"] = {"name": method}
        fusion = fusion or methods.entry(method).metadata.get("fusion")  # the one that the method needs, if it does
    if fusion is not None:
        values["fusion"] = {"name": fusion}
    for key, value in given.items():
        if value is not None:
            *groups, last = key.split("__")
            node = values
            for group in groups:
                node = node[group]
            node[last] = value
    if data is not None or "data" not in values:
        values["data"] = str(choose_store(data))
    if encoder:
        values["encoder"] = _encoders(encoder, Store.open(values["data"]))
    return validate(TrainConfig, override(values, assignments or []))


def _encoders(given: list[str], store: Any) -> dict[str, dict[str, Any]]:
    """``NAME`` for every modality that the encoder can take, ``MODALITY=NAME`` for one."""
    from mmbal.registry import encoders

    found: dict[str, dict[str, Any]] = {}
    for text in given:
        modality, equals, name = text.rpartition("=")
        kinds = encoders.entry(name).metadata["kinds"]
        if equals:
            store.require(modality)
            found[modality] = {"name": name}
            continue
        fitting = [m for m, spec in store.modalities.items() if spec.kind in kinds]
        if not fitting:
            raise UsageError(f"The encoder '{name}' takes none of this store's modalities.")
        for m in fitting:
            found.setdefault(m, {"name": name})
    return found
