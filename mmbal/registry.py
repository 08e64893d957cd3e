"""One small registry for everything that has a name: methods, encoders, fusions, decision rules, data sets."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from mmbal.errors import UsageError, did_you_mean
from mmbal.outline import Outline, outlines

KINDS = ("features", "sequence", "spectrogram", "image", "frames", "text")  # of a modality's inputs
T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True)
class AboutMethod:
    """What is known of a training method."""

    family: str = "other"
    year: int | None = None
    paper: str | None = None  # arXiv id
    status: str = "not stated"  # "exact", "with stated deviations" or "our instantiation"
    fusion: str | None = None  # the fusion that it needs, where it needs one
    needs: Collection[str] = ()  # what the fusion must give
    off: Mapping[str, Any] | None = None  # the configuration that equals joint training bit for bit


@dataclass(frozen=True)
class AboutRule:
    """What is known of a decision rule."""

    family: str = "other"
    year: int | None = None
    paper: str | None = None  # arXiv id, or authors and year
    status: str = "exact"
    fitted: bool = True  # whether it has parameters that come from the calibration split
    needs: Collection[str] = ()  # arrays of the predictions beyond the logits


@dataclass(frozen=True)
class AboutFusion:
    """What is known of a fusion."""

    additive: bool = False  # whether the fused logits are the sum of a part for each modality
    gives: Collection[str] = ()  # what methods may need of it
    family: str | None = None
    year: int | None = None
    paper: str | None = None
    status: str | None = None


@dataclass(frozen=True)
class AboutEncoder:
    """What is known of an encoder: the kinds of input that it takes."""

    kinds: Collection[str] = KINDS


@dataclass(frozen=True)
class AboutDataset:
    """What is known of a data set."""

    title: str = ""
    modalities: tuple[str, ...] = ()
    classes: int | None = None
    licence: str = "not stated"
    shipped: bool = False


@dataclass(frozen=True)
class AboutNothing:
    """Recorders, sections of the diagnosis and pictures have no metadata."""


@dataclass(frozen=True)
class Entry(Generic[A]):
    """A registered class and what is known about it."""

    name: str
    cls: type[Any]
    about: A


class Registry(Generic[A]):
    """Name -> class. Members are imported at the first look-up, so importing mmbal stays cheap.

    ``source`` is the module, or the package of flat files, whose members register themselves; installed distributions
    add theirs through the entry-point group ``mmbal.<kind>``. ``about`` is the dataclass of what is known of a member;
    each of its fields has a default, so a plug-in needs to state nothing.
    """

    def __init__(self, kind: str, source: str, about: type[A]) -> None:
        self.kind = kind
        self.source = source
        self.about = about
        self._entries: dict[str, Entry[A]] = {}
        self._loaded = False

    def register(self, name: str | None = None, **about: Any) -> Callable[[type[T]], type[T]]:
        """Class decorator; without ``name`` the member is called like its file.

        ``about``: fields of the registry's ``about``. Raises ValueError where a field is unknown or the name is taken by
        another class.
        """
        known = [f.name for f in fields(self.about)]  # type: ignore[arg-type]
        for key in about:
            if key not in known:
                raise ValueError(f"A {self.kind} has no field '{key}'; its fields are: {', '.join(known)}.")
        told = self.about(**about)

        def add(cls: type[T]) -> type[T]:
            key = name or cls.__module__.rsplit(".", 1)[-1]
            taken = self._entries.get(key)
            if taken is not None and taken.cls.__qualname__ != cls.__qualname__:
                raise ValueError(f"{self.kind} '{key}' is registered twice: {taken.cls!r} and {cls!r}")
            self._entries[key] = Entry(key, cls, told)
            return cls

        return add

    def entry(self, name: str) -> Entry[A]:
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

    def outline(self) -> list[Outline]:
        """All members with their facts and summaries, sorted by name; only those of plug-ins are imported."""
        for point in entry_points(group=f"mmbal.{self.kind}"):
            point.load()
        found = {one.name: one for one in outlines(f"{self.kind}s", self.source)}
        for name, entry in self._entries.items():
            if name not in found:
                facts: dict[str, Any] = asdict(entry.about)  # type: ignore[call-overload]
                found[name] = Outline(name, facts, (entry.cls.__doc__ or "").strip().split("\n")[0])
        defaults = asdict(self.about())  # type: ignore[call-overload]
        return [replace(found[name], facts=defaults | found[name].facts) for name in sorted(found)]

    def __iter__(self) -> Iterator[Entry[A]]:
        return iter([self._entries[name] for name in self.names()])

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # first, since the modules use registries themselves while they are imported
        try:
            module = importlib.import_module(self.source)
            for found in pkgutil.iter_modules(getattr(module, "__path__", [])):
                importlib.import_module(f"{self.source}.{found.name}")
            for point in entry_points(group=f"mmbal.{self.kind}"):
                point.load()
        except BaseException:
            self._loaded = False
            raise


methods = Registry("method", "mmbal.methods", AboutMethod)
encoders = Registry("encoder", "mmbal.models", AboutEncoder)
fusions = Registry("fusion", "mmbal.models", AboutFusion)
rules = Registry("rule", "mmbal.decision.rules", AboutRule)
datasets = Registry("dataset", "mmbal.data.datasets", AboutDataset)
recorders = Registry("recorder", "mmbal.engine.recorders", AboutNothing)
sections = Registry("section", "mmbal.diagnosis.sections", AboutNothing)
pictures = Registry("picture", "mmbal.report.pictures", AboutNothing)
