"""Clips and sounds as recorders, phones and editors write them: right pictures and samples in step, no false finding."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from mmbal.data.media.container import Clip, duration
from mmbal.data.media.decode import Unusable
from mmbal.data.media.frames import read_frames
from mmbal.data.media.sound import read_audio

pytestmark = pytest.mark.counted("bad inputs")

H, W, RATE = 32, 48, 16000
X264 = {"crf": "12", "preset": "ultrafast"}


def grey(k: int) -> np.ndarray:
    """Frame k of a clip that grows brighter by 8 a frame, from 40."""
    return np.full((H, W, 3), 40 + 8 * k, np.uint8)


def tone(seconds: float, rate: int = RATE, level: float = 0.4) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 400 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def make(
    place: Any,
    *,
    picture: Callable[[int], np.ndarray] | None = grey,
    frames: int = 20,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Callable[[int], float] = lambda k: k / 10,
    sounds: tuple[np.ndarray, ...] = (tone(2.0),),
    sound_codec: str = "aac",
    rate: int = RATE,
    layout: str = "mono",
    late: float = 0.0,
    languages: tuple[str, ...] = (),
    dispositions: tuple[Disposition, ...] = (),
    format: str | None = None,
    flags: dict[str, str] | None = None,
    setup: Callable[[Any], None] = lambda stream: None,
) -> Any:
    """A clip of ``frames`` at ``times`` seconds, and of sounds ``(n,)`` or ``(channels, n)`` that begin ``late`` seconds."""
    with av.open(
        place if format and not isinstance(place, Path) else str(place), "w", format=format, options=flags or {}
    ) as box:
        packets: list[Any] = []
        if picture is not None:
            video = box.add_stream(
                codec, rate=10, options=options if options is not None else X264 if codec == "libx264" else {}
            )
            video.height, video.width = picture(0).shape[:2]
            video.pix_fmt = pix_fmt
            video.codec_context.time_base = video.time_base = Fraction(1, 1000)
            setup(video)
        tracks = [box.add_stream(sound_codec, rate=rate, layout=layout) for _ in sounds]
        for k, track in enumerate(tracks):
            if sound_codec == "wmav2":
                track.bit_rate = 64000
            if languages:
                track.metadata["language"] = languages[k]
            if dispositions:
                track.disposition = dispositions[k]
        for k in range(frames if picture is not None else 0):
            frame = av.VideoFrame.from_ndarray(picture(k), format="rgb24")
            frame.pts, frame.time_base = round(1000 * times(k)), Fraction(1, 1000)
            packets += video.encode(frame)
        packets += video.encode(None) if picture is not None else []
        for track, sound in zip(tracks, sounds, strict=True):
            resampler = av.AudioResampler(
                track.codec_context.format, layout, rate, track.codec_context.frame_size or None
            )
            values = np.atleast_2d(sound)
            for start in range(0, values.shape[1], 1024):
                part = np.ascontiguousarray(values[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start + round(late * rate)
                for out in resampler.resample(frame):
                    packets += track.encode(out)
            for out in resampler.resample(None):
                packets += track.encode(out)
            packets += track.encode(None)
        for packet in sorted((p for p in packets if p.dts is not None), key=lambda p: float(p.dts * p.time_base)):
            box.mux(packet)
    return place


class Pipe:
    """A file that can't be wound back."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += bytes(data)
        return len(data)


def piped(path: Path, format: str, **options: Any) -> Path:
    pipe = Pipe()
    make(pipe, format=format, **options)
    path.write_bytes(pipe.data)
    return path


def right(path: Path, seconds: float = 2.0) -> None:
    """Four pictures of the clip that grows brighter, up to one frame, and its tone; nothing is found."""
    frames = read_frames(path, 4, 16)
    shown = [40 + 8 * int(10 * (k + 0.5) * seconds / 4) for k in range(4)]
    np.testing.assert_allclose(frames.array.mean(axis=(1, 2, 3)), shown, atol=9)
    assert frames.remarks == []
    heard(path, seconds)


def heard(path: Path, seconds: float, level: float = 0.4) -> None:
    sound, rate = read_audio(path)
    assert sound.remarks == []
    assert len(sound.array) / rate == pytest.approx(seconds, abs=0.15)
    middle = sound.array[len(sound.array) // 4 : 3 * len(sound.array) // 4]
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(level, rel=0.1)


VIDEOS: dict[str, dict[str, Any]] = {
    "B-frames": {"options": {"crf": "12", "bf": "3", "b_strategy": "0", "g": "20"}},
    "a key frame for all": {"options": X264 | {"g": "250"}},
    "only key frames": {"options": X264 | {"g": "1"}},
    "4:4:4": {"pix_fmt": "yuv444p"},
    "10 bits": {"pix_fmt": "yuv420p10le"},
    "full range": {"pix_fmt": "yuvj420p"},
    "MPEG-4, B-frames": {"codec": "mpeg4", "options": {"bf": "2", "b": "4000000"}},
    "Motion JPEG": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "options": {"qscale": "2"}},
    "H.263 and speech": {"codec": "mpeg4", "options": {"b": "4000000"}, "sound_codec": "pcm_s16le"},
    "no sound at the end": {"sounds": (tone(2.0),)},
    "stereo": {"sounds": (np.stack([tone(2.0), tone(2.0)]),), "layout": "stereo"},
    "six channels": {"sounds": (np.stack([tone(2.0)] * 6),), "layout": "5.1", "sound_codec": "pcm_s16le"},
    "48 kHz": {"sounds": (tone(2.0, 48000),), "rate": 48000},
    "8 kHz": {"sounds": (tone(2.0, 8000),), "rate": 8000},
}


@pytest.mark.parametrize("form", VIDEOS)
def test_of_every_coding(tmp_path, form):
    right(make(tmp_path / "a.mkv", **VIDEOS[form]))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".avi", ".flv", ".3gp", ".m4v"])
def test_b_frames_in_every_container(tmp_path, suffix):
    right(make(tmp_path / f"a{suffix}", options={"crf": "12", "bf": "3", "b_strategy": "0"}))


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
PIPED: dict[str, dict[str, Any]] = {
    "matroska": {},
    "webm": {
        "codec": "libvpx",
        "options": {"b": "2000000"},
        "sound_codec": "libopus",
        "rate": 48000,
        "sounds": (tone(2.0, 48000),),
    },
    "mpegts": {},
    "flv": {},
    "mp4": {"flags": FRAGMENTS, "options": X264 | {"g": "5"}},
    "mov": {"flags": FRAGMENTS, "options": X264 | {"g": "5"}},
    "nut": {},
}


@pytest.mark.parametrize("format", PIPED)
def test_without_a_length(tmp_path, format):
    path = piped(
        tmp_path / f"a.{ {'matroska': 'mkv', 'mpegts': 'ts', 'nut': 'mkv'}.get(format, format) }",
        format,
        **PIPED[format],
    )
    right(path)
    assert duration(path) == pytest.approx(2.0, abs=0.12)


@pytest.mark.parametrize("late", [0.5, 1.0])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov"])
def test_sound_that_begins_later_than_the_pictures(tmp_path, suffix, late):
    path = make(tmp_path / f"a{suffix}", late=late, sounds=(tone(2.0 - late),))
    sound, rate = read_audio(path)
    assert sound.remarks == []
    assert len(sound.array) / rate == pytest.approx(2.0, abs=0.15)
    quiet, loud = sound.array[: int((late - 0.1) * rate)], sound.array[int((late + 0.1) * rate) : int(1.8 * rate)]
    assert np.abs(quiet).max() < 0.02
    assert np.abs(loud).max() > 0.3
    assert read_frames(path, 4, 16).remarks == []


@pytest.mark.parametrize("shift", [0.4, 100.0])
@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_a_clock_that_begins_late(tmp_path, suffix, shift):
    right(make(tmp_path / f"a{suffix}", times=lambda k: shift + k / 10, late=shift))


TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_turned_with_b_frames(tmp_path, turn, suffix):
    def half(k: int) -> np.ndarray:
        picture = grey(k)
        picture[: H // 2] = 230  # the upper half is bright
        return np.ascontiguousarray(np.rot90(picture, turn // 90))

    path = make(tmp_path / f"a{suffix}", picture=half, options={"crf": "12", "bf": "2", "b_strategy": "0"})
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 8 + 20 + 16
    a, b, c, d = (x << 16 for x in TURNS[turn])
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    found = read_frames(path, 2, 16)
    assert found.remarks == []
    assert (found.array[:, :, :7] > 200).all()
    assert found.array[:, :, 9:].mean(axis=(1, 2, 3)) == pytest.approx([80, 160], abs=8)


def test_of_two_languages_the_default_one_is_taken_and_named(tmp_path):
    none, default = Disposition(0), Disposition.default
    for k, dispositions in enumerate(((default, none), (none, default))):
        quiet, loud = tone(2.0, level=0.2), tone(2.0, level=0.6)
        path = make(tmp_path / f"{k}.mkv", sounds=(quiet, loud), languages=("deu", "eng"), dispositions=dispositions)
        heard(path, 2.0, (0.2, 0.6)[k])
        assert (
            f"number {k + 1} is taken, the default one, language {('deu', 'eng')[k]}" in read_audio(path)[0].notes[0][1]
        )


def test_pixels_that_are_not_square_are_stretched_and_nothing_is_found(tmp_path):
    def wide(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)

    right(make(tmp_path / "a.mp4", setup=wide))


def test_a_variable_rate(tmp_path):
    """Ten frames in the first half second, then one a quarter of a second."""
    path = make(tmp_path / "a.mkv", frames=16, times=lambda k: k / 20 if k < 10 else 0.5 + (k - 10) / 4)
    found = read_frames(path, 4, 16).array.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found, [40 + 8 * 5, 40 + 8 * 11, 40 + 8 * 13, 40 + 8 * 15], atol=9)
    assert read_frames(path, 4, 16).remarks == []


@pytest.mark.parametrize("size", [(33, 17), (2, 2), (16, 512)])
def test_odd_sizes(tmp_path, size):
    def plain(k: int) -> np.ndarray:
        return np.full((*size, 3), 40 + 8 * k, np.uint8)

    right(make(tmp_path / "a.mov", picture=plain, codec="png", pix_fmt="rgb24"))


def test_one_frame(tmp_path):
    found = read_frames(make(tmp_path / "a.mp4", frames=1, sounds=()), 3, 16)
    np.testing.assert_allclose(found.array, 40, atol=4)
    assert found.remarks == []


# ---------------------------------------------------------------------------------------------------------------- sounds

FORMS: dict[str, tuple[int, int, Callable[[np.ndarray], bytes]]] = {  # tag, bits, samples in [-1, 1] -> bytes
    "u8": (1, 8, lambda x: np.round(127 * x + 128).astype(np.uint8).tobytes()),
    "s16": (1, 16, lambda x: (32767 * x).astype("<i2").tobytes()),
    "s24": (1, 24, lambda x: (8388607 * x).astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()),
    "s32": (1, 32, lambda x: (2147483647 * x.astype(np.float64)).astype("<i4").tobytes()),
    "f32": (3, 32, lambda x: x.astype("<f4").tobytes()),
    "f64": (3, 64, lambda x: x.astype("<f8").tobytes()),
}


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8000, 11025, 44100, 96000])
@pytest.mark.parametrize("form", FORMS)
def test_wav(tmp_path, form, rate, channels):
    tag, bits, coded = FORMS[form]
    wave = tone(1.0, rate)
    data = coded(np.repeat(wave[:, None], channels, axis=1).ravel())
    frame = channels * bits // 8
    head = struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    sound, found = read_audio(tmp_path / "a.wav")
    assert (found, sound.remarks) == (rate, [])
    np.testing.assert_allclose(sound.array, wave, atol=0.01 if form == "u8" else 1e-4)


CODINGS = {
    "a.flac": "flac",
    "a.mp3": "libmp3lame",
    "a.m4a": "aac",
    "a.aac": "aac",
    "a.au": "pcm_s16be",
    "a.aiff": "pcm_s24be",
    "a.caf": "pcm_s16le",
    "a.w64": "pcm_s16le",
    "a.wma": "wmav2",
    "a.mka": "pcm_f32le",
    "alaw.wav": "pcm_alaw",
    "mulaw.wav": "pcm_mulaw",
    "adpcm.wav": "adpcm_ms",
    "ima.wav": "adpcm_ima_wav",
}


@pytest.mark.parametrize("name", CODINGS)
def test_sounds_of_every_coding(tmp_path, name):
    heard(make(tmp_path / name, picture=None, sound_codec=CODINGS[name]), 2.0)


def test_a_sound_with_a_false_name_is_read_by_its_content(tmp_path):
    make(tmp_path / "a.mp3", picture=None, sound_codec="libmp3lame")
    heard((tmp_path / "a.mp3").rename(tmp_path / "a.wav"), 2.0)


@pytest.mark.parametrize(
    "content", [b"RIFF\x24\0\0\0WAVEfmt ", b"ID3\x03\0\0\0\0\0\0", b"OggS", b"fLaC", b"#EXTM3U\nhttp://a.b/c.ts\n"]
)
@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".mp4"])
def test_what_is_no_sound(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(Unusable) as caught:
        read_audio(path)
    assert "\n" not in caught.value.reason


def test_a_list_of_a_player_opens_no_other_file(tmp_path):
    make(tmp_path / "b.mp4")
    (tmp_path / "a.mp4").write_text(f"ffconcat version 1.0\nfile '{tmp_path / 'b.mp4'}'\n")
    with pytest.raises(Unusable), Clip(tmp_path / "a.mp4") as clip:
        clip.track("video")
