# SPDX-License-Identifier: Apache-2.0
"""Where the server listens and what it puts up with: every setting with its bounds, its help and its variable."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from distilbert.errors import InputError, describe

LEVELS = ("debug", "info", "warning", "error")


def _setting(
    default: Any, help: str, least: float | None = None, variables: tuple[str, ...] = (), is_secret: bool = False
) -> Any:
    return dataclasses.field(
        default=default, repr=not is_secret, metadata={"help": help, "least": least, "variables": variables}
    )


@dataclass(frozen=True)
class Settings:
    """All settings, checked. Each is an option of `distilbert serve` and an environment variable, see `variables`."""

    host: str = _setting("127.0.0.1", "Address to listen on; 0.0.0.0 for all of this machine.")
    port: int = _setting(8000, "Port to listen on; 0 for any that is free.", 0, ("AIP_HTTP_PORT",))
    api_key: str | None = _setting(
        None, "Bearer key of requests; not for health, ping, metrics and the page.", is_secret=True
    )
    max_body_bytes: int = _setting(2_000_000, "Bytes of a request's body (413).", 1)
    max_client_batch_size: int = _setting(32, "Inputs of a request (413).", 1)
    max_batch_tokens: int = _setting(16_384, "Tokens that go into the model at a time, and of one input (413).", 1)
    max_concurrent_requests: int = _setting(512, "Requests at a time (429).", 1)
    max_queue_items: int = _setting(4_096, "Inputs that wait or are worked on (503).", 1)
    max_answer_values: int = _setting(
        2_000_000, "Numbers of hidden states, tokens of filled texts and of answers (413).", 1
    )
    request_seconds: float = _setting(30.0, "Time for a request, from its first byte to its answer (504).", 0.001)
    batch_wait_seconds: float = _setting(0.0, "How long a batch that is not full waits for company.", 0)
    drain_seconds: float = _setting(0.5, "How long, at least, /health says 503 before an ending server goes.", 0)
    tokenizer_threads: int = _setting(2, "Threads that turn texts into tokens.", 1)
    log_level: str = _setting("info", f"What is logged: {', '.join(LEVELS)}; info has each request.")
    predict_route: str | None = _setting(None, "Vertex AI's route for predictions.", None, ("AIP_PREDICT_ROUTE",))
    health_route: str | None = _setting(None, "Vertex AI's route for health.", None, ("AIP_HEALTH_ROUTE",))

    def __post_init__(self) -> None:
        problems = [problem for field in dataclasses.fields(self) for problem in self._problems(field)]
        if self.log_level not in LEVELS:
            problems.append(f"log_level: expected one of {', '.join(LEVELS)}; found {self.log_level!r}")
        if not problems and self.max_queue_items < self.max_client_batch_size:
            problems.append(f"max_queue_items: expected at least max_client_batch_size {self.max_client_batch_size}")
        if not problems and self.port > 65_535:
            problems.append(f"port: expected at most 65535, found {self.port}")
        if problems:
            raise InputError(describe("settings", problems))

    def _problems(self, field: dataclasses.Field[Any]) -> list[str]:
        value: Any = getattr(self, field.name)
        least: float | None = field.metadata["least"]
        if least is not None:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            is_kind = isinstance(value, int) or isinstance(field.default, float)
            if not (is_number and is_kind and least <= value < float("inf")):
                return [f"{field.name}: expected a number of at least {least}, found {value!r}"]
        elif not (isinstance(value, str) and value) and (value is not None or field.default is not None):
            return [f"{field.name}: expected a text, found {'an empty one' if value == '' else repr(value)}"]
        if field.name.endswith("_route") and value is not None and not value.startswith("/"):
            return [f"{field.name}: expected a path from /, found {value!r}"]
        return []


FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def variables(name: str) -> list[str]:
    """The environment variables that a setting is read from; a platform's own goes first."""
    return [*FIELDS[name].metadata["variables"], f"DISTILBERT_SERVE_{name.upper()}"]
