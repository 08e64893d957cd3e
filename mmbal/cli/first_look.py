"""`mmbal try`: from files to a diagnosis and a page in one command, sized to the machine and to a stated time."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mmbal.cli import console
from mmbal.cli.options import training_config
from mmbal.cli.steps import heading, run
from mmbal.errors import UsageError
from mmbal.text import duration

SMALL = "--size 32 --mels 40 --hop 320"  # of media, where there is no GPU
OPTIMISER = (
    "--lr 0.002 --set optimiser.name=adamw --set optimiser.weight_decay=0.1"  # suits small networks and few samples
)
RESERVED = 20.0  # seconds for the diagnosis, the decision layer and the page


def first_look(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="A folder of class folders, a manifest (clips.csv) or features (features.npz)."
        ),
    ],
    minutes: Annotated[
        float, typer.Option(min=0.5, max=600, help="The time that all of it may take, files included.")
    ] = 5.0,
    out: Annotated[Path | None, typer.Option(help="A new folder. Default: mmbal-try-NAME.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the splits and of the training.")] = 0,
) -> None:
    """Go from your own files to a diagnosis and a page with one command, in about five minutes.

    It prepares the files, trains each modality alone and all together, diagnoses the result and fits the decision layer.
    Without a GPU it takes small pictures and small networks, so expect less accuracy than a real training gives.
    Every step is a command that is printed before it runs, so that you can run it again with other settings.
    """
    from mmbal.files import refuse_existing

    began = time.monotonic()
    if not source.exists():
        raise UsageError(f"There is no file or folder '{source}'.", "Known data sets: mmbal prepare NAME --root DIR.")
    folder = out or Path(f"mmbal-try-{source.resolve().stem}")
    refuse_existing(folder)
    program = context.find_root().command
    store, joint = folder / "store", folder / "joint"
    q = shlex.quote

    heading("1. The data")
    listed = source
    if source.is_dir():
        listed = folder / "clips.csv"
        run(program, f"mmbal prepare init {q(str(source))} --out {q(str(listed))}")
    small = _small()
    options = SMALL if small and listed.suffix.lower() not in (".npz", ".mat") else ""
    if options:
        console.say(
            "There is no GPU here: pictures of 32 pixels a side, and 40 mel bands every 20 ms of sound, are quick enough."
        )
    run(program, f"mmbal prepare {q(str(listed))} --out {q(str(store))} --seed {seed} {options}".rstrip())

    heading("2. Training: each modality alone, then all together")
    settings = _settings(store, seed, small, minutes * 60 - RESERVED - (time.monotonic() - began))
    several = len(_modalities(store)) > 1
    if several:
        run(program, f"mmbal pretrain {settings} --out {q(str(folder / 'separate'))}")
    run(program, f"mmbal train {settings} --out {q(str(joint))}")

    heading("3. Which modality decides, and what that costs")
    run(program, f"mmbal diagnose {q(str(joint))}")
    if several:
        run(program, f"mmbal calibrate {q(str(joint))}")
    console.say(
        f"\nAll of it took {duration(time.monotonic() - began)}. The page is {joint / 'report.html'}.\n"
        f"mmbal predict {joint} FILE   classifies another sample\n"
        "mmbal methods list   lists the methods that balance the modalities in training"
    )


def _small() -> bool:
    """Whether training runs on the CPU."""
    from mmbal.engine.seeding import pick_device

    return pick_device("auto").type == "cpu"


def _modalities(store: Path) -> dict[str, Any]:
    from mmbal.data.store.store import Store

    return Store.open(store).modalities


def _settings(store: Path, seed: int, small: bool, seconds: float) -> str:
    """The options of both trainings, with the epochs that fit the time; says what was chosen and why."""
    from mmbal.data.store.store import Store
    from mmbal.engine.budget import batch_size_for, epochs_within
    from mmbal.models.encoders import default_encoder

    modalities = _modalities(store)
    media = any(spec.kind in ("spectrogram", "image", "frames") for spec in modalities.values())
    encoder = ["cnn"] if small and media else None
    batch_size = batch_size_for(Store.open(store))
    trainings = 2 if len(modalities) > 1 else 1
    config = training_config(store, None, encoder=encoder, assignments=None, batch_size=batch_size, seed=seed)
    budget = epochs_within(config, seconds, trainings)
    chosen = {m: config.encoder[m].name if m in config.encoder else default_encoder(s) for m, s in modalities.items()}
    why = " (small: there is no GPU)" if encoder else ""
    console.say(
        f"Networks: {', '.join(f'{m} {name}' for m, name in chosen.items())}{why}. "
        f"{budget.epochs} epochs in batches of {batch_size} take about {duration(budget.seconds)}."
    )
    if not budget.fits:
        console.warn([f"The time that is left ({duration(seconds)}) is too short: --minutes gives more."])
    encoders = " --encoder cnn" if encoder else ""
    return (
        f"--data {shlex.quote(str(store))}{encoders} --epochs {budget.epochs} --batch-size {batch_size} --seed {seed} "
        f"{OPTIMISER}"
    )
