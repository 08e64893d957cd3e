"""Training without pages, and one of two processes that train methods on their shares of each batch (test_contract.py)."""

import sys
from pathlib import Path

import torch
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.engine.session import Session
from mmbal.engine.tracking import write_metrics
from mmbal.registry import methods


def trained(name: str, store: Store, folder: Path) -> None:
    """Train a method, and write its last decisions on the test split and the figures of its epochs."""
    session = Session(config_for(name, store, batch_size=15), folder)
    session.fit()
    found = session.decisions.on("test", brief=True)
    session.write({"test": found})
    if session.processes.first:
        write_metrics(folder, session.history)
    session.processes.wait()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for method in sys.argv[3:] or methods.names():
        trained(method, Store.open(sys.argv[1]), Path(sys.argv[2]) / f"two-{method}")
