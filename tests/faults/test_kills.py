"""kill -9 at random points: the same command, or --resume, then gives what an undisturbed run gives, to the bit.

The short suite kills 5 times each, the long one 50 times in all (`make test-long`).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killing import killed, moments, same_files, whole

import mmbal
from mmbal.cli.importer import import_model
from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.sweep import Study, sweep
from mmbal.engine.train import resume, train
from mmbal.errors import MmbalError
from mmbal.runs import CONFIG, finished

DIMS = {"audio": 6, "video": 4}
TIMES = 5
OF_THE_CLOCK = (
    "results.jsonl",
    "env.json",
    "summary.json",
    "CARD.md",
    "report.html",
    "config.yaml",
    "diagnosis.json",
)  # with times, paths
TRAININGS: dict[str, dict[str, Any]] = {
    "one stage": {"method": Choice(name="ogm_ge")},
    "two stages": {"method": Choice(name="di_mml")},
    "alternating": {"method": Choice(name="mla")},
    "recorders": {"record": ["heavy_tails"]},
}


def config(store: Store, epochs: int = 12, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {"data": str(store.path), "epochs": epochs, "batch_size": 16, "device": "cpu"}
    return TrainConfig(**(values | changes))


def go_on(given: TrainConfig, out: Path) -> None:
    """What a user types after a kill: --resume where the run has begun, else the same command."""
    if (out / CONFIG).is_file():
        resume(out)
    else:
        train(given, out=out, force=True)


@pytest.mark.parametrize("kind", TRAININGS)
def test_training(kind, toy, tmp_path):
    given = config(toy(DIMS), **TRAININGS[kind])
    seconds = whole(lambda: train(given, out=tmp_path / "whole"))
    stopped = 0
    for after in moments(seconds, TIMES, seed=len(kind)):
        if (tmp_path / "run").exists() and finished(tmp_path / "run"):  # it was faster than when it was timed
            shutil.rmtree(tmp_path / "run")
        stopped += killed(lambda: go_on(given, tmp_path / "run"), after / 2)
    assert stopped
    go_on(given, tmp_path / "run")
    same_files(tmp_path / "run", tmp_path / "whole", OF_THE_CLOCK)


def test_preparation(tmp_path):
    sounds = sorted((Path(__file__).parents[1] / "data" / "fsdd").glob("*.wav"))
    (tmp_path / "m.csv").write_text("path,label\n" + "".join(f"{file},{file.name[0]}\n" for file in sounds))
    options: dict[str, Any] = {"workers": 0, "duration": 1.0}
    seconds = whole(lambda: mmbal.prepare(tmp_path / "m.csv", out=tmp_path / "whole", **options))
    for after in moments(seconds, TIMES, seed=1):
        killed(lambda: mmbal.prepare(tmp_path / "m.csv", out=tmp_path / "store", **options), after)
        assert not (tmp_path / "store").exists() or Store.open(tmp_path / "store").hash  # whole, or not at all
    mmbal.prepare(tmp_path / "m.csv", out=tmp_path / "store", **options)
    same_files(tmp_path / "store", tmp_path / "whole")


def test_pretraining(toy, tmp_path):
    given = config(toy(DIMS), epochs=4)
    seconds = whole(lambda: mmbal.pretrain(given, out=tmp_path / "whole"))
    for after in moments(seconds, TIMES, seed=2):
        killed(lambda: mmbal.pretrain(given, out=tmp_path / "run", force=True), after)
    mmbal.pretrain(given, out=tmp_path / "run", force=True)
    same_files(tmp_path / "run", tmp_path / "whole", OF_THE_CLOCK)


def test_a_sweep(toy, tmp_path):
    study = Study(
        data={"toy": {"data": str(toy(DIMS).path)}},
        variants={"joint": {}, "ogm": {"method": {"name": "ogm"}}},
        base={"epochs": 3, "batch_size": 16, "device": "cpu"},
        seeds=(0, 1),
    )
    seconds = whole(lambda: sweep(study, tmp_path / "whole"))
    for after in moments(seconds, TIMES, seed=3):
        killed(lambda: sweep(study, tmp_path / "study"), after)
    sweep(study, tmp_path / "study")
    same_files(tmp_path / "study", tmp_path / "whole", OF_THE_CLOCK)


def test_an_import_and_a_calibration(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{'xy'[k % 2]},{'val' if k % 4 < 2 else 'test'},{rng.normal():.3f},{rng.normal():.3f}" for k in range(400)]
    (tmp_path / "s.csv").write_text("label,split,m:x,m:y\n" + "\n".join(rows) + "\n")
    out = tmp_path / "p.npz"

    def work() -> None:
        import_model(tmp_path / "s.csv", out=out, force=True)
        mmbal.fit_rule(out, "temperature")

    seconds = whole(work)
    shutil.copy(out, tmp_path / "whole.npz")
    for after in moments(seconds, TIMES, seed=4):
        out.unlink(missing_ok=True)
        killed(work, after)
        assert not out.exists() or len(mmbal.Predictions.load(out)) == 400  # whole, or not at all
    work()
    one, other = np.load(out), np.load(tmp_path / "whole.npz")
    assert all(np.array_equal(one[key], other[key]) for key in one.files)


@pytest.mark.long
@pytest.mark.parametrize("kind", TRAININGS)
def test_training_50_times(kind, toy, tmp_path):
    given = config(toy(DIMS), epochs=60, **TRAININGS[kind])
    seconds = whole(lambda: train(given, out=tmp_path / "whole"))
    stopped = 0
    for k, after in enumerate(moments(seconds, 500, seed=5)):
        if (tmp_path / "run").exists() and finished(tmp_path / "run"):
            same_files(tmp_path / "run", tmp_path / "whole", OF_THE_CLOCK)
            shutil.rmtree(tmp_path / "run")
        stopped += killed(lambda: go_on(given, tmp_path / "run"), after * (0.2 + 0.8 * (k % 3 == 0)))
        if stopped * len(TRAININGS) >= 50:
            break
    go_on(given, tmp_path / "run")
    same_files(tmp_path / "run", tmp_path / "whole", OF_THE_CLOCK)
    print(f"{kind}: {stopped} kills, nothing lost")


def test_what_a_kill_leaves_is_named_where_nothing_can_go_on(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(MmbalError, match="run"):
        resume(tmp_path / "run")
