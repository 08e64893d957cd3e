"""The recipe of sound: a picture of frequency and time."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from mmbal.data.media.decode import Decoded, Unusable
from mmbal.data.media.recipe import Recipe, Source
from mmbal.data.store.store import Kind

if TYPE_CHECKING:
    from mmbal.data.media.container import Clips

SILENCE = 1e-3  # peak below -60 dB of full scale
CLIPPED = 0.01  # share of samples at full scale
SHORT = 0.1  # share of the wanted duration below which sound counts as too short


class AudioRecipe(Recipe):
    """Sound as a picture of frequency and time.

    spectrogram: log(\\|STFT\\| + 1e-7), n_fft / 2 + 1 bins; logmel: log of the mel powers + 1e-6; fbank: Kaldi's log-mel
    filter banks, 25 ms windows, silence beyond the end as zeros.
    """

    type: Literal["audio"] = "audio"
    features: Literal["spectrogram", "logmel", "fbank"] = Field("logmel", description="picture made of the sound")
    sample_rate: int = Field(16000, ge=1000, le=192000, description="Hz after resampling")
    duration: float = Field(3.0, gt=0, le=600, description="seconds of sound kept")
    fill: Literal["zeros", "repeat"] = Field("zeros", description="what a shorter clip is filled up with")
    n_fft: int = Field(512, ge=32, description="samples of a window")
    hop: int = Field(160, ge=1, description="samples from one window to the next")
    mels: int = Field(64, ge=8, description="mel bands (logmel, fbank)")
    steps: int | None = Field(None, ge=1, description="time steps that an fbank picture is cut or padded to")

    @property
    def kind(self) -> Kind:
        return "spectrogram"

    @property
    def samples(self) -> int:
        return round(self.duration * self.sample_rate)

    @property
    def shape(self) -> tuple[int, ...]:
        if self.features == "fbank":
            return (1, self.mels, self.steps or max(1, 1 + (self.samples - self._window) // self.hop))
        bins = self.mels if self.features == "logmel" else self.n_fft // 2 + 1
        return (1, bins, 1 + self.samples // self.hop)

    @property
    def _window(self) -> int:
        return round(0.025 * self.sample_rate)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return self.shape[1:]

    @property
    def dtype(self) -> str:
        return "float16"

    def encode(self, source: Source, clips: Clips | None = None) -> Decoded:
        from mmbal.data.media.sound import read_audio

        decoded, rate = read_audio(source.place(clips), source.start, source.end, self.duration)
        wave = decoded.array
        remarks = decoded.remarks
        peak = float(np.abs(wave).max()) if len(wave) else 0.0
        if not np.isfinite(peak):
            raise Unusable("corrupt", "samples that are not numbers")
        if peak < SILENCE:
            remarks.append(("silent", f"peak {peak:.5f} of full scale"))
        elif (share := float((np.abs(wave) >= 0.999).mean())) > CLIPPED:
            remarks.append(("clipped", f"{100 * share:.0f} % of the samples at full scale"))
        wave = _resample(wave, rate, self.sample_rate)
        if len(wave) < max(SHORT * self.samples, self._window):
            remarks.append(("too short", f"{len(wave) / self.sample_rate:.2f} s of sound for {self.duration:.2f} s"))
        return Decoded(self._picture(self._fit(wave)), decoded.seconds, remarks, notes=decoded.notes)

    def _fit(self, wave: np.ndarray) -> np.ndarray:
        wave = wave[: self.samples]
        if self.fill == "repeat" and len(wave):
            return np.resize(wave, self.samples)
        if self.features == "fbank":
            return wave if len(wave) >= self._window else np.pad(wave, (0, self._window - len(wave)))
        return np.pad(wave, (0, self.samples - len(wave)))

    def _picture(self, wave: np.ndarray) -> np.ndarray:
        import torch

        sound = torch.from_numpy(wave)
        if self.features == "fbank":
            return self._fbank(sound)
        window = torch.hann_window(self.n_fft)
        spectrum = torch.stft(
            sound, self.n_fft, self.hop, window=window, center=True, pad_mode="constant", return_complex=True
        ).abs()
        if self.features == "spectrogram":
            return torch.log(spectrum + 1e-7).numpy().astype(np.float16)
        bands = mel_bank(self.n_fft // 2 + 1, self.mels, self.sample_rate) @ spectrum.square()
        return torch.log(bands + 1e-6).numpy().astype(np.float16)

    def _fbank(self, sound: Any) -> np.ndarray:
        from torchaudio.compliance import kaldi

        bands = kaldi.fbank(
            (sound - sound.mean())[None],
            sample_frequency=self.sample_rate,
            num_mel_bins=self.mels,
            frame_shift=1000 * self.hop / self.sample_rate,
            window_type="hanning",
            htk_compat=True,
            use_energy=False,
            dither=0.0,
        ).numpy()
        steps = self.shape[2]
        picture = np.zeros((self.mels, steps), dtype=np.float16)
        picture[:, : min(steps, len(bands))] = bands[:steps].T
        return picture


@lru_cache(maxsize=4)
def mel_bank(bins: int, mels: int, rate: int) -> Any:
    from torchaudio.functional import melscale_fbanks

    return melscale_fbanks(bins, 0.0, rate / 2, mels, rate, norm=None, mel_scale="htk").T.contiguous()


def _resample(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    """By soxr's high quality, as librosa's loader does. A filter with a weaker stop band leaves mirrored sound above the
    source's band, and the logarithm of a spectrogram shows it.
    """
    if rate == target or not len(wave):
        return wave
    import soxr

    return np.asarray(soxr.resample(wave, rate, target, quality="HQ"), dtype=np.float32)
