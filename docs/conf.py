"""The site of the documentation: `make docs` writes it to build/docs, to be opened from disk.

Sphinx, for its references into docstrings, its search without a server and its check of every link; MyST reads the same
Markdown that GitHub shows; furo is readable in light and dark and on a phone.
"""

from pathlib import Path

import mmbal
from mmbal.version import __version__

# All is imported here in the usual way: autodoc imports with typing.TYPE_CHECKING set, which pydantic can't stand.
for public in mmbal.__all__:
    getattr(mmbal, public)

project = "mmbal"
author = copyright = "the authors of mmbal"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
root_doc = "index"
source_suffix = {".md": "markdown"}
exclude_patterns = ["conf.py", "method_pages.py"]

html_theme = "furo"
html_title = f"mmbal {__version__}"
html_copy_source = False
html_show_search_summary = False  # a page that is opened from disk may not read others for it
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_heading_anchors = 3  # links to headings are those of GitHub
myst_links_external_new_tab = False
suppress_warnings = [
    "myst.header",  # pages written from docstrings start where they like
    "misc.highlighting_failure",  # no lexer knows the language `csv`
]

linkcheck_timeout = 10  # seconds
linkcheck_retries = 1
linkcheck_workers = 8

autodoc_member_order = "bysource"
autodoc_typehints = "description"
nitpicky = False  # docstrings name types of other packages

ABOVE = {"](../REPRODUCIBILITY.md": "](reproducibility.md", "](../../REPRODUCIBILITY.md": "](../reproducibility.md"}


def setup(app):
    """A page of the repository's top folder has a copy in the site, and links lead to that."""

    def lead_to_copies(app, name, source):
        if name == "reproducibility":
            source[0] = (Path(__file__).parents[1] / "REPRODUCIBILITY.md").read_text("utf-8").replace("](docs/", "](")
        for link, copy in ABOVE.items():
            source[0] = source[0].replace(link, copy)

    app.connect("source-read", lead_to_copies)
