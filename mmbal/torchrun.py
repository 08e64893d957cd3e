"""What torchrun says of a process, and which process of a job tells why it ends. Importing it does not import torch."""

from __future__ import annotations

import os
import socket
from datetime import timedelta


def is_shared() -> bool:
    """Whether this process is one of several."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def is_first() -> bool:
    """Whether this process is the one that writes and prints: the first under torchrun, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def is_launched() -> bool:
    """Whether torchrun has started this process: it passes signals on that a terminal has sent already."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def restarts() -> int:
    """How often torchrun would start all processes again after one has failed."""
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))


def restarted() -> int:
    """How often torchrun has started all processes again, since one of them had failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def is_restarted() -> bool:
    """Whether torchrun has started all processes again."""
    return restarted() > 0


def told_by_another(code: int) -> int | None:
    """The exit code of the process that has told first why the job ends; None where that is this one, with ``code``."""
    if not is_shared():
        return None
    mine = f"{os.environ.get('RANK', '0')}:{code}"
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        socket.create_connection((address, port), timeout=3).close()  # torch would write much where there is no store
        from torch.distributed import TCPStore

        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=3), wait_for_workers=False)
        key = f"mmbal/ended/{restarted()}"
        told = store.compare_set(key, "", mine).decode()
    except (RuntimeError, OSError, KeyError, ValueError):  # the store has gone with its process
        return None
    return None if told == mine else int(told.rpartition(":")[2])
