"""UMT by hand: the distance to the teachers, and who they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session

Toy = Callable[..., Store]


def test_the_student_starts_anew_and_is_held_to_the_features_of_its_teachers(toy: Toy):
    store = toy({"audio": 6, "text": 5, "video": 4})
    choice = Choice(name="umt", teacher_epochs=1, strength=3.0)
    run = Session(TrainConfig(data=str(store.path), method=choice, epochs=3, device="cpu"))
    method, model = run.method, run.model
    start = {k: v.clone() for k, v in model.state_dict().items()}
    assert [(s.name, s.epochs) for s in method.stages(3)] == [("teachers", 1), ("student", 2)]
    run.after_epoch = lambda state, _: True  # type: ignore[method-assign]
    run.fit()
    trained = {k: v.clone() for k, v in model.state_dict().items()}
    run.run.epoch = 1
    method.on_epoch_start(run.run)
    assert all(torch.equal(v, start[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(v, trained[k]) for k, v in method.kept.state_dict().items())
    batch = next(run.run.train.epoch(1))
    batch.present["text"][:7] = False
    output = model(batch)
    found = method.losses(output, batch, method.phases(run.run)[0], run.run)
    assert set(found) == {"fused", "feature/audio", "feature/text", "feature/video"}
    assert found["fused"].item() == pytest.approx(cross_entropy(output.fused, batch.labels).item())
    for m, encoder in method.kept.encoders.items():
        rows = [i for i in range(len(batch)) if batch.present[m][i]]
        distances = []
        for i in rows:
            wrong = (output.features[m][i] - encoder(batch.inputs[m][i : i + 1])[0]).tolist()
            distances.append(sum(w**2 for w in wrong) / len(wrong))
        assert found[f"feature/{m}"].item() == pytest.approx(3 * sum(distances) / len(rows), rel=1e-4)
