"""The recipe of features: arrays that were computed elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from mmbal.data.media.decode import Decoded, Unusable, check_file
from mmbal.data.media.recipe import Recipe, Source
from mmbal.data.store.store import Kind
from mmbal.errors import DataError
from mmbal.files import require_memory, unpacked

if TYPE_CHECKING:
    from mmbal.data.media.container import Clips


class FeatureRecipe(Recipe):
    """An array computed elsewhere, from ``.npy`` or ``.npz#key``: a vector (D,), or a sequence cut or padded to (T, D)."""

    type: Literal["feature"] = "feature"
    size: tuple[int, ...] = Field(description="(D,) or (T, D)")

    @property
    def kind(self) -> Kind:
        return "features" if len(self.size) == 1 else "sequence"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size

    @property
    def dtype(self) -> str:
        return "float32"

    def encode(self, source: Source, clips: Clips | None = None) -> Decoded:
        array = read_array(Path(source.path), source.key)
        if array.ndim == len(self.size) == 2 and array.shape[1] == self.size[1]:
            padded = np.zeros(self.size, dtype=np.float32)
            padded[: len(array)] = array[: self.size[0]]
            array = padded
        if array.shape != self.size:
            raise Unusable("corrupt", f"shape {array.shape}, the others have {self.size}")
        if not np.isfinite(array).all():
            raise Unusable("corrupt", "NaN or infinite values")
        return Decoded(array.astype(np.float32))


def read_array(path: Path, key: str = "") -> np.ndarray:
    """A numeric array from ``.npy`` or, by its key, from ``.npz``; pickles are never read. Raises Unusable."""
    check_file(path)
    try:
        require_memory(unpacked(path), "it unpacks to")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            array = loaded
        else:
            with loaded:
                if not key and len(loaded.files) != 1:
                    raise Unusable(
                        "corrupt", f"several arrays; name one as {path.name}#KEY: {', '.join(loaded.files[:8])}"
                    )
                name = key or loaded.files[0]
                if name not in loaded.files:
                    raise Unusable("corrupt", f"no array '{name}'; it has {', '.join(loaded.files[:8])}")
                array = loaded[name]
    except Unusable:
        raise
    except DataError as error:
        raise Unusable("corrupt", error.message.rstrip(".")) from None
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on a damaged archive
        pickled = "pickle" in str(error).lower()
        raise Unusable("corrupt", "pickled objects, never read" if pickled else f"not an array ({error})") from None
    if array.dtype.kind not in "fiub":
        raise Unusable("corrupt", f"not numbers (dtype {array.dtype})")
    return array
