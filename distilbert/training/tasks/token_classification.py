# SPDX-License-Identifier: Apache-2.0
"""Words to tags: names, places, parts of speech."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.outputs import ModelOutput
from distilbert.tables.fields import Fields
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training import metrics
from distilbert.training.batch import WEIGHTS, Batch, Ragged
from distilbert.training.data import Problems
from distilbert.training.data.growing import GrowingRagged
from distilbert.training.entity_metrics import entity_scores, has_entities
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.tasks.file_task import FileTask, refuse, text_problem
from distilbert.training.tasks.labels import FoundLabels, as_number, label_name, settle
from distilbert.training.tasks.task import Examples

NO_LABEL = -100  # as in PyTorch: of tokens that are not learned

logger = logging.getLogger("distilbert")


class Sentence(NamedTuple):
    """A row of a file."""

    tokens: list[str]
    tags: list[str]


@dataclass
class TaggedExamples(Examples):
    """Sentences with tags.

    Attributes:
        ids: token ids of each.
        labels: classes of these tokens, NO_LABEL where there is none.
        firsts: (all tokens of all sentences,) whether a token is the first of its word; these are scored.
    """

    ids: Ragged
    labels: Ragged
    firsts: NDArray[np.bool_]

    def __post_init__(self) -> None:
        self.lengths = self.ids.lengths

    def words(self, row: int) -> NDArray[np.int64]:
        """The places of a sentence's words: of their first tokens."""
        return np.flatnonzero(self.firsts[self.ids.starts[row] : self.ids.starts[row + 1]])


class TokenClassification(FileTask):
    """Reads `tokens` and `tags`, lists of equal length (also as JSON), or CoNLL files.

    The first token of a word has its tag, the others none; with label_all_tokens all have it, where B becomes I
    after the first. Words are scored by their first tokens.
    """

    model_task = "token-classification"
    main_metric = "f1"
    fields = Fields(("tokens", "tags"), lists=("tokens", "tags"))
    formats = ("conll",)

    def __init__(
        self, recipe: FinetuneRecipe, tokenizer: DistilBertTokenizer, config: DistilBertConfig | None = None
    ) -> None:
        super().__init__(recipe, tokenizer, config)
        self.names: Sequence[str] = ()  # of the labels, known when the training data is read
        self._numbers: Mapping[str, int] = {}  # of the labels, as the data calls them

    def parse(self, values: Mapping[str, Any]) -> Sentence:
        tokens, tags = values["tokens"], values["tags"]
        refuse(
            [
                f"{name}: expected a list, found {'nothing' if value is None else type(value).__name__}"
                for name, value in (("tokens", tokens), ("tags", tags))
                if not isinstance(value, list | tuple)
            ]
        )
        problems = [text_problem(f"token {place}", token) for place, token in enumerate(tokens)]
        if not tokens:
            problems.append("tokens: is empty")
        if len(tokens) != len(tags):
            problems.append(f"tags: expected one for each of {len(tokens)} tokens, found {len(tags)}")
        names = []
        for place, tag in enumerate(tags):
            try:
                names.append(label_name(tag))
            except InputError as error:
                problems.append(f"tag {place}: {str(error).removeprefix('label: ')}")
        refuse(problems)
        return Sentence(list(tokens), names)

    def read(self, files: Sequence[Path], limit: int | None, learn_labels: bool) -> TaggedExamples:
        problems, found = Problems(), FoundLabels()
        ids, words = GrowingRagged(), GrowingRagged()
        for chunk in self.parsed(files, limit, problems):
            encoded = self.tokenizer.batch_encode_plus(
                [sentence.tokens for _, sentence in chunk],
                is_split_into_words=True,
                truncation=True,
                max_length=self.max_length,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )
            ids.extend(encoded["input_ids"])
            words.extend([[-1 if word is None else word for word in row.word_ids] for row in encoded.encodings or ()])
            for place, sentence in chunk:
                found.add(place, sentence.tags)
        problems.check()
        if learn_labels:
            try:
                self.names, self._numbers = settle(found, self.config)
            except InputError as error:
                raise InputError(f"{', '.join(map(str, files))}: {error}") from None
            if all(as_number(name) is not None for name in self.names):
                logger.warning(
                    "%s: tags are numbers, and the model has no names for them: whether they are of entities is not "
                    "known, so precision, recall and F1 are means over tags; for those of entities write tags as B-PER",
                    ", ".join(map(str, files)),
                )
        classes = found.classes(self._numbers, problems)
        problems.check()
        tokens = ids.done()
        self.check_tokens(tokens, files)
        return self._examples(tokens, words.done().values, classes, found.counts)

    def config_changes(self) -> dict[str, Any]:
        return {"id2label": dict(enumerate(self.names))}

    def collate(
        self, examples: TaggedExamples, rows: NDArray[np.int64], length: int, draws: Sequence[int] | None
    ) -> Batch:
        labels = examples.labels.padded(rows, length, NO_LABEL)
        return {
            **self.inputs(examples.ids, rows, length),
            "labels": labels,
            WEIGHTS: (labels != NO_LABEL).astype(np.float32),
        }

    def kept(self, examples: TaggedExamples, row: int, answer: ModelOutput) -> NDArray[np.int32]:
        """The class of each word."""
        best: NDArray[np.int32] = answer.logits[examples.words(row)].argmax(-1).astype(np.int32)
        return best

    def score(self, examples: TaggedExamples, answers: Sequence[NDArray[np.int32]]) -> dict[str, float]:
        right = [examples.labels[row][examples.words(row)] for row in range(len(examples))]
        flat, answered = np.concatenate(right), np.concatenate(answers)
        if not has_entities(self.names):
            return metrics.token_scores(flat, answered)
        named = [[[self.names[label] for label in row] for row in rows] for rows in (right, answers)]
        return {**entity_scores(*named), "accuracy": float(np.mean(flat == answered)) if len(flat) else 0.0}

    def _examples(
        self, ids: Ragged, words: NDArray[np.int32], classes: NDArray[np.int32], counts: NDArray[np.int32]
    ) -> TaggedExamples:
        """Sentences with a label for each token.

        Args:
            ids: their tokens.
            words: the number of the word of each token of all sentences; -1 for special tokens.
            classes: of the words of all sentences.
            counts: words of each sentence.
        """
        is_word = words >= 0
        firsts = is_word & (words != np.concatenate([[-1], words[:-1]]))
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])  # of each sentence's words among all
        places = np.repeat(starts, ids.lengths) + np.maximum(words, 0)
        found = classes[places]
        if self.recipe.label_all_tokens:
            labels = np.where(firsts, found, np.where(is_word, self._inside()[found], NO_LABEL))
        else:
            labels = np.where(firsts, found, NO_LABEL)
        if lost := len(classes) - int(firsts.sum()):
            logger.warning(
                "%d of %d words have no token, and are neither learned nor scored: they are beyond max_seq_length %d, "
                "or of characters that the tokenizer leaves out",
                *(lost, len(classes), self.max_length),
            )
        return TaggedExamples(ids, Ragged(labels.astype(np.int32), ids.starts), firsts)

    def _inside(self) -> NDArray[np.int32]:
        """(L,) the label of the tokens of a word after its first."""
        numbers = {name: number for number, name in enumerate(self.names)}
        inside = [
            numbers.get(f"I{name[1:]}", number) if name == "B" or name.startswith("B-") else number
            for name, number in numbers.items()
        ]
        return np.array(inside, np.int32)
