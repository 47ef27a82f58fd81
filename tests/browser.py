# SPDX-License-Identifier: Apache-2.0
"""The server in a process of its own, and headless Chromium to look at its page.

Chromium is steered through the DevTools protocol over two pipes: no driver and no library is needed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_SWITCHES = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync disable-extensions disable-dev-shm-usage hide-scrollbars remote-debugging-pipe"
)
FLAGS = [f"--{name}" for name in _SWITCHES.split(" ")]
WAIT = 60.0  # seconds for anything
START = 180.0  # seconds for a server to load its models


def chromium() -> str | None:
    """Where it is, if it is installed."""
    return shutil.which("chromium")


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """The address of a `distilbert serve` with these arguments, on a free port of this machine, while it is needed."""
    command = [sys.executable, "-m", "distilbert", "serve", "--port", "0", "--backend", "pt", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("w") as writing:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing)
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            process.wait(timeout=WAIT)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """What the server's log says when it is ready."""
    end = time.monotonic() + START
    while process.poll() is None and time.monotonic() < end:
        for line in log.read_text().splitlines():
            if line.startswith("{") and line.endswith("}") and "url" in (said := json.loads(line)):
                return str(said["url"])
        time.sleep(0.1)
    raise AssertionError(f"the server does not start: {log.read_text()}")


class Browser:
    """One page. As a context manager it ends the browser and removes its profile.

    Attributes:
        complaints: what the console had to say that is a warning or worse, and errors nobody caught.
        asked: the addresses of all requests.
    """

    def __init__(self, width: int = 1280, height: int = 900, dark: bool = False, scale: float = 1) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        self._process, self._out, self._in = _start(self._profile)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        self.send("Emulation.setScrollbarsHidden", hidden=True)
        self.scheme(dark)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def scheme(self, dark: bool) -> None:
        """What the page is told that its reader prefers."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def open(self, address: str) -> None:
        """Go there; a new document even where only the part after # is another."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {answer['exceptionDetails'].get('exception', {}).get('description')}")
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = WAIT) -> None:
        """Wait for an expression to be true."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < end, f"never true: {script}; the page says {self.run('document.body.innerText')}"
            time.sleep(0.05)

    def texts(self, selector: str) -> list[str]:
        """The visible text of all elements that a selector finds and that are shown."""
        found: list[str] = self.run(
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            ".filter((found) => found.checkVisibility()).map((found) => found.textContent)"
        )
        return found

    def click(self, selector: str) -> None:
        """A click with the mouse in the middle of the first element that a selector finds."""
        self._mouse(selector, "mouseMoved")
        self._mouse(selector, "mousePressed", button="left", clickCount=1)
        self._mouse(selector, "mouseReleased", button="left", clickCount=1)

    def hover(self, selector: str, right: float = 0.5, down: float = 0.5) -> None:
        """The mouse over an element, at these shares of its width and height."""
        self._mouse(selector, "mouseMoved", right, down)

    def type(self, selector: str, text: str) -> None:
        """Replace what a field holds by typing."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.run("document.activeElement.select()")
        self.send("Input.insertText", text=text)

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key, as in ("ArrowRight", 39) or ("Enter", 13, "\\r")."""
        held = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", **held, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **held)

    def screenshot(self, file: Path, whole: bool = False) -> None:
        """Write a PNG of what is seen, or of the whole page."""
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _mouse(self, selector: str, kind: str, right: float = 0.5, down: float = 0.5, **more: Any) -> None:
        name = json.dumps(selector)
        box = self.run(
            f"(() => {{ const found = document.querySelector({name}); found.scrollIntoView({{block: 'nearest'}}); "
            "const box = found.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; })()"
        )
        x, y = box[0] + right * box[2], box[1] + down * box[3]
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def _note(self, event: dict[str, Any]) -> None:
        method, said = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"].get("exception", {}).get("description")))
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(value.get("value")) for value in said["args"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.asked.append(said["request"]["url"])

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + WAIT
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0, end - time.monotonic()))
            assert ready, f"Chromium has said nothing for {WAIT:.0f} s"
            data = os.read(self._in, 1 << 16)
            assert data, "Chromium has ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


def _start(profile: str) -> tuple[subprocess.Popen[bytes], int, int]:
    """The process, where to write commands and where to read answers: its descriptors 3 and 4."""
    program = chromium()
    assert program, "chromium is not installed"
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    # A shell moves the pipes to 3 and 4, by names that cannot be in its way.
    high = [os.dup2(command_read, 103, inheritable=True), os.dup2(answer_write, 104, inheritable=True)]
    shell = f'exec "$0" "$@" 3<&{high[0]} 4>&{high[1]}'
    try:
        process = subprocess.Popen(
            ["bash", "-c", shell, program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=high,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    finally:
        for descriptor in (command_read, answer_write, *high):
            os.close(descriptor)
    return process, command_write, answer_read
