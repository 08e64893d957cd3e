"""The line that each benchmark of speed prints first: the machine that its figures are of."""

from __future__ import annotations

import os
import platform


def machine_line() -> str:
    """System, processor, cores and their load, graphics cards, version of torch."""
    import torch

    cards = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{platform.platform()}, {_processor()}, {os.cpu_count()} cores{load}, GPU: {', '.join(cards) or 'none'}, "
        f"torch {torch.__version__}\n"
    )


def _processor() -> str:
    """The processor's name, or else its kind."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def main() -> None:
    print(machine_line())


if __name__ == "__main__":
    main()
