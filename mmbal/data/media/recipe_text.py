"""The recipe of texts: token ids."""

from __future__ import annotations

import re
import unicodedata
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from mmbal.data.media.decode import Decoded, Unusable, check_file
from mmbal.data.media.recipe import Recipe, Source
from mmbal.data.store.store import Kind, ModalitySpec
from mmbal.predictions.encodings import decode

if TYPE_CHECKING:
    from mmbal.data.media.container import Clips


# Thai, Lao, Burmese, Khmer, Japanese, Chinese: written without spaces between words.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
FOLLOWS = re.compile("[\ufe00-\ufe0f\u20e3\U0001f3fb-\U0001f3ff]")  # forms and colours of the picture before
FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")  # two of these letters are a flag


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
        text, notes = source.text, list[tuple[str, str]]()
        if source.path:
            check_file(Path(source.path))
            text, notes = read_text(Path(source.path))
        text = unicodedata.normalize("NFC", text)
        if not _shown(text).strip():
            raise Unusable("empty", "no text")
        ids = self._ids(text)
        remarks = [("truncated", f"{len(ids)} tokens, {self.length} are kept")] if len(ids) > self.length else []
        row = np.zeros(self.length, dtype=np.int32)
        row[: min(len(ids), self.length)] = ids[: self.length]
        return Decoded(row, None, remarks, notes=notes)

    def spec(self, statistics: dict[str, list[float]]) -> ModalitySpec:
        preprocessing = {**super().spec(statistics).preprocessing, "vocabulary": self.vocabulary}
        return ModalitySpec(kind=self.kind, shape=self.shape, preprocessing=preprocessing)

    def _ids(self, text: str) -> list[int]:
        if self.tokens == "bytes":
            return [byte + 1 for byte in text.encode()]
        if self.tokens == "words":
            return [1 + zlib.crc32(word.encode()) % (self.vocabulary - 1) for word in words(text)]
        try:
            ids = [int(token) for token in re.split(r"[\s,]+", text.strip(" []\n"))]
        except ValueError:
            raise Unusable("corrupt", "token ids that are not whole numbers") from None
        if not all(0 < i < self.vocabulary for i in ids):
            raise Unusable("corrupt", f"token ids outside 1 to {self.vocabulary - 1}")
        return ids


def read_text(path: Path) -> tuple[str, list[tuple[str, str]]]:
    """A text file in the encoding that it has or that fits it best, which a note says (see :func:`decode`). Raises
    Unusable.
    """
    try:
        text, encoding = decode(path.read_bytes())
    except UnicodeDecodeError:
        raise Unusable("corrupt", "not a text") from None
    notes = [("encoding", f"not UTF-8; read as {encoding}")] if encoding else []
    if "\0" in text:
        raise Unusable("corrupt", "not a text")
    return text, notes


def words(text: str) -> list[str]:
    """The words and signs of a text in small letters.

    A letter keeps its accents and vowel signs, an emoji its form and colour. In scripts without spaces between words each
    character is a word.
    """
    text = _shown(unicodedata.normalize("NFC", text.lower()))
    if text.isascii():
        return re.findall(r"\w+|[^\w\s]", text)
    found: list[str] = []
    open_word = before = False
    for sign in text:
        inner = sign == "_" or unicodedata.category(sign)[0] in "LMN"
        apart = UNSPACED.match(sign) is not None
        if found and before and (FOLLOWS.match(sign) or (FLAG.match(sign) and FLAG.fullmatch(found[-1]))):
            found[-1] += sign
            inner = open_word
        elif inner and open_word and not apart:
            found[-1] += sign
        elif not sign.isspace():
            found.append(sign)
        open_word, before = inner and not apart, not sign.isspace()
    return found


def _shown(text: str) -> str:
    """The text without signs that only steer how it is shown: soft hyphens, joiners, marks of direction."""
    return "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
