# SPDX-License-Identifier: Apache-2.0
"""Train the checkpoint of `distilbert demo`: a small sentiment classifier of film reviews, in PyTorch on one thread.

    python scripts/train_demo.py [FOLDER]

It writes config.json, model.safetensors, the tokenizer's files and a model card to FOLDER (default: where the package
has its copy). The data is the sentence polarity set of Bo Pang and Lillian Lee as NLTK packs it, in the folder that
DISTILBERT_TEST_DATA names (nltk_corpora/sentence_polarity.zip). The same seed gives the same checkpoint on the same
machine.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from distilbert import DistilBertConfig, DistilBertTokenizer
from distilbert.demo import MODEL
from distilbert.files import write_text
from distilbert.pt import DistilBertForSequenceClassification

SEED = 0
ARCHIVE = "nltk_corpora/sentence_polarity.zip"
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNKNOWN = 0, 1
VOCABULARY = 3000  # words; more of them are learned by heart
MAX_LENGTH = 64  # tokens
LABELS = {0: "negative", 1: "positive"}

EPOCHS = 5
BATCH = 32  # sentences
LEARNING_RATE = 1e-3
WARMUP = 0.1  # of all steps
WEIGHT_DECAY = 0.3
WORD_DROPOUT = 0.1  # of the words of a training sentence become unknown
AVERAGING = 0.999  # what is kept is an average of the weights over about 1 / (1 - this) steps


@dataclass(frozen=True)
class Examples:
    """Sentences and their labels, 0 for negative and 1 for positive."""

    texts: list[str]
    labels: Tensor

    @staticmethod
    def of(pairs: Sequence[tuple[str, int]]) -> Examples:
        return Examples([text for text, _ in pairs], torch.tensor([label for _, label in pairs]))


def read_examples(archive: Path) -> dict[str, Examples]:
    """The sentences in three parts: every 10th is held out for the report, every 20th tells when to stop."""
    parts: dict[str, list[tuple[str, int]]] = {"train": [], "stop": [], "held out": []}
    with zipfile.ZipFile(archive) as files:
        for label, ending in enumerate(("neg", "pos")):
            lines = files.read(f"sentence_polarity/rt-polarity.{ending}").decode("utf-8").split("\n")
            for i, text in enumerate(line.strip() for line in lines if line.strip()):
                part = "held out" if i % 10 == 9 else "stop" if i % 20 == 4 else "train"
                parts[part].append((text, label))
    return {part: Examples.of(pairs) for part, pairs in parts.items()}


def learn_tokenizer(texts: Sequence[str]) -> DistilBertTokenizer:
    """A lower-cased WordPiece tokenizer with the vocabulary of these texts, in an order that is always the same."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vocab.txt"
        write_text(file, "\n".join(SPECIAL_TOKENS) + "\n")
        learned = DistilBertTokenizer(file).train_new_from_iterator(texts, VOCABULARY, show_progress=False)
        words = sorted(set(learned.get_vocab()) - set(SPECIAL_TOKENS))
        write_text(file, "\n".join([*SPECIAL_TOKENS, *words]) + "\n")
        return DistilBertTokenizer(file, model_max_length=MAX_LENGTH)


def new_model(words: int) -> DistilBertForSequenceClassification:
    """The model before training."""
    config = DistilBertConfig(
        vocab_size=words,
        max_position_embeddings=MAX_LENGTH,
        n_layers=2,
        n_heads=4,
        dim=128,
        hidden_dim=512,
        initializer_range=0.05,
        pad_token_id=PAD,
        id2label=LABELS,
    )
    return DistilBertForSequenceClassification(config, seed=SEED)


def shuffled(count: int) -> Iterator[Tensor]:
    """All indices once, in random order, as batches."""
    order = torch.randperm(count)
    for start in range(0, count, BATCH):
        yield order[start : start + BATCH]


def encode(tokenizer: DistilBertTokenizer, examples: Examples) -> tuple[Tensor, Tensor]:
    """Token ids and mask (N, T) of all sentences."""
    batch = tokenizer(examples.texts, padding="max_length", truncation=True, return_tensors="pt")
    return batch["input_ids"], batch["attention_mask"]


def cut(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The same batch without the columns that are padding in every row."""
    longest = int(mask.sum(1).max())
    return ids[:, :longest], mask[:, :longest]


def accuracy(model: DistilBertForSequenceClassification, inputs: tuple[Tensor, Tensor], labels: Tensor) -> float:
    """Share of the sentences whose likeliest label is right."""
    model.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(labels), 256):
            rows = slice(start, start + 256)
            ids, mask = cut(inputs[0][rows], inputs[1][rows])
            right += int((model(ids, mask).logits.argmax(-1) == labels[rows]).sum())
    return right / len(labels)


def update_average(average: torch.nn.Module, model: torch.nn.Module, step: int) -> None:
    """Move the average towards the model, quickly at first."""
    kept = min(AVERAGING, (step + 1) / (step + 10))
    with torch.no_grad():
        for mean, value in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(value, 1 - kept)


def optimizer_of(model: torch.nn.Module) -> torch.optim.AdamW:
    """AdamW that lets only matrices decay."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE)


def train(
    model: DistilBertForSequenceClassification,
    inputs: dict[str, tuple[Tensor, Tensor]],
    examples: dict[str, Examples],
) -> DistilBertForSequenceClassification:
    """Train, and return the averaged model of the epoch that is best on the part kept for stopping."""
    labels = examples["train"].labels
    average = copy.deepcopy(model)
    optimizer = optimizer_of(model)
    steps = EPOCHS * -(-len(labels) // BATCH)
    rising = WARMUP * steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rising, (steps - step) / (steps - rising))
    )
    best, best_accuracy = model, 0.0
    for epoch in range(EPOCHS):
        model.train()
        for rows in shuffled(len(labels)):
            ids, mask = cut(inputs["train"][0][rows], inputs["train"][1][rows])
            dropped = (torch.rand(ids.shape) < WORD_DROPOUT) & (ids >= len(SPECIAL_TOKENS))
            loss = model(torch.where(dropped, UNKNOWN, ids), mask, labels=labels[rows]).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            update_average(average, model, schedule.last_epoch)
        found = accuracy(average, inputs["stop"], examples["stop"].labels)
        sys.stdout.write(f"epoch {epoch + 1}: accuracy {found:.3f} on the part for stopping\n")
        if found > best_accuracy:
            best, best_accuracy = copy.deepcopy(average), found
    return best


CARD = """---
license: cc-by-4.0
language: en
library_name: distilbert
pipeline_tag: text-classification
---
# The model of `distilbert demo`

Tells whether a sentence from a film review is positive or negative. It is small enough to be part of the package, and
there to show that a checkpoint gives the same numbers in every framework and every format. For real work, take a
larger model.

| | |
|---|---|
| architecture | DistilBERT: {config.n_layers} layers, {config.n_heads} heads, dim {config.dim}, hidden_dim \
{config.hidden_dim}, {config.max_position_embeddings} positions, {parameters:,} parameters, float32 |
| tokenizer | WordPiece, lower-cased, {config.vocab_size:,} words learned from the training sentences |
| accuracy | {held_out:.1%} on {held_out_count:,} held-out sentences (a guess: 50 %) |
| training | on {train_count:,} sentences, from random weights (seed {seed}), with `scripts/train_demo.py` |

Every 10th sentence of either label was held out of the training; its accuracy has a standard error of {error:.1%}, and
was in view when a handful of settings were tried. Every 20th sentence told when to stop ({stop:.1%} right). The model
has seen nothing but English sentences from film reviews of the early 2000s; longer texts are cut after {max_length}
tokens.

## Data and licence

Trained on the sentence polarity data set v1.0 by Bo Pang and Lillian Lee (10,662 snippets of reviews from Rotten
Tomatoes, labelled by the reviewers' own verdicts), as distributed by NLTK, licensed under
[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). The weights and the vocabulary, which are made from it, are
under the same licence; the code around them is under Apache-2.0.

Bo Pang and Lillian Lee: Seeing stars: Exploiting class relationships for sentiment categorization with respect to
rating scales. Proceedings of the ACL, 2005.
"""


def find_archive() -> Path:
    """The data, or an explanation."""
    folder = os.environ.get("DISTILBERT_TEST_DATA")
    if not folder:
        sys.exit(f"DISTILBERT_TEST_DATA is not set; expected the folder that holds {ARCHIVE}")
    archive = Path(folder, ARCHIVE)
    if not archive.is_file():
        sys.exit(f"{archive}: no such file; it is NLTK's corpus sentence_polarity (nltk_data/packages/corpora)")
    return archive


def main() -> None:
    """Train, save and report."""
    start = time.perf_counter()
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else MODEL
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    examples = read_examples(find_archive())
    tokenizer = learn_tokenizer(examples["train"].texts)
    inputs = {part: encode(tokenizer, found) for part, found in examples.items()}
    model = train(new_model(len(tokenizer)), inputs, examples)
    held_out, stop = (accuracy(model, inputs[part], examples[part].labels) for part in ("held out", "stop"))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    card = CARD.format(
        config=model.config,
        parameters=model.num_parameters(),
        held_out=held_out,
        held_out_count=len(examples["held out"].texts),
        error=(held_out * (1 - held_out) / len(examples["held out"].texts)) ** 0.5,
        stop=stop,
        train_count=len(examples["train"].texts),
        seed=SEED,
        max_length=MAX_LENGTH,
    )
    write_text(folder / "README.md", card)
    seconds = time.perf_counter() - start
    sys.stdout.write(f"{folder}: accuracy {held_out:.3f} on held-out sentences, {seconds:.0f} s\n")


if __name__ == "__main__":
    main()
