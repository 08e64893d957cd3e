"""A training that is stopped anywhere goes on to the bits of one that was not."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from killing import child, same_files
from terminal import mmbal as command

from mmbal.data.prepare import embedded_store
from mmbal.data.store.loader import Batch
from mmbal.data.store.store import Store, write_view
from mmbal.engine import loop
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.finite import NotFinite
from mmbal.engine.pretrain import pretrain
from mmbal.engine.pretrain import resume as resume_pretrain
from mmbal.engine.saving import Saving, Watch
from mmbal.engine.session import Session
from mmbal.engine.train import resume, train
from mmbal.errors import Interrupted, UsageError
from mmbal.methods.base import Method
from mmbal.runs import FAILED, WITHIN, finished

pytestmark = pytest.mark.counted("faults")
AT_ONCE = Saving(deadline=0)  # after every batch
OF_THE_CLOCK = ("env.json", "summary.json", "config.yaml")
DIMS = {"audio": 6, "video": 4}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A few of the embedded spoken and written digits."""
    whole = Store.open(embedded_store())
    few = [whole.rows(split)[::step][:n] for split, step, n in (("train", 40, 40), ("val", 20, 12), ("test", 20, 12))]
    return write_view(whole, np.concatenate(few), tmp_path_factory.mktemp("stores") / "few")


def config(store: Store, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {"data": str(store.path), "epochs": 2, "batch_size": 16, "device": "cpu"}
    return TrainConfig(**(values | changes))


def batches_taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by the size of every batch that is trained on."""
    taken: list[int] = []
    train_batches = loop.train_batches

    def counted(run: Any, method: Any, config: Any, batches: list[Batch], *rest: Any) -> None:
        taken.append(sum(map(len, batches)))
        train_batches(run, method, config, batches, *rest)

    monkeypatch.setattr(loop, "train_batches", counted)
    return taken


@pytest.mark.parametrize(
    "changes",
    [
        {"method": Choice(name="ogm_ge"), "record": ["heavy_tails"]},
        {"method": Choice(name="di_mml")},  # two stages
        {"method": Choice(name="mla")},  # alternating
    ],
    ids=lambda changes: changes["method"].name,
)
def test_a_run_that_is_stopped_after_every_batch_is_the_undisturbed_one(digits, tmp_path, monkeypatch, changes):
    given = config(digits, **changes)
    taken = batches_taken(monkeypatch)
    train(given, out=tmp_path / "whole")
    undisturbed = list(taken)
    taken.clear()
    with pytest.raises(Interrupted, match=r"Stopped before the end of --max-hours in epoch 1 of 2, after batch 1;"):
        train(given, out=tmp_path / "parts", saving=AT_ONCE)
    for _ in range(2 * len(undisturbed)):
        with suppress(Interrupted):
            resume(tmp_path / "parts", saving=AT_ONCE)
            break
    assert taken == undisturbed == [16, 16] * 2  # none is trained on twice
    same_files(tmp_path / "parts", tmp_path / "whole", OF_THE_CLOCK)


def test_what_is_saved_within_an_epoch_outlives_a_kill(toy, tmp_path, monkeypatch):
    given = config(toy(DIMS), epochs=1)
    after_batch = Session.after_batch

    def die(session: Session, samples: int, state: Any) -> None:
        after_batch(session, samples, state)
        if samples == 16 and (tmp_path / "run" / WITHIN).is_file() and state()["within"]["batches"] == 3:
            os._exit(9)

    monkeypatch.setattr(Session, "after_batch", die)
    _, status = os.waitpid(child(lambda: train(given, out=tmp_path / "run", saving=Saving(every=0))), 0)
    assert os.waitstatus_to_exitcode(status) == 9
    monkeypatch.undo()
    taken = batches_taken(monkeypatch)
    resume(tmp_path / "run")
    assert taken == [16, 16]  # of five
    assert not (tmp_path / "run" / WITHIN).exists()
    train(given, out=tmp_path / "whole")
    same_files(tmp_path / "run", tmp_path / "whole", OF_THE_CLOCK)


def test_more_epochs_begin_the_epoch_anew(toy, tmp_path, monkeypatch):
    """Their learning rates are others, from the first batch of the epoch on."""
    with pytest.raises(Interrupted):
        train(config(toy(DIMS)), out=tmp_path / "run", saving=AT_ONCE)
    resume(tmp_path / "run", epochs=3)
    train(config(toy(DIMS), epochs=3), out=tmp_path / "whole")
    same_files(tmp_path / "run", tmp_path / "whole", OF_THE_CLOCK)


def test_an_early_stop_is_not_forgotten_by_an_interruption(toy, tmp_path, monkeypatch):
    given = config(toy(DIMS), epochs=20, patience=1)
    expected = train(given, out=tmp_path / "whole").summary["epochs"]
    assert expected < 20

    def interrupted(session: Session) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr(Session, "finish", interrupted)
        with pytest.raises(Interrupted) as stopped:
            train(given, out=tmp_path / "run")
    assert stopped.value.hint == f"Go on with: mmbal train --resume {tmp_path / 'run'}"
    assert resume(tmp_path / "run").summary["epochs"] == expected
    same_files(tmp_path / "run", tmp_path / "whole", OF_THE_CLOCK)


def test_pretraining_goes_on(toy, tmp_path):
    given = config(toy(DIMS), epochs=1, batch_size=40)
    pretrain(given, out=tmp_path / "whole")
    with pytest.raises(Interrupted, match=r"^audio: Stopped before .* in epoch 1 of 1, after batch 1;") as stopped:
        pretrain(given, out=tmp_path / "run", saving=AT_ONCE)
    assert stopped.value.hint == f"Go on with: mmbal pretrain --resume {tmp_path / 'run'}"
    with pytest.raises(UsageError, match="mmbal pretrain") as refused:
        resume(tmp_path / "run")
    assert "mmbal pretrain --resume" in refused.value.hint
    for _ in range(4):
        try:
            resume_pretrain(tmp_path / "run", saving=AT_ONCE)
        except Interrupted:
            continue
    assert finished(tmp_path / "run")
    same_files(tmp_path / "run", tmp_path / "whole", OF_THE_CLOCK)


def test_every_command_that_trains_stops_in_time_and_says_how_to_go_on(toy, tmp_path):
    options = ["--data", toy(DIMS).path, "--epochs", 1, "--batch-size", 16, "--device", "cpu"]
    for name in ("train", "pretrain"):
        run = tmp_path / name
        for batch, given in enumerate(([*options, "--out", run], ["--resume", run, "--save-every", 0]), start=1):
            result = command(name, *given, "--max-hours", 0)
            assert result.exit_code == 130, result.output
            told = " ".join(result.stderr.split())
            assert f"Stopped before the end of --max-hours in epoch 1 of 1, after batch {batch};" in told
            assert f"Go on with: mmbal {name} --resume {run}" in told
    study = tmp_path / "study.yaml"
    study.write_text(
        f"data: {{toy: {{data: {toy(DIMS).path}}}}}\nvariants: {{joint: {{}}}}\nseeds: [0]\n"
        "base: {epochs: 1, batch_size: 16, device: cpu}\n"
    )
    for batch in (1, 2):
        result = command("sweep", study, "--out", tmp_path / "sweep", "--max-hours", 0)
        assert result.exit_code == 130
        assert f"after batch {batch};" in result.stderr
        assert "The same command goes on." in result.stderr
    for option in ("--max-hours", "--save-every"):
        assert command("train", *options, option, "nan", "--out", tmp_path / "no").exit_code == 2
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_stops(number, request):
    # whoever starts the tests in the background lets them ignore Ctrl-C
    request.addfinalizer(
        partial(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
    )
    before, told = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}, list[str]()
    with Watch(Saving(), told.append) as watch:
        os.kill(os.getpid(), number)
        assert watch.why == "Interrupted"
        assert "second signal" in told[0]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert {n: signal.getsignal(n) for n in before} == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Watch(Saving(), print) as watch:
            os.kill(os.getpid(), signal.SIGINT)
            assert not watch.why
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_deadline_leaves_room_for_the_longest_step(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("mmbal.engine.saving.time.monotonic", lambda: now[0])
    watch = Watch(Saving.of(max_hours=0.01), print)  # 36 s: to 136
    for at, stops in ((112, False), (116, False), (124, True)):  # the longest step took 12 s
        now[0] = at
        watch.step()
        assert bool(watch.why) == stops


def test_an_input_that_is_not_finite_is_named(toy, tmp_path):
    store = toy(DIMS)
    session = Session(config(store))
    rows = session.run.train.split_rows
    array = np.array(store.arrays["video"])
    array[rows[3], 1] = np.inf
    session.run.train.store = replace(store, arrays={**store.arrays, "video": array})
    with pytest.raises(
        NotFinite, match=rf"input of 'video' .* in batch \d of epoch 1 \(samples {store.ids[rows[3]]}\)"
    ):
        session.fit()


def test_a_loss_that_is_not_finite_names_batch_and_samples_and_leaves_the_model(toy, tmp_path):
    wild = config(toy(DIMS), epochs=3, optimiser=OptimiserConfig(lr=1e30))
    with pytest.raises(NotFinite, match=r"batch 2 of epoch 1: .*\(samples .*16 in all\); .*failed.pt") as stopped:
        train(wild, out=tmp_path / "run")
    assert stopped.value.exit_code == 4
    assert "of 'audio' have NaN or infinity" in stopped.value.message
    assert torch.load(tmp_path / "run" / FAILED, weights_only=True)["epoch"] == 0


def test_a_decision_that_is_not_finite_names_the_split(toy, tmp_path):
    session = Session(config(toy(DIMS)))
    with torch.no_grad():
        next(session.model.encoders["video"].parameters()).fill_(float("nan"))
    with pytest.raises(
        NotFinite, match=r"The decision of 'video' has NaN or infinity on the split 'val' \(samples 2, 6"
    ):
        session.decisions.figures()


def test_a_gradient_that_is_not_finite_names_the_encoder(toy, monkeypatch):
    session = Session(config(toy(DIMS)))

    def backward(self: Method, losses: Any, run: Any) -> None:
        sum(losses.values()).backward()
        next(run.model.encoders["video"].parameters()).grad.flatten()[0] = float("nan")

    monkeypatch.setattr(Method, "backward", backward)
    with pytest.raises(
        NotFinite, match="The gradient of the encoder of 'video' has NaN or infinity in batch 1 of epoch 1"
    ):
        session.fit()
