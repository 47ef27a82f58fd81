# SPDX-License-Identifier: Apache-2.0
"""The page in headless Chromium, before the real server: what is typed and clicked, and what is then seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("torch")
pytest.importorskip("fastapi")

from distilbert import backend as backends
from distilbert.demo import MODEL

from .browser import Browser, chromium, serving
from .pipeline_samples import write_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="chromium is not installed"),
]
PARTS = ["masks", "entities", "answers", "classes", "similarity", "choices", "attention", "compare"]
KEY = "a key"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Iterator[str]:
    """A server with a model for every task, random but for one."""
    folder = tmp_path_factory.mktemp("models")
    tasks = {
        "masks": "masked-lm",
        "entities": "token-classification",
        "answers": "question-answering",
        "choices": "multiple-choice",
        "vectors": "encoder",
    }
    for name, task in tasks.items():
        write_checkpoint(folder / name, data_folder, task)
    models = [f"{name}={folder / name}" for name in tasks]
    with serving(f"reviews={MODEL}", *models) as found:
        yield found


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A new browser; afterwards, nothing was complained of and nobody else was asked."""
    with Browser() as made:
        yield made
        assert made.complaints == []
        hosts = {urlsplit(asked).hostname for asked in made.asked if asked != "about:blank"}
        assert hosts == {"127.0.0.1"}


def go(browser: Browser, address: str, part: str) -> None:
    browser.open(f"{address}/#{part}")
    browser.until(f"document.querySelector('#{part}')")


def ask(browser: Browser, part: str) -> None:
    browser.click(f"#{part} button[type=submit]")
    wait(browser, part)


def wait(browser: Browser, part: str) -> None:
    browser.until(f"document.querySelector('#{part} .output:not([hidden]), #{part} .message:not([hidden])')")
    browser.until(f"!document.querySelector('#{part} button[type=submit]').disabled")
    assert browser.texts(f"#{part} .message") == []


def test_parts_are_those_of_the_tasks(browser: Browser, address: str) -> None:
    go(browser, address, "masks")
    tabs = browser.run("[...document.querySelectorAll('[role=tab]')].map((tab) => tab.dataset.part)")
    assert tabs == PARTS
    assert "6 models on PyTorch in float32" in browser.texts("#served")[0]


@pytest.mark.parametrize("part", PARTS[:-1])
def test_one_click_shows_something(browser: Browser, address: str, part: str) -> None:
    go(browser, address, part)
    ask(browser, part)
    assert browser.texts(f"#{part} .bar .value") or browser.texts(f"#{part} .readout")
    assert "ms, there and back" in browser.texts(f"#{part} .provenance p")[0]


def test_masks_are_filled(browser: Browser, address: str) -> None:
    go(browser, address, "masks")
    browser.type("#masks-text", "the [MASK] is on the [MASK] 👩‍👩‍👧‍👦")
    ask(browser, "masks")
    assert len(browser.texts("#masks .reading mark")) == 2
    assert len(browser.texts("#masks .bars")) == 2
    widths = browser.run("[...document.querySelectorAll('#masks .fill')].map((fill) => fill.style.width)")
    assert len(widths) == 12
    assert all(width.endswith("%") for width in widths)


def test_entities_are_marked_where_they_are(browser: Browser, address: str) -> None:
    text = "😀 Ada & <b>Bob</b> in שלום"
    go(browser, address, "entities")
    browser.type("#entities-text", text)
    ask(browser, "entities")
    assert browser.texts("#entities .reading mark .tag")
    browser.run("document.querySelectorAll('#entities .reading .tag').forEach((tag) => tag.remove())")
    assert browser.texts("#entities .reading") == [text], "text is text, and all of it is there"
    marked = [name.removesuffix(kind) for name, kind in zip(*both(browser), strict=True)]
    assert browser.texts("#entities .reading mark") == marked


def both(browser: Browser) -> tuple[list[str], list[str]]:
    return browser.texts("#entities .bar .name"), browser.texts("#entities .bar .kind")


def test_an_answer_is_marked_in_its_text(browser: Browser, address: str) -> None:
    go(browser, address, "answers")
    browser.type("#answers-question", "What is it?")
    browser.type("#answers-context", "🦉🦉 It is an owl, said the old man.")
    ask(browser, "answers")
    [answer] = browser.texts("#answers .reading mark")
    assert answer == browser.texts("#answers .bar.best .name")[0]


def test_classes_of_what_is_typed_by_keyboard_alone(browser: Browser, address: str) -> None:
    go(browser, address, "masks")
    browser.run("document.querySelector('#tab-masks').focus()")
    for _ in range(3):
        browser.press("ArrowRight", 39)
    assert browser.run("document.activeElement.id") == "tab-classes"
    assert browser.run("location.hash") == "#classes"
    browser.type("#classes-text", "a mess. boring, dull and far too long")
    browser.send("Input.dispatchKeyEvent", type="keyDown", key="Enter", windowsVirtualKeyCode=13, modifiers=2)
    wait(browser, "classes")
    assert browser.texts("#classes .bar .name") == ["negative", "positive"]
    values = [float(value) for value in browser.texts("#classes .bar .value")]
    assert abs(sum(values) - 1) < 0.002


def test_similarity_of_a_sentence_with_itself(browser: Browser, address: str) -> None:
    go(browser, address, "similarity")
    browser.type("#similarity-first", "The same words.")
    browser.type("#similarity-second", "The same words.")
    ask(browser, "similarity")
    assert browser.texts("#similarity .figure") == ["1.000"]


def test_attention_of_a_head_is_shown_large(browser: Browser, address: str) -> None:
    go(browser, address, "attention")
    browser.type("#attention-text", "The ferry left early.")
    ask(browser, "attention")
    assert browser.run("document.querySelectorAll('#attention .head canvas').length") == 8  # 2 layers of 4 heads
    painted = (
        "[...document.querySelectorAll('#attention canvas')].every((found) => found.getContext('2d')"
        ".getImageData(0, 0, found.width, found.height).data.some((value) => value > 0))"
    )
    browser.until(painted)
    browser.click("#attention .head[aria-label='Layer 2, head 3']")
    assert browser.texts("#attention .detail h3") == ["Layer 2, head 3"]
    names = browser.texts("#attention .map .names text")
    assert names[: len(names) // 2] == names[len(names) // 2 :]
    assert (names[0], names[len(names) // 2 - 1]) == ("[CLS]", "[SEP]")
    browser.hover("#attention .map", 0.9, 0.9)
    said = browser.texts("#attention .readout")[0]
    assert 0 <= float(said.rsplit(" ", 1)[1]) <= 1
    browser.run("document.querySelector('#attention .map').focus()")
    browser.press("ArrowUp", 38)
    assert browser.texts("#attention .readout")[0] != said


@pytest.mark.skipif(len(backends.installed()) < 2, reason="one framework is installed")
def test_two_backends_and_their_difference(browser: Browser, address: str) -> None:
    go(browser, address, "compare")
    ask(browser, "compare")
    figure = browser.texts("#compare .figure")[0]
    assert figure == "0" or "× 10" in figure
    assert browser.texts("#compare .agree") == ["The results agree in every label, word and place."]
    sides = browser.texts("#compare .side h3")
    assert len(sides) == 2
    assert sides[0].startswith("PyTorch")
    first, second = (browser.texts(f"#compare .side:nth-child({place}) .bar .name") for place in (1, 2))
    assert first == second == ["positive", "negative"]


def test_an_error_is_said_beside_the_input(address: str) -> None:
    with Browser() as browser:  # the browser itself notes a status of 422 as a complaint
        go(browser, address, "masks")
        browser.type("#masks-text", "Nothing is missing here.")
        browser.click("#masks button[type=submit]")
        browser.until("document.querySelector('#masks .message:not([hidden])')")
        assert "has no [MASK]" in browser.texts("#masks .message")[0]
        assert browser.run("document.querySelector('#masks-text').getAttribute('aria-invalid')") == "true"
        browser.type("#masks-text", "Something is [MASK].")
        ask(browser, "masks")
        assert browser.texts("#masks .message") == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_window(address: str, width: int) -> None:
    with Browser(width, 800) as browser:
        for part in PARTS[:-1]:
            go(browser, address, part)
            ask(browser, part)
            assert browser.run("document.documentElement.scrollWidth") <= width, part


def test_everything_has_a_name(browser: Browser, address: str) -> None:
    go(browser, address, "masks")
    nameless = (
        "[...document.querySelectorAll('button, textarea, input, select, a')].filter((found) => "
        "!(found.textContent.trim() && found.tagName !== 'SELECT') && !found.getAttribute('aria-label') "
        "&& !found.labels?.length).map((found) => found.outerHTML)"
    )
    assert browser.run(nameless) == []
    twice = (
        "[...document.querySelectorAll('[id]')].map((found) => found.id).filter((id, at, all) => all.indexOf(id) < at)"
    )
    assert browser.run(twice) == []


def test_a_server_with_a_key_is_asked_with_it() -> None:
    with serving("--api-key", KEY) as address, Browser() as browser:
        browser.open(address)
        browser.until("document.querySelector('#key:not([hidden])')")
        browser.type("#key-value", "not it")
        browser.click("#key button")
        browser.until("document.querySelector('#served').textContent.includes('wrong')")
        browser.type("#key-value", KEY)
        browser.click("#key button")
        browser.until("document.querySelector('#tab-classes')")
        assert browser.texts("#key") == []
        ask(browser, "classes")
        assert browser.texts("#classes .bar.best .name") == ["positive"]
