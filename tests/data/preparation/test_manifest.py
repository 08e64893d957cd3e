from pathlib import Path

import pytest

from mmbal.data.preparation.manifest import read_manifest
from mmbal.data.preparation.options import Options
from mmbal.data.preparation.probing import recipes_for
from mmbal.data.preparation.scan import write_manifest
from mmbal.errors import DataError, UsageError


def read(tmp_path, text, name="m.csv", **options):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_manifest(path, Options(duration=1.0, **options))


def test_the_columns_say_the_modalities(tmp_path):
    manifest = read(tmp_path, "path,label,split,start,end,group,id\na.mp4,x,train,0.5,1.5,g1,first\n")
    (row,) = manifest.rows
    assert (row.id, row.label, row.split, row.group) == ("first", "x", "train", "g1")
    assert list(row.sources) == ["audio", "video"]
    assert row.sources["audio"].path == str(tmp_path / "a.mp4")
    assert (row.sources["video"].start, row.sources["video"].end) == (0.5, 1.5)
    manifest = read(tmp_path, "video\tlabel\taudio\timage\ttext\nv\tx\ta.wav\ti.png\tsome words\n", "m.tsv")
    assert list(manifest.rows[0].sources) == ["video", "audio", "image", "text"]
    assert manifest.rows[0].sources["text"].text == "some words"
    recipes = recipes_for(manifest.rows, Options(duration=1.0))
    assert {m: type(r).__name__ for m, r in recipes.items()} == {
        "video": "FramesRecipe",
        "audio": "AudioRecipe",
        "image": "ImageRecipe",
        "text": "TextRecipe",
    }


def test_a_path_gives_what_its_suffix_says(tmp_path):
    manifest = read(tmp_path, "path,label\na.wav,x\nb.JPG,x\nc.mkv,x\n")
    assert [list(row.sources) for row in manifest.rows] == [["audio"], ["image"], ["audio", "video"]]


def test_split_names_of_all_schools(tmp_path):
    manifest = read(tmp_path, "audio,label,split\na,x,Training\nb,x,valid\nc,x,dev\nd,x,TEST\ne,x,\n")
    assert [row.split for row in manifest.rows] == ["train", "val", "val", "test", ""]


def test_rows_of_one_file_are_told_apart(tmp_path):
    manifest = read(tmp_path, "path,label,start,end\na.mp4,x,0,1\na.mp4,y,1,2\nb.mp4,x,0,1\n")
    assert [row.id for row in manifest.rows] == ["a", "a#2", "b"]


def test_an_absolute_path_stays_and_bom_and_blank_lines_do_no_harm(tmp_path):
    manifest = read(tmp_path, "\ufeffaudio,label\n\n/data/a.wav,x\n  \n")
    assert manifest.rows[0].sources["audio"].path == "/data/a.wav"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a.mp4,,train,,", "no label"),
        (",x,train,,", "every modality's cell is empty"),
        ("a.mp4,x,holdout,,", "unknown split 'holdout'"),
        ("a.mp4,x,train,soon,", "start 'soon' is not a number"),
        ("a.mp4,x,train,-1,2", "not a time"),
        ("a.mp4,x,train,0,inf", "not a time"),
        ("a.mp4,x,train,inf,2", "not a time"),
        ("a.mp4,x,train,2,1", "end 1 is not after start 2"),
        ("a.mp4,x,train,0,1,more", "more cells"),
    ],
)
def test_a_bad_row_is_a_finding_with_its_line(tmp_path, row, why):
    manifest = read(tmp_path, f"path,label,split,start,end\nok.mp4,x,train,0,1\n{row}\n")
    assert len(manifest.rows) == 1
    (finding,) = manifest.findings
    assert (finding.level, finding.kind, finding.where) == ("error", "row", "line 3")
    assert why in finding.reason
    with pytest.raises(DataError, match="no usable sample"):
        read(tmp_path, f"path,label,split,start,end\n{row}\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("path,label\n", "no samples"),
        ("path,class\na,b\n", "no column 'label'"),
        ("label,notes\nx,y\n", "no column with media"),
        ("path,label,label\na,b,c\n", "two columns 'label'"),
        (b"\xff\xfe\x00pa", "not a readable text file"),
        (b"path,label\na\x00b,c\n", "NUL"),
    ],
)
def test_what_is_no_manifest_is_said(tmp_path, text, why):
    with pytest.raises(DataError, match=why):
        read(tmp_path, text)


def test_json_lines_and_their_faults(tmp_path):
    text = '{"text": "a b", "label": 1}\nnot json\n[1]\n{"text": [3, 4], "label": "2", "extra": null}\n'
    manifest = read(tmp_path, text, "m.jsonl")
    assert [row.sources["text"].text for row in manifest.rows] == ["a b", "3 4"]
    assert [f.where for f in manifest.findings] == ["line 2", "line 3"]


def test_texts_come_whole_whatever_they_hold(tmp_path):
    """Line ends of all kinds, in a quoted cell or a JSON string, end no row."""
    odd = "one\u2028two\x85three\x0cfour"
    manifest = read(tmp_path, f'text,label\n"{odd}",x\n"five\nsix",y\n,x\n')
    assert [row.sources["text"].text for row in manifest.rows] == [odd, "five\nsix"]
    assert [f.where for f in manifest.findings] == ["line 5"]
    manifest = read(tmp_path, f'{{"text": "{odd.replace(chr(12), " ")}", "label": "x"}}\n', "m.jsonl")
    assert [row.sources["text"].text for row in manifest.rows] == [odd.replace("\x0c", " ")]


def test_semicolons_as_spreadsheets_of_half_the_world_write_them(tmp_path):
    (row,) = read(tmp_path, "text;label\r\none, two;x\r\n").rows
    assert (row.sources["text"].text, row.label) == ("one, two", "x")


def test_rows_are_named_by_their_id_else_by_a_file_else_by_their_class(tmp_path):
    long = "word " * 60
    manifest = read(tmp_path, f"text,image,label,id\n{long},,x,mine\n{long},a/b.png,x,\nis it 5/7.5?,,x,\nno,,x,\n")
    assert [row.id for row in manifest.rows] == ["mine", "b", "x", "x#2"]


def test_a_text_file_may_have_a_space_in_its_name(tmp_path):
    (tmp_path / "my text.txt").write_text("hello")
    manifest = read(tmp_path, "text,label\nmy text.txt,x\nI like a.txt,x\ngone.txt,x\n")
    assert [(row.sources["text"].path, row.sources["text"].text) for row in manifest.rows] == [
        (str(tmp_path / "my text.txt"), ""),
        ("", "I like a.txt"),
        (str(tmp_path / "gone.txt"), ""),
    ]


def test_columns_that_are_not_used_are_named(tmp_path):
    assert read(tmp_path, "image,label,speeker,mood\na.png,x,s,m\n").notes == ["columns not used: speeker, mood"]
    assert read(tmp_path, "image,label,mood\na.png,x,m\n", label="mood").notes == ["columns not used: label"]
    assert read(tmp_path, "image,label,group\na.png,x,g\n").notes == []


def test_chosen_modalities_and_another_label(tmp_path):
    text = "path,text,label,mood\na.mp4,hello,x,good\n"
    manifest = read(tmp_path, text, modality=("audio", "text"), label="mood")
    assert set(recipes_for(manifest.rows, Options(modality=("audio", "text")))) == {"audio", "text"}
    assert manifest.rows[0].label == "good"
    with pytest.raises(UsageError, match="no modality 'smell'") as caught:
        read(tmp_path, text, modality=("smell",))
    assert caught.value.hint == "It has: audio, video, text."


def test_a_manifest_from_a_folder_of_class_folders(tmp_path):
    for name in (
        "train/cat/1.mp4",
        "train/dog/2.mp4",
        "test/cat/3.mp4",
        "test/cat/3.wav",
        "test/cat/3.txt",
        "stray.mp4",
        ".git/x/y.mp4",
    ):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    path, rows, _ = write_manifest(tmp_path / "pets")
    assert rows == 3
    assert path.read_text().splitlines() == [
        "path,video,audio,text,label,split",
        ",test/cat/3.mp4,test/cat/3.wav,test/cat/3.txt,cat,test",
        "train/cat/1.mp4,,,,cat,train",
        "train/dog/2.mp4,,,,dog,train",
    ]
    with pytest.raises(UsageError, match="exists already"):
        write_manifest(tmp_path / "pets")
    elsewhere, *_ = write_manifest(tmp_path / "pets", tmp_path / "elsewhere" / "m.csv")
    assert str(tmp_path / "pets" / "train" / "cat" / "1.mp4") in elsewhere.read_text()
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no media"):
        write_manifest(tmp_path / "none")


ROWS = [("a.png", "café", "train"), ("b.png", "x", "test")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_list_in_any_encoding_and_with_any_separator(tmp_path, encoding, separator):
    text = "\r\n".join(separator.join(row) for row in [("image", "label", "split"), *ROWS])
    manifest = read(tmp_path, text.encode(encoding))
    assert [(r.id, r.label, r.split) for r in manifest.rows] == [("a", "café", "train"), ("b", "x", "test")]
    assert manifest.findings == []
    assert any("Windows-1252" in note for note in manifest.notes) == (encoding == "cp1252")


def test_an_index_column_empty_columns_and_capitals(tmp_path):
    """As pandas and spreadsheets write them."""
    manifest = read(tmp_path, ",Image,Label,SPLIT,,\n0,a.png,x,train,,\n1,b.png,y,test,,\n")
    assert [(row.id, row.label, row.split) for row in manifest.rows] == [("a", "x", "train"), ("b", "y", "test")]
    assert manifest.findings == []
    assert any("index" in note for note in manifest.notes)
    manifest = read(tmp_path, "Unnamed: 0,image,label\n0,a.png,x\n")
    assert [row.id for row in manifest.rows] == ["a"]
    with pytest.raises(DataError, match="has cells, but no name"):
        read(tmp_path, "image,label,\na.png,x,what\n")


def test_a_quotation_mark_that_is_not_closed_swallows_no_rows(tmp_path):
    with pytest.raises(DataError, match=r"line \d"):
        read(tmp_path, 'text,label\n"one,x\ntwo,y\nthree,x\n')
    (row,) = read(tmp_path, 'text,label\n"she said ""no"", and left",x\n').rows
    assert row.sources["text"].text == 'she said "no", and left'


@pytest.mark.parametrize(("cell", "seconds"), [("1.5", 1.5), ('"1,5"', 1.5), ("0:01.5", 1.5), ("1:02:03", 3723.0)])
def test_times_as_people_write_them(tmp_path, cell, seconds):
    assert read(tmp_path, f"path,label,start\na.mp4,x,{cell}\n").rows[0].sources["audio"].start == seconds


def test_a_missing_value_of_json_is_no_label(tmp_path):
    manifest = read(tmp_path, '{"text": "a", "label": NaN}\n{"text": "b", "label": "x"}\n', "m.jsonl")
    assert [row.label for row in manifest.rows] == ["x"]
    assert [f.reason for f in manifest.findings] == ["no label"]


def test_files_are_found_under_another_spelling_of_their_name(tmp_path):
    """Accents in one character or two, backslashes, and the case of letters differ between systems."""
    (tmp_path / "Clips").mkdir()
    (tmp_path / "Clips" / "cafe\u0301.png").write_bytes(b"x")  # as macOS spells it
    (tmp_path / "Clips" / "B.PNG").write_bytes(b"x")
    manifest = read(tmp_path, "image,label\nClips/caf\u00e9.png,x\nclips\\b.png,y\nclips/none.png,y\n")
    paths = [row.sources["image"].path for row in manifest.rows]
    assert paths[:2] == [str(tmp_path / "Clips" / "cafe\u0301.png"), str(tmp_path / "Clips" / "B.PNG")]
    assert paths[2] == str(tmp_path / "clips/none.png")
    assert [row.id for row in manifest.rows] == ["caf\u00e9", "b", "none"]
    assert any("2 files were found under another name" in note for note in manifest.notes)


def test_labels_in_one_character_or_two_are_one(tmp_path):
    manifest = read(tmp_path, "image,label\na.png,caf\u00e9\nb.png,cafe\u0301\n")
    assert {row.label for row in manifest.rows} == {"caf\u00e9"}


def test_reading_a_list_opens_no_media(tmp_path, clip, monkeypatch):
    import av

    clip(tmp_path / "a.mp4", seconds=0.4)

    def refused(*args, **kwargs):
        raise AssertionError("opened")

    monkeypatch.setattr(av, "open", refused)
    (tmp_path / "m.csv").write_text("path,label\na.mp4,x\n")
    assert read_manifest(tmp_path / "m.csv", Options()).rows[0].id == "a"


def test_a_gif_in_a_list_is_a_video(tmp_path):
    assert [list(row.sources) for row in read(tmp_path, "path,label\na.gif,x\n").rows] == [["video"]]


def test_a_folder_with_what_systems_leave_gives_a_clean_manifest(tmp_path):
    for name in ("cat/1.png", "cat/._1.png", "dog/2.png", "dog/Thumbs.db", "__MACOSX/cat/._1.png", ".x/cat/3.png"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    path, rows, _ = write_manifest(tmp_path / "pets")
    assert rows == 2
    assert path.read_text().splitlines() == ["image,label,split", "cat/1.png,cat,", "dog/2.png,dog,"]


def test_an_array_of_json_and_columns_in_capitals(tmp_path):
    (tmp_path / "m.json").write_text('[{"Image": "a.png", "Label": "x"}, {"Image": "b.png", "Label": "y"}]')
    rows = read_manifest(tmp_path / "m.json", Options()).rows
    assert [(row.id, row.label) for row in rows] == [("a", "x"), ("b", "y")]


def test_files_by_address_and_from_the_folder_of_the_program(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists" / "m.csv").write_text(f"image,label\na.png,x\nfile://{tmp_path}/a.png,y\n")
    manifest = read_manifest(Path("lists/m.csv"), Options())
    assert {row.sources["image"].path for row in manifest.rows} == {str(tmp_path / "a.png")}
    assert any("found under another name" in note for note in manifest.notes)
