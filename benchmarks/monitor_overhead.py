"""How much longer an epoch takes that a monitor watches: the embedded digits, joint training, one interleaved run.

    python benchmarks/monitor_overhead.py [--epochs 12]

An epoch is all training batches and the validation pass. The monitor works in the validation pass alone, so after each epoch
of training the pass is repeated, with and without the monitor in turns, in alternating order; ``monitor.epoch()`` belongs to
the pass. Every time is processor time, which other work on the machine changes least. Figures: docs/performance.md.
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

PAIRS = 8  # of validation passes, after each epoch of training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12, help="epochs of training")
    epochs = parser.parse_args().epochs
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

    def training(number: int) -> float:
        """Seconds of processor time of the training batches of an epoch."""
        begun = time.process_time()
        model.train()
        head.train()
        for batch in train.epoch(number):
            loss = nn.functional.cross_entropy(head(**model.encode(batch)), batch.labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        return time.process_time() - begun

    def validation(watched: bool) -> float:
        """The same of the validation pass, with all that a monitor does in it."""
        begun = time.process_time()
        monitor = Monitor(head, ["audio", "image"]) if watched else None
        model.eval()
        head.eval()
        with torch.no_grad():
            for batch in val.epoch(0):
                head(**model.encode(batch))
                if monitor is not None:
                    monitor.batch(batch.labels)
        if monitor is not None:
            monitor.epoch()
            monitor.close()
        return time.process_time() - begun

    training(0)
    validation(True)
    trained, plain, difference = [], [], []
    for number in range(1, 1 + epochs):
        trained.append(training(number))
        for pair in range(PAIRS):
            order = (False, True) if pair % 2 else (True, False)
            times = {watched: validation(watched) for watched in order}
            plain.append(times[False])
            difference.append(times[True] - times[False])
    epoch = np.median(trained) + np.median(plain)
    share = 100 * np.array(difference) / epoch
    print(
        f"an epoch: training {np.median(trained):.2f} s, validation {np.median(plain):.3f} s (medians of processor time)\n"
        f"with the monitor, by {len(share)} pairs of validation passes: {np.mean(difference):.4f} s more, "
        f"{share.mean():.2f} % +- {share.std(ddof=1) / np.sqrt(len(share)):.2f} % of an epoch (mean; median "
        f"{np.median(share):.2f} %)"
    )


if __name__ == "__main__":
    main()
