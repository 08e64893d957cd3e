"""Pictures of a study as SVG: mean ranks with groups, and accuracy against its price. They need Matplotlib."""

from __future__ import annotations

import io
from typing import Any

from mmbal.errors import UsageError
from mmbal.report.study import Study

STYLE = {"svg.hashsalt": "mmbal", "svg.fonttype": "none", "font.size": 9}  # the same study gives the same file


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise UsageError("Pictures need Matplotlib.", "Install it: pip install 'mmbal[plots]'.") from None
    matplotlib.use("svg")
    from matplotlib import pyplot

    return pyplot


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    return out.getvalue()


def rank_picture(study: Study) -> str:
    """The critical-difference picture: each variant at its mean rank; a bar joins variants that are not told apart."""
    plt = _pyplot()
    rows, n = study.rows, len(study.rows)
    place = {row.variant: row.rank for row in rows}
    with plt.rc_context(STYLE):
        half = (n + 1) // 2
        figure, axes = plt.subplots(figsize=(7, 0.9 + 0.24 * (half + len(study.groups))))
        bars = 0.5 * len(study.groups)
        axes.hlines(0, 1, n, color="black", linewidth=1)
        for rank in range(1, n + 1):
            axes.vlines(rank, 0, 0.25, color="black", linewidth=1)
            axes.text(rank, 0.35, str(rank), ha="center", va="bottom")
        for k, group in enumerate(study.groups):
            ends = [place[v] for v in group]
            axes.hlines(-0.5 * (k + 1), min(ends) - 0.05, max(ends) + 0.05, color="black", linewidth=3)
        for k, row in enumerate(rows):
            left = k < half
            height = -bars - 0.8 - (k if left else n - 1 - k)
            end, align = (0.6, "right") if left else (n + 0.4, "left")
            axes.plot([row.rank, row.rank, end], [0, height, height], color="grey", linewidth=0.8)
            text = f"{row.variant} {row.rank:.2f}" if left else f"{row.rank:.2f} {row.variant}"
            axes.text(end + (-0.05 if left else 0.05), height, text, ha=align, va="center")
        axes.set_axis_off()
        found = _svg(figure)
        plt.close(figure)
    return found


def price_picture(study: Study) -> str:
    """Accuracy against the weakest modality's own accuracy and against seconds; a line joins the Pareto front."""
    plt = _pyplot()
    views = [
        (
            "weakest modality alone, %",
            lambda row: None if row.weak_accuracy is None else 100 * row.weak_accuracy,
            "best_for_weak",
        ),
        ("seconds", lambda row: row.seconds, "best_for_seconds"),
    ]
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
        for axes, (name, value, front) in zip(panels, views, strict=True):
            known = [(value(row), 100 * row.accuracy, row) for row in study.rows if value(row) is not None]
            best = sorted((x, y) for x, y, row in known if getattr(row, front))
            axes.plot([x for x, _ in best], [y for _, y in best], color="grey", linewidth=0.8)
            for x, y, row in known:
                axes.plot([x], [y], "o" if getattr(row, front) else ".", color="black")
                axes.annotate(row.variant, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7)
            axes.set_xlabel(name)
        panels[0].set_ylabel("accuracy %")
        found = _svg(figure)
        plt.close(figure)
    return found
