# SPDX-License-Identifier: Apache-2.0
"""What the tasks have in common: rows out of files of any format, checked texts, tokens in arrays."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from distilbert.config import DistilBertConfig
from distilbert.errors import DistilBertError, InputError, all_told
from distilbert.tables.fields import Columns, Fields, choose_columns, read_fields
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training.batch import Batch, Ragged
from distilbert.training.data import Place, Problems, find_files, format_of, read_columns, read_rows
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.tasks.task import TrainingTask

# What is tokenised together: the tokenizer is fast with many texts, and takes some 200 bytes for each character.
CHUNK = 1000  # rows
CHARACTERS = 2**18

SHOWN = 5  # problems of one row that are told
MOST_UNKNOWN = 0.5  # share of [UNK] among tokens without a warning

logger = logging.getLogger("distilbert")

Parsed = tuple[Place, Any]


class FileTask(TrainingTask):
    """A task whose examples are rows of files.

    Attributes:
        fields: what it reads of a row.
        formats: what it reads besides tables, of `data.formats.FORMATS`.
        usual_length: tokens of an example, where the recipe does not say.
        max_length: tokens of an example, at most.
    """

    fields: ClassVar[Fields]
    formats: ClassVar[tuple[str, ...]] = ()
    usual_length: ClassVar[int] = 128

    def __init__(
        self, recipe: FinetuneRecipe, tokenizer: DistilBertTokenizer, config: DistilBertConfig | None = None
    ) -> None:
        super().__init__(recipe, tokenizer, config)
        most = tokenizer.model_max_length if config is None else config.max_position_embeddings
        wanted = recipe.max_seq_length
        if wanted is not None and wanted > most:
            raise InputError(f"max_seq_length: the model takes at most {most:,} tokens, found {wanted:,}")
        self.max_length = min(self.usual_length, most) if wanted is None else wanted

    @abstractmethod
    def parse(self, values: Mapping[str, Any]) -> Any:
        """A row, as `fields` has it, in the form that the task works with.

        Raises:
            InputError: lists what is wrong with it.
        """

    def splits(self) -> dict[str, list[Path]]:
        """The files of each split that the recipe names.

        Raises:
            FileError, InputError: lists what is wrong, with columns that are absent.
        """
        names = {"train": self.recipe.train_file, "validation": self.recipe.validation_file}
        found: dict[str, list[Path]] = {}
        with all_told() as errors:
            for split in [split for split, given in names.items() if given or split == "train"]:
                try:
                    found[split] = self.files(names[split])
                    for path in found[split]:
                        self.columns(path)
                except DistilBertError as error:
                    errors.append(error)
        return found

    def files(self, names: Sequence[str]) -> list[Path]:
        """The files that names, patterns and folders of a recipe stand for; FileError lists what is wrong."""
        return find_files(names, self.recipe.input_format, self.formats)

    def parsed(self, files: Sequence[Path], limit: int | None, problems: Problems) -> Iterator[list[Parsed]]:
        """All rows, parsed, in lists short enough to be tokenised together. Bad ones go into `problems`."""
        chunk: list[Parsed] = []
        size = 0
        for place, values, item in self._parsed(files, limit, problems):
            chunk.append((place, item))
            size += sum(map(_characters, values))
            if len(chunk) == CHUNK or size >= CHARACTERS:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def columns(self, path: Path) -> Columns:
        """Which columns of a file the fields are in; InputError lists those that are absent."""
        present = read_columns(path, self._format(path))
        found = choose_columns(str(path), self.fields, self.recipe.column, present)
        if present is None:
            self._check_first_row(path)
        names = [name for columns in found.values() for name in columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(
                f"{path}: column {', '.join(map(repr, twice))} is named twice; expected one for each field"
            )
        return found

    def encode(self, texts: Sequence[str | tuple[str, str]], whole: bool = False) -> list[list[int]]:
        """Token ids of texts or pairs of texts, cut to `max_length`; with `whole` neither cut nor with [CLS], [SEP]."""
        found: list[list[int]] = self.tokenizer.batch_encode_plus(
            texts,
            add_special_tokens=not whole,
            truncation=not whole,
            max_length=None if whole else self.max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return found

    def check_tokens(self, ids: Ragged, files: Sequence[Path]) -> None:
        """Raise InputError for tokens that nothing can be learned from; warn where the tokenizer hardly knows any.

        Args:
            ids: of all examples of some files.
            files: for the message.
        """
        title, words = ", ".join(map(str, files)), ids.values
        size = None if self.config is None else self.config.vocab_size
        if size is not None and words.max(initial=0) >= size:
            raise InputError(
                f"{title}: token {words.max():,} of the tokenizer, but the model's vocab_size is {size:,}; "
                "they do not belong together: take the tokenizer of the model, or resize its embeddings"
            )
        unknown = self.tokenizer.unk_token_id
        special = set(self.tokenizer.all_special_ids) - {unknown}
        words = words[~np.isin(words, list(special))]
        if not len(words):
            raise InputError(f"{title}: holds no text that the tokenizer leaves any token of")
        share = float(np.mean(words == unknown))
        if share > MOST_UNKNOWN:
            logger.warning(
                "%s: %.0f %% of the tokens are unknown to the tokenizer; is it for such text?", title, 100 * share
            )

    def inputs(self, ids: Ragged, rows: NDArray[np.int64], length: int) -> Batch:
        """`input_ids` and `attention_mask` (B, length) of some lists of token ids."""
        mask = np.arange(length) < ids.lengths[rows][:, None]
        return {
            "input_ids": ids.padded(rows, length, self.tokenizer.pad_token_id or 0),
            "attention_mask": mask.astype(np.int32),
        }

    def _check_first_row(self, path: Path) -> None:
        """Raise InputError if the first object of JSON Lines lacks a field: then all do, as a rule."""
        row = next(iter(read_rows(path, self._format(path), None)), None)
        if row is not None and row.values is not None:
            choose_columns(str(path), self.fields, self.recipe.column, list(row.values))

    def _format(self, path: Path) -> str:
        return format_of(path, self.recipe.input_format, self.formats)

    def _parsed(
        self, files: Sequence[Path], limit: int | None, problems: Problems
    ) -> Iterator[tuple[Place, Iterable[Any], Any]]:
        """Place, values and parsed form of each good row."""
        left = float("inf") if limit is None else limit
        for path in files:
            columns = self.columns(path)
            wanted = list(dict.fromkeys(name for names in columns.values() for name in names))
            count = 0
            # Objects of JSON Lines need not have the columns of optional fields.
            declared = read_columns(path, self._format(path)) is not None
            for row in read_rows(path, self._format(path), wanted if declared else None):
                if left == 0:
                    return
                left, count, place = left - 1, count + 1, Place(path, row.number)
                if row.values is None:
                    problems.add(place, row.problem or "")
                    continue
                try:
                    values = read_fields(self.fields, columns, row.values)
                    yield place, values.values(), self.parse(values)
                except InputError as error:
                    problems.add(place, str(error))
            if not count:
                problems.add(path, "holds no rows")


def _characters(value: Any) -> int:
    """About how many there are to tokenise."""
    if isinstance(value, list):
        return sum(map(_characters, value))
    return len(value) if isinstance(value, str) else 0


def text_problem(name: str, value: Any) -> str | None:
    """What is wrong with a text to learn from, if anything is."""
    if not isinstance(value, str):
        return f"{name}: expected a text, found {'nothing' if value is None else type(value).__name__}"
    if not value or value.isspace():
        return f"{name}: is {'empty' if not value else 'blank'}"
    return None


def refuse(problems: Sequence[str | None]) -> None:
    """Raise InputError for the problems of a row, if there are any."""
    found = [problem for problem in problems if problem]
    if found:
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        raise InputError("; ".join(found[:SHOWN] + more))
