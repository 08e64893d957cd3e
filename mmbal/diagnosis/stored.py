"""The diagnosis of what a path stands for, as `mmbal diagnose` prints it; for a run it is stored in the folder.

The stored one is used again while nothing that it depends on has changed: mmbal, the settings, and the files of
:meth:`mmbal.runs.Subject.fingerprint`.
"""

from __future__ import annotations

from pathlib import Path

from mmbal.diagnosis.document import Diagnosis
from mmbal.diagnosis.examine import diagnose
from mmbal.diagnosis.verdict import advice_of
from mmbal.files import read_json
from mmbal.runs import DIAGNOSIS, Subject
from mmbal.version import __version__


def diagnosis_of(
    subject: Subject,
    *,
    split: str = "test",
    human: bool = False,
    rule: str = "adaptive",
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Diagnosis:
    """The diagnosis of ``subject`` (:func:`mmbal.runs.subject` makes one of a path): the stored one, or measured now.

    Arguments and errors are those of :func:`mmbal.diagnosis.diagnose`.
    """
    kept = _kept(subject)
    if (
        kept is not None
        and kept.data.split == split
        and (kept.settings.rule, kept.settings.bootstrap) == (rule, bootstrap)
        and (kept.settings.seed, kept.settings.confidence) == (seed, confidence)
        and (kept.human is not None or not human)
    ):
        return kept.model_copy(update={"advice": advice_of(kept, str(subject.path))})
    found = diagnose(
        subject.predictions,
        reference=None if subject.reference is None else subject.reference.predictions,
        reference_name=None if subject.reference is None else subject.reference.name,
        split=split,
        human=human,
        rule=rule,
        bootstrap=bootstrap,
        seed=seed,
        confidence=confidence,
        source=str(subject.path),
        run=subject.folder,
    )
    return found.model_copy(update={"data": found.data.model_copy(update={"fingerprint": subject.fingerprint()})})


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
