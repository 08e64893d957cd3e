"""Texts in older encodings are read as what they say; a table's odd beginnings are understood."""

from __future__ import annotations

import pytest

from mmbal.predictions.encodings import decode
from mmbal.predictions.tables import read_table

TEXTS = {
    "cp1252": ["café,né", "Größe und Maße", "l’été – “oui”", "ça"],
    "cp1251": ["кошка,собака", "Привет, мир!"],
    "koi8_r": ["кошка,собака"],
    "cp1253": ["γάτα,σκύλος"],
    "cp932": ["ネコ,イヌ", "今日は天気がいいですね。"],
    "euc_jp": ["今日は天気がいいですね。"],
    "cp949": ["고양이,강아지", "오늘 날씨가 좋네요"],
    "gb18030": ["猫,狗", "今天天气很好，我们去公园。", "愤怒"],
    "big5": ["貓咪,狗狗", "高興,悲傷"],
}


@pytest.mark.parametrize(("encoding", "text"), [(name, text) for name, texts in TEXTS.items() for text in texts])
def test_an_older_encoding_is_told_by_its_letters(encoding, text):
    found, name = decode(text.encode(encoding))
    assert found == text
    assert name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_read_by_its_rules(encoding):
    assert decode("path,label\n1.wav,猫".encode(encoding)) == ("path,label\n1.wav,猫", "")


@pytest.mark.parametrize(
    "text",
    [
        "path label\n1.wav cat\n2.wav dog\n",
        '"path", "label"\n"1.wav", "cat"\n"2.wav", "dog"\n',
        "# made by hand, in May\n# second line\npath,label\n1.wav,cat\n2.wav,dog\n",
        "path,label\r1.wav,cat\r2.wav,dog\r",
    ],
)
def test_odd_forms_of_a_table(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode())
    found = read_table(tmp_path / "t.csv")
    assert found.header == ["path", "label"]
    assert found.rows == [["1.wav", "cat"], ["2.wav", "dog"]]


def test_a_header_that_begins_with_a_sharp_is_the_header(tmp_path):
    (tmp_path / "t.csv").write_text("#path,label\n1.wav,cat\n")
    assert read_table(tmp_path / "t.csv").header == ["#path", "label"]
