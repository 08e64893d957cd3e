"""What a store holds of a sample, as something to look at, to read or to hear on a page."""

from __future__ import annotations

import base64
import io
import wave
from dataclasses import dataclass

import numpy as np

from mmbal.data.store.store import ModalitySpec, Store

FRAMES = 5  # of a clip, spread over it
LEAST_HEIGHT = 84  # pixels of a picture on a page; smaller ones are enlarged without smoothing
GRIFFIN_LIM = 24  # rounds, after which the sound hardly changes


@dataclass(frozen=True)
class Medium:
    """A picture, a text or a sound of one modality; ``data`` is a ``data:`` address, or the text itself."""

    modality: str
    kind: str  # picture, text or sound
    data: str
    told: str  # what it is, in words


def shown(store: Store, modality: str, row: int) -> Medium | None:
    """What there is to see or to read of a sample; None where it is missing, or has no form for people (features)."""
    spec = store.modalities[modality]
    if not store.present[modality][row]:
        return None
    value = np.asarray(store.arrays[modality][row])
    if spec.kind == "spectrogram":
        return Medium(modality, "picture", _png(_grey(value)[::-1]), "spectrogram, low frequencies at the bottom")
    if spec.kind == "image":
        return Medium(modality, "picture", _png(_pixels(value)), "picture")
    if spec.kind == "frames":
        chosen = value[np.linspace(0, len(value) - 1, min(FRAMES, len(value))).round().astype(int)]
        strip = _pixels(np.concatenate(list(chosen), axis=-1))
        return Medium(modality, "picture", _png(strip), f"{len(chosen)} frames")
    if spec.kind == "text" and (spec.preprocessing.get("recipe") or {}).get("tokens") == "bytes":
        text = bytes(int(i) - 1 for i in value if i > 0).decode("utf-8", "replace")
        return Medium(modality, "text", text, "text")
    return None


def heard(store: Store, modality: str, row: int) -> Medium | None:
    """The sound of a spectrogram, rebuilt by :func:`griffin_lim`; None where the store does not say how it was made."""
    spec = store.modalities[modality]
    recipe = spec.preprocessing.get("recipe") or {}
    if spec.kind != "spectrogram" or recipe.get("features") not in ("logmel", "spectrogram"):
        return None
    sound = griffin_lim(np.asarray(store.arrays[modality][row], dtype=np.float32), spec)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(recipe["sample_rate"])
        file.writeframes((32767 * sound / max(1e-6, float(np.abs(sound).max()))).astype("<i2").tobytes())
    told = "sound, rebuilt from the spectrogram"
    return Medium(modality, "sound", f"data:audio/wav;base64,{base64.b64encode(out.getvalue()).decode()}", told)


def griffin_lim(log_power: np.ndarray, spec: ModalitySpec) -> np.ndarray:
    """A waveform whose spectrogram is near ``log_power (..., F, T)``; phases are found by turns, which sounds hollow.

    Source: Griffin and Lim 1984; the phases start at random, from a fixed seed.
    """
    import torch

    from mmbal.data.media.recipe_audio import mel_bank

    recipe = spec.preprocessing["recipe"]
    n_fft, hop = recipe["n_fft"], recipe["hop"]
    values = torch.from_numpy(np.ascontiguousarray(log_power.reshape(log_power.shape[-2:]))).exp()
    if recipe["features"] == "logmel":
        bank = mel_bank(n_fft // 2 + 1, recipe["mels"], recipe["sample_rate"])
        magnitude = (torch.linalg.pinv(bank) @ values).clamp(min=0).sqrt()
    else:
        magnitude = values
    window = torch.hann_window(n_fft)
    phase = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    sound = torch.zeros(0)
    for _ in range(GRIFFIN_LIM):
        sound = torch.istft(torch.polar(magnitude, phase), n_fft, hop, window=window)
        phase = torch.stft(sound, n_fft, hop, window=window, return_complex=True).angle()[:, : magnitude.shape[1]]
    return np.asarray(sound.numpy())


def _grey(values: np.ndarray) -> np.ndarray:
    """A spectrogram ``(..., F, T)`` as grey levels, dark where it is loud."""
    picture = values.reshape(values.shape[-2:]).astype(np.float32)
    low, high = np.quantile(picture, [0.02, 0.995])
    return (255 * (1 - np.clip((picture - low) / max(high - low, 1e-6), 0, 1))).astype(np.uint8)


def _pixels(value: np.ndarray) -> np.ndarray:
    """A stored picture ``(C, H, W)`` as ``(H, W)`` or ``(H, W, 3)``; one that is not of bytes spans black to white."""
    picture = value
    if value.dtype != np.uint8:
        low, high = float(value.min()), float(value.max())
        picture = (255 * (value.astype(np.float32) - low) / max(high - low, 1e-6)).astype(np.uint8)
    return picture[0] if len(picture) == 1 else picture[:3].transpose(1, 2, 0)


def _png(pixels: np.ndarray) -> str:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    times = -(-LEAST_HEIGHT // picture.height)
    if times > 1:
        picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
