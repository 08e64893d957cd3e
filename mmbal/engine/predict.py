"""New clips classified: made into inputs as the store's were, decided by the model and by the rule fitted for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.data.media.clip import collate, encode_clip
from mmbal.data.media.decode import walk
from mmbal.data.preparation.scan import COLUMN
from mmbal.data.store.loader import Batch
from mmbal.data.store.normalisation import normalised
from mmbal.data.store.store import ModalitySpec
from mmbal.decision.fused import with_rule
from mmbal.engine.checkpoint import load_model, move
from mmbal.engine.evaluate import collect
from mmbal.engine.seeding import pick_device
from mmbal.errors import DataError, UsageError, did_you_mean
from mmbal.maths.arrays import log_softmax

ORDER = (
    "audio",
    "path",
    "video",
    "image",
    "text",
)  # the order in which a sample's files are tried: a sound before a clip with sound
BATCH = 32

Sample = tuple[Path, ...]  # its files, in ORDER


@dataclass(frozen=True)
class Decision:
    """One sample's decision: ``probabilities (C,)``, and per modality that it has its part of the fused logits ``(C,)``."""

    files: tuple[str, ...]
    probabilities: np.ndarray
    contribution: dict[str, np.ndarray]

    @property
    def best(self) -> int:
        return int(self.probabilities.argmax())

    def margin(self, m: str) -> float:
        """The margin of modality m for the decided class: its part there minus its mean part elsewhere (nats)."""
        part = self.contribution[m]
        return float(part[self.best] - np.delete(part, self.best).mean())


@dataclass(frozen=True)
class Classified:
    """Decisions on new clips, the classes, the stored rule that decides if there is one, and what could not be read."""

    decisions: list[Decision]
    classes: tuple[str, ...]
    rule: str | None
    failed: list[tuple[tuple[str, ...], str]]  # files, reason

    def to_dict(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes),
            "rule": self.rule,
            "clips": [
                {
                    "files": list(d.files),
                    "class": self.classes[d.best],
                    "probabilities": dict(zip(self.classes, d.probabilities.tolist(), strict=True)),
                    "contribution": {m: part.tolist() for m, part in d.contribution.items()},
                    "margin": {m: d.margin(m) for m in d.contribution},
                }
                for d in self.decisions
            ],
            "failed": [{"files": list(files), "reason": reason} for files, reason in self.failed],
        }


def find_samples(paths: Sequence[str | Path]) -> list[Sample]:
    """The files given, and the media in the folders given, in order; raises UsageError where there are none.

    As in ``mmbal prepare init``, files of one name in one folder (``1.png``, ``1.txt``) are one sample's modalities.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += [file for file in walk(path) if file.suffix.lower() in COLUMN and file.is_file()]
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"There is no file {path}.")
    if not found:
        raise UsageError(f"{', '.join(map(str, paths))} holds no media.")
    samples: list[dict[str, Path]] = []
    named: dict[Path, dict[str, Path]] = {}
    for file in dict.fromkeys(found):
        column = COLUMN.get(file.suffix.lower(), "path")
        sample = named.get(file.with_suffix(""))
        if sample is None or column in sample:
            sample = named[file.with_suffix("")] = {}
            samples.append(sample)
        sample[column] = file
    return [tuple(sample[column] for column in ORDER if column in sample) for sample in samples]


class _Clips:
    """Samples as batches, for :func:`mmbal.engine.evaluate.collect`: its own loader and store, without labels."""

    split = "new"
    group = None
    segments: Mapping[str, np.ndarray] = {}

    def __init__(
        self,
        samples: Sequence[Sample],
        specs: dict[str, ModalitySpec],
        classes: tuple[str, ...],
        time: tuple[float | None, float | None],
    ) -> None:
        self.classes = classes
        self.store = self
        self._samples = samples
        self._specs = specs
        self._time = time
        self.read: list[Sample] = []
        self.failed: list[tuple[tuple[str, ...], str]] = []

    @property
    def ids(self) -> np.ndarray:
        return np.array([str(sample[0]) for sample in self.read])

    @property
    def split_rows(self) -> np.ndarray:
        return np.arange(len(self.read))

    @property
    def labels(self) -> np.ndarray:
        return np.zeros(len(self.read), np.int64)  # they are not known

    def epoch(self, e: int, skip: int = 0, every: int = 1) -> Iterator[Batch]:
        """Batches of the samples that can be read; the others are noted in ``failed``. As of a loader, with ``skip``."""
        for start in range(skip * BATCH, len(self._samples), every * BATCH):
            clips = []
            for sample in self._samples[start : start + BATCH]:
                try:
                    clips.append(encode_clip(sample, self._specs, *self._time))
                except DataError as error:
                    self.failed.append((tuple(map(str, sample)), error.message))
                    continue
                self.read.append(sample)
            if clips:
                yield collate(clips, self._specs, first=len(self.read) - len(clips))
        if not self.read:
            raise DataError(f"None of the {len(self._samples)} samples can be read; the first: {self.failed[0][1]}")


def predict(
    checkpoint: str | Path,
    paths: Sequence[str | Path],
    *,
    start: float | None = None,
    end: float | None = None,
    device: str = "auto",
    normalise: Mapping[str, str] = {},
) -> Classified:
    """Classify clips by a checkpoint or run folder; ``paths`` are files, or folders of them, of which the seconds from
    ``start`` to ``end`` are taken.

    Files of one name are one sample (:func:`find_samples`), which has the modalities that its files give; the others count
    as missing. ``normalise`` says by modality how values become inputs, where not as the checkpoint says
    (:mod:`mmbal.data.store.normalisation`). Raises UsageError (no such file or modality; a model whose modalities were given
    as arrays), ConfigError (no usable checkpoint) and DataError (not one sample can be read).
    """
    samples = find_samples(paths)
    loaded = load_model(checkpoint)
    target = pick_device(device)
    loaded = move(loaded, target)
    specs = {m: loaded.modalities[m] for m in loaded.model.modalities}
    for m, how in normalise.items():
        if m not in specs:
            raise UsageError(f"The model has no modality '{m}'.", did_you_mean(m, specs))
        specs[m] = normalised(specs[m], how, m)
    clips = _Clips(samples, specs, loaded.classes, (start, end))
    found = collect(loaded.model, loaded.method, clips, target)  # type: ignore[arg-type]
    rule = loaded.rule_name
    if loaded.rule is not None and rule is not None:
        found = with_rule(found, loaded.rule, rule)
    assert found.fused is not None
    probabilities = np.exp(log_softmax(found.fused, axis=-1))
    decisions = [
        Decision(
            tuple(map(str, clips.read[i])),
            probabilities[i],
            {m: part[i] for m, part in found.contribution.items() if m not in found.present or found.present[m][i]},
        )
        for i in range(len(found))
    ]
    return Classified(decisions, loaded.classes, rule, clips.failed)
