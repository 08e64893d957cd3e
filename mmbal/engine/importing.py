"""A checkpoint of another project as a run: its decisions on a store, ready to be diagnosed, calibrated and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mmbal.config import write_yaml
from mmbal.data.store.store import Store
from mmbal.engine.checkpoint import pack
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.engine.tracking import environment, new_run
from mmbal.engine.train import Result
from mmbal.errors import ConfigError
from mmbal.files import write_json, write_tensors
from mmbal.models.adapters import Imported, import_checkpoint
from mmbal.predictions.format import Predictions
from mmbal.runs import CHECKPOINT, CONFIG, ENVIRONMENT, IMPORT, SUMMARY


@dataclass(frozen=True)
class ImportedRun(Result):
    """The run's folder and summary, and what was made of the file's keys."""

    imported: Imported


def import_run(
    path: str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    force: bool = False,
    device: str = "auto",
    batch_size: int = 32,
    normalise: Mapping[str, str] = {},
) -> ImportedRun:
    """Load a two-ResNet-18 checkpoint (see :mod:`mmbal.models.adapters`) and run it on the store ``data``.

    ``normalise`` says by modality how its inputs were normalised where it was trained, as in
    :mod:`mmbal.data.store.normalisation`; the run keeps it.

    The folder is a run's, but its config.yaml tells only what the model is, since how it was trained is not known.
    Raises ConfigError where the checkpoint can't be read, or does not have the store's classes or modalities.
    """
    path, store = Path(path), Store.open(data)
    imported = import_checkpoint(path, store.modalities)
    if imported.classes != len(store.classes):
        raise ConfigError(
            f"{path} decides between {imported.classes} classes, but the store {data} has {len(store.classes)}.",
            "Give the store that the model was trained for.",
        )
    config = TrainConfig(
        data=str(data),
        modalities=tuple(imported.encoders),
        encoder={m: Choice(name="resnet18") for m in imported.encoders},
        fusion=Choice(name=imported.fusion, **imported.options),
        batch_size=batch_size,
        device=device,
        normalise=dict(normalise),
    )
    session = Session(config)
    session.model.load_state_dict(imported.model.state_dict())
    with new_run(None if out is None else Path(out), f"{store.name}-{path.stem}", force) as folder:
        content = pack(session.model, session.method, session.config, session.store, epoch=0)
        write_tensors(folder / CHECKPOINT, content)
        write_yaml(folder / CONFIG, session.config)
        write_json(folder / ENVIRONMENT, environment(IMPORT, store, config.seed, str(session.device)))
        session.folder = folder
        decided, _ = session.decide()
        figures = session.write({split: _of_unknown_training(found, path.name) for split, found in decided.items()})
        summary = {"kind": IMPORT, "method": "imported", "fusion": imported.fusion, "dataset": store.name, **figures}
        write_json(folder / SUMMARY, summary)
    return ImportedRun(folder, summary, imported)


def _of_unknown_training(found: Predictions, checkpoint: str) -> Predictions:
    meta = {key: value for key, value in found.meta.items() if key != "seed"}  # that of its training is not known
    return replace(found, meta=meta | {"method": "imported", "checkpoint": checkpoint})
