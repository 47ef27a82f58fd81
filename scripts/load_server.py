# SPDX-License-Identifier: Apache-2.0
"""Load for a server on this machine, and what became of it.

    distilbert serve &
    python scripts/load_server.py http://127.0.0.1:8000 --seconds 10 --clients 32

First one client at a time, then many, with the same texts: requests a second, and how long they took. Then good and bad
requests mixed: which codes they got, and the server's memory meanwhile. Exit code 1 if a good request got anything but
200, 429 or 503, or any request 500 or no answer at all.

Only loopback addresses are taken, and time and number are bounded: this is no tool against other people's servers.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import itertools
import json
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MOST_SECONDS, MOST_CLIENTS = 900, 256
WORDS = ("a warm funny and beautifully acted film that stays with you but the plot is sometimes rather a mess",)[
    0
].split()
TEXTS = [" ".join(WORDS[: 3 + number % 17]) + f" {number}" for number in range(101)]
ALLOWED = {200, 429, 503}


@dataclass(frozen=True)
class Request:
    """A request, and whether it is a good one."""

    path: str
    body: bytes
    is_good: bool = True
    method: str = "POST"
    kind: str = "application/json"

    def as_bytes(self, host: str) -> bytes:
        """As it goes over the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(self.body)}"]
        lines += [f"Content-Type: {self.kind}"] if self.kind else []
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass
class Run:
    """What became of some requests: codes (0 for no answer), and seconds of each that got one."""

    seconds: float = 0.0
    cpu: float = 0.0  # seconds of the server's
    codes: Counter[tuple[bool, int]] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.times) / self.seconds if self.seconds else 0.0

    def percentile(self, part: float) -> float:
        """Milliseconds that so large a part of the answers did not take longer than."""
        ordered = sorted(self.times)
        return 1000 * ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else float("nan")

    @property
    def problems(self) -> list[str]:
        """What should not have been."""
        found = [key for key in self.codes if key[0] and key[1] not in ALLOWED]
        found += [key for key in self.codes if not key[0] and key[1] in (0, 200, 500)]
        return [
            f"{self.codes[key]} {'good' if key[0] else 'bad'} requests got {key[1] or 'no answer'}" for key in found
        ]


class Connection:
    """A connection that is kept, and made anew where the server closes it."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: Request) -> tuple[int, bytes]:
        """Code and body of the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port)
        reader, writer = self._streams
        try:
            writer.write(request.as_bytes(f"{self.host}:{self.port}"))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"\r\ncontent-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            raise
        if b"\r\nconnection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1]), body

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def load(host: str, port: int, clients: int, seconds: float, next_request: Callable[[], Request]) -> Run:
    """Let each client send one request after another for some time; those under way are waited for."""
    run = Run()
    cpu = await measured(host, port, "process_cpu_seconds_total")
    started = time.perf_counter()

    async def client() -> None:
        connection = Connection(host, port)
        while time.perf_counter() - started < seconds:
            request = next_request()
            begun = time.perf_counter()
            try:
                code, _ = await asyncio.wait_for(connection.send(request), 120)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                run.codes[request.is_good, 0] += 1
                connection.close()
                await asyncio.sleep(0.01)
                continue
            run.codes[request.is_good, code] += 1
            run.times.append(time.perf_counter() - begun)
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    run.seconds = time.perf_counter() - started
    run.cpu = await measured(host, port, "process_cpu_seconds_total") - cpu
    return run


async def measured(host: str, port: int, name: str) -> float:
    """A measurement of the server's process, as it says itself."""
    connection = Connection(host, port)
    _, body = await connection.send(Request("/metrics", b"", method="GET"))
    connection.close()
    found = re.search(rf"^{name} (\S+)".encode(), body, re.M)
    return float(found[1]) if found else float("nan")


async def watch(host: str, port: int, every: float, samples: list[tuple[float, float]]) -> None:
    """Note the server's memory from time to time, until cancelled."""
    started = time.perf_counter()
    while True:
        samples.append(
            (time.perf_counter() - started, await measured(host, port, "process_resident_memory_bytes") / 1e6)
        )
        await asyncio.sleep(every)


def good(route: str) -> list[Request]:
    """A text each."""
    key = "input" if route.startswith("/v1/") else "inputs"
    return [Request(route, json.dumps({key: text}).encode()) for text in TEXTS]


def bad(route: str) -> list[Request]:
    """Wrong in one way each."""
    bodies = [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"inputs": 1}',
        b'{"inputs": []}',
        b'{"inputs": [null, {}]}',
        b'{"inputs": "\\ud800"}',
        b'{"inputs": "a", "unknown": 1}',
        b'{"inputs": "a", "model": "nobody"}',
        b'{"inputs": NaN}',
        b"\xff\xfe{",
        b"[" * 20_000,
        json.dumps({"inputs": ["a"] * 1000}).encode(),
        b'{"inputs": "' + b"a " * 1_100_000 + b'"}',
    ]
    others = [
        Request("/no/such/route", b"{}", False),
        Request(route, b"", False, "GET", ""),
        Request(route, b"{}", False, "DELETE"),
        Request(route, b"inputs=a", False, kind="application/x-www-form-urlencoded"),
    ]
    return [Request(route, body, False) for body in bodies] + others


def mixed(route: str) -> Callable[[], Request]:
    """Good ones, and after every third a bad one."""
    bads = itertools.cycle(bad(route))
    goods = itertools.cycle(good(route))
    kinds = itertools.cycle((goods, goods, goods, bads))
    return lambda: next(next(kinds))


def address(url: str) -> tuple[str, int]:
    """Host and port; exits for a host that is not this machine."""
    parts = urlsplit(url)
    host = socket.gethostbyname(parts.hostname or "")
    if parts.scheme != "http" or not ipaddress.ip_address(host).is_loopback:
        sys.exit(f"{url}: expected http:// and a loopback address")
    return host, parts.port or 80


async def measure(
    host: str, port: int, route: str, seconds: float, clients: int
) -> tuple[Run, Run, Run, list[tuple[float, float]]]:
    """One client, many, and many with good and bad requests while memory is watched."""
    warm = itertools.cycle(good(route)).__next__
    await load(host, port, clients, min(1.0, seconds), warm)
    single = await load(host, port, 1, seconds, itertools.cycle(good(route)).__next__)
    many = await load(host, port, clients, seconds, itertools.cycle(good(route)).__next__)
    samples: list[tuple[float, float]] = []
    watcher = asyncio.create_task(watch(host, port, max(seconds / 10, 0.2), samples))
    both = await load(host, port, clients, seconds, mixed(route))
    watcher.cancel()
    return single, many, both, samples


def report(clients: int, single: Run, many: Run, both: Run, samples: Sequence[tuple[float, float]]) -> str:
    """Three tables."""
    lines = ["| clients | requests | requests/s | p50 ms | p99 ms | CPU ms |", "| --- | --- | --- | --- | --- | --- |"]
    for count, run in ((1, single), (clients, many)):
        cpu = 1000 * run.cpu / max(len(run.times), 1)
        figures = f"{run.rate:.0f} | {run.percentile(0.5):.1f} | {run.percentile(0.99):.1f} | {cpu:.2f}"
        lines.append(f"| {count} | {len(run.times)} | {figures} |")
    lines += ["", f"{many.rate / max(single.rate, 1e-9):.1f} times as many", ""]
    lines += ["| mixed load | code | requests |", "| --- | --- | --- |"]
    for (is_good, code), count in sorted(both.codes.items(), reverse=True):
        lines.append(f"| {'good' if is_good else 'bad'} | {code or 'none'} | {count} |")
    lines += ["", "| seconds | MB |", "| --- | --- |", *(f"| {at:.1f} | {size:.0f} |" for at, size in samples)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Load for a server on this machine.")
    parser.add_argument("url")
    parser.add_argument("--route", default="/text-classification")
    parser.add_argument("--seconds", type=float, default=10, help="of each of the three parts")
    parser.add_argument("--clients", type=int, default=32)
    options = parser.parse_args()
    if not 0 < options.seconds <= MOST_SECONDS or not 1 <= options.clients <= MOST_CLIENTS:
        parser.error(f"expected at most {MOST_SECONDS} seconds and {MOST_CLIENTS} clients")
    host, port = address(options.url)
    single, many, both, samples = asyncio.run(measure(host, port, options.route, options.seconds, options.clients))
    print(report(options.clients, single, many, both, samples))
    problems = [problem for run in (single, many, both) for problem in run.problems]
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
