"""Which parts of a model and its method learn in a stage, and in which mode their modules are."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from mmbal.errors import MmbalError
from mmbal.methods.base import Method, Stage, chosen
from mmbal.models.multimodal import MultimodalClassifier


def learners(modules: Mapping[str, nn.Module]) -> set[int]:
    """The ids of all parameters that learn."""
    return {id(p) for module in modules.values() for p in module.parameters() if p.requires_grad}


def select_parts(modules: dict[str, nn.Module], stage: Stage, learning: set[int]) -> None:
    """Let the parameters of the stage's parts learn, of those that learn at all."""
    active = chosen(modules, stage.train)
    for name, module in modules.items():
        for parameter in module.parameters():
            parameter.requires_grad_(name in active and id(parameter) in learning)


def enter_training(model: MultimodalClassifier, modules: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Training mode for the method and for each part that learns, evaluation mode for frozen parts.

    Returns, by name, the modules that must be in training mode at each step: those of the parts that learn. A module
    whose parameters are all frozen, such as a teacher inside a method, may have either mode.
    """
    model.train()
    learning: dict[str, nn.Module] = {}
    for name, part in modules.items():
        learns = any(p.requires_grad for p in part.parameters())
        part.train(learns or name == "method")
        if learns:
            learning |= {
                f"{name}.{path}".rstrip("."): module for path, module in part.named_modules() if _learns(module)
            }
    return learning


def _learns(module: nn.Module) -> bool:
    """Whether a module of a part that learns takes part in it: all do, but those whose parameters are all frozen."""
    parameters = list(module.parameters())
    return not parameters or any(p.requires_grad for p in parameters)


def require_training(learning: Mapping[str, nn.Module], method: Method) -> None:
    """Raise MmbalError where one of the modules that learn is in evaluation mode."""
    for name, module in learning.items():
        if not module.training:
            raise MmbalError(
                f"'{name}' learns, but is in evaluation mode: a hook of {type(method).__name__} did not restore it.",
                "Use mmbal.models.modes.evaluating, which restores the mode of every module.",
            )
