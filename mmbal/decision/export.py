"""Writes a fitted rule for where the model runs: ONNX, a program of torch.export, or JSON that anybody can evaluate.

Before a file is left, what it decides on random rows, with every modality missing in some of them, is compared with the
rule in double precision. A file that decides otherwise is not left.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.decision.base import Rule
from mmbal.decision.fitting import rule_to_json
from mmbal.decision.linear_form import linear_form, present_sets
from mmbal.errors import MmbalError, UsageError, did_you_mean
from mmbal.files import atomic, refuse_existing, write_text
from mmbal.registry import rules

FORMAT = "mmbal.exported_rule"
SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "json": ".json"}
OUTPUT = "log_probabilities"
ROWS = (1, 7, 64)  # of the batches that are compared
TOLERANCE = 1e-4  # of a probability; files hold single precision

Given = dict[str, np.ndarray]


@dataclass(frozen=True)
class Exported:
    """A file that was written and compared with the rule that it holds."""

    file: Path
    format: str
    rule: str
    inputs: tuple[str, ...]
    classes: tuple[str, ...]
    difference: float | None  # the largest of a probability; None where the file has no formula to evaluate
    rows: int

    def sentence(self) -> str:
        """What was written and how far it agrees."""
        if self.difference is None:
            return (
                f"Wrote {self.file} with the parameters of '{self.rule}'. The rule is not linear in its inputs, so the file "
                "has no sums that can be evaluated without mmbal; the formats onnx and torch_export have the whole rule."
            )
        return (
            f"Wrote {self.file}, the rule '{self.rule}' of {', '.join(self.inputs)}. On {self.rows} random rows its "
            f"probabilities differ from the rule's by at most {self.difference:.1e}."
        )


def export_rule(rule: Rule, out: str | Path, format: str | None = None, force: bool = False) -> Exported:
    """Write a fitted rule to ``out`` in the ``format`` onnx, torch_export or json.

    Without a format, the ending of the file decides.

    Raises UsageError for an unknown format, for a file that is there already (without ``force``), and where the packages
    of the extra `export` are missing for onnx; MmbalError where the written file decides otherwise than the rule.
    """
    out = Path(out)
    known = {suffix: name for name, suffix in SUFFIXES.items()}
    format = known.get(out.suffix, "onnx") if format is None else format
    if format not in SUFFIXES:
        raise UsageError(f"There is no format '{format}'.", did_you_mean(format, SUFFIXES))
    refuse_existing(out, force)
    with atomic(out) as file:
        decide = {"onnx": _onnx, "torch_export": _torch_export, "json": _json}[format](rule, file)
        difference = None if decide is None else _difference(rule, decide)
        if difference is not None and not difference <= TOLERANCE:
            raise MmbalError(
                f"The exported rule differs from '{rules.name_of(type(rule))}' by {difference:.1e} of a probability, more "
                f"than {TOLERANCE:g}; no file was left.",
                "This is a bug in mmbal or in the exporter. Another --format may do.",
            )
    name = rules.name_of(type(rule))
    return Exported(out, format, name, rule.modalities, rule.classes, difference, sum(ROWS))


def _onnx(rule: Rule, file: Path) -> Callable[[Given], np.ndarray]:
    """Write an ONNX model, whose metadata name the rule, its modalities and its classes."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"The format 'onnx' needs the package {error.name}.", "Install it: pip install 'mmbal[export]'."
        ) from None
    import torch

    with _quiet():
        program = torch.onnx.export(
            _program(rule), input_names=list(rule.modalities), output_names=[OUTPUT], verbose=False
        )
        assert program is not None
        told = {"rule": rules.name_of(type(rule)), "modalities": rule.modalities, "classes": rule.classes}
        program.model.metadata_props.update({key: json.dumps(value) for key, value in told.items()})
        program.save(str(file), external_data=False)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [taken.name for taken in session.get_inputs()]
    return lambda given: np.asarray(session.run(None, dict(zip(names, given.values(), strict=True)))[0])


def _torch_export(rule: Rule, file: Path) -> Callable[[Given], np.ndarray]:
    """Write what ``torch.export.load`` reads."""
    import torch

    with _quiet(), file.open("wb") as stream:
        torch.export.save(_program(rule), stream)
    with _quiet(), file.open("rb") as stream:
        module = torch.export.load(stream).module()
    return lambda given: module(*(torch.from_numpy(x) for x in given.values())).detach().numpy()


def _json(rule: Rule, file: Path) -> Callable[[Given], np.ndarray] | None:
    """Write the parameters, and the sums that they mean where the rule is linear in its inputs."""
    form = linear_form(rule)
    told = {
        "format": FORMAT,
        "version": 1,
        "rule": rules.name_of(type(rule)),
        "classes": list(rule.classes),
        "modalities": list(rule.modalities),
        "linear": None if form is None else form.to_json(),
        "explanation": rule.explain(),
        "stored": rule_to_json(rule),
    }
    write_text(file, json.dumps(told, indent=1, allow_nan=False) + "\n")
    if form is None:
        return None
    sets = [set(names) for names in form.weights]

    def decide(given: Given) -> np.ndarray:
        out = np.full((len(next(iter(given.values()))), len(rule.classes)), np.nan)
        for row in range(len(out)):
            here = {m: x[[row]].astype(np.float64) for m, x in given.items() if not np.isnan(x[row]).all()}
            if set(here) in sets:
                out[row] = form.apply(here)[0]
        return out

    return decide


def _program(rule: Rule) -> Any:
    """The rule's module as ``torch.export`` takes it, for any number of rows in single precision."""
    import torch

    inputs = tuple(torch.zeros(2, rule.width(m)) for m in rule.modalities)
    rows = {"inputs": tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)}
    return torch.export.export(rule.to_module().eval(), inputs, dynamic_shapes=rows)


def _difference(rule: Rule, decide: Callable[[Given], np.ndarray]) -> float:
    """The largest difference of a probability between what a file decides and the rule, on random rows."""
    random, sets, worst = np.random.default_rng(0), present_sets(rule), 0.0
    for n in ROWS:
        given = {m: random.normal(scale=3, size=(n, rule.width(m))).astype(np.float32) for m in rule.modalities}
        here = [sets[k % len(sets)] for k in range(n)]
        present = {m: np.array([m in names for names in here]) for m in rule.modalities}
        masked = {m: np.where(present[m][:, None], x, np.float32(np.nan)) for m, x in given.items()}
        gap = np.abs(np.exp(decide(masked)) - np.exp(rule.apply(given, present=present)))
        worst = max(worst, float(gap.max()))
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters print of their own progress."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
