"""`mmbal check` in a pipeline: outputs, exit codes, the GitHub Action and the GitLab job as they run."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest
import yaml
from terminal import mmbal, refused

from mmbal.diagnosis import diagnose
from mmbal.maths.bootstrap import Estimate
from mmbal.predictions.synthetic import GaussianWorld

ROOT = Path(__file__).parents[2]
POLICY = """
gates:
  - {name: balanced, fail_if: index > 0.2, reason: one modality decides alone & nobody knows}
  - {name: a|b <c>, fail_if: accuracy.fused < 0.01, severity: warning}
  - {name: as before, fail_if: change.accuracy.fused < -0.5}
"""


@pytest.fixture(scope="module")
def measured():
    world = GaussianWorld(["a", "b"], ["voice", "face"], [[2.0, 1.0], [1.0, 2.0]], dominance=[1.0, 3.0])
    return diagnose(world.sample(200, seed=0), bootstrap=100, rule="pool")


@pytest.fixture
def folder(tmp_path, measured, monkeypatch):
    """Diagnoses whose index is below the limit of 0.2, above it, and not known to be either."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mmbal.yaml").write_text(POLICY)
    for name, (value, low, high) in {"good": (0.1, 0, 0.15), "bad": (0.4, 0.3, 0.5), "open": (0.25, 0.15, 0.3)}.items():
        measured.model_copy(update={"index": Estimate(value=value, low=low, high=high)}).save(f"{name}.json")
    return tmp_path


def check(*arguments):
    return mmbal("check", *arguments, "--baseline", "good.json")


def test_a_pass_is_one_line(folder):
    result = check("good.json")
    assert result.exit_code == 0, result.output
    assert result.stdout == "3 gates: 3 passed.\n"
    assert result.stderr == ""


def test_a_failed_and_an_undecided_gate_have_their_codes_and_are_no_errors_of_the_tool(folder):
    bad, open_ = check("bad.json"), check("open.json")
    assert (bad.exit_code, open_.exit_code) == (3, 6)
    assert bad.stderr.startswith("Failed: balanced: index = 0.4 [0.3, 0.5]")
    assert open_.stderr.startswith("Undecided: balanced: index = 0.25 [0.15, 0.3]")
    assert "Error" not in bad.stderr + open_.stderr
    assert check("open.json", "--undecided", "pass").exit_code == 0
    taken = check("open.json", "--undecided", "fail", "--markdown", "m.md")
    assert taken.exit_code == 3
    assert "the gate fails if it is > 0.2, and the interval spans that." in taken.stderr
    assert "❌ fail (undecided)" in Path("m.md").read_text(encoding="utf-8")
    assert json.loads(check("open.json", "--undecided", "pass", "--json").stdout)["gates"][0]["undecided"] is True
    assert mmbal("check", "good.json", "--policy", "none.yaml").exit_code == 2
    assert check("good.json", "--fail-if", "imbalance index > 0.01").exit_code == 6


def test_options_are_checked_before_files(folder):
    said = refused(2, "check", "none", "--undecided", "passed")
    assert "--undecided can't be 'passed'.\n       Did you mean pass?" in said
    assert "not of the form" in refused(2, "check", "none", "--fail-if", "index >")
    Path("mmbal.yaml").write_text("gates:\n  - {name: a, fail_iff: index > 1}\n")
    assert "Did you mean gates.0.fail_if" in refused(5, "check", "none")


def test_a_figure_that_was_not_computed_is_named_too(folder):
    said = refused(2, "check", "good.json", "--baseline", "good.json", "--fail-if", "represention_gap > 1")
    assert "Did you mean representation_gap" in said


def test_json_lists_every_gate(folder):
    document = json.loads(check("bad.json", "good.json", "--json").stdout)
    assert document["outcome"] == "fail"
    assert len(document["gates"]) == 6
    assert document["gates"][0] == {
        "source": "bad.json",
        "name": "balanced",
        "figure": "index",
        "operator": ">",
        "limit": 0.2,
        "value": 0.4,
        "low": 0.3,
        "high": 0.5,
        "outcome": "fail",
        "undecided": False,
        "severity": "error",
        "reason": "one modality decides alone & nobody knows",
    }


def test_the_files_for_ci_systems(folder):
    outputs = ("--junit", "j.xml", "--sarif", "s.json", "--markdown", "m.md")
    assert check("bad.json", *outputs).exit_code == 3
    assert check("bad.json", *outputs).exit_code == 3, "they are replaced"
    suites = xml.fromstring(Path("j.xml").read_text(encoding="utf-8"))
    assert suites.attrib == {"tests": "3", "failures": "1", "errors": "0", "skipped": "0"}
    cases = {case.get("name"): [part.tag for part in case] for case in suites.iter("testcase")}
    assert cases == {"balanced": ["failure"], "a|b <c>": [], "as before": []}
    sarif = json.loads(Path("s.json").read_text(encoding="utf-8"))
    (run,) = sarif["runs"]
    assert sarif["version"] == "2.1.0"
    assert [(r["ruleId"], r["kind"], r["level"]) for r in run["results"]] == [("balanced", "fail", "error")]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["balanced", "a|b <c>", "as before"]
    # GitHub asks for a line.
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}
    assert all(run["tool"]["driver"]["rules"][r["ruleIndex"]]["id"] == r["ruleId"] for r in run["results"])
    # The properties and values that the schema of SARIF 2.1.0 knows; a URI has no spaces.
    assert {key for r in run["results"] for key in r} == {
        "ruleId",
        "ruleIndex",
        "kind",
        "level",
        "message",
        "locations",
    }
    assert {r["level"] for r in run["results"]} <= {"none", "note", "warning", "error"}
    Path("a b.json").write_text(Path("bad.json").read_text(encoding="utf-8"), encoding="utf-8")
    both = check("bad.json", "a b.json", "--sarif", "t.json")
    assert "bad.json: balanced: " in both.stderr, "of several, a failure names its source"
    found = json.loads(Path("t.json").read_text(encoding="utf-8"))["runs"][0]["results"]
    places = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in found}
    assert places == {"bad.json", "a%20b.json"}
    page = Path("m.md").read_text(encoding="utf-8")
    assert page.startswith("### ❌ mmbal: 3 gates: 1 failed, 2 passed.\n")
    assert "| a\\|b \\<c> | ✅ pass |" in page


def test_diagnose_lists_its_gates_and_its_document_can_be_read_again(folder, measured, tmp_path):
    world = GaussianWorld(["a", "b"], ["voice", "face"], [[2.0, 1.0], [1.0, 2.0]], dominance=[1.0, 3.0])
    world.sample(200, seed=0).save("p.npz")
    asked = ("diagnose", "p.npz", "--bootstrap", 100, "--rule", "pool")
    result = mmbal(*asked, "--fail-if", "index > 0.9", "--fail-if", "ECE fused > 0.99", "--json")
    document = json.loads(result.stdout)
    assert [gate["outcome"] for gate in document["gates"]] == ["pass", "pass"]
    assert "2 gates: 2 passed." in result.stderr
    Path("d.json").write_text(result.stdout)
    assert mmbal("check", "d.json", "--policy", "mmbal.yaml", "--baseline", "d.json").exit_code in (0, 3, 6)
    failed = mmbal(*asked, "--fail-if", "accuracy > 0.01")
    assert failed.exit_code == 3
    assert "Failed: accuracy = " in failed.stderr


@pytest.fixture
def tools(tmp_path):
    """A PATH on which `mmbal` is this one, and `gh` notes what it was asked."""
    place = tmp_path / "bin"
    place.mkdir()
    for name, text in {
        "mmbal": f'#!/bin/sh\nexec "{sys.executable}" -m mmbal "$@"\n',
        "python": f'#!/bin/sh\nexec "{sys.executable}" "$@"\n',
        "gh": f'#!/bin/sh\necho "$@" >> "{tmp_path}/gh.txt"\n',
    }.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    return {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def shell(script, environment, cwd):
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], env=environment, cwd=cwd, capture_output=True, text=True
    )


def test_the_github_action_runs_against_a_recorded_event(folder, tools):
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    given = {name: about.get("default", "") for name, about in action["inputs"].items()}
    given |= {"files": "bad.json", "baseline": "good.json"}
    (folder / "event.json").write_text(json.dumps({"action": "synchronize", "pull_request": {"number": 17}}))
    environment = {
        **tools,
        "RUNNER_TEMP": str(folder / "temp"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_OUTPUT": str(folder / "output.txt"),
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_REPOSITORY": "someone/model",
    }
    steps = {step["name"]: step for step in action["runs"]["steps"]}

    def run(name, **more):
        texts = {
            key: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda m: given[m[1]], text)
            for key, text in steps[name].get("env", {}).items()
        }
        return shell(steps[name]["run"], environment | texts | more, folder)

    checked = run("Check the policy")
    assert checked.returncode == 0, checked.stderr
    output = dict(line.split("=", 1) for line in (folder / "output.txt").read_text().splitlines())
    assert (output["outcome"], output["code"]) == ("fail", "3")
    assert (folder / "summary.md").read_text(encoding="utf-8").startswith("### ❌ mmbal: 3 gates")
    assert run("Post the summary to the pull request").returncode == 0
    assert "pr comment 17 --repo someone/model --edit-last --body-file" in (folder / "gh.txt").read_text()
    assert run("End with the outcome", CODE=output["code"]).returncode == 3


def test_the_gitlab_job_posts_the_summary(folder, tools):
    job = yaml.safe_load((ROOT / "examples" / "ci" / "gitlab-ci.yml").read_text(encoding="utf-8"))["mmbal"]
    posted = {}

    class Gitlab(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            posted.update(path=self.path, token=self.headers["PRIVATE-TOKEN"], **urllib.parse.parse_qs(body))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Gitlab)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "mmbal.yaml").write_text(POLICY.replace("change.accuracy.fused", "accuracy.fused"))
    environment = {
        **tools,
        "FILES": "open.json",
        "POLICY": "mmbal.yaml",
        "CI_MERGE_REQUEST_IID": "4",
        "CI_PROJECT_ID": "9",
        "MMBAL_TOKEN": "secret",
        "CI_API_V4_URL": f"http://127.0.0.1:{server.server_address[1]}/api/v4",
    }
    done = shell("\n".join(job["script"]), environment, folder)
    server.shutdown()
    assert done.returncode == 6 == job["allow_failure"]["exit_codes"], done.stderr
    assert posted["path"] == "/api/v4/projects/9/merge_requests/4/notes"
    assert posted["token"] == "secret"
    assert posted["body"][0].startswith("### ❔ mmbal: 3 gates: 1 undecided, 2 passed.")
    assert (folder / "junit.xml").is_file()
