"""Sound of a clip as samples of one channel, in step with the clip's pictures."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.data.media.container import Clip, opened
from mmbal.data.media.decode import Decoded, Unusable
from mmbal.data.media.headers import ENDLESS
from mmbal.data.media.track import TOLERANCE

IN_STEP = 0.02  # seconds by which sound may begin late without being moved
GAP = 0.1  # seconds without sound within a clip, beyond which silence is put there
CANCELLED = 0.01  # share of the channels' power that is left of their mean, below which they cancel each other
SAMPLES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64}


def read_audio(
    place: Path | Clip, start: float | None = None, end: float | None = None, most: float = math.inf
) -> tuple[Decoded, int]:
    """Mono sound between two times, ``most`` seconds of it at most: ``array (n,)`` float32 in [-1, 1], and its sample
    rate in Hz.

    Sound that begins after ``start``, or that is missing in between, is silence there, so that it stays in step with the
    pictures. What lies beyond is not decoded. Raises Unusable.
    """
    begin = start or 0.0
    stop = min(begin + most, math.inf if end is None else end)
    with opened(place) as clip:
        track = clip.track("audio")
        pieces: list[np.ndarray] = []
        remarks: list[tuple[str, str]] = []
        rate, first, last, heard = 0, begin, begin, begin
        for time, frame in track.frames(begin):
            if time >= stop:
                break
            last = time + frame.samples / frame.sample_rate
            if last <= begin:
                continue
            if not pieces:
                rate, first = frame.sample_rate, time
                heard = time
            elif frame.sample_rate != rate:
                raise Unusable("corrupt", f"the sample rate changes from {rate} to {frame.sample_rate} Hz")
            elif time > heard + GAP:
                remarks.append(("gap", f"no sound from {heard:.2f} to {time:.2f} s"))
                silence = _silence(pieces[-1], round((time - heard) * rate))
                pieces.append(silence)
                heard += silence.shape[1] / rate
            pieces.append(_samples(frame))
            heard += frame.samples / rate
        length = track.end
        if not pieces:
            if length is not None and begin >= length:
                raise Unusable("too short", f"lasts {length:.2f} s, the time range begins at {begin:.2f} s")
            raise Unusable("corrupt", "no sound can be decoded")
        if last >= stop:  # more is there than is kept
            length = track.length() if end is None else max(length or end, last)
        if not (early := track.ends_early("sound", last, stop, None if end is None else stop)):
            early = _false_size(clip) or ([] if end is not None else clip.cut_off)
        remarks = early + remarks[:1]
        notes = track.choice
    if any(len(piece) != len(pieces[0]) for piece in pieces):
        pieces = [piece.mean(axis=0, keepdims=True, dtype=piece.dtype) for piece in pieces]  # channels change midway
    channels = np.concatenate(pieces, axis=1)
    wave = _mono(channels)[max(0, round((begin - first) * rate)) :]
    remarks += _cancelled(channels, wave)
    if first > begin + IN_STEP:
        wave = np.concatenate([np.zeros(round((first - begin) * rate), np.float32), wave])
        first = begin
    if stop < math.inf:
        wave = wave[: round((stop - max(begin, first)) * rate)]
    whole = min(length, math.inf if end is None else end) - begin if last >= stop and length is not None else None
    return Decoded(wave, whole or len(wave) / rate, remarks, notes=notes), rate


def _false_size(clip: Clip) -> list[tuple[str, str]]:
    """A remark where a WAV file holds less sound than its header says, or more. FFmpeg takes the less of both."""
    coder = clip.taken["audio"].codec_context
    if clip.container.format.name != "wav" or not coder.bit_rate:
        return []
    own = clip.own_coder
    per_second = own.sample_rate * own.layout.nb_channels * own.format.bytes if own else coder.bit_rate / 8
    with clip.path.open("rb") as stream:
        place = 12
        while True:
            stream.seek(place)
            name, size = stream.read(4), int.from_bytes(stream.read(4), "little")
            if name == b"data" or len(name) < 4:
                break
            place += 8 + size + size % 2
        stream.seek(place + 8 + size)
        behind = stream.read(4)
        there = clip.path.stat().st_size - place - 8
    if name != b"data" or size == 0 or size >= ENDLESS:
        return []
    told = f"the file claims {size / per_second:.2f} s"
    if there < size - TOLERANCE * per_second:
        return [("truncated", f"sound ends at {there / per_second:.2f} s, {told}")]
    if there > size + per_second and not re.fullmatch(rb"[ -~]{4}", behind):  # no other chunk
        return [("length", f"there is room for {there / per_second:.2f} s of sound, but {told}")]
    return []


def _silence(like: np.ndarray, n: int) -> np.ndarray:
    """``n`` samples of silence in the form of ``like (channels, ...)``."""
    return np.full((len(like), n), 128 if like.dtype.kind == "u" else 0, like.dtype)


def _samples(frame: Any) -> np.ndarray:
    """A copy of a frame's samples, ``(channels, n)``; read from its planes, which costs a third of to_ndarray."""
    dtype, channels = SAMPLES[frame.format.name.rstrip("p")], frame.layout.nb_channels
    if frame.format.is_planar:
        return np.array([np.frombuffer(plane, dtype, frame.samples) for plane in frame.planes])
    return np.frombuffer(frame.planes[0], dtype, frame.samples * channels).reshape(-1, channels).T.copy()


def _mono(samples: np.ndarray) -> np.ndarray:
    """Samples ``(channels, n)`` as float32 in [-1, 1], averaged over channels."""
    wave = samples[0].astype(np.float32) if len(samples) == 1 else samples.mean(axis=0, dtype=np.float32)
    if samples.dtype.kind == "u":
        return wave / 128 - 1
    return wave / np.float32(2 ** (8 * samples.dtype.itemsize - 1)) if samples.dtype.kind == "i" else wave


def _cancelled(channels: np.ndarray, wave: np.ndarray) -> list[tuple[str, str]]:
    """A remark where the mean of the channels is far weaker than they are, as that of opposite phases is."""
    if len(channels) < 2 or not len(wave):
        return []
    loud = float(np.mean([np.mean(np.square(_mono(channel[None]), dtype=np.float64)) for channel in channels]))
    left = float(np.mean(np.square(wave, dtype=np.float64)))
    if loud <= 1e-8 or left >= CANCELLED * loud:
        return []
    return [("channels cancel", f"the mean of {len(channels)} channels keeps {100 * left / loud:.1f} % of their power")]
