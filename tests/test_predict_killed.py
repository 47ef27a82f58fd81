# SPDX-License-Identifier: Apache-2.0
"""`distilbert predict` killed with SIGKILL: the next run goes on, and ends with the bytes of a run left in peace."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distilbert.demo import MODEL
from distilbert.tables import write_rows

pytestmark = pytest.mark.slow

ROWS, SHARD, KILLS = 20_000, 250, 5


@pytest.mark.parametrize("backend", ["pt", "tf", "flax"])
def test_killed_five_times(tmp_path: Path, backend: str) -> None:
    chance = random.Random(backend)
    source = tmp_path / "in.csv"
    words = ["good", "bad", "film", "a", "very", "mess"]
    lengths = (600 if n % 1000 == 77 else chance.randint(1, 70) for n in range(ROWS))  # 600 are set aside
    texts = (" ".join(chance.choices(words, k=length)) for length in lengths)
    write_rows(source, None, ({"id": n, "text": text} for n, text in enumerate(texts)))
    command = [*(sys.executable, "-m", "distilbert", "predict", "text-classification", str(MODEL), str(source))]
    command += ["--backend", backend, "--shard-rows", str(SHARD), "-o"]
    whole, killed = tmp_path / "whole.csv", tmp_path / "killed.csv"
    subprocess.run([*command, str(whole)], check=True, timeout=300)
    parts = tmp_path / "killed.csv.parts"
    done = 0
    for _ in range(KILLS):
        with subprocess.Popen([*command, str(killed)]) as process:
            wanted = done + chance.randint(1, 10)
            while len(list(parts.glob("part-*"))) < wanted:
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.2))
            process.kill()
        done = len(list(parts.glob("part-*")))
        assert not killed.exists()
        assert wanted <= done < ROWS // SHARD
    last = subprocess.run([*command, str(killed)], check=True, timeout=300, capture_output=True, text=True)
    assert f"({done * SHARD:,} of the input's were done before)" in last.stderr
    assert killed.read_bytes() == whole.read_bytes()
    rejects = [path.with_name(path.name + ".rejects.jsonl").read_bytes() for path in (whole, killed)]
    assert rejects[0] == rejects[1]
    assert b"use truncation=True" in rejects[0]
    assert not parts.exists()
