"""Tasks that run elsewhere: what they give is what they give here, bit for bit, also where a machine is lost."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import far
import numpy as np
import pytest
import yaml
from terminal import as_json, refused

import mmbal
from mmbal.cli.commands import with_address
from mmbal.cluster import cluster
from mmbal.engine.results import Results
from mmbal.engine.saving import Saving
from mmbal.engine.study import read_study
from mmbal.engine.sweep import sweep
from mmbal.errors import DataError, MmbalError, UsageError
from mmbal.predictions.format import Predictions


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["sweep", "s.yaml", "--ray"], ["sweep", "s.yaml", "--ray="]),
        (["sweep", "--ray", "s.yaml"], ["sweep", "--ray=", "s.yaml"]),
        (["sweep", "--ray", "--json", "s.yaml"], ["sweep", "--ray=", "--json", "s.yaml"]),
        (["sweep", "--ray", "10.0.0.1:6379", "s.yaml"], ["sweep", "--ray", "10.0.0.1:6379", "s.yaml"]),
        (["sweep", "--ray", "local", "s.yaml"], ["sweep", "--ray", "local", "s.yaml"]),
        (["sweep", "--ray=head:6379"], ["sweep", "--ray=head:6379"]),
    ],
)
def test_the_address_may_be_left_out(given: list[str], taken: list[str]):
    assert with_address(given) == taken


def test_options_that_do_not_go_together(study: Path):
    assert "--task-gpus needs --ray" in refused(2, "sweep", study, "--task-gpus", 1)
    assert "exclude each other" in refused(2, "sweep", study, "--ray", "--workers", 2)
    assert "is no part" in refused(2, "sweep", study, "--part", "3/2")
    with pytest.raises(UsageError, match=r"can't have 1\.5 GPUs"), cluster(gpus=1.5):
        pass


def test_ray_that_is_not_installed(study: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert "pip install 'mmbal[ray]'" in refused(2, "sweep", study, "--ray")


def test_a_deadline_that_is_sent_is_as_far_away_there(monkeypatch: pytest.MonkeyPatch):
    sent = pickle.dumps(Saving(every=60.0, deadline=time.monotonic() + 100))
    there = time.monotonic() + 5000  # another machine's clock of that kind
    monkeypatch.setattr(time, "monotonic", lambda: there)
    got = pickle.loads(sent)
    assert got.every == 60
    assert got.deadline - there == pytest.approx(100, abs=5)
    assert pickle.loads(pickle.dumps(Saving())) == Saving()


@pytest.fixture
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {"audio": rng.normal(size=(60, 3)), "video": rng.normal(size=(60, 2))}
    return arrays | {"label": (arrays["audio"][:, 0] + rng.normal(size=60) > 0).astype(int)}


def test_an_explanation_by_a_pool_is_that_of_one_process(data: dict[str, np.ndarray], tmp_path: Path):
    asked = {"labels": "label", "batch_size": 7, "baseline": ["zero", "shuffled"]}
    expected = mmbal.explain(far.scores, data, **asked)
    with ThreadPoolExecutor(2) as pool:
        found = mmbal.explain(far.scores, data, **asked, workers=pool, cache=tmp_path)
        again = mmbal.explain(far.scores, data, **asked, workers=pool, cache=tmp_path)
        assert (found.meta["calls"], found.meta["rows_cached"]) == (expected.meta["calls"], 0)
        assert (again.meta["calls"], again.meta["rows_cached"]) == (1, expected.meta["rows"] - 7)
        same_arrays(found, expected)
        same_arrays(again, expected)
        # The failing batch is named, not the one that the pool was given last.
        with pytest.raises(DataError, match=r"coalition of audio .*rows 14, 15, 16 and 4 more: ValueError: no"):
            mmbal.explain(Failing(data), data, labels="label", batch_size=7, workers=pool)


class Failing:
    """Fails on the third batch without video."""

    def __init__(self, data: dict[str, np.ndarray]) -> None:
        self.row = data["audio"][14]

    def __call__(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        if (batch["audio"] == self.row).all(axis=1).any() and not batch["video"].any():
            raise ValueError("no")
        return far.scores(batch)


def same_arrays(found: Predictions, expected: Predictions) -> None:
    assert np.array_equal(found.fused, expected.fused)
    assert {k: v.tobytes() for k, v in found.subsets.items()} == {k: v.tobytes() for k, v in expected.subsets.items()}


@pytest.fixture
def study(toy, tmp_path: Path) -> Path:
    values = {
        "seeds": [0, 1],
        "base": {"epochs": 30, "batch_size": 16, "device": "cpu", "optimiser": {"lr": 0.05}},
        "data": {"toy": {"data": str(toy({"audio": 6, "video": 4}).path)}},
        "variants": {"joint": {}, "ogm": {"method": {"name": "ogm"}}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return tmp_path / "study.yaml"


# A real Ray of two workers on this machine, one of which is killed on the way.


@pytest.fixture(scope="module")
def ray() -> Iterator[object]:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def at_work() -> list[int]:
    """The processes that run a task of a cluster."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes().startswith(b"ray::_run"):
                found.append(int(entry.parent.name))
        except OSError:
            pass
    return found


def kill_one_in(folder: Path, killed: list[int]) -> None:
    """Kill a worker as soon as a run in ``folder`` has trained an epoch."""
    until = time.monotonic() + 60
    while not killed and time.monotonic() < until:
        if any(file.stat().st_size for file in folder.glob("*/*/metrics.jsonl")):
            for pid in at_work()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        time.sleep(0.01)


def digests(folder: Path) -> dict[str, str]:
    found = sorted(folder.rglob("predictions/*.npz"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


@pytest.mark.slow
def test_ray_gives_what_one_process_gives(
    ray: object, study: Path, data: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with cluster(shared=Path("runs")) as pool:
        assert (pool.cpus, pool.gpus, pool.slots) == (1, 0, 2)
        items = [(str(tmp_path), number) for number in range(5)]
        assert list(pool.map(far.lost_once, iter(items))) == [(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]
        assert (tmp_path / "lost").exists()
        same_arrays(
            mmbal.explain(far.scores, data, "label", batch_size=9, workers=pool),
            mmbal.explain(far.scores, data, "label", batch_size=9),
        )

        killed: list[int] = []
        killer = threading.Thread(target=kill_one_in, args=(Path("runs/far"), killed))
        killer.start()
        folders = sweep(read_study(study), Path("runs/far"), workers=pool)
        killer.join()
        assert killed
    here = sweep(read_study(study), Path("runs/here"))
    assert [f.name for f in folders["toy"]] == [f.name for f in here["toy"]]
    assert digests(Path("runs/far")) == digests(Path("runs/here"))
    records = [
        sorted((r.variant, r.seed, str(r.figures)) for r in Results(Path("runs") / name / "results.jsonl").read())
        for name in ("far", "here")
    ]
    assert records[0] == records[1]
    assert len(records[0]) == 4

    rows = "".join(f"text {k % 7} of {k},{'ab'[k % 2]},s{k}\n" for k in range(150))
    Path("own.csv").write_text("text,label,id\n" + rows)
    far_store = as_json("prepare", "own.csv", "--out", "far", "--ray")
    assert far_store["hash"] == as_json("prepare", "own.csv", "--out", "here", "--workers", 1)["hash"]
    assert Path("far/text.npy").read_bytes() == Path("here/text.npy").read_bytes()
    assert not list(tmp_path.rglob("*.shared.tmp"))


@pytest.mark.slow
def test_what_goes_wrong_on_ray_is_said(ray: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="No machine of the Ray cluster has 64 CPUs"), cluster(cpus=64):
        pass
    with cluster(retries=1) as pool:
        with pytest.raises(MmbalError, match="Ray lost a task 2 times"):
            list(pool.map(far.lost_always, [1]))
        with pytest.raises(ValueError, match="invalid literal"):
            list(pool.map(int, ["1", "one"]))
    with cluster(shared=tmp_path) as pool:
        assert pool.token is not None
        pool.token.unlink()
        with pytest.raises(UsageError, match="does not see"):
            list(pool.map(int, ["1"]))
