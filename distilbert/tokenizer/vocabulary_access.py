# SPDX-License-Identifier: Apache-2.0
"""Words, ids, special and added tokens: the part of the tokenizer that knows its vocabulary and nothing of calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from reprlib import repr as shown
from threading import Lock
from typing import Any, cast

from tokenizers import AddedToken, Tokenizer

from distilbert.errors import TokenizerError
from distilbert.tokenizer.added_tokens import to_token
from distilbert.tokenizer.attributes import Setting, SpecialToken, SpecialTokenId, refuse
from distilbert.tokenizer.definition import ADDITIONAL, SPECIAL_TOKENS, Definition
from distilbert.tokenizer.engine import Engine
from distilbert.tokenizer.settings import INPUT_NAMES, UNLIMITED, Token, check_arguments, has_surrogates, is_token
from distilbert.tokenizer.tensors import to_lists

_GROWING = Lock()  # no token gets lost when two threads add some


class Vocabulary:
    """What a tokenizer knows about tokens. Not for use alone: see `DistilBertTokenizer`."""

    bos_token, eos_token, unk_token, sep_token = SpecialToken(), SpecialToken(), SpecialToken(), SpecialToken()
    pad_token, cls_token, mask_token = SpecialToken(), SpecialToken(), SpecialToken()
    bos_token_id, eos_token_id, unk_token_id = SpecialTokenId(), SpecialTokenId(), SpecialTokenId()
    sep_token_id, pad_token_id, cls_token_id = SpecialTokenId(), SpecialTokenId(), SpecialTokenId()
    mask_token_id = SpecialTokenId()

    model_max_length = Setting(UNLIMITED)
    padding_side = Setting("right")
    truncation_side = Setting("right")
    model_input_names = Setting([*INPUT_NAMES])
    clean_up_tokenization_spaces = Setting(True)
    split_special_tokens = Setting(False)
    name_or_path = Setting("")

    def _setup(self, definition: Definition) -> None:
        special = definition.special
        self._special = dict(special)
        self._additional = list(definition.additional)
        self._settings = dict(definition.settings)
        self._unknown = dict(definition.unknown)
        self._warned: set[str] = set()
        cls_sep = special["cls_token"].content, special["sep_token"].content
        self._engine = Engine.of_words(
            definition.words, definition.pipeline, special["unk_token"].content, cls_sep, definition.added
        )
        for name, value in definition.settings.items():
            if isinstance(getattr(type(self), name, None), Setting):
                setattr(self, name, value)

    @property
    def do_lower_case(self) -> bool:
        """Whether text is lower-cased."""
        return self._engine.pipeline.lowercase

    @property
    def is_fast(self) -> bool:
        """True: there is only the Rust tokenizer."""
        return True

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """A copy of the Rust tokenizer, without truncation and padding; what is done to it changes nothing here."""
        return self._engine.copy()

    @property
    def vocab_size(self) -> int:
        """Number of words, without added tokens that are no words."""
        return self._engine.word_count

    def __len__(self) -> int:
        return self._engine.size

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in ("name_or_path", "vocab_size", "model_max_length")}
        shown |= {"added_tokens": len(self) - self.vocab_size, "do_lower_case": self.do_lower_case}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def check_fits(self, vocab_size: int) -> None:
        """Raise TokenizerError if there are ids for which a model of this `vocab_size` has no embedding."""
        if len(self) > vocab_size:
            added = len(self) - self.vocab_size
            raise TokenizerError(
                f"{self.name_or_path or 'tokenizer'}: has {len(self):,} tokens ({added:,} of them added), but the "
                f"model has vocab_size {vocab_size:,}; use the model's own tokenizer, or resize its token embeddings"
            )

    def get_vocab(self) -> dict[str, int]:
        """All tokens, added ones included, with their ids."""
        vocabulary: dict[str, int] = self._engine.plain.get_vocab(with_added_tokens=True)
        return vocabulary

    @property
    def vocab(self) -> dict[str, int]:
        """The same as `get_vocab()`."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens, special ones included, by id."""
        return dict(sorted(self._engine.plain.get_added_tokens_decoder().items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of the added tokens, special ones included, by text."""
        return {token.content: number for number, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """The same as `added_tokens_encoder`."""
        return self.added_tokens_encoder

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens besides the named ones."""
        return [token.content for token in self._additional]

    @additional_special_tokens.setter
    def additional_special_tokens(self, value: Sequence[Token]) -> None:
        self._set_special_tokens({ADDITIONAL: value})

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """Ids of the additional special tokens."""
        return [self._id(text) for text in self.additional_special_tokens]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """The special tokens by attribute name."""
        named: dict[str, str | list[str]] = {name: token.content for name, token in self._named_special_tokens()}
        return named | ({ADDITIONAL: self.additional_special_tokens} if self._additional else {})

    @property
    def special_tokens_map_extended(self) -> dict[str, AddedToken | list[AddedToken]]:
        """The special tokens by attribute name, with the flags of each."""
        named: dict[str, AddedToken | list[AddedToken]] = dict(self._named_special_tokens())
        return named | ({ADDITIONAL: list(self._additional)} if self._additional else {})

    @property
    def all_special_tokens(self) -> list[str]:
        """All special tokens, each once."""
        named = [token.content for _, token in self._named_special_tokens()]
        return list(dict.fromkeys(named + self.additional_special_tokens))

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of all special tokens."""
        return [self._id(text) for text in self.all_special_tokens]

    @property
    def pad_token_type_id(self) -> int:
        """The segment of padding."""
        return 0

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens a text, or a pair of texts, gets."""
        return self._engine.specials[bool(pair)]

    @property
    def max_len_single_sentence(self) -> int:
        """Tokens of a text for which a model of model_max_length has room."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """Tokens of two texts together for which a model of model_max_length has room."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def add_tokens(self, new_tokens: Token | Sequence[Token], special_tokens: bool = False) -> int:
        """Make tokens added tokens: found in a text before anything is split, in the order given.

        Args:
            new_tokens: Text or AddedToken, one or several. Those that are no words yet get new ids.
            special_tokens: Whether they are special: matched before lower-casing, and skipped by
                `decode(skip_special_tokens=True)`.

        Returns:
            How many were no added tokens before.

        Raises:
            TokenizerError: A token is no text, or empty.
        """
        tokens: list[Any] = list(new_tokens) if isinstance(new_tokens, list | tuple) else [new_tokens]
        wrong = [token for token in tokens if not isinstance(token, str | AddedToken) or not is_token(token)]
        refuse([f"new_tokens: expected text or AddedToken, found {shown(token)}" for token in wrong])
        with _GROWING:
            self._engine, count = self._engine.with_tokens(tokens, special_tokens)
        return count

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, Token | Sequence[Token]],
        replace_additional_special_tokens: bool = True,
    ) -> int:
        """Set special tokens by attribute name, and add those that are no tokens yet.

        Args:
            special_tokens_dict: As `{"pad_token": "<pad>", "additional_special_tokens": ["<e1>", "<e2>"]}`.
            replace_additional_special_tokens: Whether the additional ones given replace the present ones; otherwise
                they are appended.

        Returns:
            How many were no added tokens before.

        Raises:
            TokenizerError: A name is unknown, or a token is no text.
        """
        given = dict(special_tokens_dict)
        refuse(
            [
                f"{name}: expected one of {', '.join((*SPECIAL_TOKENS, ADDITIONAL))}"
                for name in given
                if name not in (*SPECIAL_TOKENS, ADDITIONAL)
            ]
            or check_arguments(given)
            or self._unfit_unk(given.get("unk_token"))
        )
        fresh = [to_token(token, special=True) for token in cast("list[Token]", given.get(ADDITIONAL, []))]
        if not replace_additional_special_tokens:
            fresh = [token for token in fresh if token.content not in self.additional_special_tokens]
        named = {
            name: to_token(cast(Token, value), special=True) for name, value in given.items() if name != ADDITIONAL
        }
        # In the order given: that is the order of new ids.
        in_order = [fresh if name == ADDITIONAL else [named[name]] for name in given]
        count = self.add_tokens([token for tokens in in_order for token in tokens], special_tokens=True)
        self._set_special_tokens(named)
        if fresh:
            self._additional = fresh if replace_additional_special_tokens else self._additional + fresh
        return count

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or the ids of several; that of the unknown token where there is none."""
        return self._id(tokens) if isinstance(tokens, str) else [self._id(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the tokens of several (a list, array or tensor).

        Raises:
            TokenizerError: An id is outside the vocabulary.
        """
        ids = to_lists(ids)
        if not isinstance(ids, list):
            return self._token(ids)
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._token(number) for number in ids if number not in skipped]

    def _check_id(self, number: Any) -> None:
        if type(number) is not int or not 0 <= number < len(self):
            found = f"found {shown(number)}"
            raise TokenizerError(f"ids: expected whole numbers from 0 to {len(self) - 1:,}, {found}")

    def _token(self, number: Any) -> str:
        self._check_id(number)
        return cast(str, self._engine.plain.id_to_token(number))

    def _id(self, text: Any) -> int:
        if not isinstance(text, str) or has_surrogates(text):
            raise TokenizerError(f"tokens: expected text, found {shown(text)}")
        known = self._engine.plain.token_to_id(text)
        return cast(int, self.unk_token_id) if known is None else known

    def _named_special_tokens(self) -> list[tuple[str, AddedToken]]:
        return [(name, self._special[name]) for name in SPECIAL_TOKENS if name in self._special]

    def _set_special_tokens(self, tokens: Mapping[str, Any]) -> None:
        """Set attributes to tokens that are in the vocabulary, and let the Rust tokenizer use them."""
        refuse(check_arguments(tokens) or self._strangers(tokens))
        for name, value in tokens.items():
            if name == ADDITIONAL:
                self._additional = [to_token(token, special=True) for token in value]
            elif value is None:
                self._special.pop(name, None)
            else:
                self._special[name] = to_token(value, special=True)
        if tokens.keys() & {"cls_token", "sep_token"}:
            self._engine = self._engine.with_template((str(self.cls_token), str(self.sep_token)))
        if "unk_token" in tokens:
            self._engine = self._engine.with_unk(str(self.unk_token))

    def _strangers(self, tokens: Mapping[str, Any]) -> list[str]:
        values = [(name, value) for name, value in tokens.items() if name != ADDITIONAL and value is not None]
        values += [(ADDITIONAL, value) for value in tokens.get(ADDITIONAL) or ()]
        unknown = [
            f"{name}: {value!s:.80} is no token of the vocabulary; add it with add_special_tokens"
            for name, value in values
            if self._engine.plain.token_to_id(str(value)) is None
        ]
        return unknown or self._unfit_unk(tokens.get("unk_token"))

    def _unfit_unk(self, value: Any) -> list[str]:
        number = None if value is None else self._engine.plain.token_to_id(str(value))
        if value is None or (number is not None and number < self.vocab_size):
            return []
        return [f"unk_token: {value!s:.80}: the unknown token must be a word of the vocabulary, WordPiece needs it"]
