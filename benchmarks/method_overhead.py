"""How much longer is a training step of each method than one of joint training?

    python benchmarks/method_overhead.py [METHOD[:KEY=VALUE]...] [--batch 64] [--size 32] [--rounds 5] [--out FILE.json]

Two ResNet-18 encoders (one channel and three, of --size x --size), one thread. Every method trains three short epochs, so
that what it measures by epochs is known; its warm-up, where it has one, is set to nothing. At the end of each of its stages,
its steps and those of joint training alternate on the same batch. A step is all that a batch costs: every phase, and the
optimiser. Seconds are processor time of this process. Printed for each stage of a method:

    step      median over the rounds of the method's step over joint training's step
    range     smallest and largest of these
    rows      rows that each encoder reads forward in a step, over those of joint training
    hooks     the hooks of an epoch (64 training and 32 validation samples), in steps of joint training
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from machine import machine_line

from mmbal.data.store.store import ModalitySpec, Store, seal
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.gradients import GradientAverage
from mmbal.engine.learning import enter_training
from mmbal.engine.loop import fit, train_batches
from mmbal.engine.session import Session
from mmbal.methods.base import Run, parts
from mmbal.models.encoders import Encoder
from mmbal.registry import methods

EPOCHS = 3  # over all stages of a method
ALSO = ("agm:features=training",)  # options that cost less
AT_ONCE = {"warm_up": 0, "starts": 0, "teacher_epochs": 1}  # options that would delay what a method does


def make_store(folder: Path, size: int, rows: int) -> Store:
    """Random sounds and pictures of ten classes, in a training and a validation split."""
    random, out = np.random.default_rng(0), folder / "store"
    out.mkdir()
    total = rows + rows // 2
    specs = {}
    for m, kind, shape in (("audio", "spectrogram", (1, size, size)), ("image", "image", (3, size, size))):
        np.save(out / f"{m}.npy", random.normal(size=(total, *shape)).astype(np.float32))
        specs[m] = ModalitySpec(kind=kind, shape=shape)
    table = {"labels": np.arange(total) % 10, "ids": np.arange(total).astype(str)}
    table["split"] = np.where(np.arange(total) < rows, "train", "val")
    table |= {f"present_{m}": np.ones(total, dtype=bool) for m in specs}
    seal(out, name="random", classes=tuple("abcdefghij"), modalities=specs, rows=table, meta={})
    return Store.open(out)


class Trainer:
    """A session that can take one step after the other; ``rows`` counts what encoders read."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.rows = 0
        for module in (*session.model.modules(), *session.method.modules()):
            if isinstance(module, Encoder):  # teachers inside a method too
                module.stages[0].register_forward_pre_hook(self.count)

    def count(self, module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        self.rows += len(inputs[0])

    def step(self, rows: np.ndarray) -> float:
        """Seconds of a step on the given rows of the store."""
        session = self.session
        batch = session.run.train.gather(rows)
        learning = enter_training(session.model, parts(session.model, session.method))
        begun = time.process_time()
        average = GradientAverage([], session.processes)
        train_batches(session.run, session.method, session.config, [batch], 1, learning, average)
        return time.process_time() - begun

    def hooks(self) -> float:
        """Seconds of the hooks of an epoch."""
        method, run = self.session.method, self.session.run
        begun = time.process_time()
        method.on_epoch_start(run)
        method.sampler(run)
        method.on_epoch_end(run)
        return time.process_time() - begun


def config_for(wanted: str, store: Store, batch: int) -> TrainConfig:
    """A run of the method, with its option after a colon if any, that acts from the first epoch on."""
    name, _, option = wanted.partition(":")
    entry = methods.entry(name)
    fields = entry.cls.Config.model_fields
    options: dict[str, Any] = {key: value for key, value in AT_ONCE.items() if key in fields}
    options |= dict([option.split("=")] if option else [])
    return TrainConfig(
        data=str(store.path),
        method=Choice(name=name, **options),
        fusion=Choice(name=entry.about.fusion or "concat"),
        encoder={m: Choice(name="resnet18") for m in store.modalities},
        epochs=EPOCHS,
        batch_size=batch,
        optimiser={"lr": 1e-3},
        device="cpu",
    )


def measure(name: str, reference: Trainer, store: Store, batch: int, rounds: int) -> list[dict[str, Any]]:
    """The figures of each stage of a method."""
    session = Session(config_for(name, store, batch))
    trainer, found = Trainer(session), []
    rows = store.rows("train")[:batch]

    def after_epoch(run: Run, state: dict[str, Any]) -> bool:
        ends = np.cumsum([stage.epochs for stage in session.method.stages(session.config.epochs)])
        if state["epoch"] not in ends:
            return False
        ratios, seconds = [], []
        reference.step(rows), trainer.step(rows)
        reference.rows = trainer.rows = 0
        for _ in range(rounds):
            seconds.append(reference.step(rows))
            ratios.append(trainer.step(rows) / seconds[-1])
        found.append(
            {
                "method": name,
                "stage": run.stage.name if run.stage else "",
                "step": median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "rows": trainer.rows / reference.rows,
                "seconds": median(seconds),
                "hooks": trainer.hooks() / median(seconds),
            }
        )
        return False

    fit(session.run, session.method, session.config, processes=session.processes, after_epoch=after_epoch)
    return found


def started(session: Session) -> Session:
    """The session after its first epoch, with an optimiser."""
    fit(
        session.run,
        session.method,
        session.config,
        processes=session.processes,
        after_epoch=lambda run, state: True,
    )
    return session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    every = []
    print(machine_line())
    print("| method | stage | step | range | rows | hooks |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder), arguments.size, arguments.batch)
        reference = Trainer(started(Session(config_for("joint", store, arguments.batch))))
        for name in arguments.methods or [*methods.names(), *ALSO]:
            for f in measure(name, reference, store, arguments.batch, arguments.rounds):
                every.append(f)
                spread = f"{f['least']:.2f} to {f['most']:.2f}"
                print(
                    f"| `{name}` | {f['stage']} | {f['step']:.2f} | {spread} | {f['rows']:.2f} | {f['hooks']:.2f} |",
                    flush=True,
                )
    if arguments.out:
        arguments.out.write_text(json.dumps(every, indent=1))


if __name__ == "__main__":
    main()
