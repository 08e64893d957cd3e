"""The tables and the sentences of docs/benchmark.md, from the folder of its sweep.

    mmbal sweep examples/benchmark_study.yaml --no-tables --out runs/benchmark
    python benchmarks/benchmark_page.py runs/benchmark [SET...] [--pictures docs] > page.md

Printed are: what the sets are like (benchmarks/benchmark_sets.py), the ranks over all sets and on each, which methods are
told apart from joint training and from late fusion, what each family of methods gains and where, and what papers claim
beside what is seen here (benchmarks/published_claims.csv). A set that has not every method yet has a section of its own,
and is left out of the tables over all sets. ``--pictures`` writes benchmark-SET.svg, the critical-difference picture.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from benchmark_sets import JOINT, Families, Set, p_is, sets_table

from mmbal.report.picture import PAPER, figure, paper_style, pictures_of
from mmbal.report.ranking import ranking
from mmbal.report.study import Pair, Study, study_of
from mmbal.report.tables import markdown
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, plural

BASELINES = (JOINT, "late_fusion")
CLAIMS = Path(__file__).with_name("published_claims.csv")
WIDTH = 4.5  # inches of a picture
EXPLAINED = (
    "Gain over joint training of the mean accuracy of the family's methods, with a 95 % interval over samples and seeds. "
    "A star: p < .05 after Holm's correction over all families and sets. The last p is that of the mean over the sets, "
    "corrected over the rows."
)
STAR = "A star: told apart from joint training, after Holm's correction over all pairs of the set."


def turned(pair: Pair, of: str) -> Pair:
    """The pair with ``of`` as its second side, which the gain is that of."""
    if of == pair.second:
        return pair
    gain = pair.gain
    low, high = (None if end is None else -end for end in (gain.high, gain.low))
    other = gain.model_copy(update={"value": -gain.value, "low": low, "high": high})
    return pair.model_copy(update={"first": pair.second, "second": pair.first, "gain": other})


def against(baseline: str, study: Study) -> list[Pair]:
    """Every method against ``baseline``, the largest gain first."""
    found = [
        turned(pair, pair.second if pair.first == baseline else pair.first)
        for pair in study.pairs
        if baseline in (pair.first, pair.second)
    ]
    return sorted(found, key=lambda pair: (-pair.gain.value, pair.second))


def told_apart(baseline: str, study: Study) -> list[str]:
    """A line for each method that is told apart from ``baseline``, and one on those whose mean is above it."""
    pairs = against(baseline, study)
    apart = [p for p in pairs if p.apart]
    better = sum(p.gain.value > 0 for p in apart)
    ahead = sum(p.gain.value > 0 for p in pairs)
    head = (
        f"Against `{baseline}`: {better} of {plural(len(pairs), 'method')} shown to be better, {len(apart) - better} to be "
        f"worse; {ahead} have a higher mean."
    )
    lines = [f"- `{p.second}` {DIFFERENCE.text(p.gain)}, {p_is(p.p_holm)}" for p in apart]
    return [head, "", *lines, ""] if lines else [head, ""]


def section(name: str, study: Study, picture: bool) -> list[str]:
    """The ranks of a study and what they show."""
    apart = sum(pair.apart for pair in study.pairs)
    equal = sum(pair.equal and not pair.apart for pair in study.pairs)
    odd = sum(row.not_converged for row in study.rows)
    lines = [f"## {name}", "", markdown(ranking(study)), ""]
    if picture:
        lines += [f"![Mean ranks: {name}]({stem(name)}.svg)", ""]
    lines += [
        f"Variants that share a letter are not told apart. Told apart after Holm's correction: {apart:,} of "
        f"{len(study.pairs):,} pairs. Practically equal within {100 * study.within:g} pp: {equal:,}. Undecided: "
        f"{len(study.pairs) - apart - equal:,}.",
        "",
    ]
    for baseline in BASELINES:
        lines += told_apart(baseline, study)
    if odd:
        lines += [f"{plural(odd, 'run')} did not converge; the column counts them. They are in the means.", ""]
    return [*lines, *(f"- {note}" for note in study.notes), ""]


def stem(name: str) -> str:
    """The name of the picture of a set, without its ending."""
    return f"benchmark-{name.replace(' ', '-')}"


def draw(study: Study, path: Path) -> None:
    """Write the critical-difference picture as SVG, on white, so that it can be read on a dark page too."""
    import matplotlib

    with paper_style(), matplotlib.rc_context({"svg.hashsalt": path.stem}):
        made = figure(pictures_of("study")["ranks"], study, "", PAPER, WIDTH)
        made.savefig(path, transparent=False, facecolor="white", metadata={"Date": None})


def claims(studies: Sequence[tuple[str, Study]]) -> Table:
    """What papers claim on CREMA-D, beside the gain over joint training here; a star where the two are told apart."""
    with CLAIMS.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    gains = {name: {pair.second: pair for pair in against(JOINT, study)} for name, study in studies}
    known = [row for row in rows if any(row["method"] in found for found in gains.values())]

    def seen(method: str, found: dict[str, Pair]) -> str | None:
        pair = found.get(method)
        return None if pair is None else DIFFERENCE.bare().text(pair.gain) + (" *" if pair.apart else "")

    def claim(row: dict[str, str]) -> str:
        if not row["joint"]:
            return f"{row['accuracy']} %"
        return f"{float(row['accuracy']) - float(row['joint']):+.1f} ({row['accuracy']}, joint {row['joint']})"

    columns = [Column(f"{name} (pp)", [seen(row["method"], found) for row in known]) for name, found in gains.items()]
    return Table.of(
        [
            Column("method", [row["method"] for row in known]),
            Column("claim on CREMA-D (pp)", [claim(row) for row in known], left=True),
            Column("claimed by", [row["source"] for row in known], left=True),
            *columns,
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write benchmark-SET.svg into this folder")
    arguments = parser.parse_args()
    names = arguments.sets or sorted(folder.name for folder in arguments.sweep.iterdir() if folder.is_dir())
    studies = {name: study_of(arguments.sweep / name) for name in names}
    most = max(len(study.rows) for study in studies.values())
    whole = [name for name in names if len(studies[name].rows) == most]
    told = [(name, studies[name]) for name in names]
    if len(whole) > 1:
        told.insert(0, ("all sets" if whole == names else " and ".join(whole), study_of(arguments.sweep, only=whole)))
    sets = [Set.of(arguments.sweep / name, {row.variant for row in studies[name].rows}) for name in names]
    print("## The sets", "", markdown(sets_table(sets)), "", sep="\n")
    for name, study in told:
        print(*section(name, study, arguments.pictures is not None), sep="\n")
        if arguments.pictures is not None:
            draw(study, arguments.pictures / f"{stem(name)}.svg")
    found = Families.of([s for s in sets if s.name in whole])
    print("## Which family helps, and when", "", markdown(found.table()), "", EXPLAINED, "", sep="\n")
    print(*(f"- {line}" for line in found.sentences()), "", sep="\n")
    print("## What papers claim, and what is seen here", "", markdown(claims(told)), "", sep="\n")
    print(STAR)


if __name__ == "__main__":
    main()
