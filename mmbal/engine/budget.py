"""How many epochs fit a time budget, from the measured time of two batches on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from mmbal.data.store.store import Store
from mmbal.engine.config import TrainConfig
from mmbal.engine.dry_run import dry_run
from mmbal.engine.pace import epoch_seconds

FEWEST, MOST = 4, 60  # epochs: fewer teach nothing, more are not worth the wait of a first look
BATCH_SIZES = ((600, 8), (2400, 16))  # with up to so many samples to train on; 32 above
REST = 1.25  # time of an epoch's training over that of its forwards and backwards: optimiser, loader, saving


@dataclass(frozen=True)
class Budget:
    """A training that fits the time: ``seconds`` is what the epochs are expected to take."""

    epochs: int
    batch_size: int
    seconds: float
    fits: bool


def batch_size_for(store: Store) -> int:
    """The batch size for the number of samples to train on: small sets need many steps."""
    n = store.splits().get("train", 0)
    return next((size for most, size in BATCH_SIZES if n <= most), 32)


def epochs_within(config: TrainConfig, seconds: float, trainings: int = 1) -> Budget:
    """The epochs of ``trainings`` equal trainings that fit in ``seconds``, between 4 and 60.

    ``config.batch_size`` is kept. ``fits`` is false where even the fewest epochs take longer. Raises what
    :func:`mmbal.engine.dry_run.dry_run` raises.
    """
    measured = dry_run(config)
    training = measured["batches"] * measured["seconds_per_batch"] * REST
    epoch = epoch_seconds(training, Store.open(config.data).splits())
    possible = int(seconds / (trainings * max(epoch, 1e-6)))
    epochs = min(max(possible, FEWEST), MOST)
    return Budget(epochs, config.batch_size, trainings * epochs * epoch, possible >= FEWEST)
