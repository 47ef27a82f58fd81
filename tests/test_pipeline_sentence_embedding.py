# SPDX-License-Identifier: Apache-2.0
"""Sentence embeddings: what the files of sentence-transformers ask for, by its definition written down here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertTokenizer, hub, pipeline
from distilbert.errors import ConfigError, InputError
from distilbert.pipelines.sentence_embedding import SentenceEmbedding

from .hub_server import HubServer, Repository
from .oracle import BOUND, quiet
from .samples import TINY, write_as_is, write_model
from .test_hub import contents, server  # noqa: F401

TEXTS = [
    "A man is playing a guitar.",
    "Someone plays an instrument.",
    "The stock market fell sharply today, " * 60,
    "na\u00efve \u65e5\u672c \U0001f600",
]
AWKWARD = ["", "\x00", "\u05e9\u05dc\u05d5\u05dd \u202e", "\u0301\u0301", "x" * 100_000, "[CLS] [SEP] [PAD]", "\n\t "]
MODULES = {"pt": "torch", "tf": "tensorflow", "flax": "flax"}
LIBRARY = "sentence_transformers.models."
TANH, IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """A small encoder with a real vocabulary and none of the library's files."""
    target: Path = tmp_path_factory.mktemp("encoder")
    tokenizer = DistilBertTokenizer(data_folder / "vocab" / "bert-base-uncased" / "vocab.txt", model_max_length=48)
    write_model(target, TINY.replace(vocab_size=len(tokenizer)), "encoder")
    tokenizer.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def plain(encoder: Path) -> SentenceEmbedding:
    pytest.importorskip("torch")
    made = pipeline("sentence-embedding", encoder, backend="pt")
    assert isinstance(made, SentenceEmbedding)
    return made


def with_files(plain: SentenceEmbedding, folder: Path, files: Mapping[str, Any], **options: Any) -> SentenceEmbedding:
    """The small encoder beside these files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return SentenceEmbedding(plain.fast, plain.tokenizer, folder, **options)


def modules(*kinds: str) -> list[dict[str, Any]]:
    """The content of modules.json."""
    names = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds, 1))]
    return [
        {"idx": number, "name": str(number), "path": name, "type": LIBRARY + kind}
        for number, (name, kind) in enumerate(zip(names, ("Transformer", *kinds), strict=True))
    ]


def hidden(pipe: SentenceEmbedding, text: str, **options: Any) -> np.ndarray:
    """Hidden states (T, D) of a text, in float64."""
    ids = pipe.tokenizer(text, truncation=True, max_length=options.get("max_length", 48))["input_ids"]
    (answer,) = pipe.fast.run([ids])
    return np.asarray(answer.last_hidden_state, np.float64)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


# A real sentence encoder


@pytest.fixture(scope="module")
def expected(minilm: Path) -> np.ndarray:
    """The definition of all-MiniLM-L6-v2: mean over the tokens that count, cut at 256, length 1."""
    torch = pytest.importorskip("torch")
    hf = pytest.importorskip("transformers")
    with quiet(), torch.no_grad():
        tokenizer, model = hf.AutoTokenizer.from_pretrained(minilm), hf.AutoModel.from_pretrained(minilm).eval()
        batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
        mask = batch["attention_mask"][:, :, None].float()
        mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        return np.asarray(torch.nn.functional.normalize(mean, dim=1))


@pytest.mark.parametrize("backend", MODULES)
def test_minilm_equals_its_definition(minilm: Path, expected: np.ndarray, backend: str) -> None:
    pytest.importorskip(MODULES[backend])
    pipe = pipeline(model=minilm, backend=backend)
    assert isinstance(pipe, SentenceEmbedding), "modules.json says what it is for"
    found = pipe(TEXTS)
    assert found.shape == (len(TEXTS), 384)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < BOUND
    one = pipe(TEXTS[0])
    assert one.shape == (384,)
    assert np.abs(one - expected[0]).max() < BOUND
    likeness = pipe.similarity(found[0], TEXTS[1:3])
    assert np.abs(likeness - expected[:1] @ expected[1:3].T).max() < BOUND
    assert likeness[0, 0] > likeness[0, 1] + 0.3


# Pooling


@pytest.mark.parametrize(
    ("pooling", "define"),
    [
        ("cls", lambda states: states[0]),
        ("max", lambda states: states.max(0)),
        ("mean", lambda states: states.mean(0)),
        ("mean_sqrt_len", lambda states: states.sum(0) / len(states) ** 0.5),
        (("max", "cls"), lambda states: np.concatenate([states.max(0), states[0]])),
    ],
)
@pytest.mark.parametrize("normalize", [False, True])
def test_poolings(plain: SentenceEmbedding, pooling: Any, define: Any, normalize: bool) -> None:
    vector = define(hidden(plain, TEXTS[0]))
    found = plain(TEXTS[0], pooling=pooling, normalize=normalize)
    assert np.abs(found - (unit(vector) if normalize else vector)).max() < BOUND


def test_mean_without_the_files(plain: SentenceEmbedding) -> None:
    assert np.abs(plain(TEXTS[0]) - hidden(plain, TEXTS[0]).mean(0)).max() < BOUND
    fixed = SentenceEmbedding(plain.fast, plain.tokenizer, pooling="cls", normalize=True)
    assert np.abs(fixed(TEXTS[0]) - unit(hidden(plain, TEXTS[0])[0])).max() < BOUND


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ["cls"]),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}, ["max", "mean"]),
        ({"pooling_mode": "mean_sqrt_len_tokens", "embedding_dimension": 32}, ["mean_sqrt_len"]),
        ({"pooling_mode": ["mean", "cls"]}, ["mean", "cls"]),
        ({}, ["mean"]),
    ],
)
def test_pooling_of_the_files(plain: SentenceEmbedding, tmp_path: Path, config: dict[str, Any], pooling: Any) -> None:
    pipe = with_files(
        plain, tmp_path, {"modules.json": modules("Pooling", "Normalize"), "1_Pooling/config.json": config}
    )
    assert np.array_equal(pipe(TEXTS), plain(TEXTS, pooling=pooling, normalize=True))
    assert np.array_equal(pipe(TEXTS, pooling="cls", normalize=False), plain(TEXTS, pooling="cls"))
    assert pipe([]).shape == (0, 32 * len(pooling))
    assert pipe([], pooling="cls").shape == (0, 32)


@pytest.mark.parametrize("format", ["safetensors", "pytorch"])
@pytest.mark.parametrize(("activation", "bias"), [(TANH, True), (IDENTITY, False)])
def test_dense(plain: SentenceEmbedding, tmp_path: Path, format: str, activation: str, bias: bool) -> None:
    random = np.random.default_rng(0)
    weight, offset = random.standard_normal((5, 32)).astype(np.float32), np.arange(5, dtype=np.float32) * bias
    tensors = {"linear.weight": weight, **({"linear.bias": offset} if bias else {})}
    write_as_is(tmp_path / "2_Dense", tensors, format=format)
    config = {"in_features": 32, "out_features": 5, "bias": bias, "activation_function": activation}
    kinds = modules("Pooling", "Dense", "Normalize")
    pipe = with_files(
        plain, tmp_path, {"modules.json": kinds, "1_Pooling/config.json": {}, "2_Dense/config.json": config}
    )
    linear = weight.astype(float) @ plain(TEXTS[0]).astype(float) + offset
    assert np.abs(pipe(TEXTS[0]) - unit(np.tanh(linear) if activation == TANH else linear)).max() < BOUND
    assert pipe([]).shape == (0, 5)
    with pytest.raises(InputError, match="the dense layer takes 32 numbers, cls and max gives 64"):
        pipe("a", pooling=["cls", "max"])


# Length, case, prompts


def test_length_and_case_of_the_files(plain: SentenceEmbedding, tmp_path: Path) -> None:
    pipe = with_files(plain, tmp_path, {"sentence_bert_config.json": {"max_seq_length": 6, "do_lower_case": True}})
    long = "one two three four five six seven"
    assert np.allclose(pipe(long), plain(long, max_length=6), atol=BOUND)
    assert np.allclose(pipe(long, max_length=8), plain(long, max_length=8), atol=BOUND)
    assert not np.allclose(pipe(long), plain(long), atol=0.01)
    with pytest.raises(InputError, match="9 tokens, the checkpoint is for 6; use truncation=True"):
        pipe(long, truncation=False)
    assert np.allclose(pipe("[MASK]"), plain("[mask]"), atol=BOUND)
    assert not np.allclose(plain("[MASK]"), plain("[mask]"), atol=0.01)
    with pytest.raises(InputError, match="62 tokens, the model takes 48; use truncation=True"):
        pipe("a " * 60, truncation=False)


def test_prompts(plain: SentenceEmbedding, tmp_path: Path) -> None:
    prompts = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "passage"}
    pipe = with_files(plain, tmp_path, {"config_sentence_transformers.json": prompts})
    assert np.allclose(pipe("cats", prompt_name="query"), plain("query: cats"), atol=BOUND)
    assert np.allclose(pipe("cats"), plain("passage: cats"), atol=BOUND)
    assert np.allclose(pipe("cats", prompt="my "), plain("my cats"), atol=BOUND)
    assert np.allclose(pipe("cats", prompt=""), plain("cats"), atol=BOUND)
    with pytest.raises(InputError, match="prompt_name: expected query, passage; found 'document'"):
        pipe("cats", prompt_name="document")
    with pytest.raises(InputError, match="the checkpoint has no prompts"):
        plain("cats", prompt_name="query")


@pytest.mark.parametrize(
    ("pooling", "define"), [("mean", lambda states: states[3:].mean(0)), ("cls", lambda states: states[0])]
)
def test_prompt_that_is_not_pooled(plain: SentenceEmbedding, tmp_path: Path, pooling: str, define: Any) -> None:
    config = {"pooling_mode": pooling, "include_prompt": False}
    pipe = with_files(plain, tmp_path, {"modules.json": modules("Pooling"), "1_Pooling/config.json": config})
    states = hidden(plain, "find the cats")  # [CLS] find the cats [SEP]
    assert np.abs(pipe("cats", prompt="find the ") - define(states)).max() < BOUND
    assert np.abs(pipe("find the cats") - plain("find the cats", pooling=pooling)).max() < BOUND
    assert np.isfinite(pipe("", prompt="so long a prompt " * 20)).all()


# Similarity


def test_similarity(plain: SentenceEmbedding) -> None:
    found = plain.similarity([[1.0, 0.0], [2.0, 2.0]], np.array([[3, 0], [0, -1], [0, 0]]))
    half = 0.5**0.5
    assert np.allclose(found, [[1, 0, 0], [half, -half, 0]])
    assert found.dtype == np.float32
    assert np.allclose(plain.similarity(TEXTS, TEXTS).diagonal(), 1, atol=1e-6)
    assert plain.similarity("a", "b").shape == (1, 1)
    for wrong in ([[1.0], [1.0, 2.0]], np.ones((2, 2, 2)), None, ["a", 1], {"a": 1}):
        with pytest.raises(InputError):
            plain.similarity(wrong, [1.0])
    with pytest.raises(InputError, match="vectors of 2 numbers and of 3 do not compare"):
        plain.similarity([1.0, 2.0], [1.0, 2.0, 3.0])


# What goes wrong


def test_wrong_calls(plain: SentenceEmbedding) -> None:
    with pytest.raises(InputError, match="expected texts.*found NoneType"):
        plain(None)
    with pytest.raises(InputError, match="input 1: text: expected str, found int"):
        plain(["a", 1])
    with pytest.raises(InputError, match="6 problems") as caught:
        plain("a", pooling="median", normalize="yes", truncation=None, max_length=0, prompt=1, colour=2)
    for name in ("pooling", "normalize", "truncation", "max_length", "prompt", "colour"):
        assert f"- {name}: " in str(caught.value)
    with pytest.raises(InputError, match="expected one of them"):
        plain("a", prompt="x", prompt_name="y")


def test_awkward_texts_and_a_stream_with_errors(plain: SentenceEmbedding) -> None:
    assert np.isfinite(plain(AWKWARD)).all()
    items = ["a", None, "b", "long " * 60, "c"]
    results = list(plain.stream(items, keep_errors=True, truncation=False))
    assert [isinstance(result, InputError) for result in results] == [False, True, False, True, False]
    assert np.allclose(results[4], plain("c"), atol=BOUND)


POOLING = "1_Pooling/config.json"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"modules.json": "{}"}, "expected a list of modules"),
        ({"modules.json": '[], "more": []'}, "expected a list of modules"),
        ({"modules.json": "[}"}, "not valid JSON"),
        ({"modules.json": "[" * 100_000}, "nested too deeply"),
        ({"modules.json": []}, "expected Transformer, Pooling and perhaps Dense and Normalize.*found none"),
        ({"modules.json": [1]}, "module 0: expected an object; found 1"),
        ({"modules.json": modules("Pooling", "LSTM")}, "found Transformer, Pooling, LSTM"),
        ({"modules.json": modules("Normalize", "Pooling")}, "found Transformer, Normalize, Pooling"),
        ({"modules.json": [modules()[0], {"path": "1_Pooling", "type": "mine.Pooling"}]}, "found Transformer, mine.P"),
        ({"modules.json": [modules()[0], {"path": "../x", "type": LIBRARY + "Pooling"}]}, "plain name of a folder"),
        ({"modules.json": [modules()[0], {"path": "", "type": LIBRARY + "Pooling"}]}, "plain name of a folder"),
        (
            {"modules.json": [{**modules()[0], "path": "0_T"}, modules("Pooling")[1]]},
            "the encoder is in the folder 0_T",
        ),
        ({"modules.json": modules("Pooling")}, "1_Pooling/config.json: cannot be read"),
        ({"modules.json": modules("Pooling"), POOLING: {"word_embedding_dimension": 9}}, "expected 32.*found 9"),
        ({"modules.json": modules("Pooling"), POOLING: {"pooling_mode": "lasttoken"}}, "found .lasttoken"),
        ({"modules.json": modules("Pooling"), POOLING: {"pooling_mode": [{}]}}, "pooling_mode: expected cls, max"),
        ({"modules.json": modules("Pooling"), POOLING: {"pooling_mode_cls_token": 1}}, "expected true or false"),
        ({"sentence_bert_config.json": {"max_seq_length": "256"}}, "max_seq_length: expected a number"),
        ({"config_sentence_transformers.json": {"prompts": {"a": 1}}}, "prompts: expected an object"),
        ({"config_sentence_transformers.json": {"default_prompt_name": "a"}}, "expected one of no prompts; found a"),
    ],
)
def test_wrong_files(plain: SentenceEmbedding, tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        with_files(plain, tmp_path, files)
    assert str(caught.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_features": 31}, "in_features: expected 32.*found 31"),
        ({"out_features": -1}, "out_features: expected a number"),
        ({"activation_function": "os.system"}, "activation_function: expected torch.*found os.system"),
        ({"use_residual": True}, "not supported"),
        ({"bias": True}, "tensors: expected .*linear.bias.*found"),
        ({"out_features": 6}, r"tensors: expected .*\(6, 32\).*found .*\(5, 32\)"),
    ],
)
def test_wrong_dense(plain: SentenceEmbedding, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_as_is(tmp_path / "2_Dense", {"linear.weight": np.zeros((5, 32), np.float32)})
    config = {"in_features": 32, "out_features": 5, "bias": False, **change}
    files = {"modules.json": modules("Pooling", "Dense"), POOLING: {}, "2_Dense/config.json": config}
    with pytest.raises(ConfigError, match=message):
        with_files(plain, tmp_path, files)


def test_dense_without_weights(plain: SentenceEmbedding, tmp_path: Path) -> None:
    config = {"in_features": 32, "out_features": 5}
    files = {"modules.json": modules("Pooling", "Dense"), POOLING: {}, "2_Dense/config.json": config}
    with pytest.raises(ConfigError, match="2_Dense: no weights"):
        with_files(plain, tmp_path, files)


def test_all_problems_at_once(plain: SentenceEmbedding, tmp_path: Path) -> None:
    files = {
        "modules.json": modules("Pooling"),
        POOLING: {"word_embedding_dimension": 9, "include_prompt": "no"},
        "sentence_bert_config.json": {"max_seq_length": -1},
        "config_sentence_transformers.json": "[1]",
    }
    with pytest.raises(ConfigError, match="4 problems"):
        with_files(plain, tmp_path, files)


# From the hub


def test_the_files_come_with_the_checkpoint(
    server: HubServer,  # noqa: F811
    encoder: Path,
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch")
    source = shutil.copytree(encoder, tmp_path / "source")
    write_as_is(source / "2_Dense", {"linear.weight": np.eye(5, 32, dtype=np.float32)})
    wanted: dict[str, Any] = {
        "modules.json": modules("Pooling", "Dense", "Normalize"),
        POOLING: {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False},
        "2_Dense/config.json": {"in_features": 32, "out_features": 5, "bias": False, "activation_function": IDENTITY},
        "config_sentence_transformers.json": {"prompts": {"query": "query: "}},
        "sentence_bert_config.json": {"max_seq_length": 8},
    }
    (source / "1_Pooling").mkdir()
    for name, content in wanted.items():
        (source / name).write_text(json.dumps(content))
    others = dict.fromkeys(
        ["onnx/config.json", "2_Dense/pytorch_model.bin", "1_Pooling/model.py", "0_T/config.json"], b"x"
    )
    server.repositories["org/sentences"] = Repository({**contents(source), **others})
    pipe = pipeline(model="org/sentences", backend="pt")
    assert isinstance(pipe, SentenceEmbedding)
    assert np.array_equal(pipe(TEXTS), pipeline("sentence-embedding", source, backend="pt")(TEXTS))
    assert pipe.modules.max_length == 8
    assert pipe("cats", prompt_name="query").shape == (5,)
    assert contents(hub.resolve("org/sentences", local_files_only=True)).keys() == contents(source).keys()
    assert "modules.json" not in contents(hub.resolve("org/sentences", weights=False, cache_dir=tmp_path / "other"))
