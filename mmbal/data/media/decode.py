"""Decoding: only what is kept, from any container that FFmpeg reads, without temporary files.

Times are seconds from the start of the clip. Whatever a file does wrong ends as :class:`Unusable` (nothing can be
kept) or as a remark (something can), never as an exception of the decoder.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image, UnidentifiedImageError

T = TypeVar("T")

av.logging.set_level(av.logging.PANIC)  # what the decoder has to say becomes a finding, not a line on stderr

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".flv", ".mpg", ".mpeg", ".m4v", ".wmv", ".3gp")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# Codecs whose frames say for certain whether others are predicted from them (HEVC's do so for one temporal layer only).
DROPPABLE = ("h264", "mpeg1video", "mpeg2video", "mpeg4", "vp8")
SEEK_BACK = (0.0, 1.0, 4.0)  # streams without an index are entered late: the jump is then tried from further back
SEEK_GAP = 1.0  # seconds ahead beyond which jumping to a key frame is cheaper than decoding on
TOLERANCE = 0.25  # seconds by which a stream may end early before it counts as truncated


class Unusable(Exception):
    """A file gives nothing for a modality: the finding's kind, and the reason in a few words."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


@dataclass
class Decoded:
    """What was read: the array, the seconds of media behind it, remarks (kind, reason) about its quality, and of how many
    different pictures it is made.
    """

    array: np.ndarray
    seconds: float | None = None
    remarks: list[tuple[str, str]] = field(default_factory=list)
    distinct: int = 1


def check_file(path: Path) -> None:
    """Raise Unusable where ``path`` is missing, empty, no regular file, unreadable, or a Git LFS pointer."""
    if not path.exists():
        raise Unusable("missing", "no such file")
    if not path.is_file():  # reading a pipe could wait for ever
        raise Unusable("corrupt", "a folder, not a file" if path.is_dir() else "not a regular file")
    try:
        with path.open("rb") as stream:
            head = stream.read(len(LFS_POINTER))
    except OSError as error:
        raise Unusable("unreadable", error.strerror or "cannot be opened") from None
    if not head:
        raise Unusable("empty", "0 bytes")
    if head == LFS_POINTER:
        raise Unusable("pointer", "a Git LFS pointer, not the media")


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[0].lower() + text[1:]


class Stream:
    """The audio or video stream of a clip that FFmpeg deems best; use as a context manager. Raises Unusable."""

    def __init__(self, path: Path, kind: str) -> None:
        check_file(path)
        self.due = -math.inf  # seconds: of the frames up to here only the last is wanted
        self._path = path
        self._kind: Any = kind
        self._open()

    def _open(self) -> None:
        try:
            self._container: Any = av.open(str(self._path), metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            raise Unusable("corrupt", _reason(error)) from None
        stream: Any = self._container.streams.best(self._kind)
        if stream is None or stream.codec_context is None:
            self._container.close()
            raise Unusable(f"no {self._kind}", f"the file has no {self._kind} stream that can be decoded")
        stream.codec_context.thread_count = 1  # one process a core: threads would only contend
        self._stream: Any = stream
        self._fresh = True

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def rate(self) -> int:
        """Samples a second (audio)."""
        return int(self._stream.rate)

    @property
    def step(self) -> float:
        """Seconds a frame lasts (video)."""
        return 1 / float(self._stream.average_rate) if self._stream.average_rate else 0.04

    @property
    def length(self) -> float | None:
        """Seconds the stream claims to last, or else the container."""
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        return float(self._container.duration) / av.time_base if self._container.duration else None

    def measure(self) -> float | None:
        """Seconds to the last packet, for streams that claim no length (browsers record such); reads without decoding."""
        ends = [float((p.pts + (p.duration or 0)) * p.time_base) for p in self._container.demux(self._stream) if p.pts]
        self._fresh = False
        return max(ends) - self._origin if ends else None

    @property
    def _origin(self) -> float:
        """Time stamp of the clip's first moment, seconds."""
        if self._container.start_time is not None:
            return float(self._container.start_time) / av.time_base
        start = self._stream.start_time
        return 0.0 if start is None else float(start * self._stream.time_base)

    def frames(self, after: float) -> Iterator[tuple[float, Any]]:
        """(time, frame) from one at or before ``after`` on, by a jump where it lies far ahead."""
        for back in SEEK_BACK:
            if after - back <= SEEK_GAP:
                break
            try:
                self._container.seek(int((after - back + self._origin) / self._stream.time_base), stream=self._stream)
            except av.FFmpegError:
                break
            self._fresh = False
            entered = self._decode()
            first = next(entered, None)
            if first is not None and first[0] <= after:
                yield first
                yield from entered
                return
        if not self._fresh:
            self.__exit__()
            self._open()  # not seek(0), which enters a stream without an index after its first key frame
        yield from self._decode()

    def _decode(self) -> Iterator[tuple[float, Any]]:
        """(time, frame) in order; damaged packets are skipped, a broken end ends it."""
        self._fresh = False
        origin, unit, coder = self._origin, self._stream.time_base, self._stream.codec_context
        clock, newest = 0.0, -math.inf
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError):
                return
            if coder.name in DROPPABLE:
                time = math.inf if packet.pts is None else float(packet.pts * unit) - origin
                # What comes before a frame that is due already is needed only where others are predicted from it.
                coder.skip_frame = "NONREF" if time < newest else "DEFAULT"
                if time <= self.due:
                    newest = max(newest, time)
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError):
                continue
            for frame in frames:
                time = clock if frame.time is None else frame.time - origin
                clock = time + (frame.samples / frame.sample_rate if self._kind == "audio" else self.step)
                yield time, frame


def duration(path: Path) -> float:
    """Seconds a clip claims to last, from its header; raises Unusable."""
    for kind in ("video", "audio"):
        try:
            with Stream(path, kind) as stream:
                if stream.length is not None:
                    return stream.length
        except Unusable as error:
            if error.kind != f"no {kind}":
                raise
    raise Unusable("no duration", "the container does not say how long it lasts")


def read_audio(
    path: Path, start: float | None = None, end: float | None = None, most: float = math.inf
) -> tuple[Decoded, int]:
    """Mono sound between two times, ``most`` seconds of it at most: ``array (n,)`` float32 in [-1, 1], and its sample
    rate in Hz. What lies beyond is not decoded. Raises Unusable.
    """
    begin = start or 0.0
    stop = min(begin + most, math.inf if end is None else end)
    with Stream(path, "audio") as stream:
        rate, length = stream.rate, stream.length
        pieces: list[np.ndarray] = []
        first = last = begin
        for time, frame in stream.frames(begin):
            if time >= stop:
                break
            last = time + frame.samples / frame.sample_rate
            if last > begin:
                first = first if pieces else time
                pieces.append(_samples(frame))
    if not pieces:
        if length is not None and begin >= length:
            raise Unusable("too short", f"lasts {length:.2f} s, the time range begins at {begin:.2f} s")
        raise Unusable("corrupt", "no sound can be decoded")
    if any(len(piece) != len(pieces[0]) for piece in pieces):
        pieces = [piece.mean(axis=0, keepdims=True, dtype=piece.dtype) for piece in pieces]  # channels change midway
    wave = _mono(np.concatenate(pieces, axis=1))[max(0, round((begin - first) * rate)) :]
    if stop < math.inf:
        wave = wave[: round((stop - max(begin, first)) * rate)]
    remarks = _ends_early("sound", last, None if length is None else min(length, stop), None if end is None else stop)
    whole = min(length, math.inf if end is None else end) - begin if length is not None and last >= stop else None
    return Decoded(wave, whole or len(wave) / rate, remarks), rate


def _ends_early(what: str, last: float, available: float | None, end: float | None) -> list[tuple[str, str]]:
    """A remark where a stream ends before the time it claims to last, or before the time range asked for."""
    if available is not None and last < available - TOLERANCE:
        return [("truncated", f"{what} ends at {last:.2f} s, the file claims {available:.2f} s")]
    if end is not None and last < end - TOLERANCE:
        return [("too short", f"{what} ends at {last:.2f} s, the time range at {end:.2f} s")]
    return []


SAMPLES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64}


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


def spread(items: Sequence[T], n: int) -> list[T]:
    """``n`` of ``items`` in order: of more the middles of n equal parts, of fewer each as often as the others."""
    return [items[int((k + 0.5) * len(items) / n)] for k in range(n)]


def due_times(begin: float, finish: float, n: int, fps: float | None) -> list[float]:
    """``n`` times in order: without ``fps`` the middles of n equal parts of the clip; with it, spread over the middles of
    parts of ``1 / fps`` seconds.
    """
    if fps is None:
        return [begin + (k + 0.5) * (finish - begin) / n for k in range(n)]
    due = max(1, int((finish - begin) * fps + 1e-6))
    return spread([min(begin + (k + 0.5) / fps, finish) for k in range(due)], n)


def read_frames(
    path: Path, n: int, size: int, *, start: float | None = None, end: float | None = None, fps: float | None = None
) -> Decoded:
    """``n`` frames ``(n, 3, size, size)`` uint8 of a clip, at :func:`due_times`, or of a folder of pictures. Raises
    Unusable.
    """
    if path.is_dir():
        return read_pictures(path, n, size)
    begin = start or 0.0
    with Stream(path, "video") as stream:
        length = stream.length or stream.measure()
        finish = length if end is None else min(end, length or end)
        if finish is None:
            raise Unusable("corrupt", "no frame can be decoded")
        if finish <= begin:
            raise Unusable("too short", f"lasts {finish:.2f} s, the time range begins at {begin:.2f} s")
        reader = _Reader(stream)
        times = due_times(begin, finish, n, fps)
        scaler = VideoReformatter()  # one for all frames: setting it up costs more than using it
        pictures = [_resize(scaler, reader.at(time), size) for time in times]
    remarks = _ends_early("video", reader.clock, times[-1], end) if reader.ended else []
    return Decoded(np.stack(pictures), finish - begin, remarks, distinct=len(set(times)))


class _Reader:
    """The frame on screen at growing times, jumping ahead where that is cheaper than decoding on."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._frames: Iterator[tuple[float, Any]] = iter(())
        self._shown: Any = None
        self._next: tuple[float, Any] | None = None
        self.clock = -np.inf  # where decoding has come to, seconds

    @property
    def ended(self) -> bool:
        return self._next is None

    def _advance(self) -> None:
        self._next = next(self._frames, None)
        if self._next is not None:
            self.clock = self._next[0] + self._stream.step

    def at(self, time: float) -> Any:
        """The frame shown at ``time``, or the nearest where there is none then; raises Unusable where there are none."""
        self._stream.due = time
        if time - self.clock > SEEK_GAP:
            self._frames = self._stream.frames(time)
            self._advance()
        while self._next is not None and self._next[0] <= time:
            self._shown = self._next[1]
            self._advance()
        if self._shown is not None:
            return self._shown
        if self._next is not None:
            return self._next[1]
        raise Unusable("corrupt", "no frame can be decoded")


def _resize(scaler: VideoReformatter, frame: Any, size: int) -> np.ndarray:
    """A video frame as ``(3, size, size)`` uint8, stretched to the square as this field does."""
    try:
        # Planes of green, blue and red: half the work of packed pixels that are then taken apart.
        planes: Any = scaler.reformat(frame, size, size, "gbrp", interpolation="AREA").planes
    except (av.FFmpegError, ValueError) as error:
        raise Unusable("corrupt", _reason(error)) from None
    green, blue, red = (np.frombuffer(plane, np.uint8).reshape(size, plane.line_size)[:, :size] for plane in planes)
    return np.stack([red, green, blue])


def read_picture(path: Path, size: int) -> Decoded:
    """A picture as ``(3, size, size)`` uint8. Raises Unusable."""
    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                picture.draft("RGB", (2 * size, 2 * size))
                pixels = np.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    except UnidentifiedImageError:
        raise Unusable("corrupt", "not a picture of a known format") from None
    except Exception as error:  # Pillow's decoders raise kinds of their own and of Python's on damaged files
        raise Unusable("corrupt", _reason(error)) from None
    return Decoded(np.moveaxis(pixels, -1, 0))


def read_pictures(path: Path, n: int, size: int, pattern: str = "*") -> Decoded:
    """``n`` pictures ``(n, 3, size, size)`` of a folder, taken evenly in the order of their names. Raises Unusable."""
    if not path.is_dir():
        raise Unusable("missing", "no such folder")
    files = sorted(file for file in path.glob(pattern) if file.suffix.lower() in PICTURE_SUFFIXES)
    if not files:
        raise Unusable("empty", "a folder without pictures")
    taken = spread(files, n)
    pictures, remarks = [], []
    for file in taken:
        try:
            pictures.append(read_picture(file, size).array)
        except Unusable as error:
            remarks.append((error.kind, f"{file.name}: {error.reason}"))
    if not pictures:
        raise Unusable("corrupt", f"no picture of the folder can be read ({remarks[0][1]})")
    return Decoded(np.stack(spread(pictures, n)), None, remarks, distinct=len(set(taken)))
