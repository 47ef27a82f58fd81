# SPDX-License-Identifier: Apache-2.0
"""The page that the server shows at `/`, and the two routes that only the page needs.

The page is plain HTML, CSS and JavaScript modules in `static/`, sent as they are: there is no build step.
"""

from __future__ import annotations

from distilbert.serve.page.routes import router

__all__ = ["router"]
