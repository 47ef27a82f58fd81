# SPDX-License-Identifier: Apache-2.0
"""Which names of transformers this package has, under which name, and what a qualified name stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from distilbert import spec
from distilbert.backend import BACKENDS

PACKAGE = "distilbert"
PIPELINE = "pipeline"


@dataclass(frozen=True)
class Target:
    """A name of this package.

    Attributes:
        name: as it is imported.
        role: `model`, `tokenizer`, `config` or `pipeline`.
        framework: of a model: `pt`, `tf` or `flax`; else empty.
    """

    name: str
    role: str
    framework: str = ""


CLASSES = {
    "DistilBertConfig": Target("DistilBertConfig", "config"),
    "DistilBertTokenizer": Target("DistilBertTokenizer", "tokenizer"),
    "DistilBertTokenizerFast": Target("DistilBertTokenizerFast", "tokenizer"),
    **{
        name: Target(name, "model", backend.name)
        for backend in BACKENDS.values()
        for task in spec.TASKS.values()
        for name in (backend.prefix + task.class_name,)
    },
}
# Auto classes, by what they are for a DistilBERT.
AUTOS = {
    "AutoConfig": CLASSES["DistilBertConfig"],
    "AutoTokenizer": CLASSES["DistilBertTokenizer"],
    **{
        name.replace("DistilBert", "Auto" if "For" not in name else "AutoModel"): target
        for name, target in CLASSES.items()
        if target.role == "model"
    },
    **{
        f"{backend.prefix}AutoModelWithLMHead": CLASSES[f"{backend.prefix}DistilBertForMaskedLM"]
        for backend in BACKENDS.values()
        if backend.name != "flax"
    },
}
PIPELINES = {PIPELINE: Target(PIPELINE, "pipeline")}
KNOWN = CLASSES | AUTOS | PIPELINES

# Modules of transformers that these names are imported from.
_MODULE = re.compile(
    r"transformers(?:\.pipelines|\.models\.(?:distilbert|auto)(?:\.(?:modeling|tokenization|configuration)_\w+)?)?"
)
_DISTILBERT = re.compile(r"distil[-_ ]?bert", re.IGNORECASE)


def is_module(name: str) -> bool:
    """Whether names of this package's classes are imported from this module of transformers."""
    return _MODULE.fullmatch(name) is not None


def split(qualified: str) -> tuple[str, tuple[str, ...]] | None:
    """A qualified name in transformers as the name there and what is looked up in it; None for names of others.

    `transformers.models.distilbert.TFDistilBertModel.from_pretrained` is TFDistilBertModel and ("from_pretrained",).
    """
    match = _MODULE.match(qualified + ".")
    if match is None or not (qualified + ".").startswith(match[0] + "."):
        return None
    name, *rest = qualified[len(match[0]) + 1 :].split(".")
    return (name, tuple(rest)) if name else None


def says_distilbert(text: str) -> bool:
    """Whether the name of a checkpoint, a path or a variable says that it is a DistilBERT.

    The organisation called distilbert has other models too, so that it does not count.
    """
    return _DISTILBERT.search(text.removeprefix("distilbert/")) is not None
