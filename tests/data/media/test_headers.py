"""Headers that state no length, or a false one, and samples that FFmpeg takes for others."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mmbal.data.media.container import Clip
from mmbal.data.media.decode import Unusable
from mmbal.data.media.frames import read_frames
from mmbal.data.media.pictures import picture_files, read_picture
from mmbal.data.media.sound import read_audio


def brightness(path: Path) -> list[float]:
    return [round(float(frame.mean())) for frame in read_frames(path, 3, 16).array]


def without_length(path: Path) -> Path:
    """The header as a program leaves it that writes into a pipe."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".avi":
        data[4:8] = b"\xff" * 4
        data[48:52] = bytes(4)  # frames in all
        data[140:144] = struct.pack("<I", 1 << 30)  # length of the video
        data = data[: data.rfind(b"idx1")]
    else:
        place = data.find(b"duration\0") + 9
        data[place : place + 8] = bytes(8)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", [".avi", ".flv"])
def test_where_the_header_states_no_length_the_packets_do(tmp_path, clip, suffix):
    whole = clip(tmp_path / f"a{suffix}", seconds=2)
    expected = brightness(whole)
    without_length(whole)
    assert brightness(whole) == pytest.approx(expected, abs=6)
    assert read_frames(whole, 3, 16).remarks == []
    heard, _ = read_audio(whole)
    assert heard.seconds == pytest.approx(2, abs=0.15)
    assert heard.remarks == []


def test_of_a_header_that_claims_far_more_what_is_there_counts(tmp_path, clip):
    path = clip(tmp_path / "a.mkv", seconds=2)
    expected = brightness(path)
    data = bytearray(path.read_bytes())
    place = data.find(b"\x44\x89") + 3
    data[place : place + 8] = struct.pack(">d", 100_000.0)  # milliseconds
    path.write_bytes(data)
    found = read_frames(path, 3, 16)
    assert brightness(path) == pytest.approx(expected, abs=6)
    assert [kind for kind, _ in found.remarks] == ["truncated"]
    assert "claims 100.00 s" in found.remarks[0][1]
    assert found.seconds == pytest.approx(2, abs=0.1)


def test_an_avi_that_is_cut_off_is_said(tmp_path, clip):
    path = clip(tmp_path / "a.avi", seconds=2)
    assert read_frames(path, 3, 16).remarks == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_frames(path, 3, 16).remarks == [("truncated", "50 % of the file are missing at its end")]


WAVE = (0.5 * np.sin(np.arange(16000) / 5)).astype(np.float32)
SUB = bytes.fromhex("000000001000800000aa00389b71")


def riff(path: Path, form: bytes, data: bytes, size: int | None = None, name: bytes = b"RIFF") -> Path:
    order = ">" if name == b"RIFX" else "<"
    stated = struct.pack(f"{order}I", len(data) if size is None else size)
    body = b"WAVEfmt " + struct.pack(f"{order}I", len(form)) + form + b"data" + stated + data
    path.write_bytes(name + struct.pack(f"{order}I", len(body)) + body)
    return path


def test_24_bits_in_32_are_whole_numbers(tmp_path):
    form = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 16000, 64000, 4, 32, 22, 24, 4, 1) + SUB
    found, _ = read_audio(riff(tmp_path / "a.wav", form, (WAVE * 2**31).astype("<i4").tobytes()))
    assert found.remarks == []
    assert found.seconds == pytest.approx(1)
    assert found.array == pytest.approx(WAVE, abs=1e-6)


def test_rifx_has_its_high_byte_first(tmp_path):
    form = struct.pack(">HHIIHH", 1, 1, 16000, 32000, 2, 16)
    found, _ = read_audio(riff(tmp_path / "a.wav", form, (WAVE * 2**15).astype(">i2").tobytes(), name=b"RIFX"))
    assert found.remarks == []
    assert found.array == pytest.approx(WAVE, abs=1e-4)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF - 36, 0x80000000])
def test_a_size_that_nobody_could_fill_in_is_no_false_one(tmp_path, size):
    form = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
    found, _ = read_audio(riff(tmp_path / "a.wav", form, (WAVE * 2**15).astype("<i2").tobytes(), size))
    assert found.remarks == []
    assert found.seconds == pytest.approx(1)


def test_a_track_with_a_title_of_a_commentary_is_not_taken(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as box:
        tracks = [box.add_stream("pcm_s16le", rate=16000, layout="mono") for _ in range(2)]
        tracks[0].metadata["title"] = "Director's commentary"
        for track in tracks:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16000, 0
            box.mux(track.encode(frame))
    with Clip(tmp_path / "a.mkv") as found:
        assert found.taken["audio"].index == 1
        assert "no commentary" in found.track("audio").choice[0][1]


def test_a_deep_tiff_whose_0_is_white(tmp_path):
    pixels = np.linspace(0, 65535, 64).reshape(8, 8).astype("<u2")
    shown = []
    for black in (0, 1):
        entries = {256: 8, 257: 8, 258: 16, 259: 1, 262: black, 273: 8, 277: 1, 278: 8, 279: pixels.nbytes}
        tags = b"".join(struct.pack("<HHII", key, 4, 1, value) for key, value in entries.items())
        head = b"II*\0" + struct.pack("<I", 8 + pixels.nbytes)
        (tmp_path / "a.tif").write_bytes(head + pixels.tobytes() + struct.pack("<H", len(entries)) + tags + bytes(4))
        shown.append(read_picture(tmp_path / "a.tif", 8).array[0].astype(int))
    assert np.array_equal(shown[0], 255 - shown[1])
    assert shown[1][0, 0] == 0


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["f_-2", "f_-1", "f_0", "f_10"], ["f_-2", "f_-1", "f_0", "f_10"]),
        (["clip-1", "clip-2", "clip-10"], ["clip-1", "clip-2", "clip-10"]),
        (["t0.5", "t0.25", "t10.5", "t9.5"], ["t0.25", "t0.5", "t9.5", "t10.5"]),
        (["a", "a (1)", "a (2)"], ["a", "a (1)", "a (2)"]),
        (["thumbs/1", "frames/1"], ["1"]),
    ],
)
def test_numbers_behind_a_word(tmp_path, names, ordered):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("1", (1, 1)).save(tmp_path / f"{name}.png")
    assert [file.stem for file in picture_files(tmp_path)[0]] == ordered


def test_several_folders_of_frames_are_named(tmp_path):
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        Image.new("1", (1, 1)).save(tmp_path / name / "1.png")
    with pytest.raises(Unusable, match="several folders: left, right"):
        picture_files(tmp_path)
