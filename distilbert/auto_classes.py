# SPDX-License-Identifier: Apache-2.0
"""Opt-in: transformers' Auto classes give the models of this package for DistilBERT checkpoints.

`AutoModelForMaskedLM.from_pretrained(folder)` reads config.json as transformers' own configuration and asks a table for
the model class that goes with it. `register_auto_classes` writes into that table, in this process only.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any

from distilbert import backend, spec
from distilbert.config import DistilBertConfig
from distilbert.errors import BackendError, InputError

# Auto classes by task, without the framework's prefix; old and new versions of transformers lack some of them.
_AUTO_CLASSES = {
    "encoder": ("AutoModel", "AutoModelForTextEncoding"),
    "masked-lm": ("AutoModelForMaskedLM", "AutoModelForPreTraining", "AutoModelWithLMHead"),
    "sequence-classification": ("AutoModelForSequenceClassification",),
    "multiple-choice": ("AutoModelForMultipleChoice",),
    "token-classification": ("AutoModelForTokenClassification",),
    "question-answering": ("AutoModelForQuestionAnswering",),
}
# What an Auto class passes on that says nothing about the model.
_NO_MEANING = ("_from_auto", "_commit_hash", "trust_remote_code", "adapter_kwargs", "low_cpu_mem_usage")


@dataclass(frozen=True)
class Registration:
    """What `register_auto_classes` did. As a context manager it undoes it at the end of the block.

    Attributes:
        names: the Auto classes that give our models now.
    """

    names: tuple[str, ...]
    _undo: tuple[Callable[[], None], ...]

    def undo(self) -> None:
        """Give back what the Auto classes gave before; a second time changes nothing."""
        for step in self._undo:
            step()

    def __enter__(self) -> Registration:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()


def register_auto_classes() -> Registration:
    """Make transformers' Auto classes give the models of this package wherever a config.json says `distilbert`.

    All frameworks that are installed and that transformers still has: `AutoModel...` for PyTorch, and in transformers 4
    `TFAutoModel...` and `FlaxAutoModel...`. AutoConfig and AutoTokenizer stay as they are, and what they give works
    with our models. Models that are already loaded stay what they are.

    Returns:
        What was registered, with `undo()`; also a context manager.

    Raises:
        BackendError: transformers is not installed, or no framework that it knows.
    """
    transformers = _transformers()
    undo: list[Callable[[], None]] = []
    names = []
    for name in backend.installed():
        for task, auto_names in _AUTO_CLASSES.items():
            for auto_name in (backend.BACKENDS[name].prefix + auto_name for auto_name in auto_names):
                auto = getattr(transformers, auto_name, None)
                if hasattr(auto, "_model_mapping"):  # not a stand-in for a framework that transformers does not find
                    adapter = _adapter(name, task, transformers.DistilBertConfig)
                    undo.append(_register(auto, transformers.DistilBertConfig, adapter))
                    names.append(auto_name)
    if not names:
        installed = ", ".join(backend.BACKENDS[name].title for name in backend.installed()) or "none"
        raise BackendError(
            f"register_auto_classes: transformers {transformers.__version__} has Auto classes for none of the "
            f'frameworks that are installed ({installed}); install PyTorch:  pip install "distilbert[pt]"'
        )
    return Registration(tuple(names), tuple(undo))


def _transformers() -> ModuleType:
    if importlib.util.find_spec("transformers") is None:
        raise BackendError(
            "register_auto_classes needs transformers, which cannot be imported\n  install:  pip install transformers"
        )
    return importlib.import_module("transformers")


def _register(auto: Any, config_class: type, adapter: Any) -> Callable[[], None]:
    """Register, and return what undoes it. Transformers has no way to do that, so its table is restored."""
    table = auto._model_mapping._extra_content
    adapter.before, adapter.is_active = table.get(config_class), True
    auto.register(config_class, adapter, exist_ok=True)

    def undo() -> None:
        adapter.is_active = False
        if table.get(config_class) is not adapter:
            return
        del table[config_class]
        before = adapter.before
        while not getattr(before, "is_active", True):  # undone while this one was above it
            before = before.before
        if before is not None:
            table[config_class] = before

    return undo


def _adapter(backend_name: str, task: str, config_class: type) -> type:
    """What an Auto class takes for a model class; it gives a model of ours, whose framework is imported only then."""
    class_name = spec.TASKS[task].class_name

    def model_class() -> Any:
        prefix = backend.BACKENDS[backend_name].prefix
        return getattr(backend.load(backend_name, f"{prefix}{class_name}"), class_name)

    def from_pretrained(name_or_path: Any, *, config: Any, **options: Any) -> Any:
        if (options.get("adapter_kwargs") or {}).get("_adapter_model_path"):
            raise InputError(f"{name_or_path}: adapters of PEFT are not read; merge the adapter into its model first")
        passed = {name: value for name, value in options.items() if name not in _NO_MEANING}
        if config._attn_implementation is not None:  # the Auto class has put the argument there
            passed.setdefault("attn_implementation", config._attn_implementation)
        return model_class().from_pretrained(name_or_path, config=_own_config(config), **passed)

    def from_config(config: Any, **options: Any) -> Any:
        if options:
            raise InputError(f"from_config: expected a configuration alone, found {', '.join(options)} too")
        return model_class()(_own_config(config))

    members = {
        "__doc__": f"Gives `distilbert.{backend_name}.{class_name}`.",
        "__module__": __name__,
        "config_class": config_class,
        "from_pretrained": staticmethod(from_pretrained),
        "_from_config": staticmethod(from_config),
    }
    return type(class_name, (), members)


def _own_config(config: Any) -> DistilBertConfig:
    """Our configuration of what is one of transformers: what that would write to config.json."""
    return DistilBertConfig.from_dict(config.to_diff_dict(), f"transformers.{type(config).__name__}")
