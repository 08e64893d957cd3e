"""What mmbal needs of a machine, tried here: decoding, spectrograms, the embedded data, a device, a folder to write to.

Each check imports what it tries, so that a broken installation is a failed check and not a crash.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmbal.engine.tracking import versions
from mmbal.tables import Column, Table


@dataclass(frozen=True)
class Check:
    """One thing that was tried: whether it works, and what was seen."""

    check: str
    ok: bool
    detail: str


def checks() -> list[Check]:
    """Everything tried; a check that fails does not stop the others."""
    found = []
    for name, check in CHECKS.items():
        try:
            found.append(Check(name, True, check()))
        except Exception as error:
            found.append(Check(name, False, f"{type(error).__name__}: {error}"))
    return found


def tables(found: Sequence[Check]) -> list[Table]:
    """The versions of the packages, and the checks."""
    packages = versions()
    return [
        Table.of(
            [
                Column("package", list(packages)),
                Column("version", [v or "not installed" for v in packages.values()], left=True),
            ]
        ),
        Table.of(
            [
                Column("check", [c.check for c in found]),
                Column("result", ["ok" if c.ok else "FAILS" for c in found], left=True),
                Column("detail", [c.detail for c in found], left=True, wrap=True),
            ]
        ),
    ]


def _devices() -> str:
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    mps = getattr(torch.backends, "mps", None)
    more = ["mps"] if mps is not None and mps.is_available() else []
    return ", ".join([f"cpu ({torch.get_num_threads()} threads)", *cuda, *more])


def _media() -> str:
    """Encode and decode a second of pictures."""
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
