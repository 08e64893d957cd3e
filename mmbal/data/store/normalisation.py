"""How the values of a store become the inputs of an encoder: by the train split's moments, or as another project does it.

A store keeps values as they are: pictures as bytes, sound as log powers. So the choice is a setting of the store or of a
run, and nothing has to be prepared again. It is one text for each modality:

- ``dataset``: less the train split's mean, over its standard deviation; the default;
- ``none``: as they are; pictures in [0, 1];
- ``imagenet``: pictures less ImageNet's mean colour, over its deviation, as torchvision's trained networks expect it;
- ``MEAN,STD``: two numbers; of pictures in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mmbal.data.store.store import ModalitySpec, Store
from mmbal.errors import UsageError, did_you_mean

WAYS = ("dataset", "none", "imagenet", "MEAN,STD")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WHITE = 255.0  # of a picture's bytes
PICTURES = ("image", "frames")


class Preset(NamedTuple):
    """What a published repository feeds its encoders: options of preparation, and the normalisation of each modality."""

    about: str
    options: dict[str, object]
    normalise: dict[str, str]


# Read in the repositories: dataset/CramedDataset.py of OGM-GE (CVPR 2022); the loaders of Kinetics-Sounds that take the
# filter banks and moments of AST (arXiv 2104.01778), which divides by twice the deviation.
PRESETS = {
    "ogm_ge": Preset(
        "3 s at 22,050 Hz, repeated where shorter; log spectrogram as it is; pictures by ImageNet's moments",
        {
            "audio_features": "spectrogram",
            "sample_rate": 22050,
            "duration": 3.0,
            "n_fft": 512,
            "hop": 353,
            "fill": "repeat",
            "crop": (0.08, 1.0),
        },
        {"audio": "none", "video": "imagenet"},
    ),
    "ast": Preset(
        "Kaldi's filter banks, 128 bands, 1,024 steps, by AudioSet's moments; pictures by ImageNet's moments",
        {"audio_features": "fbank", "sample_rate": 16000, "mels": 128, "steps": 1024},
        {"audio": "-4.503877,10.282552", "video": "imagenet"},
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name; raises UsageError where there is none."""
    if name not in PRESETS:
        raise UsageError(f"There is no preset '{name}'.", did_you_mean(name, PRESETS))
    return PRESETS[name]


def normalised(spec: ModalitySpec, how: str, modality: str) -> ModalitySpec:
    """The spec with its values normalised in another way; raises UsageError where that can't be."""
    if spec.kind == "text":
        raise UsageError(f"'{modality}' is text, which has no values to normalise.")
    if how == "imagenet" and (spec.kind not in PICTURES or spec.shape[-3] != 3):
        raise UsageError(
            f"'{modality}' is {spec.kind} of shape {spec.shape}; ImageNet's moments are for pictures of three colours.",
            f"Give dataset, none or MEAN,STD: {modality}=none",
        )
    if how not in WAYS[:3]:
        numbers(how, modality)
    return spec.model_copy(update={"preprocessing": {**spec.preprocessing, "normalise": how}})


def with_normalisation(store: Store, ways: Mapping[str, str]) -> Store:
    """The store with the modalities in ``ways`` normalised in another way; raises UsageError where that can't be."""
    chosen = {m: normalised(store.require(m), how, m) for m, how in ways.items()}
    return replace(store, modalities={**store.modalities, **chosen}) if chosen else store


def numbers(text: str, modality: str) -> tuple[float, float]:
    """Mean and standard deviation of the text ``MEAN,STD``; raises UsageError where it is none."""
    try:
        mean, std = map(float, text.split(","))
    except ValueError:
        raise UsageError(
            f"'{modality}' can't be normalised by '{text}'.",
            f"Give dataset, none, imagenet or MEAN,STD: {modality}=0.5,0.5",
        ) from None
    if not (np.isfinite(mean) and 0 < std < np.inf):
        raise UsageError(f"'{modality}' can't be normalised by '{text}': the deviation must be above 0.")
    return mean, std


def moments_of(spec: ModalitySpec, modality: str = "") -> tuple[np.ndarray, np.ndarray] | None:
    """What is subtracted from the stored values, and what they are divided by: one value, or one a channel or dimension.

    None where the values stay as they are.
    """
    how = spec.preprocessing.get("normalise", "dataset")
    scale = WHITE if spec.kind in PICTURES else 1.0
    if how == "dataset":
        if "mean" not in spec.preprocessing:
            return None
        mean, std = spec.preprocessing["mean"], spec.preprocessing["std"]
        return np.array(mean, dtype=np.float64), np.array(std, dtype=np.float64)
    if how == "none":
        return None if scale == 1.0 else (np.zeros(1), np.full(1, scale))
    mean, std = IMAGENET if how == "imagenet" else numbers(how, modality)
    return scale * np.atleast_1d(mean), scale * np.atleast_1d(std)
