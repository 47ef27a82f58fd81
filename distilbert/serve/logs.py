# SPDX-License-Identifier: Apache-2.0
"""Logs for programs: one JSON object a line on standard error, with the id of the request that it is about."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
LOGGERS = ("distilbert.serve", "uvicorn")


class JSONLines(logging.Formatter):
    """A record as JSON; `extra={"fields": {...}}` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        request_id = REQUEST_ID.get()
        if request_id is not None:
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to_stderr(level: str) -> None:
    """Send the server's log, and uvicorn's warnings, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
    logging.getLogger("distilbert.serve.server").setLevel(logging.INFO)  # that it is ready, and ends, is said always
    uvicorn = logging.getLogger("uvicorn")
    uvicorn.setLevel(max(uvicorn.level, logging.WARNING))  # that it starts and ends is said by the server itself
