"""The recipe of texts: token ids."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from mmbal.data.media import Decoded, Unusable, check_file
from mmbal.data.recipe import Recipe, Source
from mmbal.data.store import Kind, ModalitySpec

if TYPE_CHECKING:
    from mmbal.data.container import Clips


class TextRecipe(Recipe):
    """A text as token ids, 0 beyond its end: its UTF-8 bytes (1 to 256), or its words hashed into a vocabulary."""

    type: Literal["text"] = "text"
    tokens: Literal["bytes", "words", "ids"] = Field(
        "words", description="how a text becomes numbers; ids: it is numbers already, from 1 to vocabulary - 1"
    )
    length: int = Field(64, ge=1, le=8192, description="tokens of a text that are kept")
    vocabulary: int = Field(8192, ge=2, description="number of different tokens, 0 among them")

    @property
    def kind(self) -> Kind:
        return "text"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @property
    def dtype(self) -> str:
        return "int32"

    def encode(self, source: Source, clips: Clips | None = None) -> Decoded:
        text = source.text
        if source.path:
            check_file(Path(source.path))
            text = Path(source.path).read_text(encoding="utf-8", errors="replace")
            if "\0" in text:
                raise Unusable("corrupt", "not a text")
        if not text.strip():
            raise Unusable("empty", "no text")
        ids = self._ids(text)
        remarks = [("truncated", f"{len(ids)} tokens, {self.length} are kept")] if len(ids) > self.length else []
        row = np.zeros(self.length, dtype=np.int32)
        row[: min(len(ids), self.length)] = ids[: self.length]
        return Decoded(row, None, remarks)

    def spec(self, statistics: dict[str, list[float]]) -> ModalitySpec:
        preprocessing = {**super().spec(statistics).preprocessing, "vocabulary": self.vocabulary}
        return ModalitySpec(kind=self.kind, shape=self.shape, preprocessing=preprocessing)

    def _ids(self, text: str) -> list[int]:
        if self.tokens == "bytes":
            return [byte + 1 for byte in text.encode()]
        if self.tokens == "words":
            return [
                1 + zlib.crc32(word.encode()) % (self.vocabulary - 1)
                for word in re.findall(r"\w+|[^\w\s]", text.lower())
            ]
        try:
            ids = [int(token) for token in re.split(r"[\s,]+", text.strip(" []\n"))]
        except ValueError:
            raise Unusable("corrupt", "token ids that are not whole numbers") from None
        if not all(0 < i < self.vocabulary for i in ids):
            raise Unusable("corrupt", f"token ids outside 1 to {self.vocabulary - 1}")
        return ids
