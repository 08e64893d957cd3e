"""One of two processes that train every method on its half of each batch; started by test_contract.py."""

import sys
from pathlib import Path

import torch
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.engine.distributed import Processes
from mmbal.engine.session import Session
from mmbal.registry import methods


def main(store: Store, out: Path) -> None:
    torch.set_num_threads(1)
    for name in methods.names():
        session = Session(config_for(name, store), out / f"two-{name}")
        session.fit()
        if session.processes.first:
            session.write(session.decide()[0], "last_")
    assert Processes.start(torch.device("cpu")).world == 2
    torch.distributed.barrier()


if __name__ == "__main__":
    main(Store.open(sys.argv[1]), Path(sys.argv[2]))
