"""A track of an open clip, its sound or its pictures: how long it lasts, by what its file claims and holds; its frames."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import av
from av.stream import Disposition

if TYPE_CHECKING:
    from mmbal.data.media.container import Clip

# Codecs whose frames say for certain whether others are predicted from them (HEVC's do so for one temporal layer only).
DROPPABLE = ("h264", "mpeg1video", "mpeg2video", "mpeg4", "vp8")
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
# Tracks that a player does not take by itself.
ASIDE = Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired | Disposition.dub
COMMENTARY = re.compile(r"comment|audio.?descri", re.IGNORECASE)  # in the titles of such tracks

Media = Literal["audio", "video"]


def seconds(stamp: int, unit: Fraction) -> float:
    """A time stamp in steps of ``unit`` seconds, rounded once; a product of fractions would be reduced first."""
    return stamp * unit.numerator / unit.denominator


def step_of(stream: Any) -> float:
    """Seconds a frame of a video stream lasts on average."""
    rate = getattr(stream, "average_rate", None)
    return 1 / float(rate) if rate else 0.04


def is_aside(stream: Any) -> bool:
    """Whether a track is a commentary or a description, by its flags or its title."""
    return bool(stream.disposition & ASIDE) or COMMENTARY.search(stream.metadata.get("title", "")) is not None


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
        tongue = (taken.language or "und").encode("utf-8", "replace").decode()  # a surrogate can't be printed
        language = f", language {tongue}" if tongue != "und" else ""
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
                time = math.inf if packet.pts is None else seconds(packet.pts, unit) - origin
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
