"""A clip: opened once, its sound and its pictures read in one pass, from any container that FFmpeg reads.

Times are seconds from the clip's first moment. A faulty file gives :class:`Unusable` (nothing can be kept) or a remark
(something can be kept), never an exception of the decoder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from mmbal.data.media.decode import OF_SYSTEM, Unusable, check_file, reason_of
from mmbal.data.media.headers import missing_bytes, samples_of_wav, states_length
from mmbal.data.media.track import MATROSKA, Media, Track, is_aside, seconds, step_of

# What is no UTF-8 in titles and languages: PyAV from 19 on keeps it as surrogates and takes no option for it.
UNDECODED: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "surrogateescape"}
av.logging.set_level(av.logging.PANIC)  # messages of the decoder become findings, not lines on stderr

# Streams without a container: FFmpeg guesses their length from the size of the file.
BARE = ("aac", "ac3", "amr", "dts", "eac3", "loas", "mp3", "h264", "hevc", "m4v", "mpegvideo")
KEPT_BYTES = 32 << 20  # of packets that are kept for the other kind of track
# Tracks that a player does not take by itself.
NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails


class Clip:
    """An open media file; use it as a context manager. Raises Unusable where it can't be opened."""

    def __init__(self, path: Path) -> None:
        check_file(path)
        self.path = path
        self._open()

    def _open(self) -> None:
        try:
            self.container: Any = av.open(str(self.path), **UNDECODED)
        except (av.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) in OF_SYSTEM:
                raise
            raise Unusable("corrupt", reason_of(error)) from None
        self.rewind_needed: set[str] = set()
        self._ends: dict[int, float] = {}
        self._units: dict[int, Fraction] = {}
        self._packets: Iterator[Any] | None = None
        self._waiting: dict[int, deque[Any]] = {}
        self._kept = 0
        # Whether the header states a length at all.
        self.measured = self.container.format.name in BARE or not states_length(self.path, self.container.format.name)
        self.taken: dict[str, Any] = {kind: self._choose(kind) for kind in ("audio", "video")}
        for stream in self.taken.values():
            if stream is not None:
                stream.codec_context.thread_count = 1  # one process a core: threads would only contend
                self._waiting[stream.index] = deque()
        self.own_coder = self._own_coder(self.taken["audio"])
        self.measured |= self.own_coder is not None

    def _own_coder(self, stream: Any) -> Any | None:
        """A decoder for the samples of a WAV file that FFmpeg takes for others."""
        if stream is None or self.container.format.name != "wav":
            return None
        name = samples_of_wav(self.path, stream.codec_context.name)
        if name is None:
            return None
        coder: Any = av.CodecContext.create(name, "r")
        coder.sample_rate, coder.layout = stream.codec_context.sample_rate, stream.codec_context.layout
        return coder

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.container.close()

    def _choose(self, kind: str) -> Any | None:
        """The stream of a kind that a player would take: no cover picture, no commentary, the default one, and of several
        such the one that FFmpeg deems best.
        """
        best = self.container.streams.best(kind)
        return max(
            (s for s in self.streams(kind) if s.codec_context is not None),
            key=lambda s: (not is_aside(s), bool(s.disposition & Disposition.default), s is best, -s.index),
            default=None,
        )

    def streams(self, kind: str) -> list[Any]:
        return [
            s for s in self.container.streams if s.type == kind and not (kind == "video" and s.disposition & NO_VIDEO)
        ]

    def track(self, kind: Media) -> Track:
        """The sound or the pictures; raises Unusable where the clip has none."""
        if self.taken[kind] is None:
            covers = kind == "video" and any(s.type == kind for s in self.container.streams)
            lacks = "only a cover picture, no video" if covers else f"no {kind} stream that can be decoded"
            raise Unusable(f"no {kind}", f"the file has {lacks}")
        return Track(self, kind)

    @property
    def origin(self) -> float:
        """Time stamp of the clip's first moment, seconds."""
        start = self.container.start_time
        return 0.0 if start is None else float(start) / av.time_base

    @property
    def length(self) -> float | None:
        """Seconds that the file claims to last; None where it is not stated."""
        if self.measured or not self.container.duration:
            return None
        whole = float(self.container.duration) / av.time_base
        # Matroska counts from 0, not from the first packet.
        return whole - max(0.0, self.origin) if self.container.format.name == MATROSKA else whole

    def packet(self, index: int) -> Any | None:
        """The next packet of a stream; None at the end. Packets of the other track are kept for it."""
        waiting = self._waiting[index]
        while not waiting:
            if not self._read(index):
                return None
        packet = waiting.popleft()
        self._kept -= packet.size
        return packet

    def _read(self, wanted: int | None = None) -> bool:
        """Read one more packet of the file; False at its end, or where it is damaged beyond."""
        if self._packets is None:
            self._packets = self.container.demux()
        try:
            packet = next(self._packets)
        except (StopIteration, av.FFmpegError):
            return False
        index = packet.stream.index
        stamp, lasts = packet.dts if packet.pts is None else packet.pts, packet.duration or 0
        if stamp is not None:
            end = seconds(stamp + lasts, self._unit(packet)) - self.origin
            self._ends[index] = max(end, self._ends.get(index, end))
        elif packet.size:  # some programs stamp the first packet of many
            step = seconds(lasts, self._unit(packet)) if lasts else step_of(packet.stream)
            self._ends[index] = self._ends.get(index, 0.0) + step
        if index in self._waiting:
            if self._kept + packet.size > KEPT_BYTES and index != wanted:
                self._drop(index)
            self._waiting[index].append(packet)
            self._kept += packet.size
        return True

    def _unit(self, packet: Any) -> Fraction:
        """Seconds of one step of a packet's stamps; asked of a stream's first packet, since PyAV makes it anew each time."""
        index = packet.stream.index
        if index not in self._units:
            self._units[index] = packet.time_base
        return self._units[index]

    def _drop(self, index: int) -> None:
        """Forget the packets kept for a stream, which is read again from the start where it is wanted."""
        self._kept -= sum(packet.size for packet in self._waiting[index])
        self._waiting[index].clear()
        self.rewind_needed.add(self.container.streams[index].type)

    @property
    def cut_off(self) -> list[tuple[str, str]]:
        """A remark where bytes are missing at the end of a container that then is read as a shorter one."""
        lacking = missing_bytes(self.path) if self.container.format.name == "avi" else 0.0
        return [("truncated", f"{100 * lacking:.0f} % of the file are missing at its end")] if lacking else []

    def ends(self, index: int | None = None) -> float | None:
        """Seconds to the end of a stream's last packet, or of the last packet of all; reads to the end of the file."""
        while self._read():
            pass
        return max(self._ends.values(), default=None) if index is None else self._ends.get(index)

    def seek(self, time: float, stream: Any) -> None:
        """Enter the clip at or before ``time``; raises av.FFmpegError where the file can't be entered there."""
        self.container.seek(int((time + self.origin) / stream.time_base), stream=stream)
        for index in self._waiting:
            self._drop(index)
        self._packets = None

    def rewind(self) -> None:
        """Begin again from the first packet."""
        self.close()
        self._open()  # not seek(0), which enters a stream without an index after its first key frame


@contextmanager
def opened(place: Path | Clip) -> Iterator[Clip]:
    """``place`` as an open clip, closed at the end where it is opened here. Raises Unusable."""
    if isinstance(place, Clip):
        yield place
        return
    with Clip(place) as clip:
        yield clip


class Clips:
    """The clips of one sample, each opened once however many modalities are read from it; a context manager."""

    def __init__(self) -> None:
        self._open: dict[Path, Clip] = {}

    def __call__(self, path: Path) -> Clip:
        """The clip at ``path``; raises Unusable where it can't be opened."""
        if path not in self._open:
            self._open[path] = Clip(path)
        return self._open[path]

    def __enter__(self) -> Clips:
        return self

    def __exit__(self, *_: object) -> None:
        for clip in self._open.values():
            clip.close()


def duration(path: Path) -> float:
    """Seconds that a clip lasts, by its header, or else by its last packet; raises Unusable."""
    with Clip(path) as clip:
        for kind in ("video", "audio"):
            if clip.taken[kind] is not None:
                track = clip.track(kind)
                length = track.length()
                if length is not None:
                    return length
    raise Unusable("no duration", "the container does not state its duration")
