# SPDX-License-Identifier: Apache-2.0
"""`DistilBertTokenizer`: how one is made from files and written to files. What it does is in its base classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Unpack

from distilbert.errors import TokenizerError
from distilbert.publishing import Publishable
from distilbert.tokenizer.decoding import Decoding
from distilbert.tokenizer.id_calls import IdCalls
from distilbert.tokenizer.reading import VOCAB_FILE, Sources, read_definition
from distilbert.tokenizer.settings import Settings
from distilbert.tokenizer.text_calls import TextCalls
from distilbert.tokenizer.training import train
from distilbert.tokenizer.writing import make_folder, vocabulary_text, write_files, write_tokenizer


class DistilBertTokenizer(TextCalls, IdCalls, Decoding, Publishable):
    """Text to ids and back: BERT's WordPiece with the arguments and results of Hugging Face's tokenizer.

    This is `DistilBertTokenizerFast` under a second name. Where the slow and the fast tokenizer of transformers 4.57
    disagree, this one does what the fast one does. Different from both, on purpose:

    * Files, texts and arguments that are wrong raise `TokenizerError`, where Hugging Face guesses, drops or crashes:
      among them a vocabulary without [MASK], a max_length below the number of special tokens, rows of different length
      with return_tensors, and ids outside the vocabulary in `decode`.
    * A setting that tokenizer_config.json does not mention comes from tokenizer.json, not from a default: a cased
      tokenizer.json alone stays cased.
    * `never_split` works: the words in it are kept whole if the vocabulary has them. `wordpieces_prefix` and
      `clean_text` work too. `do_basic_tokenize=False` is ignored, with a warning.
    * `prepare_for_model` and `get_special_tokens_mask` work without a slow tokenizer.
    * No call changes the tokenizer: threads may share one. (Adding tokens while others encode is safe too: a call uses
      the tokens there were when it began.)

    An empty second text counts as none when it comes with a single text, but not in a batch: so in transformers.

    Args:
        vocab_file: A vocab.txt.
        tokenizer_file: A tokenizer.json, in place of a vocab.txt or beside it.
        settings: As keywords: do_lower_case (True), strip_accents (None: as do_lower_case), tokenize_chinese_chars
            (True), clean_text (True), never_split, wordpieces_prefix ("##"), model_max_length (none),
            padding_side and truncation_side ("right"), model_input_names, clean_up_tokenization_spaces,
            split_special_tokens (False), additional_special_tokens, and unk_token, sep_token, pad_token, cls_token,
            mask_token, bos_token, eos_token: text or AddedToken. A token named here that is no word becomes a new one.

    Raises:
        TokenizerError: lists everything that is wrong with the files and the settings.
    """

    vocab_files_names: ClassVar = {"vocab_file": "vocab.txt", "tokenizer_file": "tokenizer.json"}

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        if vocab_file is None and tokenizer_file is None:
            raise TokenizerError("expected a vocab_file or a tokenizer_file, or use from_pretrained")
        sources = Sources(
            vocab=None if vocab_file is None else Path(vocab_file),
            tokenizer=None if tokenizer_file is None else Path(tokenizer_file),
        )
        self._setup(read_definition(sources, settings))

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        subfolder: str = "",
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        **settings: Unpack[Settings],
    ) -> DistilBertTokenizer:
        """Read a tokenizer from a folder, or from the hub.

        Args:
            pretrained_model_name_or_path: A folder, a preset of keras-hub too, or "name", "org/name" or
                "org/name@revision" on the hub.
            revision: Branch, tag or commit on the hub.
            subfolder: Folder inside the folder or repository.
            token: Access token for the hub.
            cache_dir: Where downloads are kept.
            local_files_only: Use the cache and no network.
            force_download: Fetch again what the cache has.
            settings: As for the class; they come before what the files say.

        Raises:
            TokenizerError: lists everything that is wrong with the files and the settings.
            FileError: The folder does not exist.
            HubError: The files cannot be had from the hub.
        """
        from distilbert.convert.keras_hub_tokenizer import read_settings

        folder = Path(pretrained_model_name_or_path)
        if subfolder or not os.fspath(pretrained_model_name_or_path) or not folder.is_dir():
            from distilbert.hub import resolve

            folder = resolve(
                pretrained_model_name_or_path,
                revision=revision,
                subfolder=subfolder,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                force_download=force_download,
                weights=False,
            )
        folder = folder if folder.is_dir() else folder.parent
        vocabulary, said = read_settings(folder) or (None, {})  # of a preset of keras-hub
        sources = Sources(vocab=vocabulary) if vocabulary else Sources.of_folder(folder)
        definition = read_definition(sources, {**said, **settings})
        definition.settings["name_or_path"] = str(pretrained_model_name_or_path)
        tokenizer = cls.__new__(cls)
        tokenizer._setup(definition)
        return tokenizer

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write vocab.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json; returns their paths.

        With new tokens also added_tokens.json. Each file is replaced in one step; other files stay. The slow and the
        fast tokenizer of transformers 4.57, and transformers 5, read them to the same ids.

        Raises:
            FileError: The folder cannot be written to.
        """
        return write_tokenizer(self, Path(save_directory), filename_prefix)

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write vocab.txt alone; returns its path."""
        make_folder(Path(save_directory))
        return write_files({VOCAB_FILE: vocabulary_text(self)}, Path(save_directory), filename_prefix)

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[str] | Iterable[list[str]],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: list[str] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        **trainer_options: Any,
    ) -> DistilBertTokenizer:
        """A tokenizer with the same pipeline and settings, and a new vocabulary trained on texts.

        Args:
            text_iterator: Texts, or batches of texts.
            vocab_size: Words wanted, special tokens included.
            length: Number of items, for the progress bar.
            new_special_tokens: Further special tokens.
            special_tokens_map: New texts of special tokens by their present text.
            trainer_options: For `tokenizers.trainers.WordPieceTrainer`, such as min_frequency.

        Raises:
            TokenizerError: vocab_size is no positive number.
        """
        if not isinstance(vocab_size, int) or vocab_size < 1:
            raise TokenizerError(f"vocab_size: expected a whole number of at least 1, found {vocab_size!r:.80}")
        definition = train(
            self,
            text_iterator,
            vocab_size,
            length=length,
            new_special_tokens=new_special_tokens or [],
            renamed=special_tokens_map or {},
            options=trainer_options,
        )
        tokenizer = type(self).__new__(type(self))
        tokenizer._setup(definition)
        return tokenizer
