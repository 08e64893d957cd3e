"""Typed configuration: pydantic models that refuse unknown keys, YAML in and out, dotted overrides."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mmbal.errors import ConfigError, UsageError, did_you_mean
from mmbal.files import write_text


class Frozen(BaseModel):
    """Base of every typed value, of configurations and of results: frozen, unknown keys forbidden."""

    # pydantic before 2.10 warns of fields whose names begin with "model_", unless no name is kept for itself
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Config(Frozen):
    """Base of every configuration."""


C = TypeVar("C", bound=BaseModel)
MOST_VALUES = 100_000  # of a configuration
MOST_BYTES = 1 << 20
MOST_DIGITS = 300  # of a whole number; more than a real number has
NAMED = ("method", "fusion", "encoder", "rule")  # what `mmbal methods show` knows


def validate(kind: type[C], values: Any, where: str = "config") -> C:
    """Build ``kind`` from plain values; raises ConfigError naming the key, with the nearest known keys."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        unknown = [one for one in error.errors() if one["type"] == "extra_forbidden"]
        first = (unknown or error.errors())[0]  # a misspelt key is also a key that is missing
        path = ".".join(str(part) for part in first["loc"])
        if unknown:
            raise ConfigError(f"{where}: there is no key '{path}'.", _nearest(kind, first["loc"])) from None
        said = first["msg"].removeprefix("Value error, ")
        message = f"'{path}': {said[0].lower()}{said[1:]}" if path else said
        given = f" (given: {first['input']!r})" if not isinstance(first["input"], Mapping) else ""
        named, _, name = where.partition(" ")
        hint = f"Keys and their meanings: mmbal methods show {name}" if named in NAMED else ""
        raise ConfigError(f"{where}: {message}{given}.", hint) from None


def _nearest(kind: type[BaseModel], unknown: tuple[int | str, ...]) -> str:
    """A hint: the keys of this name elsewhere, else those beside the unknown one that are nearest to it."""
    *before, last = map(str, unknown)
    elsewhere = [key for key in keys(kind) if key.split(".")[-1] == last]
    if elsewhere:
        return did_you_mean(elsewhere[0], elsewhere)
    beside: Any = kind
    for part in before:
        if not part.isdecimal():
            beside = _model_in(beside.model_fields[part].annotation) if part in beside.model_fields else None
        if beside is None:
            return did_you_mean(".".join([*before, last]), keys(kind))
    return did_you_mean(".".join([*before, last]), [".".join([*before, name]) for name in beside.model_fields])


def _model_in(hint: Any) -> type[BaseModel] | None:
    """The model that an annotation is, or holds: Gate of ``tuple[Gate, ...]``."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint
    return next((found for part in typing.get_args(hint) if (found := _model_in(part))), None)


def keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted keys of a configuration class."""
    found: list[str] = []
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += keys(inner, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping; raises UsageError where the file is missing, ConfigError where it is no mapping."""
    if not path.is_file():
        raise UsageError(f"There is no config file {path}.")
    if path.stat().st_size > MOST_BYTES:
        raise ConfigError(f"{path} has more than {MOST_BYTES} bytes: it is no configuration.")
    try:
        values = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)
        size = _size(values, {})
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is not valid YAML ({_reason(error)}).") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply.") from None
    if size > MOST_VALUES:
        raise ConfigError(f"{path} repeats its parts (by & and *) until they are more than {MOST_VALUES} values.")
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no mapping of keys to values.")
    return values


class _Loader(yaml.SafeLoader):
    """Plain values only. A key that comes twice, of which YAML would keep the last, is an error."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen and key.value != "<<":
                raise ValueError(f"the key '{key.value}' comes twice")
            seen.add(str(key.value))
        return node


def _reason(error: Exception) -> str:
    """What is wrong with a YAML text, with its line."""
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}" if mark is not None else ""
    told = getattr(error, "problem", None) or str(error) or "damaged"
    return f"{told.splitlines()[0]}{where}"


def _size(value: Any, known: dict[int, int]) -> int:
    """Number of values, those that are repeated by reference counted each time; RecursionError where one holds itself."""
    if isinstance(value, int) and value.bit_length() > MOST_DIGITS * 3:
        raise ValueError("a number has too many digits")
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(part, known) for part in inner)
    return known[id(value)]


def write_yaml(path: Path, config: BaseModel) -> None:
    """Write a configuration with all its defaults resolved."""
    write_text(path, to_yaml(config.model_dump(mode="json")))


def to_yaml(values: dict[str, Any]) -> str:
    """Plain values as YAML, in their order."""
    return yaml.safe_dump(values, sort_keys=False)


def override(values: dict[str, Any], assignments: typing.Iterable[str]) -> dict[str, Any]:
    """A copy of nested ``values`` with ``a.b=c`` assignments applied, c read as YAML; UsageError on a bad form."""
    result: dict[str, Any] = _copy(values)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not all(path.split(".")):
            raise UsageError(f"'{assignment}' is not of the form key.subkey=value.")
        try:
            value = yaml.load(text, _Loader)
            _size(value, {})
        except (yaml.YAMLError, ValueError, RecursionError):
            raise UsageError(
                f"The value of '{assignment}' can't be read.", "Quote texts with special characters."
            ) from None
        *parents, last = path.split(".")
        node = result
        for part in parents:
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise UsageError(f"'{path}': '{part}' is a value, not a group of keys.")
            node = child
        node[last] = value
    return result


def _copy(value: Any) -> Any:
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, dict) else value
