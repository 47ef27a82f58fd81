# SPDX-License-Identifier: Apache-2.0
"""Recipes as files: what is read, what is refused and how, and that what is written reads back the same."""

from __future__ import annotations

import dataclasses
import json
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilbert.errors import BackendError, FileError, InputError
from distilbert.training.recipe_file import is_recipe_file, make_recipe, read_recipe, write_recipe
from distilbert.training.recipes import FinetuneRecipe
from distilbert.yaml_text import parse_yaml, to_yaml

pytest.importorskip("yaml")

NEEDED = {"task": "ner", "model": "org/name", "train": ["a.csv"], "output": "out"}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters())
VALUES = st.dictionaries(st.text(), SCALARS | st.lists(st.text()) | st.dictionaries(st.text(), SCALARS))
HARD = [
    "no",
    "yes",
    "Off",
    "~",
    "null",
    "1e5",
    "1.",
    ".5",
    "08",
    "0x1F",
    "1_000",
    "1:30",
    "2020-01-01",
    "=",
    "<<",
    "",
    " ",
]


@pytest.fixture
def write(tmp_path):
    """Writes a file and gives its path."""

    def write(text: str, name: str = "recipe.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def recipe(**values: object) -> FinetuneRecipe:
    return FinetuneRecipe.from_dict(NEEDED | values)


# YAML.


@given(VALUES)
def test_yaml_reads_back_what_was_written(value):
    assert parse_yaml(to_yaml(value), "here") == value


@pytest.mark.parametrize("text", HARD)
def test_texts_that_look_like_something_else_stay_texts(text):
    yaml = pytest.importorskip("yaml")
    written = to_yaml({"name": text})
    assert parse_yaml(written, "here") == {"name": text}
    assert yaml.safe_load(written) == {"name": text}  # a reader by the rules of YAML 1.1


def test_yaml_means_what_people_mean():
    text = (
        "a: no\nb: 3e-5\nc: 1:30\nd: true\ne:\nf: ~\ng: -7\nh: .5\ni: 'true'\nj: [x, 1]\nk: -.inf\nl: on\nm: 2020-01-01"
    )
    found = parse_yaml(text, "here")
    assert found == {
        "a": "no",
        "b": 3e-5,
        "c": "1:30",
        "d": True,
        "e": None,
        "f": None,
        "g": -7,
        "h": 0.5,
        "i": "true",
        "j": ["x", 1],
        "k": -math.inf,
        "l": "on",
        "m": "2020-01-01",
    }
    assert type(found["g"]) is int
    assert math.isnan(parse_yaml(".nan", "here"))


# Reading.


def test_a_recipe_is_the_same_in_yaml_and_json(write):
    yaml = (
        "task: ner\nmodel: org/name\ntrain:\n- a.csv\noutput: out\nlearning_rate: 3e-5\neval_strategy: no\nbf16: true\n"
    )
    values = NEEDED | {"learning_rate": 3e-5, "eval_strategy": "no", "bf16": True}
    found = [
        make_recipe(FinetuneRecipe, {}, write(yaml)),
        make_recipe(FinetuneRecipe, {}, write(json.dumps(values), "r.json")),
    ]
    assert found[0] == found[1] == recipe(learning_rate=3e-5, eval_strategy="no", bf16=True)
    assert found[0].train_file == ("a.csv",)


def test_what_is_written_is_the_same_recipe(tmp_path):
    for values in (
        {},
        {"learning_rate": 1e-7, "dropout": 0.0, "report_to": [], "column": ["text=a b: #1", "label=no"]},
        {"model": "1e5", "output": "caf\u00e9 \udc80", "input_format": "no", "metric_for_best_model": "null"},
    ):
        path = tmp_path / "recipe.yaml"
        write_recipe(recipe(**values), path)
        assert make_recipe(FinetuneRecipe, {}, path) == recipe(**values)
        assert list(read_recipe(path)) == [entry.name for entry in dataclasses.fields(FinetuneRecipe)]


def test_given_values_replace_those_of_the_file(write):
    path = write("task: ner\nmodel: org/name\ntrain: [a.csv]\noutput: out\nseed: 7\nmax_grad_norm: 0.5\n")
    found = make_recipe(FinetuneRecipe, {"model_name_or_path": "other", "train_file": ["b.csv"], "seed": 8}, path)
    assert found == recipe(model="other", train=["b.csv"], seed=8, max_grad_norm=0.5)


def test_a_given_value_makes_up_for_one_that_is_missing_or_wrong(write):
    path = write("task: ner\nmodel: org/name\ntrain: a.csv\nseed: much\n")
    assert make_recipe(FinetuneRecipe, {"output_dir": "out", "seed": 1}, path) == recipe(seed=1)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.yaml", True), ("b/c.YML", True), ("d.json", True), ("ner", False), ("yaml", False)]
)
def test_which_arguments_are_files(name, expected):
    assert is_recipe_file(name) is expected


# What is wrong with a file.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected lines of NAME: VALUE, found nothing"),
        ("- a\n- b\n", "expected lines of NAME: VALUE, found a list"),
        ("text-classification\n", "found 'text-classification'"),
        ("seed: 1\ntask: ner\nseed: 2\n", "line 3: the same key twice: 'seed'"),
        ("seed: !!python/object/apply:os.system [ls]\n", "line 1: tags are not accepted"),
        ("a: 1\nb: !mine 2\n", "line 2: tags are not accepted, found '!mine'"),
        ("a: &x [1]\nb: *x\n", "line 1: anchors and aliases"),
        ("? [a, b]\n: 1\n", "line 1: expected a name"),
        ("a: [1\nb: 2\n", "not valid YAML (line 2"),
        ("a: 1\n---\nb: 2\n", "another document"),
        ("a: \x07\n", "not valid YAML"),
        ("[" * 20_000, "line 1: nested too deeply"),
    ],
)
def test_files_that_are_no_recipe(write, text, message):
    path = write(text)
    with pytest.raises(FileError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_json_that_is_no_recipe(write):
    for text, message in (('{"a": 1, "a": 2}', "the same key twice: 'a'"), ("[1]", "expected a JSON object")):
        with pytest.raises(FileError, match=message):
            read_recipe(write(text, "recipe.json"))


def test_files_that_cannot_be_read(tmp_path, write):
    with pytest.raises(FileError, match="No such file"):
        read_recipe(tmp_path / "absent.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(FileError, match="found a folder"):
        read_recipe(tmp_path / "folder.yaml")
    with pytest.raises(FileError, match="expected a recipe ending in .yaml, .yml, .json"):
        read_recipe(write("a: 1", "recipe.toml"))
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(FileError, match="expected UTF-8"):
        read_recipe(tmp_path / "latin.yaml")
    (tmp_path / "mark.yaml").write_bytes(b"\xef\xbb\xbfseed: 1")
    assert read_recipe(tmp_path / "mark.yaml") == {"seed": 1}


def test_all_that_is_wrong_with_the_values_is_said_at_once(write):
    path = write(
        "task: ner\nmodel: org/name\ntrain: [a.csv]\noutput: out\nseed: 1.5\nbf16: yes\nlr_scheduler_type: steep\n"
    )
    with pytest.raises(InputError) as caught:
        make_recipe(FinetuneRecipe, {}, path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: 3 problems"
    assert [line.split(":")[0].strip(" -") for line in lines[1:]] == ["seed", "lr_scheduler_type", "bf16"]
    assert "found 1.5" in lines[1]
    assert "found 'yes'" in lines[3]


def test_what_is_for_another_task_is_refused():
    other = {"problem_type": "regression", "whole_word_masking": True, "doc_stride": 64}
    with pytest.raises(InputError) as caught:
        recipe(task="question-answering", **other)
    assert str(caught.value).splitlines()[1:] == [
        "  - problem_type: is for text-classification; leave it out, since the task is question-answering",
        "  - whole_word_masking: is for fill-mask; leave it out, since the task is question-answering",
    ]
    assert recipe(task="DistilBertForQuestionAnswering", doc_stride=64).doc_stride == 64
    assert recipe(problem_type=None, doc_stride=128) == recipe()


def test_unknown_and_missing_names(write):
    path = write("task: ner\nmodel: org/name\nmodel_name_or_path: other\nlerning_rate: 1\n")
    with pytest.raises(InputError) as caught:
        make_recipe(FinetuneRecipe, {}, path)
    message = str(caught.value)
    assert message.startswith(f"{path}: 4 problems")
    assert "lerning_rate: unknown" in message
    assert "given twice" in message
    assert "train: is missing" in message
    assert "output: is missing" in message


def test_a_wrong_option_is_not_blamed_on_the_file_alone(write):
    path = write("task: ner\nmodel: org/name\ntrain: [a.csv]\noutput: out\n")
    with pytest.raises(InputError, match=f"^{path} and options: seed: expected at least 0, found -1$"):
        make_recipe(FinetuneRecipe, {"seed": -1}, path)


def test_without_pyyaml(write, monkeypatch):
    path = write("task: ner\n")
    as_json = write(json.dumps(NEEDED), "recipe.json")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(BackendError, match=r'pip install "distilbert\[train\]"'):
        read_recipe(path)
    assert read_recipe(as_json) == NEEDED
