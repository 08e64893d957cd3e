"""New clips classified: made into inputs as the store's were, decided by the model and by the rule fitted for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.data.clip import collate, encode_clip
from mmbal.data.loader import Batch
from mmbal.data.media import AUDIO_SUFFIXES, PICTURE_SUFFIXES, VIDEO_SUFFIXES
from mmbal.data.predictions import log_softmax
from mmbal.data.store import ModalitySpec
from mmbal.engine.checkpoint import load_model, move
from mmbal.engine.evaluate import collect, with_rule
from mmbal.engine.seeding import pick_device
from mmbal.errors import DataError, UsageError
from mmbal.registry import rules

SUFFIXES = (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES, *PICTURE_SUFFIXES, ".txt")
BATCH = 32


@dataclass(frozen=True)
class Decision:
    """One clip's decision: ``probabilities (C,)``, and per modality that it has its part of the fused logits ``(C,)``."""

    file: str
    probabilities: np.ndarray
    contribution: dict[str, np.ndarray]

    @property
    def best(self) -> int:
        return int(self.probabilities.argmax())

    def pull(self, m: str) -> float:
        """How far modality m pulls towards the decision: its part for that class over the mean of the others, nats."""
        part = self.contribution[m]
        return float(part[self.best] - np.delete(part, self.best).mean())


@dataclass(frozen=True)
class Classified:
    """Decisions on new clips, the classes, the rule's name where one was fitted, and (file, reason) of those not read."""

    decisions: list[Decision]
    classes: tuple[str, ...]
    rule: str | None
    failed: list[tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes),
            "rule": self.rule,
            "clips": [
                {
                    "file": d.file,
                    "class": self.classes[d.best],
                    "probabilities": dict(zip(self.classes, d.probabilities.tolist(), strict=True)),
                    "contribution": {m: part.tolist() for m, part in d.contribution.items()},
                    "pull": {m: d.pull(m) for m in d.contribution},
                }
                for d in self.decisions
            ],
            "failed": [{"file": file, "reason": reason} for file, reason in self.failed],
        }


def find_files(paths: Sequence[str | Path]) -> list[Path]:
    """The files given, and the media in the folders given, in order; raises UsageError where there are none."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"There is no file {path}.")
    if not found:
        raise UsageError(f"{', '.join(map(str, paths))} holds no media.")
    return found


class _Clips:
    """Files as batches, for :func:`mmbal.engine.evaluate.collect`: its own loader and store, without labels."""

    split = "new"
    group = None

    def __init__(
        self,
        files: Sequence[Path],
        specs: dict[str, ModalitySpec],
        classes: tuple[str, ...],
        time: tuple[float | None, float | None],
    ) -> None:
        self.classes = classes
        self.store = self
        self._files = files
        self._specs = specs
        self._time = time
        self._read: list[str] = []
        self.failed: list[tuple[str, str]] = []

    @property
    def ids(self) -> np.ndarray:
        return np.array(self._read)

    def epoch(self, e: int) -> Iterator[Batch]:
        """Batches of the files that can be read; the others are noted in ``failed``."""
        for start in range(0, len(self._files), BATCH):
            clips = []
            for file in self._files[start : start + BATCH]:
                try:
                    clips.append(encode_clip(file, self._specs, *self._time))
                except DataError as error:
                    self.failed.append((str(file), error.message))
                    continue
                self._read.append(str(file))
            if clips:
                yield collate(clips, self._specs, first=len(self._read) - len(clips))
        if not self._read:
            raise DataError(f"Not one of {len(self._files)} files can be read; the first: {self.failed[0][1]}")


def predict(
    checkpoint: str | Path,
    paths: Sequence[str | Path],
    *,
    start: float | None = None,
    end: float | None = None,
    device: str = "auto",
) -> Classified:
    """Classify clips by a checkpoint or run folder; ``paths`` are files, or folders of them, of which the seconds from
    ``start`` to ``end`` are taken.

    A file gives the modalities that it has; the others count as missing. Raises UsageError (no such file; a model whose
    modalities were given as arrays), ConfigError (no usable checkpoint) and DataError (not one file can be read).
    """
    files = find_files(paths)
    loaded = load_model(checkpoint)
    target = pick_device(device)
    loaded = move(loaded, target)
    specs = {m: loaded.modalities[m] for m in loaded.model.modalities}
    clips = _Clips(files, specs, loaded.classes, (start, end))
    found = collect(loaded.model, loaded.method, clips, target)  # type: ignore[arg-type]
    rule = None if loaded.rule is None else rules.name_of(type(loaded.rule))
    if loaded.rule is not None and rule is not None:
        found = with_rule(found, loaded.rule, rule)
    assert found.fused is not None
    probabilities = np.exp(log_softmax(found.fused))
    decisions = [
        Decision(
            str(found.ids[i]),
            probabilities[i],
            {m: part[i] for m, part in found.contribution.items() if m not in found.present or found.present[m][i]},
        )
        for i in range(len(found))
    ]
    return Classified(decisions, loaded.classes, rule, clips.failed)
