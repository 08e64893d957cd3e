"""Batches from a store: whole batches gathered from the memory map, normalised and augmented as batches.

The only state is ``(seed, epoch)``: the same pair gives the same batches, whatever was read before, on any number of
processes, so a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmbal.data.store.batch import Batch as Batch
from mmbal.data.store.batch import Encoded, Features, unread
from mmbal.data.store.normalisation import moments_of
from mmbal.data.store.store import Array, ModalitySpec, Store
from mmbal.errors import UsageError

AHEAD = {"cpu": 1}  # batches that are made while one is used, by device; 3 on others


class Loader:
    """Batches of one split of a store.

    ``shuffle`` permutes the rows anew each epoch. ``augment`` is for training: random resized crops and flips where
    the store allows them, and random frames where it keeps more than an encoder sees; without it the frames are the
    fixed middle ones. ``rank`` and ``world`` give a process its contiguous share of every global batch of
    ``batch_size``; all processes see the batches of a single process. Every row is seen once an epoch: a remainder of
    less than an eighth of a batch (or of one row a process) joins the batch before it, since batch normalisation needs
    several rows.

    With ``features`` a batch has those too, and its inputs are read only where something asks for them.

    Batches are on ``device``: what is stored goes there as it is (pictures as bytes), and is cropped and normalised there.
    ``ahead`` batches are made while one is used: 1 on a CPU, which has no time to spare, and 3 elsewhere, where a disk
    may be slow for one of them. Their number changes no bit.

    Raises UsageError for an unknown split or modality and for a batch smaller than the number of processes.
    """

    def __init__(
        self,
        store: Store,
        split: str,
        batch_size: int,
        *,
        shuffle: bool = False,
        augment: bool = False,
        seed: int = 0,
        modalities: Sequence[str] | None = None,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
        ahead: int | None = None,
    ) -> None:
        if batch_size < world:
            raise UsageError(f"A batch of {batch_size} can't be shared by {world} processes.", "Use a larger batch.")
        self.store = store
        self.split = split
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.augment = augment
        self.seed = seed
        self.rank = rank
        self.world = world
        self.device = torch.device(device)
        self.ahead = AHEAD.get(self.device.type, 3) if ahead is None else ahead
        self.specs = {m: store.require(m) for m in (modalities or store.modalities)}
        self.split_rows = store.rows(split)
        self.features: Features | None = None
        self._moments = {m: statistics(spec, self.device) for m, spec in self.specs.items()}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.store.classes

    @property
    def n_samples(self) -> int:
        """Rows of the split, over all processes."""
        return len(self.split_rows)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._bounds(self.n_samples)) - 1

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the first epoch, as of any loader."""
        return self.epoch(0)

    def _bounds(self, n: int) -> list[int]:
        bounds = [*range(0, n, self.batch_size), n]
        if len(bounds) > 2 and bounds[-1] - bounds[-2] < max(2, self.batch_size // 8, self.world):
            del bounds[-2]
        return bounds

    def epoch(
        self, e: int, rows: np.ndarray | Sequence[np.ndarray] | None = None, skip: int = 0, every: int = 1
    ) -> Iterator[Batch]:
        """The batches of epoch ``e``; ``rows`` replaces the split's rows (repeats allowed), for resampling methods.

        Several arrays of rows give batches of their own, one array after the other; an empty one gives none. While one
        batch is used, threads make the next. The first ``skip`` batches are not read; of the others, each ``every``-th.
        """
        with ThreadPoolExecutor(self.ahead) as pool:
            made: deque[Future[Batch]] = deque()
            for plan in islice(self._plan(e, rows), skip, None, every):
                made.append(pool.submit(self._batch, *plan))
                if len(made) > self.ahead:
                    yield made.popleft().result()
            while made:
                yield made.popleft().result()

    def _plan(
        self, e: int, rows: np.ndarray | Sequence[np.ndarray] | None
    ) -> Iterator[tuple[np.ndarray, slice, list[int] | None]]:
        """For each batch the rows of all processes, this one's share, and the seed of what is drawn."""
        random = np.random.default_rng([self.seed, e])
        position = 0
        given = self.split_rows if rows is None else rows
        for group in [given] if isinstance(given, np.ndarray) else given:
            order = random.permutation(group) if self.shuffle else group
            for start, stop in pairwise(self._bounds(len(order))):
                size = stop - start
                share = slice(self.rank * size // self.world, (self.rank + 1) * size // self.world)
                # Randomness is drawn for the whole global batch, so that a share sees what one process would give it.
                yield order[start:stop], share, [self.seed, e, position] if self.augment else None
                position += 1

    def gather(self, rows: np.ndarray) -> Batch:
        """The given rows as one batch, as evaluation sees them."""
        return self._batch(np.asarray(rows, dtype=np.int64), slice(None), None)

    def _batch(self, rows: np.ndarray, share: slice, seed: list[int] | None) -> Batch:
        mine = rows[share]
        present = {m: sent(self.store.present[m][mine], self.device) for m in self.specs}
        labels, index = sent(self.store.labels[mine].astype(np.int64), self.device), sent(mine, self.device)
        if self.features is None or not self.features.valid():
            return Batch(self.inputs(rows, share, seed), labels, index, present, whole=len(rows))
        batch = Batch(unread(lambda: self.inputs(rows, share, seed)), labels, index, present, whole=len(rows))
        known = {m: x[share].to(self.device) for m, x in self.features.of(rows, seed).items()}
        batch.encoded = Encoded(batch.inputs, known)
        return batch

    def inputs(self, rows: np.ndarray, share: slice, seed: list[int] | None) -> dict[str, Tensor]:
        """The inputs of a ``share`` of the rows, augmented as drawn for all of them from the ``seed``, if there is one."""
        mine = rows[share]
        inputs = {}
        for m, spec in self.specs.items():
            array = self.store.arrays[m]
            draw = Draw()
            if seed is not None:
                # A generator for each modality: what one sees does not depend on which others are loaded.
                rng = np.random.default_rng([*seed, zlib.crc32(m.encode())])
                draw = Draw.of(spec, len(rows), array.shape, rng).take(share)
            stored = sent(stored_rows(array, mine, spec, draw.frames), self.device)
            x = to_input(stored, spec, self._moments[m], draw)
            x[sent(~self.store.present[m][mine], self.device)] = 0
            inputs[m] = x
        return inputs


def sent(values: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor on a device; to CUDA through pinned memory, so that nothing waits for the copy."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@dataclass
class Draw:
    """The random choices for B samples of one modality: frames ``(B, T)``, crops ``(B, 4)``, flips ``(B,)``."""

    frames: np.ndarray | None = None
    crop: np.ndarray | None = None  # left, top, width, height, as fractions of the picture
    flip: np.ndarray | None = None

    @classmethod
    def of(cls, spec: ModalitySpec, n: int, stored: tuple[int, ...], rng: np.random.Generator) -> Draw:
        draw = cls()
        if spec.kind == "frames" and stored[1] > spec.shape[0]:
            draw.frames = random_frames(stored[1], spec.shape[0], n, rng)
        augment = spec.preprocessing.get("augment") or {}
        if "crop" in augment:
            draw.crop = random_crops(n, tuple(augment["crop"]), rng)
        if augment.get("flip"):
            draw.flip = rng.random(n) < 0.5
        return draw

    def take(self, share: slice) -> Draw:
        return Draw(*(None if x is None else x[share] for x in (self.frames, self.crop, self.flip)))


def is_augmented(store: Store, modality: str) -> bool:
    """Whether training may see a modality otherwise than it is: cropped, mirrored, or in frames drawn at random."""
    spec, stored = store.modalities[modality], store.arrays[modality].shape
    return bool(spec.preprocessing.get("augment")) or (spec.kind == "frames" and stored[1] > spec.shape[0])


def stored_rows(array: Array, rows: np.ndarray, spec: ModalitySpec, frames: np.ndarray | None = None) -> np.ndarray:
    """Rows of a store's array; of frames those that an encoder sees: ``frames (B, T)``, or else the fixed middle ones."""
    if spec.kind != "frames":
        return array[rows]
    chosen = middle_frames(array.shape[1], spec.shape[0])[None] if frames is None else frames
    return array[rows[:, None], chosen]


def middle_frames(stored: int, wanted: int) -> np.ndarray:
    """``wanted`` of ``stored`` frames, fixed: the middle of as many equal parts of the clip."""
    return ((np.arange(wanted) + 0.5) * stored / wanted).astype(np.int64)


def random_frames(stored: int, wanted: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """``(n, wanted)`` frame numbers in order: one at random from each of as many equal parts of the clip."""
    edges = np.linspace(0, stored, wanted + 1)
    drawn = edges[:-1] + rng.random((n, wanted)) * np.diff(edges)
    return np.minimum(drawn.astype(np.int64), stored - 1)


def random_crops(n: int, area: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """``(n, 4)`` boxes (left, top, width, height; fractions) of a share ``area`` of the picture, aspect 3/4 to 4/3."""
    size = rng.uniform(*area, n)
    aspect = np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), n))
    width = np.minimum(np.sqrt(size * aspect), 1.0)
    height = np.minimum(np.sqrt(size / aspect), 1.0)
    return np.stack([rng.random(n) * (1 - width), rng.random(n) * (1 - height), width, height], axis=1)


def crop_and_flip(x: Tensor, crop: np.ndarray | None, flip: np.ndarray | None) -> Tensor:
    """Cut each picture of ``x (B, C, H, W)`` to its box, resize it bilinearly to (H, W), mirror it where asked."""
    boxes = np.tile([0.0, 0.0, 1.0, 1.0], (len(x), 1)) if crop is None else crop
    left, top, width, height = boxes.T
    mirror = 1.0 if flip is None else np.where(flip, -1.0, 1.0)
    zero = np.zeros(len(x))
    # An affine map from output to input positions, both in [-1, 1] across the picture.
    theta = np.stack(
        [
            np.stack([width * mirror, zero, 2 * left + width - 1], axis=1),
            np.stack([zero, height, 2 * top + height - 1], axis=1),
        ],
        axis=1,
    )
    grid = F.affine_grid(torch.from_numpy(theta).to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def statistics(spec: ModalitySpec, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation that the spec normalises by, shaped to broadcast over ``(B, *spec.shape)``."""
    found = moments_of(spec)
    if found is None:
        return None
    shape = {"image": (-1, 1, 1), "frames": (-1, 1, 1), "spectrogram": (1, 1, 1)}.get(spec.kind, (-1,))
    mean, std = (torch.from_numpy(values).float().reshape(shape) for values in found)
    return mean.to(device), std.to(device)


def to_input(
    stored: Tensor, spec: ModalitySpec, moments: tuple[Tensor, Tensor] | None, draw: Draw | None = None
) -> Tensor:
    """What an encoder gets, from what the store keeps: ``(B, *spec.shape)``, float32 and normalised, or int64 tokens."""
    if spec.kind == "text":
        return stored.to(torch.int64)
    x = stored.to(torch.float32, copy=True).reshape(len(stored), *spec.shape)
    if draw is not None and (draw.crop is not None or draw.flip is not None):
        # All frames of a clip are cut alike: they go through as further channels of one picture.
        x = crop_and_flip(x.flatten(1, -3), draw.crop, draw.flip).reshape(x.shape)
    if moments is not None:
        x.sub_(moments[0]).div_(moments[1])
    return x
