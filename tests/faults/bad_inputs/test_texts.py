"""Texts in languages and signs of all kinds give sensible tokens: a letter with its marks is never cut in two."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from mmbal.data.media.decode import Unusable
from mmbal.data.media.recipe import Source
from mmbal.data.media.recipe_text import TextRecipe, words

pytestmark = pytest.mark.counted("bad inputs")

TEXTS = {
    "Thai": ("แมวดำ", ["แ", "ม", "ว", "ด", "ำ"]),
    "Arabic with marks": ("مَرْحَبًا بالعالم", ["مَرْحَبًا", "بالعالم"]),
    "Hebrew with points": ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
    "Hindi": ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया", "।"]),
    "Tamil": ("வணக்கம் உலகம்", ["வணக்கம்", "உலகம்"]),
    "Korean": ("안녕 세상", ["안녕", "세상"]),
    "Korean in single letters": (unicodedata.normalize("NFD", "안녕"), ["안녕"]),
    "Japanese and Latin": ("AIは楽しい", ["ai", "は", "楽", "し", "い"]),
    "Chinese with its signs": ("你好，世界！", ["你", "好", "，", "世", "界", "！"]),
    "Vietnamese in parts": (unicodedata.normalize("NFD", "Tiếng Việt"), ["tiếng", "việt"]),
    "Greek": ("Καλημέρα", ["καλημέρα"]),
    "Turkish": ("IŞIK", ["işik"]),
    "German": ("Straße", ["straße"]),
    "emoji alone": ("😀😡", ["😀", "😡"]),
    "emoji of several signs": ("👍🏽", ["👍🏽"]),
    "a family": ("👨\u200d👩\u200d👧", ["👨", "👩", "👧"]),
    "a heart with its form": ("❤️ you", ["❤️", "you"]),
    "a flag": ("🇩🇪", ["🇩🇪"]),
    "mixed": ("I ❤ 北京!", ["i", "❤", "北", "京", "!"]),
    "contractions": ("don’t", ["don", "’", "t"]),
    "numbers of other scripts": ("٣ apples", ["٣", "apples"]),
    "marks of direction": ("\u202eabc\u202c def", ["abc", "def"]),
    "a mark of byte order within": ("a\ufeffb", ["ab"]),
}


@pytest.mark.parametrize("language", TEXTS)
def test_words(language):
    text, expected = TEXTS[language]
    normal = [unicodedata.normalize("NFC", word) for word in expected]
    assert words(text) == normal


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\u200b", "\ufeff"])
def test_a_text_without_a_word_is_no_text(text):
    with pytest.raises(Unusable, match="no text"):
        TextRecipe().encode(Source(text=text))


@pytest.mark.parametrize("tokens", ["words", "bytes"])
def test_the_same_text_in_another_form_of_unicode_has_the_same_tokens(tokens):
    one, other = (
        TextRecipe(tokens=tokens).encode(Source(text=unicodedata.normalize(f, "Ärger é 각"))) for f in ("NFC", "NFD")
    )
    assert np.array_equal(one.array, other.array)
