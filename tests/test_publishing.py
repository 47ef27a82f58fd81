# SPDX-License-Identifier: Apache-2.0
"""Folders, models and tokenizers on their way to a hub on loopback, and what it may say to them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants

from distilbert import DistilBertConfig, DistilBertTokenizer, backend, convert_checkpoint, hub, push_to_hub
from distilbert.convert import open_checkpoint
from distilbert.convert.arrays import same_bits
from distilbert.errors import FileError, HubError
from distilbert.files import write_text

from .hub_server import HubServer, Repository, point_at, running_hub
from .samples import TINY, task_config, write_model
from .test_hub import contents

NAME = "org/new"
VOCABULARY = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfilm\n"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr("distilbert.files._sync", lambda path: None)
    with running_hub(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    write_model(path, TINY, "encoder")
    (path / "vocab.txt").write_text(VOCABULARY)
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text("{}")
    return path


def writes(server: HubServer) -> list[str]:
    """What was sent, without what only asks."""
    return [f"{one.method} {one.path}" for one in server.requests if one.method in ("POST", "PUT")]


def refusal(kind: type[Exception], *arguments: Any, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        push_to_hub(*arguments, **options)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_a_folder_arrives_whole(server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".secret").write_text("mine")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("mine")
    info = push_to_hub(folder, NAME, token=server.writer, commit_message="First")
    assert info.commit_message == "First"
    assert info.commit_url.startswith(f"{server.url}/{NAME}/commit/")
    expected = {name: content for name, content in contents(folder).items() if not name.startswith(".")}
    assert server.repositories[NAME].files == expected
    assert not server.repositories[NAME].private
    assert contents(hub.resolve(NAME)) == expected
    monkeypatch.setenv("HF_TOKEN", server.writer)
    push_to_hub(folder, NAME)
    uploads = [line for line in writes(server) if line.startswith("PUT")]
    assert len(uploads) == 1, "a large file that the hub has is not sent again"


def test_no_progress_bars_where_there_is_no_terminal(
    server: HubServer, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    push_to_hub(folder, NAME, token=server.writer)
    assert capfd.readouterr() == ("", "")


def test_branches(server: HubServer, folder: Path) -> None:
    push_to_hub(folder, f"{NAME}@v1", token=server.writer)
    assert server.repositories[NAME].files == {}
    assert server.repositories[NAME].revisions["v1"].keys() == contents(folder).keys()
    write_text(folder / "README.md", "more")
    push_to_hub(folder, NAME, revision="v1", token=server.writer)
    assert server.repositories[NAME].revisions["v1"]["README.md"] == b"more"
    assert hub.resolve(f"{NAME}@v1").is_dir()
    assert "contradicts revision='v2'" in refusal(HubError, folder, f"{NAME}@v1", revision="v2", token=server.writer)


def test_what_would_contradict_the_new_files_goes(server: HubServer, folder: Path) -> None:
    stale = ("model.safetensors.index.json", "model-00001-of-00002.safetensors", "added_tokens.json")
    kept = (
        "tf_model.h5",
        "onnx/model.safetensors",
        "model.fp16.safetensors",
        "pytorch_model-00001-of-00002.bin",
        "notes",
    )
    server.repositories[NAME] = Repository(dict.fromkeys((*stale, *kept), b"old"))
    push_to_hub(folder, NAME, token=server.writer)
    assert server.repositories[NAME].files.keys() == contents(folder).keys() | set(kept)


def test_a_name_without_organisation_is_the_users(server: HubServer, folder: Path) -> None:
    push_to_hub(folder, "new", token=server.writer)
    push_to_hub(folder, "new@v1", token=server.writer)
    assert server.repositories.keys() == {"user/new"}
    assert server.repositories["user/new"].files.keys() == contents(folder).keys()


@pytest.mark.parametrize("old", ["model.safetensors", "model.safetensors.index.json"])
@pytest.mark.parametrize("format", ["flax", "keras-hub"])
def test_weights_that_readers_would_not_take_are_refused(
    server: HubServer, tmp_path: Path, old: str, format: str
) -> None:
    write_model(tmp_path / "new", TINY, "encoder", format=format)
    server.repositories[NAME] = Repository({old: b"old"})
    message = refusal(HubError, tmp_path / "new", NAME, token=server.writer)
    assert message.startswith(f"{NAME}@main: has {old}, which readers take before")
    assert server.repositories[NAME].files == {old: b"old"}
    server.repositories[NAME] = Repository({"pytorch_model.bin": b"old", "flax_model.msgpack": b"old"})
    write_model(tmp_path / "tf", TINY, "encoder", format="tensorflow")
    assert "has pytorch_model.bin" in refusal(HubError, tmp_path / "tf", NAME, token=server.writer)


def test_a_preset_of_another_task_goes(server: HubServer, tmp_path: Path) -> None:
    write_model(tmp_path / "preset", TINY, "encoder", format="keras-hub")
    stale = ("task.json", "task.weights.h5", "preprocessor.json")
    server.repositories[NAME] = Repository(dict.fromkeys((*stale, "tokenizer.json"), b"old"))
    push_to_hub(tmp_path / "preset", NAME, token=server.writer)
    assert server.repositories[NAME].files.keys() == contents(tmp_path / "preset").keys() | {"tokenizer.json"}


@pytest.mark.parametrize("format", ["keras-hub", "orbax"])
def test_what_has_no_usual_weights_comes_back_whole(server: HubServer, tmp_path: Path, format: str) -> None:
    if format == "orbax":
        pytest.importorskip("orbax.checkpoint")
    tensors = write_model(tmp_path / "model", TINY, "encoder", format=format)
    push_to_hub(tmp_path / "model", NAME, token=server.writer)
    folder = hub.resolve(NAME)
    assert contents(folder) == contents(tmp_path / "model")
    found = open_checkpoint(folder).fit(TINY, "encoder").tensors
    assert all(np.array_equal(found[name].load(), values) for name, values in tensors.items())
    last = server.downloads()[-1].path.rpartition("/")[2]
    assert last == {"keras-hub": "model.weights.h5", "orbax": "_METADATA"}[format], "which says that all else is there"
    assert hub.resolve(NAME, local_files_only=True) == folder
    next(folder.rglob(last)).unlink()
    with pytest.raises(HubError, match="lacks weights"):
        hub.resolve(NAME, local_files_only=True)
    with pytest.raises(HubError, match=r"has no weights \(model.fp16.safetensors"):
        hub.resolve(NAME, variant="fp16")


def test_config_and_tokenizer_of_a_preset(server: HubServer, tmp_path: Path) -> None:
    write_model(tmp_path / "source", task_config(TINY, "encoder"), "encoder")
    words = [f"word{number}" for number in range(TINY.vocab_size - 5)]
    (tmp_path / "source" / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    convert_checkpoint(tmp_path / "source", tmp_path / "preset", to="keras-hub")
    for name in ("org/tokenizer", "org/config"):
        push_to_hub(tmp_path / "preset", name, token=server.writer)
    assert DistilBertTokenizer.from_pretrained("org/tokenizer")("word3")["input_ids"] == [2, 8, 3]
    assert DistilBertConfig.from_pretrained("org/config").dim == TINY.dim


@pytest.mark.parametrize(
    "files",
    [
        {"a/b/_METADATA": b"{}", "a/b/x": b"x"},
        {"below/export.json": b"{}", "below/model.onnx": b"x"},
        {"export.json": b'{"format": "torch-export"}', "model.pt2": b"code"},
        {"export.json": b'{"format": "saved-model"}', "saved_model/saved_model.pb": b"code"},
    ],
)
def test_what_is_no_checkpoint_or_may_hold_code_is_not_fetched(server: HubServer, files: dict[str, bytes]) -> None:
    server.repositories[NAME] = Repository({"config.json": b"{}", **files})
    with pytest.raises(HubError, match="has no weights"):
        hub.resolve(NAME)
    assert not server.downloads()


def test_an_older_export_goes(server: HubServer, tmp_path: Path) -> None:
    server.repositories[NAME] = Repository({"export.json": b"{}", "model.onnx": b"old", "README.md": b"old"})
    write_model(tmp_path / "preset", TINY, "encoder", format="keras-hub")
    push_to_hub(tmp_path / "preset", NAME, token=server.writer)
    assert "export.json" not in server.repositories[NAME].files
    write_model(tmp_path / "export", TINY, "encoder")
    (tmp_path / "export" / "model.safetensors").unlink()
    for name in ("export.json", "model.tflite"):
        (tmp_path / "export" / name).write_text("{}")
    push_to_hub(tmp_path / "export", NAME, token=server.writer)
    assert "model.onnx" not in server.repositories[NAME].files
    assert {"export.json", "model.tflite"} <= contents(hub.resolve(NAME)).keys()


def test_a_private_repository(server: HubServer, folder: Path) -> None:
    push_to_hub(folder, NAME, private=True, token=server.writer)
    assert server.repositories[NAME].private
    server.repositories["org/public"] = Repository({})
    message = refusal(HubError, folder, "org/public", private=True, token=server.writer)
    assert message == "org/public: exists and is public, but private=True was asked for; nothing was sent"
    assert server.repositories["org/public"].files == {}


@pytest.mark.parametrize("name", backend.BACKENDS)
def test_a_model(server: HubServer, name: str) -> None:
    if backend.BACKENDS[name].missing:
        pytest.skip(f"{backend.BACKENDS[name].title} is not installed")
    models = importlib.import_module(f"distilbert.{name}")
    model = models.DistilBertModel(TINY)
    info = model.push_to_hub(NAME, token=server.writer, max_shard_size="20KB")
    assert info.commit_message == f"Upload {type(model).__name__}"
    assert "model.safetensors.index.json" in server.repositories[NAME].files
    found, expected = models.DistilBertModel.from_pretrained(NAME).dump_tensors(), model.dump_tensors()
    assert found.keys() == expected.keys()
    assert all(same_bits(values, expected[tensor]) for tensor, values in found.items())


def test_a_tokenizer(server: HubServer, folder: Path) -> None:
    DistilBertTokenizer.from_pretrained(folder).push_to_hub(NAME, token=server.writer, commit_message="Words")
    assert server.repositories[NAME].files.keys() == {
        "vocab.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    }
    assert DistilBertTokenizer.from_pretrained(NAME)("film")["input_ids"] == [2, 5, 3]


# What is refused before anything is sent


def test_no_token(server: HubServer, folder: Path) -> None:
    message = refusal(HubError, folder, NAME)
    assert message.startswith(
        f"{NAME}: uploading needs an access token, and there is none; give a token that may write"
    )
    assert not server.requests


def test_offline(server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "while HF_HUB_OFFLINE=1 is set" in refusal(HubError, folder, NAME, token=server.writer)


@pytest.mark.parametrize("token", ["hf_secret\nX-Header: 1", "hf_secret 2", "hf_secret€"])
def test_a_token_that_is_none_is_not_shown(server: HubServer, folder: Path, token: str) -> None:
    message = refusal(HubError, folder, NAME, token=token)
    assert message.startswith("token: expected one word")
    assert "secret" not in message
    assert not server.requests


def test_space_around_a_token(server: HubServer, folder: Path) -> None:
    push_to_hub(folder, NAME, token=f" {server.writer}\n")
    assert server.repositories[NAME].files


@pytest.mark.parametrize("name", ["a/b/c", "", "org/na me", "org/name@"])
def test_malformed_names(server: HubServer, folder: Path, name: str) -> None:
    assert "expected" in refusal(HubError, folder, name, token=server.writer)
    assert "expected a branch" in refusal(HubError, folder, NAME, revision="../x", token=server.writer)
    assert not server.requests


def test_folders_that_are_no_checkpoint(server: HubServer, folder: Path, tmp_path: Path) -> None:
    assert "no such folder" in refusal(FileError, tmp_path / "none", NAME, token=server.writer)
    assert "it has no config.json" in refusal(FileError, tmp_path, NAME, token=server.writer)
    TINY.save_pretrained(tmp_path / "config")
    assert "it has no weights" in refusal(FileError, tmp_path / "config", NAME, token=server.writer)
    write_model(tmp_path / "shards", TINY, "encoder", max_shard_size="20KB")
    lost = next((tmp_path / "shards").glob("model-00002-of-*.safetensors"))
    lost.unlink()
    assert f"it has no {lost.name}" in refusal(FileError, tmp_path / "shards", NAME, token=server.writer)
    (folder / "config.json").unlink()
    assert "it has no config.json" in refusal(FileError, folder, NAME, token=server.writer)
    assert not server.requests


# What the hub may say


def test_a_token_that_may_not_write(server: HubServer, folder: Path) -> None:
    message = refusal(HubError, folder, NAME, token="hf_reader")
    assert message.startswith(f"{NAME}@main: not uploaded: the hub at {server.url} does not let this token write there")
    assert "hf_reader" not in message
    assert not server.repositories


def test_a_card_that_the_hub_refuses(server: HubServer, folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: unheard-of\n---\n")
    message = refusal(HubError, folder, NAME, token=server.writer)
    assert message.endswith("not uploaded: Invalid metadata in README.md. - licence unheard of")
    assert server.repositories[NAME].files == {}


def test_a_hub_in_trouble(server: HubServer, folder: Path) -> None:
    server.repositories[NAME] = Repository({}, status=507)
    message = refusal(HubError, folder, NAME, token=server.writer)
    assert message.endswith("answered with HTTP status 507; try again later")
    server.repositories[NAME] = Repository({}, refusal="the disk\nis full")
    message = refusal(HubError, folder, NAME, token=server.writer)
    assert message.startswith(f"{NAME}@main: not uploaded: the hub at {server.url} refuses it")
    assert message.endswith("(HTTP status 413): the disk is full")


def test_no_hub(server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://127.0.0.1:9", monkeypatch)
    assert "cannot be reached" in refusal(HubError, folder, NAME, token=server.writer)
