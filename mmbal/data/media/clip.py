"""New clips prepared as a model's training data were, by the recipes that its store recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmbal.data.media.container import Clips
from mmbal.data.media.decode import Unusable
from mmbal.data.media.recipe import Source
from mmbal.data.media.recipes import recipe_from
from mmbal.data.store.loader import Batch, statistics, stored_rows, to_input
from mmbal.data.store.store import ModalitySpec
from mmbal.errors import DataError, UsageError


def encode_clip(
    files: str | Path | Sequence[Path],
    specs: Mapping[str, ModalitySpec],
    start: float | None = None,
    end: float | None = None,
) -> dict[str, Tensor]:
    """One sample as the encoders' inputs: modality -> tensor of the spec's shape, float32 normalised, or int64 tokens.

    ``files`` are its file, or several, of which the first that can gives a modality. ``start`` and ``end`` are seconds of
    the clip, as in a manifest. A modality that no file can give is left out. Raises UsageError where a file is not there,
    or a modality was prepared from arrays, which no file can give; DataError where the files give none of them, with the
    reasons.
    """
    paths = [Path(files)] if isinstance(files, str | Path) else list(files)
    for path in paths:
        if not path.exists():
            raise UsageError(f"There is no file {path}.")
    inputs: dict[str, Tensor] = {}
    reasons: list[str] = []
    with Clips() as clips:
        for m, spec in specs.items():
            if not spec.preprocessing.get("recipe"):
                raise UsageError(
                    f"The model's modality '{m}' was prepared from given arrays, so it can't be computed from a clip.",
                    "Prepare new arrays the same way into a store, and evaluate on that.",
                )
            recipe = recipe_from(spec.preprocessing["recipe"])
            for path in paths:
                try:
                    stored = recipe.encode(Source(str(path), start=start, end=end), clips).array.astype(recipe.dtype)
                except Unusable as error:
                    reasons.append(f"{m}: {error.reason}")
                    continue
                seen = stored_rows(stored[None], np.zeros(1, dtype=np.int64), spec)
                inputs[m] = to_input(torch.from_numpy(seen), spec, statistics(spec))[0]
                break
    if not inputs:
        raise DataError(f"{paths[0]} gives none of the model's modalities ({'; '.join(reasons)}).")
    return inputs


def collate(clips: Sequence[Mapping[str, Tensor]], specs: Mapping[str, ModalitySpec], first: int = 0) -> Batch:
    """Encoded clips as one batch; a missing modality is zeros and not present.

    ``index`` counts from ``first``; labels are not known and all 0.
    """
    inputs, present = {}, {}
    for m, spec in specs.items():
        kind = torch.int64 if spec.kind == "text" else torch.float32
        absent = torch.zeros(spec.shape, dtype=kind)
        inputs[m] = torch.stack([clip.get(m, absent) for clip in clips])
        present[m] = torch.tensor([m in clip for clip in clips])
    index = torch.arange(first, first + len(clips))
    return Batch(inputs, torch.zeros_like(index), index, present)
