"""Checkpoints of this field's two-ResNet-18 repositories, as a mmbal classifier.

The repositories that descend from OGM-GE keep two ResNet-18 without their classifiers, pool each to 512 features and
decide by one of four heads. What differs is how the parts are called (as found in the public code of OGM-GE, PMR,
MMPareto, MLA and BML_TPAMI2024):

======== ================================================ ============================================================
part     names in the file                                becomes
======== ================================================ ============================================================
encoders any prefix before ``conv1``, ``bn1``, ``layer1`` ``encoders.<m>``; x is the first of the file, y the second
         to ``layer4``: ``audio_net.``, ``encoder_1.``...
concat   ``fc_out``, ``fxy`` or ``head``, (C, 1024)       ``concat``; the first 512 columns are x's
sum      ``fc_x`` and ``fc_y``, ``fx`` and ``fy``         ``sum``
FiLM     ``fc`` (1024, 512) and ``fc_out`` (C, 512)       ``film``, by x
gated    the pair of sum, and ``fc_out`` or ``f_out``     ``gated``, by x
======== ================================================ ============================================================

Heads stand under ``fusion_module.``, ``fusion_model.`` or alone. What wrappers put into the names is left out: ``module.``
(DataParallel) and ``_orig_mod.`` (torch.compile) anywhere, and prefixes that all names share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mmbal.data.store.store import ModalitySpec
from mmbal.errors import ConfigError
from mmbal.files import read_tensors
from mmbal.models.multimodal import MultimodalClassifier, build_model

WRAPPERS = ("model", "state_dict", "model_state_dict", "net")  # where training scripts keep the state dict
WRAPPING = ("module", "_orig_mod")  # parts of names that DataParallel and torch.compile add
HOLDERS = ("fusion_module.", "fusion_model.", "")
CONCAT = ("fc_out", "fxy", "head")
PAIRS = (("fc_x", "fc_y", "fc_out"), ("fx", "fy", "f_out"))
USUAL_SPECS = {
    "audio": ModalitySpec(kind="spectrogram", shape=(1, 257, 188)),
    "video": ModalitySpec(kind="frames", shape=(3, 3, 224, 224)),
}
OTHER_WAYS = "See docs/your-model.md for the ways that take any model: mmbal.collect, a CSV, features with a head."

Parts = dict[str, tuple[str, Tensor]]  # our key -> their key and the tensor


@dataclass(frozen=True)
class Imported:
    """A foreign checkpoint as a classifier, and how its keys were used."""

    model: MultimodalClassifier
    classes: int
    fusion: str
    options: dict[str, object]
    encoders: dict[str, str]  # modality -> prefix in the file
    unused: list[str]  # keys of the file that no part takes, such as heads of one modality alone


def import_checkpoint(path: str | Path, specs: Mapping[str, ModalitySpec] | None = None) -> Imported:
    """Read a checkpoint (tensors only) into a classifier on the modalities ``specs``, usually those of a store.

    Raises UsageError (no file) or ConfigError: no plain tensors, not two ResNet-18, no known head, missing keys.
    """
    path = Path(path)
    values = read_tensors(path)
    for wrapper in WRAPPERS:
        if isinstance(values, Mapping) and isinstance(values.get(wrapper), Mapping):
            values = values[wrapper]
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path} holds no state dict.", "Save it with torch.save(model.state_dict(), path).")
    try:
        return adapt({key: value for key, value in values.items() if isinstance(value, Tensor)}, specs or USUAL_SPECS)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", error.hint) from None


def adapt(state: Mapping[str, Tensor], specs: Mapping[str, ModalitySpec]) -> Imported:
    """The classifier that a state dict describes; raises ConfigError, see :func:`import_checkpoint`."""
    state = _unwrapped(state)
    encoders = _assign(list(_encoder_prefixes(state)), state, specs)
    parts: Parts = {}
    for m, prefix in encoders.items():
        parts |= _encoder(state, m, prefix)
    fusion, options, head, classes = _head(state, *encoders)
    parts |= head
    model = build_model(
        {m: specs[m] for m in encoders}, classes, {m: ("resnet18", {}) for m in encoders}, (fusion, options)
    )
    _load(model, parts)
    taken = {theirs for theirs, _ in parts.values()}
    return Imported(model, classes, fusion, options, encoders, [key for key in state if key not in taken])


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without the parts of its names that wrappers add; raises ConfigError where two become the same."""
    names = [[part for part in key.split(".") if part not in WRAPPING] for key in state]
    while names and all(len(name) > 1 and name[0] == names[0][0] for name in names):
        names = [name[1:] for name in names]
    found = {".".join(name): value for name, value in zip(names, state.values(), strict=True)}
    if len(found) < len(state):
        raise ConfigError(f"Without {' and '.join(WRAPPING)} two keys have the same name.", "Save the model unwrapped.")
    return found


def _encoder_prefixes(state: Mapping[str, Tensor]) -> Iterator[str]:
    for key in state:
        prefix = key.removesuffix("conv1.weight")
        if prefix != key and f"{prefix}layer1.0.conv1.weight" in state:
            yield prefix


def _assign(prefixes: list[str], state: Mapping[str, Tensor], specs: Mapping[str, ModalitySpec]) -> dict[str, str]:
    """Modality -> prefix, in the order of the file: by name where the prefix has it, else by channels of the input."""
    if len(prefixes) != 2:
        raise ConfigError(f"It holds {len(prefixes)} ResNet encoders, expected two.", OTHER_WAYS)
    found: dict[str, str] = {}
    for prefix in prefixes:
        channels = state[f"{prefix}conv1.weight"].shape[1]
        fitting = [m for m, spec in specs.items() if len(spec.shape) >= 3 and spec.shape[-3] == channels]
        named = [m for m in fitting if m in prefix]
        if len(named or fitting) != 1:
            raise ConfigError(
                f"The encoder '{prefix}' takes {channels} channels, which fits {len(fitting)} of the modalities "
                f"{', '.join(specs)}.",
                "Rename the prefix to hold the modality's name, and give the store that the model is for.",
            )
        found[(named or fitting)[0]] = prefix
    if len(found) != 2:
        raise ConfigError(f"Both encoders, '{prefixes[0]}' and '{prefixes[1]}', fit the same modality.", OTHER_WAYS)
    return found


def _encoder(state: Mapping[str, Tensor], m: str, prefix: str) -> Parts:
    """torchvision's names of a ResNet under mmbal's; its classifier ``fc``, where there is one, is no part of it."""
    stem = {"conv1": "0.0", "bn1": "0.1"}
    parts: Parts = {}
    for key, value in state.items():
        first, _, rest = key.removeprefix(prefix).partition(".")
        if key.startswith(prefix) and first != "fc":
            ours = stem.get(first) or first.removeprefix("layer")
            parts[f"encoders.{m}.net.{ours}.{rest}"] = (key, value)
    return parts


def _head(state: Mapping[str, Tensor], x: str, y: str) -> tuple[str, dict[str, object], Parts, int]:
    """Fusion, its options, its parts and the number of classes."""
    for holder in HOLDERS:

        def has(*names: str, holder: str = holder) -> bool:
            return all(f"{holder}{name}.weight" in state and f"{holder}{name}.bias" in state for name in names)

        def layer(name: str, ours: str, holder: str = holder) -> Parts:
            return {
                f"fusion.{ours}.{p}": (f"{holder}{name}.{p}", state[f"{holder}{name}.{p}"]) for p in ("weight", "bias")
            }

        for first, second, out in PAIRS:
            if has(first, second, out):
                width, classes = state[f"{holder}{first}.weight"].shape[0], len(state[f"{holder}{out}.bias"])
                parts = layer(first, f"project.{x}") | layer(second, f"project.{y}") | layer(out, "out")
                return "gated", {"by": x, "dim": width}, parts, classes
            if has(first, second):
                parts = layer(first, f"heads.{x}") | layer(second, f"heads.{y}")
                return "sum", {}, parts, len(state[f"{holder}{first}.bias"])
        if has("fc", "fc_out"):
            linear = layer("fc_out", "out")
            parts = layer("fc", f"film.{y}")
            parts |= {f"fusion.out.{y}.weight": linear["fusion.out.weight"], "fusion.bias": linear["fusion.out.bias"]}
            return "film", {"by": x}, parts, len(parts["fusion.bias"][1])
        for name in CONCAT:
            if has(name):
                linear = layer(name, "out")
                key, weight = linear["fusion.out.weight"]
                halves = weight.chunk(2, dim=1)
                parts = {f"fusion.weights.{m}": (key, half) for m, half in zip((x, y), halves, strict=True)}
                parts["fusion.shared_bias"] = linear["fusion.out.bias"]
                return "concat", {}, parts, len(weight)
    rest = sorted({key.rsplit(".", 1)[0] for key in state if ".layer" not in key and ".bn1" not in key})
    raise ConfigError(
        f"It has no head that mmbal knows. Its parts besides the encoders: {', '.join(rest)}.", OTHER_WAYS
    )


def _load(model: MultimodalClassifier, parts: Parts) -> None:
    """Copy the parts into the model; every parameter must be given, and nothing of an encoder be left over."""
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in parts and not key.endswith("num_batches_tracked")]
    if missing:
        raise ConfigError(f"{len(missing)} keys are missing, among them the one for '{missing[0]}'.", OTHER_WAYS)
    for key, (theirs, value) in parts.items():
        if key not in wanted:
            raise ConfigError(f"The key '{theirs}' does not belong to a ResNet-18.", OTHER_WAYS)
        if value.shape != wanted[key].shape:
            raise ConfigError(
                f"'{theirs}' has shape {tuple(value.shape)}, expected {tuple(wanted[key].shape)}.", OTHER_WAYS
            )
    model.load_state_dict({key: value for key, (_, value) in parts.items()}, strict=False)
