"""Pictures of every mode, depth and format: the picture that a viewer would show, or a finding that says what was done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmbal.data.media.decode import Unusable
from mmbal.data.media.pictures import picture_files, read_picture, read_pictures

pytestmark = pytest.mark.counted("bad inputs")

SIZE = 32


def card() -> np.ndarray:
    """Quarters of red, green, blue and light grey, ``(SIZE, SIZE, 3)``."""
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    half = SIZE // 2
    picture[:half, :half] = (220, 20, 20)
    picture[:half, half:] = (20, 220, 20)
    picture[half:, :half] = (20, 20, 220)
    picture[half:, half:] = (235, 235, 235)
    return picture


def grey() -> np.ndarray:
    return np.array(Image.fromarray(card()).convert("L"))


def quarters(path: Path) -> np.ndarray:
    """The mean colour of each quarter, (2, 2, 3)."""
    found = read_picture(path, SIZE).array.astype(float)
    parts = found.reshape(3, 2, SIZE // 2, 2, SIZE // 2)[:, :, 2:-2, :, 2:-2]
    return np.moveaxis(parts.mean(axis=(2, 4)), 0, -1)


COLOURS = np.array([[[220, 20, 20], [20, 220, 20]], [[20, 20, 220], [235, 235, 235]]], float)


def saved(path: Path, picture: np.ndarray | Image.Image, **options: object) -> Path:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path, **options)
    return path


def in_colour(name: str) -> Callable[[Path], Path]:
    """How a file of the card is made: a format, a mode or an option of it."""
    rgb = Image.fromarray(card())
    made: dict[str, Callable[[Path], Path]] = {
        "progressive.jpg": lambda f: saved(f / name, rgb, progressive=True, quality=95),
        "without_subsampling.jpeg": lambda f: saved(f / name, rgb, subsampling=0, quality=95),
        "cmyk.jpg": lambda f: saved(f / name, rgb.convert("CMYK"), quality=98),
        "cmyk.tif": lambda f: saved(f / name, rgb.convert("CMYK")),
        "palette.png": lambda f: saved(f / name, rgb.quantize(16)),
        "palette.bmp": lambda f: saved(f / name, rgb.quantize(16)),
        "palette.tif": lambda f: saved(f / name, rgb.quantize(16)),
        "interlaced.gif": lambda f: saved(f / name, rgb.quantize(16), interlace=1),
        "lossless.webp": lambda f: saved(f / name, rgb, lossless=True),
        "lossy.webp": lambda f: saved(f / name, rgb, quality=98),
        "alpha.png": lambda f: saved(f / name, rgb.convert("RGBA")),
        "alpha.tga": lambda f: saved(f / name, rgb.convert("RGBA")),
        "wavelets.jp2": lambda f: saved(f / name, rgb),
        "run_lengths.pcx": lambda f: saved(f / name, rgb),
        "lzw.tif": lambda f: saved(f / name, rgb, compression="tiff_lzw"),
        "jpeg_within.tif": lambda f: saved(f / name, rgb, compression="jpeg", quality=98),
        "text.ppm": lambda f: plain_ppm(f / name),
        "small.ico": lambda f: saved(f / name, rgb, sizes=[(SIZE, SIZE)]),
        "a_png_named.jpg": lambda f: saved(f / name, rgb, format="PNG"),
        "a_jpeg_named.png": lambda f: saved(f / name, rgb, format="JPEG", quality=98),
        "lab.tif": lambda f: saved(f / name, lab()),
        "capitals.JPG": lambda f: saved(f / name, rgb, format="JPEG", quality=98),
    }
    return made[name]


def plain_ppm(path: Path) -> Path:
    """PPM as text, with a comment."""
    path.write_text(f"P3\n# made by hand\n{SIZE} {SIZE}\n255\n" + " ".join(map(str, card().ravel())))
    return path


def lab() -> Image.Image:
    from PIL import ImageCms

    rgb, space = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    found = ImageCms.profileToProfile(Image.fromarray(card()), rgb, space, outputMode="LAB")
    assert found is not None
    return found


NAMES = [
    *(
        "progressive.jpg",
        "without_subsampling.jpeg",
        "cmyk.jpg",
        "cmyk.tif",
        "palette.png",
        "palette.bmp",
        "palette.tif",
    ),
    *("interlaced.gif", "lossless.webp", "lossy.webp", "alpha.png", "alpha.tga", "wavelets.jp2", "run_lengths.pcx"),
    *(
        "lzw.tif",
        "jpeg_within.tif",
        "text.ppm",
        "small.ico",
        "a_png_named.jpg",
        "a_jpeg_named.png",
        "lab.tif",
        "capitals.JPG",
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_colours(tmp_path, name):
    path = in_colour(name)(tmp_path)
    np.testing.assert_allclose(quarters(path), COLOURS, atol=14)
    assert read_picture(path, SIZE).remarks == []


def wide(values: np.ndarray) -> np.ndarray:
    """Eight bits as sixteen."""
    return values.astype(np.uint16) * 257


GREYS: dict[str, Callable[[Path], Path]] = {
    "16_bits.png": lambda f: saved(f / "16_bits.png", wide(grey())),
    "16_bits.tif": lambda f: saved(f / "16_bits.tif", wide(grey())),
    "16_bits.pgm": lambda f: saved(f / "16_bits.pgm", Image.fromarray(wide(grey()).astype(np.int32))),
    "real_to_1.tif": lambda f: saved(f / "real_to_1.tif", grey().astype(np.float32) / 255),
    "real_to_255.tif": lambda f: saved(f / "real_to_255.tif", grey().astype(np.float32)),
    "real_to_65535.tif": lambda f: saved(f / "real_to_65535.tif", wide(grey()).astype(np.float32)),
    "real.pfm": lambda f: saved(f / "real.pfm", grey().astype(np.float32) / 255),
    "with_nan.tif": lambda f: saved(f / "with_nan.tif", with_nan()),
    "grey_and_alpha.png": lambda f: saved(f / "grey_and_alpha.png", Image.fromarray(grey()).convert("LA")),
    "8_bits.bmp": lambda f: saved(f / "8_bits.bmp", grey()),
}


def with_nan() -> np.ndarray:
    found = grey().astype(np.float32) / 255
    found[0, 0] = np.nan
    return found


@pytest.mark.parametrize("name", GREYS)
def test_greys_of_every_depth(tmp_path, name):
    expected = np.repeat(grey()[4::16, 4::16].astype(float)[..., None], 3, axis=-1)
    np.testing.assert_allclose(quarters(GREYS[name](tmp_path)), expected, atol=3)


def test_one_bit_is_black_and_white(tmp_path):
    bits = np.zeros((SIZE, SIZE), bool)
    bits[: SIZE // 2] = True
    for name in ("a.png", "a.bmp", "a.tif", "a.pbm"):
        found = quarters(saved(tmp_path / name, Image.fromarray(bits)))
        np.testing.assert_allclose(found[0], 255)
        np.testing.assert_allclose(found[1], 0)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_what_is_transparent_is_white(tmp_path, name):
    layer = np.dstack([card(), np.full((SIZE, SIZE), 255, np.uint8)])
    layer[:, SIZE // 2 :, 3] = 0
    found = quarters(saved(tmp_path / name, Image.fromarray(layer), **({"lossless": True} if name == "a.webp" else {})))
    np.testing.assert_allclose(found[:, 1], 255, atol=3)
    np.testing.assert_allclose(found[:, 0], COLOURS[:, 0], atol=14)


def test_an_animation_with_a_still_before_it(tmp_path):
    """The first picture is taken whole, also where later ones cover a part of it only."""
    first, second = Image.fromarray(card()), Image.fromarray(np.full((SIZE, SIZE, 3), 9, np.uint8))
    saved(tmp_path / "a.gif", first.quantize(16), save_all=True, append_images=[second.quantize(16)], disposal=2)
    found = read_picture(tmp_path / "a.gif", SIZE)
    assert [kind for kind, _ in found.remarks] == ["animated"]
    np.testing.assert_allclose(quarters(tmp_path / "a.gif"), COLOURS, atol=14)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_very_small_and_narrow_pictures(tmp_path, shape):
    saved(tmp_path / "a.png", np.full((*shape, 3), 77, np.uint8))
    assert (read_picture(tmp_path / "a.png", SIZE).array == 77).all()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "corrupt"),
        (b"%PDF-1.4", "corrupt"),
        (b"\x89PNG\r\n\x1a\n", "corrupt"),
        (b"GIF89a", "corrupt"),
        (b"\0" * 4096, "corrupt"),
        (b"<HTML><body>404", "corrupt"),
        (b"\r\n<!doctype HTML>", "corrupt"),
    ],
)
def test_what_is_no_picture(tmp_path, content, kind):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(Unusable) as caught:
        read_picture(tmp_path / "a.jpg", SIZE)
    assert caught.value.kind == kind
    assert "\n" not in caught.value.reason


FRAMES = {
    "padded to different lengths": (["1.jpg", "02.jpg", "003.jpg", "10.jpg"], ["1.jpg", "02.jpg", "003.jpg", "10.jpg"]),
    "numbers before a word": (["1_img.jpg", "2_img.jpg", "10_img.jpg"], ["1_img.jpg", "2_img.jpg", "10_img.jpg"]),
    "two numbers": (["c1_2.jpg", "c1_10.jpg", "c2_1.jpg"], ["c1_2.jpg", "c1_10.jpg", "c2_1.jpg"]),
    "capitals": (["F2.JPG", "F10.JPG", "F1.JPG"], ["F1.JPG", "F2.JPG", "F10.JPG"]),
    "emoji": (["😀2.png", "😀10.png", "😀1.png"], ["😀1.png", "😀2.png", "😀10.png"]),
    "brackets": (["a[10].png", "a[2].png", "a[1].png"], ["a[1].png", "a[2].png", "a[10].png"]),
    "times of a clock": (
        ["00-00-02.png", "00-00-10.png", "00-01-00.png"],
        ["00-00-02.png", "00-00-10.png", "00-01-00.png"],
    ),
    "beside what systems leave": (["1.jpg", "2.jpg", "._1.jpg", ".hidden.jpg"], ["1.jpg", "2.jpg"]),
    "numbers that are longer than numbers are": (
        [f"{k}{'0' * 30}.png" for k in (2, 1)],
        [f"{k}{'0' * 30}.png" for k in (1, 2)],
    ),
}


@pytest.mark.parametrize("form", FRAMES)
def test_frames_in_the_order_people_number_them(tmp_path, form):
    names, expected = FRAMES[form]
    for name in names:
        saved(tmp_path / name, np.full((4, 4, 3), 9, np.uint8), format="PNG")
    files, remarks = picture_files(tmp_path)
    assert [file.name for file in files] == expected
    assert remarks == []


def test_a_folder_with_one_bad_frame_is_kept_and_said(tmp_path):
    for k in range(3):
        saved(tmp_path / f"{k}.png", np.full((8, 8, 3), 50 * k, np.uint8))
    (tmp_path / "1.png").write_bytes(b"\x89PNG")
    found = read_pictures(tmp_path, 3, SIZE)
    assert [kind for kind, _ in found.remarks] == ["corrupt"]
    assert "1.png" in found.remarks[0][1]


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="who is root may read everything")
def test_a_picture_that_may_not_be_read(tmp_path):
    saved(tmp_path / "a.png", card()).chmod(0)
    with pytest.raises(Unusable, match="ermission"):
        read_picture(tmp_path / "a.png", SIZE)
