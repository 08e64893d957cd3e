"""One worker of preparation: ``python -m mmbal.data.preparation.worker``.

It reads tasks on stdin and answers on stdout, in JSON lines.

Workers are processes of their own, so that a file that crashes or hangs the decoder costs one row and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.data.media.container import Clips
from mmbal.data.media.decode import OF_SYSTEM, Unusable
from mmbal.data.media.recipe import Recipe, Source
from mmbal.data.media.recipes import recipe_from

DIGEST = 16  # hexadecimal digits by which contents are compared


class Encoder:
    """Encodes rows and writes their arrays in place: one write per array, so memory does not grow with the rows.

    ``encode`` raises OSError where an array can't be written (a full disk).
    """

    def __init__(self, folder: Path, recipes: Mapping[str, Recipe]) -> None:
        self.recipes = dict(recipes)
        self._files = {m: (folder / f"{m}.npy").open("r+b", buffering=0) for m in recipes}
        self._offset = {m: np.load(folder / f"{m}.npy", mmap_mode="r").offset for m in recipes}

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def encode(self, row: int, sources: Mapping[str, Source]) -> dict[str, Any]:
        """Write the row's modalities; the answer says per modality its seconds, digest and remarks, or why it is lost."""
        answer: dict[str, Any] = {"row": row, "modalities": {}}
        with Clips() as clips:
            for m, recipe in self.recipes.items():
                if m in sources:
                    answer["modalities"][m] = self._encode(row, m, recipe, sources[m], clips)
        return answer

    def _encode(self, row: int, m: str, recipe: Recipe, source: Source, clips: Clips) -> dict[str, Any]:
        try:
            decoded = recipe.encode(source, clips)
        except Unusable as error:
            return {"lost": [error.kind, error.reason]}
        except Exception as error:  # a library may raise any error on a damaged file
            if getattr(error, "errno", None) in OF_SYSTEM:
                raise OSError(error.errno, os.strerror(error.errno)) from None  # type: ignore[attr-defined]
            return {"lost": ["crash", f"{type(error).__name__}: {error}"[:200]]}
        data = np.ascontiguousarray(decoded.array, dtype=recipe.dtype).tobytes()
        self._files[m].seek(self._offset[m] + row * len(data))
        rest = memoryview(data)
        while rest:  # on a disk that is nearly full a part is written first, without an error
            rest = rest[self._files[m].write(rest) :]
        return {
            "seconds": decoded.seconds,
            "digest": hashlib.sha256(data).hexdigest()[:DIGEST],
            "remarks": decoded.remarks,
            "notes": decoded.notes,
        }


def main() -> None:
    """The first line says the folder and the recipes; each further line is a row to encode."""
    setup = json.loads(sys.stdin.readline())
    encoder = Encoder(Path(setup["folder"]), {m: recipe_from(r) for m, r in setup["recipes"].items()})
    _answer({"ready": True})
    for line in sys.stdin:
        task = json.loads(line)
        try:
            _answer(encoder.encode(task["row"], {m: Source(**source) for m, source in task["sources"].items()}))
        except OSError as error:
            _answer({"failed": f"{error.strerror or error}"})


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
