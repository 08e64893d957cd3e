"""BibTeX of methods, read from their pages: the reference is the first ``Authors, "Title", venue year`` of the docstring."""

from __future__ import annotations

import re
import sys
from typing import Any

from mmbal.errors import UsageError
from mmbal.registry import Entry

_NAME = r"[A-Z][\w’'-]+(?: [A-Z][\w’'-]+)*"
_REFERENCE = re.compile(
    rf'(?:After )?(?P<authors>{_NAME}(?:, {_NAME})*(?:,? and {_NAME}| et al\.)?), "(?P<title>[^"]+?),?",?(?P<rest>.*)',
    re.DOTALL,
)
_VENUE = re.compile(r"^\s*(?P<venue>[A-Z][\w &]*?(?: \([^)]*\))?|Findings of ACL)?\s*(?P<year>(?:19|20)\d\d)\b")
_JOURNALS = {"TPAMI": "IEEE Transactions on Pattern Analysis and Machine Intelligence", "JMLR": "JMLR"}


def bibtex(entry: Entry[Any]) -> str:
    """The BibTeX entry of a method; its key is the method's name.

    Authors are the surnames that the page has. Raises UsageError where the page cites nothing.
    """
    text = " ".join((sys.modules[entry.cls.__module__].__doc__ or "").split())
    found = _REFERENCE.search(text)
    if found is None:
        raise UsageError(f"The page of '{entry.name}' cites no paper.", f"`mmbal methods show {entry.name}` prints it.")
    authors = re.sub(r",? and |, ", " and ", found["authors"].replace(" et al.", " and others"))
    rest = found["rest"].lstrip(" ,")
    placed = _VENUE.match(rest)
    venue = (placed["venue"] or "").strip() if placed else ""
    arxiv = re.search(r"arXiv (\d{4}\.\d{4,5})", rest[:160])
    doi = re.search(r"\bdoi(?:\.org/| )(10\.\S+?)(?=[.,;]?(?:\s|$))", rest[:160])
    url = re.search(r"\b((?:www\.|openreview\.net/|github\.com/)\S+?)(?=[.,;]?(?:\s|$))", rest[:160])
    year = placed["year"] if placed else str(entry.about.year or "")
    fields = {
        "title": f"{{{found['title']}}}",
        "author": authors,
        "journal": _JOURNALS.get(venue, ""),
        "booktitle": "" if venue in _JOURNALS else venue,
        "year": year,
        "eprint": arxiv[1] if arxiv else "",
        "archiveprefix": "arXiv" if arxiv else "",
        "doi": doi[1] if doi else "",
        "url": f"https://{url[1]}" if url else "",
    }
    kind = "misc" if not venue else "article" if venue in _JOURNALS else "inproceedings"
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{entry.name},", *lines, "}"])
