"""BibTeX from the methods' own pages."""

from __future__ import annotations

import re

import pytest
from terminal import ok, refused

from mmbal.registry import methods
from mmbal.report.citations import bibtex

OWN = [entry for entry in methods if entry.cls.__module__.startswith("mmbal.methods.")]


@pytest.mark.parametrize("entry", OWN, ids=lambda entry: entry.name)
def test_every_page_cites_its_paper(entry):
    text = bibtex(entry)
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", text, re.MULTILINE))
    assert re.match(rf"@(inproceedings|article|misc)\{{{entry.name},", text)
    assert {"title", "author", "year"} <= set(fields)
    assert re.fullmatch(r"(19|20)\d\d", fields["year"])
    assert not re.search(r"\b(After|Reference)\b|[\",]", fields["author"])
    if re.fullmatch(r"\d{4}\.\d{5}", entry.about.paper or ""):
        assert fields["eprint"] == entry.about.paper


def test_the_command_prints_an_entry_for_each_name():
    expected = """@inproceedings{qmf,
  title = {{Provable Dynamic Fusion for Low-Quality Multimodal Data}},
  author = {Zhang and Wu and Zhang and Hu and Fu and Zhou and Peng},
  booktitle = {ICML},
  year = {2023},
  eprint = {2306.02050},
  archiveprefix = {arXiv},
}
"""
    assert ok("methods", "cite", "qmf") == expected
    assert ok("methods", "cite", "qmf", "tmc").count("@inproceedings") == 2
    assert "no method 'qmff'" in refused(2, "methods", "cite", "qmff")
