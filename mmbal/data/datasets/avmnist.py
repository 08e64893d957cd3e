"""Spoken and written digits: 2,000 pairs of a recording and a picture of the same digit, shipped with mmbal.

The recordings are of the Free Spoken Digit Dataset (Jackson et al., 2018), as 32 x 32 log-mel pictures; the pictures of
MNIST's test set (LeCun, Cortes & Burges, 1998). A small relative of AV-MNIST (Vielzeuf et al., ECCV Workshops 2018,
arXiv 1808.07275), with speakers that occur in train and test alike.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmbal import embedded
from mmbal.data.datasets.base import Dataset
from mmbal.data.preparation.arrays import Arrays
from mmbal.data.preparation.options import Options
from mmbal.errors import UsageError
from mmbal.files import read_npz, sha256
from mmbal.registry import datasets


@datasets.register(
    title="Spoken + written digits", modalities=("audio", "image"), classes=10, licence="CC BY-SA", shipped=True
)
class AVMNIST(Dataset):
    def read(self, root: Path | None, options: Options) -> Arrays:
        if root is not None:
            raise UsageError("avmnist is shipped with mmbal and takes no --root.")
        path = embedded.path("avmnist_fsdd_dev.npz")
        given = read_npz(path)
        pictures = given["audio_logmel"], given["image"]
        return Arrays(
            name="avmnist",
            arrays=dict(zip(("audio", "image"), pictures, strict=True)),
            kinds={"audio": "spectrogram", "image": "image"},
            labels=given["label"].astype(np.int64),
            classes=("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
            ids=np.array([wav.removesuffix(".wav") for wav in given["wav"]]),
            split=given["split"],
            meta={"file_sha256": sha256(path)},
        )
