import math

import numpy as np
import pytest

from mmbal.data.media.decode import Unusable
from mmbal.data.media.recipe import Source
from mmbal.data.media.recipe_text import words
from mmbal.data.media.recipes import (
    AudioRecipe,
    FeatureRecipe,
    FlowRecipe,
    FramesRecipe,
    ImageRecipe,
    TextRecipe,
    recipe_from,
)


def test_the_field_s_spectrogram_has_its_shape_and_its_line(tmp_path, clip):
    recipe = AudioRecipe(features="spectrogram", sample_rate=22050, duration=3.0, n_fft=512, hop=353, fill="repeat")
    tone = 22050 / 512 * 40  # the centre of bin 40
    path = clip(tmp_path / "a.wav", seconds=1.0, rate=22050, tone=tone)
    picture = recipe.encode(Source(str(path))).array
    assert picture.shape == (257, 188) == recipe.shape[1:]
    assert picture.dtype == np.float16
    # Repeated, the tone fills all three seconds; only the two joints disturb it.
    assert (picture[:, 5:-5].argmax(axis=0) == 40).mean() > 0.95
    # A sine of amplitude a under a Hann window of n samples: |STFT| = a n / 4 in its bin.
    assert picture[40, 20] == pytest.approx(math.log(0.5 * 512 / 4), abs=0.02)


def test_zeros_fill_what_a_short_sound_lacks(tmp_path, clip):
    recipe = AudioRecipe(features="logmel", sample_rate=16000, duration=2.0, mels=40)
    picture = recipe.encode(Source(str(clip(tmp_path / "a.wav", seconds=1.0, rate=16000)))).array
    assert picture.shape == (40, 201)
    assert picture[:, 120:].max() == pytest.approx(math.log(1e-6), abs=0.02)  # silence is the floor
    assert picture[:, :90].max() > 0


def test_fbank_is_ten_millisecond_steps_padded_with_zeros(tmp_path, clip):
    recipe = AudioRecipe(features="fbank", sample_rate=16000, duration=10.0, mels=128, steps=1024)
    picture = recipe.encode(Source(str(clip(tmp_path / "a.wav", seconds=1.0, rate=16000)))).array
    assert picture.shape == (128, 1024)
    # 1 s of 25 ms windows every 10 ms: 1 + (16000 - 400) / 160 = 98 steps.
    assert (picture[:, 98:] == 0).all()
    assert (picture[:, :98] != 0).all()


@pytest.mark.parametrize("features", ["spectrogram", "logmel", "fbank"])
@pytest.mark.parametrize("duration", [0.05, 0.42, 3.0])
def test_the_announced_shape_is_the_shape(tmp_path, clip, features, duration):
    recipe = AudioRecipe(features=features, duration=duration)
    picture = recipe.encode(Source(str(clip(tmp_path / "a.wav", seconds=0.5, rate=8000)))).array
    assert picture.shape == recipe.stored_shape


def test_silence_clipping_and_shortness_are_remarked(tmp_path, clip):
    def kinds(**made):
        return [
            kind for kind, _ in AudioRecipe(duration=1.0).encode(Source(str(clip(tmp_path / "a.wav", **made)))).remarks
        ]

    n = 16000
    assert kinds(rate=n, wave=np.zeros(n)) == ["silent"]
    assert kinds(rate=n, wave=3 * np.sin(np.arange(n) / 5)) == ["clipped"]
    assert kinds(rate=n, wave=0.5 * np.sin(np.arange(n // 20) / 5)) == ["too short"]
    assert kinds(rate=n, wave=0.5 * np.sin(np.arange(n) / 5)) == []


def test_black_and_frozen_pictures_are_remarked(tmp_path, clip):
    def kinds(picture):
        path = clip(tmp_path / "a.mp4", picture=picture, audio=False)
        return [kind for kind, _ in FramesRecipe(size=16).encode(Source(str(path))).remarks]

    assert kinds(lambda k: np.zeros((64, 64, 3), np.uint8)) == ["black"]
    assert kinds(lambda k: np.full((64, 64, 3), 128, np.uint8)) == ["frozen"]
    assert kinds(None) == []


def test_a_single_picture_is_not_frozen(tmp_path):
    from PIL import Image

    Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(tmp_path / "1.png")
    assert FramesRecipe(frames=2, keep=4, size=8).encode(Source(str(tmp_path))).remarks == []


def test_frames_of_a_folder_in_the_order_of_their_names(tmp_path):
    from PIL import Image

    for k in range(10):
        Image.fromarray(np.full((20, 20, 3), 20 * k, np.uint8)).save(tmp_path / f"{k:05d}.png")
    decoded = FramesRecipe(frames=2, keep=5, size=8).encode(Source(str(tmp_path)))
    assert decoded.array[:, 0, 0, 0].tolist() == [20, 60, 100, 140, 180]  # the middles of five pairs
    image = ImageRecipe(size=8).encode(Source(str(tmp_path / "00003.png")))
    assert image.array.shape == (3, 8, 8)
    assert (image.array == 60).all()


def test_flow_stacks_both_directions(tmp_path):
    from PIL import Image

    for k in range(3):
        Image.fromarray(np.full((20, 20), 10 + k, np.uint8)).save(tmp_path / f"flow_x_{k}.png")
        Image.fromarray(np.full((20, 20), 110 + k, np.uint8)).save(tmp_path / f"flow_y_{k}.png")
    decoded = FlowRecipe(frames=3, keep=3, size=8).encode(Source(str(tmp_path)))
    assert decoded.array[:, :, 0, 0].tolist() == [[10, 110], [11, 111], [12, 112]]


def test_a_clip_is_no_text(tmp_path, clip):
    """What is given one file for all modalities must not read its bytes as words."""
    with pytest.raises(Unusable, match="not a text"):
        TextRecipe().encode(Source(str(clip(tmp_path / "a.mp4"))))


def test_texts_become_tokens():
    bytes_ = TextRecipe(tokens="bytes", length=5, vocabulary=257)
    assert bytes_.encode(Source(text="ab")).array.tolist() == [98, 99, 0, 0, 0]
    words = TextRecipe(tokens="words", length=4, vocabulary=100)
    ids = words.encode(Source(text="The cat the")).array.tolist()
    assert ids[0] == ids[2] != ids[1]
    assert ids[3] == 0
    assert all(0 < i < 100 for i in ids[:3])
    assert words.encode(Source(text="a b c d e")).remarks == [("truncated", "5 tokens, 4 are kept")]
    given = TextRecipe(tokens="ids", length=3, vocabulary=10)
    assert given.encode(Source(text="[3, 9]")).array.tolist() == [3, 9, 0]
    for wrong in ("10", "0", "x"):
        with pytest.raises(Unusable, match="ids"):
            given.encode(Source(text=wrong))


def test_features_are_checked_and_sequences_padded(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    np.savez(tmp_path / "b.npz", x=np.arange(4.0), y=np.array([1.0, np.nan]))
    sequence = FeatureRecipe(size=(4, 3)).encode(Source(str(tmp_path / "a.npy"))).array
    assert sequence.tolist() == [[1] * 3, [1] * 3, [0] * 3, [0] * 3]
    assert FeatureRecipe(size=(4,)).encode(Source(str(tmp_path / "b.npz"), key="x")).array.tolist() == [0, 1, 2, 3]
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object))
    for source, size, why in (
        (Source(str(tmp_path / "b.npz"), key="y"), (2,), "NaN"),
        (Source(str(tmp_path / "b.npz"), key="z"), (2,), "no array 'z'"),
        (Source(str(tmp_path / "b.npz")), (2,), "name one"),
        (Source(str(tmp_path / "b.npz"), key="x"), (3,), "shape"),
        (Source(str(tmp_path / "o.npy")), (1,), "pickled"),
    ):
        with pytest.raises(Unusable, match=why):
            FeatureRecipe(size=size).encode(source)


@pytest.mark.parametrize(
    "recipe",
    [
        AudioRecipe(mels=32),
        FramesRecipe(frames=2, keep=4),
        FlowRecipe(),
        ImageRecipe(),
        TextRecipe(),
        FeatureRecipe(size=(3,)),
    ],
)
def test_a_recipe_survives_its_store(recipe):
    assert recipe_from(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't stop, 2 times", ["don", "'", "t", "stop", ",", "2", "times"]),
        ("Café", ["café"]),
        ("Cafe\u0301", ["café"]),  # the accent as a character of its own
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs belong to their letter
        ("我爱你。", ["我", "爱", "你", "。"]),
        ("cat猫 dog", ["cat", "猫", "dog"]),
        ("прив\u0435т мир", ["привет", "мир"]),
        ("so 😀😀", ["so", "😀", "😀"]),
        ("snake_case", ["snake_case"]),
    ],
)
def test_words_of_any_language(text, found):
    assert words(text) == found


def test_a_text_file_in_any_encoding_has_the_same_tokens(tmp_path):
    text = "Ein süßer Käfer"
    recipe = TextRecipe(length=5)
    ids = recipe.encode(Source(text=text)).array.tolist()
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / "a.txt").write_bytes(text.encode(encoding))
        decoded = recipe.encode(Source(str(tmp_path / "a.txt")))
        assert decoded.array.tolist() == ids, encoding
        assert [kind for kind, _ in decoded.notes] == ["encoding"] * (encoding == "cp1252")
