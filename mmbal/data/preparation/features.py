"""Feature files: ``.npz`` and MATLAB ``.mat`` with one array per modality, N rows each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from mmbal.data.preparation.build import Arrays
from mmbal.data.preparation.findings import Finding
from mmbal.data.preparation.manifest import told_apart
from mmbal.data.preparation.options import Options
from mmbal.data.store.store import Kind
from mmbal.errors import DataError, UsageError, did_you_mean
from mmbal.files import read_npz, sha256
from mmbal.predictions.splits import ALIASES

LABELS = ("label", "labels", "y", "target", "targets", "gt")
IDS = ("ids", "id", "clip_id", "clip")
GROUPS = ("group", "groups", "actor", "speaker", "subject")
KINDS: tuple[Kind, ...] = get_args(Kind)


def read_features(path: Path, options: Options) -> Arrays:
    """Read a feature file; raises DataError saying which array is wrong, UsageError for a wrong choice."""
    given = read_npz(path) if path.suffix.lower() == ".npz" else _read_mat(path)
    labels_key = _key(given, (options.label,) if options.label else LABELS)
    if labels_key is None:
        wanted = f"'{options.label}'" if options.label else "'label'"
        raise DataError(f"{path} has no array {wanted} (it has: {', '.join(given)}).", "Name it with --label KEY.")
    labels = np.squeeze(given[labels_key])
    if labels.ndim == 2 and labels.dtype.kind in "iub" and (labels.sum(axis=1) == 1).all():
        labels = labels.argmax(axis=1)  # one-hot
    if labels.ndim != 1 or not len(labels):
        raise DataError(f"{path}: '{labels_key}' has shape {labels.shape}; one class per sample is needed.")
    n = len(labels)
    chosen = _modalities(path, given, n, options, labels_key)
    arrays = {m: given[key] for m, key in chosen.items()}
    for m, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise DataError(f"{path}: '{chosen[m]}' holds {array.dtype}, not numbers.")
    for m in options.kind:
        if m not in arrays:
            raise UsageError(f"{path} has no modality '{m}' (--kind).", did_you_mean(m, arrays))
    kinds = {m: _kind(m, array, options.kind.get(m)) for m, array in arrays.items()}
    arrays = {m: _channels_first(a) if kinds[m] == "image" else a for m, a in arrays.items()}
    index, classes = _classes(path, labels, given.get("classes"))
    ids_key, group_key = _key(given, IDS, n), _key(given, GROUPS, n)
    split, findings = _split(given.get("split"), n, path)
    present = {m: np.squeeze(given[f"present_{m}"]) for m in arrays if f"present_{m}" in given}
    for m, mask in present.items():
        if mask.shape != (n,):
            raise DataError(f"{path}: 'present_{m}' has shape {mask.shape}; ({n},) is needed.")
    return Arrays(
        name=path.stem,
        arrays=arrays,
        kinds=kinds,
        labels=index,
        classes=classes,
        ids=np.array(told_apart(range(n) if ids_key is None else np.squeeze(given[ids_key]).tolist())),
        split=split,
        group=None if group_key is None else np.squeeze(given[group_key]).astype(str),
        present=present,
        findings=findings,
        meta={"file_sha256": sha256(path), "arrays": chosen},
    )


def _key(given: Mapping[str, np.ndarray], names: Sequence[str], rows: int | None = None) -> str | None:
    """The first of ``names`` that the file has (with ``rows`` entries)."""
    return next((k for k in names if k in given and (rows is None or np.squeeze(given[k]).shape == (rows,))), None)


def _modalities(
    path: Path, given: Mapping[str, np.ndarray], n: int, options: Options, labels_key: str
) -> dict[str, str]:
    """Modality -> array. As asked for, as the file's ``modalities`` says, or all arrays of N rows and more axes."""
    if options.modality:
        chosen = {name: key or name for name, _, key in (m.partition("=") for m in options.modality)}
    elif "modalities" in given:
        chosen = {str(m): str(m) for m in np.atleast_1d(given["modalities"])}
    else:
        chosen = {
            k: k for k, a in given.items() if a.ndim >= 2 and len(a) == n and a.dtype.kind in "fiub" and k != labels_key
        }
    if not chosen:
        raise DataError(f"{path} has no array of {n} rows and two or more axes.", "Save one (N, D) array per modality.")
    for key in chosen.values():
        if key not in given:
            raise UsageError(f"{path} has no array '{key}'.", did_you_mean(key, given))
        if given[key].ndim < 2 or len(given[key]) != n:
            raise DataError(
                f"{path}: '{key}' has shape {given[key].shape}; ({n}, ...) is needed, as there are {n} labels."
            )
    return chosen


def _kind(m: str, array: np.ndarray, asked: str | None) -> Kind:
    """What an array is: as asked for, else by its axes: (N, D) features, (N, T, D) sequence, bytes are pictures."""
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
        f"'{m}' of shape {array.shape} could be several things.", f"Say which: --kind {m}=image, frames or spectrogram."
    )


def _channels_first(array: np.ndarray) -> np.ndarray:
    if array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        return np.moveaxis(array, -1, 1)
    return array


def _classes(path: Path, labels: np.ndarray, names: np.ndarray | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices ``(N,)`` and the names in order."""
    if labels.dtype.kind == "f":
        if not (np.isfinite(labels).all() and (labels == np.round(labels)).all()):
            raise DataError(f"{path}: the labels are real numbers; classes are needed.", "Cut them into classes first.")
        labels = labels.astype(np.int64)
    if names is not None and labels.dtype.kind in "iub":
        known = tuple(str(name) for name in names)
        if labels.min() < 0 or labels.max() >= len(known):
            raise DataError(
                f"{path}: labels go from {labels.min()} to {labels.max()}, but there are {len(known)} classes."
            )
        return labels.astype(np.int64), known
    values, index = np.unique(labels, return_inverse=True)
    if names is not None:
        known = tuple(str(name) for name in names)
        strange = [str(v) for v in values if str(v) not in known]
        if strange:
            raise DataError(f"{path}: label '{strange[0]}' is not among its classes.")
        return np.array([known.index(str(v)) for v in values])[index], known
    return index, tuple(str(v) for v in values)


def _split(split: np.ndarray | None, n: int, path: Path) -> tuple[np.ndarray | None, list[Finding]]:
    if split is None:
        return None, []
    split = np.squeeze(split)
    if split.shape != (n,):
        raise DataError(f"{path}: 'split' has shape {split.shape}; ({n},) is needed.")
    names = [str(s).lower() for s in split]
    unknown = sorted(set(names) - set(ALIASES))
    if unknown:
        raise DataError(f"{path}: unknown split '{unknown[0]}'.", "Splits are train, val and test.")
    return np.array([ALIASES[s] for s in names]), []


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
        labels = _key(joined, LABELS)
        if labels is not None:
            sizes = [len(raw[f"{labels}_{s}"]) for s in splits]
            joined["split"] = np.repeat(splits, sizes)
        return joined
    return _views(raw)


def _views(raw: dict[str, Any]) -> dict[str, np.ndarray]:
    """Cell arrays of views (``X`` of V cells, ``Y``), as multi-view data sets come, become ``view1`` to ``viewV``."""
    result: dict[str, np.ndarray] = {}
    labels = next((np.ravel(v) for k, v in raw.items() if k.lower() in (*LABELS, "truth")), None)
    for key, value in raw.items():
        if value.dtype == object:
            for number, cell in enumerate(value.ravel(), start=1):
                view = cell.toarray() if hasattr(cell, "toarray") else np.asarray(cell)
                turned = labels is not None and view.ndim == 2 and len(view) != len(labels) == view.shape[1]
                result[f"view{number}"] = view.T if turned else view
        else:
            name = "label" if key.lower() in (*LABELS, "truth") else key
            result[name] = np.ravel(value) if name == "label" else value
    return result
