"""A configuration file to begin with: every key with its default, and above each what it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mmbal.engine.config import TrainConfig, require_fusion
from mmbal.registry import Registry, fusions, methods

CHOICES: dict[str, Registry[Any]] = {"method": methods, "fusion": fusions}
HEAD = """\
# A training run of mmbal: mmbal train --config {name}
# A key behind a # is not set. Options of the command replace what stands here.
"""


def template(
    method: str = "joint", fusion: str | None = None, data: str | None = None, name: str = "config.yaml"
) -> str:
    """YAML with every key of a training configuration, commented; ``fusion`` is the one that the method needs by default.

    Raises UsageError for an unknown method or fusion, ConfigError where they do not go together.
    """
    chosen = {"method": method, "fusion": fusion or methods.entry(method).about.fusion or "concat"}
    require_fusion(chosen["method"], chosen["fusion"])
    lines = [HEAD.format(name=name)]
    for key, field in TrainConfig.model_fields.items():
        if key == "data":
            lines += [_comment(field), f"data: {json.dumps(data)}\n" if data else "# data: stores/NAME\n"]
        elif key in CHOICES:
            lines += _choice(key, chosen[key])
        else:
            lines += _field(key, field)
    return "\n".join(lines).rstrip() + "\n"


def _choice(key: str, name: str) -> Iterator[str]:
    registry = CHOICES[key]
    yield f"# {key}: one of `mmbal methods list --kind {key}`; its keys: mmbal methods show {name}"
    yield f"{key}:"
    yield f"  name: {name}"
    for own, field in registry.get(name).Config.model_fields.items():
        yield from (f"  {line}" for line in _field(own, field, space=False))
    yield ""


def _field(key: str, field: FieldInfo, space: bool = True) -> Iterator[str]:
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        yield f"{key}:"
        for own, inner in type(default).model_fields.items():
            yield from (f"  {line}" for line in _field(own, inner, space=False))
    else:
        if field.description or _choices(field):
            yield _comment(field)
        value = json.dumps(default, default=str)
        empty = default is None or default == () or default == {}
        yield f"# {key}: {'' if empty else value}".rstrip() if empty else f"{key}: {value}"
    if space:
        yield ""


def _comment(field: FieldInfo) -> str:
    choices = _choices(field)
    told = [field.description or "", f"one of {', '.join(choices)}" if choices else ""]
    return "# " + "; ".join(filter(None, told))


def _choices(field: FieldInfo) -> tuple[str, ...]:
    return tuple(map(str, get_args(field.annotation))) if get_origin(field.annotation) is Literal else ()
