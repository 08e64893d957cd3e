"""G2D against numbers worked out by hand, and what its two stages do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.best import best_epoch
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.session import Session
from mmbal.engine.train import resume, train
from mmbal.errors import Interrupted
from mmbal.methods.g2d import logit_distance, prioritised
from mmbal.methods.parts.teachers import feature_distance

Toy = Callable[..., Store]
THREE = {"audio": 6, "text": 5, "video": 4}


def config(toy: Toy, dims: dict[str, int] | None = None, epochs: int = 6, **choice: object) -> TrainConfig:
    store = toy(dims or {"audio": 6, "video": 4})
    optimiser = OptimiserConfig(lr=0.1, schedule="constant")
    method = Choice(name="g2d", **choice)
    return TrainConfig(data=str(store.path), method=method, epochs=epochs, optimiser=optimiser, device="cpu")


def test_the_distances_are_means_over_the_rows_that_have_the_modality():
    student, teacher = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 5.0], [9.0, 9.0]])
    here = torch.tensor([True, False])
    assert float(feature_distance(student, teacher, here)) == pytest.approx(9 / 2)
    o, u = [math.log(1.0), math.log(3.0)], [math.log(1.0), math.log(1.0)]
    found = logit_distance(torch.tensor([o, u]), torch.tensor([u, o]), here, temperature=1.0)
    assert float(found) == pytest.approx(0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75))
    # At T = 2 the student's odds are 1 : sqrt(3).
    q = 1 / (1 + math.sqrt(3))
    found = logit_distance(torch.tensor([o, u]), torch.tensor([u, o]), here, temperature=2.0)
    assert float(found) == pytest.approx(4 * (0.5 * math.log(0.5 / q) + 0.5 * math.log(0.5 / (1 - q))), rel=1e-5)


def test_the_weakest_learns_first():
    assert prioritised({"a": 0.6, "v": 0.4}, 0.0) == prioritised({"a": 0.6, "v": 0.4}, 0.99) == ["v"]
    assert set(prioritised({"a": 0.6, "v": 0.4}, 1.0)) == {"a", "v"}
    scores = {"a": 0.5, "b": 0.7, "c": 0.6}
    assert prioritised(scores, 0.49) == ["a"]
    assert prioritised(scores, 0.5) == ["a", "c"]


def test_the_student_starts_where_the_teachers_did_and_learns_from_them(toy: Toy):
    made = Session(config(toy, epochs=3, teacher_epochs=2, window=1.0, alpha=0.5, beta=2.0))
    start = {k: v.clone() for k, v in made.model.state_dict().items()}
    assert [(s.name, s.epochs) for s in made.method.stages(3)] == [("teachers", 2), ("student", 1)]
    made.after_epoch = lambda run, state: run.epoch == 1  # type: ignore[method-assign]
    made.fit()
    trained = {k: v.clone() for k, v in made.model.state_dict().items()}
    assert not torch.equal(trained["encoders.audio.net.0.1.weight"], start["encoders.audio.net.0.1.weight"])
    made.run.epoch = 2
    made.method.on_epoch_start(made.run)
    assert all(torch.equal(v, start[k]) for k, v in made.model.state_dict().items())
    assert all(torch.equal(v, trained[k]) for k, v in made.method.kept.state_dict().items())
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    phase = made.method.phases(made.run)[0]
    found = made.method.losses(output, batch, phase, made.run)
    assert set(found) == {"fused", "feature/audio", "feature/video", "logits/audio", "logits/video"}
    teachers = made.method.taught(batch)
    there = output.present["audio"]
    assert float(found["feature/audio"].detach()) == pytest.approx(
        0.5 * float(feature_distance(output.features["audio"], teachers.features["audio"], there).detach())
    )
    assert float(found["logits/video"].detach()) == pytest.approx(
        2 * float(logit_distance(output.fused, teachers.logits["video"], there, 1.0).detach())
    )
    made.method.backward(found, made.run)
    made.method.on_gradients(output, batch, phase, made.run)
    stronger = max(made.method.scores, key=made.method.scores.get)
    for m, encoder in made.model.encoders.items():
        assert all((p.grad is None) == (m == stronger) for p in encoder.parameters())
    assert all(p.grad is not None for p in made.model.fusion.parameters())


def test_after_the_window_all_encoders_learn(toy: Toy):
    made = Session(config(toy, THREE, epochs=5, teacher_epochs=1, window=0.5))
    learns = []
    made.after_epoch = lambda run, state: learns.append(dict(run.records)) or False  # type: ignore[method-assign]
    made.fit()
    # The student's four epochs: one encoder, then two, then all.
    count = [sum(v[0] for k, v in seen.items() if k.startswith("learns/")) for seen in learns]
    assert count == [0, 1, 2, 0, 0]


def test_the_checkpoint_is_of_the_student(toy: Toy, tmp_path: Path):
    history = [
        {"epoch": 1, "stage": "teachers", "val": {"accuracy": 0.9, "nll": 0.1}},
        {"epoch": 2, "stage": "student", "val": {"accuracy": 0.5, "nll": 0.9}},
        {"epoch": 3, "stage": "student", "val": {"accuracy": 0.6, "nll": 0.8}},
    ]
    assert best_epoch(history, "accuracy") == 3
    assert best_epoch(history[:1], "accuracy") == 1
    result = train(config(toy, epochs=3, teacher_epochs=2), out=tmp_path / "run")
    assert result.summary["best_epoch"] == 3
    stages = [json.loads(line)["stage"] for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert stages == ["teachers", "teachers", "student"]


def test_a_run_that_is_resumed_for_longer_keeps_its_teachers(toy: Toy, tmp_path: Path):
    def stop(steps: int, message: str) -> None:
        if message.startswith("epoch 3"):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        train(config(toy, epochs=6), out=tmp_path / "run", report=stop)
    before = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["method"]
    resume(tmp_path / "run", epochs=12)
    after = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["method"]
    assert int(before["boundary"]) == 2
    assert all(torch.equal(after[key], value) for key, value in before.items())
