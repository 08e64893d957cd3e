"""How long a run will take, by hand; and the line that says what makes it shorter."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mmbal.data.store.store import Store
from mmbal.engine import session
from mmbal.engine.config import TrainConfig
from mmbal.engine.pace import Pace, epoch_seconds


def test_the_forecast_leaves_out_the_first_batch_and_counts_evaluation():
    readings = iter([0.0, 9.0, 14.0])  # the beginning, after the first batch, after the third
    pace = Pace(lambda: next(readings))
    assert [pace.batch(8), pace.batch(8), pace.batch(2)] == [None, None, 0.5]  # 5 s for 10 samples
    assert pace.batch(8) is None
    # 60 s of training on 100 samples, 50 are evaluated at 0.32 of the cost
    assert epoch_seconds(60.0, {"train": 100, "val": 25, "test": 25}) == pytest.approx(60 * 1.16)


@pytest.mark.parametrize(("long", "told"), [(0.0, 1), (1e6, 0)])
def test_a_long_run_says_once_what_makes_it_shorter(
    toy: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, long: float, told: int
):
    monkeypatch.setattr(session, "LONG", long)
    lines: list[str] = []
    config = TrainConfig(data=str(toy({"a": 3, "b": 2}).path), epochs=2, batch_size=4, patience=5, device="cpu")
    session.Session(config, report=lambda steps, line: lines.append(line)).fit()
    found = [line for line in lines if "on this CPU" in line]
    assert len(found) == told
    assert all(
        line.startswith("at most about ") and "bf16 (where the processor has it) or fewer --epochs" in line
        for line in found
    )
    assert not any("--encoder" in line for line in found)  # features, for which there is no smaller network
