# SPDX-License-Identifier: Apache-2.0
"""Names and paths to checkpoint folders, against a hub on loopback (`hub_server.py`)."""

from __future__ import annotations

import errno
import io
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from distilbert import hub
from distilbert.checkpoint_files import shard_names, weights_names
from distilbert.errors import DistilBertError, FileError, HubError, WeightsError

from .hub_server import HubServer, Repository, point_at, running_hub

NAME = "org/tiny"
SMALL = {"config.json": b'{"dim": 8}', "vocab.txt": b"[PAD]\n", "tokenizer_config.json": b"{}"}
COMPLETE = {**SMALL, "model.safetensors": b"weights" * 100}


def sharded(index: str, *shards: str) -> dict[str, bytes]:
    """An index and its shards."""
    weight_map = {f"tensor{number}": shard for number, shard in enumerate(shards)}
    return {index: json.dumps({"weight_map": weight_map}).encode(), **{shard: shard.encode() for shard in shards}}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with one model."""
    with running_hub(tmp_path, monkeypatch) as running:
        running.repositories[NAME] = Repository(dict(COMPLETE))
        yield running


def failure(kind: type[DistilBertError], *args: object, **options: object) -> str:
    """The message of the one error that `resolve` raises, which must show no other error's traceback."""
    with pytest.raises(kind) as caught:
        hub.resolve(*args, **options)  # type: ignore[arg-type]
    shown = "".join(traceback.format_exception(caught.value))
    assert "During handling" not in shown
    assert "direct cause" not in shown
    return str(caught.value)


# What is fetched


def test_fetches_small_files_and_one_set_of_weights(server: HubServer) -> None:
    others = [
        "README.md",
        "modeling.py",
        "pytorch_model.bin",
        "tf_model.h5",
        "onnx/model.safetensors",
        "config.json.bak",
    ]
    server.repositories[NAME].files.update(dict.fromkeys(others, b"not wanted"))
    folder = hub.resolve(NAME)
    assert contents(folder) == COMPLETE
    assert len(server.downloads()) == len(COMPLETE)
    hub.resolve(NAME)
    assert len(server.downloads()) == len(COMPLETE), "what is in the cache is not fetched again"
    hub.resolve(NAME, force_download=True)
    assert len(server.downloads()) == 2 * len(COMPLETE)


@pytest.mark.parametrize("best", weights_names())
def test_takes_the_best_format_there_is(server: HubServer, best: str) -> None:
    names = weights_names()
    worse = dict.fromkeys(names[names.index(best) + 1 :], b"worse")
    stem, ending = best.split(".")[:2]
    shards = [f"{stem}-{number:05}-of-00002.{ending}" for number in (1, 2)]
    wanted = sharded(best, *shards) if best.endswith(".json") else {best: b"best"}
    server.repositories[NAME].files = {**SMALL, **worse, **wanted}
    assert contents(hub.resolve(NAME)) == {**SMALL, **wanted}


def test_weights_come_last(server: HubServer) -> None:
    hub.resolve(NAME)
    assert server.downloads()[-1].path.endswith("model.safetensors")


def test_without_weights(server: HubServer) -> None:
    assert contents(hub.resolve(NAME, weights=False)) == SMALL
    server.repositories[NAME].files = {"tokenizer.json": b"{}"}
    server.repositories[NAME].revisions = {"empty": {"README.md": b""}}
    assert "tokenizer.json" in contents(hub.resolve(NAME, weights=False))
    assert "no config.json" in failure(HubError, NAME, revision="empty", weights=False)


def test_variant(server: HubServer) -> None:
    single = {"model.fp16.safetensors": b"half"}
    server.repositories[NAME].files.update(single)
    server.repositories["org/shards"] = Repository(
        {**COMPLETE, **sharded("model.safetensors.index.fp16.json", "model.fp16-00001-of-00001.safetensors")}
    )
    assert contents(hub.resolve(NAME, variant="fp16")) == {**SMALL, **single}
    assert "model.fp16-00001-of-00001.safetensors" in contents(hub.resolve("org/shards", variant="fp16"))
    message = failure(HubError, NAME, variant="int8")
    assert "model.int8.safetensors" in message
    assert "found there: config.json, model.fp16.safetensors, model.safetensors" in message
    assert "variant '../x'" in failure(FileError, NAME, variant="../x")


def test_revision(server: HubServer) -> None:
    server.repositories[NAME].revisions = {"v1": {**COMPLETE, "model.safetensors": b"old"}, "refs/pr/2": COMPLETE}
    old = hub.resolve(f"{NAME}@v1")
    assert contents(old)["model.safetensors"] == b"old"
    assert hub.resolve(NAME, revision="v1") == old
    assert hub.resolve(f"{NAME}@v1", revision="v1") == old
    assert hub.resolve(NAME, revision="v1", local_files_only=True) == old
    assert hub.resolve(f"{NAME}@{server.repositories[NAME].at('v1')[0]}") == old  # type: ignore[index]
    assert contents(hub.resolve(f"{NAME}@refs/pr/2")) == COMPLETE
    assert contents(hub.resolve(NAME)) == COMPLETE
    assert "contradicts" in failure(HubError, f"{NAME}@v1", revision="main")
    assert f"{NAME}@v9: the repository has no such revision" in failure(HubError, f"{NAME}@v9")


def test_a_branch_that_moved_is_fetched_again(server: HubServer) -> None:
    first = hub.resolve(NAME)
    server.repositories[NAME].files["model.safetensors"] = b"newer"
    second = hub.resolve(NAME)
    assert contents(first) == COMPLETE
    assert contents(second) == {**COMPLETE, "model.safetensors": b"newer"}
    assert hub.resolve(NAME, local_files_only=True) == second


def test_name_without_organisation(server: HubServer) -> None:
    server.repositories["tiny"] = Repository(COMPLETE)
    assert contents(hub.resolve("tiny")) == COMPLETE


def test_subfolder(server: HubServer) -> None:
    server.repositories[NAME].files = {
        "README.md": b"",
        "a/b[1]/c": b"",
        **{f"a/b[1]/{k}": v for k, v in COMPLETE.items()},
    }
    for _ in "online", "again":
        assert contents(hub.resolve(NAME, subfolder="a/b[1]/")) == COMPLETE
    assert contents(hub.resolve(NAME, subfolder="a/b[1]", local_files_only=True)) == COMPLETE
    assert "has no config.json" in failure(HubError, NAME, subfolder="a")
    for outside in ("../x", "a/../../x", "/etc", "a\\b"):
        assert "stays inside" in failure(FileError, NAME, subfolder=outside)


def test_token(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.repositories[NAME].token = "hf_secret"
    assert "HF_TOKEN" in failure(HubError, NAME)
    message = failure(HubError, NAME, token="hf_wrong")
    assert "give a token that may read it" in message
    assert "hf_wrong" not in message
    assert contents(hub.resolve(NAME, token="hf_secret")) == COMPLETE
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.resolve(NAME, force_download=True)
    assert {request.headers["authorization"] for request in server.downloads()} == {"Bearer hf_secret"}
    assert "HF_TOKEN" in failure(HubError, NAME, token=False)
    assert contents(hub.resolve(NAME, token="hf_secret\n", force_download=True)) == COMPLETE
    message = failure(HubError, NAME, token="hf_secret\nmore")
    assert message.startswith("token: expected one word")
    assert "secret" not in message


def test_cache_dir(server: HubServer, tmp_path: Path) -> None:
    folder = hub.resolve(NAME, cache_dir=tmp_path / "mine")
    assert folder.is_relative_to(tmp_path / "mine")
    assert hub.resolve(NAME, cache_dir=tmp_path / "mine", local_files_only=True) == folder
    assert "mine2 lacks config.json" in failure(HubError, NAME, cache_dir=tmp_path / "mine2", local_files_only=True)


# Offline


@pytest.mark.parametrize("weights", ["model.safetensors", "tf_model.h5", "flax_model.msgpack.index.json"])
def test_offline_after_caching(server: HubServer, monkeypatch: pytest.MonkeyPatch, weights: str) -> None:
    index = sharded(weights, "flax_model-00001-of-00001.msgpack") if weights.endswith(".json") else {weights: b"x"}
    server.repositories[NAME].files = {**SMALL, **index}
    folder = hub.resolve(NAME)
    asked = len(server.requests)
    assert hub.resolve(NAME, local_files_only=True) == folder
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.resolve(NAME) == folder
    assert hub.resolve(NAME, weights=False) == folder
    assert len(server.requests) == asked
    assert "force_download" in failure(HubError, NAME, force_download=True)


def test_offline_with_a_cold_cache(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    message = failure(HubError, NAME, local_files_only=True)
    assert f"{NAME}@main: local_files_only=True" in message
    assert "lacks config.json and weights (model.safetensors, " in message
    assert "Ask for it once with the hub in reach" in message
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in failure(HubError, NAME)
    assert not server.requests


def test_offline_names_what_the_cache_lacks(server: HubServer) -> None:
    hub.resolve(NAME, weights=False)
    message = failure(HubError, NAME, local_files_only=True)
    assert "lacks weights (model.safetensors, " in message
    server.repositories[NAME].files = {
        **SMALL,
        **sharded("model.safetensors.index.json", "a.safetensors", "b.safetensors"),
    }
    hub.resolve(NAME, cache_dir=constants.HF_HUB_CACHE).joinpath("b.safetensors").resolve().unlink()
    message = failure(HubError, NAME, local_files_only=True)
    assert "lacks b.safetensors. " in message


def test_outage_falls_back_on_the_cache(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hub.resolve(NAME)
    server.repositories[NAME].status = 503
    with pytest.warns(UserWarning, match="HTTP status 503.*using the copy in the cache"):
        assert hub.resolve(NAME) == folder
    assert "503" in failure(HubError, NAME, force_download=True)
    point_at(f"http://127.0.0.1:{free_port()}", monkeypatch)
    with pytest.warns(UserWarning, match="cannot be reached"):
        assert hub.resolve(NAME) == folder


# Broken downloads


def test_broken_download_resumes(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    content = os.urandom(10_000)
    repository = server.repositories[NAME]
    repository.files["model.safetensors"] = content
    repository.cut, repository.cuts_left = {"model.safetensors": 4321}, 1
    folder = hub.resolve(NAME)
    assert (folder / "model.safetensors").read_bytes() == content
    first, second = server.downloads("model.safetensors")
    assert "range" not in first.headers
    start = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 4321


def test_download_that_keeps_breaking_goes_on_in_the_next_call(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    content = os.urandom(10_000)
    repository = server.repositories[NAME]
    repository.files["model.safetensors"] = content
    repository.cut, repository.cuts_left = {"model.safetensors": 0}, 100
    assert "broke off 3 times" in failure(HubError, NAME)
    assert "lacks weights" in failure(HubError, NAME, local_files_only=True)
    repository.cut, repository.cuts_left = {"model.safetensors": 4321}, 1
    assert (hub.resolve(NAME) / "model.safetensors").read_bytes() == content


def test_wrong_size(server: HubServer) -> None:
    server.repositories[NAME].wrong_size = {"model.safetensors": 999}
    message = failure(HubError, NAME)
    assert "size 999" in message
    assert "700" in message
    assert "model.safetensors" in message
    assert "lacks weights" in failure(HubError, NAME, local_files_only=True)


# Errors


def test_no_such_repository(server: HubServer) -> None:
    message = failure(HubError, "org/typo")
    assert "org/typo@main" in message
    assert "no such repository, and no local file or folder has this name" in message
    assert "token" in message


def test_gated_repository(server: HubServer) -> None:
    server.repositories[NAME].gated = True
    message = failure(HubError, NAME)
    assert "gated" in message
    assert "token" in message


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_refusal(server: HubServer, status: int) -> None:
    server.repositories[NAME].status = status
    message = failure(HubError, NAME)
    assert message.startswith(f"{NAME}@main: the hub at {server.url} ")
    assert f"HTTP status {status}" in message or (status == 401 and "no such repository" in message)


def test_connection_refused(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    point_at(url, monkeypatch)
    message = failure(HubError, NAME)
    assert f"the hub at {url} cannot be reached" in message
    assert "lacks config.json and weights" in message


def test_timeout(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_at(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
        assert "did not answer in time" in failure(HubError, NAME)


def test_not_a_hub(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "dumps", lambda _: "<html>log in to this network</html>")
    assert "JSON" in failure(HubError, NAME)


def test_disk_full(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/blob")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    assert "the disk is full; free some space" in failure(HubError, NAME)


def test_cache_that_cannot_be_written(server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    message = failure(HubError, NAME, cache_dir=tmp_path / "file")
    assert f"{tmp_path}/file" in message


def test_no_weights_lists_what_is_there(server: HubServer) -> None:
    server.repositories[NAME].files = {"config.json": b"{}", "model.gguf": b"", "onnx/model.onnx": b""}
    message = failure(HubError, NAME)
    assert "has no weights (model.safetensors, model.safetensors.index.json, pytorch_model.bin, " in message
    assert "found there: config.json, model.gguf, onnx/model.onnx" in message
    assert not server.downloads()


def test_no_config(server: HubServer) -> None:
    server.repositories[NAME].files = {"model.safetensors": b""}
    assert "has no config.json; found there: model.safetensors" in failure(HubError, NAME)
    server.repositories[NAME].files = {}
    assert "has no config.json and no weights" in failure(HubError, NAME)


def test_shard_that_is_not_there(server: HubServer) -> None:
    files = {**SMALL, **sharded("model.safetensors.index.json", "a.safetensors", "b.safetensors")}
    del files["b.safetensors"]
    server.repositories[NAME].files = files
    assert "incomplete, the hub did not give b.safetensors" in failure(HubError, NAME)


@pytest.mark.parametrize(
    "shard",
    [
        "../a.safetensors",
        "/a.safetensors",
        "x/a.safetensors",
        "..",
        "",
        "*.safetensors",
        ".a.safetensors",
        "setup.py",
        7,
    ],
)
def test_hostile_index(server: HubServer, shard: object) -> None:
    index = json.dumps({"weight_map": {"embedding": shard}}).encode()
    server.repositories[NAME].files = {
        **SMALL,
        "model.safetensors.index.json": index,
        "setup.py": b"",
        "a.safetensors": b"",
    }
    message = failure(WeightsError, NAME)
    assert "model.safetensors.index.json: weight_map: 'embedding': expected the plain name of a file" in message
    assert f"found {shard!r}" in message
    assert len(server.downloads()) == len(SMALL) + 1


def test_index_without_a_list(tmp_path: Path) -> None:
    index = tmp_path / "pytorch_model.bin.index.json"
    for text in ("{}", '{"weight_map": {}}', '{"weight_map": ["a.bin"]}'):
        index.write_text(text)
        with pytest.raises(WeightsError, match="weight_map: expected an object from tensor to file"):
            shard_names(index)


def test_transformers_cache_is_ignored(server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFORMERS_CACHE", str(tmp_path / "legacy"))
    with pytest.warns(UserWarning, match="TRANSFORMERS_CACHE is ignored; set HF_HUB_CACHE"):
        hub.resolve(NAME)
    assert not (tmp_path / "legacy").exists()


# Local paths and names


def test_local_paths_are_used_as_they_are(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "org" / "tiny"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x")
    assert hub.resolve(NAME) == Path(NAME), "what exists locally wins"
    assert hub.resolve("~/org") == tmp_path / "org"
    assert hub.resolve(folder) == folder
    assert hub.resolve(NAME, subfolder="sub") == Path(NAME, "sub")
    assert hub.resolve("org/tiny/model.safetensors") == Path("org/tiny/model.safetensors")
    assert not server.requests
    assert "no such folder" in failure(FileError, NAME, subfolder="other")
    assert "no such folder" in failure(FileError, f"{NAME}/model.safetensors", subfolder="sub")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "found a pipe" in failure(FileError, tmp_path / "pipe")


@pytest.mark.parametrize("text", ["./org/tiny", "../tiny", "/no/such", "~/no/such", "a/b/c", "a\\b", "~nobody-here/x"])
def test_missing_local_path(server: HubServer, text: str) -> None:
    assert failure(FileError, text).endswith("no such file or folder")
    assert not server.requests


def test_a_path_is_never_a_name(server: HubServer) -> None:
    assert failure(FileError, Path(NAME)) == f"{NAME}: no such file or folder"
    assert not server.requests


@pytest.mark.parametrize(
    "text", ["", "a b", "org/", "/", "@main", "org/-x", "x..y", "a--b", "x" * 97, "a\0b", "x.git", "é"]
)
def test_malformed_name(server: HubServer, text: str) -> None:
    if text == "/":
        assert hub.resolve(text) == Path("/")
    else:
        assert "'org/name@revision'" in failure(HubError, text)
    assert not server.requests


@pytest.mark.parametrize("revision", ["", "../../x", "/x", "a b", "-x", "a\\b", "a\n"])
def test_malformed_revision(server: HubServer, revision: str) -> None:
    assert "expected a branch, a tag or a commit" in failure(HubError, f"{NAME}@{revision}")
    assert not server.requests


# In a process of its own


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these environment variables and none of those that steer the hub library."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_", "HUGGING"))
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_environment_is_honoured(server: HubServer, tmp_path: Path) -> None:
    server.repositories[NAME].token = "hf_secret"
    code = f"from distilbert import hub; print(hub.resolve({NAME!r}))"
    home = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
    fetched = run(code, **home, HF_TOKEN="hf_secret")
    assert fetched.returncode == 0, fetched.stderr
    assert fetched.stderr == "", "progress bars are for terminals"
    assert contents(Path(fetched.stdout.strip())) == COMPLETE
    assert Path(fetched.stdout).is_relative_to(tmp_path / "home" / "hub")
    asked = len(server.requests)
    offline = run(code, **home, TRANSFORMERS_OFFLINE="1")
    assert offline.stdout == fetched.stdout, offline.stderr
    cold = run(code, HF_ENDPOINT=server.url, HF_HUB_CACHE=str(tmp_path / "cold"), HF_HUB_OFFLINE="1")
    assert "HubError: org/tiny@main: HF_HUB_OFFLINE" in cold.stderr
    assert len(server.requests) == asked


def test_importing_does_not_import_the_hub_library() -> None:
    found = run("import sys, distilbert.hub; print('huggingface_hub' in sys.modules)")
    assert found.stdout == "False\n", found.stderr


def test_progress_bar_only_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream in (Terminal(), io.StringIO()):
        list(hub._terminal_bar()(range(3), file=stream))
        assert ("3/3" in stream.getvalue()) == stream.isatty()


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return int(closed.getsockname()[1])
