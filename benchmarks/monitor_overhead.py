"""How much longer an epoch takes that a monitor watches: the embedded digits, joint training, one interleaved run.

    python benchmarks/monitor_overhead.py [--epochs 12]

An epoch is all training batches and the validation pass. Plain and watched epochs take turns on one model with the encoders
that `mmbal train` takes by default; the order within a pair alternates. The time within the monitor's own calls is taken
as well, since it varies less than the difference of two epochs. Figures: docs/performance.md.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import nn

from mmbal.data.prepare import embedded_store
from mmbal.data.store.loader import Loader
from mmbal.data.store.store import Store
from mmbal.explain.monitor import Monitor
from mmbal.models.encoders import default_encoder
from mmbal.models.multimodal import build_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12, help="pairs of epochs")
    pairs = parser.parse_args().epochs
    torch.manual_seed(0)
    store = Store.open(embedded_store())
    encoders = {m: (default_encoder(spec), {}) for m, spec in store.modalities.items()}
    model = build_model(store.modalities, len(store.classes), encoders, ("film", {}))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    train, val = Loader(store, "train", 64, shuffle=True), Loader(store, "val", 64)

    class Watched(nn.Module):
        """The fusion's head as a module of its own: what a user's model would have."""

        def forward(self, audio: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
            return model.fusion.head({"audio": audio, "image": image})

    head = Watched()

    def epoch(number: int, monitor: Monitor | None) -> tuple[float, float, float]:
        """Seconds on the clock, of processor time, and of processor time within the monitor's own calls."""
        inside = 0.0
        begun = time.perf_counter(), time.process_time()
        model.train()
        for batch in train.epoch(number):
            loss = nn.functional.cross_entropy(head(**model.encode(batch)), batch.labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        model.eval()
        head.eval()
        with torch.no_grad():
            for batch in val.epoch(0):
                head(**model.encode(batch))
                if monitor is not None:
                    start = time.process_time()
                    monitor.batch(batch.labels)
                    inside += time.process_time() - start
        head.train()
        if monitor is not None:
            start = time.process_time()
            monitor.epoch()
            inside += time.process_time() - start
        return time.perf_counter() - begun[0], time.process_time() - begun[1], inside

    epoch(0, None)
    times: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    for pair in range(pairs):
        for watched in (False, True) if pair % 2 else (True, False):
            monitor = Monitor(head, ["audio", "image"]) if watched else None
            times[watched].append(epoch(1 + pair, monitor))
            if monitor is not None:
                monitor.close()
    plain, seen = np.array(times[False]), np.array(times[True])
    for k, clock in enumerate(("wall clock", "processor time")):
        ratio = 100 * (seen[:, k] / plain[:, k] - 1)
        error = ratio.std(ddof=1) / np.sqrt(pairs)
        print(
            f"{clock}: plain {np.median(plain[:, k]):.2f} s an epoch, watched {np.median(seen[:, k]):.2f} s (medians); "
            f"overhead {np.median(ratio):.1f} % (median), {ratio.mean():.1f} % +- {error:.1f} % (mean)"
        )
    inside = 100 * seen[:, 2] / (seen[:, 1] - seen[:, 2])
    print(
        f"the monitor's own calls: {np.median(seen[:, 2]):.3f} s of processor time an epoch, {np.median(inside):.1f} % of "
        f"the rest (median), {inside.mean():.1f} % +- {inside.std(ddof=1) / np.sqrt(pairs):.1f} % (mean)"
    )


if __name__ == "__main__":
    main()
