"""What all tests share: the folder of shared real data, small stores made on the spot, the counts at the end of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from counting import count, lines, taken

from mmbal.data.store.store import ModalitySpec, Store, seal

torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call":
        for mark in item.iter_markers("counted"):
            for kind in mark.args:
                count(kind)
        found = taken()
        if report.passed:
            report.user_properties += found
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for found in terminalreporter.stats.values() for report in found]
    told = lines(p for report in reports if getattr(report, "when", "") == "call" for p in report.user_properties)
    for line in told:
        terminalreporter.write_line(line)
    if told and not {"failed", "error"} & set(terminalreporter.stats):
        terminalreporter.write_line("nothing lost")


@pytest.fixture(scope="session", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests run in a folder of their own, where `stores/` and `runs/` may be written, and with a cache of their own."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    os.environ.setdefault("MMBAL_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is that of a pipe, whatever the machine or a library says of a terminal."""
    for name in ("COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data that can't ship with the package; tests that need them skip where they are not there."""
    path = Path(os.environ.get("MMBAL_SHARED_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip("the shared real data are not here (set MMBAL_SHARED_DATA)")
    return path


def write_store(
    out: Path, dims: dict[str, int], *, rows: int = 160, classes: int = 3, seed: int = 0, missing: float = 0.0
) -> Store:
    """A store of Gaussian feature modalities; the first is the most telling. Splits train, train, val, test in turn.

    Each modality but one, another in each row, is missing with chance ``missing``.
    """
    out.mkdir(parents=True)
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    specs = {}
    table = {
        "labels": labels,
        "ids": np.arange(rows).astype(str),
        "split": np.array(["train", "train", "val", "test"])[np.arange(rows) % 4],
    }
    for position, (m, dim) in enumerate(dims.items()):
        centres = random.normal(size=(classes, dim)) * 1.5 / (position + 1)
        values = (centres[labels] + random.normal(size=(rows, dim))).astype(np.float32)
        np.save(out / f"{m}.npy", values)
        statistics = {"mean": values.mean(axis=0).tolist(), "std": values.std(axis=0).tolist()}
        specs[m] = ModalitySpec(kind="features", shape=(dim,), preprocessing=statistics)
        kept = random.random(rows) >= missing if missing else np.ones(rows, dtype=bool)
        table[f"present_{m}"] = kept | (np.arange(rows) % len(dims) == position)
    names = tuple("abcdefghij"[:classes])
    seal(out, name="toy", classes=names, modalities=specs, rows=table, meta={})
    return Store.open(out)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Store]:
    """``toy({"audio": 6, "video": 4})``: a small store of features, made once a session for each argument."""
    made: dict[str, Store] = {}

    def make(dims: dict[str, int], **options: float) -> Store:
        key = f"{dims}{options}"
        if key not in made:
            made[key] = write_store(tmp_path_factory.mktemp("stores") / "toy", dims, **options)
        return made[key]

    return make
