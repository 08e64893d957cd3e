"""Options that several commands share, and options made of the fields of a pydantic model."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mmbal.cli import completion, console
from mmbal.cli.help import declarations
from mmbal.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from mmbal.engine.config import TrainConfig

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is at --out.")]
Data = Annotated[
    Path | None,
    typer.Option(
        help="A store made by `mmbal prepare`. Default: the latest, or the embedded digits.",
        autocompletion=completion.stores,
    ),
]
Encoder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[MODALITY=]NAME",
        help="resnet18, cnn, mlp..., for all modalities or for one. Repeatable.",
        autocompletion=completion.members("encoder"),
    ),
]
Normalise = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODALITY=HOW",
        help="How a checkpoint's inputs were normalised: dataset, none, imagenet or MEAN,STD. Repeatable.",
    ),
]
Like = Annotated[
    str | None,
    typer.Option(
        metavar="PRESET",
        help="Normalise a checkpoint's inputs as a repository does: ogm_ge, ast.",
        autocompletion=completion.words("ogm_ge", "ast"),
    ),
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Number of epochs.")]
BatchSize = Annotated[int | None, typer.Option(min=2, help="Samples in each step.")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Learning rate.")]
Patience = Annotated[int | None, typer.Option(min=1, help="Stop after so many epochs without a better validation.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")]
Device = Annotated[
    str | None,
    typer.Option(
        help="auto, cpu, cuda, cuda:0 or mps.", autocompletion=completion.words("auto", "cpu", "cuda", "cuda:0", "mps")
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="fp32, or bf16: faster where the hardware has it.", autocompletion=completion.words("fp32", "bf16")
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any key of the config, as optimiser.lr=0.1. Repeatable.",
        autocompletion=completion.keys,
    ),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A config.yaml, as in a run's folder.")]
SaveEvery = Annotated[
    float | None, typer.Option(min=0, metavar="MINUTES", help="Save within an epoch too, every so many minutes.")
]
MaxHours = Annotated[
    float | None, typer.Option(min=0, metavar="HOURS", help="Save and stop before so many hours are over.")
]
Pages = Annotated[bool, typer.Option(help="Write diagnosis, card and page into each run.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder. Default: runs/<data>-<method>-<fusion>-s<seed>.")]


class Scores(str, Enum):
    """What the scores that a model or a CSV gives are."""

    auto = "auto"
    probabilities = "probabilities"
    logits = "logits"


BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def from_model(
    model: type[BaseModel], *keys: str, into: str = "options"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of a command: its parameter ``into`` becomes options made of a model's fields.

    Each field (of ``keys``, or all) gives ``--its-name`` with its type, and a help text of its description, choices, bounds
    and default. The command gets ``into`` as a dict of what the user gave, ready for the model, which checks the values. A
    boolean that is false by default becomes a switch; a tuple and a dict become options that can be repeated, a dict's as
    NAME=VALUE. The field's ``json_schema_extra`` may hold ``group`` (the panel in help), ``metavar`` and ``default`` (what
    help says of it).
    """
    fields = {key: model.model_fields[key] for key in keys or model.model_fields}
    hints = typing.get_type_hints(model)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(*args: Any, **kwargs: Any) -> Any:
            given = {key: _value(key, hints[key], field, kwargs.pop(key)) for key, field in fields.items()}
            return command(*args, **kwargs, **{into: {k: v for k, v in given.items() if v is not None}})

        own = declarations(command)
        parameters = []
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name == into:
                parameters += [_parameter(key, hints[key], field) for key, field in fields.items()]
            else:
                parameters.append(parameter.replace(annotation=own[parameter.name], kind=parameter.KEYWORD_ONLY))
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
        return run

    return decorate


def _plain(hint: Any) -> Any:
    """The type of an option's value, whether it may be left open or not."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _parameter(key: str, hint: Any, field: FieldInfo) -> inspect.Parameter:
    """A field as a parameter that Typer makes an option of; its value is None where the user gives none."""
    kind, extra = _plain(hint), _extra(field)
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    flag = "--" + key.replace("_", "-")
    switch = kind is bool and field.default is False and hint is bool
    default = extra.get("default", field.default)
    told = "" if default in (None, "", (), {}) or switch else f"Default: {_shown(default)}."
    option = typer.Option(
        *([flag] if kind is not bool or switch else [f"{flag}/--no-{flag[2:]}"]),
        help=" ".join(filter(None, [_sentence(field.description or key), _bounds(field), told])),
        rich_help_panel=extra.get("group"),
        metavar=_metavar(field)
        if typing.get_origin(kind) is dict or extra.get("metavar")
        else "|".join(choices) or None,
        show_default=False,
        autocompletion=completion.words(*map(str, choices)) if choices else None,
    )
    return inspect.Parameter(
        key,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if switch else None,
        annotation=Annotated[_typer_type(kind), option],
    )


def _typer_type(kind: Any) -> Any:
    """What Typer calls the type of a field: choices are texts, which the model checks."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is bool:
        return bool | None
    if origin is Literal:
        return str | None
    if origin is tuple and inner[-1] is not Ellipsis:
        return kind | None
    if origin in (tuple, list):
        return list[inner[0]] | None  # type: ignore[valid-type]
    return list[str] | None if origin is dict else kind | None


def _value(key: str, hint: Any, field: FieldInfo, given: Any) -> Any:
    """What the user gave, as the model takes it; None where nothing was given."""
    origin = typing.get_origin(_plain(hint))
    if given is None or given == [] or (given is False and field.default is False):
        return None
    if origin is dict:
        pairs = [text.partition("=") for text in given]
        for text, (_, equals, _) in zip(given, pairs, strict=True):
            if not equals:
                raise UsageError(f"--{key} {text} is not of the form {_metavar(field)}.")
        return {name: value for name, _, value in pairs}
    return tuple(given) if origin is tuple else given


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _extra(field: FieldInfo) -> dict[str, Any]:
    return dict(field.json_schema_extra) if isinstance(field.json_schema_extra, dict) else {}


def _metavar(field: FieldInfo) -> str:
    """What stands for the value in help."""
    return _extra(field).get("metavar") or "NAME=VALUE"


def _shown(value: Any) -> str:
    """A default as a user would type it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _bounds(field: FieldInfo) -> str:
    bounds = [f"{sign} {getattr(b, name)}" for b in field.metadata for name, sign in BOUNDS.items() if hasattr(b, name)]
    return f"[{', '.join(bounds)}]" if bounds else ""


def choose_store(data: Path | None) -> Path:
    """The given store, else the latest prepared here, else the embedded digits; prints which one it is."""
    from mmbal.data.prepare import embedded_store
    from mmbal.data.store.store import latest_store

    if data is not None:
        return data
    found = latest_store()
    if found is not None:
        console.note(f"Data: {found}, the store prepared last (another: --data STORE).")
        return found
    found = embedded_store()
    console.note("Data: the embedded spoken and written digits (your own: mmbal prepare SOURCE).")
    return found


def training_config(
    data: Path | None,
    file: Path | None,
    *,
    encoder: list[str] | None,
    assignments: list[str] | None,
    **given: Any,
) -> TrainConfig:
    """The configuration from a file, the command's own options (dotted keys, None: not given) and --set, in this order."""
    from mmbal.config import override, read_yaml, validate
    from mmbal.data.store.store import Store
    from mmbal.engine.config import TrainConfig
    from mmbal.registry import methods

    values: dict[str, Any] = {"method": {"name": "joint"}, "fusion": {"name": "concat"}, "optimiser": {}}
    if file is not None:
        values |= read_yaml(file)
    method, fusion = given.pop("method", None), given.pop("fusion", None)
    if method is not None:
        values["method"] = {"name": method}
        fusion = fusion or methods.entry(method).about.fusion  # the one that the method needs, if it does
    if fusion is not None:
        values["fusion"] = {"name": fusion}
    for key, value in given.items():
        if value is not None:
            *groups, last = key.split("__")
            node = values
            for group in groups:
                node = node[group]
            node[last] = value
    if data is not None or "data" not in values:
        values["data"] = str(choose_store(data))
    if encoder:
        values["encoder"] = _encoders(encoder, Store.open(values["data"]))
    return validate(TrainConfig, override(values, assignments or []))


def refuse_with_resume(**given: Any) -> None:
    """Raise UsageError for the first option that is given though the run goes on as it was configured."""
    for name, value in given.items():
        if value is not None and value != []:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} does not go with --resume.", "A run goes on as it was configured.")


def _encoders(given: list[str], store: Any) -> dict[str, dict[str, Any]]:
    """``NAME`` for every modality that the encoder can take, ``MODALITY=NAME`` for one."""
    from mmbal.registry import encoders

    found: dict[str, dict[str, Any]] = {}
    for text in given:
        modality, equals, name = text.rpartition("=")
        kinds = encoders.entry(name).about.kinds
        if equals:
            store.require(modality)
            found[modality] = {"name": name}
            continue
        fitting = [m for m, spec in store.modalities.items() if spec.kind in kinds]
        if not fitting:
            raise UsageError(f"The encoder '{name}' takes none of this store's modalities.")
        for m in fitting:
            found.setdefault(m, {"name": name})
    return found


def normalisation(given: list[str] | None, like: str | None) -> dict[str, str]:
    """What the options say of each modality; raises UsageError where one is not of the form MODALITY=HOW."""
    from mmbal.data.store.normalisation import preset

    ways = {} if like is None else dict(preset(like).normalise)
    for text in given or []:
        modality, equals, how = text.partition("=")
        if not equals:
            raise UsageError(
                f"--normalise {text} is not of the form MODALITY=HOW.", "For example: --normalise audio=none"
            )
        ways[modality] = how
    return ways
