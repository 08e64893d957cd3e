"""Do two processes with one thread each train as fast as one process with two threads, and what do they send?

    python benchmarks/processes.py [--batch 64] [--size 32] [--steps 4] [--rounds 5]

Two ResNet-18 encoders (one channel and three, of --size x --size), random data, joint training. In each round the one
process and the pair take --steps steps in turn, on the same batches, while the other waits. There are three pairs, which
normalise and send in different ways. Threads that wait for others sleep (OMP_WAIT_POLICY=passive): on a busy machine they
would otherwise take the processor from those that work. Printed for each pair:

    wall      median over the rounds of the pair's time over the one process's; range: smallest and largest
    CPU       the same of processor time, all processes and threads together
    waits     share of the pair's time that the first process waits for sums of gradients after its backward pass
    sums      sums over processes in a step, without those of gradients
"""

from __future__ import annotations

import argparse
import os
import socket
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import machine_line
from method_overhead import config_for, make_store

from mmbal.data.store.store import Store
from mmbal.engine.distributed import Processes
from mmbal.engine.gradients import GradientAverage
from mmbal.engine.learning import enter_training
from mmbal.engine.loop import train_batches
from mmbal.engine.optimiser import build_optimiser
from mmbal.engine.session import Session
from mmbal.methods.base import parts

PAIRS = {  # what a pair does
    "as it trains by default": {},
    "own batch normalisation": {"shared_batch_norm": False},
    "own, sums after the backward pass": {"shared_batch_norm": False, "late": True},
}


class Meter:
    """Counts sums over processes and measures waiting, in place of the functions that it calls."""

    def __init__(self, processes: Processes, average: GradientAverage, late: bool) -> None:
        self.sums, self.waited = 0, 0.0
        self._sum, self._finish = processes.sum, average.finish
        processes.sum = self.sum  # type: ignore[method-assign]
        average.finish = self.finish  # type: ignore[method-assign]
        if late:
            average.watch = lambda share: None  # type: ignore[method-assign]

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        self.sums += 1
        return self._sum(value)

    def finish(self, share: float) -> None:
        begun = time.perf_counter()
        self._finish(share)
        self.waited += time.perf_counter() - begun


def work(pipe: Connection, path: str, batch: int, environment: dict[str, str], threads: int, options: Any) -> None:
    """One process: for each number that it gets, it takes so many steps and answers with what they cost."""
    os.environ.update(environment)
    torch.set_num_threads(threads)
    late = options.pop("late", False)
    config = config_for("joint", Store.open(path), batch).model_copy(update=options)
    session = Session(config)
    modules = parts(session.model, session.method)
    session.run.optimiser = build_optimiser(modules, config.optimiser)
    learning = enter_training(session.model, modules)
    average = GradientAverage([p for module in modules.values() for p in module.parameters()], session.processes)
    meter = Meter(session.processes, average, late)
    batches = list(session.run.train.epoch(0))
    while steps := pipe.recv():
        meter.sums, meter.waited = 0, 0.0
        wall, cpu = time.perf_counter(), time.process_time()
        for k in range(steps):
            train_batches(session.run, session.method, config, [batches[k % len(batches)]], 1, learning, average)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        numbers = sum(p.numel() for module in modules.values() for p in module.parameters())
        pipe.send({"wall": wall, "cpu": cpu, "waited": meter.waited, "sums": meter.sums / steps, "numbers": numbers})


class Team:
    """One process of two threads, or a pair of one thread each."""

    def __init__(self, store: Store, batch: int, world: int, options: dict[str, Any]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        self.pipes, spawn = [], get_context("spawn")
        for rank in range(world):
            ours, theirs = spawn.Pipe()
            given = (theirs, str(store.path), batch, shared | {"RANK": str(rank)}, 2 // world, dict(options))
            spawn.Process(target=work, args=given, daemon=True).start()
            self.pipes.append(ours)

    def steps(self, many: int) -> list[dict[str, float]]:
        """What the steps cost in each process."""
        for pipe in self.pipes:
            pipe.send(many)
        return [pipe.recv() for pipe in self.pipes] if many else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # the processes read it when they import torch
    print(machine_line())
    print("| two processes, one thread each | wall | range | CPU | waits | sums |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder), arguments.size, 2 * arguments.batch)
        alone = Team(store, arguments.batch, 1, {})
        for name, options in PAIRS.items():
            pair = Team(store, arguments.batch, 2, options)
            alone.steps(1), pair.steps(1)
            walls, cpus, waits = [], [], []
            for _ in range(arguments.rounds):
                (one,), two = alone.steps(arguments.steps), pair.steps(arguments.steps)
                walls.append(max(p["wall"] for p in two) / one["wall"])
                cpus.append(sum(p["cpu"] for p in two) / one["cpu"])
                waits.append(two[0]["waited"] / two[0]["wall"])
            spread = f"{min(walls):.2f} to {max(walls):.2f}"
            figures = f"{median(cpus):.2f} | {100 * median(waits):.0f} % | {two[0]['sums']:.0f}"
            print(f"| {name} | {median(walls):.2f} | {spread} | {figures} |", flush=True)
            pair.steps(0)
        alone.steps(0)
    seconds = 1000 * one["wall"] / arguments.steps
    print(f"A step of the one process: {seconds:.0f} ms. Gradients: {4 * one['numbers'] / 1e6:.1f} MB a step.")


if __name__ == "__main__":
    main()
