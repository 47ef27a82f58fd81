# SPDX-License-Identifier: Apache-2.0
"""What is served: names, the pipelines behind them, and which one answers a request."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distilbert import loading
from distilbert.demo import MODEL
from distilbert.errors import InputError, describe
from distilbert.pipelines import Pipeline, pipeline
from distilbert.pipelines.feature_extraction import FeatureExtraction
from distilbert.pipelines.sentence_embedding import SentenceEmbedding

_OF_AN_ENCODER: tuple[type[Pipeline], ...] = (SentenceEmbedding, FeatureExtraction)


class UnknownModel(Exception):
    """No model of this name, or none that answers this task."""


@dataclass(frozen=True)
class Served:
    """One model.

    Attributes:
        name: what requests call it.
        pipe: of its own task.
        source: where it is from.
        pipelines: of all tasks that it answers, by task: an encoder embeds texts and gives features, whichever it is
            for.
    """

    name: str
    pipe: Pipeline
    source: str | Path
    pipelines: Mapping[str, Pipeline] = field(init=False)

    def __post_init__(self) -> None:
        pipe = self.pipe
        others = _OF_AN_ENCODER if pipe.model_task == "encoder" else ()
        made = {kind.task: kind(pipe.fast, pipe.tokenizer) for kind in others if kind.task != pipe.task}
        object.__setattr__(self, "pipelines", {pipe.task: pipe, **made})


class Models:
    """All models of a server, to be gone through in their order; the first is the default."""

    def __init__(self, served: Iterable[Served]) -> None:
        """Take models.

        Raises:
            InputError: there is none, or two have the same name.
        """
        found = list(served)
        names = [model.name for model in found]
        if not found:
            raise InputError("models: expected at least one")
        _check_names(names)
        self._served = dict(zip(names, found, strict=True))

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served.values())

    @property
    def default(self) -> Served:
        """Who is asked where a request names nobody and the route no task."""
        return next(iter(self))

    def named(self, name: str | None) -> Served:
        """The model of this name, the default for None; UnknownModel if there is none."""
        if name is None:
            return self.default
        if name not in self._served:
            raise UnknownModel(f"model: expected {_either(self._served)}; found {name!r:.200}")
        return self._served[name]

    def answering(self, task: str) -> list[str]:
        """The names of the models that answer a task."""
        return [served.name for served in self if task in served.pipelines]

    def find(self, task: str, name: str | None = None) -> Pipeline:
        """The pipeline for a task, of the model of this name or else of the first that has it.

        Raises:
            UnknownModel: says which models there are.
        """
        names = self.answering(task)
        if not names:
            found = ", ".join(f"{served.name} ({served.pipe.task})" for served in self)
            raise UnknownModel(f"no model here does {task}; there is {found}")
        served = self.named(names[0] if name is None else name)
        if task not in served.pipelines:
            raise UnknownModel(f"model: {name} does not do {task}; expected {_either(names)}")
        return served.pipelines[task]


def load(sources: Sequence[str], task: str | None = None, backend: str | None = None, dtype: str = "float32") -> Models:
    """Load `MODEL` or `NAME=MODEL` texts, each a folder or a repository on the hub.

    Args:
        sources: none for the small sentiment model of this package.
        task: of all of them; default what each is for.
        backend: as for `distilbert.pipeline`.
        dtype: the same.

    Raises:
        InputError: two have the same name, or what `distilbert.pipeline` raises.
    """
    named = [parse(source) for source in sources] or [("demo", str(MODEL))]
    _check_names([name for name, _ in named])
    loaded = ((name, source, pipeline(task, source, backend=backend, dtype=dtype)) for name, source in named)
    return Models(Served(name, pipe, source) for name, source, pipe in loaded)


def runners(sources: Sequence[str], backend: str | None = None) -> list[str]:
    """What is going to run each of the models, as far as is known before they are fetched: see `loading.choose`.

    Raises:
        BackendError, InputError: as `loading.choose`.
    """
    places = [Path(parse(source)[1]) for source in sources] or [MODEL]
    return list(dict.fromkeys(loading.choose(place, backend) for place in places))


def parse(source: str) -> tuple[str, str]:
    """Name and place of `NAME=MODEL`; of a folder alone its own name, of a repository that of the hub."""
    name, separator, place = source.partition("=")
    if separator and name and place and not os.path.exists(source):
        return name, place
    return (Path(source).resolve().name if os.path.exists(source) else source), source


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(describe("models", [f"{name}: several are called so; say NAME=MODEL" for name in twice]))


def _either(names: Iterable[str]) -> str:
    found = list(names)
    return found[0] if len(found) == 1 else f"one of {', '.join(found)}"
