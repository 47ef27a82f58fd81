# SPDX-License-Identifier: Apache-2.0
"""Every error as JSON: `{"error": "what was wrong", "error_type": "..."}`, also those that the web framework raises."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from distilbert.errors import DistilBertError, InputError, TokenizerError, describe
from distilbert.serve.answers import JSONAnswer, NotFinite
from distilbert.serve.bodies import ErrorBody
from distilbert.serve.models import UnknownModel
from distilbert.serve.work import Refused

log = logging.getLogger(__name__)

RETRY = {"Retry-After": "1"}
MOST_CHARACTERS = 2000  # of a message: what was found may be as long as the request
MOST_PROBLEMS = 10

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in (
        (413, "More than a limit allows."),
        (422, "The body, an option or an input is wrong."),
        (424, "The model failed."),
        (429, "Too many requests at a time."),
        (503, "The queue is full, or the server is ending."),
        (504, "It took too long."),
    )
}
_TYPES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "validation", 422: "validation"}


_OWN_WORDS = {  # for what the web framework says
    "Not Found": "there is no such route; GET /openapi.json has those there are",
    "Method Not Allowed": "the route is for another method",
    "There was an error parsing the body": "the body is no JSON that can be read: expected UTF-8, not nested deeply",
}
_CHOICE = re.compile(r"str|int|list\[.*|\w+Body")  # what pydantic calls the alternatives of a field or body


class ServeError(Exception):
    """An answer that is an error.

    Attributes:
        status: of HTTP.
        kind: the same for programs, as text-embeddings-inference calls it.
        headers: of the answer.
    """

    def __init__(self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.headers = status, kind, headers

    def answer(self) -> JSONAnswer:
        """The response."""
        message = str(self)
        if len(message) > MOST_CHARACTERS:
            message = f"{message[:MOST_CHARACTERS]} ..."
        return JSONAnswer({"error": message, "error_type": self.kind}, self.status, self.headers)


def too_large(message: str) -> ServeError:
    """413: more than a limit allows."""
    return ServeError(413, "validation", message)


def explain(error: Exception) -> ServeError:
    """The answer to any exception; of one that nobody expected, nothing is said but that it happened."""
    match error:
        case ServeError():
            return error
        case UnknownModel():
            return ServeError(404, "not_found", str(error))
        case Refused():
            return ServeError(503, "unhealthy", str(error), RETRY)
        case InputError():
            return ServeError(422, "validation", str(error))
        case TokenizerError():
            return ServeError(422, "tokenizer", str(error))
        case NotFinite() | DistilBertError():
            return ServeError(424, "backend", str(error))
        case RequestValidationError():
            return _of_body(error.errors())
        case HTTPException():
            kind = _TYPES.get(error.status_code, "http")
            return ServeError(error.status_code, kind, str(error.detail), error.headers)
    return ServeError(500, "internal", "internal error; the server's log has it, by the request's x-request-id")


def install(app: FastAPI) -> None:
    """Let an application answer its errors so."""

    async def answer(request: Request, error: Exception) -> JSONAnswer:
        explained = explain(error)
        if isinstance(error, HTTPException) and (words := _OWN_WORDS.get(str(error.detail))):
            place = f"{request.method} {request.scope['path'][:200]}"
            explained = ServeError(explained.status, explained.kind, f"{place}: {words}", error.headers)
        return explained.answer()

    kinds = (ServeError, UnknownModel, Refused, DistilBertError, NotFinite, RequestValidationError, HTTPException)
    for kind in kinds:
        app.add_exception_handler(kind, answer)


def _of_body(problems: Any) -> ServeError:
    """What is wrong with a body, in one message; what was sent is not repeated."""
    status = 400 if any(problem["type"] == "json_invalid" for problem in problems) else 422
    kind = "bad_request" if status == 400 else "validation"
    lines: dict[str, list[str]] = {}
    for problem in problems:
        place, message = _line(problem)
        lines.setdefault(place, []).append(message)
    found = [": ".join(filter(None, (place, "; or ".join(dict.fromkeys(said))))) for place, said in lines.items()]
    rest = [f"and {len(found) - MOST_PROBLEMS} more"] if len(found) > MOST_PROBLEMS else []
    return ServeError(status, kind, describe("body", found[:MOST_PROBLEMS] + rest))


def _line(problem: Mapping[str, Any]) -> tuple[str, str]:
    """Where something is wrong, and what."""
    if problem["type"] == "json_invalid":
        return "", f"not JSON: {problem.get('ctx', {}).get('error', 'malformed')} at character {problem['loc'][-1]}"
    place = ".".join(str(part) for part in problem["loc"][1:] if not _CHOICE.fullmatch(str(part)))
    return place, str(problem["msg"])
