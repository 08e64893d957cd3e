"""What a million rows cost: seconds and memory of each step on synthetic features, and how both grow with the rows.

    python benchmarks/scale.py                        # 100,000 and 1,000,000 rows, one process for each figure
    python benchmarks/scale.py --rows 10000 100000    # other sizes; --only NAME for one step, as diagnose, which is slow

The features lie in sparse files, so a million rows take no room on the disk; they read as zeros. Memory is the largest
anonymous memory of the process above what it has after its imports (Linux): pages of a store's files are the system's cache
and are not counted. **growth** is the exponent b of seconds ~ rows^b: 1 is linear, 2 would be quadratic.
Figures: docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine_line

CLASSES, WIDTHS, BATCH = 309, {"audio": 128, "video": 128}, 256  # classes: VGGSound's
FEW = 10  # classes of the diagnosis
SLOW = "diagnose"  # takes more than ten minutes of a million rows: only where it is asked for
EVERY = 0.02  # seconds between two looks at the memory


def make_store(folder: Path, n: int) -> None:
    """A store of ``n`` rows, four fifths of them to train on, whose arrays are sparse files."""
    from mmbal.data.store.store import ModalitySpec, seal

    folder.mkdir()
    for m, width in WIDTHS.items():
        np.lib.format.open_memmap(folder / f"{m}.npy", "w+", np.float32, (n, width))
    k = np.arange(n)
    rows = {
        "labels": k % CLASSES,
        "split": np.array(["train", "train", "train", "train", "test"])[k % 5],
        "ids": np.char.add("clip", k.astype(str)),
        **{f"present_{m}": np.ones(n, dtype=bool) for m in WIDTHS},
    }
    specs = {m: ModalitySpec(kind="features", shape=(width,)) for m, width in WIDTHS.items()}
    classes = tuple(f"class {c}" for c in range(CLASSES))
    seal(folder, name="sparse", classes=classes, modalities=specs, rows=rows, meta={"findings": []})


def seal_store(n: int, place: Path) -> Callable[[], object]:
    return lambda: make_store(place / "store", n)


def open_store(n: int, place: Path) -> Callable[[], object]:
    from mmbal.data.store.store import Store

    make_store(place / "store", n)
    return lambda: Store.open(place / "store").counts()


def epoch(n: int, place: Path) -> Callable[[], object]:
    """Every batch of an epoch, shuffled."""
    from mmbal.data.store.loader import Loader
    from mmbal.data.store.store import Store

    make_store(place / "store", n)
    loader = Loader(Store.open(place / "store"), "train", BATCH, shuffle=True)

    def work() -> None:
        for _ in loader.epoch(0):
            pass

    return work


def balanced(n: int, place: Path) -> Callable[[], object]:
    """The rows of an epoch with all classes alike, as the methods `crt` and `lws` draw them."""
    from mmbal.methods.crt import balanced_draw

    labels = np.random.default_rng(0).integers(CLASSES, size=n)
    return lambda: balanced_draw(labels, np.random.default_rng(0))


def carved(n: int, place: Path) -> Callable[[], object]:
    """A validation split carved from all rows, class by class."""
    from mmbal.predictions.splits import carve

    labels = np.random.default_rng(0).integers(CLASSES, size=n)
    return lambda: carve(labels, None, 0.2)


def diagnosis(n: int, place: Path) -> Callable[[], object]:
    """`mmbal diagnose` of ``n`` test samples, two modalities."""
    from mmbal.diagnosis import diagnose
    from mmbal.predictions.format import Predictions

    rng = np.random.default_rng(0)
    labels = rng.integers(FEW, size=n)
    arrays = {"labels": labels, "split": np.full(n, "test")}
    for m in WIDTHS:
        arrays[f"logits_{m}"] = rng.normal(size=(n, FEW)).astype(np.float32)
        arrays[f"logits_{m}"][np.arange(n), labels] += 1.5
    arrays["fused"] = sum(arrays[f"logits_{m}"] for m in WIDTHS)
    predictions = Predictions.from_arrays(arrays)
    return lambda: diagnose(predictions)


STEPS = {
    "seal": seal_store,
    "open": open_store,
    "epoch": epoch,
    "balanced": balanced,
    "carve": carved,
    "diagnose": diagnosis,
}
SHOWN = {
    "seal": "store written and hashed",
    "open": "store opened, samples counted by split, class and modality",
    "epoch": f"loader: an epoch in shuffled batches of {BATCH}",
    "balanced": "sampler: class-balanced rows of an epoch",
    "carve": "a validation split carved",
    "diagnose": f"diagnose, {FEW} classes, 1,000 replicates",
}


def anonymous() -> float:
    """Anonymous memory of this process, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def measure(step: str, n: int) -> dict[str, float]:
    """Processor seconds and largest memory (MB) of a step, above what was there before it."""
    with tempfile.TemporaryDirectory() as place:
        return of_work(STEPS[step](n, Path(place)))


def of_work(work: Callable[[], object]) -> dict[str, float]:
    """:func:`measure` of a prepared work."""
    before, largest, ended = anonymous(), [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            largest[0] = max(largest[0], anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    began = time.process_time()
    work()
    seconds = time.process_time() - began
    ended.set()
    thread.join()
    return {"seconds": seconds, "memory": max(0.0, largest[0] - before)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=[100_000, 1_000_000])
    parser.add_argument("--only", choices=list(STEPS), help="one step")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.rows[0])))
        return
    few, many = given.rows
    print(machine_line())
    print(
        f"| what | s, {few:,} rows | s, {many:,} rows | growth | MB, {few:,} | MB, {many:,} |\n|---|---|---|---|---|---|"
    )
    for step in [given.only] if given.only else [step for step in STEPS if step != SLOW]:
        found = []
        for n in given.rows:
            command = [sys.executable, __file__, "--one", step, "--rows", str(n), str(n)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found.append(json.loads(printed))
        a, b = found
        growth = math.log(b["seconds"] / a["seconds"]) / math.log(many / few)
        cells = [
            f"{a['seconds']:.2f}",
            f"{b['seconds']:.2f}",
            f"{growth:.2f}",
            f"{a['memory']:.0f}",
            f"{b['memory']:.0f}",
        ]
        print(f"| {SHOWN[step]} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
