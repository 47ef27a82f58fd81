# SPDX-License-Identifier: Apache-2.0
"""How a command ends when it does not end well: one message and an exit code, never a traceback.

Exit codes: 1 for an error or a problem found, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ParamSpec

import typer

from distilbert import __version__
from distilbert.cli.console import say
from distilbert.errors import DistilBertError

DEBUG_VARIABLE = "DISTILBERT_DEBUG"
P = ParamSpec("P")


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """The same command, with its errors and warnings as lines on standard error."""

    @functools.wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        with _warnings_as_lines():
            try:
                command(*arguments, **options)
            except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
                raise
            except Exception as error:
                if os.environ.get(DEBUG_VARIABLE) == "1":
                    traceback.print_exc()
                say("error", _explain(error))
                raise typer.Exit(1) from None

    return run


def end_on_signals() -> None:
    """Let SIGTERM and a closed terminal end the process as an exception does, so that temporary files are removed."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # `nohup` has it ignored
            signal.signal(number, _end)


def flush_output() -> None:
    """Write out what is left for standard output; exit 1 if that fails, quietly if the reader has gone (`| head`)."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again, and complains
        if not isinstance(error, BrokenPipeError):
            say("error", f"standard output: {error.strerror}")
        sys.exit(1)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _explain(error: Exception) -> str:
    if isinstance(error, DistilBertError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return (
        f"{type(error).__name__}: {error}\n"
        f"  This is a bug in distilbert {__version__}; please report it with the output of `distilbert env`.\n"
        f"  {DEBUG_VARIABLE}=1 shows the traceback."
    )


class _LogLines(logging.Handler):
    """Log messages as the lines that warnings are."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.levelname.lower(), record.getMessage())


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Each different warning once, as a line; those for the authors of libraries (deprecations and such) not at all."""
    said = set()

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            say("warning", str(message))

    handler = _LogLines(logging.WARNING)
    logger = logging.getLogger("distilbert")
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = show  # type: ignore[assignment]  # the rest of its arguments is a place in the code
            yield
    finally:
        logger.removeHandler(handler)
