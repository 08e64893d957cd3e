"""A checkpoint of another project as a run: its decisions on a store, ready to be diagnosed, calibrated and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmbal.config import write_yaml
from mmbal.data.store.store import Store
from mmbal.engine.checkpoint import pack
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.engine.tracking import environment, new_run
from mmbal.engine.train import Result
from mmbal.errors import ConfigError, UsageError
from mmbal.files import write_json, write_tensors
from mmbal.models.adapters import Imported, import_checkpoint
from mmbal.models.layouts import Layout
from mmbal.predictions.format import Predictions
from mmbal.runs import CHECKPOINT, CONFIG, ENVIRONMENT, IMPORT, SUMMARY


@dataclass(frozen=True)
class ImportedRun(Result):
    """The run's folder and summary, what was made of the file's keys, and in which order the file has the classes."""

    imported: Imported
    order: tuple[str, ...]


def import_run(
    path: str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    force: bool = False,
    device: str = "auto",
    batch_size: int = 32,
    normalise: Mapping[str, str] = {},
    order: Sequence[str] | None = None,
) -> ImportedRun:
    """Load a two-ResNet-18 checkpoint (see :mod:`mmbal.models.adapters`) and run it on the store ``data``.

    ``normalise`` says by modality how its inputs were normalised where it was trained, as in
    :mod:`mmbal.data.store.normalisation`; the run keeps it. ``order`` has the store's classes in the order of the file.
    Without it, the order is that of the repository (see :mod:`mmbal.models.layouts`), or else that of the store.

    The folder is a run's, but its config.yaml tells only what the model is, since how it was trained is not known.
    Raises ConfigError where the checkpoint can't be read, or does not have the store's classes or modalities; UsageError
    where ``order`` is not of the store's classes.
    """
    path, store = Path(path), Store.open(data)
    if order is not None and sorted(order) != sorted(store.classes):
        raise UsageError(
            f"The order of the classes ({', '.join(order)}) does not have each class of the store {data} once.",
            f"Its classes: {', '.join(store.classes)}.",
        )

    def of_file(layout: Layout) -> tuple[str, ...]:
        return tuple(order or layout.order(store.name, store.classes) or store.classes)

    def rows(layout: Layout, classes: int) -> list[int]:
        if classes != len(store.classes):
            raise ConfigError(
                f"It decides between {classes} classes, but the store {data} has {len(store.classes)}.",
                "Give the store that the model was trained for.",
            )
        return [of_file(layout).index(name) for name in store.classes]

    imported = import_checkpoint(path, store.modalities, rows)
    head = imported.head
    config = TrainConfig(
        data=str(data),
        modalities=tuple(imported.encoders),
        encoder={m: Choice(name="resnet18") for m in imported.encoders},
        method=Choice(name=head.method, **head.method_options),
        fusion=Choice(name=head.fusion, **head.options),
        batch_size=batch_size,
        device=device,
        normalise=dict(normalise),
    )
    session = Session(config)
    session.model.load_state_dict(imported.model.state_dict())
    session.method.load_state_dict(session.method.state_dict() | head.method_state)
    with new_run(None if out is None else Path(out), f"{store.name}-{path.stem}", force) as folder:
        content = pack(session.model, session.method, session.config, session.store, epoch=0)
        write_tensors(folder / CHECKPOINT, content)
        write_yaml(folder / CONFIG, session.config)
        write_json(folder / ENVIRONMENT, environment(IMPORT, store, config.seed, str(session.device)))
        session.folder = folder
        decided, _ = session.decisions.final()
        figures = session.write({split: _of_unknown_training(found, path.name) for split, found in decided.items()})
        summary = {"kind": IMPORT, "method": "imported", "fusion": head.fusion, "dataset": store.name, **figures}
        write_json(folder / SUMMARY, summary)
    return ImportedRun(folder, summary, imported, of_file(imported.layout))


def _of_unknown_training(found: Predictions, checkpoint: str) -> Predictions:
    meta = {key: value for key, value in found.meta.items() if key != "seed"}  # that of its training is not known
    return replace(found, meta=meta | {"method": "imported", "checkpoint": checkpoint})
