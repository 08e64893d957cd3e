"""The candidate rules that `mmbal calibrate` compared, as it keeps them in a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbal.decision.comparison import rules_table
from mmbal.errors import DataError
from mmbal.files import read_json, require_version
from mmbal.maths.bootstrap import Estimate
from mmbal.runs import RULES
from mmbal.tables import Table


@dataclass(frozen=True)
class Rules:
    """``rows``: one a rule, first the decision as it is, judged as ``judged`` says."""

    chosen: str
    judged: str
    rows: list[dict[str, Any]]
    sentence: str

    @classmethod
    def of(cls, folder: Path | None) -> Rules | None:
        """What a run's folder holds; None where nothing was compared. Raises DataError for what calibrate did not write."""
        if folder is None or not (folder / RULES).is_file():
            return None
        found = read_json(folder / RULES)
        require_version(found, "schema_version", 1, str(folder / RULES))
        try:
            return cls._read(found)
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder / RULES} is not what this mmbal writes ({type(error).__name__}: {error}).",
                f"Write it anew: mmbal calibrate {folder}",
            ) from None

    @classmethod
    def _read(cls, found: dict[str, Any]) -> Rules:
        on_test = found["test"] is not None
        judged = (
            f"Fitted on '{found['split']}', judged on the {found['test_samples']} samples of 'test'"
            if on_test
            else f"Cross-fitted on the {found['samples']} samples of '{found['split']}'"
        )
        rows = [{k: _figure(v) for k, v in row.items()} for row in found["test" if on_test else "cross_fitted"]]
        return cls(found["rule"], judged, rows, found["sentence"])

    def tables(self) -> list[Table]:
        """The rules side by side."""
        return [rules_table(self.rows, self.chosen, self.judged)]


def _figure(value: Any) -> Any:
    """An estimate as one; a number or a name as it is."""
    if isinstance(value, dict):
        return Estimate(value=value["value"], low=value.get("low"), high=value.get("high"))
    return value
