"""Pictures as a viewer shows them, and the frames of a folder in the order people number them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from mmbal.data.media.pictures import picture_files, read_picture


@pytest.fixture
def card() -> Image.Image:
    """Red above green, smooth enough for JPEG."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32, :, 0] = pixels[32:, :, 1] = 200
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["10.png", "2.png", "1.png"], ["1.png", "2.png", "10.png"]),
        (["-1.png", "-10.png", "0.png"], ["-10.png", "-1.png", "0.png"]),
        (["1.5.png", "1.25.png", "10.0.png"], ["1.25.png", "1.5.png", "10.0.png"]),
        (["1.9.png", "1.10.png"], ["1.9.png", "1.10.png"]),
        (["Frame_1.png", "frame_0.png", "frame_2.PNG"], ["frame_0.png", "Frame_1.png", "frame_2.PNG"]),
        (["0.png", "0 (1).png", "1.png", "1 - Copy.png"], ["0.png", "1.png"]),
        (["frames/1.png", "frames/0.png"], ["0.png", "1.png"]),
    ],
)
def test_frames_in_the_order_of_their_numbers(tmp_path, names, ordered):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [file.name for file in picture_files(tmp_path)[0]] == ordered


def test_a_jpeg_without_its_last_bytes_is_kept_and_half_of_one_is_not(tmp_path, card):
    from mmbal.data.media.decode import Unusable

    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole, "JPEG", quality=95)
    data = whole.getvalue()
    (tmp_path / "end.jpg").write_bytes(data[:-2])
    (tmp_path / "half.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "whole.jpg").write_bytes(data)
    found = read_picture(tmp_path / "end.jpg", 32)
    assert [kind for kind, _ in found.remarks] == ["truncated"]
    np.testing.assert_array_equal(found.array, read_picture(tmp_path / "whole.jpg", 32).array)
    with pytest.raises(Unusable):
        read_picture(tmp_path / "half.jpg", 32)


def test_colours_by_the_profile_of_the_picture(tmp_path, card):
    """A profile of CIE XYZ: its red is no screen's red, so the pixels change; a broken profile is left aside."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    card.save(tmp_path / "srgb.png", icc_profile=profile)
    card.save(tmp_path / "plain.png")
    card.save(tmp_path / "broken.png", icc_profile=b"nonsense" * 20)
    swapped = _swapped(profile)
    card.save(tmp_path / "swapped.png", icc_profile=swapped)
    plain = read_picture(tmp_path / "plain.png", 16).array
    np.testing.assert_array_equal(read_picture(tmp_path / "srgb.png", 16).array, plain)
    broken = read_picture(tmp_path / "broken.png", 16)
    np.testing.assert_array_equal(broken.array, plain)
    assert [kind for kind, _ in broken.notes] == ["colours"]
    shown = read_picture(tmp_path / "swapped.png", 16).array.astype(int)
    assert shown[1, 2, 8] > 150 > shown[0, 2, 8]  # its red is a screen's green


def _swapped(profile: bytes) -> bytes:
    """A profile with red and green exchanged, under another description."""
    data = bytearray(profile.replace(b"s\x00R\x00G\x00B", b"t\x00e\x00s\x00t").replace(b"sRGB", b"test"))
    count = int.from_bytes(data[128:132], "big")
    places = {bytes(data[132 + 12 * k : 136 + 12 * k]): 132 + 12 * k for k in range(count)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(data)
