# SPDX-License-Identifier: Apache-2.0
"""What the hub library can raise, told apart and put into words; used by `distilbert/hub.py` and
`distilbert/publishing.py` alone.

It is built on requests, httpx or httpx2 depending on its version, and lets their errors through. None of the three
is named here, so that this works with each.
"""

from __future__ import annotations

import errno
import re

from distilbert.errors import HubError

LOG_IN = "give a token that may read it (token=, HF_TOKEN or `hf auth login`)"
LOG_IN_TO_WRITE = "give a token that may write to it (token=, HF_TOKEN or `hf auth login`)"


def checked_token(token: str) -> str:
    """The token without space around it. HubError if it can be none: the HTTP library would show it in its error."""
    token = token.strip()
    if not re.fullmatch(r"[!-~]*", token):
        raise HubError("token: expected one word of ASCII characters, found a space, a line end or another character")
    return token


def failures() -> tuple[type[BaseException], ...]:
    """Everything to catch around a call of the hub library."""
    return (OSError, ValueError, RuntimeError, _transport_error())


def is_outage(error: BaseException) -> bool:
    """Whether the hub is out of reach or out of order, so that a cached copy may stand in for it."""
    status = _status(error)
    if status is None:
        return isinstance(error, (_transport_error(), ValueError))
    return status == 429 or status >= 500


def is_broken_connection(error: BaseException) -> bool:
    """Whether a download ended before the file did; the hub library keeps the part it has."""
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(error, _transport_error()) and not isinstance(error, HfHubHTTPError)


def explain(error: BaseException) -> str:
    """What went wrong and what to do about it, in one line."""
    from huggingface_hub import constants, errors

    if isinstance(error, (errors.LocalEntryNotFoundError, ValueError)) and error.__cause__ is not None:
        return explain(error.__cause__)
    hub = f"the hub at {constants.ENDPOINT}"
    if isinstance(error, errors.GatedRepoError):
        return f"access is gated; accept the conditions on its page, then {LOG_IN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{hub} has no such repository, and no local file or folder has this name; if it is private, {LOG_IN}"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision; check the name of the branch or tag, or the commit"
    status = _status(error)
    if status in (401, 403):
        return f"{hub} denies access (HTTP status {status}); {LOG_IN}"
    if status is not None:
        return f"{hub} answered with HTTP status {status}; try again later"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space, or keep the cache elsewhere (cache_dir=, HF_HUB_CACHE)"
    if any("Timeout" in kind.__name__ for kind in type(error).__mro__):
        return f"{hub} did not answer in time; try again, or allow more (HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT)"
    if isinstance(error, _transport_error()) and not isinstance(error, ValueError):
        return (
            f"{hub} cannot be reached ({type(error).__name__}); check the network, HF_ENDPOINT and the proxy settings"
        )
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def explain_push(error: BaseException) -> str:
    """What went wrong when files were sent, and what to do about it, in one line."""
    from huggingface_hub import constants, errors

    if type(error) is ValueError:  # what the hub says of the card, or of a large file
        return " ".join(str(error).split())
    hub, status = f"the hub at {constants.ENDPOINT}", _status(error)
    if status in (401, 403) or isinstance(error, errors.RepositoryNotFoundError):
        return f"{hub} does not let this token write there (HTTP status {status}); {LOG_IN_TO_WRITE}"
    if status is not None and 400 <= status < 500 and not isinstance(error, errors.RevisionNotFoundError):
        said = getattr(error, "server_message", None) or "no reason given"
        return f"{hub} refuses it (HTTP status {status}): {' '.join(str(said).split())}"
    return explain(error)


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _transport_error() -> type[BaseException]:
    """The base of every error of the HTTP library."""
    from huggingface_hub.errors import HfHubHTTPError

    return [kind for kind in HfHubHTTPError.__mro__ if kind.__module__ != "builtins"][-1]
