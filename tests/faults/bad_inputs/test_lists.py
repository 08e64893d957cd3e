"""Lists of known sets as their mirrors have them: the same clips, labels and splits come out, whatever the writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmbal.data.datasets.lists import read_list
from mmbal.data.preparation.manifest import Manifest
from mmbal.data.prepare import read_source
from mmbal.errors import MmbalError

pytestmark = pytest.mark.counted("bad inputs")


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"-")


def read(name: str, root: Path) -> Manifest:
    found = read_source(name, root, {})[0]
    assert isinstance(found, Manifest)
    return found


def rows(found: Manifest) -> list[tuple[str, str, str]]:
    """Clip, label and split of each row; each of its sources must be there."""
    for row in found.rows:
        assert all(Path(source.path).exists() for source in row.sources.values()), row
    return [(row.id, row.label, row.split) for row in found.rows]


# --------------------------------------------------------------------------------------------------------------- CREMA-D

CREMAD = ["1001_DFA_ANG_XX", "1002_DFA_HAP_XX", "1003_IEO_ANG_HI"]
CREMAD_LISTS = {
    "plain": "{0},ANG\n{1},HAP\n",
    "header": "filename,label\n{0},ANG\n{1},HAP\n",
    "header in capitals": "FileName,Emotion\n{0},ANG\n{1},HAP\n",
    "index": ",filename,label\n0,{0},ANG\n1,{1},HAP\n",
    "CRLF and BOM": "\ufeff{0},ANG\r\n{1},HAP\r\n",
    "tabs": "{0}\tANG\n{1}\tHAP\n",
    "semicolons and spaces": "{0} ; ANG\n{1} ; HAP\n",
    "one space": "{0} ANG\n{1} HAP\n",
    "suffix of the sound": "{0}.wav,ANG\n{1}.wav,HAP\n",
    "suffix of the video": "{0}.flv,ANG\n{1}.FLV,HAP\n",
    "folders": "AudioWAV/{0}.wav,ANG\nAudioWAV\\{1}.wav,HAP\n",
    "quoted": '"{0}","ANG"\n"{1}","HAP"\n',
    "a mark that is not closed": '{0},"ANG\n{1},HAP\n',
    "empty lines": "\n{0},ANG\n\n\n{1},HAP\n\n",
    "without an end": "{0},ANG\n{1},HAP",
}


@pytest.mark.parametrize("form", CREMAD_LISTS)
def test_cremad(tmp_path, form):
    touch(*(tmp_path / "AudioWAV" / f"{clip}.wav" for clip in CREMAD))
    touch(*(tmp_path / "VideoFlash" / f"{clip}.flv" for clip in CREMAD))
    (tmp_path / "train.csv").write_text(CREMAD_LISTS[form].format(*CREMAD), encoding="utf-8", newline="")
    (tmp_path / "test.csv").write_text(f"{CREMAD[2]},ANG\n")
    found = read("cremad", tmp_path)
    assert rows(found) == [(CREMAD[0], "ANG", "train"), (CREMAD[1], "HAP", "train"), (CREMAD[2], "ANG", "test")]
    assert found.classes == ("ANG", "HAP")


def test_cremad_whose_files_are_in_small_letters(tmp_path):
    touch(*(tmp_path / "audiowav" / f"{clip.lower()}.WAV" for clip in CREMAD))
    touch(*(tmp_path / "videoflash" / f"{clip.lower()}.flv" for clip in CREMAD))
    (tmp_path / "Train.csv").write_text(f"{CREMAD[0]},ANG\n{CREMAD[1]},HAP\n")
    (tmp_path / "TEST.CSV").write_text(f"{CREMAD[2]},ANG\n")
    assert [row[1:] for row in rows(read("cremad", tmp_path))] == [("ANG", "train"), ("HAP", "train"), ("ANG", "test")]


def test_a_list_with_a_line_of_one_cell_is_refused_with_the_line(tmp_path):
    touch(tmp_path / "AudioWAV" / "a.wav", tmp_path / "VideoFlash" / "a.flv")
    (tmp_path / "train.csv").write_text("1001_DFA_ANG_XX,ANG\n1002_DFA_HAP_XX\n")
    (tmp_path / "test.csv").write_text("1003_DFA_HAP_XX,HAP\n")
    with pytest.raises(MmbalError, match="not CLIP,LABEL: 1002_DFA_HAP_XX"):
        read("cremad", tmp_path)


# -------------------------------------------------------------------------------------------------------------------- AVE

AVE = ["aaaaaaaaaaa", "-bbbbbbbbb_", "ccccccccccc"]
AVE_LISTS = {
    "plain": "Church bell&{0}&good&0&10\nSpeech, male&{1}&good&1&3\n",
    "header": "Category&VideoID&Quality&StartTime&EndTime\nChurch bell&{0}&good&0&10\nSpeech, male&{1}&good&1&3",
    "CRLF and BOM": "\ufeffChurch bell&{0}&good&0&10\r\nSpeech, male&{1}&good&1&3\r\n",
    "suffix kept": "Church bell&{0}.mp4&good&0&10\nSpeech, male&{1}.MP4&good&1&3\n",
    "tabs": "Church bell\t{0}\tgood\t0\t10\nSpeech, male\t{1}\tgood\t1\t3\n",
    "commas and quotes": 'category,video_id,quality,start,end\nChurch bell,{0},good,0,10\n"Speech, male",{1},good,1,3\n',
    "semicolons": "Church bell;{0};good;0;10\nSpeech, male;{1};good;1;3\n",
    "a mark in a name": 'Church bell&{0}&"good&0&10\nSpeech, male&{1}&good&1&3\n',
}


@pytest.mark.parametrize("form", AVE_LISTS)
def test_ave(tmp_path, form):
    touch(*(tmp_path / "AVE" / f"{clip}.mp4" for clip in AVE))
    (tmp_path / "trainSet.txt").write_text(AVE_LISTS[form].format(*AVE), encoding="utf-8", newline="")
    (tmp_path / "valset.txt").write_text("")
    (tmp_path / "TestSet.txt").write_text(f"Church bell&{AVE[2]}&good&0&10\n")
    found = rows(read("ave", tmp_path))
    speech = "Speech, male"
    assert found == [(AVE[0], "Church bell", "train"), (AVE[1], speech, "train"), (AVE[2], "Church bell", "test")]


# --------------------------------------------------------------------------------------------------------------- VGGSound

VGG = ["-aaaaaaaaa_", "bbbbbbbbbbb", "ccccccccccc"]
VGG_LISTS = {
    "plain": '{0},30,"eating, apples",train\n{1},5,bongo,train\n{2},0,bongo,test\n',
    "header": "YouTube ID,start seconds,label,train/test split\n"
    '{0},30,"eating, apples",train\n{1},5,bongo,train\n{2},0,bongo,test\n',
    "times with a point": '{0},30.0,"eating, apples",train\n{1},5.0,bongo,train\n{2},0.0,bongo,test\n',
    "splits in capitals": '{0},30,"eating, apples",TRAIN\n{1},5,bongo,Train\n{2},0,bongo,Test\n',
    "tabs": "{0}\t30\teating, apples\ttrain\n{1}\t5\tbongo\ttrain\n{2}\t0\tbongo\ttest\n",
    "one name": '{0}_000030,"eating, apples",train\n{1}_000005,bongo,train\n{2}_000000,bongo,test\n',
    "names of files": '{0}_000030.mp4,"eating, apples",train\n{1}_5.mp4,bongo,train\n{2}_0.mp4,bongo,test\n',
    "spaces behind commas": '{0}, 30, "eating, apples", train\n{1}, 5, bongo, train\n{2}, 0, bongo, test\n',
    "CRLF and BOM": '\ufeff{0},30,"eating, apples",train\r\n{1},5,bongo,train\r\n{2},0,bongo,test\r\n',
    "index": ',video,start,label,split\n0,{0},30,"eating, apples",train\n1,{1},5,bongo,train\n2,{2},0,bongo,test\n',
}


@pytest.mark.parametrize("form", VGG_LISTS)
def test_vggsound(tmp_path, form):
    names = [f"{VGG[0]}_000030", f"{VGG[1]}_5_15", f"{VGG[2]}_000000"]
    touch(*(tmp_path / "clips" / f"{name}.mp4" for name in names))
    (tmp_path / "VGGSound.csv").write_text(VGG_LISTS[form].format(*VGG), encoding="utf-8", newline="")
    found = read("vggsound", tmp_path)
    assert rows(found) == [
        (f"{VGG[0]}_30", "eating, apples", "train"),
        (f"{VGG[1]}_5", "bongo", "train"),
        (f"{VGG[2]}_0", "bongo", "test"),
    ]
    assert found.findings == []


# ---------------------------------------------------------------------------------------------------------------- UCF101

UCF = ["v_Archery_g08_c01", "v_HandStandPushups_g09_c02", "v_Archery_g01_c03"]
UCF_LISTS = {
    "plain": "Archery/{0}.avi 1\nHandStandPushups/{1}.avi 37\n",
    "without numbers": "Archery/{0}.avi\nHandStandPushups/{1}.avi\n",
    "without suffixes": "Archery/{0} 1\nHandStandPushups/{1} 37\n",
    "without folders": "{0}.avi 1\n{1}.avi 37\n",
    "folders above": "UCF-101/Archery/{0}.avi 1\nUCF-101/HandStandPushups/{1}.avi 37\n",
    "commas and a header": "video,label\nArchery/{0}.avi,1\nHandStandPushups/{1}.avi,37\n",
    "an index and names": ",clip,label\n0,Archery/{0}.avi,Archery\n1,HandStandPushups/{1}.avi,HandStandPushups\n",
    "Windows": "\ufeffArchery\\{0}.avi 1\r\nHandStandPushups\\{1}.avi 37\r\n",
    "quoted": '"Archery/{0}.avi" 1\n"HandStandPushups/{1}.avi" 37\n',
    "converted to mp4": "Archery/{0}.mp4 1\nHandStandPushups/{1}.mp4 37\n",
}


@pytest.mark.parametrize("form", UCF_LISTS)
def test_ucf101(tmp_path, form):
    folders = ["Archery", "HandstandPushups", "Archery"]  # as the archive spells the folder and its files
    touch(
        *(
            tmp_path / "UCF-101" / f / f"{clip.replace('Stand', 'stand')}.avi"
            for f, clip in zip(folders, UCF, strict=True)
        )
    )
    (tmp_path / "trainlist01.txt").write_text(UCF_LISTS[form].format(*UCF), encoding="utf-8", newline="")
    (tmp_path / "testlist01.txt").write_text(f"Archery/{UCF[2]}.avi\n")
    found = read("ucf101", tmp_path)
    assert rows(found) == [
        (UCF[0], "Archery", "train"),
        (UCF[1], "HandStandPushups", "train"),
        (UCF[2], "Archery", "test"),
    ]
    assert [row.group for row in found.rows] == ["Archery_g08", "HandStandPushups_g09", "Archery_g01"]


# -------------------------------------------------------------------------------------------------- Kinetics-Sounds, RAVDESS


@pytest.mark.parametrize(
    "name",
    [
        "--4-0ihtnBU_000058_000068.MP4",
        pytest.param("x/y/--4-0ihtnBU_58_68.webm", marks=pytest.mark.long),
        pytest.param("train/ripping paper/--4-0ihtnBU.mkv", marks=pytest.mark.long),
        pytest.param("--4-0ihtnBU_58.mp4", marks=pytest.mark.long),
    ],
)
def test_kinetics_sounds(tmp_path, name):
    touch(tmp_path / name)
    found = read("kinetics_sounds", tmp_path)
    there = [row for row in found.rows if Path(row.sources["video"].path).exists()]
    assert [(row.id, row.label, row.split) for row in there] == [
        ("--4-0ihtnBU_000058_000068", "dribbling basketball", "train")
    ]
    assert "1 videos, 0 sounds" in found.notes[0]


@pytest.mark.parametrize(
    "layout", ["Actor_{a}/{n}.wav", "audio_speech_actors_01-24/Actor_{a}/{n}.WAV", "{n}.wav", "a b/{n}.flac"]
)
def test_ravdess(tmp_path, layout):
    for actor in ("01", "02"):
        touch(tmp_path / layout.format(a=actor, n=f"03-01-05-01-01-01-{actor}"))
        touch(tmp_path / layout.format(a=actor, n=f"._03-01-05-01-01-02-{actor}"))
    found = rows(read("ravdess", tmp_path))
    assert found == [("01-05-01-01-01-01", "angry", ""), ("01-05-01-01-01-02", "angry", "")]


@pytest.mark.parametrize(
    ("text", "columns", "cells"),
    [
        ("a;b,c\n", 2, [["a;b", "c"]]),
        ("a,b;c,d;e\n1,2;3,4;5\n", 3, [["a", "b;c", "d;e"], ["1", "2;3", "4;5"]]),
        ("label\n", 1, []),
        ("\n \n", 2, []),
        ("x,y\n1,2", 2, [["x", "y"], ["1", "2"]]),
    ],
)
def test_separators_and_headers(tmp_path, text, columns, cells):
    (tmp_path / "l.txt").write_text(text)
    assert read_list(tmp_path / "l.txt", columns) == cells
