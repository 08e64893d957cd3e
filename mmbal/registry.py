"""One small registry for everything that has a name: methods, encoders, fusions, decision rules, data sets."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, TypeVar

from mmbal.errors import UsageError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """A registered class with what is known about it (family, paper, year, status, needs...)."""

    name: str
    cls: type[Any]
    metadata: dict[str, Any] = field(default_factory=dict)


class Registry:
    """Name -> class. Members are imported at the first look-up, so importing mmbal stays cheap.

    ``source`` is the module, or the package of flat files, whose members register themselves; installed distributions
    add theirs through the entry-point group ``mmbal.<kind>``.
    """

    def __init__(self, kind: str, source: str) -> None:
        self.kind = kind
        self.source = source
        self._entries: dict[str, Entry] = {}
        self._loaded = False

    def register(self, name: str | None = None, **metadata: Any) -> Callable[[type[T]], type[T]]:
        """Class decorator; without ``name`` the member is called like its file.

        Raises ValueError where the name is taken by another class.
        """

        def add(cls: type[T]) -> type[T]:
            key = name or cls.__module__.rsplit(".", 1)[-1]
            taken = self._entries.get(key)
            if taken is not None and taken.cls.__qualname__ != cls.__qualname__:
                raise ValueError(f"{self.kind} '{key}' is registered twice: {taken.cls!r} and {cls!r}")
            self._entries[key] = Entry(key, cls, metadata)
            return cls

        return add

    def entry(self, name: str) -> Entry:
        """The entry called ``name``; raises UsageError with the nearest names where there is none."""
        self._load()
        if name not in self._entries:
            raise UsageError(f"There is no {self.kind} '{name}'.", did_you_mean(name, self._entries))
        return self._entries[name]

    def get(self, name: str) -> Any:
        """The class called ``name``; raises UsageError with the nearest names where there is none."""
        return self.entry(name).cls

    def name_of(self, cls: type[Any]) -> str:
        """The name under which ``cls`` is registered."""
        return next(e.name for e in self if e.cls is cls)

    def names(self) -> list[str]:
        self._load()
        return sorted(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter([self._entries[name] for name in self.names()])

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # first, since the modules ask registries themselves while they are imported
        try:
            module = importlib.import_module(self.source)
            for found in pkgutil.iter_modules(getattr(module, "__path__", [])):
                importlib.import_module(f"{self.source}.{found.name}")
            for point in entry_points(group=f"mmbal.{self.kind}"):
                point.load()
        except BaseException:
            self._loaded = False
            raise


methods = Registry("method", "mmbal.methods")
encoders = Registry("encoder", "mmbal.models")
fusions = Registry("fusion", "mmbal.models")
rules = Registry("rule", "mmbal.decision.rules")
datasets = Registry("dataset", "mmbal.data.datasets")
recorders = Registry("recorder", "mmbal.engine.recorders")
