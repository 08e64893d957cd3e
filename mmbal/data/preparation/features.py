"""Feature files, ``.npz`` and MATLAB ``.mat``, as sources of `mmbal prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np

from mmbal.data.preparation.arrays import Arrays
from mmbal.data.preparation.findings import Finding
from mmbal.data.preparation.manifest import told_apart
from mmbal.data.preparation.options import Options
from mmbal.data.store.store import Kind
from mmbal.errors import DataError, UsageError, did_you_mean
from mmbal.files import sha256
from mmbal.predictions.columns import ALIASES as COLUMN_NAMES
from mmbal.predictions.columns import key_of
from mmbal.predictions.features import DECISIONS, copies, dull_columns, empty_rows, read_feature_file
from mmbal.predictions.labels import labels_of
from mmbal.predictions.splits import ALIASES

LABEL_NAMES = COLUMN_NAMES["labels"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def read_features(path: Path, options: Options) -> Arrays:
    """Read a feature file; raises DataError saying which array is wrong, UsageError for a wrong choice."""
    raw = None if path.suffix.lower() == ".npz" else _read_mat(path)
    given = read_feature_file(path, raw, label=options.label, modality=options.modality)
    arrays = given.arrays
    if not options.modality and any(DECISIONS.match(m) for m in arrays):
        raise UsageError(
            f"{path} holds the decisions of a model, not features to train on.",
            f"Examine them: mmbal diagnose {path}. --modality takes an array for features all the same.",
        )
    for m in options.kind:
        if m not in arrays:
            raise UsageError(f"{path} has no modality '{m}' (--kind).", did_you_mean(m, arrays))
    kinds = {m: _kind(m, array, options.kind.get(m)) for m, array in arrays.items()}
    try:
        labels = labels_of(given.labels, given.named_classes, None, given.labels_key)
    except DataError as error:
        raise DataError(f"{path}: {error.message}", error.hint) from None
    n = len(labels.index)
    findings = [
        Finding("warning", "rows of zeros", path.name, text, m)
        for m, array in arrays.items()
        for text in empty_rows(m, array, given)
    ]
    dull = [text for m, array in arrays.items() if kinds[m] == "features" for text in dull_columns(m, array)]
    unused = [f"the array '{key}' {value.shape} was not used" for key, value in given.others.items()]
    told = [*copies(arrays), *dull, *unused, *labels.notes]
    findings += [Finding("note", "features", path.name, text) for text in told]
    return Arrays(
        name=path.stem,
        arrays={m: _channels_first(a) if kinds[m] == "image" else a for m, a in arrays.items()},
        kinds=kinds,
        labels=labels.index,
        classes=labels.classes,
        ids=np.array(told_apart(range(n) if given.ids is None else given.ids.tolist())),
        split=None if given.split is None else _store_splits(path, given.split),
        group=given.group,
        present=given.present,
        findings=findings,
        meta={"file_sha256": sha256(path), "arrays": given.keys},
    )


def _store_splits(path: Path, names: np.ndarray) -> np.ndarray:
    unknown = sorted({name for name in names.tolist() if name not in ALIASES})
    if unknown:
        raise DataError(f"{path}: unknown split '{unknown[0]}'.", "Splits are train, val and test.")
    return np.array([ALIASES[name] for name in names.tolist()])


def _kind(m: str, array: np.ndarray, asked: str | None) -> Kind:
    """The kind of an array: as given, else by its axes: (N, D) features, (N, T, D) sequence, bytes are pictures."""
    if asked is not None:
        if asked not in KINDS:
            raise UsageError(f"There is no kind '{asked}' (--kind {m}={asked}).", did_you_mean(asked, KINDS))
        axes = {
            "features": (2,),
            "sequence": (3,),
            "spectrogram": (3, 4),
            "image": (3, 4),
            "frames": (4, 5),
            "text": (2,),
        }
        if array.ndim not in axes[asked]:
            raise UsageError(f"'{m}' of shape {array.shape} can't be of kind {asked}.", "Choose another --kind.")
        return next(kind for kind in KINDS if kind == asked)
    if array.ndim == 2:
        return "features"
    if array.dtype == np.uint8 and array.ndim <= 5:
        picture = array.ndim == 3 or (array.ndim == 4 and (array.shape[1] in (1, 3) or array.shape[3] in (1, 3)))
        return "image" if picture else "frames"
    if array.ndim == 3:
        return "sequence"
    raise UsageError(
        f"'{m}' of shape {array.shape} could be of several kinds.",
        f"Give its kind: --kind {m}=image, frames or spectrogram.",
    )


def _channels_first(array: np.ndarray) -> np.ndarray:
    if array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        return np.moveaxis(array, -1, 1)
    return array


def _read_mat(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a MATLAB file; ``x1_train``, ``x1_test``, ``gt_train``, ``gt_test`` are joined, with their split."""
    from scipy.io import loadmat

    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    try:
        raw: dict[str, Any] = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    except NotImplementedError:
        raise DataError(
            f"{path} is a MATLAB 7.3 file (HDF5).", "Save it again in MATLAB with -v7, or as .npz."
        ) from None
    except Exception as error:  # SciPy raises many kinds on a damaged file
        raise DataError(f"{path} is not a readable .mat file ({error}).") from None
    splits = [s for s in ("train", "val", "test") if any(key.endswith(f"_{s}") for key in raw)]
    if splits:
        stems = sorted({key[: -len(s) - 1] for s in splits for key in raw if key.endswith(f"_{s}")})
        joined: dict[str, np.ndarray] = {}
        for stem in stems:
            parts = [raw[f"{stem}_{s}"] for s in splits if f"{stem}_{s}" in raw]
            if len(parts) < len(splits):
                raise DataError(f"{path} has '{stem}' for some splits only ({', '.join(splits)} are there).")
            joined[stem] = np.concatenate(parts)
        labels = key_of(joined, "labels")
        if labels is not None:
            sizes = [len(raw[f"{labels}_{s}"]) for s in splits]
            joined["split"] = np.repeat(splits, sizes)
        return joined
    return _views(raw)


def _views(raw: dict[str, Any]) -> dict[str, np.ndarray]:
    """Cell arrays of views (``X`` of V cells, ``Y``), as multi-view data sets come, become ``view1`` to ``viewV``."""
    result: dict[str, np.ndarray] = {}
    labels = next((np.ravel(v) for k, v in raw.items() if k.lower() in (*LABEL_NAMES, "truth")), None)
    for key, value in raw.items():
        if value.dtype == object:
            for number, cell in enumerate(value.ravel(), start=1):
                view = cell.toarray() if hasattr(cell, "toarray") else np.asarray(cell)
                turned = labels is not None and view.ndim == 2 and len(view) != len(labels) == view.shape[1]
                result[f"view{number}"] = view.T if turned else view
        else:
            name = "label" if key.lower() in (*LABEL_NAMES, "truth") else key
            result[name] = np.ravel(value) if name == "label" else value
    return result
