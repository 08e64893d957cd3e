"""Judged gates as a table, and in the forms that CI systems read: JUnit XML, SARIF and a Markdown summary."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as xml
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mmbal.diagnosis.policy import Judged, State, summary
from mmbal.report.tables import escape_markdown, markdown
from mmbal.tables import Column, Table
from mmbal.version import __version__

SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
MARKS = {"pass": "✅", "fail": "❌", "undecided": "❔"}
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 has no such characters


def overall(judged: Sequence[Judged]) -> State:
    """What all gates that count come to."""
    states = {one.state for one in judged if one.counts}
    return "fail" if "fail" in states else "undecided" if "undecided" in states else "pass"


def document(judged: Sequence[Judged]) -> dict[str, Any]:
    """All of it as plain values for JSON."""
    return {"schema_version": 1, "outcome": overall(judged), "gates": [one.to_dict() for one in judged]}


def table(judged: Sequence[Judged], marks: bool = False) -> Table:
    """One row for each gate of each source."""
    several = len({one.source for one in judged}) > 1
    states = [f"{MARKS[one.state]} {one.outcome}" if marks else one.outcome for one in judged]
    return Table.of(
        [
            Column("gate", [one.gate.name for one in judged], wrap=True),
            Column("outcome", states, left=True),
            Column("figure", [one.condition.path for one in judged], left=True, drop=2),
            Column("value", [one.figure for one in judged]),
            Column("fails if", [f"{one.condition.sign} {one.condition.bound:g}" for one in judged], left=True),
            Column("severity", [one.gate.severity for one in judged], left=True, drop=3),
            Column("reason", [one.gate.reason for one in judged], left=True, drop=4, wrap=True),
            Column("of", [one.source if several else None for one in judged], left=True, wrap=True),
        ]
    )


def summary_page(judged: Sequence[Judged]) -> str:
    """A Markdown summary for a pull request: the outcome in one line, then the table."""
    head = f"### {MARKS[overall(judged)]} mmbal: {escape_markdown(summary(judged))}\n\n"
    spans = any(one.spans for one in judged)
    note = "\nUndecided: the interval of the figure spans the limit. More samples decide it.\n" if spans else ""
    return head + markdown(table(judged, marks=True)) + note


def junit(judged: Sequence[Judged]) -> str:
    """JUnit XML: a test case for each gate; one that is undecided counts as skipped, and so does a failed one of lower
    severity."""
    failed = [one for one in judged if one.counts and one.state == "fail"]
    skipped = [one for one in judged if one.state != "pass" and one not in failed]
    counts = {"tests": str(len(judged)), "failures": str(len(failed)), "errors": "0", "skipped": str(len(skipped))}
    suites = xml.Element("testsuites", counts)
    suite = xml.SubElement(suites, "testsuite", {"name": "mmbal check", **counts})
    for one in judged:
        case = xml.SubElement(suite, "testcase", {"classname": _xml(one.source), "name": _xml(one.gate.name)})
        if one.state != "pass":
            kind = "failure" if one in failed else "skipped"
            told = f"{one.outcome} ({one.gate.severity}): {one}"
            xml.SubElement(case, kind, {"message": _xml(told)}).text = _xml(one.gate.reason)
    xml.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(suites, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    return NOT_XML.sub("?", text)


def sarif(judged: Sequence[Judged]) -> str:
    """SARIF 2.1.0: a rule for each gate, and a result for each gate that did not pass; only a failed one has a level.

    GitHub takes every result for an alert, one of the kind "pass" too, and asks for a line.
    """
    gates = {one.gate.name: one.gate for one in judged}
    names = list(gates)
    rules = [
        {
            "id": name,
            "shortDescription": {"text": name},
            "fullDescription": {"text": gate.reason or gate.fail_if},
            "defaultConfiguration": {"level": gate.severity},
        }
        for name, gate in gates.items()
    ]
    results = [
        {
            "ruleId": one.gate.name,
            "ruleIndex": names.index(one.gate.name),
            "kind": "fail" if one.state == "fail" else "review",
            "level": one.gate.severity if one.state == "fail" else "none",
            "message": {"text": f"{one}. {one.gate.reason}".strip()},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(Path(one.source).as_posix())},
                        "region": {"startLine": 1},
                    }
                }
            ],
        }
        for one in judged
        if one.state != "pass"
    ]
    driver = {"name": "mmbal", "version": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "results": results}
    return json.dumps({"$schema": SARIF, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"
