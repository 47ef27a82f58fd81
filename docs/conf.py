# SPDX-License-Identifier: Apache-2.0
"""Settings of the documentation: Sphinx, Markdown sources, the furo theme. No framework is imported to build it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from distilbert import __version__

project = "distilbert"
author = "the distilbert authors"
release = version = __version__
copyright = author

extensions = ["myst_parser", "sphinx.ext.napoleon", "autoapi.extension", "generated"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"distilbert {release}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_copyright = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

default_role = "literal"  # docstrings are written with single backticks, as in Markdown
autoapi_dirs = ["../distilbert"]  # read, not imported
autoapi_generate_api_docs = False
autoapi_add_toctree_entry = False
autoapi_python_class_content = "class"
autoapi_options = ["members"]
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
suppress_warnings = ["autoapi.python_import_resolution"]


def skip_undocumented(app: Any, kind: str, name: str, item: Any, skip: bool, options: Any) -> bool | None:
    """Leave out of the reference what has no docstring."""
    return skip or not item.docstring


def setup(app: Any) -> None:
    app.connect("autodoc-skip-member", skip_undocumented)
