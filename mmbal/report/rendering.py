"""Templates filled in: what stands in an expression is escaped, in HTML as in Markdown, unless it is marked as safe."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mmbal.notebook import table_html
from mmbal.report.tables import escape_markdown, markdown
from mmbal.text import plural
from mmbal.version import __version__


def _finalised(value: Any) -> Any:
    """What an expression of a Markdown template becomes."""
    return value if isinstance(value, Markup) else escape_markdown(str(value))


def _code(text: object) -> Markup:
    """Text as a code span of Markdown, fenced by more backticks than it holds in a row."""
    told = " ".join(str(text).split())
    fence = "`" * (max((len(run) for run in re.findall("`+", told)), default=0) + 1)
    space = " " if told.startswith("`") or told.endswith("`") else ""
    return Markup(f"{fence}{space}{told}{space}{fence}")


def _unbroken(text: object) -> Markup:
    """A sentence in which no line ends within an interval."""
    return Markup(re.sub(r"\[[−+]?\d[^\]<>]{0,40}\]", r'<span class="whole">\g<0></span>', str(escape(text))))


def _environment(**options: Any) -> Environment:
    found = Environment(
        loader=PackageLoader("mmbal.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    found.globals.update(version=__version__, plural=plural)
    return found


_HTML = _environment(autoescape=True)
_HTML.filters["table"] = table_html
_HTML.filters["unbroken"] = _unbroken
_MARKDOWN = _environment(finalize=_finalised)
_MARKDOWN.filters["code"] = _code
_MARKDOWN.filters["table"] = lambda table: Markup(markdown(table))


def html(name: str, /, **values: Any) -> str:
    """The HTML page of ``templates/<name>.html.j2``."""
    return _HTML.get_template(f"{name}.html.j2").render(**values)


def markdown_page(name: str, /, **values: Any) -> str:
    """The Markdown page of ``templates/<name>.md.j2``."""
    return _MARKDOWN.get_template(f"{name}.md.j2").render(**values)
