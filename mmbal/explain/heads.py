"""The last part of a model, which a monitor watches: from the features of the modalities to the logits.

A linear layer on concatenated features and a sum of logits have a part for each modality, exactly. Any other module is asked
again with the features of some modalities set to zero: the encoders run once, only the head runs 2^M times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmbal.errors import DataError, UsageError
from mmbal.predictions.format import subsets_of

Features = dict[str, Tensor]


class Head(ABC):
    """What a monitor needs to know of a head; ``additive`` where it has a part for each modality."""

    additive = True

    def __init__(self, modalities: tuple[str, ...]) -> None:
        self.modalities = modalities

    @abstractmethod
    def watched(self) -> dict[str, nn.Module]:
        """The modules whose calls are watched."""

    @abstractmethod
    def features(self, calls: Mapping[str, tuple[tuple[Any, ...], dict[str, Any]]]) -> Features:
        """The features of each modality, from the arguments of the last call of each watched module."""

    @abstractmethod
    def parts(self, features: Features) -> dict[str, Tensor]:
        """Logits ``(B, C)`` of each modality alone; they sum to the fused logits where the head is additive."""

    def decide(self, features: Features) -> Tensor:
        """Fused logits ``(B, C)``."""
        parts = self.parts(features)
        return torch.stack([parts[m] for m in self.modalities]).sum(dim=0)


class LinearHead(Head):
    """A linear layer on concatenated features: the part of m is ``z_m W_m^T + b / M``."""

    def __init__(self, layer: nn.Linear, widths: Mapping[str, int]) -> None:
        super().__init__(tuple(widths))
        self.layer, self.widths = layer, dict(widths)
        if sum(widths.values()) != layer.in_features:
            raise UsageError(
                f"The widths {dict(widths)} sum to {sum(widths.values())}, but the linear head takes {layer.in_features}."
            )

    def watched(self) -> dict[str, nn.Module]:
        return {"": self.layer}

    def features(self, calls: Mapping[str, tuple[tuple[Any, ...], dict[str, Any]]]) -> Features:
        args, kwargs = calls[""]
        value = args[0] if args else next(iter(kwargs.values()))
        return dict(zip(self.modalities, value.split(list(self.widths.values()), dim=-1), strict=True))

    def parts(self, features: Features) -> dict[str, Tensor]:
        weights = self.layer.weight.split(list(self.widths.values()), dim=1)
        share = 0.0 if self.layer.bias is None else self.layer.bias / len(self.modalities)
        return {m: features[m] @ w.T + share for m, w in zip(self.modalities, weights, strict=True)}


class SumHead(Head):
    """A head for each modality; the model adds their logits."""

    def __init__(self, heads: Mapping[str, nn.Module]) -> None:
        super().__init__(tuple(heads))
        self.heads = dict(heads)

    def watched(self) -> dict[str, nn.Module]:
        return self.heads

    def features(self, calls: Mapping[str, tuple[tuple[Any, ...], dict[str, Any]]]) -> Features:
        return {m: (calls[m][0] or tuple(calls[m][1].values()))[0] for m in self.modalities}

    def parts(self, features: Features) -> dict[str, Tensor]:
        return {m: logits_of(head.forward(features[m])) for m, head in self.heads.items()}


class AnyHead(Head):
    """Any module that takes the features of the modalities: by their names, in their order, in a mapping, or in one list.

    ``head`` comes after it where the module itself does not give the logits. ``widths`` cut one concatenated input.
    """

    additive = False

    def __init__(
        self, fusion: nn.Module, modalities: Sequence[str] | Mapping[str, int], head: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__(tuple(modalities))
        self.fusion, self.head = fusion, head
        self.widths = list(modalities.values()) if isinstance(modalities, Mapping) else None
        self.call: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    def watched(self) -> dict[str, nn.Module]:
        return {"": self.fusion}

    def features(self, calls: Mapping[str, tuple[tuple[Any, ...], dict[str, Any]]]) -> Features:
        self.call = args, kwargs = calls[""]
        names = self.modalities
        if all(m in kwargs for m in names):
            return {m: kwargs[m] for m in names}
        if self.widths is not None and args and isinstance(args[0], Tensor):
            return dict(zip(names, args[0].split(self.widths, dim=-1), strict=True))
        given = args[0] if args and isinstance(args[0], (Mapping, list, tuple)) else args
        if isinstance(given, Mapping) and all(m in given for m in names):
            return {m: given[m] for m in names}
        if not isinstance(given, Mapping) and len(given) >= len(names):
            return dict(zip(names, given, strict=False))
        raise UsageError(
            f"The fusion is called with {len(args)} inputs, and none of them could be told to be {names[0]}.",
            "Name the modalities as its arguments, in their order, or give the widths of one concatenated input.",
        )

    def decide(self, features: Features) -> Tensor:
        args, kwargs = self.call
        if all(m in kwargs for m in self.modalities):
            found = self.fusion.forward(*args, **kwargs | features)
        elif self.widths is not None and isinstance(args[0], Tensor):
            found = self.fusion.forward(torch.cat(list(features.values()), dim=-1), *args[1:], **kwargs)
        elif isinstance(args[0], Mapping):
            found = self.fusion.forward({**args[0], **features}, *args[1:], **kwargs)
        elif isinstance(args[0], (list, tuple)):
            found = self.fusion.forward([*features.values(), *args[0][len(features) :]], *args[1:], **kwargs)
        else:
            found = self.fusion.forward(*features.values(), *args[len(features) :], **kwargs)
        return logits_of(found if self.head is None else self.head(found))

    def parts(self, features: Features) -> dict[str, Tensor]:
        coalitions = self.coalitions(features)
        return {m: coalitions[(m,)] - coalitions[()] for m in self.modalities}

    def coalitions(self, features: Features) -> dict[tuple[str, ...], Tensor]:
        """Fused logits ``(B, C)`` of each coalition: the features of all others are zero."""
        zero = {m: torch.zeros_like(z) for m, z in features.items()}
        return {
            names: self.decide({m: features[m] if m in names else zero[m] for m in self.modalities})
            for names in subsets_of(self.modalities)
        }


def logits_of(output: Any) -> Tensor:
    """The logits of what a module returns: a tensor, an object or mapping with ``logits``, the first of a tuple."""
    if isinstance(output, Mapping):
        output = output.get("logits")
    elif not isinstance(output, Tensor) and hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, (list, tuple)) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 2:
        what = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise DataError(f"The watched head gives {what}, not logits (B, C).", "Give what follows it with head=.")
    return output


def head_of(
    fusion: nn.Module | Mapping[str, nn.Module],
    modalities: Sequence[str] | Mapping[str, int] | None = None,
    head: Callable[[Any], Any] | None = None,
) -> Head:
    """The head that ``fusion`` is: a mapping modality -> module is a sum, a linear layer is one on concatenated features.

    Raises UsageError where the modalities, or the widths of a linear layer, are not given.
    """
    if isinstance(fusion, Mapping):
        found: Head = SumHead(fusion)
    elif modalities is None:
        raise UsageError("The monitor needs the names of the modalities.", "For example modalities=['audio', 'video'].")
    elif isinstance(fusion, nn.Linear) and head is None:
        if not isinstance(modalities, Mapping):
            raise UsageError(
                "A linear head on concatenated features needs the width of each modality.",
                "For example modalities={'audio': 512, 'video': 512}.",
            )
        found = LinearHead(fusion, modalities)
    else:
        found = AnyHead(fusion, modalities, head)
    if len(found.modalities) < 2:
        raise UsageError("There is only one modality, so there is nothing to compare.")
    return found
