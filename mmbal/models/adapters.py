"""Checkpoints of this field's two-ResNet-18 repositories, as a mmbal classifier.

The repositories that descend from OGM-GE keep two ResNet-18 without their classifiers, under any prefix before ``conv1``,
``bn1``, ``layer1`` to ``layer4``, and pool each to 512 features. x is the first encoder of the file, y the second. The heads
that decide on the features are the table of :mod:`mmbal.models.layouts`. What wrappers put into the names is left out:
``module.`` (DataParallel) and ``_orig_mod.`` (torch.compile) anywhere, and prefixes that all names share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mmbal.data.store.store import ModalitySpec
from mmbal.errors import ConfigError
from mmbal.files import read_tensors
from mmbal.models.foreign_heads import MAKE, Head
from mmbal.models.layouts import HEADS, HOLDERS, LAYOUTS, WIDTH, Layout
from mmbal.models.multimodal import MultimodalClassifier, build_model

# Where training scripts keep the state dict; the first that is there is taken.
WRAPPERS = ("best_model_state_dict", "model", "state_dict", "model_state_dict", "net")
WRAPPING = ("module", "_orig_mod")  # parts of names that DataParallel and torch.compile add
USUAL_SPECS = {
    "audio": ModalitySpec(kind="spectrogram", shape=(1, 257, 188)),
    "video": ModalitySpec(kind="frames", shape=(3, 3, 224, 224)),
}
OTHER_WAYS = "See docs/your-model.md for the ways that take any model: mmbal.collect, a CSV, features with a head."

Parts = dict[str, tuple[str, Tensor]]  # our name -> their key and the tensor


@dataclass(frozen=True)
class Imported:
    """A foreign checkpoint as a classifier, and how its keys were used."""

    model: MultimodalClassifier
    classes: int
    head: Head
    layout: Layout
    encoders: dict[str, str]  # modality -> prefix in the file
    unused: list[str]  # keys of the file that no part takes, such as heads of one modality alone


def import_checkpoint(
    path: str | Path,
    specs: Mapping[str, ModalitySpec] | None = None,
    rows: Callable[[Layout, int], Sequence[int]] = lambda layout, classes: range(classes),
) -> Imported:
    """Read a checkpoint (tensors only) into a classifier on the modalities ``specs``, usually those of a store.

    ``rows(layout, classes)`` says which of the file's classes become the classes of the model, in order.
    Raises UsageError (no file) or ConfigError: no plain tensors, not two ResNet-18, no known head, missing keys.
    """
    path = Path(path)
    state = _state(read_tensors(path))
    if not state:
        raise ConfigError(f"{path} holds no state dict.", "Save it with torch.save(model.state_dict(), path).")
    try:
        return adapt(state, specs or USUAL_SPECS, rows)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", error.hint) from None


def adapt(
    state: Mapping[str, Tensor],
    specs: Mapping[str, ModalitySpec],
    rows: Callable[[Layout, int], Sequence[int]] = lambda layout, classes: range(classes),
) -> Imported:
    """The classifier that a state dict describes; raises ConfigError, see :func:`import_checkpoint`."""
    state = _unwrapped(state)
    encoders = _assign(list(_encoder_prefixes(state)), state, specs)
    parts: Parts = {}
    for m, prefix in encoders.items():
        parts |= _encoder(state, m, prefix)
    layout, values = _layout(_outside(state, list(encoders.values())), list(encoders.values()))
    by_class = [part for part, shape in HEADS[layout.head].items() if shape.startswith("C")]
    classes = len(values[by_class[0]][1])
    taken = {theirs for theirs, _ in [*parts.values(), *values.values()]}
    order = list(rows(layout, classes))
    values |= {part: (values[part][0], values[part][1][order]) for part in by_class}
    x, y = encoders
    head = MAKE[layout.head]({p: value for p, (_, value) in values.items()}, x, y, layout)
    model = build_model(
        {m: specs[m] for m in encoders}, classes, {m: ("resnet18", {}) for m in encoders}, (head.fusion, head.options)
    )
    _load(model, parts | {key: (key, value) for key, value in head.parts.items()})
    return Imported(model, classes, head, layout, encoders, [key for key in state if key not in taken])


def _state(values: object) -> dict[str, Tensor]:
    """The tensors of a file by name: of its state dict, wherever it is, or of the state dicts that stand side by side."""
    if not isinstance(values, Mapping):
        return {}
    inner = next((values[w] for w in WRAPPERS if isinstance(values.get(w), Mapping)), None)
    if inner is not None:
        return _state(inner)
    own = {str(key): value for key, value in values.items() if isinstance(value, Tensor)}
    beside = {key: _state(value) for key, value in values.items() if isinstance(value, Mapping)}
    return own or {f"{key}.{name}": value for key, each in beside.items() for name, value in each.items()}


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


def _outside(state: Mapping[str, Tensor], prefixes: Sequence[str]) -> Parts:
    """What is outside the encoders, by its name without a holder: what stands in a holder comes before what does not."""
    outside = {key: value for key, value in state.items() if not key.startswith(tuple(prefixes))}
    found: Parts = {key: (key, value) for key, value in outside.items()}
    for holder in HOLDERS:
        found |= {key.removeprefix(holder): (key, v) for key, v in outside.items() if key.startswith(holder)}
    return found


def _layout(values: Parts, prefixes: Sequence[str]) -> tuple[Layout, Parts]:
    """The layout of a head, and its parameters by their role; raises ConfigError, which names the nearest layout."""
    near = []
    for layout in LAYOUTS:
        if not all(prefix.startswith(layout.encoder) for prefix in prefixes):
            continue
        fitting, wrong = _compared(layout, values)
        if not wrong:
            return layout, {part: values[key] for part, key in layout.keys().items()} | _more(layout, values)
        if any(key in values for key in layout.keys().values()):
            near.append((-len(wrong), fitting, layout, wrong[0]))
    if near:
        *_, layout, why = max(reversed(near), key=lambda each: each[:2])
        told = f"The nearest is '{layout.head}' of {', '.join(layout.repositories)}, but {why}."
    else:
        rest = sorted({key.rpartition(".")[0] or key for key, _ in values.values()})
        told = f"Its parts besides the encoders: {', '.join(rest) or 'none'}."
    raise ConfigError(f"It has no head that mmbal knows. {told}", OTHER_WAYS)


def _compared(layout: Layout, values: Parts) -> tuple[int, list[str]]:
    """How many parameters of the layout are there with the right shape, and what keeps the file from being of it."""
    sizes = {"D": WIDTH, "2D": 2 * WIDTH}
    fitting, wrong = 0, []
    for part, key in layout.keys().items():
        if key not in values:
            wrong.append(f"'{key}' is missing")
            continue
        theirs, value = values[key]
        symbols, shape = HEADS[layout.head][part].split(), tuple(value.shape)
        for symbol, size in zip(symbols, shape, strict=False):
            sizes.setdefault(symbol, size)
        expected = tuple(sizes[symbol] for symbol in symbols) if len(symbols) == len(shape) else None
        if shape == expected:
            fitting += 1
        else:
            wrong.append(f"'{theirs}' has shape {shape}, expected {expected or f'{len(symbols)} dimensions'}")
    first = {key.partition(".")[0]: theirs for key, (theirs, _) in values.items()}
    return fitting, wrong + [f"'{first[name]}' is no part of it" for name in layout.without if name in first]


def _more(layout: Layout, values: Parts) -> Parts:
    """The parameters of further layers, under ``more.<role>.<number>.<parameter>``."""
    return {
        f"more.{role}.{key.removeprefix(f'{name}.')}": value
        for role, name in layout.more.items()
        for key, value in values.items()
        if key.startswith(f"{name}.")
    }


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
