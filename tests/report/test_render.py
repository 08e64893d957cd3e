"""The table of a comparison: what it holds, and that nothing in a name breaks it."""

from __future__ import annotations

import pytest

from mmbal.errors import UsageError
from mmbal.maths.bootstrap import Estimate
from mmbal.report import render, rendering
from mmbal.report.compare import Entry, Row
from mmbal.report.tables import csv, latex
from mmbal.tables import Column, Table


def test_cells_are_readable(comparison):
    table = render.table_of(comparison)
    at = {name: k for k, name in enumerate(table.head)}
    first, second = table.rows()
    assert first[at["accuracy %"]] == "65.5 [62.0, 69.0]"
    assert second[at["accuracy %"]] == "62.4 ± 1.2"
    assert second[at["gain (pp)"]] == "−3.1 [−4.4, +0.2]"
    assert second[at["p"]] == "< 0.001"
    assert first[at["p"]] == "–"
    assert first[at["imbalance index"]] == "0.22 [0.18, 0.26]"
    assert "NLL" not in at, "a column that no row has anything for is left out"
    assert not any("optimistic" in name for name in at), "only where it was asked for"


def test_a_line_of_what_the_method_recorded():
    entries = [
        Entry(path=f"s{k}", samples=10, weak_modality=None, figures={}, method={f"share/{n}": n + k for n in range(14)})
        for k in (0, 1)
    ]
    seeds = Row(label="mine", meta={}, entries=entries, figures={}, weak_modality=None)
    assert render.method_line(seeds).startswith("mine, last epoch: share/0 0.5, share/1 1.5, ")
    assert render.method_line(seeds).endswith("share/11 11.5 and 2 more in --json.")
    entries[1].method.clear()
    assert render.method_line(seeds) == ""  # not all seeds have them


def test_the_optimistic_figure_is_called_so(comparison):
    text = render.markdown(render.table_of(comparison, optimistic=True), comparison)
    assert "best test epoch % (optimistic)" in text


def test_markdown_is_a_table_whatever_the_names(comparison):
    lines = render.markdown(render.table_of(comparison), comparison).splitlines()
    assert lines[3].startswith("| a\\|b & \\<c> 5%\\_x |")
    assert len({line.replace("\\|", "").count("|") for line in lines[:4]}) == 1
    assert "- a note" in lines


@pytest.mark.parametrize("name", ["[ours]", "*ours", "ours [new]"])
def test_the_name_of_a_row_is_no_option_of_the_row_before(name):
    r"""``\\ [ours]`` would ask LaTeX for a distance."""
    rows = latex(Table.of([Column("model", [name])])).splitlines()
    assert rows[-3] == (name if name.startswith("ours") else "{}" + name) + r" \\"


def test_no_line_of_a_verdict_ends_within_an_interval():
    page = rendering.html(
        "comparison", title="t", about="", verdict=["b gains 2 pp [1, 3], <c> [d]"], parts=[], legend=[], closing=None
    )
    assert '<li>b gains 2 pp <span class="whole">[1, 3]</span>, &lt;c&gt; [d]</li>' in page


def test_latex_escapes(comparison):
    text = render.latex(render.table_of(comparison), comparison)
    assert r"a\textbar{}b \& $<$c$>$ 5\%\_x & 62.4 $\pm$ 1.2" in text
    assert text.count(r"\\") == 3
    assert r"\begin{tabular}{lrrrrrr}" in text
    assert r"joint $\cdot$ concat & \textbf{65.5 [62.0, 69.0]} & \textbf{0.22 [0.18, 0.26]}" in text, "the best is bold"
    assert r"\begin{table}" not in text
    with_caption = render.latex(render.table_of(comparison), comparison, "All methods")
    assert r"\caption{All methods. Test split. Brackets hold 95 \% intervals over samples." in with_caption
    assert "%" not in with_caption.replace(r"\%", ""), "nothing is left as a comment"


def test_columns_are_chosen_and_rows_sorted_by_the_names_on_the_screen(comparison):
    table = render.table_of(comparison)
    assert table.of_columns(["p", "Accuracy"]).head == ["model", "p", "accuracy %"]
    assert table.sorted("accuracy").column("model").cells[0] == "joint · concat"
    reverse = comparison.model_copy(update={"rows": comparison.rows[::-1]})
    assert render.table_of(reverse).sorted("accuracy").column("model").cells[0] == "joint · concat"
    with pytest.raises(UsageError, match="no column 'accurracy'") as caught:
        table.sorted("accurracy")
    assert "accuracy" in caught.value.hint


def test_a_wrong_column_is_refused_before_anything_is_read_and_an_empty_one_is_told_apart(comparison):
    with pytest.raises(UsageError, match="no column 'accurracy'") as caught:
        render.check_columns(["p", "accurracy"])
    assert "accuracy" in caught.value.hint
    render.check_columns(["p", "McNemar p", "imbalance index"])
    with pytest.raises(UsageError, match="No row has anything in the column 'seeds'"):
        render.table_of(comparison).of_columns(["seeds"])


def test_it_concludes_what_the_tests_show(comparison):
    first, second = comparison.rows
    changes = [
        ("better", {"accuracy": Estimate(value=0.05, low=0.01, high=0.09)}),
        ("unclear", {"p_holm": 0.05}),
    ]
    rows = [second.model_copy(update={"label": n, "test": second.test.model_copy(update=u)}) for n, u in changes]
    assert render.conclusions(comparison.model_copy(update={"rows": [first, second, *rows]})) == [
        "More accurate than joint · concat: better, +5.0 pp [+1.0, +9.0].",
        "Less accurate than joint · concat: a|b & <c> 5%_x, −3.1 pp [−4.4, +0.2].",
        "Not shown to differ from joint · concat: unclear, −3.1 pp [−4.4, +0.2].",
    ]
    assert render.conclusions(comparison.model_copy(update={"rows": [first]})) == []


def test_csv_holds_the_numbers_in_the_units_of_the_heads(comparison):
    head, first, second = csv(render.table_of(comparison)).splitlines()
    assert head.startswith("model,accuracy %,accuracy % low,accuracy % high,accuracy % spread,imbalance index")
    assert first.startswith("joint · concat,65.5,62.0,69.0,,0.224,0.18,0.26")
    assert second.startswith("a|b & <c> 5%_x,62.4,,,1.2,0.224")


def test_a_narrow_terminal_keeps_what_matters(comparison):
    table = render.table_of(comparison)
    narrow = table.fitting(60)
    assert narrow.table.head[:2] == ["model", "accuracy %"]
    assert "McNemar p" in narrow.dropped
    assert table.fitting(500).table == table
    assert table.fitting(1).table.head == ["model", "accuracy %"]


def test_a_comparison_and_a_sweep_show_and_draw_themselves(comparison):
    page = comparison._repr_html_()
    assert "Less accurate than joint · concat" in page
    assert '62.4 <span class="interval">± 1.2</span>' in page
    assert "a|b &amp; &lt;c&gt; 5%_x" in page
    assert "65.5" in page
    assert '<span class="interval">[62.0, 69.0]</span>' in page
    assert "a note" in page
    assert {"accuracies", "pareto"} <= set(comparison.plots())
    assert comparison.plot("accuracies").get_xlabel() == "accuracy in %"
    with pytest.raises(UsageError, match="no picture 'acuracies' of a comparison"):
        comparison.plot("acuracies")
