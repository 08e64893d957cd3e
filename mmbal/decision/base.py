"""What a decision rule is: fitted on held-out decisions of single modalities, it gives the fused log-probabilities.

A rule is a name, the classes and modalities that it was fitted for, and a few arrays of parameters. Fitting works on
NumPy arrays; applying is one formula, :meth:`Rule.combine`, in the functions of :mod:`mmbal.maths.arrays`. So the same rule
serves a file of predictions (NumPy in, NumPy out, without torch) and the forward of a model (tensors in, a differentiable
tensor out).

Where the model's decision is not the sum of its parts, it is one more input of the rules that take it. It then stands
last among the rule's ``modalities``, under the name ``fused``; see :mod:`mmbal.decision.fused`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from mmbal.config import Config
from mmbal.decision.fused import FUSED, Takes, inputs_of, model_decision
from mmbal.errors import ConfigError, UsageError, did_you_mean
from mmbal.maths.arrays import AnyArray, floating, full_precision, is_tensor, like, log_softmax, stack, where
from mmbal.maths.folds import folds_of
from mmbal.notebook import Content, Shown
from mmbal.predictions.format import Predictions
from mmbal.registry import rules
from mmbal.tables import Column, Table
from mmbal.text import plural, some

if TYPE_CHECKING:
    from mmbal.decision.module import RuleModule

R = TypeVar("R", bound="Rule")
Held = tuple["Rule", np.ndarray]  # a rule with the rows (n,) that it has not seen


def unimodal(logits: AnyArray, present: AnyArray) -> AnyArray:
    """Log-probabilities ``(N, M, C)`` of each modality alone; 0 for a missing modality, which then adds nothing."""
    return log_softmax(logits) * present[..., None]


def centre_of_weights(modalities: tuple[str, ...]) -> np.ndarray:
    """The weights ``(M,)`` that rules are shrunk towards: ``fused`` alone where it is an input, else 1 / M each."""
    if FUSED in modalities:
        return np.array([float(m == FUSED) for m in modalities])
    return np.full(len(modalities), 1 / len(modalities))


@dataclass(eq=False)
class Rule(Shown, ABC):
    """A fitted decision rule. One file a rule, registered under the file's name.

    A subclass gives ``estimate`` (how the parameters come from held-out rows; none by default) and ``combine``.
    """

    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    parameters: dict[str, np.ndarray] = field(default_factory=dict)

    version: ClassVar[int] = 1
    older: ClassVar[frozenset[int]] = frozenset()  # versions of stored rules that ``from_state`` reads as well
    source: ClassVar[str] = "logits"  # what a mapping given to ``apply`` holds: "logits" or "features"
    tensors_only: ClassVar[bool] = False  # whether ``combine`` is written for torch: arrays then become tensors for it
    warm: ClassVar[bool] = False  # whether ``estimate`` takes a ``start``, a fit on like data that saves time
    single: ClassVar[bool] = False  # whether it is fitted in single precision where rows and classes are many
    takes: ClassVar[Takes] = "parts"  # inputs where the model's decision is not the sum of its parts

    class Config(Config):
        """Hyper-parameters; none by default."""

    @classmethod
    def fit(cls: type[R], predictions: Predictions, config: Any = None, **known: Any) -> R:
        """Fit on every row of ``predictions`` (select the calibration split first).

        ``known``: what the rule's ``estimate`` may be told to save time.

        Raises UsageError where there are no rows, or where the rule needs arrays that the predictions do not have.
        """
        if not len(predictions):
            raise UsageError("There are no samples to fit a decision rule on.", "Give a calibration split.")
        predictions = inputs_of(predictions, cls.takes)
        parameters = cls.estimate(predictions, cls.Config() if config is None else config, **known)
        ordered = {name: np.array(value, dtype=np.float64, order="C") for name, value in parameters.items()}
        return cls(predictions.classes, predictions.modalities, ordered)

    @classmethod
    def estimate(cls, predictions: Predictions, config: Any) -> dict[str, np.ndarray]:
        """The parameters, from held-out rows."""
        return {}

    @classmethod
    def cross_fit(
        cls: type[R], predictions: Predictions, config: Any, folds: int, seed: int
    ) -> Iterator[tuple[R, np.ndarray]]:
        """The rule of every fold, fitted on the other folds, with the rows ``(n,)`` that it has not seen."""
        fold = folds_of(predictions.labels, folds, seed, predictions.group)
        known: dict[str, Any] = {}
        for k in range(fold.max() + 1):
            rule = cls.fit(predictions.take(fold != k), config, **known)
            known = {"start": rule} if cls.warm else {}
            yield rule, np.flatnonzero(fold == k)

    @classmethod
    def fit_and_cross_fit(
        cls: type[R], predictions: Predictions, config: Any, folds: int, seed: int
    ) -> tuple[R, list[Held], dict[str, list[Held]]]:
        """What ``fit`` and ``cross_fit`` give, and by name other rules that are cross-fitted by the way.

        A rule that holds rows out to be fitted shares the work of both.
        """
        return cls.fit(predictions, config), list(cls.cross_fit(predictions, config, folds, seed)), {}

    @abstractmethod
    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        """Fused scores ``(N, C)``, up to a constant per row, of logits ``(N, M, C)`` and a float mask ``(N, M)``.

        ``inputs`` and ``present`` are NumPy arrays or tensors, and so is what is returned. Rules whose ``source`` is
        "features" get a list of M features ``(N, D_m)`` in place of the logits.
        """

    def apply(self, predictions: Predictions | Mapping[str, Any], present: Mapping[str, Any] | None = None) -> Any:
        """Fused log-probabilities ``(N, C)``, NumPy float64 for Predictions and arrays, a tensor for tensors.

        ``predictions``: Predictions, or a mapping modality -> logits ``(N, C)``, with the model's own fused logits under
        ``fused`` for a rule that takes them. ``present``: modality -> mask ``(N,)``, false where the modality is missing
        (its logits are then ignored).
        Raises ConfigError where modalities or classes are not those of the fit, rows do not match, or the rule takes
        the model's own decision and it is not given.
        """
        if isinstance(predictions, Predictions):
            if predictions.classes != self.classes:
                raise ConfigError(
                    f"The rule was fitted for other classes ({some(self.classes)}) than those given "
                    f"({some(predictions.classes)}).",
                    "Fit the rule again on predictions with these classes.",
                )
            present = predictions.present if present is None else present
            given: Mapping[str, Any] = getattr(predictions, self.source)
            own = model_decision(predictions) if self.takes_fused and FUSED not in given else None
            given = given if own is None else {**given, FUSED: own}
        else:
            given = predictions
            unknown = sorted(set(present or {}) - set(given))
            if unknown:
                raise ConfigError(
                    f"`present` names '{unknown[0]}', which has no {self.source} here.",
                    did_you_mean(unknown[0], given),
                )
        tensors = all(is_tensor(given.get(m)) for m in self.modalities)
        inputs, mask = self._inputs(given, {} if present is None else present, tensors or self.tensors_only)
        try:
            fused = self.decide(inputs, mask)
        except TypeError as error:
            if tensors or self.tensors_only or type(self).__module__.startswith("mmbal."):
                raise
            raise ConfigError(
                f"The rule '{type(self).__name__}' does not take NumPy arrays ({error}).",
                "Write its `combine` with the functions of mmbal.maths.arrays, or set `tensors_only = True` in it.",
            ) from error
        return fused if tensors or not is_tensor(fused) else fused.numpy()

    def decide(self, inputs: list[AnyArray], present: AnyArray) -> AnyArray:
        """Fused log-probabilities ``(N, C)`` of what each modality gives, in the rule's order, and a float mask ``(N, M)``.

        Inputs are checked already, and 0 where a modality is missing.
        """
        with full_precision(present):
            return log_softmax(self.combine(stack(inputs, axis=1) if self.source == "logits" else inputs, present))

    def to_module(self) -> RuleModule:
        """The rule as a torch module, for where the model runs; see :class:`mmbal.decision.module.RuleModule`."""
        from mmbal.decision.module import RuleModule  # needs torch, which a file of predictions does not

        return RuleModule(self)

    def sample_weights(self, predictions: Predictions) -> dict[str, np.ndarray]:
        """Modality -> weight ``(N,)``, where the scores are the sum of the logits with weights by sample; else empty."""
        return {}

    @property
    def takes_fused(self) -> bool:
        """Whether the model's own decision is an input."""
        return FUSED in self.modalities

    def width(self, modality: str) -> int:
        """Columns of what ``apply`` is to be given of a modality."""
        return len(self.classes)

    def _inputs(
        self, given: Mapping[str, Any], present: Mapping[str, Any], tensors: bool
    ) -> tuple[list[AnyArray], AnyArray]:
        """What is given of each modality, 0 where it is missing, and the mask ``(N, M)``."""
        inputs = [self.input(given, m, tensors) for m in self.modalities]
        mask = self._mask(inputs, present)
        # a choice, not a product: the logits of a missing modality may be NaN
        return [where(mask[:, k, None] > 0, x, 0.0) for k, x in enumerate(inputs)], mask

    def input(self, given: Mapping[str, Any], modality: str, tensor: bool) -> AnyArray:
        """What is given of a modality, checked, as floating-point numbers."""
        if modality not in given and modality == FUSED:
            raise ConfigError(
                "The rule also needs the model's own decision, which is not given.",
                "Give the model's fused logits (N, C), as they were before any rule, under the key 'fused'.",
            )
        if modality not in given:
            raise ConfigError(
                f"The rule was fitted with modality '{modality}', which has no {self.source} here.",
                f"Give the {self.source} of {some(self.modalities)}; mark samples without a modality with `present`.",
            )
        value = floating(given[modality], tensor)
        if value.ndim != 2 or value.shape[1] != self.width(modality):
            raise ConfigError(
                f"The {self.source} of '{modality}' have shape {tuple(value.shape)}, "
                f"but the rule was fitted for (N, {self.width(modality)})."
            )
        return value

    def _mask(self, inputs: list[AnyArray], present: Mapping[str, Any]) -> AnyArray:
        """1 where a row has a modality, else 0: ``(N, M)``."""
        n = len(inputs[0])
        columns = []
        for m, value in zip(self.modalities, inputs, strict=True):
            if len(value) != n:
                raise ConfigError(f"'{m}' has {len(value)} rows of {self.source}, but '{self.modalities[0]}' has {n}.")
            rows = like(present.get(m, np.ones(n)), inputs[0])
            if tuple(rows.shape) != (n,):
                raise ConfigError(f"The mask of '{m}' has shape {tuple(rows.shape)}, expected ({n},).")
            columns.append(rows)
        return stack(columns, axis=1)

    def tensor(self, name: str, inputs: AnyArray) -> AnyArray:
        """A parameter of the kind and type of ``inputs``, and on their device."""
        return like(self.parameters[name], inputs)

    def state(self) -> dict[str, Any]:
        """JSON-safe parameters; ``from_state`` gives the rule back."""
        return {name: value.tolist() for name, value in self.parameters.items()}

    @classmethod
    def from_state(cls: type[R], classes: tuple[str, ...], modalities: tuple[str, ...], state: Mapping[str, Any]) -> R:
        """The rule that gave ``state``; raises KeyError, TypeError or ValueError where ``state`` is damaged."""
        return cls(classes, modalities, {name: np.asarray(value, dtype=np.float64) for name, value in state.items()})

    def shown(self) -> Content:
        """What the rule does and the parameters that it has, as a notebook shows it."""
        found = self.parameters
        shapes = [" × ".join(map(str, value.shape)) or "1" for value in found.values()]
        columns = [Column("parameter", list(found)), Column("shape", shapes, left=True)]
        counts = [plural(len(self.classes), "class", "classes"), *self.modalities]
        tables = [Table.of(columns)] if found else []
        return Content(f"Decision rule '{rules.name_of(type(self))}': {', '.join(counts)}", [self.explain()], tables)

    def explain(self) -> str:
        """What the rule does with each modality, in words and numbers; empty where a rule has nothing to say."""
        return ""


class SampleWeights(Rule):
    """A rule that sums the logits with weights by sample, as gates do. A subclass gives the ``weights``."""

    @abstractmethod
    def weights(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        """The weights ``(N, M)`` of logits ``(N, M, C)``; 0 where a modality is missing."""

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        return (self.weights(inputs, present)[..., None] * inputs).sum(axis=1)

    def sample_weights(self, predictions: Predictions) -> dict[str, np.ndarray]:
        inputs, mask = self._inputs(predictions.logits, predictions.present, self.tensors_only)
        found = np.asarray(self.weights(stack(inputs, axis=1), mask))
        return dict(zip(self.modalities, found.T, strict=True))
