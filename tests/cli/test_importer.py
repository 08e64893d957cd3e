"""`mmbal import` at the terminal."""

from __future__ import annotations

import json

import numpy as np
from terminal import mmbal

from mmbal.predictions.format import Predictions

CSV = "label,split,m:x,m:y,n:x,n:y\nx,val,0.9,0.1,0.5,0.5\ny,test,0.2,0.8,,\n"


def run(*arguments):
    return mmbal("import", *arguments)


def test_a_csv_becomes_a_predictions_file(tmp_path):
    (tmp_path / "s.csv").write_text(CSV, encoding="utf-8")
    result = run(tmp_path / "s.csv", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["predictions"] == str(tmp_path / "s.predictions.npz")
    assert document["splits"] == {"val": 1, "test": 1}
    assert document["missing"] == {"n": 1}
    assert document["scores"] == "probabilities"
    found = Predictions.load(document["predictions"])
    assert np.allclose(np.exp(found.logits["m"]), [[0.9, 0.1], [0.2, 0.8]])
    assert run(tmp_path / "s.csv").exit_code == 2, "never overwrites"
    assert run(tmp_path / "s.csv", "--force").exit_code == 0


def test_errors_have_their_codes(tmp_path):
    (tmp_path / "bad.csv").write_text("label,m:x,m:y\nx,1,two\n", encoding="utf-8")
    bad = run(tmp_path / "bad.csv")
    assert bad.exit_code == 4
    assert "row 2, column 'm:y'" in bad.stderr
    assert run(tmp_path / "none.csv").exit_code == 2
    assert run(tmp_path / "model.onnx").exit_code == 2
    store = run(tmp_path / "model.pth")
    assert store.exit_code == 2
    assert "--data STORE" in store.stderr


def test_what_the_numbers_were_taken_for_is_said(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    z = rng.normal(size=(30, 2)) + 2 * np.eye(2)[y]
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    lines = ["label,a:x,a:y,b:x,b:y"]
    lines += [
        f"{'xy'[k]},{100 * q[0]:.2f},{100 * q[1]:.2f},{r[0]:.4f},{r[1]:.4f}" for k, q, r in zip(y, p, z, strict=True)
    ]
    (tmp_path / "s.csv").write_text("\n".join(lines), encoding="utf-8")
    result = run(tmp_path / "s.csv")
    assert result.exit_code == 0, result.output
    assert "The numbers were taken for a mix: probabilities in percent of a, logits of b." in result.stdout
    assert "Warning: the scores are a mix" in result.stderr
    document = json.loads(run(tmp_path / "s.csv", "--force", "--json").stdout)
    assert document["scores"] == {"a": "percent", "b": "logits"}
    assert len(document["warnings"]) == 1
    again = run(document["predictions"])
    assert again.exit_code == 2
    assert "is a file of predictions already" in again.stderr
