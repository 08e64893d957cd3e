"""A clip: opened once, its sound and its pictures read in one pass, from any container that FFmpeg reads.

Times are seconds from the clip's first moment. A faulty file gives :class:`Unusable` (nothing can be kept) or a remark
(something can be kept), never an exception of the decoder.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import av
from av.stream import Disposition

from mmbal.data.media.decode import OF_SYSTEM, Unusable, check_file, reason_of
from mmbal.data.media.headers import missing_bytes, samples_of_wav, states_length

av.logging.set_level(av.logging.PANIC)  # messages of the decoder become findings, not lines on stderr

# Codecs whose frames say for certain whether others are predicted from them (HEVC's do so for one temporal layer only).
DROPPABLE = ("h264", "mpeg1video", "mpeg2video", "mpeg4", "vp8")
# Streams without a container: FFmpeg guesses their length from the size of the file.
BARE = ("aac", "ac3", "amr", "dts", "eac3", "loas", "mp3", "h264", "hevc", "m4v", "mpegvideo")
# Containers that recorders write as they go, so that the length in the header can be of the first moments.
MATROSKA = "matroska,webm"
LIVE = (MATROSKA, "flv", "asf")
DOUBTED = 60.0  # seconds up to which their header is checked
SHORT = 16 << 20  # bytes of a file up to which it is checked as well
FALSE = 2.0  # times that a header may claim what is there; beyond, what is there counts
SEEK_BACK = (0.0, 1.0, 4.0)  # streams without an index are entered late: the jump is then tried from further back
SEEK_GAP = 1.0  # seconds ahead beyond which jumping to a key frame is cheaper than decoding on
SAME = 0.002  # seconds by which two lengths may differ that are one, in two units
TOLERANCE = 0.25  # seconds by which a stream may end early before it counts as truncated
KEPT_BYTES = 32 << 20  # of packets that are kept for the other kind of track
# Tracks that a player does not take by itself.
NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails
ASIDE = Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired | Disposition.dub
COMMENTARY = re.compile(r"comment|audio.?descri", re.IGNORECASE)  # in the titles of such tracks

Media = Literal["audio", "video"]


def step_of(stream: Any) -> float:
    """Seconds a frame of a video stream lasts on average."""
    rate = getattr(stream, "average_rate", None)
    return 1 / float(rate) if rate else 0.04


def is_aside(stream: Any) -> bool:
    """Whether a track is a commentary or a description, by its flags or its title."""
    return bool(stream.disposition & ASIDE) or COMMENTARY.search(stream.metadata.get("title", "")) is not None


class Clip:
    """An open media file; use it as a context manager. Raises Unusable where it can't be opened."""

    def __init__(self, path: Path) -> None:
        check_file(path)
        self.path = path
        self._open()

    def _open(self) -> None:
        try:
            self.container: Any = av.open(str(self.path), metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) in OF_SYSTEM:
                raise
            raise Unusable("corrupt", reason_of(error)) from None
        self.rewind_needed: set[str] = set()
        self._ends: dict[int, float] = {}
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
            end = float((stamp + lasts) * packet.time_base) - self.origin
            self._ends[index] = max(end, self._ends.get(index, end))
        elif packet.size:  # some programs stamp the first packet of many
            step = float(lasts * packet.time_base) if lasts else step_of(packet.stream)
            self._ends[index] = self._ends.get(index, 0.0) + step
        if index in self._waiting:
            if self._kept + packet.size > KEPT_BYTES and index != wanted:
                self._drop(index)
            self._waiting[index].append(packet)
            self._kept += packet.size
        return True

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


class Track:
    """The sound or the pictures of a :class:`Clip`."""

    def __init__(self, clip: Clip, kind: Media) -> None:
        self.clip = clip
        self.kind = kind
        self.due = -math.inf  # seconds: of the frames up to here only the last is wanted
        self.found: float | None = None  # seconds to its end, where the header claims far more

    @property
    def stream(self) -> Any:
        return self.clip.taken[self.kind]

    @property
    def choice(self) -> list[tuple[str, str]]:
        """A note that says which stream was taken, where there are several."""
        streams, taken = self.clip.streams(self.kind), self.stream
        if len(streams) < 2:
            return []
        default = [s for s in streams if s.disposition & Disposition.default]
        aside = [s for s in streams if is_aside(s)]
        why = "the default one" if default == [taken] else "the one with most data"
        if len(aside) == len(streams) - 1 and taken not in aside:
            why = "the one that is no commentary"
        language = f", language {taken.language}" if taken.language not in (None, "und") else ""
        number = streams.index(taken) + 1
        return [("streams", f"{len(streams)} {self.kind} streams: number {number} is taken, {why}{language}")]

    @property
    def step(self) -> float:
        """Seconds a frame lasts (video)."""
        return step_of(self.stream)

    @property
    def own_end(self) -> float | None:
        """Seconds from the clip's first moment to this track's end, as its own header claims; None where it does not."""
        stream, container = self.stream, self.clip.container
        if not stream.duration or self.clip.measured:
            return None
        lasts = float(stream.duration * stream.time_base)
        if container.duration and abs(lasts - container.duration / av.time_base) < SAME:
            return None  # FFmpeg gives tracks that claim none the length of the file
        start = 0.0 if stream.start_time is None else float(stream.start_time * stream.time_base) - self.clip.origin
        return start + lasts

    @property
    def tagged_end(self) -> float | None:
        """Seconds to this track's end by Matroska's DURATION tag, which names the end of each track; None without."""
        text = next((text for name, text in self.stream.metadata.items() if name.upper().startswith("DURATION")), "")
        found = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", text)
        if found is None:
            return None
        hours, minutes, seconds = map(float, found.groups())
        return 3600 * hours + 60 * minutes + seconds - self.clip.origin

    @property
    def end(self) -> float | None:
        """Seconds from the clip's first moment to this track's end, as the track or else the file claims."""
        return self.own_end or self.clip.length

    def length(self) -> float | None:
        """Seconds from the clip's first moment to this track's end, checked by its packets where headers can be wrong.

        Nothing is decoded for that. The header counts where it differs by less than ``TOLERANCE``, and where the file
        ends before it should. None where there is neither a header nor a packet.
        """
        claimed, whole = self.end, self.clip.length
        if claimed is not None:
            differs = self.own_end is not None and whole is not None and self.own_end < whole - TOLERANCE
            long = claimed > DOUBTED and self.clip.path.stat().st_size > SHORT
            if not differs and (long or self.clip.container.format.name not in LIVE):
                return claimed
        found = self.clip.ends(self.stream.index)
        if found is None:
            return claimed
        if self.tagged_end is not None and self._outlasted(self.tagged_end):
            found = max(found, self.tagged_end)  # a last picture that is shown for long
        if claimed is None or found > claimed + TOLERANCE or (found < claimed - TOLERANCE and self._outlasted(claimed)):
            return found
        if claimed > FALSE * found:
            self.found = found
            return found
        return claimed

    def ends_early(self, what: str, last: float, due: float, end: float | None) -> list[tuple[str, str]]:
        """A remark where the track ends at ``last``: before the file claims, of what is due until ``due``, or before the
        ``end`` that the range asks for.
        """
        claimed = self.end
        if self.found is not None:
            last, due = self.found, math.inf
        if claimed is not None and last < min(claimed, due) - TOLERANCE and not self._outlasted(claimed):
            return [("truncated", f"{what} ends at {last:.2f} s, the file claims {claimed:.2f} s")]
        if end is not None and last < end - TOLERANCE:
            return [("too short", f"{what} ends at {last:.2f} s, the time range at {end:.2f} s")]
        return []

    def _outlasted(self, claimed: float) -> bool:
        """Whether it is another track of the file that lasts as long as the file claims."""
        return self.own_end is None and (self.clip.ends() or 0.0) >= claimed - TOLERANCE

    def frames(self, after: float) -> Iterator[tuple[float, Any]]:
        """(time, frame) from one at or before ``after`` on, by a jump where it lies far ahead."""
        for back in SEEK_BACK:
            if after - back <= SEEK_GAP:
                break
            try:
                self.clip.seek(after - back, self.stream)
            except av.FFmpegError:
                break
            entered = self._decode()
            first = next(entered, None)
            if first is not None and first[0] <= after:
                yield first
                yield from entered
                return
        if self.kind in self.clip.rewind_needed:
            self.clip.rewind()
        yield from self._decode()

    def _decode(self) -> Iterator[tuple[float, Any]]:
        """(time, frame) in order; damaged packets are skipped, a broken end ends it."""
        clip, stream = self.clip, self.stream
        clip.rewind_needed.add(self.kind)
        origin, unit, coder = clip.origin, stream.time_base, stream.codec_context
        if self.kind == "audio" and clip.own_coder is not None:
            coder = clip.own_coder
        clock, newest, flushed = 0.0, -math.inf, False
        while not flushed:
            packet = clip.packet(stream.index)
            flushed = packet is None or (not packet.size and packet.dts is None)
            if packet is not None and not packet.size and not flushed:
                continue  # a decoder would take it for the end
            if packet is not None and coder.name in DROPPABLE:
                time = math.inf if packet.pts is None else float(packet.pts * unit) - origin
                # What comes before a frame that is due already is needed only where others are predicted from it.
                coder.skip_frame = "NONREF" if time < newest else "DEFAULT"
                if time <= self.due:
                    newest = max(newest, time)
            try:
                # At the end the decoder gives what it has held back, also where the file is cut off.
                frames = coder.decode(packet)
            except (av.FFmpegError, ValueError):
                continue
            for frame in frames:
                time = clock if frame.time is None else frame.time - origin
                clock = time + (frame.samples / frame.sample_rate if self.kind == "audio" else self.step)
                yield time, frame


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
