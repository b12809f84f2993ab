"""How the documentation is built: `make docs`."""

import re
import tomllib
from itertools import takewhile
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.ext.intersphinx import resolve_reference_any_inventory

import cellucid_dask

_HERE = Path(__file__).parent
_URLS = tomllib.loads((_HERE.parent / "pyproject.toml").read_text())["project"].get("urls", {})

project = "cellucid-dask"
author = "The cellucid-dask developers"
copyright = author  # noqa: A001  Sphinx's name
release = cellucid_dask.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
default_role = "py:obj"
templates_path = ["_templates"]
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
smartquotes_action = "qe"  # no dashes: options begin with two
copybutton_prompt_text = "$ "
suppress_warnings = ["mystnb.unknown_mime_type", "myst.domains"]

# Without network, the names that the API uses are looked up in small inventories here.
intersphinx_mapping = {
    name: (url, (None, f"inventories/{name}.txt"))
    for name, url in {
        "anndata": "https://anndata.readthedocs.io/en/stable",
        "matplotlib": "https://matplotlib.org/stable",
        "numpy": "https://numpy.org/doc/stable",
        "pandas": "https://pandas.pydata.org/docs",
        "python": "https://docs.python.org/3",
        "scipy": "https://docs.scipy.org/doc/scipy",
    }.items()
}
intersphinx_timeout = 5
# Names as docstrings and annotations have them.
_FULL_NAMES = {
    "Axes": "matplotlib.axes.Axes",
    "AnnData": "anndata.AnnData",
    "DataFrame": "pandas.DataFrame",
    "csr_matrix": "scipy.sparse.csr_matrix",
    "ndarray": "numpy.ndarray",
}

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_title = f"cellucid-dask {release}"
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the search box is in the sidebar
    "show_navbar_depth": 1,
    "use_download_button": False,
}
if "Repository" in _URLS:
    html_theme_options |= {"repository_url": _URLS["Repository"], "use_repository_button": True}


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


def _resolve(_app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """Resolve a reference to a class of another package, given by its short name."""
    full = _FULL_NAMES.get(str(node.get("reftarget")).rpartition(".")[2])
    if full is None:
        return None
    node["reftarget"] = full
    return resolve_reference_any_inventory(env, False, node, content)  # noqa: FBT003


def _as_block(_: Sphinx, ctx: Any, lines: list[str]) -> None:
    """Show the examples of a command as they are typed."""
    if ctx.parent is not None:
        lines[:] = [".. code-block:: console", "", *(f"   $ {line}" for line in lines if line), ""]


def setup(app: Sphinx) -> None:
    """Run `_name_each` before napoleon, and call attributes what they are."""
    app.connect("autodoc-process-docstring", _name_each, priority=400)
    app.connect("missing-reference", _resolve)
    app.connect("sphinx-click-process-epilog", _as_block)
    (variables,) = (each for each in PyObject.doc_field_types if each.name == "variable")
    variables.label = "Attributes"
