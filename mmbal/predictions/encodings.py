"""The encoding of a text that does not say it: UTF-8 and UTF-16 by their rules, older ones by their letters."""

from __future__ import annotations

import codecs
import unicodedata

MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
OLDER = {  # encodings that are tried where a text is not UTF-8, with their names in a note
    "cp1252": "Windows-1252 (Western European)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "koi8_r": "KOI8-R (Cyrillic)",
    "cp1253": "Windows-1253 (Greek)",
    "cp932": "Shift JIS (Japanese)",
    "euc_jp": "EUC-JP (Japanese)",
    "cp949": "EUC-KR (Korean)",
    "gb18030": "GB18030 (Chinese)",
    "big5": "Big5 (Chinese)",
}
SAMPLE = 1 << 16  # bytes looked at
LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяґєіїαβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ"
HANGUL = 0xAC00  # the first syllable
VOWELS = (0, 1, 2, 4, 5, 6, 8, 12, 13, 17, 18, 20)  # of syllables, those of one sign
ENDS = (0, 1, 4, 7, 8, 16, 17, 18, 19, 20, 21, 27)
FREQUENT_GB = range(0xB0, 0xD8)  # first bytes of the characters that are used most, in GB 2312
FREQUENT_BIG5 = range(0xA4, 0xC7)  # and in Big5


def decode(data: bytes) -> tuple[str, str]:
    """The text of ``data``, and the name of its encoding where it is none of Unicode, else ''.

    Raises UnicodeDecodeError where a text that begins as UTF-16 or UTF-32 is damaged.
    """
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "") or _by_zeros(data[:4096])
    if encoding:
        return data.decode(encoding), ""
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        best = max(OLDER, key=lambda name: _likely(data[:SAMPLE], name))
        return data.decode(best, errors="replace"), OLDER[best]


def _by_zeros(head: bytes) -> str:
    """UTF-16 without a mark, in which every other byte of plain text is zero; '' for anything else."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) <= len(head) / 8:
        return ""
    return "utf-16-be" if even > odd else "utf-16-le"


def _likely(data: bytes, encoding: str) -> float:
    """How well the letters beyond ASCII read in an encoding: the mean worth of each, from -1 to 1."""
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(data)  # the sample may end within a character
    except UnicodeDecodeError:
        return -2.0
    foreign = [k for k, sign in enumerate(text) if sign > "\x7f"]
    if not foreign:
        return -2.0
    return sum(_worth(text, k, encoding) for k in foreign) / len(foreign)


def _worth(text: str, k: int, encoding: str) -> float:
    """From -1 (no text has this here) to 1 (this is what texts in the encoding are made of)."""
    sign = text[k]
    before, after = text[k - 1] if k else " ", text[k + 1] if k + 1 < len(text) else " "
    if unicodedata.category(sign)[0] not in "LMNP":
        return -1.0 if unicodedata.category(sign)[0] in "CS" else 0.0
    if encoding == "cp1252":  # letters with accents stand alone among plain ones
        return 0.7 if before < "\x7f" or not before.isalpha() else -0.7
    if encoding in ("cp1251", "koi8_r", "cp1253"):
        if sign.casefold() not in LETTERS:
            return 0.0
        odd = sign.isupper() and before.islower()
        mixed = any(beside.isascii() and beside.isalpha() for beside in (before, after))
        return -1.0 if odd or mixed else 0.9 if sign.islower() else 0.4
    name = unicodedata.name(sign, "")
    if encoding in ("cp932", "euc_jp"):
        if name.startswith(("HIRAGANA", "KATAKANA")):
            return 1.0
        return -0.5 if name.startswith("HALFWIDTH") else 0.3
    if encoding == "cp949":
        return _worth_of_syllable(ord(sign) - HANGUL) if name.startswith("HANGUL SYLLABLE") else -0.5
    if encoding == "gb18030":
        return 0.8 if _first(sign, "gb2312") in FREQUENT_GB else -0.3
    return 0.75 if _first(sign, "big5") in FREQUENT_BIG5 else -0.3


def _worth_of_syllable(number: int) -> float:
    """Korean is mostly written with syllables of one vowel that end openly or in one common consonant."""
    vowel, end = number // 28 % 21, number % 28
    return 0.9 if vowel in VOWELS and end in ENDS else -0.3


def _first(sign: str, encoding: str) -> int:
    try:
        return sign.encode(encoding)[0]
    except UnicodeEncodeError:
        return 0
