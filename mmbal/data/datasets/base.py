"""The contract of a known data set: one flat file each in ``datasets/``, registered under the file's name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from mmbal.data.preparation.arrays import Arrays
from mmbal.data.preparation.findings import Finding, Progress
from mmbal.data.preparation.manifest import Manifest
from mmbal.data.preparation.options import Options
from mmbal.errors import UsageError


class Dataset(ABC):
    """A known data set: where its files lie on a user's disk, which sample belongs to which class and split.

    ``defaults`` are the options this field uses for it; the user's options have priority.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    choices: ClassVar[tuple[str, ...]] = ()  # "split" and "subset", where there is something to choose

    @abstractmethod
    def read(self, root: Path | None, options: Options) -> Manifest | Arrays:
        """All samples; raises UsageError or DataError where the layout is not recognised."""

    def check(self, root: Path | None, progress: Progress | None = None) -> list[Finding]:
        """Findings where files differ from their published hashes (``--verify``); UsageError where none are published."""
        raise UsageError("No hashes of this data set's files are published.", "Leave --verify out.")

    def download(self, root: Path, *, url: str | None = None, progress: Progress | None = None) -> list[Finding]:
        """Fetch the files below ``root`` (``--download``); raises UsageError where mmbal can't fetch them."""
        raise UsageError("mmbal can't fetch this data set.", "docs/data.md says where to get it.")


def require_root(root: Path | None, name: str, holds: str) -> Path:
    """The folder of a data set; raises UsageError where none was given or it is not there."""
    if root is None:
        raise UsageError(
            f"{name} is not shipped with mmbal, and --root is not given.",
            f"Give --root DIR, the folder that holds {holds}.",
        )
    if not root.is_dir():
        raise UsageError(f"There is no folder {root}.", f"--root is the folder that holds {holds}.")
    return root
