"""Predictions gathered from a plain torch model that knows nothing of mmbal."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmbal.errors import DataError
from mmbal.models.collect import collect


class TwoBranches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.drop = nn.Linear(3, 2, bias=False), nn.Linear(4, 2, bias=False), nn.Dropout(0.9)

    def forward(self, x, y):
        return self.a(self.drop(x)), self.b(self.drop(y))


def step(model, batch):
    x, y, labels, names = batch
    a, b = model(x, y)
    return {"labels": labels, "logits_sound": a, "logits_sight": b, "fused": a + b, "ids": names,
            "weight_sound": model.a.weight}  # fmt: skip


def batches(sizes=(3, 2)):
    torch.manual_seed(0)
    return [
        (torch.randn(n, 3), torch.randn(n, 4), torch.arange(n) % 2, [f"{k}-{i}" for i in range(n)])
        for k, n in enumerate(sizes)
    ]


def test_rows_come_in_the_order_of_the_loader_and_in_evaluation_mode():
    model, data = TwoBranches().train(), batches()
    model.b.eval()
    got = collect(model, data, step, classes=["no", "yes"], split="val", meta={"method": "mine"})
    x = torch.cat([batch[0] for batch in data])
    expected = [[sum(w * v for w, v in zip(row, sample, strict=True)) for row in model.a.weight.tolist()]
                for sample in x.tolist()]  # fmt: skip
    assert got.logits["sound"] == pytest.approx(torch.tensor(expected).numpy(), abs=1e-6)
    assert got.ids.tolist() == ["0-0", "0-1", "0-2", "1-0", "1-1"]
    assert got.labels.tolist() == [0, 1, 0, 0, 1]
    assert got.splits() == {"val": 5}
    assert got.weight["sound"].shape == (2, 3)
    assert got.classes == ("no", "yes")
    assert got.meta == {"producer": "mmbal.collect", "method": "mine"}
    assert (model.training, model.a.training, model.b.training, model.drop.training) == (True, True, False, True)


def test_half_precision_is_taken():
    def half(model, batch):
        return {key: v.half() if torch.is_tensor(v) and v.is_floating_point() else v
                for key, v in step(model, batch).items()}  # fmt: skip

    assert collect(TwoBranches(), batches(), half).logits["sight"].dtype == "float64"


def test_what_is_wrong_is_said():
    with pytest.raises(DataError, match="no batch"):
        collect(TwoBranches(), [], step)

    def uneven(model, batch):
        given = step(model, batch)
        if len(batch[2]) == 2:
            del given["fused"]
        return given

    with pytest.raises(DataError, match="Batch 1 and batch 0 differ in 'fused'"):
        collect(TwoBranches(), batches(), uneven)
    with pytest.raises(DataError, match="labels"):
        collect(TwoBranches(), batches(), lambda model, batch: {"logits_m": batch[0]})
