# SPDX-License-Identifier: Apache-2.0
"""What becomes of the files beside the weights: config.json, the tokenizer, dense layers of sentence encoders."""

from __future__ import annotations

import warnings
from pathlib import Path

from distilbert.checkpoint_files import TOKENIZER_FILES, files_below, sentence_files
from distilbert.config import CONFIG_NAME, DistilBertConfig
from distilbert.convert.arrays import same_bits
from distilbert.convert.formats import FORMATS
from distilbert.convert.tokenizer_files import has_tokenizer
from distilbert.convert.weights import read_weights
from distilbert.errors import TokenizerError, WeightsError
from distilbert.files import read_json

# What old writers left in config.json that says nothing of the model: paths, switches of programs, versions.
LEFTOVERS = frozenset(
    {
        "_attn_implementation",
        "_attn_implementation_autoset",
        "_name_or_path",
        "attn_implementation",
        "gradient_checkpointing",
        "output_past",
        "tf_legacy_loss",
        "tie_weights_",
        "torchscript",
        "transformers_version",
        "use_bfloat16",
    }
)
_CASED = 0.02  # share of words with capitals above which a vocabulary is not that of a lower-casing tokenizer


def tidy_config(folder: Path) -> tuple[str, ...]:
    """Rewrite config.json without `LEFTOVERS`; returns those that were there."""
    data = read_json(folder / CONFIG_NAME)
    left_out = tuple(sorted(LEFTOVERS & data.keys()))
    kept = {name: value for name, value in data.items() if name not in left_out}
    DistilBertConfig.from_dict(kept, str(folder / CONFIG_NAME)).save_pretrained(folder)
    return left_out


def tidy_tokenizer(source: Path, target: Path) -> tuple[str, ...]:
    """Write all files of the tokenizer that was converted, and read them back; returns those of the source it is from.

    Texts are cut where the model ends, if the source does not say where.

    Raises:
        TokenizerError: the files of the source are wrong.
    """
    from distilbert.tokenizer import DistilBertTokenizer

    if not has_tokenizer(target):
        warnings.warn(f"{source}: no tokenizer (vocab.txt or tokenizer.json); there will be none", stacklevel=3)
        return ()
    tokenizer = DistilBertTokenizer.from_pretrained(target)
    longest = DistilBertConfig.from_file(target / CONFIG_NAME).max_position_embeddings
    if tokenizer.model_max_length > longest:
        tokenizer = DistilBertTokenizer.from_pretrained(target, model_max_length=longest)
    tokenizer.save_pretrained(target)
    again = DistilBertTokenizer.from_pretrained(target)
    if again.backend_tokenizer.to_str() != tokenizer.backend_tokenizer.to_str():
        raise TokenizerError(f"{source}: the tokenizer is another one when it is written and read back")
    _warn_if_cased(source, tokenizer.get_vocab())
    return tuple(name for name in TOKENIZER_FILES if (source / name).exists())


def _warn_if_cased(source: Path, vocabulary: dict[str, int]) -> None:
    """Say so if vocab.txt is all there is, and most likely not meant for the lower-casing that is the default."""
    said = source / "tokenizer_config.json"
    if (source / "tokenizer.json").exists() or (said.exists() and "do_lower_case" in read_json(said)):
        return
    capitals = sum(word != word.lower() for word in vocabulary if not word.startswith("["))
    if capitals > _CASED * len(vocabulary):
        warnings.warn(
            f"{source / 'vocab.txt'}: {capitals:,} words have capitals, but nothing says do_lower_case=false, so texts "
            "are put into lower case, as by transformers; if the model is a cased one, rescue a folder with a copy "
            'of the source and a tokenizer_config.json that says {"do_lower_case": false}',
            stacklevel=4,
        )


def tidy_dense_layers(folder: Path) -> None:
    """Turn the dense layers of a sentence encoder into safetensors, bit by bit.

    Raises:
        WeightsError: a file is damaged.
    """
    row = FORMATS["safetensors"]
    for name in sentence_files(files_below(folder)):
        path = folder / name
        if path.suffix != ".bin":
            continue
        stored = read_weights(path).tensors
        written = path.parent / row.file_name
        row.codec.write(written, list(stored.values()), {"format": "pt"})
        again = read_weights(written).tensors
        if any(not same_bits(again[name].load(), tensor.load()) for name, tensor in stored.items()):
            raise WeightsError(f"{path}: written values differ from the source")
        path.unlink()
