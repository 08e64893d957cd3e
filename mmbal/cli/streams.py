"""Standard output and error that work wherever they lead.

Where an encoding has no such character a plain one is written, and a pipe whose reader has gone ends the command without
a message.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import NoReturn

CLOSED_PIPE = 141  # exit code where the reader of the output has gone: 128 + SIGPIPE, as other programs end then
STAND_INS = {
    **dict.fromkeys("–—−‑", "-"), **dict.fromkeys("█▉▊▋", "#"), **dict.fromkeys("▌▍▎▏", "-"), "·": "|", "▶": ">", "◀": "<",
    "…": "...", "×": "x", "→": "->", "±": "+-", "≥": ">=", "≤": "<=", "\u00a0": " ", "’": "'", "“": '"', "”": '"',
}  # fmt: skip


class _Stream(io.TextIOWrapper):
    """Text to a stream of bytes; ends the program where the reader has gone."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._leave()

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._leave()

    def _leave(self) -> NoReturn:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # what is still buffered has somewhere to go
        raise SystemExit(CLOSED_PIPE)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """For characters that an encoding does not have: plain ones of the same meaning, else their escaped code."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = (STAND_INS.get(c) or c.encode("ascii", "backslashreplace").decode("ascii") for c in text)
    return "".join(plain), error.end


def open_streams() -> None:
    """Make stdout and stderr take every character and every end of a pipe; done once, by the program's entry point."""
    codecs.register_error("mmbal.stand_in", _stand_in)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Stream):
            encoding, lines = stream.encoding, stream.line_buffering
            setattr(sys, name, _Stream(stream.detach(), encoding, "mmbal.stand_in", line_buffering=lines))


def close_streams() -> None:
    """Write what is still in the buffers."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
