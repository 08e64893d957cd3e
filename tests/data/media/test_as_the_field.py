"""Sound and pictures become the same numbers as with the libraries that this field uses, whatever the sound's rate.

Stated tolerances: 0.004 nats at every point of a spectrogram that is at most 80 dB below the loudest, and 0.02 nats in every
band of a filter bank. In a band that the source's rate does not reach, only rounding in single precision is left, about 150
dB below the loudest: there the mean difference is at most 0.3 nats and the correlation at least .97. Pictures: equal bytes.
"""

from __future__ import annotations

import wave

import numpy as np
import pytest
import torch
from PIL import Image

from mmbal.data.media.recipe import Source
from mmbal.data.media.recipe_audio import _resample
from mmbal.data.media.recipes import AudioRecipe, FramesRecipe, ImageRecipe
from mmbal.data.media.sound import read_audio

librosa = pytest.importorskip("librosa", reason="librosa is not installed (pip install librosa)")
FLOOR = 1e-4  # of the loudest: 80 dB below it
BANDS = 8  # of equal width, from the lowest to the highest frequency


@pytest.fixture(params=[8000, 16000, 44100, 48000])
def recording(request, tmp_path):
    """A file of 1.3 s: a sweep over the whole band in noise, 16 bits."""
    rate = request.param
    time = np.arange(int(1.3 * rate)) / rate
    sweep = np.sin(2 * np.pi * (100 * time + (0.45 * rate - 100) * time**2 / 2.6))
    sound = 0.3 * sweep + 0.05 * np.random.default_rng(rate).normal(size=len(time))
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((32767 * np.clip(sound, -1, 1)).astype("<i2").tobytes())
    return tmp_path / "sound.wav"


def by_band(values: np.ndarray) -> list[np.ndarray]:
    """The rows of each band."""
    return np.array_split(values, BANDS)


def test_sound(recording):
    """The loader alone: the samples at the field's rate, to the 16 bits of the file."""
    theirs, _ = librosa.load(recording, sr=22050)
    decoded, rate = read_audio(recording, None, None, 3.0)
    ours = _resample(decoded.array, rate, 22050)
    n = min(len(ours), len(theirs))
    assert abs(len(ours) - len(theirs)) <= 1
    assert np.abs(ours[:n] - theirs[:n]).max() < 1 / 32768


def test_spectrogram(recording):
    """As in the CREMA-D loaders: 3 s at 22,050 Hz, repeated, log magnitudes of 512 samples every 353."""
    sound, _ = librosa.load(recording, sr=22050)
    sound = np.clip(np.tile(sound, 3)[: 3 * 22050], -1, 1)
    magnitudes = np.abs(librosa.stft(sound, n_fft=512, hop_length=353))
    expected = np.log(magnitudes + 1e-7)
    recipe = AudioRecipe(features="spectrogram", sample_rate=22050, duration=3.0, n_fft=512, hop=353, fill="repeat")
    found = recipe.encode(Source(str(recording))).array.astype(np.float64)
    assert found.shape == expected.shape
    apart = np.abs(found - expected)
    assert apart[magnitudes > FLOOR * magnitudes.max()].max() < 0.004
    assert max(band.mean() for band in by_band(apart)) < 0.3
    for ours, theirs in zip(by_band(found), by_band(expected), strict=True):
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.97


def test_filter_banks(recording):
    """As in the loaders that follow AST: Kaldi's 128 bands every 10 ms at 16 kHz, without the mean, zeros at the end."""
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    sound = torch.from_numpy(librosa.load(recording, sr=16000)[0])
    bands = kaldi.fbank(
        (sound - sound.mean())[None], htk_compat=True, sample_frequency=16000, use_energy=False, window_type="hanning",
        num_mel_bins=128, dither=0.0, frame_shift=10,
    ).numpy()  # fmt: skip
    expected = np.zeros((128, 1024))
    expected[:, : len(bands)] = bands.T
    recipe = AudioRecipe(features="fbank", sample_rate=16000, duration=10.0, mels=128, steps=1024)
    apart = np.abs(recipe.encode(Source(str(recording))).array - expected)
    assert max(band.max() for band in by_band(apart)) < 0.02


def test_pictures_and_frames(tmp_path):
    """As torchvision's Resize((224, 224)) of a Pillow image: bilinear, with antialiasing."""
    transforms = pytest.importorskip("torchvision.transforms")
    folder = tmp_path / "clip"
    folder.mkdir()
    expected = []
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (40, 61, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((610, 400), Image.Resampling.BICUBIC)
        picture.save(folder / f"{k}.jpg")
        read = Image.open(folder / f"{k}.jpg").convert("RGB")
        expected.append(np.asarray(transforms.Resize(size=(224, 224))(read)).transpose(2, 0, 1))
    assert np.array_equal(ImageRecipe(size=224).encode(Source(str(folder / "0.jpg"))).array, expected[0])
    frames = FramesRecipe(size=224, frames=3, keep=3).encode(Source(str(folder))).array
    assert np.array_equal(frames, np.stack(expected))
