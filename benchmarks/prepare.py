"""How fast preparation is, against what this field's scripts do; how its memory grows; whether batches keep up.

    python benchmarks/prepare.py speed CLIPS [--clips 100] [--ffmpeg PATH]
    python benchmarks/prepare.py memory CLIPS [--rows 300]
    python benchmarks/prepare.py loader [--device cuda]
    python benchmarks/prepare.py sets CLIPS [--clips 20]
    python benchmarks/prepare.py codecs CLIPS [--clips 20]

CLIPS is a folder of video clips with sound. ``speed`` makes 3 frames a second of 224 pixels and a 3 s spectrogram of each:
by two ffmpeg processes a clip into JPEG and WAV files and librosa (as the public preparation scripts do), by PyAV into
the same files and librosa, by ``mmbal prepare`` with one worker, and as it is shipped, with a worker a core. Figures are
clips per second of CPU time, which other work on the machine hardly changes, and of the clock; the start of the processes
counts, spread over five times as many rows as there are clips. ``sets`` measures each known data set's own recipe on CLIPS
encoded again as that set's files are. ``codecs`` measures what `--codec` and `--quality` do to 9 frames of 224 pixels of
each clip: bytes, error, and the time in which a loader decodes a batch of 32 clips of 3 frames.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine_line

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "OMP_NUM_THREADS": "1"}
FPS, SIZE, RATE, SECONDS = 3, 224, 22050, 3
REPEAT = 5


def cpu() -> float:
    """CPU seconds of this process and of those it has waited for."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def timed(work: Callable[[], None], clips: int) -> dict[str, float]:
    clock, before = time.perf_counter(), cpu()
    work()
    return {"clips / CPU s": clips / (cpu() - before), "clips / s": clips / (time.perf_counter() - clock)}


def spectrogram(wav: Path) -> np.ndarray:
    """As the public scripts compute it, with librosa."""
    import librosa

    wave, _ = librosa.load(wav, sr=RATE)
    wave = np.clip(np.tile(wave, SECONDS)[: RATE * SECONDS], -1, 1)
    return np.log(np.abs(librosa.stft(wave, n_fft=512, hop_length=353)) + 1e-7)


def by_ffmpeg(clips: list[Path], out: Path, ffmpeg: str) -> None:
    quiet = [ffmpeg, "-loglevel", "error", "-nostdin", "-y", "-i"]
    for clip in clips:
        folder = out / clip.stem
        folder.mkdir()
        subprocess.run([*quiet, str(clip), "-r", str(FPS), "-q:v", "2", str(folder / "%05d.jpg")], check=True)
        subprocess.run(
            [*quiet, str(clip), "-vn", "-ar", str(RATE), "-ac", "1", str(out / f"{clip.stem}.wav")], check=True
        )
        spectrogram(out / f"{clip.stem}.wav")


def by_pyav(clips: list[Path], out: Path) -> None:
    import wave as wavefile

    from mmbal.data.media.sound import read_audio

    for clip in clips:
        import av

        folder = out / clip.stem
        folder.mkdir()
        with av.open(str(clip)) as container:
            step = max(1, round(float(container.streams.video[0].average_rate) / FPS))
            for k, frame in enumerate(container.decode(video=0)):
                if k % step == 0:
                    frame.to_image().save(folder / f"{k:05d}.jpg", quality=95)
        sound, rate = read_audio(clip)
        with wavefile.open(str(out / f"{clip.stem}.wav"), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes((sound.array * 32767).astype(np.int16).tobytes())
        spectrogram(out / f"{clip.stem}.wav")


def prepare(manifest: Path, out: Path, **options: object) -> dict[str, float]:
    """Run preparation in a process of its own; its largest resident memory and that of its workers, MiB."""
    code = (
        "import json, resource, sys; from mmbal.data.prepare import prepare;"
        "prepare(sys.argv[1], out=sys.argv[2], **json.loads(sys.argv[3]));"
        "who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN);"
        "print(json.dumps([resource.getrusage(w).ru_maxrss / 1024 for w in who]))"
    )
    command = [sys.executable, "-c", code, str(manifest), str(out), json.dumps(options)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=out.parent, env=ENVIRONMENT)
    main, workers = json.loads(done.stdout)
    return {"command": main, "worker": workers}


def find_clips(folder: Path, n: int) -> list[Path]:
    clips = sorted(path for path in folder.iterdir() if path.is_file())[:n]
    if not clips:
        sys.exit(f"{folder} holds no clips.")
    return clips


def speed(folder: Path, n: int, ffmpeg: str | None) -> None:
    from mmbal.data.preparation.workers import cores

    clips = find_clips(folder, n)
    spectrogram_ready = True
    try:
        import librosa

        librosa.stft(np.zeros(2048))  # its first call compiles and loads; that is no part of the comparison
    except ImportError:
        spectrogram_ready = False
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        results = {}
        for name, work in {
            "two ffmpeg processes a clip, librosa": (lambda out: by_ffmpeg(clips, out, str(ffmpeg)))
            if ffmpeg
            else None,
            "PyAV to the same files, librosa": lambda out: by_pyav(clips, out),
        }.items():
            if work is None or not spectrogram_ready:
                print(f"{name}: not measured ({'librosa' if not spectrogram_ready else 'ffmpeg'} is not installed)")
                continue
            out = root / str(len(results))
            out.mkdir()
            results[name] = timed(lambda work=work, out=out: work(out), len(clips))
        manifest = root / "clips.csv"
        # Each clip several times, so that starting a process counts as little as in a data set of thousands.
        rows = [clip.resolve() for _ in range(REPEAT) for clip in clips]
        lines = [f"{clip},{'ab'[k % 2]},{'train' if k % 4 else 'test'}" for k, clip in enumerate(rows)]
        manifest.write_text("\n".join(["path,label,split", *lines]))
        given = {"audio_features": "spectrogram", "sample_rate": RATE, "duration": SECONDS, "n_fft": 512, "hop": 353}
        given |= {"fill": "repeat", "fps": FPS, "frames": 3, "keep": FPS * SECONDS, "size": SIZE}
        for name, workers in {"one worker": 1, f"as shipped, {cores()} workers": None}.items():
            store = root / f"store-{workers}"
            results[f"mmbal prepare to the sealed store, {name}"] = timed(
                lambda store=store, workers=workers: prepare(manifest, store, workers=workers, **given), len(rows)
            )
        size = sum(file.stat().st_size for file in store.iterdir())
        print(f"the store takes {size / len(rows) / 1000:.0f} MB per 1,000 clips")
    first = next(iter(results.values()))
    for name, figures in results.items():
        text = ", ".join(f"{value:.1f} {unit} (x {value / first[unit]:.1f})" for unit, value in figures.items())
        print(f"{name}: {text}")


def memory(folder: Path, rows: int) -> None:
    """Time ranges of the same clips, none twice, so that ten times the rows need no ten times the clips."""
    clips = find_clips(folder, 200)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        found = {}
        for n in (rows, 10 * rows):
            lines = ["path,label,split,start,end"]
            for k in range(n):
                start = 0.07 * (k // len(clips))
                split = "train" if k % 4 else "test"
                lines.append(f"{clips[k % len(clips)].resolve()},{'ab'[k % 2]},{split},{start:.2f},{start + 0.3:.2f}")
            manifest = root / f"{n}.csv"
            manifest.write_text("\n".join(lines))
            found[n] = prepare(manifest, root / str(n), workers=1, size=64, frames=2)
            print(f"{n} rows: {', '.join(f'{who} {mib:.0f} MiB' for who, mib in found[n].items())}")
        for who in ("command", "worker"):
            print(f"ten times the rows, {who}: x {found[10 * rows][who] / found[rows][who]:.3f} resident memory")


def loader(device: str) -> None:
    """Batches of 64 clips of 3 frames of 224 pixels against a ResNet-18's training step on the same."""
    import torch
    from torchvision.models import resnet18

    from mmbal.data.store.loader import Loader
    from mmbal.data.store.store import ModalitySpec, Store, seal

    batch, frames, n = 64, 3, 640
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rng = np.random.default_rng(0)
        np.save(folder / "video.npy", rng.integers(0, 255, (n, frames, 3, SIZE, SIZE), dtype=np.uint8))
        recipe = {"mean": [128.0] * 3, "std": [64.0] * 3, "augment": {"crop": [0.08, 1.0], "flip": True}}
        rows = {"labels": np.arange(n) % 6, "ids": np.arange(n).astype(str), "split": np.full(n, "train")}
        seal(
            folder,
            name="noise",
            classes=tuple("abcdef"),
            modalities={"video": ModalitySpec(kind="frames", shape=(frames, 3, SIZE, SIZE), preprocessing=recipe)},
            rows=rows | {"present_video": np.ones(n, dtype=bool)},
            meta={},
        )
        batches = Loader(Store.open(folder), "train", batch, shuffle=True, augment=True, device=device)
        wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
        list(batches.epoch(0))
        wait()
        clock = time.perf_counter()
        last = list(batches.epoch(1))[-1]
        wait()
        load = (time.perf_counter() - clock) / len(batches)
        model = resnet18(num_classes=6).to(device)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        steps = 10 if device.startswith("cuda") else 1
        for step in range(steps + 1):
            if step == 1 or steps == 1:
                wait()
                clock = time.perf_counter()
            optimiser.zero_grad(set_to_none=True)
            scores = model(last.inputs["video"].flatten(0, 1)).view(batch, frames, -1).mean(dim=1)
            torch.nn.functional.cross_entropy(scores, last.labels).backward()
            optimiser.step()
            if steps == 1:
                break
        wait()
        train = (time.perf_counter() - clock) / steps
    print(f"{device}: a batch {1000 * load:.0f} ms, a ResNet-18 step on it {1000 * train:.0f} ms ({load / train:.1%})")


# Container, codecs, pixels and seconds of each set's files.
MEDIA = {
    "cremad": (".flv", "flv", "libmp3lame", (480, 360), 2.5),
    "kinetics_sounds": (".mp4", "libx264", "aac", (340, 256), 10.0),
    "ravdess": (".mp4", "libx264", "aac", (1280, 720), 3.7),
    "ave": (".mp4", "libx264", "aac", (640, 360), 10.0),
    "vggsound": (".mp4", "libx264", "aac", (640, 360), 10.0),
    "ucf101": (".avi", "mpeg4", "libmp3lame", (320, 240), 7.2),
}


def encode_again(clip: Path, out: Path, codecs: tuple[str, str], pixels: tuple[int, int], seconds: float) -> None:
    """The clip's pictures and sound, over again until it is ``seconds`` long."""
    import av

    from mmbal.data.media.sound import read_audio

    sound, _ = read_audio(clip)
    with av.open(str(clip)) as source:
        pictures = [frame.reformat(*pixels, "yuv420p").to_ndarray() for frame in source.decode(video=0)]
    with av.open(str(out), "w") as sink:
        video = sink.add_stream(codecs[0], rate=25)
        video.width, video.height = pixels
        video.pix_fmt = "yuv420p"
        audio = sink.add_stream(codecs[1], rate=44100, layout="mono")
        for k in range(round(seconds * 25)):
            sink.mux(video.encode(av.VideoFrame.from_ndarray(pictures[k % len(pictures)], format="yuv420p")))
        frame = av.AudioFrame.from_ndarray(
            np.resize(sound.array, (1, round(seconds * 44100))), format="flt", layout="mono"
        )
        frame.sample_rate = 44100
        for piece in av.AudioResampler("fltp", "mono", 44100, frame_size=1152).resample(frame):
            sink.mux(audio.encode(piece))
        sink.mux(video.encode())
        sink.mux(audio.encode())


def sets(folder: Path, n: int) -> None:
    from mmbal.data.media.recipe import Source
    from mmbal.data.preparation.options import Options
    from mmbal.registry import datasets

    clips = find_clips(folder, n)
    with tempfile.TemporaryDirectory() as place:
        for name, (suffix, video, audio, pixels, seconds) in MEDIA.items():
            made = [Path(place) / f"{name}-{clip.stem}{suffix}" for clip in clips]
            for clip, path in zip(clips, made, strict=True):
                encode_again(clip, path, (video, audio), pixels, seconds)
            options = Options(**datasets.get(name).defaults)
            recipes = [options.audio(), options.video()]
            recipes[0].encode(Source(str(made[0])))  # what is imported at first use is no part of a clip's time
            before = cpu()
            stored = sum(
                recipe.encode(Source(str(path))).array.astype(recipe.dtype).nbytes
                for path in made
                for recipe in recipes
            )
            spent = 1000 * (cpu() - before) / len(made)
            shape = f"{pixels[0]} x {pixels[1]}, {seconds:g} s {suffix}"
            print(f"{name} ({shape}): {spent:.0f} CPU s and {stored / len(made) / 1e6:.2f} GB per 1,000 clips")


def codecs(folder: Path, n: int) -> None:
    from mmbal.data.media.frames import read_frames
    from mmbal.data.store.compressed import Codec, decoded, encoded

    clips = [read_frames(clip, FPS * SECONDS, SIZE).array for clip in find_clips(folder, n)]
    pictures = [picture for clip in clips for picture in clip]
    print("| codec | GB / 1,000 clips | of raw | PSNR, dB | CPU s to compress 1,000 clips | CPU s to decode a batch |")
    print("|---|---|---|---|---|---|")
    whole = sum(clip.nbytes for clip in clips) / len(clips)
    print(f"| raw | {whole / 1e6:.2f} | 1 | | | |")
    known: list[Codec] = ["jpeg", "webp"]
    for codec in known:
        for quality in (75, 90, 95):
            before = cpu()
            files = [encoded(picture, codec, quality) for picture in pictures]
            middle = cpu()
            again = [decoded(file, picture.shape) for file, picture in zip(files, pictures, strict=True)]
            read = (cpu() - middle) / len(pictures) * 32 * 3
            error = np.mean([np.mean((a.astype(float) - b) ** 2) for a, b in zip(again, pictures, strict=True)])
            size, written = sum(map(len, files)) / len(clips), 1000 * (middle - before) / len(clips)
            figures = f"{size / 1e6:.3f} | 1/{whole / size:.0f} | {10 * np.log10(255**2 / error):.1f}"
            print(f"| {codec} {quality} | {figures} | {written:.0f} | {read:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory", "loader", "sets", "codecs"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--ffmpeg", default=shutil.which("ffmpeg"))
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(machine_line())
    if given.what == "loader":
        loader(given.device)
    elif given.folder is None:
        parser.error("a folder of clips is needed")
    elif given.what == "sets":
        sets(given.folder, given.clips)
    elif given.what == "codecs":
        codecs(given.folder, given.clips)
    elif given.what == "speed":
        speed(given.folder, given.clips, given.ffmpeg)
    else:
        memory(given.folder, given.rows)


if __name__ == "__main__":
    main()
