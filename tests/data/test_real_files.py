"""Media as people have them: turned, late, cut, with covers, of every depth. Each test makes what it reads."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image, ImageCms

from mmbal.data.media.container import Clip, Clips, duration
from mmbal.data.media.decode import Unusable, natural, walk
from mmbal.data.media.frames import read_frames
from mmbal.data.media.pictures import picture_files, read_picture, read_pictures
from mmbal.data.media.recipe import Source
from mmbal.data.media.recipes import AudioRecipe, FramesRecipe
from mmbal.data.media.sound import read_audio

H, W = 64, 96


def card() -> np.ndarray:
    """A picture that shows when it is turned or mirrored: quarters of red, green, blue and white; (H, W, 3)."""
    picture = np.zeros((H, W, 3), np.uint8)
    picture[: H // 2, : W // 2] = (220, 20, 20)
    picture[: H // 2, W // 2 :] = (20, 220, 20)
    picture[H // 2 :, : W // 2] = (20, 20, 220)
    picture[H // 2 :, W // 2 :] = (235, 235, 235)
    return picture


def grey(k: int) -> np.ndarray:
    """Frame k of a clip that grows brighter by 4 a frame, from 30."""
    return np.full((H, W, 3), min(30 + 4 * k, 255), np.uint8)


def tone(seconds: float, rate: int = 16000, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def make(
    path: Path,
    *,
    picture: Callable[[int], np.ndarray] | None = grey,
    times: list[float] | None = None,
    sounds: tuple[np.ndarray, ...] = (tone(2.0),),
    late: float = 0.0,
    dispositions: tuple[Disposition, ...] = (),
    codecs: tuple[str, str] = ("mpeg4", "aac"),
    options: dict[str, str] | None = None,
    format: str | None = None,
) -> Path:
    """A clip with frames at ``times`` (20 at 10 a second by default) and sounds of 16 kHz that begin ``late`` seconds."""
    with av.open(str(path), "w", format=format) as box:
        packets = []
        streams = []
        if picture is not None:
            video = box.add_stream(codecs[0], rate=10, options=options or {})
            first = picture(0)
            video.height, video.width, video.pix_fmt, video.bit_rate = *first.shape[:2], "yuv420p", 4_000_000
            video.codec_context.time_base = video.time_base = Fraction(1, 1000)
        for k, _ in enumerate(sounds):
            streams.append(box.add_stream(codecs[1], rate=16000, layout="mono"))
            if dispositions:
                streams[-1].disposition = dispositions[k]
        if picture is not None:
            for k, time in enumerate([k / 10 for k in range(20)] if times is None else times):
                frame = av.VideoFrame.from_ndarray(picture(k), format="rgb24")
                frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
                packets += video.encode(frame)
            packets += video.encode(None)
        for stream, sound in zip(streams, sounds, strict=True):
            planar = stream.codec_context.format.name == "fltp"
            values = sound if planar else (sound * 32767).astype(np.int16)
            for start in range(0, len(values), 1024):
                part = np.ascontiguousarray(values[None, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(part, format="fltp" if planar else "s16", layout="mono")
                frame.sample_rate, frame.time_base = 16000, Fraction(1, 16000)
                frame.pts = start + round(16000 * late)
                packets += stream.encode(frame)
            packets += stream.encode(None)
        for packet in sorted((p for p in packets if p.dts is not None), key=lambda p: float(p.dts * p.time_base)):
            box.mux(packet)
    return path


def brightness(path: Path, n: int, **options: float) -> list[float]:
    return read_frames(path, n, 16, **options).array.mean(axis=(1, 2, 3)).tolist()


def loud(wave: np.ndarray, rate: int) -> list[bool]:
    """Whether each whole quarter of a second is loud."""
    n = rate // 4
    return [bool(np.abs(wave[k : k + n]).max() > 0.1) for k in range(0, len(wave) - n + 1, n)]


# ------------------------------------------------------------------------------------------------------------ turned

MATRICES = {  # degrees clockwise, or mirrored -> (a, b, c, d) of the header: (x, y) is shown at (a x + c y, b x + d y)
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
}
STORED = {  # how a picture is stored so that its matrix shows it upright
    90: lambda a: np.rot90(a, 1),  # a quarter anticlockwise
    180: lambda a: np.rot90(a, 2),
    270: lambda a: np.rot90(a, 3),
    "mirrored": lambda a: a[:, ::-1],
    "upside down": lambda a: a[::-1],
    "transposed": lambda a: a.swapaxes(0, 1),
}


def turned(path: Path, matrix: tuple[float, ...]) -> Path:
    """Write a display matrix into the header of an MP4's only video track."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (round(x * 65536) for x in matrix)
    place = data.find(b"tkhd") + 8 + 20 + 16
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("turn", MATRICES)
def test_a_clip_with_a_display_matrix_is_upright(tmp_path, turn):
    plain = make(tmp_path / "plain.mp4", picture=lambda k: card(), sounds=())
    stored = np.ascontiguousarray(STORED[turn](card()))
    other = turned(make(tmp_path / "turned.mp4", picture=lambda k: stored, sounds=()), MATRICES[turn])
    upright, found = (read_frames(path, 2, 32) for path in (plain, other))
    assert np.abs(found.array.astype(int) - upright.array).mean() < 6
    assert np.abs(found.array[0, :, 4, 4].astype(int) - (220, 20, 20)).max() < 30  # red, at the top left
    assert found.remarks == []


def test_a_slanted_matrix_is_said(tmp_path):
    slanted = (np.sqrt(0.5), np.sqrt(0.5), -np.sqrt(0.5), np.sqrt(0.5))
    path = turned(make(tmp_path / "a.mp4", picture=lambda k: card(), sounds=()), slanted)
    assert read_frames(path, 1, 16).remarks == [
        ("rotated", "the display matrix turns by 45 degrees; quarter turns are applied")
    ]


ORIENTATIONS = {
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 3),
}


@pytest.mark.parametrize("value", [*ORIENTATIONS, 1, 0, 9])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_picture_with_an_exif_orientation_is_upright(tmp_path, value, suffix):
    exif = Image.Exif()
    exif[0x0112] = value
    stored = np.ascontiguousarray(ORIENTATIONS.get(value, lambda a: a)(card()))
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", quality=95, exif=exif)
    found = read_picture(tmp_path / f"a.{suffix}", 32)
    for place, colour in (((4, 4), (220, 20, 20)), ((4, 28), (20, 220, 20)), ((28, 4), (20, 20, 220))):
        assert np.abs(found.array[:, place[0], place[1]].astype(int) - colour).max() < 30
    assert found.remarks == []


def test_frames_of_a_folder_are_turned_by_their_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for k in range(3):
        Image.fromarray(np.ascontiguousarray(np.rot90(card()))).save(tmp_path / f"{k}.jpg", quality=95, exif=exif)
    found = read_pictures(tmp_path, 3, 32).array
    assert np.abs(found[:, :, 4, 4].astype(int) - (220, 20, 20)).max() < 30


# ------------------------------------------------------------------------------------------------------------ pictures

RAMP = np.linspace(0, 1, 64)[:, None] * np.ones((1, 64))  # black at the top, white at the bottom


def column(path: Path) -> np.ndarray:
    """Brightness from top to bottom, of a picture of the ramp."""
    return read_picture(path, 64).array[0, :, 10].astype(int)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("a.png", (RAMP * 65535).astype(np.uint16)),
        ("a.tif", (RAMP * 65535).astype(np.uint16)),
        ("a.pgm", (RAMP * 65535).astype(np.uint16)),
        ("f.tif", RAMP.astype(np.float32)),
        ("b.tif", (RAMP * 255).astype(np.float32)),
        ("i.tif", (RAMP * 65535).astype(np.int32)),
    ],
)
def test_deep_pictures_keep_their_range(tmp_path, name, pixels):
    Image.fromarray(pixels).save(tmp_path / name)
    assert np.abs(column(tmp_path / name) - np.linspace(0, 255, 64)).max() <= 1
    assert read_picture(tmp_path / name, 16).remarks == []


def test_deep_pictures_whose_range_is_not_plain_are_said(tmp_path):
    Image.fromarray((2 * RAMP - 1).astype(np.float32)).save(tmp_path / "a.tif")
    assert np.abs(column(tmp_path / "a.tif") - np.linspace(0, 255, 64)).max() <= 1
    assert read_picture(tmp_path / "a.tif", 8).remarks == [
        ("range", "pixels are numbers from -1 to 1: -1 is shown black, 1 white")
    ]
    Image.fromarray((RAMP * 4095).astype(np.uint16)).save(tmp_path / "b.png")  # 12 bits in 16
    assert column(tmp_path / "b.png").max() == 16  # 4095 / 65535 of 255
    assert [kind for kind, _ in read_picture(tmp_path / "b.png", 8).remarks] == ["dim"]
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "c.tif")
    with pytest.raises(Unusable, match="no pixel is a number"):
        read_picture(tmp_path / "c.tif", 8)


def test_transparency_is_white(tmp_path):
    """What is hidden under it must not come back."""
    layer = Image.fromarray(card()).convert("RGBA")
    alpha = np.full((H, W), 255, np.uint8)
    alpha[:, : W // 2] = 0
    layer.putalpha(Image.fromarray(alpha))
    red = Image.fromarray(card()).quantize(8)
    index = red.getpixel((2, 2))
    for name, image, options in (
        ("a.png", layer, {}),
        ("la.png", layer.convert("LA"), {}),
        ("a.webp", layer, {"lossless": True}),
        ("p.png", red, {"transparency": index}),
        ("p.gif", red, {"transparency": index}),
        ("rgb.png", Image.fromarray(card()), {"transparency": (220, 20, 20)}),
    ):
        image.save(tmp_path / name, **options)
        found = read_picture(tmp_path / name, 32)
        assert found.array[:, 4, 4].tolist() == [255, 255, 255], name
        assert found.array[:, 4, 28].tolist() != [255, 255, 255], name
        assert found.remarks == [], name


def test_every_mode_gives_the_same_picture(tmp_path):
    picture = Image.fromarray(card())
    lab = ImageCms.profileToProfile(
        picture, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    for name, image in (("p.png", picture.quantize(8)), ("c.tif", picture.convert("CMYK")), ("lab.tif", lab)):
        image.save(tmp_path / name)
    picture.convert("CMYK").save(tmp_path / "c.jpg", quality=98)
    picture.convert("YCbCr").save(tmp_path / "y.jpg", quality=98)
    for path in tmp_path.iterdir():
        found = read_picture(path, 32).array.astype(int)
        assert np.abs(found[:, 4, 4] - (220, 20, 20)).max() < 12, path.name


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_an_animated_picture_the_first_is_taken_and_said(tmp_path, suffix):
    frames = [Image.fromarray(np.roll(card(), 20 * k, axis=1)) for k in range(3)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    found = read_picture(tmp_path / f"a.{suffix}", 32)
    assert [kind for kind, _ in found.remarks] == ["animated"]
    assert np.abs(found.array[:, 4, 4].astype(int) - (220, 20, 20)).max() < 30
    frames[0].save(tmp_path / f"still.{suffix}")
    assert read_picture(tmp_path / f"still.{suffix}", 32).remarks == []


def test_an_animated_gif_is_a_clip_too(tmp_path):
    frames = [Image.fromarray(grey(10 * k)) for k in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=200)
    assert brightness(tmp_path / "a.gif", 4) == pytest.approx([30, 70, 110, 150], abs=3)


# -------------------------------------------------------------------------------------------------- folders of frames


def folder_of(place: Path, *names: str) -> Path:
    for name in names:
        Image.fromarray(card()).save(place / name)
    return place


@pytest.mark.parametrize(
    ("names", "frames", "kinds"),
    [
        (["10.png", "2.png", "1.png"], ["1.png", "2.png", "10.png"], []),
        (["frame.png", "frame1.png", "frame10.png"], ["frame.png", "frame1.png", "frame10.png"], []),
        (["f10.png", "f9.png", "cover.png"], ["f9.png", "f10.png"], ["other pictures"]),
        (["img_1.png", "img_2.png", "flow_x_1.png", "flow_x_2.png"], ["img_1.png", "img_2.png"], ["other pictures"]),
        (["apple.png", "banana.png", "cherry.png"], ["apple.png", "banana.png", "cherry.png"], []),
        (["1.png", "1.jpg", "2.png", "2.jpg"], ["1.jpg", "2.jpg"], ["twice"]),
        (["a1.png", "bc2.png", "f3.png", "0d.png", "ee.png"], ["0d.png", "a1.png", "bc2.png", "ee.png", "f3.png"], []),
    ],
)
def test_frames_are_those_that_people_numbered_in_their_order(tmp_path, names, frames, kinds):
    found, remarks = picture_files(folder_of(tmp_path, *names))
    assert [file.name for file in found] == frames
    assert [kind for kind, _ in remarks] == kinds


def test_names_are_sorted_as_people_number_them():
    assert sorted(["b2", "b10", "b1", "a3", "b"], key=natural) == ["a3", "b", "b1", "b2", "b10"]


MAC = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(100)


def test_what_systems_leave_beside_frames_is_no_frame(tmp_path):
    folder_of(tmp_path, "1.png", "2.png")
    for name in ("._1.png", "._2.png", ".hidden.png"):
        (tmp_path / name).write_bytes(MAC)
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    found = read_pictures(tmp_path, 1, 8)
    assert found.remarks == []
    assert [file.name for file in picture_files(tmp_path)[0]] == ["1.png", "2.png"]
    with pytest.raises(Unusable, match="AppleDouble"):
        read_picture(tmp_path / "._1.png", 8)


def test_a_walk_passes_over_what_is_hidden_and_follows_links_once(tmp_path):
    for name in ("a/1.mp4", "__MACOSX/a/._1.mp4", ".git/2.mp4", "@eaDir/3.mp4", "$RECYCLE.BIN/4.mp4", "b/._5.mp4"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_bytes(b"x")
    (tmp_path / "disk" / "c").mkdir(parents=True)
    (tmp_path / "disk" / "c" / "6.mp4").write_bytes(b"x")
    (tmp_path / "root" / "0link").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "root")
    found = [p.relative_to(tmp_path / "root").as_posix() for p in walk(tmp_path / "root") if p.is_file()]
    assert found == ["0link/c/6.mp4", "a/1.mp4"]


def test_a_link_to_nothing_is_said(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(Unusable, match="a link to a file that is not there"):
        read_picture(tmp_path / "a.png", 8)


# ---------------------------------------------------------------------------------------------------------------- time


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_clock_that_starts_late_is_the_clip_s_own(tmp_path, suffix):
    path = make(tmp_path / f"a{suffix}", times=[5 + k / 10 for k in range(20)], late=5.0)
    # Frames 0 to 19 for 2 s, of which the middles of four parts are shown at 0.25, 0.75, 1.25 and 1.75 s.
    assert brightness(path, 4) == pytest.approx([38, 58, 78, 98], abs=6)
    sound, rate = read_audio(path)
    assert loud(sound.array, rate)[:7] == [True] * 7
    assert sound.seconds == pytest.approx(2.0, abs=0.2)
    assert read_frames(path, 4, 16).remarks == sound.remarks == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_that_starts_after_the_pictures_stays_in_step(tmp_path, suffix):
    path = make(tmp_path / f"a{suffix}", times=[k / 10 for k in range(30)], late=1.0)
    sound, rate = read_audio(path)
    assert loud(sound.array, rate)[:10] == [False] * 3 + [loud(sound.array, rate)[3]] + [True] * 6
    assert len(sound.array) / rate == pytest.approx(3.0, abs=0.1)
    middle, _ = read_audio(path, 0.5, 1.5)
    assert len(middle.array) == 16000
    assert loud(middle.array, rate) == [False, loud(middle.array, rate)[1], True, True]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pictures_that_start_after_the_sound_stay_in_step(tmp_path, suffix):
    path = make(tmp_path / f"a{suffix}", times=[1 + k / 10 for k in range(20)], sounds=(tone(3.0),))
    # Frame k is shown at 1 + k / 10 s; before that, the first one stands in.
    assert brightness(path, 3) == pytest.approx([30, 50, 90], abs=6)  # at 0.5, 1.5 and 2.5 s
    assert brightness(path, 2, start=1.0, end=2.0) == pytest.approx([38, 58], abs=6)


def test_sound_that_is_missing_in_between_is_silence_there(tmp_path):
    path = tmp_path / "a.mkv"
    values = (tone(4.0) * 32767).astype(np.int16)
    with av.open(str(path), "w") as box:
        stream = box.add_stream("pcm_s16le", rate=16000, layout="mono")
        for start in [*range(0, 16000, 1600), *range(32000, 64000, 1600)]:
            frame = av.AudioFrame.from_ndarray(values[None, start : start + 1600], format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 16000, Fraction(1, 16000), start
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    sound, rate = read_audio(path)
    assert loud(sound.array, rate) == [True] * 4 + [False] * 4 + [True] * 8
    assert sound.remarks == [("gap", "no sound from 1.00 to 2.00 s")]


def test_the_last_frames_come_out_of_the_decoder(tmp_path):
    """B-frames are held back until the end of the file, also where the end is torn off."""
    options = {"bf": "3", "crf": "5", "x264-params": "b-adapt=0"}
    for name in ("a.mp4", "a.ts"):
        path = make(tmp_path / name, sounds=(), codecs=("libx264", "aac"), options=options)
        assert brightness(path, 20) == pytest.approx([30 + 4 * k for k in range(20)], abs=6)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_slides_are_no_truncated_clip(tmp_path, suffix):
    """The last picture stands until the sound ends."""
    path = make(
        tmp_path / f"a{suffix}",
        picture=lambda k: grey(15 * k),
        times=[0, 2, 4, 5],
        sounds=(tone(10.0),),
    )
    found = read_frames(path, 5, 16)
    assert found.remarks == []
    assert found.array.mean(axis=(1, 2, 3))[0] == pytest.approx(30, abs=6)
    recipe = FramesRecipe(frames=3, keep=3, size=16)
    assert recipe.encode(Source(str(path))).remarks == []


def test_one_frame_shown_all_along_is_not_frozen(tmp_path):
    path = make(tmp_path / "a.mp4", times=[0.0], sounds=(tone(3.0),))
    assert FramesRecipe(frames=3, keep=3, size=16).encode(Source(str(path))).remarks == []


@pytest.mark.parametrize(("pictures", "seconds"), [(20, 8.0), (40, 2.0)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".flv"])
def test_a_track_that_ends_before_the_other_is_not_truncated(tmp_path, suffix, pictures, seconds):
    codecs = ("flv", "aac") if suffix == ".flv" else ("mpeg4", "aac")
    path = make(
        tmp_path / f"a{suffix}", times=[k / 10 for k in range(pictures)], sounds=(tone(seconds),), codecs=codecs
    )
    frames, (sound, _) = read_frames(path, 4, 16), read_audio(path)
    assert frames.remarks == sound.remarks == []
    assert frames.seconds == pytest.approx(pictures / 10, abs=0.2)
    assert sound.seconds == pytest.approx(seconds, abs=0.2)


def test_a_false_length_in_the_header_is_found_out(tmp_path):
    path = make(tmp_path / "a.mkv", times=[k / 10 for k in range(80)], sounds=(tone(8.0),))
    data = bytearray(path.read_bytes())
    place = data.find(b"\x44\x89\x88") + 3  # the header's Duration, milliseconds
    for milliseconds in (2000.0, 60000.0):
        data[place : place + 8] = struct.pack(">d", milliseconds)
        path.write_bytes(data)
        frames, (sound, rate) = read_frames(path, 4, 16), read_audio(path)
        assert len(sound.array) / rate == pytest.approx(8.0, abs=0.1)
        if milliseconds == 2000.0:  # shown at 1, 3, 5 and 7 s
            assert frames.array.mean(axis=(1, 2, 3)) == pytest.approx([70, 150, 230, 255], abs=6)
            assert duration(path) == pytest.approx(8.0, abs=0.1)
            assert read_audio(path, 0, None, 1.0)[0].seconds == pytest.approx(8.0, abs=0.1)
            assert frames.remarks == sound.remarks == []
        else:
            assert [kind for kind, _ in frames.remarks] == [kind for kind, _ in sound.remarks] == ["truncated"]


@pytest.mark.parametrize(("suffix", "codec"), [("mp3", "libmp3lame"), ("aac", "aac"), ("ac3", "ac3")])
def test_sound_without_a_header_lasts_as_long_as_it_is(tmp_path, suffix, codec):
    """FFmpeg guesses its length from its size, which is wrong where silence takes less room than a tone."""
    values = np.concatenate([np.zeros(4 * 16000, np.float32), tone(2.0)])
    with av.open(str(tmp_path / f"a.{suffix}"), "w", options={"write_xing": "0"} if suffix == "mp3" else {}) as box:
        stream = box.add_stream(codec, rate=48000 if suffix == "ac3" else 16000, layout="mono")
        resampler = av.AudioResampler(stream.codec_context.format, "mono", stream.rate)
        for start in range(0, len(values), 1024):
            frame = av.AudioFrame.from_ndarray(values[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 16000, Fraction(1, 16000), start
            for part in resampler.resample(frame):
                box.mux(stream.encode(part))
        box.mux(stream.encode(None))
    whole, rate = read_audio(tmp_path / f"a.{suffix}")
    assert whole.remarks == []
    assert len(whole.array) / rate == pytest.approx(6.0, abs=0.2)
    first, _ = read_audio(tmp_path / f"a.{suffix}", 0, None, 1.0)
    assert first.seconds == pytest.approx(6.0, abs=0.2)
    assert duration(tmp_path / f"a.{suffix}") == pytest.approx(6.0, abs=0.2)


def wav(path: Path, samples: np.ndarray, size: int | None = None) -> Path:
    """16 kHz, 16 bits; the header tells of ``size`` bytes."""
    data = np.ascontiguousarray((np.atleast_2d(samples).T * 32767).astype("<i2")).tobytes()
    channels = len(np.atleast_2d(samples))
    form = struct.pack("<HHIIHH", 1, channels, 16000, 32000 * channels, 2 * channels, 16)
    size = len(data) if size is None else size
    head = b"RIFF" + struct.pack("<I", min(size + 36, 2**32 - 1)) + b"WAVEfmt " + struct.pack("<I", 16) + form
    path.write_bytes(head + b"data" + struct.pack("<I", size) + data)
    return path


def test_a_wav_whose_header_tells_of_another_size(tmp_path):
    piped, _ = read_audio(wav(tmp_path / "a.wav", tone(3.0), 2**32 - 1))
    assert (len(piped.array), piped.remarks) == (48000, [])
    cut = wav(tmp_path / "b.wav", tone(3.0))
    cut.write_bytes(cut.read_bytes()[:48044])
    assert read_audio(cut)[0].remarks == [("truncated", "sound ends at 1.50 s, the file claims 3.00 s")]
    short, _ = read_audio(wav(tmp_path / "c.wav", tone(3.0), 3200))
    assert short.remarks == [("length", "there is room for 3.00 s of sound, but the file claims 0.10 s")]
    more = wav(tmp_path / "d.wav", tone(1.0))
    more.write_bytes(more.read_bytes() + b"LIST" + struct.pack("<I", 60000) + bytes(60000))
    assert read_audio(more)[0].remarks == []


def test_channels_that_cancel_each_other_are_said(tmp_path):
    t = tone(1.0)
    assert [kind for kind, _ in read_audio(wav(tmp_path / "a.wav", np.stack([t, -t])))[0].remarks] == [
        "channels cancel"
    ]
    assert read_audio(wav(tmp_path / "b.wav", np.stack([t, 0 * t])))[0].remarks == []


# ------------------------------------------------------------------------------------------------------------- streams


def test_of_several_sounds_the_default_one_is_taken_and_said(tmp_path):
    default, none = Disposition.default, Disposition(0)
    quiet, noisy = tone(2.0, level=0.3), tone(2.0, level=0.6)
    for dispositions, level, why in (
        ((none, default), 0.6, "number 2 is taken, the default one"),
        ((default, none), 0.3, "number 1 is taken, the default one"),
        ((Disposition.comment | default, none), 0.6, "number 2 is taken, the one that is no commentary"),
    ):
        path = make(tmp_path / "a.mkv", sounds=(quiet, noisy), dispositions=dispositions)
        sound, _ = read_audio(path)
        assert np.abs(sound.array).max() == pytest.approx(level, abs=0.1)
        assert sound.notes == [("streams", f"2 audio streams: {why}")]
    assert read_audio(make(tmp_path / "b.mkv"))[0].notes == []


def test_a_cover_is_no_video(tmp_path):
    sound = make(tmp_path / "a.mp3", picture=None, codecs=("", "libmp3lame"))
    Image.fromarray(card()).save(tmp_path / "cover.jpg")
    body = b"\x00image/jpeg\x00\x03\x00" + (tmp_path / "cover.jpg").read_bytes()
    part = b"APIC" + struct.pack(">I", len(body)) + b"\x00\x00" + body
    size = bytes((len(part) >> shift) & 127 for shift in (21, 14, 7, 0))
    covered = tmp_path / "b.mp3"
    covered.write_bytes(b"ID3\x03\x00\x00" + size + part + sound.read_bytes())
    with Clip(covered) as clip:
        assert [stream.type for stream in clip.container.streams] == ["audio", "video"]
    with pytest.raises(Unusable, match="only a cover picture, no video"):
        read_frames(covered, 2, 16)
    assert len(read_audio(covered)[0].array) > 1.9 * 16000


# ---------------------------------------------------------------------------------------------------------- work once


def test_a_clip_is_opened_once_for_all_its_modalities(tmp_path, monkeypatch):
    path = make(tmp_path / "a.mp4")
    audio, video = AudioRecipe(duration=1.0), FramesRecipe(size=16, frames=4, keep=4)
    alone = [recipe.encode(Source(str(path))).array for recipe in (audio, video)]
    opened = []
    real = av.open

    def counting(*args, **kwargs):
        opened.append(args[0])
        return real(*args, **kwargs)

    monkeypatch.setattr(av, "open", counting)
    with Clips() as clips:
        shared = [recipe.encode(Source(str(path)), clips).array for recipe in (audio, video)]
    assert opened == [str(path)]
    assert all(np.array_equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_packets_that_take_too_much_room_are_read_again(tmp_path, monkeypatch):
    path = make(tmp_path / "a.mp4", times=[k / 10 for k in range(20)])
    monkeypatch.setattr("mmbal.data.media.container.KEPT_BYTES", 1000)
    with Clips() as clips:
        sound, _ = read_audio(clips(path))
        frames = read_frames(clips(path), 4, 16)
    assert np.array_equal(sound.array, read_audio(path)[0].array)
    assert np.array_equal(frames.array, read_frames(path, 4, 16).array)
