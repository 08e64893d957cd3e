"""CREMA-D's human raters as a multimodal classifier: by the voice, by the face, and by both.

Cao, Cooper, Keutmann, Gur, Nenkova and Verma, "CREMA-D: Crowd-Sourced Emotional Multimodal Actors Dataset", IEEE
Transactions on Affective Computing 5(4), 2014. The votes on 4,901 clips of 60 actors ship with mmbal (ODbL 1.0, see
NOTICE).
"""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import numpy as np

from mmbal.files import read_npz
from mmbal.maths.scoring import correct
from mmbal.predictions.format import Predictions

PSEUDO_VOTES = 0.5  # Jeffreys' prior: an emotion that none of ten raters named is improbable, not impossible


def read_votes() -> dict[str, np.ndarray]:
    """``clip (N,)``, ``actor (N,)``, ``label (N,)``, ``classes (6,)``, ``split (N,)``, ``voice_votes``, ``face_votes``
    and ``av_votes (N, 6)``, numbers of raters."""
    return read_npz(Path(str(files("mmbal.embedded") / "cremad_human_votes_dev.npz")))


def read_demographics() -> dict[str, dict[str, str]]:
    """Actor -> ``Age`` in years, ``Sex``, ``Race`` and ``Ethnicity``, as CREMA-D states them."""
    text = (files("mmbal.embedded") / "cremad_demographics.csv").read_text(encoding="utf-8")
    return {row["ActorID"]: row for row in csv.DictReader(text.splitlines())}


def log_votes(votes: np.ndarray) -> np.ndarray:
    """Logarithms of the raters' shares ``(N, C)``, with half a vote added to each class."""
    smoothed = votes + PSEUDO_VOTES
    return np.log(smoothed / smoothed.sum(axis=1, keepdims=True))


def human_votes() -> Predictions:
    """The raters as Predictions of the modalities ``voice`` and ``face``, fused by the plain sum of log-votes.

    Splits ``calibration`` and ``test`` are by clip; ``group`` is the actor, whose ``sex`` and ``age`` are
    the segments. ``meta`` holds how often those who had both
    were right on the test split (the emotion most of them named).
    """
    votes = read_votes()
    test, people = votes["split"] == "test", read_demographics()
    both = correct(votes["av_votes"].astype(np.float64), votes["label"])
    voice, face = log_votes(votes["voice_votes"]), log_votes(votes["face_votes"])
    return Predictions.from_arrays(
        {
            "labels": votes["label"],
            "classes": votes["classes"],
            "modalities": np.array(["voice", "face"]),
            "ids": votes["clip"],
            "group": votes["actor"],
            "group_sex": np.array([people[actor]["Sex"] for actor in votes["actor"].astype(str)]),
            "group_age": np.array([people[actor]["Age"] for actor in votes["actor"].astype(str)]),
            "split": np.where(test, "test", "calibration"),
            "logits_voice": voice,
            "logits_face": face,
            "contribution_voice": voice,
            "contribution_face": face,
            "fused": voice + face,
        },
        {
            "producer": "human raters",
            "dataset": "cremad_humans",
            "fusion": "sum",
            "both_accuracy": {"calibration": float(both[~test].mean()), "test": float(both[test].mean())},
        },
    )
