"""Checkpoints: a model with all that is needed to use it again, as tensors and plain values only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmbal.config import validate
from mmbal.data.store.store import ModalitySpec, Store
from mmbal.decision import Rule, rule_from_json
from mmbal.engine.config import TrainConfig
from mmbal.errors import ConfigError, UsageError
from mmbal.files import read_tensors, write_json, write_tensors
from mmbal.methods.base import Method
from mmbal.models.multimodal import MultimodalClassifier, build_model
from mmbal.registry import methods

FORMAT = "mmbal.checkpoint.1"
CHECKPOINT = "checkpoint.pt"
RULE = "rule.json"


@dataclass
class Checkpoint:
    """A trained model: with its method (which may decide differently at test time) and its fitted rule, if any."""

    model: MultimodalClassifier
    method: Method
    config: TrainConfig
    classes: tuple[str, ...]
    modalities: dict[str, ModalitySpec]
    store: dict[str, str]
    epoch: int
    rule: Rule | None = None


def build(config: TrainConfig, specs: dict[str, ModalitySpec], classes: int) -> tuple[MultimodalClassifier, Method]:
    """Model and method of a resolved configuration, initialised from the global seed."""
    assert config.modalities is not None
    model = build_model(
        {m: specs[m] for m in config.modalities},
        classes,
        {m: (config.encoder[m].name, config.encoder[m].options) for m in config.modalities},
        (config.fusion.name, config.fusion.options),
    )
    cls = methods.get(config.method.name)
    return model, cls(model, validate(cls.Config, config.method.options, f"method {config.method.name}"))


def pack(model: MultimodalClassifier, method: Method, config: TrainConfig, store: Store, epoch: int) -> dict[str, Any]:
    """What a checkpoint file holds."""
    return {
        "format": FORMAT,
        "config": config.model_dump(mode="json"),
        "classes": list(store.classes),
        "modalities": {m: store.modalities[m].model_dump(mode="json") for m in model.modalities},
        "store": {"name": store.name, "path": str(store.path), "hash": store.hash},
        "epoch": epoch,
        "model": model.state_dict(),
        "method": method.state_dict(),
        "rule": None,
    }


def checkpoint_path(path: Path) -> Path:
    """``path`` itself, or the checkpoint in the run folder ``path``; raises UsageError where there is none."""
    found = path / CHECKPOINT if path.is_dir() else path
    if not found.is_file():
        raise UsageError(f"There is no checkpoint {found}.", "Give a run folder or a checkpoint.pt of mmbal.")
    return found


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file; raises ConfigError where it is none of mmbal's."""
    content = read_tensors(checkpoint_path(path))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigError(
            f"{path} is not a checkpoint of this mmbal.", "For another project's weights see `mmbal import --help`."
        )
    return content


def load_model(path: str | Path) -> Checkpoint:
    """The model of a checkpoint or run folder, on the CPU in evaluation mode.

    Raises UsageError where there is none, ConfigError where it is damaged or of another kind.
    """
    path = Path(path)
    content = read_checkpoint(path)
    try:
        config = validate(TrainConfig, content["config"], str(path))
        classes = tuple(content["classes"])
        specs = {m: ModalitySpec.model_validate(spec) for m, spec in content["modalities"].items()}
        model, method = build(config, specs, len(classes))
        model.load_state_dict(content["model"])
        lacking = method.load_state_dict(content["method"], strict=False).missing_keys
        if lacking:
            raise ConfigError(f"{path}: the method's state lacks '{lacking[0]}'.")
        rule = content["rule"]
        return Checkpoint(
            model=model.eval(),
            method=method.eval(),
            config=config,
            classes=classes,
            modalities=specs,
            store=content["store"],
            epoch=content["epoch"],
            rule=None if rule is None else rule_from_json(json.loads(rule), classes),
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        message = str(error).strip().splitlines()
        raise ConfigError(
            f"{path} does not fit this mmbal ({type(error).__name__}: {message[0] if message else ''})."
        ) from None


def attach_rule(path: str | Path, rule: dict[str, Any]) -> None:
    """Store a fitted decision rule (as JSON values) with the model of a checkpoint or run folder."""
    file = checkpoint_path(Path(path))
    content = read_checkpoint(file)
    rule_from_json(rule, tuple(content["classes"]))
    content["rule"] = json.dumps(rule)
    write_tensors(file, content)
    write_json(file.parent / RULE, rule)


def detach_rule(path: str | Path) -> bool:
    """Take the stored decision rule away from the model of a checkpoint or run folder; false where there is none.

    Raises UsageError where the model's fusion is one that decides by a fitted rule.
    """
    file = checkpoint_path(Path(path))
    content = read_checkpoint(file)
    if content["rule"] is None:
        return False
    fusion = validate(TrainConfig, content["config"], str(path)).fusion
    rule = fusion.options.get("rule")
    if rule is not None:
        raise UsageError(
            f"The fusion '{fusion.name}' of {path} decides by a fitted rule; without one it would be another model.",
            f"For the rule of its training: mmbal calibrate {path} --rule {rule} --force",
        )
    content["rule"] = None
    write_tensors(file, content)
    (file.parent / RULE).unlink(missing_ok=True)
    return True


def load_state(path: Path, model: MultimodalClassifier, method: Method) -> dict[str, Any]:
    """Put a saved state into a model and a method that are set up alike; returns the file's content."""
    content = read_checkpoint(path)
    try:
        model.load_state_dict(content["model"])
        method.load_state_dict(content["method"])
    except RuntimeError as error:
        raise ConfigError(f"{path} does not fit this configuration ({str(error).strip().splitlines()[0]}).") from None
    return content


def load_encoders(path: Path, model: MultimodalClassifier) -> None:
    """Put the trained encoders of another run into ``model``; raises ConfigError where one is missing or differs."""
    content = read_checkpoint(path)
    for m, encoder in model.encoders.items():
        prefix = f"encoders.{m}."
        state = {k.removeprefix(prefix): v for k, v in content["model"].items() if k.startswith(prefix)}
        if not state:
            raise ConfigError(f"{path} has no encoder for '{m}'.", f"It has: {', '.join(content['modalities'])}.")
        try:
            encoder.load_state_dict(state)
        except RuntimeError:
            raise ConfigError(f"The encoder of '{m}' in {path} has another shape than the one asked for.") from None


def move(checkpoint: Checkpoint, device: torch.device) -> Checkpoint:
    """The same checkpoint on another device."""
    checkpoint.model.to(device)
    checkpoint.method.to(device)
    return checkpoint
