# SPDX-License-Identifier: Apache-2.0
"""What is run: a model with random weights unless a folder is given, and texts, tokenised once for all contenders."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from distilbert import spec
from distilbert.bench.suites import Texts
from distilbert.config import DistilBertConfig
from distilbert.convert import StoredTensor, write_checkpoint
from distilbert.errors import InputError
from distilbert.files import read_text
from distilbert.tokenizer import DistilBertTokenizer

DATA_VARIABLE = "DISTILBERT_TEST_DATA"
_SST2 = Path("sst2_glue/dev_official_872.tsv")
_VOCABULARY = Path("vocab/bert-base-uncased")
_SCALE = 0.02  # standard deviation of trained weights, roughly
_TASK = "sequence-classification"


def write_random_model(folder: Path, config: DistilBertConfig, seed: int = 0) -> None:
    """A classifier whose every number is random, biases too: some compilers leave out additions of zeros."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, tensor in spec.tensors(config, _TASK).items():
        centre = np.float32(tensor.kind is spec.Kind.NORM and tensor.leaf == "weight")
        values = random.standard_normal(tensor.shape, np.float32) * np.float32(_SCALE) + centre
        tensors[name] = StoredTensor.of(name, values)
    write_checkpoint(folder, config, _TASK, tensors, format="safetensors")


def tokenised(texts: Path | None, model: Path, config: DistilBertConfig, target: Path) -> Texts:
    """Write the token ids of a file of texts as JSON.

    Args:
        texts: one text in each line; None for the development set of SST-2 from the folder of real data.
        model: its tokenizer is used where it has one, else the uncased one of the folder of real data.
        config: longer texts are cut to the model's positions.
        target: the file to write.

    Raises:
        InputError: there are no texts, or no tokenizer that fits the model.
    """
    name, lines = ("SST-2 dev", _sst2()) if texts is None else (texts.name, read_text(texts).splitlines())
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise InputError(f"{texts}: expected a text in each line, found none")
    tokenizer = _tokenizer(model)
    ids = tokenizer(lines, truncation=True, max_length=config.max_position_embeddings)["input_ids"]
    largest = max(map(max, ids))
    if largest >= config.vocab_size:
        raise InputError(f"texts: the tokenizer gives the id {largest}, but the model knows {config.vocab_size} words")
    target.write_text(json.dumps(ids))
    return Texts(name, len(ids), target)


def _sst2() -> list[str]:
    folder = _data_folder()
    if folder is None or not (folder / _SST2).is_file():
        raise InputError(f"texts: name a file with one text in each line, or set {DATA_VARIABLE}, which has SST-2")
    return [line.partition("\t")[0] for line in read_text(folder / _SST2).splitlines()[1:]]


def _tokenizer(model: Path) -> DistilBertTokenizer:
    folder = model if model.is_dir() else model.parent
    if (folder / "vocab.txt").is_file() or (folder / "tokenizer.json").is_file():
        return DistilBertTokenizer.from_pretrained(folder)
    data = _data_folder()
    if data is None or not (data / _VOCABULARY).is_dir():
        raise InputError(f"{folder}: has no tokenizer; name a model that has, or set {DATA_VARIABLE}, which has one")
    return DistilBertTokenizer.from_pretrained(data / _VOCABULARY)


def _data_folder() -> Path | None:
    value = os.environ.get(DATA_VARIABLE)
    return Path(value) if value else None
