"""What a run of the tests has tried in number: kills, faults, bad inputs, fuzz cases, mutants. Its end prints the sums.

A test says ``count("kills", 5)`` for what it did; a test marked ``counted("faults")`` is itself one of a kind. Counts of
tests that failed are left out. ``conftest.py`` carries them from the processes of pytest-xdist to the end of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

PREFIX = "count "
_of_this_test: Counter[str] = Counter()


def count(kind: str, number: int = 1) -> None:
    """Add to what the test at hand has done of a kind."""
    _of_this_test[kind] += number


def taken() -> list[tuple[str, int]]:
    """The counts since the last call, as properties of a report."""
    found = [(PREFIX + kind, number) for kind, number in _of_this_test.items()]
    _of_this_test.clear()
    return found


def lines(properties: Iterable[tuple[str, object]]) -> list[str]:
    """A line ``count KIND: N`` for each kind among the properties of all reports."""
    sums: Counter[str] = Counter()
    for name, number in properties:
        if name.startswith(PREFIX):
            sums[name] += int(str(number))
    return [f"{name}: {number}" for name, number in sorted(sums.items())]
