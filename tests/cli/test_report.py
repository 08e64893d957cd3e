"""`mmbal report` at the terminal: what goes to stdout, what to a file, and what it refuses."""

from __future__ import annotations

import json

import pytest
from terminal import mmbal

from mmbal.predictions.synthetic import GaussianWorld


def run(*arguments):
    return mmbal("report", *arguments)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, dominance in (("loud", [3.0, 1.0]), ("fair", [1.0, 1.0])):
        world = GaussianWorld("abc", ["audio", "video"], [[1.5, 1.0, 1.0], [1.0, 1.5, 1.0]], dominance=dominance)
        world.sample(400, seed=0).save(folder / f"{name}.npz")
    return [folder / "loud.npz", folder / "fair.npz"]


def test_json_is_one_document(files):
    result = run(*files, "--json", "--bootstrap", 100)
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["split"] == "test"
    first, second = document["rows"]
    assert first["test"] is None
    difference = second["figures"]["accuracy"]["value"] - first["figures"]["accuracy"]["value"]
    assert second["test"]["accuracy"]["value"] == pytest.approx(difference)
    assert first["figures"]["index"]["value"] > second["figures"]["index"]["value"]


def test_the_table_fits_where_it_is_printed(files):
    result = run(*files, "--bootstrap", 100)
    assert result.exit_code == 0
    assert "loud" in result.stdout
    assert "accuracy" in result.stdout
    assert all(len(line) <= 120 for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("ending", "starts"), [("md", "| model"), ("tex", "% test"), ("html", "<!doctype"), ("json", "{")]
)
def test_files_are_written_by_their_ending(files, tmp_path, ending, starts):
    out = tmp_path / f"table.{ending}"
    assert run(*files, "--out", out, "--bootstrap", 100).exit_code == 0
    assert out.read_text(encoding="utf-8").startswith(starts)
    again = run(*files, "--out", out)
    assert again.exit_code == 2
    assert "exists" in again.stderr


def test_markdown_and_latex_go_to_stdout(files):
    assert run(*files, "--markdown", "--bootstrap", 100).stdout.startswith("| model")
    assert "\\toprule" in run(*files, "--latex", "--bootstrap", 100).stdout
    assert run(*files, "--latex", "--json").exit_code == 2


def test_what_it_can_not_do_is_one_sentence(files, tmp_path):
    assert run(tmp_path / "none.npz").exit_code == 2
    assert run(*files, "--out", tmp_path / "table.pdf").exit_code == 2
    refused = run(files[0], "--card")
    assert refused.exit_code == 2
    assert "not a finished run" in refused.stderr
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    assert run(tmp_path / "broken.npz").exit_code == 4
