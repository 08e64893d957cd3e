"""Sound at another rate, against the same sound computed at that rate: the band is kept, and nothing is added above it."""

import numpy as np
import pytest
import torch

from mmbal.data.media.recipe_audio import _resample


def sound(rate: int, highest: float) -> np.ndarray:
    """Two seconds of forty tones up to ``highest`` Hz, as they are at any rate."""
    time = np.arange(2 * rate) / rate
    tones = np.linspace(100, highest, 40)
    return (np.sin(2 * np.pi * tones[:, None] * time + tones[:, None]).sum(axis=0) / 80).astype(np.float32)


def magnitudes(wave: np.ndarray) -> np.ndarray:
    """``|STFT| (513, T)``, without the edges, where sound begins and ends."""
    spectrum = torch.stft(torch.from_numpy(wave), 1024, 512, window=torch.hann_window(1024), return_complex=True).abs()
    return spectrum.numpy()[:, 5:-5]


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("target", [16000, 22050])
def test_the_band_is_kept_and_nothing_is_mirrored(rate, target):
    band = min(rate, target) / 2
    found = magnitudes(_resample(sound(rate, 0.85 * band), rate, target))
    expected = magnitudes(sound(target, 0.85 * band))[:, : found.shape[1]]
    frequency = np.linspace(0, target / 2, len(found))
    inside = (expected > 0.05) & (frequency < 0.9 * band)[:, None]
    assert inside.mean() > 0.05
    assert np.abs(np.log(found[inside] / expected[inside])).max() < 0.02  # 0.2 dB
    above = found[frequency > 1.05 * band]
    if len(above):
        assert above.max() < 1e-4 * expected.max()  # 80 dB below
