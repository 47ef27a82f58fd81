# SPDX-License-Identifier: Apache-2.0
"""The page's files: how they are sent, that they stay on their own host, and that their colours can be read."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from distilbert import pipeline
from distilbert.demo import MODEL
from distilbert.serve.models import Served
from distilbert.serve.page.files import FOLDER

from .page_client import Client

FILES = sorted(FOLDER.iterdir())
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SVG = "http://www.w3.org/2000/svg"  # a name, nothing is asked there


@pytest.fixture(scope="module")
def client() -> Client:
    return Client(Served("reviews", pipeline(backend="pt"), MODEL))


def test_the_page_is_sent_with_a_strict_policy(client: Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["object-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert not re.search(r"unsafe|https?:|\*|data:", answer.headers["content-security-policy"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_file_is_sent_as_what_it_is(client: Client, file: Path) -> None:
    answer = client.get(f"/page/static/{file.name}")
    assert answer.status_code == 200
    assert answer.content == file.read_bytes()
    assert answer.headers["content-type"].startswith(TYPES[file.suffix])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"


def test_a_file_that_has_not_changed_is_not_sent_again(client: Client) -> None:
    tag = client.get("/").headers["etag"]
    again = client.get("/", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


def test_only_the_head_of_a_file(client: Client) -> None:
    answer = client.head("/page/static/page.css")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == (FOLDER / "page.css").stat().st_size


@pytest.mark.parametrize("name", ["none.js", "..%2froutes.py", "%2e%2e/routes.py", "../routes.py", "page.css%00", ""])
def test_nothing_else_is_sent(client: Client, name: str) -> None:
    answer = client.get(f"/page/static/{name}")
    assert answer.status_code == 404
    assert answer.json()["error_type"] == "not_found"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_names_no_other_host_and_makes_no_markup_of_text(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:)?//[\w-]+\.[\w./-]+", text.replace(SVG, ""))
    assert not re.search(r"@import|\burl\(", text)
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|alert\("
    assert not re.search(forbidden, text)
    if file.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", text)


def test_what_files_ask_for_is_there() -> None:
    names = {file.name for file in FILES}
    html = (FOLDER / "index.html").read_text(encoding="utf-8")
    asked = set(re.findall(r'(?:href|src)="page/static/([^"]+)"', html))
    for file in FILES:
        if file.suffix == ".js":
            asked |= set(re.findall(r'from "\./([^"]+)"', file.read_text(encoding="utf-8")))
    assert asked <= names
    assert names - asked == {"index.html"}, "files that nothing asks for"


def test_which_backends_there_are(client: Client) -> None:
    found = {entry["name"]: entry for entry in client.get("/page/backends").json()}
    assert list(found) == ["pt", "tf", "flax"]
    assert found["pt"]["installed"] is True
    assert found["pt"]["title"] == "PyTorch"
    assert "torch" in found["pt"]["versions"]


def test_models_work_on_the_thread_of_the_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = "distilbert.serve.page.routes"
    monkeypatch.setattr(f"{routes}.attend", lambda *arguments: {"thread": threading.current_thread().name})
    monkeypatch.setattr(f"{routes}.compare", lambda *arguments: {"thread": threading.current_thread().name})
    monkeypatch.setattr(f"{routes}._two_backends", lambda *arguments: ["pt"])
    for path, body in (("/page/attentions", {"text": "a"}), ("/page/compare", {"inputs": "a"})):
        assert client.post(path, json=body).json()["thread"] == "page_0"


# Contrast, as WCAG 2.2 measures it.

TEXTS = [("ink", "paper"), ("ink", "card"), ("ink", "tint"), ("muted", "paper"), ("muted", "card"), ("accent", "paper")]
TEXTS += [("accent", "tint"), ("on-accent", "accent"), ("error", "error-tint"), ("error", "paper")]
SHAPES = [("field-line", "card"), ("accent", "line"), ("accent", "card")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(scheme: str) -> None:
    css = (FOLDER / "page.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
    )
    colours = light if scheme == "light" else light | dark
    assert set(dark) == set(light)
    too_near = [
        (one, other, round(found, 2))
        for pairs, least in ((TEXTS, 4.5), (SHAPES, 3.0))
        for one, other in pairs
        if (found := _contrast(colours[one], colours[other])) < least
    ]
    assert not too_near


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
