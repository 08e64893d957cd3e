"""What a model must meet: gates on the figures of its diagnosis, from a policy file or from ``--fail-if``.

    gates:
      - name: both modalities are used
        fail_if: index > 0.2
        reason: above 0.2, one modality decides nearly alone
      - name: not worse than the main branch
        fail_if: change.accuracy.fused < -0.01
        severity: warning

A gate of a policy fails where the whole interval of its figure is on the wrong side of the limit, passes where none of
it is, and is undecided where the interval spans the limit. ``--fail-if`` looks at the value alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mmbal.config import Config, read_yaml, validate
from mmbal.diagnosis.change import CHANGE, changes
from mmbal.diagnosis.conditions import Condition, Figure
from mmbal.diagnosis.document import Diagnosis
from mmbal.errors import GateFailed, GateUndecided, MmbalError, UsageError
from mmbal.text import plural

State = Literal["pass", "fail", "undecided"]
Severity = Literal["error", "warning", "note"]
FILE = "mmbal.yaml"  # a policy, unless it is named


class Gate(Config):
    """One condition that must not hold."""

    name: str = Field(min_length=1, description="what is asked of the model, in a few words")
    fail_if: str = Field(description="FIGURE OPERATOR NUMBER, as for --fail-if")
    reason: str = Field("", description="why it is asked")
    severity: Severity = Field("error", description="error counts for the exit code; warning and note are reported")


class Policy(Config):
    """Gates, and what becomes of one whose interval spans the limit."""

    gates: tuple[Gate, ...] = Field(min_length=1)
    undecided: State = Field("undecided", description="what an undecided gate counts as: undecided, pass or fail")


def read_policy(path: Path) -> Policy:
    """A policy from YAML; raises UsageError (no file, a condition of another form) and ConfigError (a key, a value)."""
    policy = validate(Policy, read_yaml(path), str(path))
    names = [gate.name for gate in policy.gates]
    for gate in policy.gates:
        if names.count(gate.name) > 1:
            raise UsageError(f"{path}: two gates are called '{gate.name}'.", "Give each gate a name of its own.")
        try:
            Condition.parse(gate.fail_if)
        except UsageError as error:
            raise UsageError(f"{path}, gate '{gate.name}': {error.message}", error.hint) from None
    return policy


@dataclass(frozen=True)
class Judged:
    """A gate and what became of it in one diagnosis."""

    source: str
    gate: Gate
    condition: Condition
    state: State
    value: float
    low: float | None
    high: float | None
    spans: bool = False  # whether the interval spans the limit, also where the policy says what that counts as

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "source": self.source,
            "name": self.gate.name,
            "figure": self.condition.path,
            "operator": self.condition.sign,
            "limit": self.condition.bound,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "outcome": self.state,
            "undecided": self.spans,
            "severity": self.gate.severity,
            "reason": self.gate.reason,
        }

    @property
    def outcome(self) -> str:
        """The state in words: that of an undecided gate is what the policy takes it for."""
        return f"{self.state} (undecided)" if self.spans and self.state != "undecided" else self.state

    @property
    def counts(self) -> bool:
        """Whether it counts for the exit code."""
        return self.gate.severity == "error"

    @property
    def figure(self) -> str:
        """The figure with its interval, as text."""
        interval = "" if self.low is None or self.high is None else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.value:.3g}{interval}"

    def __str__(self) -> str:
        name = "" if self.gate.name == self.gate.fail_if else f"{self.gate.name}: "
        limit = f"the gate fails if it is {self.condition.sign} {self.condition.bound:g}"
        spans = ", and the interval spans that" if self.spans else ""
        return f"{name}{self.condition.path} = {self.figure}, {limit}{spans}"


def judge(
    policy: Policy,
    source: str,
    diagnosis: Diagnosis,
    baseline: Diagnosis | None = None,
    by_value: bool = False,
) -> list[Judged]:
    """Every gate on one diagnosis; ``by_value`` leaves the intervals aside.

    Raises UsageError for an unknown figure, for one that was not computed, and for a change without a ``baseline``.
    """
    more: Mapping[str, Figure] = {} if baseline is None else changes(diagnosis, baseline)
    found = []
    for gate in policy.gates:
        condition = Condition.parse(gate.fail_if)
        if baseline is None and not diagnosis.change and condition.path.startswith(CHANGE):
            raise UsageError(
                f"The gate '{gate.name}' is about a change, and there is no baseline.",
                "Give --baseline diagnosis.json.",
            )
        outcome = condition.judge(diagnosis, more)
        spans = outcome.spans and not by_value
        state: State = policy.undecided if spans else "fail" if outcome.holds else "pass"
        found.append(Judged(source, gate, condition, state, outcome.value, outcome.low, outcome.high, spans))
    return found


def by_conditions(conditions: Iterable[str]) -> Policy | None:
    """The gates of ``--fail-if``, which are called by their conditions; None where there are none."""
    gates = tuple(Gate(name=text, fail_if=text) for text in dict.fromkeys(conditions))
    for gate in gates:
        Condition.parse(gate.fail_if)
    return Policy(gates=gates) if gates else None


def summary(judged: Sequence[Judged]) -> str:
    """One sentence: how many gates passed, failed and are undecided."""
    told = []
    for state, word in (("fail", "failed"), ("undecided", "undecided"), ("pass", "passed")):
        n = sum(one.state == state for one in judged)
        told += [f"{n} {word}"] if n else []
    return f"{plural(len(judged), 'gate')}: {', '.join(told)}."


def failure(judged: Sequence[Judged]) -> MmbalError | None:
    """What the command ends with where a gate that counts failed or is undecided; None where all passed."""
    failed = [one for one in judged if one.counts and one.state == "fail"]
    if failed:
        return GateFailed(_told(failed, judged))
    undecided = [one for one in judged if one.counts and one.state == "undecided"]
    if undecided:
        return GateUndecided(
            _told(undecided, judged),
            "The interval spans the limit: take more samples, or say what that counts as: --undecided pass|fail.",
        )
    return None


def _told(some: Sequence[Judged], judged: Sequence[Judged]) -> str:
    """Each of ``some`` as a sentence, with its source where several were judged."""
    several = len({one.source for one in judged}) > 1
    return ". ".join(f"{one.source}: {one}" if several else str(one) for one in some) + "."
