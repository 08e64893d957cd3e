"""Pictures of a clip: frames at given times, as a player shows them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from mmbal.data.media.container import Clip, opened
from mmbal.data.media.decode import Decoded, Matrix, Unusable, reason_of, spread, upright
from mmbal.data.media.pictures import read_pictures
from mmbal.data.media.track import SEEK_GAP, Track, seconds

QUARTER = 0.2  # share by which a display matrix may differ from quarter turns without a remark


def due_times(begin: float, finish: float, n: int, fps: float | None) -> list[float]:
    """``n`` times in order: without ``fps`` the middles of n equal parts of the clip; with it, spread over the middles of
    parts of ``1 / fps`` seconds.
    """
    if fps is None:
        return [begin + (k + 0.5) * (finish - begin) / n for k in range(n)]
    due = max(1, int((finish - begin) * fps + 1e-6))
    return spread([min(begin + (k + 0.5) / fps, finish) for k in range(due)], n)


def read_frames(
    place: Path | Clip,
    n: int,
    size: int,
    *,
    start: float | None = None,
    end: float | None = None,
    fps: float | None = None,
) -> Decoded:
    """``n`` frames ``(n, 3, size, size)`` uint8 of a clip, at :func:`due_times`, or of a folder of pictures. Raises
    Unusable.
    """
    if isinstance(place, Path) and place.is_dir():
        return read_pictures(place, n, size)
    begin = start or 0.0
    with opened(place) as clip:
        track = clip.track("video")
        length = track.length() if end is None else track.end
        finish = length if end is None else min(end, length or end)
        if finish is None:
            raise Unusable("corrupt", "no frame can be decoded")
        if finish <= begin:
            raise Unusable("too short", f"lasts {finish:.2f} s, the time range begins at {begin:.2f} s")
        reader = _Reader(track)
        times = due_times(begin, finish, n, fps)
        scaler = VideoReformatter()  # one for all frames: setting it up costs more than using it
        pictures = [_picture(scaler, reader.at(time), size) for time in times]
        early = reader.ended or track.found is not None
        remarks = track.ends_early("video", reader.clock, times[-1], end) if early else []
        if end is None and not remarks:
            remarks = clip.cut_off
    if reader.slanted:
        remarks.append(
            ("rotated", f"the display matrix turns by {reader.slanted:.0f} degrees; quarter turns are applied")
        )
    lasts = min(finish, reader.clock) if remarks and reader.ended else finish
    return Decoded(np.stack(pictures), lasts - begin, remarks, distinct=len(reader.taken), notes=track.choice)


class _Reader:
    """The frame on screen at growing times, jumping ahead where that is cheaper than decoding on."""

    def __init__(self, track: Track) -> None:
        self._track = track
        self._frames: Iterator[tuple[float, Any]] = iter(())
        self._shown: tuple[float, Any] | None = None
        self._next: tuple[float, Any] | None = None
        self.clock = -np.inf  # where decoding has come to, seconds
        self.taken: set[float] = set()  # times of the frames that were taken
        self.slanted = 0.0  # degrees of a display matrix that is no quarter turn

    @property
    def ended(self) -> bool:
        return self._next is None

    def _advance(self) -> None:
        self._next = next(self._frames, None)
        if self._next is not None:
            time, frame = self._next
            lasts = getattr(frame, "duration", None)  # not told by every release of PyAV, nor by every container
            self.clock = time + max(self._track.step, seconds(lasts, frame.time_base) if lasts else 0.0)

    def at(self, time: float) -> Any:
        """The frame shown at ``time``, or the nearest where there is none then; raises Unusable where there are none."""
        self._track.due = time
        if time - self.clock > SEEK_GAP:
            self._frames = self._track.frames(time)
            self._advance()
        while self._next is not None and self._next[0] <= time:
            self._shown = self._next
            self._advance()
        shown = self._shown or self._next
        if shown is None:
            raise Unusable("corrupt", "no frame can be decoded")
        self.taken.add(shown[0])
        self.slanted = self.slanted or slant(matrix_of(shown[1]))
        return shown[1]


def matrix_of(frame: Any) -> Matrix:
    """How a player turns and mirrors a frame: (a, b, c, d) of its display matrix, see :func:`upright`."""
    found = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return 1.0, 0.0, 0.0, 1.0
    values = np.frombuffer(bytes(found), np.int32)[[0, 1, 3, 4]] / 65536
    return tuple(values.tolist()) if np.abs(values).max() > 0 else (1.0, 0.0, 0.0, 1.0)


def slant(matrix: Matrix) -> float:
    """Degrees by which a display matrix turns, where that is no quarter turn; else 0."""
    a, b, c, d = map(abs, matrix)
    if min(a + d, b + c) <= QUARTER * max(a + d, b + c):
        return 0.0
    return math.degrees(math.atan2(matrix[1], matrix[0])) % 360


def _picture(scaler: VideoReformatter, frame: Any, size: int) -> np.ndarray:
    """A video frame as it is shown, ``(3, size, size)`` uint8, stretched to the square as this field does."""
    try:
        # Planes of green, blue and red: half the work of packed pixels that are then taken apart.
        planes: Any = scaler.reformat(frame, size, size, "gbrp", interpolation="AREA").planes
    except (av.FFmpegError, ValueError) as error:
        raise Unusable("corrupt", reason_of(error)) from None
    green, blue, red = (np.frombuffer(plane, np.uint8).reshape(size, plane.line_size)[:, :size] for plane in planes)
    return upright(np.stack([red, green, blue]), matrix_of(frame))
