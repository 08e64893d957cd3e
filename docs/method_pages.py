"""docs/methods, written from the methods' own docstrings:  python docs/method_pages.py [DIR]"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from mmbal.files import write_text
from mmbal.registry import AboutMethod, Entry, methods
from mmbal.report.members import functions_of

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "methods"
INDEX = "README.md"
NOTICE = "<!-- Written by `python docs/method_pages.py` from the docstrings; change those. -->"


def pages() -> dict[str, str]:
    """File name -> Markdown of every method that is part of mmbal, and of the index."""
    own = [entry for entry in methods if entry.cls.__module__.startswith("mmbal.methods.")]
    return {INDEX: _index(own)} | {f"{entry.name}.md": _page(entry) for entry in own}


def write_pages(folder: Path = FOLDER) -> list[Path]:
    """Write every page that is not up to date, and remove those of methods that are gone; returns what changed."""
    wanted = pages()
    changed = []
    for name, text in wanted.items():
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text:
            write_text(folder / name, text)
            changed.append(folder / name)
    for path in sorted(folder.glob("*.md")):
        if path.name not in wanted:
            path.unlink()
            changed.append(path)
    return changed


def _index(entries: list[Entry[AboutMethod]]) -> str:
    lines = [NOTICE, "", "# Training methods", ""]
    lines += ["Each trains with `mmbal train --data STORE --method NAME`; the status says how near to its paper it is:"]
    lines += [
        "exact, with stated deviations, or our instantiation of an idea whose formulas could not be obtained.",
        "",
    ]
    lines += ["| method | in a sentence | family | year | paper | status |", "|---|---|---|---|---|---|"]
    for entry in sorted(entries, key=lambda e: (e.about.family != "baseline", e.about.family, e.name)):
        about = entry.about
        sentence = _text(entry).split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        cells = [about.family, str(about.year or ""), _paper(about.paper), about.status]
        lines.append(f"| [`{entry.name}`]({entry.name}.md) | {sentence} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _page(entry: Entry[AboutMethod]) -> str:
    about = entry.about
    title, _, rest = _text(entry).partition("\n\n")
    lines = [NOTICE, "", f"# `{entry.name}`", "", title.replace("\n", " "), ""]
    lines += [
        f"Family: {about.family}. Paper: {_paper(about.paper)}, {about.year}. Status: {about.status}.",
        "",
    ]
    lines += [
        rest,
        "",
        "## Use",
        "",
        f"    mmbal train --data STORE --method {entry.name}{_fusion(about)}{_example(entry)}",
        "",
    ]
    fields = entry.cls.Config.model_fields
    if fields:
        lines += ["| key | default | range | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `method.{key}` | {_default(field)} | {_range(field)} | {field.description or ''} |"
            for key, field in fields.items()
        ]
        lines.append("")
    if about.off:
        off = ", ".join(f"`{key}={_yaml(value)}`" for key, value in about.off.items())
        lines += [f"With {off} it is joint training, bit for bit.", ""]
    functions = functions_of(entry)
    if functions:
        lines += ["The formula as functions, which need no trainer:", "", *(f"- `{f}`" for f in functions), ""]
    lines.append(f"Source: {_link(entry.cls.__module__.replace('.', '/') + '.py')}.{_test(entry)}")
    return "\n".join(lines) + "\n"


def _test(entry: Entry[AboutMethod]) -> str:
    path = f"tests/methods/test_{entry.name}.py"
    return f" The formula by hand: {_link(path)}." if (ROOT / path).is_file() else ""


def _link(path: str) -> str:
    return f"[{path}](../../{path})"


def _text(entry: Entry[AboutMethod]) -> str:
    return inspect.cleandoc(sys.modules[entry.cls.__module__].__doc__ or "")


def _paper(paper: str | None) -> str:
    """A link to an arXiv id, a DOI, or (of papers that have neither) an address without https://."""
    if paper is None:
        return "none"
    site = "arxiv.org/abs/" if paper[:1].isdigit() and "/" not in paper else "doi.org/" if paper[:3] == "10." else ""
    return f"[{paper}](https://{site}{paper})"


def _fusion(about: AboutMethod) -> str:
    return f" --fusion {about.fusion}" if about.fusion else ""


def _example(entry: Entry[AboutMethod]) -> str:
    """The first number among the options, as it is set on the command line."""
    for key, field in entry.cls.Config.model_fields.items():
        if isinstance(field.default, float):
            return f" --set method.{key}={field.default:g}"
    return ""


def _default(field: FieldInfo) -> str:
    return _yaml(field.get_default(call_default_factory=True))


def _yaml(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _range(field: FieldInfo) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    bounds = [
        f"{sign} {getattr(b, name):g}" for b in field.metadata for name, sign in signs.items() if hasattr(b, name)
    ]
    if bounds:
        return ", ".join(bounds)
    choices = getattr(field.annotation, "__args__", ()) if "Literal" in str(field.annotation) else ()
    return ", ".join(str(choice) for choice in choices)


if __name__ == "__main__":
    for path in write_pages(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER):
        print(path)
