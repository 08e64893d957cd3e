"""Workers of preparation, as the command uses them: a crash or a hang of one costs only the row that caused it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmbal.data.media.recipe import Recipe
from mmbal.data.preparation.manifest import Row
from mmbal.errors import MmbalError

ROW_LIMIT = 300.0  # seconds after which a decoder counts as hanging
TRIES = 2  # a worker may have been killed by the system, so its row is tried once more


def cores() -> int:
    """Cores this process may use: those that it may run on, but no more than its container is granted."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        return min(seen, granted(Path("/sys/fs/cgroup/cpu.max").read_text()))
    except (OSError, ValueError):  # no such limit here, or one of another form
        return seen


def granted(limit: str) -> int:
    """Cores, rounded up, of a control group's ``cpu.max``: microseconds of each period, or ``max``."""
    quota, period = limit.split()
    return sys.maxsize if quota == "max" else max(1, -(-int(quota) // int(period)))


class _Worker:
    def __init__(self, setup: str) -> None:
        self._stopped_after: float | None = None  # seconds
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, "-m", "mmbal.data.preparation.worker"]
        pipe = subprocess.PIPE
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the worker
        # In a session of its own, Ctrl-C does not reach it: else its death would pass for a crash over a file. It ends
        # when its input does, however this process ends.
        self.process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=self._messages,
            env=environment,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        if not self.ask(setup):
            self.close()
            self._messages.seek(0)
            last = (self._messages.read().decode(errors="replace").strip().splitlines() or ["no message"])[-1]
            raise MmbalError(f"A preparation worker could not start ({last}).", "Try --workers 1, and mmbal doctor.")

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, OSError):
            pass  # a dead worker is noticed where its answer is missing

    def ask(self, task: str, limit: float = ROW_LIMIT) -> str:
        """The answer to a task; empty where the worker died over it, or was stopped after ``limit`` seconds."""
        assert self.process.stdout is not None
        alarm = threading.Timer(limit, self._stop, [limit])
        alarm.start()
        try:
            self._send(task)
            return self.process.stdout.readline()
        finally:
            alarm.cancel()

    def _stop(self, limit: float) -> None:
        self._stopped_after = limit
        self.process.kill()

    def end(self) -> list[str]:
        """Kind and reason of the finding that a missing answer becomes."""
        code = self.close()
        if self._stopped_after is not None:
            return ["timeout", f"decoding took longer than {self._stopped_after:g} s and was stopped"]
        return ["crash", f"the decoder crashed on it (exit status {code})"]

    def close(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()


def encode_rows(
    folder: Path,
    recipes: Mapping[str, Recipe],
    rows: Iterable[tuple[int, Row]],
    workers: int,
    limit: float = ROW_LIMIT,
) -> Iterator[dict[str, Any]]:
    """Encode rows on ``workers`` processes and yield each row's answer as it comes, in no fixed order.

    A worker that takes longer than ``limit`` seconds over a row is stopped.
    """
    setup = json.dumps({"folder": str(folder), "recipes": {m: r.model_dump(mode="json") for m, r in recipes.items()}})
    tasks = iter(rows)
    lock = threading.Lock()
    # A SimpleQueue, since Ctrl-C within the get of a Queue can leave its lock held, and the end would wait for ever.
    answers: queue.SimpleQueue[dict[str, Any] | BaseException | None] = queue.SimpleQueue()
    stopped = threading.Event()

    def work() -> None:
        worker = _Worker(setup)
        try:
            while not stopped.is_set():
                with lock:
                    task = next(tasks, None)
                if task is None:
                    return
                number, row = task
                sources = {m: asdict(source) for m, source in row.sources.items() if m in recipes}
                lost = ["", ""]
                for _ in range(TRIES):
                    answer = worker.ask(json.dumps({"row": number, "sources": sources}), limit)
                    if answer:
                        break
                    lost = worker.end()
                    worker = _Worker(setup)
                    if lost[0] == "timeout":
                        break
                if answer:
                    document = json.loads(answer)
                    if "failed" in document:
                        raise OSError(document["failed"])
                    answers.put(document)
                else:
                    answers.put({"row": number, "modalities": {m: {"lost": lost} for m in sources}})
        except BaseException as error:
            answers.put(error)
        finally:
            worker.close()
            answers.put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    running = workers
    try:
        while running:
            answer = answers.get()
            if answer is None:
                running -= 1
            elif isinstance(answer, BaseException):
                raise answer
            else:
                yield answer
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
