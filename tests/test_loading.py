# SPDX-License-Identifier: Apache-2.0
"""Which tensors `from_pretrained` takes, which it draws anew with a warning, and what it refuses, for every class."""

from __future__ import annotations

import itertools
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertConfig, spec
from distilbert.convert.loading import load_for_task
from distilbert.errors import ConfigError, WeightsError

from .samples import TINY, random_tensors, task_config, write_as_is, write_model

SAME_LAYERS = {"sequence-classification", "multiple-choice"}
OTHER_TASKS = [pair for pair in itertools.permutations(spec.TASKS, 2) if set(pair) != SAME_LAYERS]
NOTHING_WRONG: dict[str, list[Any]] = {
    "missing_keys": [],
    "unexpected_keys": [],
    "mismatched_keys": [],
    "error_msgs": [],
}


def head_of(task: str, config: DistilBertConfig = TINY) -> list[str]:
    return [name for name in spec.tensors(config, task) if spec.is_head_tensor(name)]


def write_claiming(folder: Path, task: str, tensors: dict[str, np.ndarray], config: DistilBertConfig = TINY) -> Path:
    """Tensors beside a config.json that says they are a model of `task`."""
    return write_as_is(folder, tensors, {**config.to_dict(), "architectures": [spec.TASKS[task].class_name]})


@pytest.mark.parametrize("task", spec.TASKS)
def test_what_was_saved_is_what_is_loaded(tmp_path: Path, task: str) -> None:
    config = task_config(TINY, task)
    tensors = write_model(tmp_path, config, task)
    loaded = load_for_task(tmp_path, task)
    assert loaded.info() == NOTHING_WRONG
    assert loaded.absent == []
    assert loaded.dtype == "float32"
    assert loaded.tensors.keys() == tensors.keys()
    assert all(np.array_equal(loaded.tensors[name].load(), array) for name, array in tensors.items())


@pytest.mark.parametrize(("saved", "wanted"), OTHER_TASKS)
def test_the_encoder_goes_into_every_class_and_a_new_head_is_named(tmp_path: Path, saved: str, wanted: str) -> None:
    tensors = write_model(tmp_path, task_config(TINY, saved), saved)
    head = head_of(wanted)
    if head:
        said = (
            f"{tmp_path / 'model.safetensors'}: not in the checkpoint, drawn anew, train before use: {', '.join(head)}"
        )
        with pytest.warns(UserWarning, match=f"^{re.escape(said)}$"):
            loaded = load_for_task(tmp_path, wanted)
    else:
        loaded = load_for_task(tmp_path, wanted)
    assert loaded.info() == {**NOTHING_WRONG, "missing_keys": head}
    assert [tensor.name for tensor in loaded.absent] == head
    encoder = {spec.with_prefix(name): array for name, array in tensors.items() if not spec.is_head_tensor(name)}
    assert {spec.with_prefix(name) for name in loaded.tensors} == encoder.keys()
    assert all(
        np.array_equal(tensor.load(), encoder[spec.with_prefix(name)]) for name, tensor in loaded.tensors.items()
    )


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [("sequence-classification", "multiple-choice"), ("multiple-choice", "sequence-classification")],
)
def test_a_score_of_choices_is_not_one_of_classes(tmp_path: Path, saved: str, wanted: str) -> None:
    """Both have the same layers, but not the same number of scores: to take one for the other must be asked for."""
    write_model(tmp_path, TINY, saved)
    with pytest.raises(WeightsError, match=r"classifier.weight: expected \([13], 32\), found \([13], 32\)"):
        load_for_task(tmp_path, wanted)
    with pytest.warns(UserWarning, match="drawn anew, train before use: classifier.weight, classifier.bias$"):
        loaded = load_for_task(tmp_path, wanted, ignore_mismatched_sizes=True)
    assert [tensor.name for tensor in loaded.absent] == ["classifier.weight", "classifier.bias"]


@pytest.mark.parametrize("task", [task for task in spec.TASKS if task != "encoder"])
def test_a_damaged_head_is_an_error_and_not_a_new_head(tmp_path: Path, task: str) -> None:
    tensors = random_tensors(task_config(TINY, task), task)
    lost = head_of(task)[0]
    del tensors[lost]
    folder = write_claiming(tmp_path, task, tensors, task_config(TINY, task))
    with pytest.raises(WeightsError) as caught:
        load_for_task(folder, task)
    message = str(caught.value)
    assert message.startswith(
        f"{tmp_path / 'model.safetensors'}: does not fit {spec.TASKS[task].class_name} with 2 layers"
    )
    assert f"missing    1: {lost}" in message
    assert "strict=False loads what fits and draws the rest anew" in message
    with pytest.warns(UserWarning, match=f"drawn anew, train before use: {lost}$"):
        loaded = load_for_task(folder, task, strict=False)
    assert [tensor.name for tensor in loaded.absent] == [lost]
    assert loaded.info()["missing_keys"] == [lost]


@pytest.mark.parametrize("task", [task for task in spec.TASKS if task != "encoder"])
def test_a_head_that_the_config_claims_is_never_made_up(tmp_path: Path, task: str) -> None:
    folder = write_claiming(tmp_path, task, random_tensors(TINY, "encoder"))
    with pytest.raises(WeightsError, match=f"missing    {len(head_of(task))}: "):
        load_for_task(folder, task)


def test_a_head_that_lost_a_layer_is_not_taken_for_another(tmp_path: Path) -> None:
    """Without its pre_classifier a sequence classifier looks like a token classifier; the config knows better."""
    tensors = random_tensors(TINY, "token-classification")
    folder = write_claiming(tmp_path, "sequence-classification", tensors)
    with pytest.raises(WeightsError, match=r"missing    2: pre_classifier.weight, pre_classifier.bias\n"):
        load_for_task(folder, "sequence-classification")


def test_a_damaged_encoder_is_an_error(tmp_path: Path) -> None:
    tensors = random_tensors(TINY, "encoder")
    del tensors["transformer.layer.1.ffn.lin2.bias"]
    folder = write_as_is(tmp_path, tensors, TINY.to_dict())
    with pytest.raises(WeightsError, match="missing    1: transformer.layer.1.ffn.lin2.bias"):
        load_for_task(folder, "encoder")
    with pytest.raises(
        WeightsError, match="missing    3: distilbert.transformer.layer.1.ffn.lin2.bias, classifier.wei"
    ):
        load_for_task(folder, "token-classification")


def test_unexpected_tensors(tmp_path: Path) -> None:
    tensors = {**random_tensors(TINY, "encoder"), "pooler.dense.weight": np.zeros((32, 32), np.float32)}
    folder = write_as_is(tmp_path, tensors, TINY.to_dict())
    with pytest.raises(WeightsError, match="unexpected 1: pooler.dense.weight"):
        load_for_task(folder, "encoder")
    with pytest.warns(UserWarning, match="not used, no place for it: pooler.dense.weight"):
        loaded = load_for_task(folder, "encoder", strict=False)
    assert loaded.info() == {**NOTHING_WRONG, "unexpected_keys": ["pooler.dense.weight"]}


def test_another_number_of_labels(tmp_path: Path) -> None:
    write_model(tmp_path, TINY, "token-classification")
    with pytest.raises(WeightsError) as caught:
        load_for_task(tmp_path, "token-classification", num_labels=5)
    message = str(caught.value)
    assert "classifier.weight: expected (5, 32), found (3, 32), classifier.bias: expected (5,), found (3,)" in message
    assert "num_labels 5, but the tensors have 3" in message
    assert "ignore_mismatched_sizes=True draws the tensors of another shape anew" in message
    with pytest.raises(WeightsError):  # strict=False is about names
        load_for_task(tmp_path, "token-classification", num_labels=5, strict=False)
    with pytest.warns(UserWarning, match="drawn anew, train before use: classifier.weight, classifier.bias"):
        loaded = load_for_task(tmp_path, "token-classification", num_labels=5, ignore_mismatched_sizes=True)
    assert loaded.config.num_labels == 5
    assert loaded.info() == {
        **NOTHING_WRONG,
        "mismatched_keys": [("classifier.weight", (3, 32), (5, 32)), ("classifier.bias", (3,), (5,))],
    }


def test_weights_that_are_no_floats_are_refused_whatever_is_allowed(tmp_path: Path) -> None:
    tensors = random_tensors(TINY, "encoder")
    tensors["embeddings.LayerNorm.bias"] = np.zeros(32, np.int64)
    folder = write_as_is(tmp_path, tensors, TINY.to_dict())
    with pytest.raises(WeightsError, match=r"not float  1: embeddings.LayerNorm.bias \(int64\)"):
        load_for_task(folder, "encoder", strict=False, ignore_mismatched_sizes=True)


def test_a_config_of_ones_own(tmp_path: Path) -> None:
    write_model(tmp_path, TINY, "encoder")
    config = TINY.replace(dropout=0.5, num_labels=7)
    with pytest.warns(UserWarning, match="drawn anew"):
        loaded = load_for_task(tmp_path, "sequence-classification", config, attention_dropout=0.25)
    assert loaded.config == config.replace(attention_dropout=0.25)
    (tmp_path / "config.json").unlink()
    assert load_for_task(tmp_path, "encoder", config).config == config


def test_misspelt_keywords_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path, TINY, "encoder")
    with pytest.raises(ConfigError, match="num_label: unknown field; did you mean num_labels"):
        load_for_task(tmp_path, "encoder", num_label=3)


def test_a_projector_that_differs_matters_to_a_masked_lm_alone(tmp_path: Path) -> None:
    tensors = random_tensors(TINY.replace(tie_word_embeddings=False), "masked-lm")
    folder = write_claiming(tmp_path, "masked-lm", tensors)
    with pytest.warns(UserWarning, match="vocab_projector.weight differs from the word embeddings"):
        loaded = load_for_task(folder, "masked-lm")
    assert not loaded.config.tie_word_embeddings
    assert np.array_equal(loaded.tensors[spec.PROJECTOR].load(), tensors[spec.PROJECTOR])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_for_task(folder, "encoder").config.tie_word_embeddings


def test_word_embeddings_stored_as_the_projector_alone_serve_every_class(tmp_path: Path) -> None:
    tensors = random_tensors(TINY, "masked-lm")
    words = tensors.pop(f"distilbert.{spec.WORD_EMBEDDINGS}")
    folder = write_claiming(tmp_path, "masked-lm", {**tensors, spec.PROJECTOR: words})
    for task, name in (("masked-lm", f"distilbert.{spec.WORD_EMBEDDINGS}"), ("encoder", spec.WORD_EMBEDDINGS)):
        assert np.array_equal(load_for_task(folder, task).tensors[name].load(), words)


def test_values_are_not_read_before_they_are_known_to_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the wrong sizes is refused by its header, without reading or allocating what it claims to hold."""
    from distilbert.convert import safetensors_file

    write_model(tmp_path, TINY, "masked-lm")
    monkeypatch.setattr(safetensors_file, "load_array", lambda *_: pytest.fail("a value was read"))
    with pytest.raises(WeightsError, match="does not fit"):
        load_for_task(tmp_path, "masked-lm", hidden_dim=38)
