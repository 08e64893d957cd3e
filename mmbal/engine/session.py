"""One training run while it lasts: its store, model and method, what each epoch records, and what is written at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.data.store.normalisation import with_normalisation
from mmbal.data.store.store import Store
from mmbal.decision import rule_to_json
from mmbal.engine.best import best_epoch, stopped_early
from mmbal.engine.checkpoint import attach_trained_rule, build, load_encoders, started_from
from mmbal.engine.config import TrainConfig, resolve
from mmbal.engine.decisions import Decisions, loader_of
from mmbal.engine.distributed import Processes
from mmbal.engine.evaluate import summarise
from mmbal.engine.features import CachedFeatures, cached_features, why_not
from mmbal.engine.finite import NotFinite
from mmbal.engine.loop import fit
from mmbal.engine.memory import keep_freed_memory
from mmbal.engine.pace import Pace, epoch_seconds
from mmbal.engine.recorders import build_recorders
from mmbal.engine.saving import Saving, Watch
from mmbal.engine.seeding import pick_device, seed_all
from mmbal.engine.states import States
from mmbal.engine.tracking import write_metrics
from mmbal.errors import Interrupted
from mmbal.files import write_json
from mmbal.methods.base import Run
from mmbal.models.batch_norm import share_batch_norm
from mmbal.predictions.format import Predictions
from mmbal.runs import SUMMARY, TRAIN, prediction_file, read_metrics
from mmbal.text import SHARE, Line, duration
from mmbal.torchrun import is_first

ENOUGH_ROWS = 16  # of a process, whose own statistics then do for batch normalisation
LONG = 600.0  # seconds of a run on a CPU from which on it is told what would be shorter
MEDIA = ("spectrogram", "image", "frames")
LAST_EPOCH = "last_"  # prefix of its predictions
Report = Callable[[int, str], None]  # of the epochs that are done, and a line of figures


def about(what: str, report: Report) -> Report:
    """``report``, each of whose lines begins with what it is about: a modality, a seed."""
    return lambda steps, message: report(steps, message.about(what) if isinstance(message, Line) else message)


class Session:
    """One training run: store, model and method, and what is written after each epoch."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path | None = None,
        report: Report | None = None,
        saving: Saving = Saving(),  # noqa: B008, a constant
    ) -> None:
        store = Store.open(config.data)
        self.config = config = resolve(config, store, started_from(config))
        self.store = with_normalisation(store, config.normalise)
        assert config.modalities is not None
        self.folder = folder
        self.report = report if report is not None and is_first() else (lambda steps, message: None)
        self.watch = Watch(saving, lambda text: self.report(0, text))
        self.device = pick_device(config.device)
        keep_freed_memory()
        self.processes = Processes.start(self.device)
        seed_all(config.seed)
        self.model, self.method = build(config, self.store.modalities, len(self.store.classes))
        if config.encoders_from is not None:
            load_encoders(Path(config.encoders_from), self.model)
        if config.freeze_encoders:
            self.model.encoders.requires_grad_(False)
        self.model.to(self.device)
        self.run = Run(
            model=self.model,
            train=loader_of(config, self.store, "train", self.device, self.processes),
            validation=loader_of(config, self.store, "val", self.device),
            device=self.device,
            epochs=config.epochs,
            reduce=self.processes.sum,
            share=1 / self.processes.world,
        )
        self.features = self.frozen_features()
        self.run.train.features = self.run.validation.features = self.features
        if self.processes.world > 1 and share_statistics(config, self.processes.world):
            share_batch_norm(self.model)
        self.method.setup(self.run)
        self.method.to(self.device)
        self.decisions = Decisions(
            self.model, self.method, config, self.store, self.device, self.processes, self.features
        )
        self.states = States(self.model, self.method, config, self.store)
        self.recorders = build_recorders(config.record)
        self.history: list[dict[str, Any]] = []
        self.pace = Pace()
        self.started = time.monotonic()

    def frozen_features(self) -> CachedFeatures | None:
        """What frozen encoders make of the store; None where they learn, or where it can't be cached, which is told."""
        if not self.config.freeze_encoders:
            return None
        refused = why_not(self.store, self.config)
        if refused:
            self.report(0, refused)
            return None
        return cached_features(self.model, self.store, self.config, self.device)

    def fit(self, resume: bool = False, extended: bool = False) -> None:
        """Train to the last epoch, saving after each; ``resume`` goes on from what is saved.

        A run that stopped early stays stopped, unless it is ``extended`` to more epochs. Raises Interrupted where Ctrl-C,
        SIGTERM or the limit of time stops it, after saving; NotFinite, after saving the model as it is then.
        """
        state = None
        if resume:
            assert self.folder is not None
            state = self.states.latest(self.folder)
            self.history = read_metrics(self.folder)[: state["epoch"]] if state else []
            if self.processes.first:
                write_metrics(self.folder, self.history)
            if self.stopped_early and not extended:
                return
        try:
            with self.watch:
                fit(
                    self.run,
                    self.method,
                    self.config,
                    processes=self.processes,
                    after_epoch=self.after_epoch,
                    after_batch=self.after_batch,
                    recorders=self.recorders,
                    resume=state,
                )
        except NotFinite as error:
            if self.folder is None or not self.processes.first:
                raise
            file = self.states.failed(self.folder, self.run.epoch, error.rows)
            raise NotFinite(f"{error.what}; {file} has the model as it is then", hint=error.hint) from None

    def after_batch(self, samples: int, state: Callable[[], dict[str, Any]]) -> None:
        """Tell the pace; save where it is time to, and stop where that was asked for, in one process or in all."""
        each = self.pace.batch(samples)
        if each is not None:
            self.forecast(each)
        self.watch.step()
        if self.folder is None:
            return
        stop = bool(self.watch.why)
        due, stop = self.processes.any([self.watch.due or stop, stop], self.device)
        if not due:
            return
        now = state()
        if self.processes.first:
            self.states.within_epoch(self.folder, now)
        self.watch.saved()
        if stop:
            self.processes.wait()
            batches = now["within"]["batches"]
            self.stop(f"in epoch {now['epoch'] + 1} of {self.config.epochs}, after batch {batches}")

    def forecast(self, each: float) -> None:
        """Where the run takes long on a CPU: tell how long, by the seconds of a sample, and what makes it shorter."""
        splits = self.store.splits()
        training = each * splits["train"] / self.processes.world
        seconds = (self.config.epochs - self.run.epoch) * epoch_seconds(training, splits)
        if self.device.type == "cpu" and seconds > LONG:
            most = "at most " if self.config.patience is not None else ""
            media = any(self.store.modalities[m].kind in MEDIA for m in self.model.modalities)
            ways = ["--encoder cnn (a small network)", "`mmbal prepare --size 48` (small pictures)"] if media else []
            ways += ["--precision bf16 (where the processor has it)"] if self.config.precision == "fp32" else []
            self.report(
                0,
                f"{most}about {duration(seconds)} on this CPU; {', '.join(ways)} or fewer --epochs make it shorter, "
                "and `mmbal try` fits a time that you give.",
            )

    def after_epoch(self, run: Run, state: dict[str, Any]) -> bool:
        """Evaluate, record and save; true when the run stops early. Raises Interrupted where it is asked to stop."""
        speed = self.pace.epoch()
        figures, alone = self.decisions.figures()
        entry: dict[str, Any] = {
            "epoch": state["epoch"],
            "stage": run.stage.name if run.stage else "",
            "train": dict(sorted(self.processes.mean(run.records, run.shares).items())),
            **figures,
            "alone": alone,
        }
        for name, value in [*entry["train"].items(), ("validation NLL", figures["val"]["nll"])]:
            if not np.isfinite(value):  # metrics.jsonl has numbers alone
                raise NotFinite(f"The figure '{name}' became {value} in epoch {run.epoch + 1}")
        self.history.append(entry)
        if self.folder is not None and self.processes.first:
            write_metrics(self.folder, self.history)
            best = best_epoch(self.history, self.config.select) == state["epoch"]
            self.states.after_epoch(self.folder, state, best)
        self.report(1, self.line(entry, speed))
        self.watch.step()
        self.watch.saved()
        early = self.stopped_early
        if (
            self.processes.any([bool(self.watch.why)], self.device)[0]
            and not early
            and state["epoch"] < self.config.epochs
        ):
            self.stop(f"after epoch {state['epoch']} of {self.config.epochs}")
        return early

    @property
    def stopped_early(self) -> bool:
        """Whether validation has not got better for ``patience`` epochs."""
        return stopped_early(self.history, self.config.select, self.config.patience)

    def stop(self, where: str) -> None:
        """Raise Interrupted; everything is saved."""
        raise Interrupted(f"{self.watch.why or 'Interrupted'} {where}; everything up to there is saved.")

    def line(self, entry: Mapping[str, Any], speed: str) -> Line:
        """What is told of an epoch; accuracies are those on the validation split."""
        assert self.run.optimiser is not None
        rates = sorted({f"{group['lr']:.3g}" for group in self.run.optimiser.param_groups})
        figures = {
            "loss": f"{sum(v for name, v in entry['train'].items() if name.startswith('loss/')):.3f}",
            "accuracy": SHARE.text(entry["val"]["accuracy"]),
            **{f"{m} alone": SHARE.text(share) for m, share in entry["alone"].items()},
            "learning rate": " and ".join(rates),
            "speed": speed,
        }
        return Line.told(f"epoch {entry['epoch']}", figures)

    def write(self, decided: Mapping[str, Predictions], prefix: str = "") -> dict[str, dict[str, float]]:
        """Save decisions by split, in the first process; returns their figures."""
        assert self.folder is not None
        for split, found in decided.items() if self.processes.first else ():
            found.save(prediction_file(self.folder, split, prefix))
        return {split: summarise(found) for split, found in decided.items()}

    def finish(self) -> None:
        """Write the predictions of the last and of the best epoch, the rule, and the summary; every process takes part."""
        assert self.folder is not None
        last, best = self.history[-1]["epoch"], best_epoch(self.history, self.config.select)
        decided, rule = self.decisions.final()
        figures_of_last = self.write(decided, LAST_EPOCH)
        if best != last:
            self.states.of_the_best(self.folder)
            decided, rule = self.decisions.final()
        figures = self.write(decided)
        if not self.processes.first:
            return
        if rule is not None:
            attach_trained_rule(self.folder, rule_to_json(rule))
        summary = {
            "kind": TRAIN,
            "method": self.config.method.name,
            "fusion": self.config.fusion.name,
            "dataset": self.store.name,
            "seed": self.config.seed,
            "best_epoch": best,
            "epochs": len(self.history),
            **figures,
            "last": {"epoch": last, **figures_of_last},
            "seconds": round(time.monotonic() - self.started, 1),
        }
        if self.config.optimistic:
            top = max(self.history, key=lambda e: e["test"]["accuracy"])
            summary["optimistic"] = {"epoch": top["epoch"], "test": top["test"]}
        for recorder in self.recorders.values():
            write_json(self.folder / recorder.file, recorder.summary())
        write_json(self.folder / SUMMARY, summary)


def share_statistics(config: TrainConfig, world: int) -> bool:
    """Whether batch normalisation is over the samples of all processes."""
    few = config.batch_size < ENOUGH_ROWS * world
    return few if config.shared_batch_norm is None else config.shared_batch_norm
