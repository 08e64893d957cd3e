"""Every block of README and docs runs as it stands, on the data of desk.py, and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import desk
import pytest
from blocks import ROOT, Block, blocks, commands, run, unsaid

from mmbal.predictions.readers import predictions_from_csv

PAGES = [p for p in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]) if p.name != "CHANGELOG.md"]
BLOCKS = [block for page in PAGES for block in blocks(page)]
OWN_TEST = {  # extending: its classes need an installation of their own
    "deploy.md": "tests/docs/test_deploy_page.py",
    "extending.md": "tests/docs/test_extending.py",
}
RUNNING = [
    page
    for page in PAGES
    if page.name not in OWN_TEST
    and any(block.kind in ("python", "bash") and block.mark != "not run" for block in blocks(page))
]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.stem)
def test_every_block_of_the_page_runs_in_its_order(page, prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yours = desk.lay(page.stem, prepared)
    assert run(page, yours)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> desk.Prepared:
    return desk.prepare(tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page):
    text = page.read_text(encoding="utf-8")
    kinds = {"python", "bash", "text", "csv", "json", "yaml", "toml", "dockerfile"}
    kinds |= {"{eval-rst}", "{image}", "{toctree}"}
    strange = [block.place for block in blocks(page) if block.kind.partition(" ")[0] not in kinds]
    assert not strange, "give the block one of these languages: " + ", ".join(sorted(kinds))
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    hidden = re.findall(r"^(?: {4}|\t)(?:mmbal|python|pip|make|sh) .*$", prose, re.MULTILINE)
    assert not hidden, "commands stand in a fence of the language bash"


def test_what_is_not_run_says_why():
    skipped = [block for block in BLOCKS if block.mark == "not run"]
    assert skipped
    assert [block.place for block in skipped if len(block.value.split()) < 3] == []
    assert [block.place for block in skipped if block.kind not in ("python", "bash")] == []
    assert [block.place for block in BLOCKS if block.mark in ("file", "exit") and not block.value] == []


def test_pages_with_a_test_of_their_own_have_it():
    assert all((ROOT / path).is_file() for path in OWN_TEST.values())


def page(tmp_path: Path, text: str) -> Path:
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    return tmp_path / "page.md"


def test_a_block_that_fails_fails_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError):
        run(page(tmp_path, "```python\n1 / 0\n```\n"), {})
    with pytest.raises(AssertionError, match="ended with 2"):
        run(page(tmp_path, "```bash\nmmbal diagnose none.npz\n```\n"), {})
    with pytest.raises(AssertionError, match="the page says 'four'"):
        run(page(tmp_path, "```python\nprint(4)\n```\n\n<!-- printed -->\n```text\nfour\n```\n"), {})


def test_marks_lead_a_block(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (
        "<!-- not run: it fails -->\n```python\n1 / 0\n```\n<!-- file: a/b.txt -->\n```text\ncontent\n```\n"
        "```python\nx = open('a/b.txt').read()\n```\n```python\nprint(x)\n```\n<!-- printed -->\n```text\nc...t\n```\n"
        "<!-- exit: 2 -->\n```bash\nmmbal --version\nmmbal diagnose none.npz\n```\n"
    )
    ran = run(page(tmp_path, text), {})
    assert [block.line for block in ran] == [9, 12, 20]


def test_commands_of_a_block():
    code = "mmbal report runs/*  # all\n\nmmbal x \\\n  'a b'\npython -c \"\nprint(1)\"\n"
    assert list(commands(code)) == [
        ["mmbal", "report", "runs/*"],
        ["mmbal", "x", "a b"],
        ["python", "-c", "\nprint(1)"],
    ]


def test_what_is_printed_is_compared_line_by_line():
    said = "accuracy   0.5 [0.4, 0.6]\nindex 0.2\n"
    assert unsaid("accuracy 0.5 [..., 0.6]\nindex 0.2", said) is None
    assert unsaid("index 0.2\naccuracy 0.5", said) == "accuracy 0.5"  # another order


def test_a_block_knows_its_place(tmp_path):
    (found,) = blocks(page(tmp_path, "# Title\n\n```python\nx = 1\n```\n"))
    assert found == Block("page.md", 3, "python", "x = 1\n")


def test_the_table_of_scores_in_the_docs_is_read(tmp_path):
    (table,) = [block.code for block in BLOCKS if block.page == "docs/your-model.md" and block.kind == "csv"]
    (tmp_path / "page.csv").write_text(table, encoding="utf-8")
    found = predictions_from_csv(tmp_path / "page.csv")
    assert found.classes == ("no", "yes")
    assert found.present["video"].tolist() == [True, True, False]
