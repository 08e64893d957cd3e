"""Recipes: how one modality of one clip becomes the array that a store keeps; the same in preparation and prediction."""

from __future__ import annotations

import re
import zlib
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from mmbal.config import Config
from mmbal.data.media.decode import (
    Decoded,
    Unusable,
    check_file,
    read_audio,
    read_frames,
    read_picture,
    read_pictures,
)
from mmbal.data.store.store import Kind, ModalitySpec

SILENCE = 1e-3  # peak below -60 dB of full scale
CLIPPED = 0.01  # share of samples at full scale
BLACK = 6.0  # mean of the brightest picture, of 255
SHORT = 0.1  # share of the wanted duration below which sound counts as too short


@dataclass(frozen=True, slots=True)
class Source:
    """Where one modality of one sample lies: a file or folder, an array in it, or a text; seconds within a clip."""

    path: str = ""
    key: str = ""
    text: str = ""
    start: float | None = None
    end: float | None = None


class Recipe(Config):
    """Base of the recipes: ``encode`` gives the array that a store keeps, of ``stored_shape`` and ``dtype``."""

    @property
    @abstractmethod
    def kind(self) -> Kind: ...

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """One sample as an encoder sees it."""

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    @abstractmethod
    def dtype(self) -> str: ...

    @property
    def augment(self) -> dict[str, Any]:
        """What a loader may do to it in training."""
        return {}

    @abstractmethod
    def encode(self, source: Source) -> Decoded:
        """Read and convert one source; raises Unusable."""

    def spec(self, statistics: dict[str, list[float]]) -> ModalitySpec:
        """The modality as a store describes it."""
        preprocessing = {"recipe": self.model_dump(mode="json"), "augment": self.augment, **statistics}
        return ModalitySpec(kind=self.kind, shape=self.shape, preprocessing=preprocessing)


class AudioRecipe(Recipe):
    """Sound as a picture of frequency and time.

    spectrogram: log(\\|STFT\\| + 1e-7), n_fft / 2 + 1 bins; logmel: log of the mel powers + 1e-6; fbank: Kaldi's log-mel
    filter banks, 25 ms windows, silence beyond the end as zeros.
    """

    type: Literal["audio"] = "audio"
    features: Literal["spectrogram", "logmel", "fbank"] = "logmel"
    sample_rate: int = Field(16000, ge=1000, le=192000, description="Hz after resampling")
    duration: float = Field(3.0, gt=0, le=600, description="seconds kept from the clip's start")
    fill: Literal["zeros", "repeat"] = Field("zeros", description="what a shorter clip is filled up with")
    n_fft: int = Field(512, ge=32, description="samples a window")
    hop: int = Field(160, ge=1, description="samples between windows")
    mels: int = Field(64, ge=8, description="mel bands (logmel, fbank)")
    steps: int | None = Field(
        None, ge=1, description="time steps, where not given by the duration (fbank: cut or padded)"
    )

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

    def encode(self, source: Source) -> Decoded:
        decoded, rate = read_audio(Path(source.path), source.start, source.end, self.duration)
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
        return Decoded(self._picture(self._fit(wave)), decoded.seconds, remarks)

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
        bands = _mel_bank(self.n_fft // 2 + 1, self.mels, self.sample_rate) @ spectrum.square()
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
def _mel_bank(bins: int, mels: int, rate: int) -> Any:
    from torchaudio.functional import melscale_fbanks

    return melscale_fbanks(bins, 0.0, rate / 2, mels, rate, norm=None, mel_scale="htk").T.contiguous()


@lru_cache(maxsize=8)
def _resampler(rate: int, target: int) -> Any:
    from torchaudio.transforms import Resample

    return Resample(rate, target)


def _resample(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    if rate == target or not len(wave):
        return wave
    import torch

    return np.asarray(_resampler(rate, target)(torch.from_numpy(wave)))


class PictureRecipe(Recipe):
    """Base of what is made of pictures: bytes of a square, cropped and mirrored at random in training."""

    size: int = Field(224, ge=8, le=1024, description="pixels, height and width")
    crop: tuple[float, float] | None = Field((0.5, 1.0), description="area of random crops in training; null: none")
    flip: bool = Field(True, description="mirror at random in training")

    @property
    def dtype(self) -> str:
        return "uint8"

    @property
    def augment(self) -> dict[str, Any]:
        return ({"crop": self.crop} if self.crop else {}) | ({"flip": True} if self.flip else {})


class FramesRecipe(PictureRecipe):
    """Frames of a video, or of a folder of pictures: ``keep`` are stored, an encoder sees ``frames`` of them."""

    type: Literal["frames"] = "frames"
    frames: int = Field(3, ge=1, le=256, description="frames that an encoder sees")
    keep: int = Field(3, ge=1, le=1024, description="frames stored; training draws among them where they are more")
    fps: float | None = Field(None, gt=0, description="frames a second; evenly over the clip where not given")

    @property
    def kind(self) -> Kind:
        return "frames"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, 3, self.size, self.size)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return (self.keep, 3, self.size, self.size)

    def encode(self, source: Source) -> Decoded:
        decoded = read_frames(Path(source.path), self.keep, self.size, start=source.start, end=source.end, fps=self.fps)
        pictures = decoded.array
        if pictures[:, :, ::8, ::8].mean(axis=(1, 2, 3)).max() < BLACK:
            decoded.remarks.append(("black", "no frame is brighter than black"))
        elif decoded.distinct > 1 and (pictures == pictures[0]).all():
            decoded.remarks.append(("frozen", "all frames are the same picture"))
        return decoded


class FlowRecipe(FramesRecipe):
    """Optical flow computed elsewhere, as grey pictures: horizontal ones in ``Source.path`` and vertical ones in
    ``Source.key``, or ``flow_x*`` and ``flow_y*`` in one folder. Two channels; never mirrored, since that turns its sign.
    """

    type: Literal["flow"] = "flow"  # type: ignore[assignment]
    flip: Literal[False] = False

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, 2, self.size, self.size)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return (self.keep, 2, self.size, self.size)

    def encode(self, source: Source) -> Decoded:
        folder = Path(source.path)
        patterns = (
            [(folder, "*"), (Path(source.key), "*")] if source.key else [(folder, "flow_x*"), (folder, "flow_y*")]
        )
        across, up = (read_pictures(place, self.keep, self.size, pattern) for place, pattern in patterns)
        return Decoded(np.stack([across.array[:, 0], up.array[:, 0]], axis=1), None, across.remarks + up.remarks)


class ImageRecipe(PictureRecipe):
    """A picture."""

    type: Literal["image"] = "image"

    @property
    def kind(self) -> Kind:
        return "image"

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, self.size, self.size)

    def encode(self, source: Source) -> Decoded:
        decoded = read_picture(Path(source.path), self.size)
        if decoded.array.mean() < BLACK:
            decoded.remarks.append(("black", "the picture is black"))
        return decoded


class TextRecipe(Recipe):
    """A text as token ids, 0 beyond its end: its UTF-8 bytes (1 to 256), or its words hashed into a vocabulary."""

    type: Literal["text"] = "text"
    tokens: Literal["bytes", "words", "ids"] = Field(
        "words", description="ids: the text is already numbers, in [1, vocabulary)"
    )
    length: int = Field(64, ge=1, le=8192, description="tokens kept")
    vocabulary: int = Field(8192, ge=2, description="number of different ids, 0 among them")

    @property
    def kind(self) -> Kind:
        return "text"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @property
    def dtype(self) -> str:
        return "int32"

    def encode(self, source: Source) -> Decoded:
        text = source.text
        if source.path:
            check_file(Path(source.path))
            text = Path(source.path).read_text(encoding="utf-8", errors="replace")
            if "\0" in text:
                raise Unusable("corrupt", "not a text")
        if not text.strip():
            raise Unusable("empty", "no text")
        ids = self._ids(text)
        remarks = [("truncated", f"{len(ids)} tokens, {self.length} are kept")] if len(ids) > self.length else []
        row = np.zeros(self.length, dtype=np.int32)
        row[: min(len(ids), self.length)] = ids[: self.length]
        return Decoded(row, None, remarks)

    def spec(self, statistics: dict[str, list[float]]) -> ModalitySpec:
        preprocessing = {**super().spec(statistics).preprocessing, "vocabulary": self.vocabulary}
        return ModalitySpec(kind=self.kind, shape=self.shape, preprocessing=preprocessing)

    def _ids(self, text: str) -> list[int]:
        if self.tokens == "bytes":
            return [byte + 1 for byte in text.encode()]
        if self.tokens == "words":
            return [
                1 + zlib.crc32(word.encode()) % (self.vocabulary - 1)
                for word in re.findall(r"\w+|[^\w\s]", text.lower())
            ]
        try:
            ids = [int(token) for token in re.split(r"[\s,]+", text.strip(" []\n"))]
        except ValueError:
            raise Unusable("corrupt", "token ids that are not whole numbers") from None
        if not all(0 < i < self.vocabulary for i in ids):
            raise Unusable("corrupt", f"token ids outside 1 to {self.vocabulary - 1}")
        return ids


class FeatureRecipe(Recipe):
    """An array computed elsewhere, from ``.npy`` or ``.npz#key``: a vector (D,), or a sequence cut or padded to (T, D)."""

    type: Literal["feature"] = "feature"
    size: tuple[int, ...] = Field(description="(D,) or (T, D)")

    @property
    def kind(self) -> Kind:
        return "features" if len(self.size) == 1 else "sequence"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size

    @property
    def dtype(self) -> str:
        return "float32"

    def encode(self, source: Source) -> Decoded:
        array = read_array(Path(source.path), source.key)
        if array.ndim == len(self.size) == 2 and array.shape[1] == self.size[1]:
            padded = np.zeros(self.size, dtype=np.float32)
            padded[: len(array)] = array[: self.size[0]]
            array = padded
        if array.shape != self.size:
            raise Unusable("corrupt", f"shape {array.shape}, the others have {self.size}")
        if not np.isfinite(array).all():
            raise Unusable("corrupt", "NaN or infinite values")
        return Decoded(array.astype(np.float32))


def read_array(path: Path, key: str = "") -> np.ndarray:
    """A numeric array from ``.npy`` or, by its key, from ``.npz``; pickles are never read. Raises Unusable."""
    check_file(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            array = loaded
        else:
            with loaded:
                if not key and len(loaded.files) != 1:
                    raise Unusable(
                        "corrupt", f"several arrays; name one as {path.name}#KEY: {', '.join(loaded.files[:8])}"
                    )
                name = key or loaded.files[0]
                if name not in loaded.files:
                    raise Unusable("corrupt", f"no array '{name}'; it has {', '.join(loaded.files[:8])}")
                array = loaded[name]
    except Unusable:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on a damaged archive
        pickled = "pickle" in str(error).lower()
        raise Unusable("corrupt", "pickled objects, never read" if pickled else f"not an array ({error})") from None
    if array.dtype.kind not in "fiub":
        raise Unusable("corrupt", f"not numbers (dtype {array.dtype})")
    return array


AnyRecipe = Annotated[
    AudioRecipe | FramesRecipe | FlowRecipe | ImageRecipe | TextRecipe | FeatureRecipe, Field(discriminator="type")
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyRecipe)


def recipe_from(values: dict[str, Any]) -> Recipe:
    """The recipe that a store's ``preprocessing["recipe"]`` describes."""
    recipe: Recipe = _ADAPTER.validate_python(values)
    return recipe
