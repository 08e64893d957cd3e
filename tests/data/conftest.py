"""Real media for the tests of preparation: made here by an encoder, with pictures and sounds whose content is known."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

CODECS = {
    ".mp4": ("mpeg4", "aac"),
    ".mkv": ("mpeg4", "aac"),
    ".avi": ("mpeg4", "libmp3lame"),
    ".flv": ("flv", "libmp3lame"),
}
CODECS |= {".webm": ("libvpx", "libopus"), ".mpg": ("mpeg1video", "mp2"), ".mov": ("mpeg4", "aac")}


def write_clip(
    path: Path,
    *,
    seconds: float = 1.0,
    fps: int = 25,
    size: int = 64,
    tone: float = 440.0,
    rate: int = 44100,
    picture: Callable[[int], np.ndarray] | None = None,
    wave: np.ndarray | None = None,
    video: bool = True,
    audio: bool = True,
) -> Path:
    """A clip whose frame k is ``picture(k)`` (height, width, 3), by default grey growing with time, and that hums."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n = round(seconds * fps)
    if picture is None:

        def picture(k: int) -> np.ndarray:
            return np.full((size, size, 3), 30 + 200 * k // max(n, 2), dtype=np.uint8)

    if wave is None:
        wave = 0.5 * np.sin(2 * np.pi * tone * np.arange(round(seconds * rate)) / rate)
    with av.open(str(path), "w") as container:
        video_codec, audio_codec = CODECS.get(path.suffix, ("mpeg4", "pcm_s16le"))
        if path.suffix == ".wav":
            video, audio_codec = False, "pcm_s16le"
        streams = []
        if video:
            stream = container.add_stream(video_codec, rate=fps)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.bit_rate = 2_000_000
            streams.append((stream, [av.VideoFrame.from_ndarray(picture(k), format="rgb24") for k in range(n)]))
        if audio:
            rate = 48000 if audio_codec == "libopus" else rate
            stream = container.add_stream(audio_codec, rate=rate, layout="mono")
            samples = np.clip(wave * 32767, -32768, 32767).astype(np.int16)
            pieces = []
            for start in range(0, len(samples), 1152):
                frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1152], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
                pieces.append(frame)
            streams.append((stream, pieces))
        # In the order of time, as a recorder writes them.
        timed = [(k / len(frames), stream, frame) for stream, frames in streams for k, frame in enumerate(frames)]
        for _, stream, frame in sorted(timed, key=lambda entry: entry[0]):
            container.mux(stream.encode(frame))
        for stream, _ in streams:
            container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def clip() -> Callable[..., Path]:
    """:func:`write_clip`."""
    return write_clip


@pytest.fixture
def fsdd() -> Path:
    """30 real recordings of spoken digits (Free Spoken Digit Dataset, CC BY-SA 4.0)."""
    return Path(__file__).parent / "fsdd"
