"""How long an epoch of training takes, against plain torch and against the loop that this field's repositories have.

    python benchmarks/training.py epoch  [--threads 1 2] [--batch 32] [--rounds 3]
    python benchmarks/training.py levers [--threads 1 2]
    python benchmarks/training.py faults [--batch 64]
    python benchmarks/training.py frozen [--batch 32]
    python benchmarks/training.py compile [--batch 16]

Two ResNet-18 (a spectrogram of 257 x 188 and a picture of 224 x 224), random clips, SGD with momentum.

``epoch`` compares three loops. *field*: a Dataset of JPEG and WAV files (librosa, Pillow), a DataLoader, the default
memory layout, an evaluation that decides sample by sample, as the public repositories of this field have it. *bare*: nothing
but forward, backward and optimiser on one batch that is in memory, in channels_last. *mmbal*: a session of mmbal on a
prepared store. ``levers`` compares bare loops with and without channels_last, kept memory, the fused optimiser, bf16.
``faults`` counts the pages that a step of mmbal takes anew from the system, and what of it is neither forward nor backward.
``frozen`` compares an epoch with evaluation under --freeze-encoders, without augmentation, with one in which all learns.
``compile`` compares a step of one ResNet-18 with that of the same one under torch.compile, which needs a C++ compiler.

Each loop is a process of its own and they take turns, epoch by epoch, so that other work on the machine slows all of them.
Printed are medians over the rounds, of processor time (user and system, all threads and worker processes) and of the
clock; a ratio is that of two epochs in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from machine import machine_line
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

HEIGHT, WIDTH, SIDE, RATE, CLASSES = 257, 188, 224, 22050, 6
Epoch = Callable[[], dict[str, float]]
Figures = dict[str, dict[str, list[float]]]  # loop -> figure -> by round


def cost() -> dict[str, float]:
    """Processor seconds of this process and of the children that ended, seconds of the clock, and page faults."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return {"cpu": cpu, "clock": time.perf_counter(), "faults": own.ru_minflt, "system": own.ru_stime}


def timed(work: Callable[[], Any], prefix: str = "") -> dict[str, float]:
    """What a call costs."""
    before = cost()
    work()
    return {prefix + name: value - before[name] for name, value in cost().items()}


class Pair(nn.Module):
    """Two ResNet-18 and one linear layer on both features, as the field's repositories have it."""

    def __init__(self) -> None:
        super().__init__()
        self.audio, self.video = resnet18(), resnet18()
        self.audio.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        self.audio.fc = self.video.fc = nn.Identity()
        self.head = nn.Linear(1024, CLASSES)

    def forward(self, audio: Tensor, video: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, v = self.audio(audio), self.video(video)
        return a, v, self.head(torch.cat([a, v], dim=1))


def optimiser_of(model: nn.Module, fused: bool = False) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=fused)


def bare(batch: int, steps: int, levers: str) -> Epoch:
    """A loop of nothing but steps on one batch.

    ``levers`` has c for channels_last, m for kept memory, f for the fused optimiser, b for bf16.
    """
    if "m" in levers:
        from mmbal.engine.memory import keep_freed_memory

        keep_freed_memory()
    layout = torch.channels_last if "c" in levers else torch.contiguous_format
    model = Pair().to(memory_format=layout)
    optimiser = optimiser_of(model, "f" in levers)
    audio = torch.randn(batch, 1, HEIGHT, WIDTH).contiguous(memory_format=layout)
    video = torch.randn(batch, 3, SIDE, SIDE).contiguous(memory_format=layout)
    labels = torch.arange(batch) % CLASSES

    def train() -> None:
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled="b" in levers):
                loss = cross_entropy(model(audio, video)[2], labels)
            loss.backward()
            optimiser.step()

    return lambda: timed(train)


class Files(torch.utils.data.Dataset[tuple[Tensor, Tensor, int]]):
    """Clips as files, decoded each time they are asked for."""

    def __init__(self, folder: Path, rows: range, train: bool) -> None:
        from torchvision import transforms

        shape = [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip()]
        scale = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
        self.transform = transforms.Compose([*(shape if train else [transforms.Resize((SIDE, SIDE))]), *scale])
        self.folder, self.rows = folder, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, int]:
        import librosa
        from PIL import Image

        row = self.rows[item]
        sound, _ = librosa.load(self.folder / f"{row}.wav", sr=RATE)
        sound = np.clip(np.tile(sound, 3)[: 3 * RATE], -1, 1)
        picture = np.log(np.abs(librosa.stft(sound, n_fft=512, hop_length=353)) + 1e-7)
        frame = self.transform(Image.open(self.folder / f"{row}.jpg").convert("RGB"))
        return torch.from_numpy(picture)[None], frame, row % CLASSES


def field(folder: Path, batch: int, rows: int, held: int) -> Epoch:
    """The straightforward loop, with evaluation."""
    from torch.utils.data import DataLoader

    model = Pair()
    optimiser = optimiser_of(model)
    workers = max(1, torch.get_num_threads())
    training = DataLoader(Files(folder, range(rows), True), batch, shuffle=True, num_workers=workers)
    testing = DataLoader(Files(folder, range(rows, rows + held), False), batch, num_workers=workers)

    def train() -> None:
        model.train()
        total = 0.0
        for audio, video, labels in training:
            optimiser.zero_grad()
            loss = cross_entropy(model(audio.float(), video.float())[2], labels)
            loss.backward()
            optimiser.step()
            total += loss.item()

    def test() -> None:
        model.eval()
        seen, right = [0.0] * CLASSES, {"both": [0.0] * CLASSES, "audio": [0.0] * CLASSES, "video": [0.0] * CLASSES}
        with torch.no_grad():
            for audio, video, labels in testing:
                a, v, both = model(audio.float(), video.float())
                weight, bias = model.head.weight, model.head.bias
                decided = {
                    "both": both,
                    "audio": a @ weight[:, :512].T + bias / 2,
                    "video": v @ weight[:, 512:].T + bias / 2,
                }
                chances = {name: out.softmax(dim=1) for name, out in decided.items()}
                for i in range(len(labels)):  # sample by sample, as those repositories count
                    seen[labels[i]] += 1
                    for name, chance in chances.items():
                        right[name][labels[i]] += float(np.argmax(chance[i].numpy()) == int(labels[i]))

    return lambda: timed(train, "train ") | timed(test, "test ")


def mmbal(folder: Path, batch: int, **keys: Any) -> Epoch:
    """A session of mmbal, with its evaluation after the epoch; ``keys`` of the configuration."""
    from mmbal.engine import loop
    from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
    from mmbal.engine.gradients import GradientAverage
    from mmbal.engine.learning import learners, select_parts
    from mmbal.engine.optimiser import build_optimiser, trained_by
    from mmbal.engine.session import Session
    from mmbal.methods.base import parts

    config = TrainConfig(
        data=str(folder / "store"),
        method=Choice(name="joint"),
        encoder={m: Choice(name="resnet18") for m in ("audio", "video")},
        batch_size=batch,
        optimiser=OptimiserConfig(lr=1e-3),
        device="cpu",
        **keys,
    )
    session = Session(config)
    modules = parts(session.model, session.method)
    select_parts(modules, session.method.stages(1)[0], learners(modules))
    session.run.optimiser = build_optimiser(modules, config.optimiser)
    average = GradientAverage(trained_by(session.run.optimiser), session.processes)
    inside = 0.0

    def watched(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            nonlocal inside
            began = time.thread_time()
            found = work(*given)
            inside += time.thread_time() - began
            return found

        return call

    loop.forward = watched(loop.forward)
    session.method.backward = watched(session.method.backward)  # type: ignore[method-assign]

    def train() -> None:
        loop.train_epoch(session.run, session.method, config, modules, average)

    def epoch() -> dict[str, float]:
        nonlocal inside
        inside = 0.0
        found = timed(train, "train ")
        return found | timed(session.decisions.figures, "test ") | {"inside": inside}

    return epoch


def make_clips(folder: Path, rows: int, held: int) -> None:
    """Random clips as files and as a store of what those files hold."""
    import soundfile
    from PIL import Image

    from mmbal.data.store.store import ModalitySpec, seal

    random, n = np.random.default_rng(0), rows + held
    for row in range(n):
        coarse = Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        coarse.resize((480, 360), Image.Resampling.BICUBIC).save(folder / f"{row}.jpg", quality=95)
        soundfile.write(folder / f"{row}.wav", random.normal(0, 0.1, 3 * RATE).astype(np.float32), RATE)
    store = folder / "store"
    store.mkdir()
    np.save(store / "audio.npy", random.normal(size=(n, HEIGHT, WIDTH)).astype(np.float16))
    np.save(store / "video.npy", random.integers(0, 255, (n, 3, SIDE, SIDE), dtype=np.uint8))
    pictures = {"mean": [128.0] * 3, "std": [64.0] * 3, "augment": {"crop": [0.08, 1.0], "flip": True}}
    specs = {
        "audio": ModalitySpec(
            kind="spectrogram", shape=(1, HEIGHT, WIDTH), preprocessing={"mean": [0.0], "std": [1.0]}
        ),
        "video": ModalitySpec(kind="image", shape=(3, SIDE, SIDE), preprocessing=pictures),
    }
    table = {"labels": np.arange(n) % CLASSES, "ids": np.arange(n).astype(str)}
    table |= {"split": np.where(np.arange(n) < rows, "train", "val")}
    table |= {f"present_{m}": np.ones(n, dtype=bool) for m in specs}
    seal(store, name="random", classes=tuple("abcdef"), modalities=specs, rows=table, meta={})


class Loop:
    """A process that trains an epoch each time it is asked to."""

    def __init__(self, what: str, threads: int, **given: Any) -> None:
        code = [sys.executable, __file__, "one", json.dumps({"what": what, "threads": threads, **given})]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(code, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.epoch()  # what is done once is no part of an epoch

    def epoch(self) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()
        found: dict[str, float] = json.loads(self.process.stdout.readline())
        return found

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def answer(given: dict[str, Any]) -> None:
    """The work of such a process."""
    torch.set_num_threads(given["threads"])
    batch, folder = given["batch"], Path(given.get("folder", ""))
    if given["what"] == "field":
        epoch = field(folder, batch, given["rows"], given["held"])
    elif given["what"] == "mmbal":
        epoch = mmbal(folder, batch, **given.get("keys", {}))
    else:
        epoch = bare(batch, given["rows"] // batch, given["levers"])
    for _ in sys.stdin:
        found = epoch()
        print(json.dumps(found | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)


def by_turns(loops: Mapping[str, Loop], rounds: int) -> Figures:
    """The figures of each loop, one epoch of each after the other."""
    found: Figures = {name: {} for name in loops}
    try:
        for _ in range(rounds):
            for name, loop in loops.items():
                for figure, value in loop.epoch().items():
                    found[name].setdefault(figure, []).append(value)
    finally:
        for loop in loops.values():
            loop.end()
    return found


def ratio(a: list[float], b: list[float]) -> float:
    return median(x / y for x, y in zip(a, b, strict=True))


def total(figures: dict[str, list[float]], unit: str) -> list[float]:
    """Training and evaluation together, by round."""
    return [a + b for a, b in zip(figures[f"train {unit}"], figures[f"test {unit}"], strict=True)]


def epoch_table(threads: list[int], batch: int, rounds: int) -> None:
    rows, held = 2 * batch, batch
    print("| epoch | threads | processor time, ratio | clock, ratio |\n|---|---|---|---|")
    for count in threads:
        with tempfile.TemporaryDirectory() as place:
            make_clips(Path(place), rows, held)
            given = {"batch": batch, "rows": rows, "held": held, "folder": place}
            kinds = {"bare": {"levers": "c"}, "bare, the same memory": {"levers": "cm"}, "field": {}, "mmbal": {}}
            found = by_turns({name: Loop(name, count, **given, **more) for name, more in kinds.items()}, rounds)
        own, other = found["mmbal"], found["field"]
        for name in ("bare", "bare, the same memory"):
            both = [ratio(own[f"train {unit}"], found[name][unit]) for unit in ("cpu", "clock")]
            print(f"| training over the loop '{name}', channels_last | {count} | {both[0]:.2f} | {both[1]:.2f} |")
        both = [ratio(total(own, unit), total(other, unit)) for unit in ("cpu", "clock")]
        print(
            f"| training and evaluation over the field's loop | {count} | {both[0]:.2f} | {both[1]:.2f} |", flush=True
        )
        if count == 1:
            print(f"| share of training outside forward and backward | {count} | {outside(own):.1f} % | |", flush=True)


def lever_table(threads: list[int], rounds: int) -> None:
    kinds = {"plain": "", "channels_last": "c", "kept memory": "m", "both": "cm", "both, fused optimiser": "cmf"}
    kinds["all three, bf16"] = "cmfb"
    print(
        "| bare loop, batches of 16 | threads | processor time, ratio | clock, ratio | memory, MiB |\n|---|---|---|---|---|"
    )
    for count in threads:
        found = by_turns(
            {name: Loop(name, count, batch=16, rows=32, levers=levers) for name, levers in kinds.items()}, rounds
        )
        for name, figures in found.items():
            both = [ratio(figures[unit], found["plain"][unit]) for unit in ("cpu", "clock")]
            print(f"| {name} | {count} | {both[0]:.2f} | {both[1]:.2f} | {max(figures['memory']):.0f} |", flush=True)


def outside(figures: dict[str, list[float]]) -> float:
    """Share of the training of mmbal that is neither forward nor backward, in percent of its processor time."""
    return 100 * median(1 - a / b for a, b in zip(figures["inside"], figures["train cpu"], strict=True))


def fault_table(batch: int) -> None:
    print(f"| a step of {batch} | page faults | seconds in the system | memory, MiB | outside forward and backward |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        make_clips(Path(place), batch, 4)
        for name, switch in {"mmbal": "1", "mmbal, MMBAL_KEEP_MEMORY=0": "0"}.items():
            os.environ["MMBAL_KEEP_MEMORY"] = switch
            (figures,) = by_turns({name: Loop("mmbal", 1, batch=batch, folder=place)}, 2).values()
            faults, system, memory = (min(figures[key]) for key in ("train faults", "train system", "memory"))
            print(f"| {name} | {faults:,.0f} | {system:.2f} | {memory:.0f} | {outside(figures):.1f} % |", flush=True)


def frozen_table(batch: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        make_clips(Path(place), 2 * batch, batch)
        os.environ["MMBAL_CACHE"] = place
        given = {"batch": batch, "folder": place}
        keys = {"all learns": {}, "frozen": {"freeze_encoders": True, "augment": False}}
        found = by_turns({name: Loop("mmbal", 1, **given, keys=more) for name, more in keys.items()}, 2)
    full, frozen = (total(found[name], "cpu") for name in keys)
    print("| an epoch with evaluation, one thread | processor time, s | ratio |\n|---|---|---|")
    print(f"| all learns | {median(full):.2f} | 1 |")
    print(f"| --freeze-encoders, features cached | {median(frozen):.4f} | 1/{ratio(full, frozen):.0f} |", flush=True)


def compile_table(batch: int) -> None:
    """Steps of both by turns, in this process, after the first one, which compiles."""
    torch.set_num_threads(1)
    pictures = torch.randn(batch, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % CLASSES

    def steps(compiled: bool) -> Epoch:
        model = resnet18(num_classes=CLASSES).to(memory_format=torch.channels_last)
        optimiser, forward = optimiser_of(model, fused=True), torch.compile(model) if compiled else model

        def step() -> None:
            optimiser.zero_grad(set_to_none=True)
            cross_entropy(forward(pictures), labels).backward()
            optimiser.step()

        return lambda: timed(step)

    plain, compiled = steps(False), steps(True)
    plain(), (first := compiled())
    ratios = [(compiled()["cpu"], plain()["cpu"]) for _ in range(3)]
    print("| a step of one ResNet-18 | processor time, s |\n|---|---|")
    print(f"| plain | {median(b for _, b in ratios):.2f} |")
    print(f"| compiled | {median(a for a, _ in ratios):.2f} |")
    print(f"| compiled, the first step | {first['cpu']:.0f} ({first['clock']:.0f} by the clock) |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("epoch", "levers", "faults", "frozen", "compile", "one"))
    parser.add_argument("given", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.what == "one":
        answer(json.loads(given.given))
        return
    print(machine_line())
    if given.what == "epoch":
        epoch_table(given.threads, given.batch or 32, given.rounds)
    elif given.what == "levers":
        lever_table(given.threads, given.rounds)
    elif given.what == "frozen":
        frozen_table(given.batch or 32)
    elif given.what == "compile":
        compile_table(given.batch or 16)
    else:
        fault_table(given.batch or 64)


if __name__ == "__main__":
    main()
