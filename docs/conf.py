# SPDX-License-Identifier: Apache-2.0
"""Settings of the documentation: Sphinx, Markdown sources, the furo theme. No framework is imported to build it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from distilbert import __version__

project = "distilbert"
author = "the distilbert authors"
release = version = __version__
copyright = author

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"distilbert {release}"
html_static_path = ["_static"]
html_css_files = ["side_by_side.css"]
html_show_copyright = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

default_role = "literal"  # docstrings are written with single backticks, as in Markdown
autodoc_mock_imports = ["flax", "jax", "keras", "optree", "tensorflow", "torch"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
