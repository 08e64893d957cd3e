"""The user's model behind one call: batches, counted and cached, in evaluation mode, with errors that say where."""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from mmbal.cluster import Pool
from mmbal.errors import DataError, MmbalError, UsageError
from mmbal.explain.answers import Reading, checked, table_of
from mmbal.explain.baselines import StandIn
from mmbal.explain.cache import Cache, key_of
from mmbal.explain.inputs import Inputs
from mmbal.predictions.columns import Array

Report = Callable[[int, int, str], None]  # rows asked for so far, rows in all, a line of figures
SHOWN_ROWS = 3
MOST_LOOKED_AT = 1000  # entries of a list, mapping or object in which torch modules are looked for


Answer = tuple[Array, tuple[str, ...] | None]  # scores (B, C), and the names of the classes where it has them


@dataclass(frozen=True)
class Call:
    """One batch: ``rows`` without the modalities ``absent``, in one of the stand-in's draws."""

    stand_in: StandIn
    absent: tuple[str, ...]
    rows: Array
    draw: int


@dataclass(frozen=True)
class _Question:
    """A call as ``predict`` gets it, or what the cache knows of it."""

    key: str
    known: Array | None
    arguments: tuple[Any, ...] | None


class _Placed(DataError):
    """A failure whose sentence already says where."""


@dataclass
class Model:
    """Asks ``predict`` about rows of the data with some modalities absent. ``reading`` is known after the first answers."""

    predict: Callable[..., Any]
    inputs: Inputs
    batch_size: int = 256
    cache_folder: str | Path | None = None
    scores: str = "auto"
    report: Report | None = None
    reading: Reading | None = None
    calls: int = 0
    rows: int = 0
    cached: int = 0
    total: int = 0
    done: int = 0
    cache: Cache | None = None
    width: int | None = None
    names: tuple[str, ...] | None = None
    pool: Pool | None = None

    def ask(self, stand_in: StandIn, absent: tuple[str, ...], rows: Array) -> Array:
        """Logits ``(n, C)`` for ``rows`` without the modalities ``absent``; of several draws, the mean probabilities' logs.

        Raises DataError where ``predict`` fails, or returns what are no scores; the message names coalition and rows.
        """
        return next(self.ask_each(stand_in, [(absent, rows)]))

    def ask_each(self, stand_in: StandIn, requests: Iterable[tuple[tuple[str, ...], Array]]) -> Iterator[Array]:
        """What :meth:`ask` gives for each coalition with its rows; the calls of a pool run side by side."""
        wanted = [(absent, rows, stand_in.draws if absent else 1) for absent, rows in requests]
        calls = [
            Call(stand_in, absent, part, draw)
            for absent, rows, draws in wanted
            for draw in range(draws)
            for part in self._parts(rows)
        ]
        tables = self._answers(calls)
        for _, rows, draws in wanted:
            total: Array | None = None
            for _ in range(draws):
                table = np.concatenate([next(tables) for _ in self._parts(rows)])
                if self.reading is None:
                    self.reading = Reading.of(table, self.names, self.scores)
                logits = self.reading.logits(table)
                if draws > 1:
                    chances = _softmax(logits)
                    total = chances if total is None else total + chances
            yield logits if total is None else np.log(np.maximum(total / draws, 1e-300))

    def _parts(self, rows: Array) -> list[Array]:
        return [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]

    def _answers(self, calls: Sequence[Call]) -> Iterator[Array]:
        """The answers to calls, in their order."""
        if self.cache_folder is not None and self.cache is None and len(calls) > 1:
            yield from self._answers(calls[:1])  # by this answer the cache knows the model
            calls = calls[1:]
        asked = deque[_Question]()  # and not yet answered; a pool takes some ahead

        def questions() -> Iterator[tuple[Any, ...] | None]:
            for call in calls:
                with _placed(self.inputs, call):
                    asked.append(self._question(call))
                yield asked[-1].arguments

        found: Iterator[Answer | None]
        if self.pool is None:
            found = map(partial(answer, predict=self.predict), questions())
        else:
            found = self.pool.map(partial(answer_there, predict=self.predict), questions())
        for call in calls:
            with _placed(self.inputs, call):
                got = next(found)
                table = self._noted(asked.popleft(), got, len(call.rows))
            self.done += len(call.rows)
            if self.report is not None:
                self.report(self.done, self.total, f"with {_listed(self.inputs, call.absent)}")
            yield table

    def _question(self, call: Call) -> _Question:
        filled = call.stand_in.fill(self.inputs.source.take(call.rows), call.rows, call.absent, call.draw)
        told = call.stand_in.told(call.absent)
        key = "" if self.cache_folder is None else key_of(filled, *told)
        known = None if self.cache is None else self.cache.read(key)
        return _Question(key, known, None if known is not None else (self.inputs.source.batch(filled), *told))

    def _noted(self, question: _Question, got: Answer | None, n: int) -> Array:
        """The table of an answer, checked, counted and kept in the cache."""
        if got is None:
            assert question.known is not None
            self.cached += n
            return question.known
        table, names = got
        found = checked(table, n, self.width)
        if self.calls and names != self.names:
            raise DataError(f"predict returned the classes {names}, but {self.names} before.")
        self.width, self.names = table.shape[1], names
        self.calls += 1
        self.rows += n
        if self.cache is not None:
            self.cache.write(question.key, found)
        elif self.cache_folder is not None:
            self.cache = Cache(self.cache_folder, question.key, found)
        return found


def answer(arguments: tuple[Any, ...] | None, predict: Callable[..., Any]) -> Answer | None:
    """What ``predict`` says; None where there is nothing to ask."""
    return None if arguments is None else table_of(predict(*arguments))


def answer_there(arguments: tuple[Any, ...] | None, predict: Callable[..., Any]) -> Answer | None:
    """:func:`answer` in a task, which has a copy of the model."""
    with evaluating(predict):
        return answer(arguments, predict)


@contextmanager
def evaluating(predict: Callable[..., Any]) -> Iterator[None]:
    """The torch modules that ``predict`` uses are in evaluation mode, without gradients, for a while."""
    found = modules_of(predict)
    with ExitStack() as stack:
        if "torch" in sys.modules:
            import torch

            from mmbal.models import modes

            stack.enter_context(torch.no_grad())
            stack.enter_context(modes.evaluating(*found))
        yield


def callable_of(predict: Any) -> Callable[..., Any]:
    """What is called: ``predict`` itself, or the ``predict_proba`` of a fitted classifier."""
    if not callable(predict) and hasattr(predict, "predict_proba"):
        return predict.predict_proba  # type: ignore[no-any-return]
    if not callable(predict):
        raise UsageError(
            f"predict is of the type {type(predict).__name__}, which can't be called.",
            "Give a function of a batch that returns logits or probabilities (B, C).",
        )
    return predict


def classes_of(predict: Any) -> list[str] | None:
    """The names of the classes that a fitted classifier of scikit-learn's kind knows, in the order of its columns."""
    found = getattr(getattr(predict, "__self__", predict), "classes_", None)
    return None if found is None else [str(name) for name in np.asarray(found).tolist()]


def modules_of(predict: Any) -> list[Any]:
    """The torch modules that a function uses: itself, its object, its arguments, what it closes over, its globals.

    Functions that it uses are followed, and lists and mappings looked into; installed packages are not.
    """
    if "torch" not in sys.modules:
        return []
    from torch import nn

    found: list[Any] = []
    seen: dict[int, Any] = {}  # the values as well, so that no id is given to another one meanwhile
    waiting: list[Any] = [predict]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        if isinstance(one, nn.Module):
            found.append(one)
        else:
            waiting += _parts(one)
    return found


def _parts(one: Any) -> list[Any]:
    """What may hold torch modules in a value that is none."""
    from torch import nn

    if isinstance(one, functools.partial):
        return [one.func, *one.args, *one.keywords.values()]
    if hasattr(one, "__func__"):
        return [one.__self__, one.__func__]
    if hasattr(one, "__code__"):
        if "site-packages" in one.__code__.co_filename:
            return []
        cells = [cell.cell_contents for cell in one.__closure__ or () if _full(cell)]
        return cells + [one.__globals__[name] for name in _names(one.__code__) if name in one.__globals__]
    if isinstance(one, (list, tuple)):
        return list(one[:MOST_LOOKED_AT])
    if isinstance(one, dict):
        return list(islice(one.values(), MOST_LOOKED_AT))
    if isinstance(one, (type, ModuleType)) or not hasattr(one, "__dict__"):
        return []
    held = islice(vars(one).values(), MOST_LOOKED_AT)
    return [value for value in held if isinstance(value, (nn.Module, list, tuple, dict))]


def _names(code: CodeType) -> set[str]:
    """The names that a function uses, with those of the functions within it."""
    within = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*within)


def _full(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


@contextmanager
def _placed(inputs: Inputs, call: Call) -> Iterator[None]:
    """Failures of the user's function with the coalition and the rows."""
    shown = ", ".join(map(str, call.rows[:SHOWN_ROWS].tolist()))
    shown += f" and {len(call.rows) - SHOWN_ROWS} more" if len(call.rows) > SHOWN_ROWS else ""
    where = "the full inputs"
    if call.absent:
        where = f"the coalition of {_listed(inputs, call.absent)} (baseline '{call.stand_in.name}')"
    try:
        yield
    except _Placed:
        raise
    except MmbalError as error:
        raise _Placed(f"{error.message.rstrip('.')} (on {where}, rows {shown}).", error.hint) from error
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else "no message"
        raise _Placed(f"predict failed on {where}, rows {shown}: {type(error).__name__}: {said}") from error


def _listed(inputs: Inputs, absent: tuple[str, ...]) -> str:
    return " and ".join(m for m in inputs.names if m not in absent) or "no modality"


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    value: Array = shifted / shifted.sum(axis=1, keepdims=True)
    return value
