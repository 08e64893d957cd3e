"""What the headers of a few containers say that FFmpeg passes over: lengths that nobody wrote, missing bytes, WAV's form."""

from __future__ import annotations

import re
import struct
from pathlib import Path

HEAD = 1 << 16  # bytes in which the headers of FLV and ASF end
UNKNOWN = (0, 2**32 - 1)  # what programs write for a size that they can't go back to
ENDLESS = 0x7FFF0000  # sizes from here on are as good: no file of samples is so long
FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # the object of ASF that holds the flags
FLAGS, BROADCAST = 88, 1  # where in it, and the bit that makes its length invalid
EXTENSIBLE = 0xFFFE  # WAVE_FORMAT_EXTENSIBLE


def states_length(path: Path, container: str) -> bool:
    """Whether the header of an AVI, FLV or ASF file states how long it lasts. Where not, FFmpeg guesses by its size."""
    if container not in ("avi", "flv", "asf"):
        return True
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if container == "avi":
        return int.from_bytes(head[4:8], "little") not in UNKNOWN
    if container == "flv":
        found = re.search(rb"duration\0(.{8})", head, re.DOTALL)
        return found is not None and struct.unpack(">d", found[1])[0] > 0
    place = head.find(FILE_PROPERTIES)
    return place < 0 or not int.from_bytes(head[place + FLAGS : place + FLAGS + 4], "little") & BROADCAST


def missing_bytes(path: Path) -> float:
    """Share of an AVI file that is missing at its end, by the size that it states; 0 where it states none."""
    with path.open("rb") as stream:
        head = stream.read(8)
    stated, there = int.from_bytes(head[4:8], "little") + 8, path.stat().st_size
    return 1 - there / stated if head[:4] == b"RIFF" and stated - 8 not in UNKNOWN and stated > there + 1 else 0.0


def samples_of_wav(path: Path, codec: str) -> str | None:
    """The form of a WAV file's samples where FFmpeg takes them for another (``codec``); None where it is right.

    That is so of RIFX, whose numbers have their high byte first, and of 24 valid bits in 32 by WAVE_FORMAT_EXTENSIBLE,
    which FFmpeg takes for real numbers.
    """
    with path.open("rb") as stream:
        head = stream.read(12)
        if head[:4] == b"RIFX" and codec.startswith("pcm_") and codec.endswith("le"):
            return codec.removesuffix("le") + "be"
        if head[:4] not in (b"RIFF", b"RF64", b"BW64") or codec != "pcm_f24le":
            return None
        while len(chunk := stream.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"fmt ":
                return "pcm_s32le" if int.from_bytes(stream.read(2), "little") == EXTENSIBLE else None
            stream.seek(size + size % 2, 1)
    return None
