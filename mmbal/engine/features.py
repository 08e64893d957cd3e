"""The features of frozen encoders, computed once: kept in the user's cache and shared by the runs of a sweep.

An array is named by a hash of all that it follows from: the store, the encoder with its weights, what the fusion takes
(features or tokens), and the number of augmented views. Inputs that are augmented at random have other features in each
epoch, so they are cached as a number of views, or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from mmbal.data.store.loader import Loader, is_augmented
from mmbal.data.store.store import Store
from mmbal.engine.config import TrainConfig
from mmbal.files import atomic, cache_folder, locked
from mmbal.models.encoders import Encoder
from mmbal.models.modes import evaluating
from mmbal.models.multimodal import MultimodalClassifier

FOLDER = "features"  # of the cache
ROWS = 64  # encoded at once
SEED = 0  # of the views, which the runs of all seeds share


@dataclass
class CachedFeatures:
    """By modality the features of every row of a store ``(N, ...)``, and those of augmented views ``(K, N, ...)``."""

    model: MultimodalClassifier
    plain: dict[str, np.ndarray]
    views: dict[str, np.ndarray]
    hashes: dict[str, str]  # of the encoders
    versions: list[int]

    def valid(self) -> bool:
        """Whether the encoders still are those that were cached; a method may have changed them."""
        now = versions(self.model)
        if now != self.versions and self.hashes == {m: hash_of(e) for m, e in self.model.encoders.items()}:
            self.versions = now  # the same weights were loaded again
        return now == self.versions

    def of(self, rows: np.ndarray, seed: Sequence[int] | None) -> dict[str, Tensor]:
        """The features of rows ``(B, ...)``; with a ``seed`` those of views that are drawn for each row."""
        found = {}
        for m, plain in self.plain.items():
            views = self.views.get(m)
            if views is None or seed is None:
                found[m] = torch.from_numpy(plain[rows])
            else:
                drawn = np.random.default_rng([*seed, 1]).integers(len(views), size=len(rows))
                found[m] = torch.from_numpy(views[drawn, rows])
        return found


def why_not(store: Store, config: TrainConfig) -> str:
    """Why the features of frozen encoders are not cached; empty where they are."""
    assert config.modalities is not None
    augmented = [m for m in config.modalities if is_augmented(store, m)] if config.augment else []
    if augmented and config.views is None:
        return (
            f"Features are not cached: {', '.join(augmented)} is augmented at random, so features differ in each epoch. "
            "--views 8 caches so many augmented views; --set augment=false caches one without augmentation."
        )
    return ""


def cached_features(
    model: MultimodalClassifier, store: Store, config: TrainConfig, device: torch.device
) -> CachedFeatures:
    """The features of a model's encoders on a store, from the cache or computed now, without gradients."""
    hashes = {m: hash_of(encoder) for m, encoder in model.encoders.items()}
    plain, views = {}, {}
    with evaluating(model):
        for m in model.modalities:
            plain[m] = _array(model, store, m, None, hashes[m], device)
            if config.augment and is_augmented(store, m):
                views[m] = _array(model, store, m, config.views, hashes[m], device)
    return CachedFeatures(model, plain, views, hashes, versions(model))


def versions(model: MultimodalClassifier) -> list[int]:
    """Numbers that grow when the weights of an encoder are written to."""
    return [tensor._version for tensor in (*model.encoders.parameters(), *model.encoders.buffers())]


def hash_of(module: nn.Module) -> str:
    """SHA-256 of the names and values of a module's state, in any memory layout and on any device."""
    found = hashlib.sha256()
    for name, value in module.state_dict().items():
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def _array(
    model: MultimodalClassifier, store: Store, m: str, views: int | None, encoder: str, device: torch.device
) -> np.ndarray:
    """One array of the cache; where that can't be written, in memory alone."""
    spec = store.modalities[m].model_dump(mode="json")
    stated = {"store": store.hash, "encoder": encoder, "kind": str(type(model.encoders[m])), "spec": spec}
    key = hashlib.sha256(json.dumps([stated, model.fusion.takes, views], sort_keys=True).encode()).hexdigest()
    file = cache_folder() / FOLDER / f"{key}.npy"
    with locked(file, wait=True):  # another run of a sweep may be computing it
        if not file.is_file():
            made = _computed(model, store, m, views, device)
            with suppress(OSError), atomic(file) as temporary, temporary.open("wb") as stream:
                np.save(stream, made, allow_pickle=False)
            return made
    return _opened(file)


def _opened(file: Path) -> np.ndarray:
    return cast(np.ndarray, np.load(file, mmap_mode="r", allow_pickle=False))


@torch.no_grad()
def _computed(model: MultimodalClassifier, store: Store, m: str, views: int | None, device: torch.device) -> np.ndarray:
    """Features of a modality: of all rows as they are, or ``views`` times of all training rows, and zeros elsewhere."""
    encoder = cast(Encoder, model.encoders[m])
    read = encoder.tokens if model.fusion.takes == "tokens" else encoder
    found: np.ndarray | None = None
    rows = np.arange(len(store)) if views is None else store.rows("train")
    loader = Loader(store, "train", ROWS, augment=views is not None, seed=SEED, modalities=[m], device=device)
    for view in range(views or 1):
        for number, start in enumerate(range(0, len(rows), ROWS)):
            some = rows[start : start + ROWS]
            inputs = loader.inputs(some, slice(None), None if views is None else [SEED, view, number])[m]
            made = read(inputs).float().cpu().numpy()
            if found is None:
                found = np.zeros((views or 1, len(store), *made.shape[1:]), np.float32)
            found[view, some] = made
    assert found is not None
    return found[0] if views is None else found
