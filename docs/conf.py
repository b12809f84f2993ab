"""How the documentation is built: `make docs`."""

import re
from itertools import takewhile

from sphinx.application import Sphinx

import cellucid_dask

project = "cellucid-dask"
author = "The cellucid-dask developers"
copyright = author  # noqa: A001  Sphinx's name
release = cellucid_dask.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxarg.ext",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"  # a page is executed again when its code changes
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
copybutton_prompt_text = "$ "
suppress_warnings = ["mystnb.unknown_mime_type", "myst.domains"]

html_theme = "sphinx_book_theme"
html_title = "cellucid-dask"
html_theme_options = {"home_page_in_toc": True, "show_navbar_depth": 1}


def _name_each(*given: list[str]) -> None:
    """Describe attributes that share a line of a docstring one by one: napoleon cannot."""
    lines = given[-1]
    found = []
    for i, line in enumerate(lines):
        names = line.split(", ") if re.fullmatch(r"[a-z_]+(, [a-z_]+)+", line) else [line]
        text = list(takewhile(lambda each: each.startswith("    "), lines[i + 1 :]))
        for name in names[:-1]:
            found += [name, *text]
        found.append(names[-1])
    lines[:] = found


def setup(app: Sphinx) -> None:
    """Run it before napoleon."""
    app.connect("autodoc-process-docstring", _name_each, priority=400)
