"""One training run while it lasts: its store, model and method, what each epoch records, and what is written at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.data.store.loader import Loader
from mmbal.data.store.normalisation import with_normalisation
from mmbal.data.store.store import Store
from mmbal.decision import Rule, cross_fit, fit_rule, rule_to_json
from mmbal.decision.fitting import cross_ruled
from mmbal.decision.fused import with_rule
from mmbal.engine.checkpoint import attach_trained_rule, build, load_encoders, read_checkpoint
from mmbal.engine.config import Choice, Started, TrainConfig, resolve
from mmbal.engine.distributed import Processes
from mmbal.engine.evaluate import alone, collect, summarise
from mmbal.engine.features import CachedFeatures, cached_features, why_not
from mmbal.engine.finite import NotFinite
from mmbal.engine.loop import fit
from mmbal.engine.memory import keep_freed_memory
from mmbal.engine.pace import Pace
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
from mmbal.registry import rules
from mmbal.runs import SPLITS, SUMMARY, TRAIN, prediction_file, read_metrics
from mmbal.text import SHARE, Line
from mmbal.torchrun import is_first
from mmbal.version import __version__

FOLDS = 5  # of the cross-fitted validation figures of a fusion with a rule
BRIEF_FOLDS = 3  # of those after each epoch, which only pick the best epoch
ENOUGH_ROWS = 16  # of a process, whose own statistics then do for batch normalisation
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
            train=self.loader("train", training=True),
            validation=self.loader("val"),
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

    def loader(self, split: str, training: bool = False) -> Loader:
        """Batches of a split; in training shuffled, augmented and shared among the processes."""
        config = self.config
        mine = self.processes if training else Processes()
        return Loader(
            self.store,
            split,
            config.batch_size,
            shuffle=training,
            augment=training and config.augment,
            seed=config.seed,
            modalities=config.modalities,
            device=self.device,
            rank=mine.rank,
            world=mine.world,
        )

    def predictions(self, split: str, brief: bool = False) -> Predictions:
        """The model's decisions on a split as they are, before any fitted rule."""
        meta = {
            "producer": f"mmbal {__version__}",
            "dataset": self.store.name,
            "store": self.store.hash,
            "method": self.config.method.name,
            "fusion": self.config.fusion.name,
            "seed": self.config.seed,
        }
        if self.model.fusion.rule is not None:
            meta["rule"] = (
                self.model.fusion.rule
            )  # the rule decides, so the sum before it is not stated as the decision
        loader = self.loader(split)
        loader.features = self.features
        return collect(
            self.model,
            self.method,
            loader,
            self.device,
            meta=meta,
            brief=brief,
            exchange=not brief,
            processes=self.processes,
        )

    def evaluated(self) -> tuple[str, ...]:
        """The splits that are decided on: validation, and test where the store has one."""
        return tuple(split for split in SPLITS if split in self.store.splits())

    def figures(self) -> dict[str, dict[str, float]]:
        """Figures of the model as it is now: on the validation split, with ``optimistic`` on the test split too.

        With a fusion that has a rule, the rule is fitted on the validation split, whose own figures are cross-fitted.
        """
        rule = self.model.fusion.rule
        brief = rule is None or rules.get(rule).source == "logits"
        splits = self.evaluated() if self.config.optimistic else ("val",)
        found = {split: self.predictions(split, brief) for split in splits}
        # The first process decides for all, so that all stop early, or none, whatever their processors.
        of_first = (self.judged(found, rule), alone(found["val"])) if self.processes.first else None
        figures, self.alone = self.processes.agree(of_first)
        return dict(figures)

    def judged(self, found: Mapping[str, Predictions], rule: str | None) -> dict[str, dict[str, float]]:
        """The figures of decisions by split, under a rule where there is one."""
        if rule is None:
            return {split: summarise(p) for split, p in found.items()}
        decided = {"val": cross_fit(found["val"], rule, folds=BRIEF_FOLDS)}
        if "test" in found:
            decided["test"] = fit_rule(found["val"], rule).apply(found["test"])
        return {split: summarise(replace(p, fused=decided[split])) for split, p in found.items()}

    def decide(self) -> tuple[dict[str, Predictions], Rule | None]:
        """The decisions by split, each of which runs through the model once, and the rule where the fusion has one.

        The rule is fitted on the validation split, and decides there cross-fitted; of several processes, in the first alone.
        """
        found = {split: self.predictions(split) for split in self.evaluated()}
        name = self.model.fusion.rule
        if name is None or not self.processes.first:
            return found, None
        rule = fit_rule(found["val"], name)
        decided = {split: with_rule(p, rule, name) for split, p in found.items() if split != "val"}
        return {"val": cross_ruled(found["val"], name, FOLDS), **decided}, rule

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
            if self.stopped_early() and not extended:
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
        self.pace.batch(samples)
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

    def after_epoch(self, run: Run, state: dict[str, Any]) -> bool:
        """Evaluate, record and save; true when the run stops early. Raises Interrupted where it is asked to stop."""
        speed = self.pace.epoch()
        figures = self.figures()
        entry: dict[str, Any] = {
            "epoch": state["epoch"],
            "stage": run.stage.name if run.stage else "",
            "train": dict(sorted(self.processes.mean(run.records, run.shares).items())),
            **figures,
            "alone": self.alone,
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
        early = self.stopped_early()
        if (
            self.processes.any([bool(self.watch.why)], self.device)[0]
            and not early
            and state["epoch"] < self.config.epochs
        ):
            self.stop(f"after epoch {state['epoch']} of {self.config.epochs}")
        return early

    def stop(self, where: str) -> None:
        """Raise Interrupted; everything is saved."""
        raise Interrupted(f"{self.watch.why or 'Interrupted'} {where}; everything up to there is saved.")

    def stopped_early(self) -> bool:
        """Whether validation has not got better for ``patience`` epochs."""
        if self.config.patience is None or not self.history:
            return False
        return len(self.history) - best_epoch(self.history, self.config.select) >= self.config.patience

    def line(self, entry: Mapping[str, Any], speed: str) -> Line:
        """What is told of an epoch; accuracies are those on the validation split."""
        assert self.run.optimiser is not None
        rates = sorted({f"{group['lr']:.3g}" for group in self.run.optimiser.param_groups})
        figures = {
            "loss": f"{sum(v for name, v in entry['train'].items() if name.startswith('loss/')):.3f}",
            "accuracy": SHARE.text(entry["val"]["accuracy"]),
            **{f"{m} alone": SHARE.text(share) for m, share in self.alone.items()},
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
        decided, rule = self.decide()
        figures_of_last = self.write(decided, LAST_EPOCH)
        if best != last:
            self.states.of_the_best(self.folder)
            decided, rule = self.decide()
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


def best_epoch(history: list[dict[str, Any]], select: str) -> int:
    """The epoch (from 1) of the last stage with the best validation figure; ties go to the lower NLL, then to the earlier.

    Earlier stages train something other than the final model, such as teachers.
    """
    history = [entry for entry in history if entry["stage"] == history[-1]["stage"]]

    def key(entry: dict[str, Any]) -> tuple[float, float]:
        val = entry["val"]
        return (-val["accuracy"], val["nll"]) if select == "accuracy" else (val["nll"], -val["accuracy"])

    return int(min(history, key=key)["epoch"])


def started_from(config: TrainConfig) -> Started:
    """The encoders of the run that ``config`` starts from, and the normalisation of their inputs."""
    if config.encoders_from is None:
        return Started()
    saved = read_checkpoint(Path(config.encoders_from))["config"]
    encoders = {m: Choice.model_validate(choice) for m, choice in saved["encoder"].items()}
    return Started(encoders, saved.get("normalise", {}))
