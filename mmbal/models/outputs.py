"""The outputs of a model for all batches of a split, as one output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmbal.data.store.loader import Batch
from mmbal.models.fusion import Output


def joined(found: Sequence[tuple[Output, Batch]]) -> tuple[Output, Tensor]:
    """The outputs of several batches, in their order, as one, without ``inputs``; and the labels ``(N,)``."""
    outputs = [output for output, _ in found]

    def rows(of: str) -> dict[str, Tensor]:
        return {m: torch.cat([getattr(output, of)[m] for output in outputs]) for m in getattr(outputs[0], of)}

    fused = torch.cat([output.fused for output in outputs])
    contribution = None if outputs[0].contribution is None else rows("contribution")
    whole = Output(rows("features"), rows("logits"), fused, contribution, rows("present"))
    return whole, torch.cat([batch.labels for _, batch in found])
