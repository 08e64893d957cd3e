"""The loop, whole. It knows no method by name; see mmbal/methods/base.py for the hooks and their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from mmbal.data.store.loader import Batch
from mmbal.engine import position
from mmbal.engine.config import TrainConfig
from mmbal.engine.distributed import Processes
from mmbal.engine.finite import NotFinite, origin, require_finite, require_finite_gradients
from mmbal.engine.gradients import GradientAverage
from mmbal.engine.learning import enter_training, learners, require_training, select_parts
from mmbal.engine.optimiser import build_optimiser, learning_rate, load_optimiser, take_step, trained_by
from mmbal.engine.recorders import Recorder
from mmbal.engine.seeding import seed_all
from mmbal.methods.base import Method, Phase, Run, parts
from mmbal.models.multimodal import Output
from mmbal.models.whole_batch import shared_by_processes
from mmbal.progress import portion

State = dict[str, Any]
AfterEpoch = Callable[[Run, State], bool]
AfterBatch = Callable[[int, Callable[[], State]], None]


def fit(
    run: Run,
    method: Method,
    config: TrainConfig,
    *,
    processes: Processes,
    after_epoch: AfterEpoch,
    after_batch: AfterBatch | None = None,
    recorders: Mapping[str, Recorder] | None = None,
    resume: dict[str, Any] | None = None,
) -> None:
    """Train; ``after_epoch(run, state)`` evaluates and saves, and returns True to stop.

    ``after_batch`` is told the number of samples of each batch, and how to get the state after it.

    A state is what ``resume`` takes: the number of epochs done, the steps, the optimiser, what ``recorders`` saw and,
    within an epoch, the :mod:`mmbal.engine.position` in it. The method must be set up and, when resuming, model and
    method must hold their saved state. Raises NotFinite where an input, a loss or a gradient is not finite.
    """
    modules = parts(run.model, method)
    learning = learners(modules)
    watching = dict(recorders or {})
    for name, recorder in watching.items():
        if resume:
            recorder.load(resume["recorders"][name])
    done = resume["epoch"] if resume else 0
    run.step = resume["step"] if resume else 0
    within = resume.get("within") if resume else None
    first, stages = 0, method.stages(config.epochs)
    left = sum(stage.epochs for stage in stages) - done

    def state(epochs: int) -> State:
        assert run.optimiser is not None
        return {
            "epoch": epochs,
            "step": run.step,
            "optimiser": run.optimiser.state_dict(),
            "recorders": {name: recorder.state() for name, recorder in watching.items()},
        }

    for stage in stages:
        last = first + stage.epochs
        if done < last:
            run.stage = stage
            select_parts(modules, stage, learning)
            optimiser = run.optimiser = build_optimiser(modules, config.optimiser)
            average = GradientAverage(trained_by(optimiser), processes)
            if resume and (done > first or within):
                load_optimiser(optimiser, resume["optimiser"])
            for run.epoch in range(max(first, done), last):
                if not within:
                    for group in optimiser.param_groups:
                        group["lr"] = learning_rate(config.optimiser, run.epoch - first, stage.epochs)
                recorded = list(watching.values())
                with portion(1 / left):
                    train_epoch(run, method, config, modules, average, recorded, after_batch, state, within)
                within = None
                if after_epoch(run, state(run.epoch + 1)):
                    return
            average.close()
        first = last


def train_epoch(
    run: Run,
    method: Method,
    config: TrainConfig,
    modules: dict[str, nn.Module],
    average: GradientAverage,
    recorders: Sequence[Recorder] = (),
    after_batch: AfterBatch | None = None,
    state: Callable[[int], State] = lambda epochs: {},
    within: dict[str, Any] | None = None,
) -> None:
    """One epoch: its hooks, and every batch, or those after the position ``within`` it.

    ``state`` gives what is saved of the run with so many epochs done, to which ``after_batch`` gets the position added.
    """
    model, processes = run.model, average.processes
    seed_all(config.seed, run.epoch)
    run.records.clear()
    run.shares.clear()
    run.share = 1 / processes.world
    learning = enter_training(model, modules)
    rows: position.Rows
    if within:
        rows, done = position.restore(run, method, within, processes), within["batches"]
    else:
        for recorder in recorders:
            recorder.on_epoch_start(run)
        method.on_epoch_start(run)
        rows, done = method.sampler(run), 0
    samples = max(len(run.train.split_rows) // processes.world, 1)
    batches = run.train.epoch(run.epoch, rows, done)
    while group := [batch.to(run.device) for batch in islice(batches, config.accumulate)]:
        size = sum(map(len, group))
        with portion(size / samples):
            train_batches(run, method, config, group, done + 1, learning, average, recorders)
        done += len(group)
        if after_batch is not None:

            def now(batches: int = done) -> State:
                return state(run.epoch) | {"within": position.take(run, method, rows, batches, processes)}

            after_batch(size, now)
    processes.share_buffers(model)
    method.on_epoch_end(run)
    for recorder in recorders:
        recorder.on_epoch_end(run)


def train_batches(
    run: Run,
    method: Method,
    config: TrainConfig,
    batches: Sequence[Batch],
    number: int,
    learning: Mapping[str, nn.Module],
    average: GradientAverage,
    recorders: Sequence[Recorder] = (),
) -> None:
    """Every phase of some batches, one optimiser step each, on the mean gradient of all their samples.

    ``number`` is that of the first batch in its epoch; ``learning`` is what :func:`enter_training` returned. Gradients are
    averaged over processes while the last backward pass goes on, where a method has only one.
    """
    optimiser = run.optimiser
    assert optimiser is not None
    shares, share = [batch.share for batch in batches], Batch.joined(batches).share
    batches, number = list(batches), number - 1
    for k, batch in enumerate(batches):
        with placed(run, number + k, batch), sharing(run, average, shares[k]):
            require_finite(batch.features or batch.inputs, "input")
            with autocast(run, config):
                batches[k] = method.on_batch(batch, run)
    whole = Batch.joined(batches)
    for phase in method.phases(run):
        require_training(learning, method)
        optimiser.zero_grad(set_to_none=True)
        outputs = []
        for k, batch in enumerate(batches):
            with placed(run, number + k, batch), sharing(run, average, shares[k]):
                output, losses = forward(run, method, batch, phase, config)
                for name, loss in losses.items():
                    run.log(f"loss/{name}", loss)
                    if not bool(torch.isfinite(loss)):
                        raise NotFinite(f"The loss '{name}' became {float(loss.detach())}", origin(output))
                if len(batches) > 1:
                    losses = {name: loss * (len(batch) / len(whole)) for name, loss in losses.items()}
                if k == len(batches) - 1 and type(method).backward is Method.backward:
                    average.watch(share)
                method.backward(losses, run)
            outputs.append(output)
        with placed(run, number, whole), sharing(run, average, share):
            average.finish(share)
            step(run, method, config, Output.joined(outputs), whole, phase, recorders)


def step(
    run: Run,
    method: Method,
    config: TrainConfig,
    output: Output,
    batch: Batch,
    phase: Phase,
    recorders: Sequence[Recorder],
) -> None:
    """One optimiser step on the gradients that are there, averaged over processes."""
    optimiser = run.optimiser
    assert optimiser is not None
    require_finite_gradients(optimiser)
    for recorder in recorders:
        recorder.after_backward(run)
    method.on_gradients(output, batch, phase, run)
    if config.optimiser.clip is not None:
        nn.utils.clip_grad_norm_(trained_by(optimiser), config.optimiser.clip)
    take_step(optimiser)
    run.step += 1
    for recorder in recorders:
        recorder.after_step(run)


@contextmanager
def placed(run: Run, number: int, batch: Batch) -> Iterator[None]:
    """Where a number is not finite in the block, the error says in which batch (from 0) of the epoch."""
    try:
        yield
    except NotFinite as error:
        raise error.at(run, number + 1, batch) from None


@contextmanager
def sharing(run: Run, average: GradientAverage, share: float) -> Iterator[None]:
    """While the block runs, this process has a ``share`` of the samples that are trained on."""
    run.share = share
    with shared_by_processes(average.processes.sum, share):
        yield
    run.share = 1 / average.processes.world


def autocast(run: Run, config: TrainConfig) -> torch.autocast:
    """The number format of the forward pass."""
    return torch.autocast(run.device.type, torch.bfloat16, enabled=config.precision == "bf16")


def forward(
    run: Run, method: Method, batch: Batch, phase: Phase, config: TrainConfig
) -> tuple[Output, dict[str, Tensor]]:
    """The model's output for a batch in training, and its losses."""
    with autocast(run, config):
        read = run.model.encode(batch, phase.modalities, phase.modalities if phase.alone else None)
        features = method.on_features(read, batch, run)
        decided = run.model.decide(features, batch.present)
        if not bool(torch.isfinite(decided.fused).all()):  # before a method computes with them
            raise NotFinite("The fused logits became NaN or infinite", origin(decided))
        output = method.fuse(decided)
        return output, method.losses(output, batch, phase, run)
