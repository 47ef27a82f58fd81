# SPDX-License-Identifier: Apache-2.0
"""Texts to one vector each, and how near such vectors are to each other.

What a checkpoint's files say about pooling is read in `sentence_transformers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.errors import InputError, describe
from distilbert.inference.fast_model import FastModel
from distilbert.outputs import ModelOutput
from distilbert.pipelines.base import Pipeline
from distilbert.pipelines.inputs import as_list, as_text
from distilbert.pipelines.jobs import Encoded
from distilbert.pipelines.options import Options
from distilbert.pipelines.scores import Numbers, unit
from distilbert.pipelines.sentence_modules import POOLINGS
from distilbert.pipelines.sentence_transformers import read_modules
from distilbert.tokenizer import DistilBertTokenizer

Vectors = NDArray[np.float32]

# From hidden states (T, D) to (D,).
_POOL: dict[str, Callable[[Numbers], Numbers]] = {
    "cls": lambda hidden: hidden[0],
    "max": lambda hidden: hidden.max(0),
    "mean": lambda hidden: hidden.mean(0),
    "mean_sqrt_len": lambda hidden: hidden.sum(0) / np.sqrt(len(hidden)),
}


@dataclass(frozen=True)
class EmbeddingOptions(Options):
    """How a text becomes a vector.

    Attributes:
        pooling: `cls`, `max`, `mean` or `mean_sqrt_len`, or a list of some to join; default what the checkpoint says.
        normalize: whether vectors get the length 1; default what the checkpoint says.
        truncation: cut texts that are too long; False refuses those that are longer than the model takes.
        max_length: in tokens, where texts are cut; default what the checkpoint says, at most what the model takes.
        prompt_name: of the checkpoint's prompts, the one to put before each text, as in `query`.
        prompt: what to put before each text, in place of one of these.
    """

    pooling: str | Sequence[str] | None = None
    normalize: bool | None = None
    truncation: bool = True
    max_length: int | None = None
    prompt_name: str | None = None
    prompt: str | None = None

    @property
    def poolings(self) -> tuple[str, ...] | None:
        """The names in `pooling`."""
        return (self.pooling,) if isinstance(self.pooling, str) else None if self.pooling is None else (*self.pooling,)

    def problems(self) -> Iterator[str]:
        given: dict[str, Any] = vars(self)
        names = given["pooling"] if isinstance(given["pooling"], list | tuple) else [given["pooling"]]
        if self.pooling is not None and not (names and all(isinstance(n, str) and n in POOLINGS for n in names)):
            yield f"pooling: expected {', '.join(POOLINGS)} or a list of these; found {self.pooling!r}"
        for name, kind, expected in (
            ("normalize", bool | None, "True, False or None"),
            ("truncation", bool, "True or False"),
            ("prompt", str | None, "str or None"),
            ("prompt_name", str | None, "str or None"),
        ):
            if not isinstance(given[name], kind):
                yield f"{name}: expected {expected}; found {given[name]!r}"
        length = given["max_length"]
        if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 2):
            yield f"max_length: expected a number of tokens of at least 2, or None; found {length!r}"
        if self.prompt is not None and self.prompt_name is not None:
            yield "prompt, prompt_name: expected one of them"


class SentenceEmbedding(Pipeline):
    """`pipe("text")` gives a vector (D,), `pipe(["text", ...])` a matrix (N, D), in NumPy's float32.

    What the checkpoint's files say, in the layout of sentence-transformers, is the default; without them it is the mean
    of the hidden states, not normalised.

    Attributes:
        modules: what they say.
    """

    task = "sentence-embedding"
    model_task = "encoder"
    options_class = EmbeddingOptions

    def __init__(
        self, fast: FastModel, tokenizer: DistilBertTokenizer, folder: Path | None = None, **options: Any
    ) -> None:
        """Read the checkpoint's files.

        Args:
            fast: the model.
            tokenizer: of the model.
            folder: of the checkpoint; default where its tokenizer is from.
            options: defaults of the calls.

        Raises:
            ConfigError: lists what is wrong with the files.
            InputError: an option is unknown or wrong.
        """
        self.modules = read_modules(folder or Path(tokenizer.name_or_path), fast.config.dim)
        super().__init__(fast, tokenizer, folder, **options)

    def items(self, inputs: Any) -> tuple[list[Any], bool]:
        return ([inputs], True) if isinstance(inputs, str) else (as_list(inputs, "texts"), False)

    def __call__(self, *inputs: Any, **named: Any) -> Vectors:
        result = super().__call__(*inputs, **named)
        if not isinstance(result, list):
            vector: Vectors = result
            return vector
        if not result:
            return np.empty((0, self._width(named.get("pooling", self.defaults.pooling))), np.float32)
        return np.stack(result)

    def similarity(self, first: Any, second: Any) -> Vectors:
        """The cosine of the angle between each of one side and each of the other.

        Args:
            first: N texts or vectors (N, D); a single text or vector counts as one of them.
            second: M of them.

        Returns:
            (N, M), from -1 to 1; 0 for a vector of zeros.

        Raises:
            InputError: a side is no such thing, or the vectors of the two differ in length.
        """
        left, right = self._directions(first, "first"), self._directions(second, "second")
        if left.shape[1] != right.shape[1]:
            raise InputError(f"similarity: vectors of {left.shape[1]} numbers and of {right.shape[1]} do not compare")
        return np.clip(left @ right.T, -1, 1).astype(np.float32)

    def check(self, options: Options, changes: dict[str, Any]) -> Any:
        chosen: EmbeddingOptions = super().check(options, changes)
        problems = self.modules.problems(self._poolings(chosen), self.config.dim)
        prompts = self.modules.prompts
        if chosen.prompt_name is not None and chosen.prompt_name not in prompts:
            known = ", ".join(prompts) or "none, the checkpoint has no prompts"
            problems.append(f"prompt_name: expected {known}; found {chosen.prompt_name!r}")
        if problems:
            raise InputError(describe(f"{self.task} options", problems))
        return chosen

    def encode(self, items: Sequence[Any], options: EmbeddingOptions) -> list[Encoded]:
        prompt, length = self._prompt(options), options.max_length or self.modules.max_length
        skipped = 0
        if prompt and not self.modules.include_prompt:
            skipped = len(self._ids([prompt], options, length)[0]) - 1  # all but [SEP]
        rows = self._ids([prompt + as_text(item) for item in items], options, length)
        return [Encoded([ids], min(skipped, len(ids) - 1)) for ids in rows]

    def decode(self, item: Any, context: int, answers: Sequence[ModelOutput], options: EmbeddingOptions) -> Vectors:
        hidden = answers[0].last_hidden_state.astype(np.float64)
        without_prompt = hidden[context:]
        # [CLS] stands for the whole text, prompt and all: so in sentence-transformers.
        poolings = self._poolings(options)
        vector = np.concatenate([_POOL[name](hidden if name == "cls" else without_prompt) for name in poolings])
        for layer in self.modules.dense:
            vector = layer(vector)
        normalize = self.modules.normalize if options.normalize is None else options.normalize
        return (unit(vector) if normalize else vector).astype(np.float32)

    def _ids(self, texts: list[str], options: EmbeddingOptions, length: int | None) -> list[list[int]]:
        texts = [text.lower() for text in texts] if self.modules.lower_case else texts
        rows = self.ids([(text, None) for text in texts], options.truncation, length)
        longest = max(map(len, rows), default=0)
        if length is not None and longest > length:
            raise InputError(f"text: has {longest} tokens, the checkpoint is for {length}; use truncation=True")
        return rows

    def _prompt(self, options: EmbeddingOptions) -> str:
        if options.prompt is not None:
            return options.prompt
        name = options.prompt_name or self.modules.default_prompt
        return "" if name is None else self.modules.prompts[name]

    def _poolings(self, options: EmbeddingOptions) -> tuple[str, ...]:
        return options.poolings or self.modules.pooling

    def _width(self, pooling: str | Sequence[str] | None) -> int:
        if self.modules.dense:
            return len(self.modules.dense[-1].bias)
        return self.config.dim * len(self._poolings(self.check(self.defaults, {"pooling": pooling})))

    def _directions(self, value: Any, name: str) -> Numbers:
        """Texts or vectors as vectors (N, D) of length 1."""
        is_text = isinstance(value, str) or (isinstance(value, list | tuple) and any(isinstance(v, str) for v in value))
        try:
            found = np.asarray(self(value) if is_text else value)
        except ValueError as error:
            raise InputError(f"similarity: {name}: expected texts or vectors of the same length ({error})") from None
        if found.dtype.kind not in "iuf" or found.ndim not in (1, 2):
            kind = f"{type(value).__name__} of shape {found.shape} and type {found.dtype}"
            raise InputError(f"similarity: {name}: expected texts or vectors (N, D); found {kind}")
        return unit(np.atleast_2d(found).astype(np.float64))
