"""The names of the arrays of a predictions file: what each array holds, and of which modality it is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import numpy as np

from mmbal.errors import DataError, did_you_mean
from mmbal.predictions.columns import ALIASES, Array, key_of, texts

ROWS = ("labels", "ids", "split", "group")
OF_MODALITY = ("logits", "probabilities", "contribution", "shapley", "weights", "features", "weight", "present")
OF_MODEL = ("classes", "modalities", "fused", "exchanged", "bias", "meta")
SEGMENT = "group_"  # prefix of the properties of samples
FUSED = ("fused", "fusion")  # names that no modality has


class Names:
    """What the arrays of ``given`` are called: ``column`` has the name of each array of samples, ``modalities`` are all.

    ``unlabelled``: whether the labels may be missing. Raises DataError where the labels or the decisions are missing, and
    for a name that means nothing.
    """

    def __init__(self, given: Mapping[str, Array], unlabelled: bool = False) -> None:
        self.given = given
        self.column = {what: key for what in ALIASES if (key := key_of(given, what))}
        near = next(iter(difflib.get_close_matches("labels", given, n=1)), None)
        if "labels" not in self.column and (near is not None or not unlabelled):
            needed = "Needed are labels (N,) and logits_<modality> (N, C); only `mmbal diagnose` does without labels."
            raise DataError("There is no array 'labels'.", f"Is '{near}' it? Name it labels." if near else needed)
        self.modalities = self._modalities()
        self._refuse_unknown()
        self.subsets = self._subsets()

    def alone(self, m: str) -> str | None:
        """The array of a modality's own decision; None where a subset stands for it."""
        return next((key for p in ("logits", "probabilities") if (key := f"{p}_{m}") in self.given), None)

    def having(self, prefix: str) -> list[str]:
        """The modalities that have an array ``<prefix>_<m>``."""
        return [m for m in self.modalities if f"{prefix}_{m}" in self.given]

    def _modalities(self) -> tuple[str, ...]:
        alone = [k.split("_", 1)[1] for k in self.given if k.startswith(("logits_", "probabilities_"))]
        for name in alone:
            if name.lower() in FUSED:
                key = next(k for k in self.given if k.split("_", 1)[-1] == name)
                raise DataError(f"'{key}' is no array of a modality.", "The model's own decision is called 'fused'.")
        members = [m for k in self.given if k.startswith("subset_") for m in k.removeprefix("subset_").split("+") if m]
        found = list(dict.fromkeys(alone or members))
        if "modalities" in self.given:
            names = texts(np.atleast_1d(self.given["modalities"])).tolist()
            lacking = [m for m in names if m not in {*alone, *(m for m in members if f"subset_{m}" in self.given)}]
            if lacking:
                raise DataError(
                    f"'modalities' names '{lacking[0]}', but there is no array 'logits_{lacking[0]}'.",
                    did_you_mean(lacking[0], found),
                )
            found = names
        if not found:
            near = next((k for k in self.given if k.lower().startswith(("logit", "prob", "score"))), None)
            raise DataError(
                "There is no array 'logits_<modality>' or 'probabilities_<modality>'.",
                f"Is '{near}' one? Name it logits_<modality>." if near else "docs/your-model.md shows how to get them.",
            )
        for name in found:
            if "+" in name or not name or found.count(name) > 1:
                plus = "holds '+', which separates the modalities of subset_<a>+<b>"
                why = plus if "+" in name else "is empty or comes twice"
                raise DataError(f"The name of the modality '{name}' {why}.", "Give it another name.")
        return tuple(found)

    def _refuse_unknown(self) -> None:
        prefixed = [f"{prefix}_{m}" for prefix in OF_MODALITY for m in self.modalities]
        known = {*self.column.values(), *OF_MODEL, *prefixed}
        for key in self.given:
            if key in known or key.startswith(("subset_", SEGMENT)):
                continue
            same = next((what for what, keys in ALIASES.items() if key in keys), None)
            if same:
                raise DataError(f"'{key}' and '{self.column[same]}' both hold the {same}.", "Leave one of them out.")
            other = next((p for p in OF_MODALITY if key.startswith(f"{p}_")), None)
            if other in ("logits", "probabilities"):
                raise DataError(
                    f"'{key}' is of a modality that 'modalities' does not name.", "Name it, or leave it out."
                )
            if other:
                m = key.removeprefix(f"{other}_")
                raise DataError(
                    f"'{key}' is of the modality '{m}', which has no array 'logits_{m}'.",
                    did_you_mean(m, self.modalities),
                )
            raise DataError(f"'{key}' is no array that mmbal knows.", _nearest(key, known | set(ROWS)))

    def _subsets(self) -> dict[tuple[str, ...], str]:
        """The arrays of decisions with a subset of the modalities."""
        keys: dict[tuple[str, ...], str] = {}
        for key in self.given:
            if key.startswith("subset_"):
                members = [name for name in key.removeprefix("subset_").split("+") if name]
                unknown = [name for name in members if name not in self.modalities]
                if unknown:
                    raise DataError(
                        f"'{key}' names a modality that has no logits: '{unknown[0]}'.",
                        did_you_mean(unknown[0], self.modalities),
                    )
                names = tuple(m for m in self.modalities if m in members)
                if names in keys:
                    raise DataError(f"'{key}' and '{keys[names]}' name the same modalities.", "Leave one of them out.")
                keys[names] = key
        for m in self.modalities:
            if not self.alone(m) and (m,) not in keys:
                raise DataError(f"There is no array 'logits_{m}' and no 'subset_{m}'.", "One of them is needed.")
        return keys


def _nearest(key: str, known: Iterable[str]) -> str:
    """The known names nearest to an unknown one, whatever their case."""
    lower = {name.lower(): name for name in known}
    return f"Did you mean {lower[key.lower()]}?" if key.lower() in lower else did_you_mean(key, lower.values())
