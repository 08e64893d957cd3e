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
from mmbal.decision.fitting import cross_ruled
from mmbal.decision.fused import with_rule
from mmbal.engine.config import Choice, Started, TrainConfig
from mmbal.errors import ConfigError, UsageError
from mmbal.files import read_tensors, write_tensors
from mmbal.methods.base import Method
from mmbal.models.multimodal import MultimodalClassifier, build_model
from mmbal.registry import methods, rules
from mmbal.runs import CHECKPOINT, find_predictions, forget_rule, keep_rule

FORMAT = "mmbal.checkpoint.1"


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

    @property
    def rule_name(self) -> str | None:
        """The name of the rule that decides; None where the model decides as it is."""
        return None if self.rule is None else rules.name_of(type(self.rule))


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
        "store": {"name": store.name, "path": str(store.path.resolve()), "hash": store.hash},
        "epoch": epoch,
        "model": model.state_dict(),
        "method": method.state_dict(),
        "rule": None,
        "trained_rule": None,  # that of the fusion, which a calibrated one may replace
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
    if (
        isinstance(content, dict)
        and str(content.get("format", "")).startswith("mmbal.")
        and content["format"] != FORMAT
    ):
        raise ConfigError(
            f"{path} is a checkpoint of another version ({content['format']}); this mmbal reads {FORMAT}.",
            "Use the mmbal that wrote it.",
        )
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigError(
            f"{path} is not a checkpoint of this mmbal.", "For another project's weights see `mmbal import --help`."
        )
    return content


def started_from(config: TrainConfig) -> Started:
    """The encoders of the run that ``config`` starts from, and the normalisation of their inputs."""
    if config.encoders_from is None:
        return Started()
    saved = read_checkpoint(Path(config.encoders_from))["config"]
    encoders = {m: Choice.model_validate(choice) for m, choice in saved["encoder"].items()}
    return Started(encoders, saved.get("normalise", {}))


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
            raise ConfigError(f"{path}: the method's state has no '{lacking[0]}'.")
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
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        message = str(error).strip().splitlines()
        raise ConfigError(
            f"{path} does not fit this mmbal ({type(error).__name__}: {message[0] if message else ''})."
        ) from None


def attach_trained_rule(folder: Path, rule: dict[str, Any]) -> None:
    """Store the rule of a run's fusion (as JSON values), under which the run's predictions stand already."""
    content = read_checkpoint(folder)
    content["rule"] = content["trained_rule"] = json.dumps(rule)
    write_tensors(checkpoint_path(folder), content)
    keep_rule(folder, rule, {})


def attach_rule(
    path: str | Path, rule: dict[str, Any], *, split: str = "val", folds: int = 5, seed: int = 0, **config: Any
) -> None:
    """Store a fitted decision rule (as JSON values) with a run, in its checkpoint and with the decisions under it.

    ``path`` is the run's folder or checkpoint. On the rows of ``split``, which the rule was fitted on, decisions are
    cross-fitted with these folds, seed and hyper-parameters. Raises ConfigError where the rule does not fit the model.
    """
    file = checkpoint_path(Path(path))
    content = read_checkpoint(file)
    fitted = rule_from_json(rule, tuple(content["classes"]))
    name = rules.name_of(type(fitted))
    own = content["rule"] if content["config"]["fusion"].get("rule") else None
    content.setdefault("trained_rule", own)  # mmbal 0.1.0 did not keep it apart
    content["rule"] = json.dumps(rule)
    trained = find_predictions(file.parent, ruled=False)
    decided = {
        s: cross_ruled(rows, name, folds, seed, **config) if s == split else with_rule(rows, fitted, name)
        for s, rows in ((s, trained.select(s)) for s in trained.splits())
    }
    write_tensors(file, content)
    keep_rule(file.parent, rule | {"fitted": {"split": split, "folds": folds, "seed": seed}}, decided)


def detach_rule(path: str | Path) -> bool:
    """Undo :func:`attach_rule`: the run decides as it was trained, by the rule of its fusion where that has one.

    Returns whether there was a rule to remove.
    """
    file = checkpoint_path(Path(path))
    content = read_checkpoint(file)
    own = content.get("trained_rule", content["rule"] if content["config"]["fusion"].get("rule") else None)
    if content["rule"] == own:
        return False
    content["rule"] = own
    write_tensors(file, content)
    if own is None:
        forget_rule(file.parent)
    else:
        keep_rule(file.parent, json.loads(own), {})
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
            raise ConfigError(f"The encoder of '{m}' in {path} has another shape than the configured one.") from None


def move(checkpoint: Checkpoint, device: torch.device) -> Checkpoint:
    """The same checkpoint on another device."""
    checkpoint.model.to(device)
    checkpoint.method.to(device)
    return checkpoint
