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
    ("ending", "starts"), [("md", "| model"), ("tex", "% Test"), ("html", "<!doctype"), ("json", "{")]
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


def test_the_baseline_the_columns_the_order_and_the_names_are_chosen(files):
    by_fair = json.loads(run(*files, "--baseline", "fair", "--json", "--bootstrap", 100).stdout)
    assert [row["label"] for row in by_fair["rows"]] == ["fair", "loud"]
    assert by_fair["rows"][0]["test"] is None
    wanted = ("--columns", "imbalance index,gain", "--sort", "imbalance index", "--label", "loud=One loud modality")
    lines = run(*files, "--csv", *wanted, "--bootstrap", 100).stdout.splitlines()
    assert lines[0].startswith("model,imbalance index,imbalance index low,imbalance index high,gain (pp)")
    assert [line.split(",")[0] for line in lines[1:]] == ["fair", "One loud modality"], "the lower index is better"
    for wrong in (("--baseline", "fare"), ("--columns", "nothing"), ("--label", "lood=x")):
        assert "Did you mean" in run(*files, *wrong, "--bootstrap", 100).stderr or wrong[1] == "nothing"


@pytest.mark.parametrize("width", [80, 200])
def test_explicit_columns_count_in_a_pipe(files, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    result = run(*files, "--bootstrap", 100)
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert ("Not shown at 80 columns:" in result.stderr) == (width == 80)
    if width == 80:
        head = next(line for line in lines if "accuracy" in line)
        assert "imbalance" in head
        assert "decision" in head
        assert "[" in result.stdout, "intervals are kept"


def test_names_are_checked_before_anything_is_diagnosed(files, monkeypatch):
    def diagnosed(*_):
        raise AssertionError

    monkeypatch.setattr("mmbal.report.sources.diagnosis_of", diagnosed)
    for option, name, nearest in (
        ("--sort", "acuracy", "accuracy"),
        ("--columns", "p,gian", "gain"),
        ("--baseline", "lout", "loud"),
        ("--label", "fare=Fair", "fair"),
    ):
        result = run(*files, option, name)
        assert result.exit_code == 2, option
        assert nearest in result.stderr, option


def test_the_verdict_comes_first_and_the_page_says_how_it_was_made(files, tmp_path):
    page = tmp_path / "page.html"
    result = run(*files, "--bootstrap", 100, "--baseline", "fair", "--html", page)
    first = " ".join(result.stdout.split())
    assert first.startswith(("Less accurate than fair: loud", "Not shown to differ from fair: loud", "More accurate"))
    made = page.read_text(encoding="utf-8").replace("<wbr>", "")
    assert f"mmbal report {files[1]} {files[0]} --split test --bootstrap 100 --html report.html" in made
