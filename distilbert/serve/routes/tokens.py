# SPDX-License-Identifier: Apache-2.0
"""Texts to tokens and back, as text-embeddings-inference does it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from distilbert.errors import InputError
from distilbert.serve.answers import JSONAnswer, encode
from distilbert.serve.bodies import DecodeBody, TokenizeBody
from distilbert.serve.calls import Calls
from distilbert.serve.checks import check_values
from distilbert.serve.settings import Settings
from distilbert.tokenizer import DistilBertTokenizer

_FIELDS = 5  # of a token


def router(calls: Calls) -> APIRouter:
    """`/tokenize` and `/decode`, with the tokenizer of the model that is named, or of the first."""
    routes = APIRouter(tags=["text-embeddings-inference"])

    @routes.post("/tokenize")
    async def tokenize(body: TokenizeBody) -> Response:
        """The tokens of each text, with their places in it; special tokens have none."""
        tokenizer = calls.models.named(body.model).pipe.tokenizer
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        calls.check_count(len(texts))

        def answer() -> bytes:
            return encode(_tokens(tokenizer, texts, body.add_special_tokens, calls.settings))

        return Response(await calls.batcher.tokenize(len(texts), answer), media_type="application/json")

    @routes.post("/decode")
    async def decode(body: DecodeBody) -> JSONAnswer:
        """The texts of token ids."""
        tokenizer = calls.models.named(body.model).pipe.tokenizer
        rows = _rows(body.ids)
        calls.check_count(len(rows))
        _check_ids(tokenizer, rows)
        made = calls.batcher.tokenize(len(rows), lambda: tokenizer.batch_decode(rows, body.skip_special_tokens))
        return JSONAnswer(await made)

    return routes


def _tokens(
    tokenizer: DistilBertTokenizer, texts: list[str], with_special: bool, settings: Settings
) -> list[list[dict[str, Any]]]:
    encoded = tokenizer.batch_encode_plus(
        texts,
        add_special_tokens=with_special,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        verbose=False,
    )
    check_values(_FIELDS * sum(map(len, encoded["input_ids"])), settings)
    columns = (encoded[name] for name in ("input_ids", "offset_mapping", "special_tokens_mask"))
    return [
        [_token(tokenizer, text, *values) for values in zip(*row, strict=True)]
        for text, *row in zip(texts, *columns, strict=True)
    ]


def _token(
    tokenizer: DistilBertTokenizer, text: str, number: int, place: tuple[int, int], special: int
) -> dict[str, Any]:
    start, stop = place
    if special:
        name = tokenizer.convert_ids_to_tokens(number)
        return {"id": number, "text": name, "special": True, "start": None, "stop": None}
    return {"id": number, "text": text[start:stop], "special": False, "start": start, "stop": stop}


def _rows(ids: list[Any]) -> list[list[int]]:
    """A list of ids as a list of one such list."""
    if ids and all(isinstance(value, int) for value in ids):
        return [ids]
    if any(isinstance(value, int) for value in ids):
        raise InputError("ids: expected numbers, or lists of them; found a mixture")
    return ids


def _check_ids(tokenizer: DistilBertTokenizer, rows: list[list[int]]) -> None:
    wrong = next((number for row in rows for number in row if not 0 <= number < len(tokenizer)), None)
    if wrong is not None:
        raise InputError(f"ids: expected from 0 to {len(tokenizer) - 1}, found {wrong}")
