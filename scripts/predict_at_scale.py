# SPDX-License-Identifier: Apache-2.0
"""`distilbert predict` on very many rows: its memory, its rate beside transformers, and what SIGKILL does to it.

    python scripts/predict_at_scale.py FOLDER [--rows 1000000] [--model SRC] [--backend pt]

Rows are made from a fixed seed. One run is left in peace: its memory is read every second. Others are killed at random
moments, and gone on with until the output is there, which must be equal byte for byte. The loops of transformers, one
text at a time and 32 at a time, take a part of the same rows before and after the first run. Exit code 1 if outputs are
unequal.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distilbert.demo import MODEL

SEED = 0
WORDS = """
    a the and of it is not but with this film movie story plot cast acting script good great fine warm funny smart
    moving charming bad dull boring silly tired slow flat mess hardly very quite never always often far too more
"""
KILLS = 5

LOOP = """
import csv, sys, time
from transformers import pipeline
pipe = pipeline("text-classification", model=sys.argv[1], framework="pt", device="cpu")
size = int(sys.argv[4])
with open(sys.argv[2], newline="") as source:
    texts = [row["text"] for row in csv.DictReader(source)][: int(sys.argv[3])]
pipe(texts[:64], batch_size=size, truncation=True)
began = time.perf_counter()
with open(sys.argv[2] + ".theirs", "w", newline="") as target:
    write = csv.writer(target).writerow
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        for text, found in zip(part, pipe(part, batch_size=size, truncation=True)):
            write((text, found["label"], found["score"]))
print(len(texts) / (time.perf_counter() - began))
"""


def main() -> int:
    arguments = _arguments()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "rows.csv"
    _write_rows(source, arguments.rows)
    command = [
        *(sys.executable, "-m", "distilbert", "predict", "text-classification", str(arguments.model), str(source)),
        *("--backend", arguments.backend, "--option", "truncation=true", "--overwrite", "-o"),
    ]
    figures: dict[str, Any] = {"rows": arguments.rows, "model": str(arguments.model), "backend": arguments.backend}
    loops: dict[int, list[float]] = {1: [], 32: []}
    _loop(arguments, source, loops)
    whole = folder / "whole.csv"
    figures |= _watched([*command, str(whole)])
    _loop(arguments, source, loops)
    for size, rates in loops.items():
        figures[f"transformers_batch_{size}_rows_per_second"] = [round(rate, 1) for rate in rates]
    best = max(statistics.mean(rates) for rates in loops.values())
    figures["times_as_fast"] = round(figures["rows_per_second"] / best, 2)
    killed = folder / "killed.csv"
    figures["killed_after_seconds"] = list(_kill([*command, str(killed)], figures["seconds"]))
    subprocess.run([*command, str(killed)], check=True, stderr=subprocess.DEVNULL)
    figures["equal"] = _digest(killed) == _digest(whole)
    print(json.dumps(figures, indent=2))
    return 0 if figures["equal"] else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--loop-rows", type=int, default=4000, help="of these, for each loop of transformers")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--backend", default="pt")
    return parser.parse_args()


def _write_rows(path: Path, count: int) -> None:
    chance, words = random.Random(SEED), WORDS.split()
    with path.open("w", newline="") as stream:
        write = csv.writer(stream).writerow
        write(("id", "text"))
        for number in range(count):
            write((number, " ".join(chance.choices(words, k=chance.randint(3, 45)))))


def _loop(arguments: argparse.Namespace, source: Path, loops: dict[int, list[float]]) -> None:
    for size, rates in loops.items():
        command = [sys.executable, "-c", LOOP, str(arguments.model), str(source), str(arguments.loop_rows), str(size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rates.append(float(done.stdout.split()[-1]))


def _watched(command: list[str]) -> dict[str, Any]:
    """A run in peace: its rate, and its memory over time."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    memory = []
    while process.poll() is None:
        memory.append(_memory(process.pid))
        time.sleep(1)
    seconds = time.perf_counter() - began
    said = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise SystemExit(said)
    rates = re.findall(r"([\d,]+) rows/s", said)
    thirds = [max(memory[len(memory) * part // 3 :][: len(memory) // 3 + 1]) for part in range(3)]
    return {
        "seconds": round(seconds, 1),
        "rows_per_second": float(rates[-1].replace(",", "")),
        "memory_mb_most_in_each_third": [round(size / 1e6) for size in thirds],
    }


def _memory(process: int) -> int:
    """Resident bytes of a process."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def _kill(command: list[str], seconds: float) -> Iterator[float]:
    """Start a run and kill it at a random moment, several times; yields the moments."""
    chance = random.Random(SEED)
    for _ in range(KILLS):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        moment = chance.uniform(0.1, 1.0) * seconds / KILLS
        time.sleep(moment)
        process.kill()
        process.wait()
        yield round(moment, 1)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
