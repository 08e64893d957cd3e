"""The diagnosis of what a path stands for, as `mmbal diagnose` prints it; for a run it is stored in the folder.

The stored one is used again while nothing that it depends on has changed: mmbal, the settings, and the files of
:meth:`mmbal.runs.Subject.fingerprint`.
"""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

from mmbal.diagnosis.document import Diagnosis
from mmbal.diagnosis.examine import diagnose
from mmbal.diagnosis.verdict import advice_of
from mmbal.files import read_json
from mmbal.runs import DIAGNOSIS, Subject
from mmbal.version import __version__

SETTINGS = ("rule", "bootstrap", "seed", "confidence")
DEFAULTS = {name: parameter.default for name, parameter in signature(diagnose).parameters.items()}


def diagnosis_of(subject: Subject, **options: Any) -> Diagnosis:
    """The diagnosis of ``subject`` (:func:`mmbal.runs.subject` makes one of a path): the stored one, or measured now.

    ``options``: split, human, rule, bootstrap, seed and confidence of :func:`mmbal.diagnosis.diagnose`, whose defaults
    and errors these are.
    """
    kept = _kept(subject)
    if kept is not None and _answers(kept, DEFAULTS | options):
        return kept.model_copy(update={"advice": advice_of(kept, str(subject.path))})
    found = diagnose(
        subject.predictions,
        reference=None if subject.reference is None else subject.reference.predictions,
        reference_name=None if subject.reference is None else subject.reference.name,
        source=str(subject.path),
        run=subject.folder,
        **options,
    )
    return found.model_copy(update={"data": found.data.model_copy(update={"fingerprint": subject.fingerprint()})})


def _answers(kept: Diagnosis, asked: dict[str, Any]) -> bool:
    """Whether a diagnosis was made with these options; raters that nobody asked for do no harm."""
    made = kept.data.split, *(getattr(kept.settings, name) for name in SETTINGS)
    if asked["baseline"] is not None:
        return False
    return made == (asked["split"], *(asked[name] for name in SETTINGS)) and (
        kept.human is not None or not asked["human"]
    )


def keep(diagnosis: Diagnosis, folder: Path) -> Path:
    """Write diagnosis.json into a run's folder; returns its path."""
    diagnosis.save(folder / DIAGNOSIS)
    return folder / DIAGNOSIS


def _kept(subject: Subject) -> Diagnosis | None:
    file = None if subject.folder is None else subject.folder / DIAGNOSIS
    if file is None or not file.is_file():
        return None
    document = read_json(file)
    same = document.get("data", {}).get("fingerprint") == subject.fingerprint()
    return Diagnosis.load(file) if same and document.get("mmbal") == __version__ else None
