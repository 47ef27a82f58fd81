# SPDX-License-Identifier: Apache-2.0
"""Sphinx directives whose content comes from the code: `{generated} NAME` and `{side-by-side} FILE`."""

from __future__ import annotations

from typing import Any, ClassVar

import side_by_side
import tables
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Generated(SphinxDirective):
    """The Markdown of one of the functions in `tables.py`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(tables.TABLES[self.arguments[0]](), allow_section_headings=True)


class SideBySide(SphinxDirective):
    """A file of the three backends in three columns."""

    required_arguments = 1
    option_spec: ClassVar = {}

    def run(self) -> list[nodes.Node]:
        for backend in side_by_side.BACKENDS:
            self.env.note_dependency(str(side_by_side.PACKAGE / backend / self.arguments[0]))
        return [nodes.raw("", side_by_side.page(self.arguments[0]), format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the directives known."""
    app.add_directive("generated", Generated)
    app.add_directive("side-by-side", SideBySide)
    return {"parallel_read_safe": True}
