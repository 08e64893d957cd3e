"""kill -9 at random points: the same command, or --resume, then gives what an undisturbed run gives, to the bit.

The short suite kills each kind of work once, the long one five times (`make test-long`).
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting import count
from killing import killed, moments, same_files, whole
from terminal import ok

import mmbal
from mmbal.cli.importer import import_model
from mmbal.data.preparation.download import Item, download
from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.pretrain import pretrain
from mmbal.engine.pretrain import resume as resume_pretrain
from mmbal.engine.saving import Saving
from mmbal.engine.sweep import Study, sweep
from mmbal.engine.train import resume, train
from mmbal.errors import MmbalError
from mmbal.runs import CONFIG

DIMS = {"audio": 6, "video": 4}
OFTEN = 5  # kills of each kind in the long suite
# With times and paths.
OF_THE_CLOCK = ("results.jsonl", "env.json", "summary.json", "CARD.md", "report.html", "config.yaml", "diagnosis.json")
TRAININGS: dict[str, dict[str, Any]] = {
    "one stage": {"method": Choice(name="ogm_ge")},
    "two stages": {"method": Choice(name="di_mml")},
    "alternating": {"method": Choice(name="mla")},
    "recorders": {"record": ["heavy_tails"]},
}


@dataclass(frozen=True)
class Work:
    """What a user does: ``do(folder)`` begins it, or goes on with it, in a folder that may hold what a kill has left."""

    do: Callable[[Path], Any]
    begin: Callable[[Path], Any] = lambda folder: None  # what is there before it, and is no part of what is killed


Made = Callable[..., Store]


def training(kind: str, toy: Made, place: Path) -> Work:
    given = TrainConfig(data=str(toy(DIMS).path), epochs=12, batch_size=16, device="cpu", **TRAININGS[kind])

    def do(folder: Path) -> None:
        if (folder / "run" / CONFIG).is_file():
            resume(folder / "run", saving=Saving(every=0.05))
        else:
            train(given, out=folder / "run", force=True, saving=Saving(every=0.05))

    return Work(do)


def pretraining(toy: Made, place: Path) -> Work:
    given = TrainConfig(data=str(toy(DIMS).path), epochs=6, batch_size=16, device="cpu")

    def do(folder: Path) -> None:
        if (folder / "run" / CONFIG).is_file():
            resume_pretrain(folder / "run")
        else:
            pretrain(given, out=folder / "run", force=True)

    return Work(do)


def preparation(toy: Made, place: Path) -> Work:
    sounds = sorted((Path(__file__).parents[1] / "data" / "fsdd").glob("*.wav"))
    table = place / "m.csv"
    table.write_text("path,label\n" + "".join(f"{file},{file.name[0]}\n" for file in sounds))
    return Work(lambda folder: mmbal.prepare(table, out=folder / "store", workers=0, duration=1.0))


def study(toy: Made, place: Path) -> Work:
    plan = Study(
        data={"toy": {"data": str(toy(DIMS).path)}},
        variants={"joint": {}, "ogm": {"method": {"name": "ogm"}}},
        base={"epochs": 3, "batch_size": 16, "device": "cpu"},
        seeds=(0, 1),
    )
    return Work(lambda folder: sweep(plan, folder / "study"))


def an_import(toy: Made, place: Path) -> Work:
    rng = np.random.default_rng(0)
    rows = [f"{'xy'[k % 2]},{'val' if k % 4 < 2 else 'test'},{rng.normal():.3f},{rng.normal():.3f}" for k in range(400)]
    (place / "s.csv").write_text("label,split,m:x,m:y\n" + "\n".join(rows) + "\n")
    return Work(lambda folder: import_model(place / "s.csv", out=folder / "p.npz", force=True))


def calibration(toy: Made, place: Path) -> Work:
    """Of a file of predictions."""
    rng = np.random.default_rng(0)
    arrays = {"labels": np.arange(600) % 3, "split": np.repeat(["calibration", "test"], 300)}
    arrays |= {f"logits_{m}": rng.normal(size=(600, 3)) for m in "abc"}
    np.savez(place / "p.npz", **arrays)
    return Work(lambda folder: ok("calibrate", place / "p.npz", "--out", folder / "rule.json", "--force"))


def calibration_of_a_run(toy: Made, place: Path) -> Work:
    train(TrainConfig(data=str(toy(DIMS).path), epochs=1, batch_size=16, device="cpu"), out=place / "trained")
    return Work(
        lambda folder: ok("calibrate", folder / "run", "--rule", "temperature", "--force"),
        begin=lambda folder: shutil.copytree(place / "trained", folder / "run"),
    )


def explanation(toy: Made, place: Path) -> Work:
    rng = np.random.default_rng(0)
    given = {"x": rng.normal(size=(200, 2)), "y": rng.normal(size=(200, 2))}

    def slow(batch: Any) -> Any:
        time.sleep(0.01)
        return batch["x"] + 2 * batch["y"]

    def do(folder: Path) -> None:
        labels = np.arange(200) % 2
        mmbal.explain(slow, given, labels, cache=folder / "cache", batch_size=16).save(folder / "explained.npz")

    return Work(do)


class _Slow(SimpleHTTPRequestHandler):
    """Sends a file in small pieces."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        while block := source.read(1 << 14):
            outputfile.write(block)
            time.sleep(0.005)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        pass  # the reader was killed


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[Item]]]:
    """An address, and the files that it has."""
    source, items = tmp_path_factory.mktemp("served"), []
    for k in range(12):
        body = np.random.default_rng(k).bytes(150_000)
        (source / f"{k}.bin").write_bytes(body)
        items.append(Item(f"{k}.bin", len(body), hashlib.sha256(body).hexdigest()))
    server = _Server(("127.0.0.1", 0), partial(_Slow, directory=str(source)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", items
    server.shutdown()


def once(work: Work, place: Path, name: str) -> Path:
    folder = place / name
    folder.mkdir()
    work.begin(folder)
    return folder


def lost_nothing(work: Work, place: Path, kills: int, seed: int) -> None:
    """Kill the work so many times, each time going on with what the last left; in the end all is as undisturbed."""
    expected, folder = once(work, place, "whole"), once(work, place, "killed")
    seconds = whole(lambda: work.do(expected))
    stopped = 0
    for after in moments(seconds, 20 * kills, seed):
        if killed(lambda: work.do(folder), 0.6 * after):
            stopped += 1
        else:  # it came to its end
            same_files(folder, expected, OF_THE_CLOCK)
            shutil.rmtree(folder)
            once(work, place, "killed")
        if stopped == kills:
            break
    work.do(folder)
    same_files(folder, expected, OF_THE_CLOCK)
    assert stopped == kills
    count("kills", kills)


WORKS: dict[str, Callable[[Made, Path], Work]] = {
    **{f"train, {kind}": partial(training, kind) for kind in TRAININGS},
    "pretrain": pretraining,
    "prepare": preparation,
    "sweep": study,
    "import": an_import,
    "calibrate": calibration,
    "explain": explanation,
}


@pytest.mark.parametrize("kind", WORKS)
def test_a_kill(kind, toy, tmp_path):
    lost_nothing(WORKS[kind](toy, tmp_path), tmp_path, 1, seed=len(kind))


def test_a_killed_download(served, tmp_path):
    address, items = served
    lost_nothing(Work(lambda folder: download(items, folder / "media", address)), tmp_path, 1, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("kind", [*WORKS, "calibrate a run", "download"])
def test_many_kills(kind, toy, served, tmp_path):
    address, items = served
    fetch = Work(lambda folder: download(items, folder / "media", address))
    works = WORKS | {"calibrate a run": calibration_of_a_run, "download": lambda *_: fetch}
    work = works[kind](toy, tmp_path)
    lost_nothing(work, tmp_path, OFTEN, seed=5)


def test_what_a_kill_leaves_is_named_where_nothing_can_go_on(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(MmbalError, match="run"):
        resume(tmp_path / "run")
