# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a fine-tuning: data, models, folders and checkpoints that cannot be, each with one clear error.

Nothing is written, and no step is taken, before the error comes.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from distilbert.errors import FileError, InputError
from distilbert.training import checkpoints, output
from distilbert.training.checkpoints import saved_steps
from distilbert.training.finetuning import finetune
from distilbert.training.settings import Settings, setting

from .task_samples import write_text
from .test_cli import invoke
from .test_cli_process import HEED_SIGNALS, finish, start
from .training_samples import VOCABULARY, recipe, write_reviews, write_start

pytest.importorskip("torch")

QA, NER, CHOICE, MLM = "question-answering", "token-classification", "multiple-choice", "fill-mask"
PARAGRAPH = {"context": "a b", "qas": [{"question": "a", "answers": [{"text": "b", "answer_start": 2}]}]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and reviews."""
    folder = tmp_path_factory.mktemp("made")
    write_start(folder / "start")
    write_reviews(folder / "train.csv", 32)
    write_reviews(folder / "eval.csv", 16, seed=1)
    return folder


def command(made: Path, tmp_path: Path, task: str = "text-classification", **options: Any) -> list[str]:
    """The arguments of a short training; None leaves an option out, True is a switch."""
    usual = {
        "backend": "pt",
        "model": made / "start",
        "train": made / "train.csv",
        "output": tmp_path / "out",
        "max_steps": 2,
        "report_to": "none",
        "no_certify": True,
    }
    given = {name: value for name, value in {**usual, **options}.items() if value is not None}
    parts = [[f"--{name}"] if value is True else [f"--{name}", str(value)] for name, value in given.items()]
    return ["finetune", task, *(part for option in parts for part in option)]


def refused(made: Path, tmp_path: Path, task: str = "text-classification", **options: Any) -> str:
    """What is said of a command that must fail without having written anything."""
    said = invoke(*command(made, tmp_path, task, **options), code=1).stderr
    assert "bug in distilbert" not in said
    assert not (tmp_path / "out").exists()
    return str(said)


def squad(path: Path, *questions: dict[str, Any]) -> Path:
    return write_text(path, json.dumps({"data": [{"paragraphs": [{**PARAGRAPH, "qas": questions}]}]}))


# Data.


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", ["empty; expected a first line"]),
        ("a.csv", "text,label\n", ["a.csv: holds no rows"]),
        ("a.csv", "sentence,target\nx,1\n", ["text: no column 'text'", "label: no column 'label'"]),
        ("a.csv", "text,label\nx,a\n", ["at least two different labels"]),
        ("a.csv", "text,label\n ,a\nx,\n", ["row 0: text: is blank", "row 1: label: is missing"]),
        ("a.csv", "text,label\nx,nan\ny,1.5\n", ["row 0: label 'nan': expected a finite number"]),
        ("a.csv", "text,label\nx,1e300\ny,1.5\n", ["row 0: label '1e300': expected a finite number"]),
        ("a.csv", b"text,label\nn\xe9,a\ny,b\n", ["row 0: not UTF-8 (byte 0xe9)"]),
        ("a.csv", "text,label\nx,a\n".encode("utf-16"), ["the header cannot be read: not UTF-8"]),
        ("a.csv", gzip.compress(b"text,label\nx,a\n" * 99, mtime=0)[:-12], ["the gzip file is cut off"]),
        ("a.csv", bytes(range(256)), ["the header cannot be read"]),
        (
            "a.jsonl",
            '{"text": 1, "label": "a"}\n{"lable": 2}\n[]\n',
            ["row 0: text: expected a text, found int", "row 2"],
        ),
        ("a.jsonl", '{"text": "x", "label": NaN}\n', ["row 0: not valid JSON (NaN"]),
        ("a.parquet", b"PAR1 but no more", ["not a sound Parquet file"]),
        ("a.csv", "text,label\n\x01,a\n\x02,b\n", ["a.csv: holds no text that the tokenizer leaves any token of"]),
    ],
)
def test_rows_of_texts(made: Path, tmp_path: Path, name: str, content: str | bytes, said: list[str]) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = refused(made, tmp_path, train=path)
    assert [part for part in said if part not in found] == []


@pytest.mark.parametrize(
    ("task", "name", "content", "said"),
    [
        (NER, "a.conll", "a NN O\nb NN\n", "row 0: line 2: expected 3 columns, as in line 1, found 2 in 'b NN'"),
        (NER, "a.conll", "-DOCSTART- -X- O\n\n", "holds no rows"),
        (NER, "a.conll", "\x01\tO\n\x02\tB-X\n", "holds no text that the tokenizer leaves"),
        (NER, "a.conll", "a\0\tO\n", "row 0: line 1: a NUL character"),
        (NER, "a.jsonl", '{"tokens": ["a"], "tags": ["O", "O"]}', "expected one for each of 1 tokens, found 2"),
        (CHOICE, "a.jsonl", '{"prompt": "p", "choices": ["a", "b"], "label": 2}', "from 0 to 1; found '2'"),
        (CHOICE, "a.jsonl", '{"prompt": "p", "choices": "a", "label": 0}', "choices: expected a list"),
        (QA, "a.json", "[]", "expected a JSON object, found list"),
        (QA, "a.json", '{"data": []}', "holds no rows"),
        (QA, "a.json", '{"data": [{', "not valid JSON"),
        (QA, "a.json", b"\xff\xfe{", "expected UTF-8 text, found byte 0xff at 0"),
        (MLM, "a.txt", "\n \n", "holds no rows"),
        (MLM, "a.txt", "\x01\n\x02\n", "holds no text that the tokenizer leaves"),
        (MLM, "a.txt", b"\xff\n", "row 0: not UTF-8 (byte 0xff)"),
    ],
)
def test_rows_of_other_tasks(made: Path, tmp_path: Path, task: str, name: str, content: str | bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert said in refused(made, tmp_path, task, train=path)


def test_answers_that_are_not_there(made: Path, tmp_path: Path) -> None:
    wrong = {"question": "a", "answers": [{"text": "b", "answer_start": 1}]}
    unclear = {"question": "a", "answers": [], "is_impossible": "false"}
    said = refused(made, tmp_path, QA, train=squad(tmp_path / "a.json", wrong, unclear))
    assert "row 0: answer 0: expected 'b' at character 1 of the context, found ' '" in said
    assert "row 1: is_impossible: expected true or false, found 'false'" in said


def test_a_question_without_room_names_the_option(made: Path, tmp_path: Path) -> None:
    path = squad(tmp_path / "a.json", {**PARAGRAPH["qas"][0], "question": "film " * 99})
    assert "raise max_seq_length or lower" in refused(made, tmp_path, QA, train=path)


def test_compressed_squad_is_read(made: Path, tmp_path: Path) -> None:
    plain = squad(tmp_path / "a.json", PARAGRAPH["qas"][0])
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(plain.read_bytes()))
    found = finetune(
        recipe(
            made,
            task=QA,
            train=str(tmp_path / "a.json.gz"),
            eval=[],
            output=str(tmp_path / "out"),
            backend="pt",
            max_steps=1,
            doc_stride=8,
        )
    )
    assert found.finished


def test_all_files_are_looked_at_before_any_is_read(made: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "wrong.csv", "text,target\nx,1\n")
    said = refused(made, tmp_path, train=tmp_path / "gone.csv", eval=tmp_path / "wrong.csv")
    assert "gone.csv: not found" in said
    assert "wrong.csv: label: no column 'label'" in said


def test_labels_that_only_the_evaluation_has(made: Path, tmp_path: Path) -> None:
    path = write_text(tmp_path / "b.csv", "text,label\nx,purple\n")
    assert "row 0: label 'purple': expected one of negative, positive" in refused(made, tmp_path, eval=path)


def test_columns_that_are_swapped_or_named_twice(made: Path, tmp_path: Path) -> None:
    swapped = [*command(made, tmp_path), "--column", "text=label", "--column", "label=text"]
    assert "different ones in 32 rows, longer than the texts" in invoke(*swapped, code=1).stderr
    assert "column 'text' is named twice" in refused(made, tmp_path, column="label=text")
    path = write_text(tmp_path / "a.csv", "text,a\nx,1\ny,0\n")
    assert "column 'a' is named twice" in refused(made, tmp_path, column="label=a,a", train=path)


@pytest.mark.parametrize("name", ["gone.csv", "*.nope", "folder", "pipe.csv", "link.csv"])
def test_files_that_are_none(made: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere")
    assert name in refused(made, tmp_path, train=tmp_path / name)


def test_text_in_another_script_is_warned_of(made: Path, tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.csv", "text,label\n\u4e01\u4e02,a\n\u4e03\u4e05,b\n")
    assert "100 % of the tokens are unknown" in invoke(*command(made, tmp_path, train=path, stop_at_step=1)).stderr


# Models.


def test_a_tokenizer_of_another_model(made: Path, tmp_path: Path) -> None:
    model = write_start(tmp_path / "small", vocab_size=100)
    said = refused(made, tmp_path, model=model)
    assert "but the model's vocab_size is 100; they do not belong together" in said
    text = write_text(tmp_path / "a.txt", "a\n")
    assert f"tokenizer: has {VOCABULARY:,} tokens" in refused(made, tmp_path, MLM, model=model, train=text)


def test_a_head_that_much_text_is_needed_for_is_not_drawn_in_silence(made: Path, tmp_path: Path) -> None:
    text = write_text(tmp_path / "a.txt", "a few words to learn from\n")
    options = {"model": made / "start", "train": text, "eval": text, "max_steps": 1}
    once = invoke(*command(made, tmp_path, MLM, output=tmp_path / "once", **options))
    assert "start: has no head for masked language modelling; it is learned from nothing" in once.stderr
    again = invoke(*command(made, tmp_path, MLM, **{**options, "model": tmp_path / "once"}))
    assert "learned from nothing" not in again.stderr


def test_weights_of_another_size_are_not_drawn_anew_in_silence(made: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(made / "start", tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "dim": 64}))
    said = refused(made, tmp_path, model=model)
    assert "the weights do not fit the config" in said
    assert f"word_embeddings.weight: expected ({VOCABULARY}, 64), found ({VOCABULARY}, 32)" in said


def test_weights_that_are_no_numbers(made: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(made / "start", tmp_path / "model"))
    change_tensors(model / "model.safetensors", lambda tensors: tensors[min(tensors)].fill(np.nan))
    assert "nothing can be learned from there" in refused(made, tmp_path, model=model)


def test_a_model_in_half_precision_is_trained_in_float32(made: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(made / "start", tmp_path / "model"))
    save_file(
        {name: values.astype(np.float16) for name, values in load_file(model / "model.safetensors").items()},
        model / "model.safetensors",
    )
    invoke(*command(made, tmp_path, model=model, stop_at_step=1))
    found = load_file(tmp_path / "out" / "checkpoint-1" / "model.safetensors")
    assert {str(values.dtype) for values in found.values()} == {"float32"}


@pytest.mark.parametrize("name", ["vocab.txt", "config.json", "model.safetensors"])
def test_a_model_that_is_not_whole(made: Path, tmp_path: Path, name: str) -> None:
    model = Path(shutil.copytree(made / "start", tmp_path / "model"))
    (model / "tokenizer.json").unlink(missing_ok=True)
    (model / name).unlink()
    assert str(model) in refused(made, tmp_path, model=model)


# Settings.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_train_epochs": "inf"}, "num_train_epochs: expected a finite number, found inf"),
        ({"learning_rate": "nan"}, "learning_rate: expected at least 0, found nan"),
        ({"per_device_train_batch_size": 10**30}, "expected a number below 2**63, found one of 31 digits"),
        ({"output": ""}, "output_dir: expected a text, found an empty one"),
        ({"max_seq_length": 7}, "max_seq_length: expected at least 8"),
        ({"early_stopping_patience": 1}, "early_stopping_patience: name data to evaluate on"),
        ({"freeze_layers": 9}, "freeze_layers: the model has 2 layers"),
    ],
)
def test_settings_that_cannot_be(made: Path, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    assert said in refused(made, tmp_path, **options)


def test_texts_with_nul_characters() -> None:

    made = dataclasses.make_dataclass(
        "Made",
        [("name", str, setting("", "A name.")), ("names", tuple[str, ...], setting((), "Names."))],
        bases=(Settings,),
        frozen=True,
        kw_only=True,
    )
    with pytest.raises(InputError, match="2 problems"):
        made(name="a\0b", names=("c\0",))


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_accumulation_steps": 10**9},
        {"per_device_train_batch_size": 10**9},
        {"warmup_steps": 1000},
        {"pad_to_multiple_of": 10**9},
    ],
)
def test_settings_beyond_the_data_are_fine(made: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    invoke(*command(made, tmp_path, stop_at_step=1, **options))
    assert saved_steps(tmp_path / "out") == [1]


def test_a_rate_that_is_absurd(made: Path, tmp_path: Path) -> None:
    said = invoke(*command(made, tmp_path, learning_rate=1e30, max_steps=5), code=1).stderr
    assert "there is nothing more to learn; try a lower learning_rate" in said


# Folders.


def test_the_model_to_start_from_is_not_overwritten(made: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(made / "start", tmp_path / "model"))
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    said = invoke(*command(made, tmp_path, model=model, output=model, overwrite_output_dir=True), code=1).stderr
    assert "holds the model to start from; choose another output folder" in said
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_a_checkpoint_to_start_from_is_not_overwritten(made: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(made / "start", tmp_path / "out" / "checkpoint-3"))
    said = invoke(*command(made, tmp_path, model=model, overwrite_output_dir=True), code=1).stderr
    assert "holds the model to start from; choose another output folder" in said
    assert (model / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["file", "file/below", "link", "x" * 300, "closed/out"])
def test_outputs_that_cannot_be_written(made: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "file", "")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "deep")
    (tmp_path / "closed").mkdir()
    access = os.access
    closed = tmp_path / "closed"  # for root, who may write everywhere, too
    monkeypatch.setattr(output.os, "access", lambda path, mode: Path(path) != closed and access(path, mode))
    said = invoke(*command(made, tmp_path, output=tmp_path / name), code=1).stderr
    assert str(tmp_path / name) in said
    assert "choose another output" in said


def test_the_output_is_looked_at_before_the_data_is_read(made: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    path = write_text(tmp_path / "a.csv", "text,label\n")  # would be an error, later
    assert "is no folder" in invoke(*command(made, tmp_path, output=tmp_path / "file", train=path), code=1).stderr


def test_a_disk_that_is_too_full_is_told_before_the_first_step(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**5))
    said = invoke(*command(made, tmp_path), code=1).stderr
    assert "0.1 MB are free, and a checkpoint with the trained model takes" in said
    assert saved_steps(tmp_path / "out") == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left (os error 28)"),
        FileError("x: cannot be written (No space left (os error 28))"),
        SafetensorError("No space left (os error 28)"),
    ],
)
def test_a_disk_that_becomes_full(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    options = {"save_strategy": "steps", "save_steps": 1}
    invoke(*command(made, tmp_path, stop_at_step=1, **options))

    def full(tensors: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full)
        said = invoke(*command(made, tmp_path, **options), code=1).stderr
    assert "checkpoint-2: cannot be written (No space left (os error 28)); make room for it" in said
    assert "it goes on from checkpoint-1" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["checkpoint-1", "recipe.yaml"]
    invoke(*command(made, tmp_path, **options))


# Checkpoints.


def change_tensors(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def change_json(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


OPTIMIZER, WEIGHTS, STATE = "optimizer.safetensors", "model.safetensors", "trainer_state.json"
FIRST, SECOND = "first.classifier.bias", "second.classifier.bias"
DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: cut(folder / WEIGHTS), "model.safetensors: truncated"),
    (lambda folder: cut(folder / OPTIMIZER), "optimizer.safetensors: not a sound safetensors file"),
    (lambda folder: (folder / OPTIMIZER).write_bytes(b""), "optimizer.safetensors: not a sound"),
    (lambda folder: (folder / OPTIMIZER).unlink(), "optimizer.safetensors: cannot be read"),
    (lambda folder: (folder / WEIGHTS).unlink(), "no weights"),
    (lambda folder: (folder / "config.json").unlink(), "config.json: missing"),
    (lambda folder: change_tensors(folder / OPTIMIZER, lambda found: found.pop(FIRST)), "first classifier.bias: is"),
    (lambda folder: change_tensors(folder / OPTIMIZER, lambda found: found[SECOND].fill(-1)), "values that cannot be"),
    (
        lambda folder: change_tensors(folder / OPTIMIZER, lambda found: found.update({"first.x": np.ones(1, "f4")})),
        "first x: the model has no such tensor",
    ),
    (
        lambda folder: change_tensors(folder / OPTIMIZER, lambda found: found.update({FIRST: np.ones(3, "f4")})),
        "first classifier.bias: expected float32 (2,), found float32 (3,)",
    ),
    (
        lambda folder: change_tensors(folder / WEIGHTS, lambda found: found.pop("classifier.bias")),
        "weight classifier.bias: is missing",
    ),
    (lambda folder: cut(folder / STATE), "trainer_state.json: not valid JSON"),
    (lambda folder: (folder / STATE).write_text("{}"), "expected version 1, found None"),
    (lambda folder: change_json(folder / STATE, recipe=None), "recipe: expected an object"),
    (lambda folder: change_json(folder / STATE, history=[{"loss": "x"}]), "history: expected a list of objects"),
    (lambda folder: change_json(folder / STATE, best_step="2", without_gain=None), "2 problems"),
    (lambda folder: change_json(folder / STATE, step=7), "step: expected that of the folder, found 7"),
]


@pytest.fixture(scope="module")
def stopped(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with out/checkpoint-1 of a training of 2 steps."""
    folder = tmp_path_factory.mktemp("stopped")
    invoke(*command(made, folder, stop_at_step=1))
    return folder


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_damaged_checkpoints(
    made: Path, stopped: Path, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    shutil.copytree(stopped / "out", tmp_path / "out")
    damage(tmp_path / "out" / "checkpoint-1")
    found = invoke(*command(made, tmp_path), code=1).stderr
    assert said in found
    assert "checkpoint-1 to go on from the checkpoint before, or begin anew with --overwrite_output_dir" in found
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["checkpoint-1", "recipe.yaml"]


def test_a_training_whose_data_has_changed(made: Path, tmp_path: Path) -> None:
    path = write_reviews(tmp_path / "a.csv", 32)
    invoke(*command(made, tmp_path, train=path, stop_at_step=1))
    write_reviews(path, 32, seed=5)
    said = invoke(*command(made, tmp_path, train=path), code=1).stderr
    assert "checkpoint-1 is of another training: content of train data: was" in said


def test_other_folders_that_are_named_like_checkpoints(made: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_text(tmp_path / "out" / "recipe.yaml", "")
    for name in ("checkpoint-07", "checkpoint-last", "checkpoint-" + "9" * 40):
        (tmp_path / "out" / name).mkdir()
    invoke(*command(made, tmp_path))
    assert saved_steps(tmp_path / "out") == [2]


def test_the_best_is_saved_whatever_the_steps(made: Path, tmp_path: Path) -> None:
    options = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "no"}
    changes = {**options, "max_steps": 5, "learning_rate": 0.1, "output": str(tmp_path / "out"), "backend": "pt"}
    found = finetune(recipe(made, **changes))
    best = max(line["eval_accuracy"] for line in found.history if "eval_accuracy" in line)
    assert found.metrics["eval_accuracy"] == best


def test_a_best_checkpoint_that_is_gone_is_told_at_once(made: Path, tmp_path: Path) -> None:
    options = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 1, "backend": "pt"}
    changes = {**options, "max_steps": 3, "output": str(tmp_path / "out"), "save_total_limit": None}
    finetune(recipe(made, **changes, stop_at_step=2))
    change_json(tmp_path / "out" / "checkpoint-2" / STATE, best_step=1)
    shutil.rmtree(tmp_path / "out" / "checkpoint-1", ignore_errors=True)
    with pytest.raises(FileError, match="checkpoint-1: was the best and is gone"):
        finetune(recipe(made, **changes))


# Signals.


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_training_that_is_asked_to_stop(made: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    arguments = command(made, tmp_path, max_steps=100_000, save_strategy="steps", save_steps=20)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DISTILBERT_THREADS": "1"}
    process = start(*arguments, change=HEED_SIGNALS, env=environment)
    until = time.monotonic() + 60
    while not saved_steps(tmp_path / "out") and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(number)
    status, _, said, _ = finish(process)
    assert status == code, said
    assert "Traceback" not in said
    step = saved_steps(tmp_path / "out")[-1]
    assert f"out: stopped; the same command goes on after step {step:,}" in said
    assert not list((tmp_path / "out").glob(".*"))
