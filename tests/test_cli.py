# SPDX-License-Identifier: Apache-2.0
"""The commands, in this process: what they print, what they write, and how they end on bad input."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from distilbert import backend, spec
from distilbert.cli import app
from distilbert.cli.convert import Format
from distilbert.cli.failures import reported
from distilbert.convert import StoredTensor, open_checkpoint, write_checkpoint
from distilbert.convert.arrays import same_bits
from distilbert.convert.formats import ALL_FORMATS, FORMATS
from distilbert.errors import WeightsError

from .samples import TINY, random_tensors

TASK = "sequence-classification"

COMMANDS = (
    "convert",
    "inspect",
    "verify",
    "migrate",
    "rescue",
    "finetune",
    "tune",
    "distill",
    "prune",
    "export",
    "quantize",
    "predict",
    "serve",
    "bench",
    "demo",
    "env",
)


def invoke(*arguments: object, code: int = 0):
    """The result of a command that is expected to end with `code`, and never with a traceback."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def write(folder: Path, task: str = TASK, to: str = "safetensors", config=TINY, **changes: np.ndarray) -> Path:
    """A tiny checkpoint, some of its tensors replaced."""
    tensors = random_tensors(config, task) | changes
    stored = {name: StoredTensor.of(name, values) for name, values in tensors.items()}
    write_checkpoint(folder, config, task, stored, format=to)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", encoding="utf-8")
    return folder


def spoil(folder: Path, **fields: object) -> Path:
    """The same folder with other values in its config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return folder


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return write(tmp_path / "source")


def test_version():
    from distilbert import __version__

    assert invoke("--version").stdout == f"distilbert {__version__}\n"


def test_every_command_has_help():
    names = [command.callback.__name__ for command in app.registered_commands]
    assert tuple(names) == COMMANDS
    for name in names:
        assert "Usage: " in invoke(name, "--help").stdout


# convert


def test_format_names_are_those_of_the_library():
    assert list(Format) == list(ALL_FORMATS)


@pytest.mark.parametrize("to", FORMATS)
def test_convert(checkpoint, tmp_path, to):
    result = invoke("convert", checkpoint, tmp_path / "new" / "target", "--to", to)
    assert "every bit equal" in result.stdout
    assert not result.stderr
    source, written = open_checkpoint(checkpoint), open_checkpoint(tmp_path / "new" / "target")
    assert written.format.name == to
    assert source.tensors.keys() == written.tensors.keys()
    assert all(same_bits(source.tensors[name].load(), written.tensors[name].load()) for name in source.tensors)
    assert (tmp_path / "new" / "target" / "vocab.txt").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["target"]


def test_convert_prints_paths_whole_where_there_is_no_terminal(tmp_path):
    source = write(tmp_path / ("long" * 40))
    assert str(source / "model.safetensors") in invoke("convert", source, tmp_path / "target").stdout


def test_convert_json(checkpoint, tmp_path):
    found = json.loads(invoke("convert", checkpoint, tmp_path / "target", "--to", "flax", "--json").stdout)
    assert found.pop("seconds") < 60
    assert found == {
        "source": str(checkpoint / "model.safetensors"),
        "source_format": "safetensors",
        "source_dialect": "pt",
        "folded_bert": False,
        "task": TASK,
        "target": str(tmp_path / "target"),
        "format": "flax",
        "files": ["config.json", "flax_model.msgpack", "vocab.txt"],
        "tensors": len(spec.tensors(TINY, TASK)),
        "bytes": sum(values.nbytes for values in random_tensors(TINY, TASK).values()),
        "verified": True,
        "not_finite": [],
    }


def test_convert_to_another_task_and_in_shards(checkpoint, tmp_path):
    result = invoke(
        "convert", checkpoint, tmp_path / "target", "--task", "feature-extraction", "--max-shard-size", "20KB", "--json"
    )
    found = json.loads(result.stdout)
    assert found["task"] == "encoder"
    assert "model.safetensors.index.json" in found["files"]
    assert len(found["files"]) > 4


def test_convert_says_once_that_values_are_not_finite(tmp_path):
    source = write(tmp_path / "source", **{"classifier.bias": np.array([0, np.nan, np.inf], np.float32)})
    result = invoke("convert", source, tmp_path / "target", "--to", "pytorch")
    assert result.stderr.count("warning:") == 1
    assert "NaN or infinity in 1 tensor" in result.stderr
    assert "classifier.bias" in result.stderr


# inspect


def test_inspect(checkpoint):
    stdout = invoke("inspect", checkpoint).stdout
    parameters = sum(values.size for values in random_tensors(TINY, TASK).values())
    for fact in (str(checkpoint), "safetensors, PyTorch names, 1 file", "DistilBertForSequenceClassification"):
        assert fact in stdout
    for fact in (f"{parameters:,} parameters, float32", "2 layers, 4 heads, dim 32", "3: LABEL_0", "vocab.txt"):
        assert fact in stdout


def test_inspect_json(checkpoint):
    found = json.loads(invoke("inspect", spoil(checkpoint, flavour="mint"), "--json", "--tensors").stdout)
    assert found["format"] == "safetensors"
    assert found["dialect"] == "pt"
    assert found["task"] == TASK
    assert found["dtypes"] == {"float32": found["tensors"]}
    assert found["unknown_fields"] == ["flavour"]
    assert found["config"]["flavour"] == "mint"
    assert found["not_finite"] is None
    assert found["problems"] == []
    expected = {(one.name, one.shape) for one in spec.tensors(TINY, TASK).values()}
    assert {(one["name"], tuple(one["shape"])) for one in found["tensor_list"]} == expected


def test_inspect_lists_tensors(checkpoint):
    stdout = invoke("inspect", checkpoint, "--tensors").stdout
    assert "distilbert.embeddings.word_embeddings.weight" in stdout
    assert "[99, 32]" in stdout


def test_inspect_reads_no_values(checkpoint, monkeypatch):
    def load(*arguments):
        pytest.fail("a value was read")

    monkeypatch.setattr("distilbert.convert.safetensors_file.load_array", load)
    invoke("inspect", checkpoint, "--tensors")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"n_layers": 1}, "unexpected 16: distilbert.transformer.layer.1."),
        ({"n_layers": 3}, "missing 16: distilbert.transformer.layer.2."),
        ({"vocab_size": 98}, "shape 1: distilbert.embeddings.word_embeddings.weight"),
    ],
)
def test_inspect_lists_problems(checkpoint, fields, problem):
    result = invoke("inspect", spoil(checkpoint, **fields), code=1)
    assert problem in result.stderr
    assert "2 layers" in result.stdout or "n_layers" in fields
    listed = json.loads(invoke("inspect", checkpoint, "--json", code=1).stdout)["problems"]
    assert any(line.startswith(problem) for line in listed)


def test_inspect_looks_at_the_tokenizer(checkpoint):
    words = [f"word{i}" for i in range(TINY.vocab_size)]
    (checkpoint / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    result = invoke("inspect", checkpoint, code=1)
    assert result.stderr.startswith("problem: tokenizer ")
    assert "99" in result.stderr


def test_inspect_checks_values(tmp_path):
    source = write(tmp_path / "source", **{"classifier.bias": np.array([0, np.nan, 0], np.float32)})
    assert invoke("inspect", source).exit_code == 0
    result = invoke("inspect", source, "--check-values", code=1)
    assert "NaN or infinity 1: classifier.bias" in result.stderr
    sound = write(tmp_path / "sound")
    assert json.loads(invoke("inspect", sound, "--check-values", "--json").stdout)["not_finite"] == []


def test_inspect_says_how_the_projector_is_stored(tmp_path):
    words = spec.PREFIX + spec.WORD_EMBEDDINGS
    untied = TINY.replace(tie_word_embeddings=False)
    same = random_tensors(untied, "masked-lm")[words]

    def projector(folder: Path, *options: str) -> tuple[str, str]:
        result = invoke("inspect", folder, "--json", *options)
        return json.loads(result.stdout)["projector"], result.stderr

    tied = write(tmp_path / "tied", "masked-lm")
    own = write(tmp_path / "own", "masked-lm", config=untied)
    twice = spoil(
        write(tmp_path / "twice", "masked-lm", config=untied, **{spec.PROJECTOR: same}), tie_word_embeddings=True
    )
    assert projector(tied) == ("tied to the word embeddings", "")
    assert projector(own) == ("a matrix of its own (untied)", "")
    assert projector(twice)[0].startswith("tied, yet stored too")
    assert projector(twice, "--check-values") == ("tied to the word embeddings", "")
    different, warned = projector(spoil(own, tie_word_embeddings=True), "--check-values")
    assert different == "a matrix of its own (untied)"
    assert warned.count("warning:") == 1


# env


def test_env(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@hub.example")
    monkeypatch.setenv("DISTILBERT_BACKEND", "flax")
    for arguments in (("env",), ("env", "--json")):
        stdout = invoke(*arguments).stdout
        assert "secret" not in stdout
        assert "hub.example" in stdout
    found = json.loads(stdout)
    assert found["backend"] == "flax"
    assert found["packages"]["numpy"] == np.__version__
    assert found["variables"]["HF_TOKEN"] == "(set, hidden)"
    assert found["cpus"] == os.cpu_count()


def test_env_without_a_framework(monkeypatch):
    monkeypatch.delenv("DISTILBERT_BACKEND", raising=False)
    monkeypatch.setattr(backend, "installed", list)
    assert "no framework is installed" in invoke("env").stdout


# Bad input: one message, an exit code, and nothing left behind.


def damage_missing(folder: Path) -> None:
    shutil.rmtree(folder)


def damage_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def damage_truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def damage_nonsense(folder: Path) -> None:
    spoil(folder, n_layers=-1, dropout="much")


def damage_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


BAD_SOURCES = [
    (damage_missing, "source: no such file or folder"),
    (damage_no_config, "config.json: missing"),
    (damage_truncated, "model.safetensors"),
    (damage_nonsense, "2 problems"),
    (damage_no_weights, "source: no weights"),
]


@pytest.mark.parametrize("command", ["convert", "inspect"])
@pytest.mark.parametrize(("damage", "message"), BAD_SOURCES)
def test_bad_source(checkpoint, tmp_path, command, damage, message):
    damage(checkpoint)
    before = sorted(tmp_path.rglob("*"))
    target = [tmp_path / "target", "--to", "flax"] if command == "convert" else []
    result = invoke(command, checkpoint, *target, code=1)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("error:") == 1
    assert message in result.stderr
    assert str(checkpoint) in result.stderr
    assert not result.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_target_must_be_new_or_empty(checkpoint, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "diary.txt").write_text("mine")
    assert f"{full}: is not empty" in invoke("convert", checkpoint, full, code=1).stderr
    assert [path.name for path in full.iterdir()] == ["diary.txt"]
    assert f"{full / 'diary.txt'}: is in the way" in invoke("convert", checkpoint, full / "diary.txt", code=1).stderr
    assert (full / "diary.txt").read_text() == "mine"
    assert "is not empty" in invoke("convert", checkpoint, checkpoint, code=1).stderr
    assert "is not empty" in invoke("convert", "organisation/to-be-downloaded", full, code=1).stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    invoke("convert", checkpoint, empty)


def test_unwritable_target(checkpoint, tmp_path, monkeypatch):
    def refuse(*arguments, dir, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    result = invoke("convert", checkpoint, tmp_path / "target", code=1)
    assert result.stderr.count("\n") == 1
    assert "Permission denied" in result.stderr
    assert str(tmp_path) in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_target_below_a_file(checkpoint, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = invoke("convert", checkpoint, tmp_path / "file" / "target", code=1)
    assert str(tmp_path / "file") in result.stderr


def test_full_disk(checkpoint, tmp_path, monkeypatch):
    def write_nothing(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("distilbert.convert.flax_msgpack.write", write_nothing)
    result = invoke("convert", checkpoint, tmp_path / "target", "--to", "flax", code=1)
    assert "No space left on device" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "onnx"], "onnx"),
        (["--task", "translation"], "translation"),
        (["--max-shard-size", "huge"], "huge"),
        (["--too", "flax"], "--too"),
    ],
)
def test_wrong_usage(checkpoint, tmp_path, options, message):
    result = invoke("convert", checkpoint, tmp_path / "target", *options, code=2)
    assert message in result.stderr
    assert not (tmp_path / "target").exists()


def test_unknown_command_and_missing_argument():
    assert "translate" in invoke("translate", code=2).stderr
    assert "SRC" in invoke("inspect", code=2).stderr


# How any command ends.


def run(command):
    """The result of a command that does as `command` does."""
    made = typer.Typer()
    made.command()(reported(command))
    return CliRunner().invoke(made, [])


def test_every_warning_is_one_line_and_said_once():
    def command() -> None:
        for _ in range(2):
            warnings.warn("the weights look odd", stacklevel=1)
        warnings.warn("numpy.this goes away", DeprecationWarning, stacklevel=1)

    result = run(command)
    assert result.exit_code == 0
    assert result.stderr == "warning: the weights look odd\n"


def test_a_long_path_in_an_error_is_not_broken():
    path = "/" + "x" * 300

    def command() -> None:
        raise WeightsError(f"{path}: damaged [bold]here[/]")

    result = run(command)
    assert result.exit_code == 1
    assert result.stderr == f"error: {path}: damaged [bold]here[/]\n"


def test_a_bug_says_so_and_how_to_see_more(monkeypatch):
    def command() -> None:
        raise KeyError("classifier")

    monkeypatch.delenv("DISTILBERT_DEBUG", raising=False)
    result = run(command)
    assert result.exit_code == 1
    assert "KeyError: 'classifier'" in result.stderr
    assert "bug" in result.stderr
    assert "DISTILBERT_DEBUG=1" in result.stderr
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("DISTILBERT_DEBUG", "1")
    assert "Traceback" in run(command).stderr


def test_not_enough_memory():
    def command() -> None:
        raise MemoryError

    assert run(command).stderr == "error: not enough memory\n"


def test_interruption():
    def command() -> None:
        raise KeyboardInterrupt

    result = run(command)
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_a_vocabulary_that_does_not_fit(checkpoint, tmp_path):
    with (checkpoint / "vocab.txt").open("a") as file:
        file.writelines(f"word{i}\n" for i in range(TINY.vocab_size))
    for arguments in (("inspect", checkpoint), ("convert", checkpoint, tmp_path / "target")):
        result = invoke(*arguments, code=1)
        assert "has 104 tokens (0 of them added), but the model has vocab_size 99" in " ".join(result.stderr.split())
    assert not (tmp_path / "target").exists()
