"""Tables of scores and lists of clips as people and programs write them: read right, or refused in a sentence."""

from __future__ import annotations

import pytest

from mmbal.data.preparation.manifest import read_manifest
from mmbal.data.preparation.options import Options
from mmbal.errors import MmbalError
from mmbal.predictions.readers import predictions_from_csv

pytestmark = pytest.mark.counted("bad inputs")

ROWS = [("x", 3, -1), ("y", -2, 1), ("x", 2, 0)]  # label, score of x, score of y
SCORES = {
    "carriage returns": "label,a:x,a:y\rx,3,-1\ry,-2,1\rx,2,0",
    "aligned by spaces": "label  a:x   a:y\nx        3    -1\ny       -2     1\nx        2     0\n",
    "R, write.table": '"label" "a:x" "a:y"\n"1" "x" 3 -1\n"2" "y" -2 1\n"3" "x" 2 0\n',
    "R, write.csv": '"label","a:x","a:y"\n"1","x",3,-1\n"2","y",-2,1\n"3","x",2,0\n',
    "Markdown": "| label | a:x | a:y |\n|:---|---:|---|\n| x | 3 | -1 |\n| y | -2 | 1 |\n| x | 2 | 0 |\n",
    "a line for Excel, tabs by name": "sep=\\t\nlabel\ta:x\ta:y\nx\t3\t-1\ny\t-2\t1\nx\t2\t0\n",
    "a minus of typesetters": "label,a:x,a:y\nx,3,−1\ny,−2,1\nx,2,0\n",
    "spaces that do not break": "label,a:x,a:y\nx,3\u00a0,-1\u00a0\ny,-2,1\nx,2,0\n",
    "full width": "label,a:x,a:y\nx,３,-1\ny,-2,1\nx,2,0\n",
    "a form feed at the end": "label,a:x,a:y\nx,3,-1\ny,-2,1\nx,2,0\n\x0c",
    "labels with capitals": "Label,a:x,a:y\nX,3,-1\nY,-2,1\nx,2,0\n",
    "labels as bytes": "label,a:x,a:y\nb'x',3,-1\nb'y',-2,1\nb'x',2,0\n",
    "an empty last column": "label,a:x,a:y,\nx,3,-1,\ny,-2,1,\nx,2,0,\n",
    "decimals with commas": "label;a:x;a:y\nx;3,0;-1,0\ny;-2,0;1,0\nx;2,0;0,0\n",
}


@pytest.mark.parametrize("form", SCORES)
def test_scores(tmp_path, form):
    (tmp_path / "s.csv").write_text(SCORES[form], encoding="utf-8", newline="")
    found = predictions_from_csv(tmp_path / "s.csv")
    labels = [found.classes[k] for k in found.labels]
    assert list(zip(labels, *found.logits["a"].T.tolist(), strict=True)) == ROWS


REFUSED = {
    "thousands among decimals": ('label,a:x,a:y\nx,"1,234",0.5\ny,1,2\n', "'1,234' .* may part thousands"),
    "thousands among whole numbers": ('label,a:x,a:y\nx,"1,234",0\ny,1,2\n', "'1,234' .* may part thousands"),
    "the header again": ("label,a:x,a:y\nx,1,2\nlabel,a:x,a:y\ny,2,1\n", "row 3.*'a:x' is not a number"),
    "a line of units": ("label,a:x,a:y\n-,nats,nats\nx,1,2\n", "row 2.*'nats' is not a number"),
    "a line of sums": ("label,a:x,a:y\nx,1,2\ny,2,1\nTotal,3,3\n", "'Total', which is not among the classes"),
    "an error of a spreadsheet": ("label,a:x,a:y\nx,#DIV/0!,2\n", "row 2, column 'a:x': '#DIV/0!'"),
    "tensors": ("label,a:x,a:y\nx,tensor(0.5),2\n", "'tensor.0.5.' is not a number"),
    "a web page": ("<!DOCTYPE html><table><tr><td>label", "is a web page"),
    "only a header": ("label,a:x,a:y\n", "holds no samples"),
    "labels from 1": ("label,a:x,a:y\n1,1,2\n2,2,1\n", "from 1 to 2, but there are 2"),
    "classes that differ by case": ("label,a:x,a:y,b:X,b:y\nx,1,2,1,2\n", "do not cover the same classes"),
    "columns twice": ("label,a:x,a:y,a:x\nx,1,2,1\n", "two columns 'a:x'"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_scores_that_are_refused(tmp_path, form):
    text, told = REFUSED[form]
    (tmp_path / "s.csv").write_text(text, encoding="utf-8")
    with pytest.raises(MmbalError, match=told) as caught:
        predictions_from_csv(tmp_path / "s.csv")
    assert caught.value.exit_code == 4


LISTS = {  # text -> names of the files that are found, with what is told of them
    "a name as in an address": ("path,label\nx%20y.wav,a\n", ["x y.wav"], "found under another name"),
    "an address of a file": ("path,label\nfile://{folder}/x%20y.wav,a\n", ["x y.wav"], "found under another name"),
    "a per cent sign in a name": ("path,label\n100%25.wav,a\n", ["100%25.wav"], ""),
    "a path upwards": ("path,label\n../{name}/a.wav,a\n", ["a.wav"], ""),
    "times that are not there": ("path,label,start,end\na.wav,x,nan,None\n", ["a.wav"], ""),
    "a speaker that is not known": ("path,label,group\na.wav,x,nan\n", ["a.wav"], ""),
    "a property of the samples": ("path,label,group_sex\na.wav,x,f\n", ["a.wav"], ""),
    "spaces around": (" Path , LABEL \n  a.wav  , x \n", ["a.wav"], ""),
    "names that mean something to others": (
        'path,label\n[red]b.wav,x\n..a.wav,x\n.hid.wav,x\na$b&c.wav,x\na#b.wav,x\n"a,b.wav",x\n-n.wav,x\n',
        ["[red]b.wav", "..a.wav", ".hid.wav", "a$b&c.wav", "a#b.wav", "a,b.wav", "-n.wav"],
        "",
    ),
    "emoji and letters from right to left": ("path,label\n😀.wav,x\nשלום.wav,y\n", ["😀.wav", "שלום.wav"], ""),
    "reserved names": ("path,label\nCON.wav,x\nnul.wav,y\n", ["CON.wav", "nul.wav"], ""),
    "names that differ in case alone": ("path,label\nA.wav,x\na.wav,y\n", ["A.wav", "a.wav"], ""),
}


@pytest.mark.parametrize("form", LISTS)
def test_lists(tmp_path, form):
    text, files, told = LISTS[form]
    for name in files:
        (tmp_path / name).write_bytes(b"-")
    (tmp_path / "m.csv").write_text(text.format(folder=tmp_path, name=tmp_path.name), encoding="utf-8")
    found = read_manifest(tmp_path / "m.csv", Options())
    assert [(tmp_path / row.sources["audio"].path).resolve().name for row in found.rows] == files
    assert all(row.group == "" and row.sources["audio"].start is None for row in found.rows)
    assert found.findings == []
    assert len(found.notes) == bool(told)
    assert all(told in note for note in found.notes)


FAULTS = {
    "an address": ("m.csv", "path,label\nhttp://a.b/x.wav,x\n", "path is an address"),
    "a bucket": ("m.csv", "path,label\ns3://b/x.wav,x\n", "path is an address"),
    "folds": ("m.csv", "path,label,split\na.wav,x,fold1\n", "unknown split 'fold1'"),
    "times with units": ("m.csv", "path,label,start\na.wav,x,500ms\n", "'500ms' is not a number of seconds"),
    "a key twice": ("m.jsonl", '{"path": "a.wav", "label": "x", "label": "y"}\n', "the key 'label' comes twice"),
    "an object for a path": ("m.jsonl", '{"path": {"a": 1}, "label": "x"}\n', "'path' holds an object"),
    "a list for a path": ("m.jsonl", '{"path": ["a", "b"], "label": "x"}\n', "'path' holds a list"),
    "half a character": ("m.jsonl", '{"path": "a.wav", "label": "\\ud800"}\n', "half a character"),
    "very many brackets": ("m.jsonl", "[" * 100_000, "nested too deeply"),
    "Python's own form": ("m.jsonl", "{'path': 'a.wav', 'label': 'x'}\n", "line 1: not JSON"),
    "an object over many lines": ("m.jsonl", '{\n "path": "a.wav",\n "label": "x"\n}\n', "line 1: not JSON"),
    "a table of rows": ("m.json", '[["path", "label"], ["a.wav", "x"]]', "not a JSON object"),
    "columns of pandas": ("m.json", '{"path": {"0": "a.wav"}, "label": {"0": "x"}}', "columns, not a sample"),
}


@pytest.mark.parametrize("form", FAULTS)
def test_lists_that_are_refused_with_their_line(tmp_path, form):
    name, text, told = FAULTS[form]
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(MmbalError, match=told) as caught:
        read_manifest(tmp_path / name, Options())
    assert caught.value.exit_code == 4
