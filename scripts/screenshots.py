# SPDX-License-Identifier: Apache-2.0
"""Take the pictures of the server's page for the documentation, in headless Chromium.

    python scripts/screenshots.py FOLDER NAME=MODEL...

It serves these models and the sentiment model of this package, goes through the parts of the page, and writes
FOLDER/page-*.png of those that the models can do. Models that were trained for their task make the better pictures:
one each for fill-mask, token-classification (called names), question-answering and sentence-embedding (sentences).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from distilbert.demo import MODEL
from tests.browser import Browser, serving

LARGEST = 200_000  # bytes


@dataclass(frozen=True)
class Shot:
    """A picture: its name, the part of the page, the window, and what is done before it is taken."""

    name: str
    part: str
    width: int = 1280
    height: int = 900
    dark: bool = False
    choose: tuple[tuple[str, str], ...] = ()  # (field, its value)
    head: str = ""  # to be seen large, with the mouse there
    mouse: tuple[float, float] = (0.5, 0.5)  # shares of its width and height
    scroll: bool = False  # to the part's own beginning


SENTENCES = (("attention-model", "sentences"),)
SHOTS = (
    Shot("masks", "masks"),
    Shot("entities", "entities"),
    Shot("answers", "answers"),
    Shot("classes", "classes"),
    Shot("similarity", "similarity"),
    Shot("attention", "attention", choose=SENTENCES, head="Layer 3, head 9", mouse=(0.81, 0.66), scroll=True),
    Shot("compare", "compare", choose=(("compare-model", "names"),), scroll=True),
    Shot("dark", "attention", dark=True, choose=SENTENCES, head="Layer 2, head 9", mouse=(0.665, 0.59), scroll=True),
    Shot("phone", "entities", width=390, height=844),
)


def take(shot: Shot, address: str, folder: Path) -> str:
    """Write one picture; what became of it."""
    with Browser(shot.width, shot.height, shot.dark) as browser:
        browser.open(f"{address}/#{shot.part}")
        browser.until("document.querySelector('[role=tab]')")
        if not browser.run(f"Boolean(document.querySelector('#{shot.part}'))"):
            return f"{shot.name}: no model for it"
        for field, value in shot.choose:
            browser.run(f"document.querySelector('#{field}').value = '{value}'")
            browser.run(f"document.querySelector('#{field}').dispatchEvent(new Event('change'))")
        for _ in range(2):  # the second time everything is warm
            browser.click(f"#{shot.part} button[type=submit]")
            browser.until(f"document.querySelector('#{shot.part} .output:not([hidden])')")
            browser.until(f"!document.querySelector('#{shot.part} button[type=submit]').disabled")
        if shot.head:
            browser.click(f"#{shot.part} [aria-label='{shot.head}']")
            browser.hover(".map", *shot.mouse)
        browser.run("document.activeElement.blur()")
        browser.run(f"document.querySelector('#{shot.part}').scrollIntoView()" if shot.scroll else "scrollTo(0, 0)")
        browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        file = folder / f"page-{shot.name}.png"
        browser.screenshot(file)
        size = file.stat().st_size
        complaints = "".join(f"\n  {complaint}" for complaint in browser.complaints)
        return f"{file}: {size:,} bytes{'' if size <= LARGEST else ', too large'}{complaints}"


def main() -> None:
    """Serve, and take all pictures."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    with serving(*sys.argv[2:], f"reviews={MODEL}") as address:
        for shot in SHOTS:
            sys.stdout.write(f"{take(shot, address, folder)}\n")


if __name__ == "__main__":
    main()
