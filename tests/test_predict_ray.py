# SPDX-License-Identifier: Apache-2.0
"""predict on a Ray cluster of two nodes: the bytes of a local run, also when a node or the driver is killed."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distilbert import predict_files, ray_connection
from distilbert.demo import MODEL
from distilbert.errors import BackendError
from distilbert.predict import on_ray as module
from distilbert.predict.job import make_job
from distilbert.predict.on_ray import Actor
from distilbert.predict.shards import Shard, cut
from distilbert.predict.workplace import Workplace
from distilbert.ray_connection import fit
from distilbert.tables import write_rows

from .ray_cluster import ENVIRONMENT, Cluster

TASK = "text-classification"
SHARD_ROWS = 300


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ray") / "in.csv"
    words = ("good", "bad", "long and dull", "never boring")
    texts = (f"film {number} is {words[number % 4]}" + " and so on" * (number % 9) for number in range(9000))
    rows = ({"id": str(number), "text": text} for number, text in enumerate(texts))
    write_rows(path, None, ({**row, "text": "long " * 600} if row["id"] == "77" else row for row in rows))
    return path


@pytest.fixture(scope="module")
def expected(source: Path) -> tuple[bytes, bytes]:
    """What a local run writes: results, and rows set aside."""
    done = finish(start(source, "local.jsonl"))
    assert "8,999 rows written" in done
    return written(source, "local.jsonl")


def written(source: Path, name: str) -> tuple[bytes, bytes]:
    assert not list(source.parent.glob(f"{name}.parts"))
    return source.with_name(name).read_bytes(), source.with_name(f"{name}.rejects.jsonl").read_bytes()


def start(source: Path, output: str, *options: str) -> subprocess.Popen[str]:
    """The command, in the folder of the files, which it is told relative names of."""
    command = [sys.executable, "-m", "distilbert", "predict", TASK, str(MODEL), source.name, "-o", output]
    command += ["--shard-rows", str(SHARD_ROWS), *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=source.parent
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """What a command that ends with this code says; nothing of that is Ray's."""
    out, said = process.communicate(timeout=100)
    assert (process.returncode, out) == (code, ""), said
    for word in ("Traceback", "raylet", "streaming_executor"):
        assert word not in said
    return said


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.01)


def parts(source: Path, name: str, kind: str = "part") -> int:
    return len(list((source.parent / f"{name}.parts").glob(f"{kind}-*")))


@pytest.mark.slow
def test_a_run_on_two_nodes_and_from_python(nodes: Cluster, source: Path, expected: tuple[bytes, bytes]) -> None:
    said = finish(start(source, "ray.jsonl", "--ray-address", nodes.address))
    assert "8,999 rows written to ray.jsonl" in said
    assert "1 row set aside" in said
    assert written(source, "ray.jsonl") == expected
    code = f"""if True:
        from distilbert import predict_files
        from distilbert.predict.run import Silence
        class Count(Silence):
            rows = 0
            def advance(self):
                self.rows += 1
        count = Count()
        found = predict_files({TASK!r}, {str(MODEL)!r}, "in.csv", "python.jsonl", shard_rows={SHARD_ROWS},
                              ray={nodes.address!r}, progress=count)
        if (found.rows, found.rejected, count.rows) != (9000, 1, 9000):
            raise SystemExit(str(found))
        """
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT, cwd=source.parent, timeout=100)
    assert written(source, "python.jsonl") == expected


@pytest.mark.slow
def test_what_is_begun_here_is_gone_on_with_there(nodes: Cluster, source: Path, expected: tuple[bytes, bytes]) -> None:
    there = ("--ray-address", nodes.address)
    for name, first, second in (("one.jsonl", (), there), ("two.jsonl", there, ())):
        process = start(source, name, *first)
        wait_for(lambda name=name: parts(source, name) >= 4)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert parts(source, name) < 30
        assert "of the input's were done before" in finish(start(source, name, *second))
        assert written(source, name) == expected


@pytest.mark.slow
def test_errors_are_one_message(nodes: Cluster, source: Path) -> None:
    there = ("--ray-address", nodes.address)
    said = finish(start(source, "x.jsonl", *there, "--dtype", "float3"), 1)
    assert said.startswith("error: dtype: expected one of float32, bfloat16, float16, int8 or auto; found 'float3'\n")
    assert said.endswith("on the Ray node 127.0.0.1\n")
    assert "error: Ray at 127.0.0.1:9: no connection" in finish(
        start(source, "x.jsonl", "--ray-address", "127.0.0.1:9"), 1
    )
    assert "Ray at nonsense: no connection" in finish(start(source, "x.jsonl", "--ray-address", "nonsense"), 1)
    assert "expected files, which all machines can read" in finish(start(source, "-", *there), 1)
    assert not list(source.parent.glob("x.*"))


@pytest.mark.slow
def test_a_node_is_killed(nodes: Cluster, source: Path, expected: tuple[bytes, bytes]) -> None:  # the last test here
    process = start(source, "killed.jsonl", "--ray-address", nodes.address)
    wait_for(lambda: parts(source, "killed.jsonl") >= 4 and parts(source, "killed.jsonl", "begun") == 2)
    nodes.kill_node()
    assert parts(source, "killed.jsonl") < 30
    assert "8,999 rows written" in finish(process)
    assert written(source, "killed.jsonl") == expected


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    source = tmp_path / "in.csv"
    write_rows(source, None, [{"text": "good"}])
    with pytest.raises(BackendError, match=r'on Ray needs ray\n  install:  pip install "distilbert\[ray\]"'):
        predict_files(TASK, MODEL, source, tmp_path / "out.csv", ray=True)
    assert not list(tmp_path.glob("out*"))


def test_actors_fit_the_nodes() -> None:
    assert fit(4, [16, 8, 6, 0]) == (4, 7)
    assert fit(4, [2, 3]) == (3, 1)
    assert fit(4, [0]) == (1, 1)
    assert fit(4, []) == (4, 1)


def test_what_an_actor_refuses(tmp_path: Path, monkeypatch: Any) -> None:
    node = SimpleNamespace(util=SimpleNamespace(get_node_ip_address=lambda: "10.0.0.1"))
    monkeypatch.setattr(ray_connection, "require_ray", lambda wanted_by, *parts: node)
    copying = SimpleNamespace(results=lambda file, rows, set_aside: (row.values for row in rows))
    monkeypatch.setattr(module, "Worker", lambda job: copying)
    monkeypatch.setenv("DISTILBERT_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "in.jsonl"
    write_rows(source, None, [{"text": str(number)} for number in range(4)])
    job = make_job(TASK, MODEL, [source], tmp_path / "out.jsonl", backend="pt", shard_rows=2)
    place = Workplace(job.output, job.output_format, job.schema)

    def ask(actor: Actor, shard: Shard) -> tuple[str, str]:
        answer = actor({name: [value] for name, value in {**dataclasses.asdict(shard), "file": str(source)}.items()})
        assert answer["rows"] == [2]
        return answer["kind"][0], answer["message"][0]

    with place.held(job.fingerprint(), overwrite=False):
        first, second = cut(job)
        actor = Actor(job, place, tmp_path, 1, "run")
        assert ask(actor, first) == ask(actor, first) == ("", "")
        assert place.done([first, second]) == [first]
        (place.folder / "begun-run-000001").write_bytes(b"....")
        died = ("BackendError", f"{source}: rows 2 to 3: the process that works on them has died 4 times (memory?)")
        assert ask(actor, second) == (died[0], f"{died[1]}\n  on the Ray node 10.0.0.1")
        assert ask(actor, first)[0] == "BackendError"  # it does nothing any more
        kind, message = ask(Actor(dataclasses.replace(job, prefix="x"), place, tmp_path, 1, "run"), second)
        assert (kind, "holds another run" in message, 'prefix: was "", is now "x"' in message) == (
            "FileError",
            True,
            True,
        )
        assert ask(Actor(job, place, tmp_path, 1, "another run"), second) == ("", "")
        assert place.done([first, second]) == [first, second]
