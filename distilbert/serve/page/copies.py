# SPDX-License-Identifier: Apache-2.0
"""The page's own copies of the served models: loaded when first needed, and kept.

The server's models belong to its inference thread. What the page does beside them (attention weights, a second
framework) is done on copies, so that no request waits for it in that thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import distilbert
from distilbert import backend as backends
from distilbert import loading
from distilbert.errors import InputError
from distilbert.export.formats import FORMATS
from distilbert.pipelines import Pipeline
from distilbert.serve.models import Served

MOST = 6  # copies kept; of more, the one that was used longest ago goes


class Copies:
    """Copies of served models. Not for several threads at a time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, str], Any] = OrderedDict()

    def encoder(self, served: Served) -> Any:
        """The plain encoder in the framework that serves the model; it can tell its attention weights.

        Raises:
            InputError: the model is an exported file.
        """
        _check_checkpoint(served)
        backend = served.pipe.fast.backend
        return self._copy((served.name, backend, "encoder"), lambda: loading.load(served.source, "encoder", backend))

    def pipeline(self, served: Served, backend: str) -> Pipeline:
        """The model's pipeline in a framework, with the options and the precision that it is served with.

        Raises:
            BackendError: the framework is unknown or not installed.
            InputError: the model is an exported file.
        """
        _check_checkpoint(served)
        backends.require(backend, "the comparison")
        served_pipe = served.pipe
        pipe: Pipeline = self._copy(
            (served.name, backend, "pipeline"),
            lambda: distilbert.pipeline(served_pipe.task, served.source, backend=backend, dtype=served_pipe.fast.dtype),
        )
        pipe.defaults = served_pipe.defaults
        return pipe

    def _copy(self, key: tuple[str, str, str], make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return self._kept[key]


def _check_checkpoint(served: Served) -> None:
    """Refuse an exported file, which runs in one runtime and says nothing but its answers."""
    if served.pipe.fast.backend in FORMATS:
        title = loading.runtime(served.pipe.fast.backend).title
        raise InputError(f"{served.name}: is a file for {title}; serve the checkpoint it was made from for that")
