"""`mmbal doctor`: versions, devices, and what works here; with a file: what it holds, and what looks wrong."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mmbal.cli import console
from mmbal.cli.options import Json
from mmbal.errors import DataError


def doctor(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Predictions or features (.npz), or a table (.csv), to be looked at."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at this machine, or at files: what each array or column seems to be, and what looks wrong.

    Without FILE: try what mmbal needs here (decoding, the embedded data, a device). With FILE: exit 4 where mmbal
    can't use one of them.
    """
    if files:
        _look_at(files, as_json)
        return
    from mmbal.engine.tracking import versions

    checks: list[dict[str, Any]] = []
    for name, check in CHECKS.items():
        try:
            checks.append({"check": name, "ok": True, "detail": check()})
        except Exception as error:
            checks.append({"check": name, "ok": False, "detail": f"{type(error).__name__}: {error}"})
    found = versions()
    if as_json:
        console.print_json({"versions": found, "checks": checks})
    else:
        console.table(["package", "version"], [[k, v or "not installed"] for k, v in found.items()], numeric=[])
        rows = [[c["check"], "ok" if c["ok"] else "FAILS", c["detail"]] for c in checks]
        console.table(["check", "", "detail"], rows, numeric=[])
    if not all(c["ok"] for c in checks):
        raise typer.Exit(1)


def _look_at(files: list[Path], as_json: bool) -> None:
    from mmbal.predictions.describe import describe

    found = [describe(path) for path in files]
    if as_json:
        console.print_json({"files": [one.to_dict() for one in found]})
    for one in [] if as_json else found:
        console.say(f"{one.path}: {one.kind}", style="bold")
        if one.parts:
            noun = "array" if one.kind.startswith(("a predictions", "a feature")) else "column"
            rows = [[part.name, part.type, part.shape, part.seems] for part in one.parts]
            console.table([noun, "type", "shape", "seems to be"], rows, numeric=[])
        for remark in one.remarks:
            console.say(f"Note: {console.sentence(remark)}", style="yellow")
        if not one.remarks and not one.problem:
            console.say("Nothing looks wrong.")
    broken = next((one for one in found if one.problem), None)
    if broken is not None:
        raise DataError(broken.problem, broken.hint)


def _devices() -> str:
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    mps = getattr(torch.backends, "mps", None)
    more = ["mps"] if mps is not None and mps.is_available() else []
    return ", ".join([f"cpu ({torch.get_num_threads()} threads)", *cuda, *more])


def _media() -> str:
    """Encode and decode a second of sound and picture."""
    import av
    import numpy as np

    stream = io.BytesIO()
    with av.open(stream, "w", format="matroska") as container:
        video = container.add_stream("mpeg4", rate=5)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    stream.seek(0)
    with av.open(stream, "r") as container:
        frames = len(list(container.decode(video=0)))
    if frames != 5:
        raise RuntimeError(f"5 frames were written, {frames} read")
    return f"PyAV {av.__version__}: 5 of 5 frames"


def _spectrogram() -> str:
    import torch
    import torchaudio

    shape = torchaudio.transforms.MelSpectrogram(16000, n_mels=32)(torch.zeros(16000)).shape
    return f"torchaudio log-mel {tuple(shape)}"


def _embedded() -> str:
    from mmbal.data.prepare import embedded_store
    from mmbal.data.store.store import Store

    store = Store.open(embedded_store())
    return f"{len(store)} spoken and written digits at {store.path}"


def _writing() -> str:
    with tempfile.NamedTemporaryFile(dir=Path.cwd()):
        return f"{Path.cwd()} can be written to"


CHECKS: dict[str, Callable[[], str]] = {
    "devices": _devices,
    "media": _media,
    "spectrograms": _spectrogram,
    "embedded data": _embedded,
    "this folder": _writing,
}
