"""Explain any model: it is asked about its inputs with modalities taken away, and its answers become predictions.

predictions = explain(predict, {"audio": a, "video": v}, labels)
print(diagnose(predictions).verdict)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.cluster import Pool
from mmbal.errors import DataError, UsageError, did_you_mean
from mmbal.explain.baselines import DRAWS, Baseline, StandIn, stand_ins
from mmbal.explain.inputs import Inputs, Modalities
from mmbal.explain.model import Model, Report, callable_of, classes_of, evaluating
from mmbal.explain.orders import FEWEST_PAIRS, always, codes_of, cost, draw_orders, estimate, pairs_within
from mmbal.maths.arrays import log_softmax
from mmbal.maths.scoring import correct
from mmbal.predictions.columns import Array, plain
from mmbal.predictions.format import Predictions
from mmbal.predictions.labels import labels_of
from mmbal.predictions.splits import split_names

EXACT = 5  # modalities of which all coalitions are asked about
MOST_EXACT = 8  # more than these are sampled, whatever the budget
BUDGET = 64  # coalitions a sample for more modalities, if not given; at least two pairs of orders
UNCHANGED = 1e-6  # of log-probabilities: a difference that is no more than rounding
SCORES = ("auto", "logits", "probabilities")
LOWEST = -600.0  # of a log-probability; lower ones can't be told apart once they are averaged


def explain(
    predict: Callable[..., Any],
    data: Any,
    labels: Any = None,
    *,
    modalities: Modalities = None,
    baseline: Baseline | Sequence[Baseline] = "zero",
    split: Any = None,
    groups: Any = None,
    ids: Any = None,
    classes: Sequence[Any] | None = None,
    scores: str = "auto",
    features: Mapping[str, Any] | None = None,
    draws: int = DRAWS,
    budget: int | None = None,
    cache: str | Path | None = None,
    batch_size: int = 256,
    seed: int = 0,
    report: Report | None = None,
    meta: Mapping[str, Any] | None = None,
    workers: Pool | None = None,
) -> Predictions:
    """Ask any model about coalitions of modalities; the answers are predictions that `diagnose` and `calibrate` take.

    ``predict(batch)`` returns logits or probabilities ``(B, C)`` for a batch of the form that ``data`` have; see
    :mod:`mmbal.explain.inputs`. ``modalities``: names of columns, or name -> its columns; all columns where not given.
    ``labels``, ``split``, ``groups``, ``ids``: ``(N,)``, or the name of a column; ``split`` may be one split's name.
    ``baseline``: what an absent modality is replaced by, one or several; see :mod:`mmbal.explain.baselines`. The first is
    the one that is diagnosed; the diagnosis says what depends on it. ``draws``: of the baselines that draw.
    ``features``: modality -> ``(N, D)`` in which ``conditional`` looks for neighbours. ``classes``: their names in the
    order of the columns. ``scores``: ``logits`` or ``probabilities`` where ``auto`` can't tell.

    Up to five modalities all 2^M coalitions are asked about. Above, ``budget`` is the number of coalitions asked of each
    sample (64): all, where it is enough and there are at most eight modalities; else Shapley values are estimated by
    :mod:`mmbal.explain.orders`, with their standard errors.
    ``cache``: a folder in which answers are kept, so that a stopped call goes on where it was. ``report(done, total,
    line)`` is called after each batch. torch modules that ``predict`` uses are in evaluation mode meanwhile.
    ``workers`` runs the calls, each with its copy of ``predict``, elsewhere and side by side; see :mod:`mmbal.cluster`.
    Raises UsageError for a call that can't be made, DataError for data that do not fit and for answers that are no scores;
    an exception of ``predict`` comes with the coalition and the rows.

    >>> labels = np.arange(200) % 2
    >>> data = {"sound": np.eye(2)[labels], "face": np.eye(2)[np.arange(200) // 2 % 2]}
    >>> found = mmbal.explain(lambda batch: batch["sound"] + 3 * batch["face"], data, labels)
    >>> float((found.subsets["sound",].argmax(axis=1) == labels).mean())  # the decision without the face
    1.0
    """
    function = callable_of(predict)
    inputs = Inputs.of(data, modalities, (labels, split, groups, ids))
    if labels is None:
        raise UsageError("There are no labels.", "Give labels (N,), or the name of their column: labels='label'.")
    rows = _of_samples(inputs, labels, split, groups, ids)
    if scores not in SCORES:
        raise UsageError(f"There is no form of scores '{scores}'.", did_you_mean(scores, SCORES))
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; it must be at least 1.")
    pool = np.flatnonzero(rows["split"] != "test")
    pool = pool if len(pool) else np.arange(len(inputs))
    found = stand_ins(baseline, inputs, pool, draws=draws, features=features, seed=seed)
    plan = Plan.of(inputs, budget, seed)
    model = Model(function, inputs, batch_size, cache, scores, report, pool=workers)
    model.total = len(inputs) + sum(plan.rows * one.draws for one in found)
    with evaluating(function):
        fused = model.ask(found[0], (), np.arange(len(inputs)))
        assert model.reading is not None
        names = classes or classes_of(function) or model.reading.classes
        told = labels_of(
            plain(rows.pop("labels"), "labels"), None if names is None else list(map(str, names)), fused.shape[1]
        )
        shared = {
            "labels": told.index,
            "classes": np.array(told.classes, dtype=str),
            "modalities": np.array(inputs.names, dtype=str),
            "fused": fused,
            **rows,
        }
        asked = {one.name: plan.run(model, one, fused, told.index) for one in found}
    known = {"producer": "mmbal.explain", "scores": model.reading.form, **plan.told(), **(meta or {})}
    known |= {"calls": model.calls, "rows": model.rows, "rows_cached": model.cached}
    _require_effect(inputs, asked, fused)
    made = {
        name: Predictions.from_arrays(shared | arrays, known | {"baseline": name}, examine=name == found[0].name)
        for name, arrays in asked.items()
    }
    first, *others = made
    notes = [*told.notes, *_unchanged(inputs, asked, fused)]
    main = made[first]
    return replace(main, baselines={name: made[name] for name in others}, warnings=(*notes, *main.warnings))


def _of_samples(inputs: Inputs, labels: Any, split: Any, groups: Any, ids: Any) -> dict[str, Any]:
    """The columns of samples: labels, split, and groups and ids where they are given."""
    rows = {"labels": inputs.per_sample(labels, "labels")}
    if split is None or (isinstance(split, str) and split not in inputs.source.names):
        rows["split"] = np.full(len(inputs), split_names([split or "test"])[0])
    else:
        rows["split"] = split_names(inputs.per_sample(split, "splits"))
    for key, value in (("group", groups), ("ids", ids)):
        if value is not None:
            rows[key] = inputs.per_sample(value, {"group": "groups"}.get(key, key))
    return rows


@dataclass(frozen=True)
class Plan:
    """Which samples are asked about which coalitions; ``orders`` is None where all are asked about all."""

    names: tuple[str, ...]
    n: int
    orders: Array | None

    @classmethod
    def of(cls, inputs: Inputs, budget: int | None, seed: int) -> Plan:
        """Raises UsageError where the budget is too small."""
        m, n = len(inputs.names), len(inputs)
        if m <= EXACT:
            return cls(inputs.names, n, None)
        wanted = max(BUDGET, cost(m, FEWEST_PAIRS)) if budget is None else budget
        if m <= MOST_EXACT and wanted >= 2**m:
            return cls(inputs.names, n, None)
        return cls(inputs.names, n, draw_orders(n, m, pairs_within(m, wanted), seed))

    @property
    def rows(self) -> int:
        """How many rows are asked about, beside the full inputs."""
        return sum(len(rows) for _, rows in self.requests())

    def requests(self) -> Iterable[tuple[int, Array]]:
        """Codes of coalitions with the samples that are asked about them; bit k is the k-th modality."""
        m, everyone = len(self.names), np.arange(self.n)
        if self.orders is None:
            return [(code, everyone) for code in range(2**m - 1)]
        full = always(m)
        codes = codes_of(self.orders)[..., 2:-2].transpose(2, 0, 1, 3).reshape(self.n, -1)
        wanted = [(code, everyone) for code in sorted(full - {2**m - 1})]
        middle = sorted(set(np.unique(codes).tolist()) - full)
        return [*wanted, *((code, np.flatnonzero((codes == code).any(axis=1))) for code in middle)]

    def run(self, model: Model, stand_in: StandIn, fused: Array, labels: Array) -> dict[str, Array]:
        """Ask, and give the arrays of a predictions file beside ``fused``: ``subset_*``, ``logits_*``, sampled values."""
        m = len(self.names)
        found: dict[int, tuple[Array, Array]] = {2**m - 1: (np.arange(self.n), fused)}
        requests = list(self.requests())
        asked = [
            (tuple(name for k, name in enumerate(self.names) if not code >> k & 1), rows) for code, rows in requests
        ]
        for (code, rows), answers in zip(requests, model.ask_each(stand_in, asked), strict=True):
            found[code] = (rows, answers)
        arrays = {f"subset_{'+'.join(self._members(code))}": found[code][1] for code in self._stated()}
        nothing = found[0][1]
        arrays |= {f"logits_{name}": found[1 << k][1] - nothing for k, name in enumerate(self.names)}
        if self.orders is not None:
            arrays |= self._sampled(found, labels)
        return arrays

    def _members(self, code: int) -> tuple[str, ...]:
        return tuple(name for k, name in enumerate(self.names) if code >> k & 1)

    def _stated(self) -> list[int]:
        """The coalitions of which all samples have an answer."""
        m = len(self.names)
        return list(range(2**m)) if self.orders is None else sorted(always(m))

    def _sampled(self, found: Mapping[int, tuple[Array, Array]], labels: Array) -> dict[str, Array]:
        """Estimated Shapley values of the logits, of being right and of the log-likelihood, with their errors."""
        assert self.orders is not None
        c = found[0][1].shape[1]
        table = {}
        for code, (rows, logits) in found.items():
            likely = log_softmax(logits, axis=-1)[np.arange(len(rows)), labels[rows]]
            table[code] = (rows, np.column_stack([logits, correct(logits, labels[rows]), likely]))

        def values(codes: Array) -> Array:
            out = np.empty((self.n, c + 2))
            for code in np.unique(codes).tolist():
                here = np.flatnonzero(codes == code)
                rows, known = table[code]
                out[here] = known[np.searchsorted(rows, here)]
            return out

        got = estimate(self.orders, values)
        nothing = found[0][1] / len(self.names)
        arrays = {}
        for k, name in enumerate(self.names):
            arrays[f"contribution_{name}"] = got.value[:, k, :c] + nothing
            arrays[f"shapley_{name}"] = np.concatenate([got.value[:, k, c:], got.error[:, k, c:]], axis=1)
        return arrays

    def told(self) -> dict[str, Any]:
        """What the metadata say of it."""
        if self.orders is None:
            return {"coalitions": "all"}
        return {"coalitions": "sampled", "pairs_of_orders": len(self.orders)}


def _require_effect(inputs: Inputs, asked: Mapping[str, Mapping[str, Array]], fused: Array) -> None:
    """Raise DataError where no mask changed any answer: it did not reach the model."""
    for name, arrays in asked.items():
        if all(_same(arrays[f"subset_{'+'.join(names)}"], fused) for names in _without_one(inputs)):
            raise DataError(
                f"No answer changes when a modality is taken away (baseline '{name}'): the masks did not reach the model.",
                "predict must use the batch that it is given, and nothing else of the data.",
            )


def _unchanged(inputs: Inputs, asked: Mapping[str, Mapping[str, Array]], fused: Array) -> list[str]:
    """The modalities without which no answer changes, whatever stands in for them."""
    without = dict(zip(inputs.names, _without_one(inputs), strict=True))
    dead = [
        m
        for m, names in without.items()
        if all(_same(arrays[f"subset_{'+'.join(names)}"], fused) for arrays in asked.values())
    ]
    return [
        f"no answer changes without '{m}': the model does not look at {m}, or the mask did not reach it" for m in dead
    ]


def _without_one(inputs: Inputs) -> list[tuple[str, ...]]:
    m = inputs.names
    return [tuple(n for n in m if n != left) for left in m]


def _same(a: Array, b: Array) -> bool:
    """Whether two tables of logits ``(N, C)`` are the same answers, up to rounding."""
    first, second = (np.maximum(log_softmax(x, axis=-1), LOWEST) for x in (a, b))
    return bool(np.abs(first - second).max() < UNCHANGED)
