# SPDX-License-Identifier: Apache-2.0
"""A small hub on loopback: what the hub library asks of a real one to list, fetch and send models; it can misbehave.

Not a test itself. It keeps every request, so that tests can tell what was asked and with which headers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants, file_download


@dataclass
class Repository:
    """One model: its files, and what is wrong with it."""

    files: dict[str, bytes]
    revisions: dict[str, dict[str, bytes]] = field(default_factory=dict)  # besides "main"
    token: str | None = None  # without it the repository seems not to exist
    private: bool = False
    refusal: str | None = None  # why nothing may be sent to it
    gated: bool = False  # it can be listed, its files are refused
    status: int | None = None  # answer to every request
    cut: dict[str, int] = field(default_factory=dict)  # file: bytes sent in each answer before the connection is cut
    cuts_left: int = 0  # answers that are still cut
    wrong_size: dict[str, int] = field(default_factory=dict)  # file: size that is announced

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit and the files of a branch or commit."""
        for name, files in {"main": self.files, **self.revisions}.items():
            listing = sorted((file, _etag(content)) for file, content in files.items())
            commit = hashlib.sha1(repr(listing).encode()).hexdigest()
            if revision in (name, commit):
                return commit, files
        return None


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case


class HubServer:
    """Serve `repositories` (by "org/name") while in a `with` block, at `url`."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.writer = "hf_writer"  # the token that may write
        self.large: dict[str, bytes] = {}  # content of large files by SHA-256
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def downloads(self, name: str = "") -> list[Request]:
        """The requests for the content of files whose path ends with `name`."""
        return [r for r in self.requests if r.method == "GET" and "/resolve/" in r.path and r.path.endswith(name)]


@contextmanager
def running_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub, a cold cache in the folder and no login; the hub library talks to it and to nothing else."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "TRANSFORMERS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
    with HubServer() as running:
        point_at(running.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
        monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(folder / "no-tokens"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 5)
        yield running


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `url` the hub, as HF_ENDPOINT would have done when the hub library was imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer takes 40 ms

        def do_HEAD(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._write()

        def do_PUT(self) -> None:
            self._write()

        def log_message(self, format: str, *args: Any) -> None:
            pass  # the tests look at `requests` instead

        def _serve(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(Request(self.command, path, {k.lower(): v for k, v in self.headers.items()}))
            is_api = path.startswith("/api/models/")
            name, kind, rest = _split(path.removeprefix("/api/models/") if is_api else path[1:])
            repository = hub.repositories.get(name)
            if repository is None:
                return self._refuse(404, "RepoNotFound")
            if repository.status:
                return self._refuse(repository.status)
            if repository.token and self.headers.get("Authorization") != f"Bearer {repository.token}":
                return self._refuse(401, "RepoNotFound")
            if is_api:
                return self._describe(name, repository, kind, rest or "main")
            if repository.gated:
                return self._refuse(403, "GatedRepo")
            return self._send_file(repository, rest)

        def _write(self) -> None:
            body, path = self._body(), unquote(urlsplit(self.path).path)
            hub.requests.append(Request(self.command, path, {k.lower(): v for k, v in self.headers.items()}))
            if self.command == "PUT":  # to a storage, whose address is secret enough
                hub.large[path.removeprefix("/large/")] = body
                return self._send(b"")
            if self.headers.get("Authorization") != f"Bearer {hub.writer}":
                return self._refuse(401)
            status, answer = Uploads(hub).answer(path, body)
            return self._send(json.dumps(answer).encode(), {"Content-Type": "application/json"}, status)

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))

        def _describe(self, name: str, repository: Repository, kind: str, revision: str) -> None:
            found = repository.at(revision)
            if found is None:
                return self._refuse(404, "RevisionNotFound")
            commit, files = found
            if kind == "tree":
                tree = [{"type": "file", "path": f, "size": len(b), "oid": _etag(b)} for f, b in files.items()]
                return self._send(json.dumps(tree).encode())
            siblings = [{"rfilename": file} for file in files]
            described = {"id": name, "sha": commit, "siblings": siblings, "private": repository.private}
            return self._send(json.dumps(described).encode())

        def _send_file(self, repository: Repository, rest: str) -> None:
            revision, _, file = rest.partition("/")
            found = repository.at(revision)
            if found is None:
                return self._refuse(404, "RevisionNotFound")
            commit, files = found
            if file not in files:
                return self._refuse(404, "EntryNotFound")
            content = files[file]
            headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
            if file in repository.wrong_size and self.command == "HEAD":
                headers["X-Linked-Size"] = str(repository.wrong_size[file])
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            sent = len(content)
            if self.command == "GET" and file in repository.cut and repository.cuts_left > 0:
                repository.cuts_left -= 1
                sent = start + repository.cut[file]
            return self._send(content[start:], headers, status=206 if start else 200, sent=sent - start)

        def _send(
            self, content: bytes, headers: dict[str, str] | None = None, status: int = 200, sent: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[:sent])
            self.close_connection = sent is not None and sent < len(content)

        def _refuse(self, status: int, code: str = "") -> None:
            self._send(b"", {"X-Error-Code": code} if code else {}, status)

    return Handler


class Uploads:
    """What the hub answers to those who write."""

    def __init__(self, hub: HubServer) -> None:
        self.hub = hub

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/api/validate-yaml":
            return self.validate(json.loads(body))
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": list(map(self.large_file, json.loads(body)["objects"]))}
        name, kind, revision = _split(path.removeprefix("/api/models/"))
        repository = self.hub.repositories.get(name)
        if repository is None:
            return 404, {}
        if repository.status:
            return repository.status, {}
        if kind == "branch":
            created = repository.revisions.setdefault(revision, dict(repository.files))
            return (200 if created else 409), {}
        if repository.refusal:
            return 413, {"error": repository.refusal}
        files = repository.files if revision == "main" else repository.revisions[revision]
        if kind == "preupload":
            return 200, {"files": [self.mode(file["path"]) for file in json.loads(body)["files"]]}
        for line in body.splitlines():
            self.change(files, **json.loads(line))
        return 200, {"commitUrl": f"{self.hub.url}/{name}/commit/1", "commitOid": "1" * 40}

    def validate(self, card: dict[str, Any]) -> tuple[int, Any]:
        """The real one parses YAML; here a word is enough."""
        wrong = [{"message": "licence unheard of"}] if "license: unheard-of" in card["content"] else []
        return (400 if wrong else 200), {"errors": wrong, "warnings": []}

    def create(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        name = f"{wanted['organization'] or 'user'}/{wanted['name']}"
        exists, private = name in self.hub.repositories, bool(wanted.get("private"))
        if not exists:
            self.hub.repositories[name] = Repository({}, token=self.hub.writer if private else None, private=private)
        return (409 if exists else 200), {"url": f"{self.hub.url}/{name}"}

    def large_file(self, wanted: dict[str, Any]) -> dict[str, Any]:
        missing = wanted["oid"] not in self.hub.large
        upload = {"actions": {"upload": {"href": f"{self.hub.url}/large/{wanted['oid']}"}}} if missing else {}
        return {**wanted, **upload}

    def mode(self, path: str) -> dict[str, Any]:
        large = path.endswith((".safetensors", ".bin", ".h5", ".msgpack"))
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}

    def change(self, files: dict[str, bytes], key: str, value: dict[str, Any]) -> None:
        if key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        if key == "lfsFile":
            files[value["path"]] = self.hub.large[value["oid"]]
        if key == "deletedFile":
            del files[value["path"]]


def _split(path: str) -> tuple[str, str, str]:
    """'org/name/resolve/main/file' -> 'org/name', 'resolve', 'main/file'; the same for 'revision' and 'tree'."""
    parts = path.split("/")
    for position, part in enumerate(parts):
        if part in ("resolve", "revision", "tree", "preupload", "commit", "branch"):
            return "/".join(parts[:position]), part, "/".join(parts[position + 1 :])
    return path, "", ""


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
