"""LCKD by hand: Dice scores, the election, the distance to the teacher, and what stands for a missing modality."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.lckd import dice_scores, distillation, elected, mean_feature, teaches

Toy = Callable[..., Store]


def test_dice_counts_hits_twice_and_each_error_once():
    said, labels = torch.tensor([0, 0, 1, 1, 0]), torch.tensor([0, 1, 1, 0, 0])
    logits = torch.nn.functional.one_hot(said, 3).float()
    # Class 0: 2 hits, said 3 times, true 3 times. Class 1: 1 hit, said 2, true 2. Class 2: never.
    assert dice_scores(logits, labels).tolist() == pytest.approx([4 / 6, 2 / 4, 0.0])


def test_the_best_modality_of_a_class_is_elected():
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.5, 0.6, 0.0], [0.5, 0.3, 0.0]])
    known = torch.tensor([True, True, False])
    # Class 2 has no rows: the largest sum, 1.1, is that of the second modality.
    assert elected(scores, known).tolist() == [0, 1, 1]


def test_the_class_s_teacher_teaches_or_all_who_were_elected():
    teachers, labels = torch.tensor([2, 0, 2]), torch.tensor([0, 1, 2, 1])
    assert teaches(teachers, labels, 3, everyone=False).long().tolist() == [[0, 1, 0, 1], [0] * 4, [1, 0, 1, 0]]
    assert teaches(teachers, labels, 3, everyone=True).long().tolist() == [[1] * 4, [0] * 4, [1] * 4]
    assert not teaches(torch.tensor([-1, -1, -1]), labels, 3, everyone=False).any()


def test_the_distance_is_the_mean_absolute_one_and_the_teacher_is_a_constant():
    student = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    teachers = torch.tensor([[[1.0, 5.0], [1.0, 1.0]], [[0.0, 0.0], [4.0, -2.0]]], requires_grad=True)
    rows = torch.tensor([[True, False], [True, True]])
    found = distillation(student, teachers, rows)
    assert found.tolist() == pytest.approx([(0 + 3) / 2 + (1 + 2) / 2, (4 + 2) / 2])
    found.sum().backward()
    assert teachers.grad is None
    assert student.grad is not None


def test_the_mean_feature_is_over_what_a_row_has():
    features = {"a": torch.tensor([[2.0], [2.0], [9.0]]), "b": torch.tensor([[4.0], [4.0], [9.0]])}
    present = {"a": torch.tensor([True, True, False]), "b": torch.tensor([True, False, False])}
    assert mean_feature(features, present).tolist() == [[3.0], [2.0], [0.0]]


def session(toy: Toy, **options: object) -> Session:
    store = toy({"audio": 6, "text": 5, "video": 4})
    return Session(TrainConfig(data=str(store.path), method=Choice(name="lckd", **options), epochs=3, device="cpu"))


def test_a_missing_feature_is_the_mean_of_the_others(toy: Toy):
    run = session(toy)
    batch = next(run.run.train.epoch(0))
    batch.present["text"][:6] = False
    output = run.model(batch)
    found = run.method.predict(output)
    for i in range(len(batch)):
        z = {m: output.features[m][i] for m in run.model.modalities}
        if i < 6:
            z["text"] = (z["audio"] + z["video"]) / 2
        expected = sum(run.model.fusion.part(m, z[m]) for m in z)
        assert torch.allclose(found.fused[i], expected, atol=1e-5)
    assert found.features is output.features


@pytest.mark.parametrize("who", ["class", "all"])
def test_the_loss_after_the_first_election(toy: Toy, who: str):
    run = session(toy, teachers=who, strength=0.5, drop=0.4)
    method, state = run.method, run.run
    method.on_epoch_start(state)
    assert method.teachers.tolist() == [-1, -1, -1]
    batch = next(state.train.epoch(0))
    assert method.on_batch(batch, state) is batch
    state.epoch = 1
    method.on_epoch_start(state)
    assert set(method.teachers.tolist()) <= {0, 1, 2}
    method.teachers.copy_(torch.tensor([0, 2, 2]))
    batch = method.on_batch(batch, state)
    assert all(0 < int(p.sum()) < len(batch) for p in batch.present.values())
    output = method.fuse(run.model(batch))
    found = method.losses(output, batch, method.phases(state)[0], state)
    names = sorted(run.model.modalities)
    for n in names:
        total, rows = 0.0, 0
        for i, y in enumerate(batch.labels.tolist()):
            teaching = {names[method.teachers[y]]} if who == "class" else {names[0], names[2]}
            by = [t for t in teaching if t != n and batch.present[t][i] and batch.present[n][i]]
            rows += bool(by)
            for t in by:
                wrong = (output.features[n][i] - output.features[t][i]).tolist()
                total += sum(abs(w) for w in wrong) / len(wrong)
        expected = 0.5 * total / rows if rows else 0.0
        assert found[f"distil/{n}"].item() == pytest.approx(expected, rel=1e-4, abs=1e-7)
