"""Pictures that a store keeps as JPEG or WebP files, each decoded when a batch asks for it.

Of a modality m there are ``<m>.bin``, the files of all its pictures one after the other, sample by sample, and
``<m>.offsets.npy (P + 1,)`` int64: where each of the P pictures begins, and where the last one ends. A picture without a
byte, as that of a missing sample, is all zeros.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from mmbal.errors import DataError

Codec = Literal["jpeg", "webp"]
MODES = {1: "L", 3: "RGB"}  # of Pillow, by the number of channels


class Compressed:
    """Pictures ``(N, C, H, W)``, or frames ``(N, T, C, H, W)``, uint8, indexed by row and frame as an array is.

    An index is a row, rows ``(B,)`` or a slice of rows, or a pair of rows and frames that broadcast. Raises DataError for a
    picture that can't be decoded.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, folder: Path, m: str, shape: tuple[int, ...]) -> None:
        self.file = folder / f"{m}.bin"
        self.shape = shape
        self._offsets = np.load(folder / f"{m}.offsets.npy", mmap_mode="r", allow_pickle=False)
        self._bytes: np.ndarray = np.zeros(0, np.uint8)
        if self.file.stat().st_size:  # an empty file can't be mapped
            self._bytes = np.memmap(self.file, np.uint8, "r")
        pictures = int(np.prod(shape[:-3]))
        if self._offsets.shape != (pictures + 1,) or self._offsets[-1] != len(self._bytes):
            raise ValueError(f"{self.file.name} does not hold {pictures} pictures")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        first, *rest = index if isinstance(index, tuple) else (index,)
        number = np.arange(len(self))[first] if isinstance(first, slice) else np.asarray(first)
        if len(self.shape) == 5:
            frames = rest[0] if rest else np.arange(self.shape[1])
            number = (number if rest else number[..., None]) * self.shape[1] + frames
        found = np.zeros((*number.shape, *self.shape[-3:]), np.uint8)
        for place, k in np.ndenumerate(number):
            found[place] = self._picture(int(k))
        return found

    def _picture(self, k: int) -> np.ndarray:
        data = self._bytes[self._offsets[k] : self._offsets[k + 1]]
        if not len(data):
            return np.zeros(self.shape[-3:], np.uint8)
        try:
            return decoded(data.tobytes(), self.shape[-3:])
        except (OSError, ValueError, SyntaxError) as error:
            reason = f"picture {k} can't be decoded ({type(error).__name__})"
            raise DataError(f"{self.file} is damaged: {reason}.", "Prepare the store again.") from None


def encoded(picture: np.ndarray, codec: Codec, quality: int) -> bytes:
    """A picture ``(C, H, W)`` uint8 as a file of the codec; no byte where it is all zeros."""
    if not picture.any():
        return b""
    out = io.BytesIO()
    pixels = picture[0] if len(picture) == 1 else np.ascontiguousarray(picture.transpose(1, 2, 0))
    # Colours as fine as brightness: JPEG's default, a quarter of them, needs more bytes for the same error.
    options = {"subsampling": 0} if codec == "jpeg" else {}
    Image.fromarray(pixels).save(out, codec.upper(), quality=quality, **options)
    return out.getvalue()


def decoded(file: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The picture ``(C, H, W)`` of a file; raises what Pillow raises, and ValueError where it has another shape."""
    with Image.open(io.BytesIO(file), formats=("JPEG", "WEBP")) as opened:
        pixels = np.asarray(opened.convert(MODES[shape[0]]))
    picture = pixels[None] if shape[0] == 1 else pixels.transpose(2, 0, 1)
    if picture.shape != shape:
        raise ValueError(f"a picture of {picture.shape}")
    return picture
