"""Finds the files that a manifest names, also where the system spells their names in another way."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from pathlib import Path
from urllib.parse import unquote


class Files:
    """Files as a manifest names them: below its folder, also under another spelling of their name.

    Systems spell one name in several ways: accents as one character or two (NFC, NFD), ``\\`` or ``/``, letters of either
    case, and addresses write a space as ``%20``. ``renamed`` tells which names were found under another spelling.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.renamed: dict[str, str] = {}
        self._found: dict[str, str] = {}
        self._listed: dict[Path, dict[str, str]] = {}

    def find(self, cell: str) -> str:
        """The path of a file; where it is not there under any spelling, as it was named."""
        if cell not in self._found:
            self._found[cell] = self._find(cell)
        return self._found[cell]

    def _find(self, cell: str) -> str:
        cell = cell.removeprefix("file://")
        named = self.folder / cell
        if os.path.lexists(named):
            return str(named)
        for spelled in (cell, cell.replace("\\", "/"), unquote(cell)):
            path = Path(self.folder, spelled)
            there = Path(path.anchor)
            for part in path.parts[bool(path.anchor) :]:
                there = there / (
                    part if os.path.lexists(there / part) else self._names(there).get(_spelling(part), part)
                )
            if os.path.lexists(there):
                self.renamed[cell] = os.path.relpath(there, self.folder)
                return str(there)
        if os.path.lexists(cell):  # as seen from the folder that the program was started in
            self.renamed[cell] = os.path.abspath(cell)
            return os.path.abspath(cell)
        return str(named)

    def _names(self, folder: Path) -> dict[str, str]:
        """Spelling -> name of what is in a folder, where only one has it."""
        if folder not in self._listed:
            try:
                names = os.listdir(folder or ".")
            except OSError:
                names = []
            count = Counter(map(_spelling, names))
            self._listed[folder] = {_spelling(name): name for name in names if count[_spelling(name)] == 1}
        return self._listed[folder]


def _spelling(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
