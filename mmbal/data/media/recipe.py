"""What a recipe is: how one modality of one sample becomes the array that a store keeps."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbal.config import Config
from mmbal.data.media.decode import Decoded
from mmbal.data.store.store import Kind, ModalitySpec

if TYPE_CHECKING:
    from mmbal.data.media.container import Clip, Clips


@dataclass(frozen=True, slots=True)
class Source:
    """Where one modality of one sample lies: a file or folder, an array in it, or a text; seconds within a clip."""

    path: str = ""
    key: str = ""
    text: str = ""
    start: float | None = None
    end: float | None = None

    def place(self, clips: Clips | None) -> Path | Clip:
        """The file as an open clip of ``clips``; its path where it is a folder, or no other modality uses it."""
        path = Path(self.path)
        return path if clips is None or path.is_dir() else clips(path)


class Recipe(Config):
    """Base of the recipes: ``encode`` gives the array that a store keeps, of ``stored_shape`` and ``dtype``."""

    @property
    @abstractmethod
    def kind(self) -> Kind: ...

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """One sample as an encoder sees it."""

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    @abstractmethod
    def dtype(self) -> str: ...

    @property
    def augment(self) -> dict[str, Any]:
        """What a loader may do to it in training."""
        return {}

    @abstractmethod
    def encode(self, source: Source, clips: Clips | None = None) -> Decoded:
        """Read and convert one source, through ``clips`` where several modalities are read from one file; raises
        Unusable.
        """

    def spec(self, statistics: dict[str, list[float]]) -> ModalitySpec:
        """The modality as a store describes it."""
        preprocessing = {"recipe": self.model_dump(mode="json"), "augment": self.augment, **statistics}
        return ModalitySpec(kind=self.kind, shape=self.shape, preprocessing=preprocessing)
