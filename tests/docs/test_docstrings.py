"""The examples in the docstrings of the public functions run, and give what they say."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import mmbal
from mmbal.explain.ask import explain
from mmbal.sklearn import DecisionLayer

PUBLIC = {name: getattr(mmbal, name) for name in mmbal.__all__}
PUBLIC |= {"DecisionLayer": DecisionLayer, "explain": explain}  # mmbal.explain is a package that can be called
WITHOUT = {  # what takes a file or a training: the pages of the documentation show these, and tests run them
    "Store", "TrainConfig", "collect", "export_rule", "load_model", "load_rule", "prepare", "pretrain", "train",
}  # fmt: skip


def example(name: str) -> doctest.DocTest:
    docstring = PUBLIC[name].__doc__
    return doctest.DocTestParser().get_doctest(docstring, {"np": np, "mmbal": mmbal}, name, None, 0)


def test_every_public_function_has_an_example_but_those_that_take_a_file_or_a_training():
    assert {name for name in PUBLIC if not example(name).examples} == WITHOUT


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - WITHOUT))
def test_an_example_gives_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example(name), out=told.append)
    assert tried
    assert not failed, "".join(told)
