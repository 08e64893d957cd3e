"""How far the work in hand is: whoever does it says so in passing, and whoever listens learns the share that is done.

    with listening(hear):                      # hear(0.25): a quarter of all is done
        for source in steps(sources):          # each is an equal part
            with portion(0.3):                 # within one: 30 % of it
                ...

Parts nest to any depth and know nothing of each other, so no function has to hand a callback on. Without a listener they
cost nothing. Work whose share of the whole nobody knows, such as a page that is written after a training, is a ``stage``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Hear = Callable[[float], None]  # of the share of the whole that is done, in [0, 1]
Begin = Callable[[str], AbstractContextManager[None]]  # of another kind of work within the whole


@dataclass
class _Whole:
    """What is listened to: it is ``at`` a share of the whole, within a part that ends at ``end`` and began at ``start``."""

    hear: Hear
    begin: Begin | None = None
    at: float = 0.0
    start: float = 0.0
    end: float = 1.0


_whole: ContextVar[_Whole | None] = ContextVar("whole", default=None)


@contextmanager
def listening(hear: Hear, begin: Begin | None = None) -> Iterator[None]:
    """Tell ``hear`` after each part of the block what share of the block is done, and ``begin`` of each :func:`stage`."""
    token = _whole.set(_Whole(hear, begin))
    try:
        yield
    finally:
        _whole.reset(token)


@contextmanager
def portion(share: float) -> Iterator[None]:
    """The block is this share of the part that it stands in; parts of more than all of it end where that ends."""
    whole = _whole.get()
    if whole is None:
        yield
        return
    start, end = whole.start, whole.end
    whole.start, whole.end = whole.at, min(end, whole.at + share * (end - start))
    try:
        yield
    finally:
        whole.at = whole.end
        whole.start, whole.end = start, end
        whole.hear(whole.at)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """The block is another kind of work, whose time says nothing of the rest: it has a measure of its own."""
    whole = _whole.get()
    if whole is None or whole.begin is None:
        yield
        return
    with whole.begin(what):
        yield


def steps(items: Sequence[T], weights: Sequence[float] = ()) -> Iterator[T]:
    """The items, each of which is a part of the whole: equal ones, or of these ``weights``."""
    shares = weights or [1.0] * len(items)
    whole = sum(shares)
    for item, share in zip(items, shares, strict=True):
        with portion(share / whole):
            yield item


def reached(share: float) -> None:
    """This share of the part that it stands in is done, as whoever works elsewhere says; never less than before."""
    whole = _whole.get()
    if whole is not None:
        whole.at = max(whole.at, whole.start + min(share, 1.0) * (whole.end - whole.start))
        whole.hear(whole.at)
