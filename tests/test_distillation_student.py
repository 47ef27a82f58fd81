# SPDX-License-Identifier: Apache-2.0
"""Teacher to student: layers, width, vocabulary, heads, and students of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertConfig, DistilBertTokenizer, spec
from distilbert.errors import InputError
from distilbert.reference import forward
from distilbert.training.distillation.recipe import DistillRecipe
from distilbert.training.distillation.student import Model, Prepared, prepare, read_model
from distilbert.training.distillation.vocabulary import kept_pieces, needed_pieces, smaller_tokenizer

from .distillation_samples import TEACHER, VOCABULARY, recipe, texts, write_teacher, write_tokenizer
from .samples import TINY, random_tensors, write_model

LAYER = "distilbert.transformer.layer.{}.{}"


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return write_teacher(tmp_path / "teacher")


def outputs(model: Model, **call: Any) -> Any:
    tensors = {name: values.astype(np.float64) for name, values in model.tensors.items()}
    return forward(model.task, model.config, tensors, **call)


def test_layers_are_the_teachers(tmp_path: Path, teacher: Path) -> None:
    found = prepare(recipe(tmp_path, layers="0,3"))
    assert found.student.config.n_layers == 2
    assert found.coordinates is None
    assert set(found.student.tensors) == set(spec.tensors(found.student.config, "masked-lm"))
    for place, layer in ((0, 0), (1, 3)):
        one, other = LAYER.format(place, "ffn.lin1.weight"), LAYER.format(layer, "ffn.lin1.weight")
        assert (found.student.tensors[one] == found.teacher.tensors[other]).all()
    whole = prepare(recipe(tmp_path, layers="0,1,2,3"))
    ids = np.array([[2, 7, 9, 3]])
    one, other = (outputs(model, input_ids=ids).logits for model in (whole.student, whole.teacher))
    assert np.array_equal(one, other)
    with pytest.raises(InputError, match=r"layers: the teacher's are 0 to 3, found 0,4"):
        prepare(recipe(tmp_path, layers="0,4"))


def test_pruned_heads_move_with_their_layers(tmp_path: Path) -> None:
    config = TEACHER.replace(pruned_heads={1: [0], 3: [1, 2]})
    write_model(tmp_path / "teacher", config, "masked-lm", random_tensors(config, "masked-lm"))
    write_tokenizer(tmp_path / "teacher")
    student = prepare(recipe(tmp_path, layers="0,3")).student
    assert dict(student.config.pruned_heads) == {1: (1, 2)}
    outputs(student, input_ids=np.array([[2, 7, 3]]))
    with pytest.raises(InputError, match="pruned heads"):
        prepare(recipe(tmp_path, dim=16))


def test_truncation_takes_the_first(tmp_path: Path, teacher: Path) -> None:
    found = prepare(recipe(tmp_path, layers="0,1,2,3", dim=16, width="truncation", hidden_dim=20))
    wide, narrow = found.teacher.tensors, found.student.tensors
    assert (found.student.config.dim, found.student.config.n_heads, found.student.config.hidden_dim) == (16, 2, 20)
    assert found.coordinates is not None
    assert found.coordinates.tolist() == list(range(16))
    expected = {
        "distilbert.embeddings.word_embeddings.weight": (slice(None), slice(16)),
        "distilbert.embeddings.LayerNorm.weight": (slice(16),),
        LAYER.format(1, "attention.q_lin.weight"): (slice(16), slice(16)),
        LAYER.format(1, "attention.out_lin.bias"): (slice(16),),
        LAYER.format(1, "ffn.lin1.weight"): (slice(20), slice(16)),
        LAYER.format(1, "ffn.lin2.weight"): (slice(16), slice(20)),
        "vocab_transform.weight": (slice(16), slice(16)),
        "vocab_projector.bias": (slice(None),),
    }
    for name, part in expected.items():
        assert np.array_equal(narrow[name], wide[name][part]), name


def test_projection_loses_nothing_that_the_teacher_does_not_use(tmp_path: Path) -> None:
    """A teacher of which half the coordinates, heads and units are silent is found again in its half."""
    small = TEACHER.replace(dim=16, n_heads=2, hidden_dim=24)
    inner, random = random_tensors(small, "masked-lm"), np.random.default_rng(0)
    places = {size: np.sort(random.permutation(2 * size)[:size]) for size in (16, 24)}
    wide: dict[str, np.ndarray] = {}
    for name, tensor in spec.tensors(TEACHER, "masked-lm").items():
        values = np.zeros(tensor.shape, np.float32)
        grid = []
        for axis, size in enumerate(tensor.shape):
            heads = "attention" in name and (axis == 0) != ("out_lin" in name) and name.split(".")[-2] != "out_lin"
            heads = heads or ("out_lin.weight" in name and axis == 1)
            kept = np.concatenate([8 + np.arange(8), 24 + np.arange(8)]) if heads else places.get(size // 2)
            grid.append(np.arange(size) if kept is None or size == TEACHER.vocab_size else kept)
        values[np.ix_(*grid)] = inner[name]
        wide[name] = values
    write_teacher(tmp_path / "teacher")
    write_model(tmp_path / "teacher", TEACHER, "masked-lm", wide)
    found = prepare(recipe(tmp_path, layers="0,1,2,3", dim=16))
    assert found.coordinates is not None
    assert found.coordinates.tolist() == places[16].tolist()
    factor = np.float32(2**0.5)  # LayerNorm over twice as many coordinates, of which half are 0
    for name, values in inner.items():
        scale = factor if "norm.weight" in name.lower() else 1
        assert np.allclose(found.student.tensors[name], values * scale, rtol=1e-5), name


def test_projection_is_nearer_to_a_real_teacher_than_truncation(tmp_path: Path, minilm: Path) -> None:
    values = {"teacher": str(minilm), "alpha_ce": 0, "layers": "0,1,2", "dim": 192}
    ids = np.array([[101, 1996, 14331, 2003, 3236, 1999, 18911, 1998, 8828, 3147, 1012, 102]])
    cosines = {}
    for width in ("projection", "truncation"):
        found = prepare(recipe(tmp_path, width=width, **values))
        teacher = prepare(recipe(tmp_path, **{**values, "dim": None})).student
        aim = outputs(teacher, input_ids=ids).hidden_states[-1][..., found.coordinates]
        state = outputs(found.student, input_ids=ids).hidden_states[-1]
        norms = np.linalg.norm(aim, axis=-1) * np.linalg.norm(state, axis=-1)
        cosines[width] = float(((aim * state).sum(-1) / norms).mean())
    assert cosines["projection"] > cosines["truncation"] + 0.02
    assert cosines["projection"] > 0.75


def test_heads_of_fewer_coordinates_keep_their_scale(tmp_path: Path, teacher: Path) -> None:
    found = prepare(recipe(tmp_path, dim=16, n_heads=4, width="truncation"))
    assert found.student.config.head_dim == 4
    name = LAYER.format(0, "attention.{}.weight")
    rows = [head * 8 + row for head in range(4) for row in range(4)]
    for linear, factor in (("q_lin", 0.5**0.5), ("k_lin", 1), ("v_lin", 1)):
        wide = found.teacher.tensors[name.format(linear)][rows][:, :16] * np.float32(factor)
        assert np.allclose(found.student.tensors[name.format(linear)], wide)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dim": 64}, r"dim: expected at most the teacher's 32, found 64"),
        ({"dim": 12}, r"n_heads: name it; dim 12 is no multiple of the teacher's heads of 8"),
        ({"hidden_dim": 500}, r"hidden_dim: expected at most the teacher's 48, found 500"),
        ({"n_heads": 2}, r"head_dim: expected at most the teacher's 8, found 16"),
        ({"vocab_size": 99999}, r"vocab_size: the teacher's tokenizer has [0-9,]+ pieces; found 99,999"),
        ({"vocab_size": 9, "layers": "0,9"}, r"layers: the teacher's are 0 to 3, found 0,9"),  # before text is counted
        ({"max_seq_length": 41}, r"max_seq_length: the teacher takes 40 tokens, found 41"),
    ],
)
def test_sizes_that_the_teacher_cannot_give(tmp_path: Path, teacher: Path, values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(recipe(tmp_path, **values))


def test_a_teacher_without_head(tmp_path: Path) -> None:
    write_teacher(tmp_path / "teacher", "encoder")
    with pytest.raises(InputError, match="lacks the head of DistilBertForMaskedLM"):
        prepare(recipe(tmp_path))
    found = prepare(recipe(tmp_path, alpha_ce=0, dim=16))
    assert "vocab_transform.weight" in found.teacher.absent
    assert found.student.absent == []
    assert found.student.tensors["vocab_transform.weight"].shape == (16, 16)


def test_a_task_keeps_head_and_labels(tmp_path: Path) -> None:
    write_teacher(tmp_path / "teacher", "sequence-classification")
    values = {"task": "text-classification", "layers": "0,1,2,3", "dim": 16, "vocab_size": len(VOCABULARY)}
    counts = np.ones(len(VOCABULARY), np.int64)
    found = prepare(recipe(tmp_path, **values), lambda: counts)
    assert found.student.config.id2label == TEACHER.id2label
    assert found.student.tensors["pre_classifier.weight"].shape == (16, 16)
    assert found.student.tensors["classifier.weight"].shape == (3, 16)
    assert found.teacher.config == read_model(str(tmp_path / "teacher"), "sequence-classification")[0].config
    outputs(found.student, input_ids=np.array([[2, 7, 3]]))


def test_dropout_of_the_student(tmp_path: Path, teacher: Path) -> None:
    found = prepare(recipe(tmp_path, dropout=0.0))
    assert found.student.config.dropout == found.student.config.attention_dropout == 0.0


def own_student(tmp_path: Path, config: DistilBertConfig) -> DistillRecipe:
    write_teacher(tmp_path / "own", config=config)
    return recipe(tmp_path, student=str(tmp_path / "own"))


def test_a_student_of_ones_own(tmp_path: Path, teacher: Path) -> None:
    found = prepare(own_student(tmp_path, TEACHER.replace(n_layers=1, hidden_dim=11)))
    assert (found.student.config.n_layers, found.student.config.hidden_dim) == (1, 11)
    with pytest.raises(InputError, match=r"alpha_cos: expected 0; .* from 32 to 16"):
        prepare(own_student(tmp_path, TEACHER.replace(dim=16)))


def test_a_student_of_ones_own_with_other_pieces(tmp_path: Path, teacher: Path) -> None:
    given = own_student(tmp_path, TEACHER)
    words = [*VOCABULARY[:5], *VOCABULARY[8:40], "zebra"]
    (tmp_path / "own" / "vocab.txt").write_text("\n".join(words) + "\n")
    with pytest.raises(InputError, match=r"1 pieces that are none of the teacher's: 'zebra'"):
        prepare(given)
    (tmp_path / "own" / "vocab.txt").write_text("\n".join(words[:-1]) + "\n")
    found = prepare(given)
    assert found.teacher.config.vocab_size == found.student.config.vocab_size == len(words) - 1
    name = "distilbert.embeddings.word_embeddings.weight"
    full = read_model(str(tmp_path / "teacher"), "masked-lm")[0].tensors[name]
    assert np.array_equal(found.teacher.tensors[name], full[[VOCABULARY.index(word) for word in words[:-1]]])


# Vocabulary.


def smaller(tmp_path: Path, size: int) -> tuple[Prepared, DistilBertTokenizer, np.ndarray]:
    tokenizer = DistilBertTokenizer.from_pretrained(tmp_path / "teacher")
    ids = [number for text in texts(200) for number in tokenizer.encode(text, add_special_tokens=False)]
    counts = np.bincount(ids, minlength=len(tokenizer))
    return prepare(recipe(tmp_path, vocab_size=size), lambda: counts), tokenizer, counts


def test_a_smaller_vocabulary(tmp_path: Path, teacher: Path) -> None:
    found, tokenizer, counts = smaller(tmp_path, 62)
    assert found.student.config.vocab_size == found.teacher.config.vocab_size == len(found.tokenizer) == 62
    kept = kept_pieces(tokenizer, counts, 62)
    assert needed_pieces(tokenizer)[kept].sum() == needed_pieces(tokenizer).sum() == 58
    extra = [number for number in kept if not needed_pieces(tokenizer)[number]]
    assert counts[extra].min() >= np.delete(counts, kept).max()
    text = "the treehouse and zebras"
    tokens, before = found.tokenizer.tokenize(text), tokenizer.tokenize(text)
    assert "[UNK]" not in tokens
    assert len(tokens) > len(before)
    assert found.tokenizer.decode(found.tokenizer.encode(text)) == tokenizer.decode(tokenizer.encode(text))
    ids = np.asarray([found.tokenizer.encode("the cat")])
    full = read_model(str(tmp_path / "teacher"), "masked-lm")[0]
    expected = outputs(full, input_ids=kept[ids]).logits[..., kept]
    assert np.allclose(outputs(found.teacher, input_ids=ids).logits, expected, rtol=1e-12)


def test_a_smaller_vocabulary_survives_files(tmp_path: Path, teacher: Path) -> None:
    found, _, _ = smaller(tmp_path, 65)
    found.tokenizer.save_pretrained(tmp_path / "saved")
    again = DistilBertTokenizer.from_pretrained(tmp_path / "saved")
    assert again.get_vocab() == found.tokenizer.get_vocab()
    assert again(texts(20))["input_ids"] == found.tokenizer(texts(20))["input_ids"]
    with pytest.raises(InputError, match="the teacher's tokenizer has"):
        smaller(tmp_path, 10_000)


def test_pieces_with_characters_of_their_own_stay(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "aab", "aa"])
    )
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    kept = kept_pieces(tokenizer, np.zeros(9, np.int64), 5)
    assert kept.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]  # "aab" alone has a "b"
    assert smaller_tokenizer(tokenizer, kept).tokenize("aa aab") == ["a", "##a", "aab"]


def test_a_vocabulary_of_bert(minilm: Path, data_folder: Path) -> None:
    tokenizer = DistilBertTokenizer.from_pretrained(minilm)
    lines = (data_folder / "wikitext2" / "valid.txt").read_text().splitlines()[:400]
    ids = tokenizer(lines, add_special_tokens=False, verbose=False)["input_ids"]
    counts = np.bincount([number for row in ids for number in row], minlength=len(tokenizer))
    kept = kept_pieces(tokenizer, counts, 5000)
    assert len(kept) == 5000
    found = smaller_tokenizer(tokenizer, kept)
    test = (data_folder / "wikitext2" / "test.txt").read_text().splitlines()[:300]
    before, after = (which(test, verbose=False)["input_ids"] for which in (tokenizer, found))
    assert [tokenizer.decode(row) for row in before] == [found.decode(row) for row in after]
    unknown = sum(row.count(tokenizer.unk_token_id) for row in before)
    assert sum(row.count(found.unk_token_id) for row in after) == unknown


def test_shared_sizes_are_told_apart() -> None:
    """The samples would not notice a mixed-up axis if sizes were equal."""
    assert len({TINY.dim, TINY.hidden_dim, TINY.vocab_size}) == 3
    assert len({TEACHER.dim, TEACHER.hidden_dim, TEACHER.vocab_size}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"problem_type": "multi_label_classification"},
            "problem_type: expected single_label_classification, found mul",
        ),
        ({"problem_type": "regression", "num_labels": 1}, r"2 problems\n.*problem_type.*\n.*num_labels: .*2, found 1"),
        ({"num_labels": 1}, "num_labels: expected at least 2, found 1"),
    ],
)
def test_a_teacher_of_a_task_chooses_one_class(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_teacher(tmp_path / "teacher", "sequence-classification", TEACHER.replace(**changes))
    with pytest.raises(InputError, match=message):
        prepare(recipe(tmp_path, task="text-classification"))


def test_an_own_student_takes_texts_of_the_length(tmp_path: Path, teacher: Path) -> None:
    write_teacher(tmp_path / "short", config=TEACHER.replace(max_position_embeddings=12))
    with pytest.raises(InputError, match="short: .*max_seq_length: it takes 12 tokens, found 16"):
        prepare(recipe(tmp_path, student=str(tmp_path / "short")))
    assert prepare(recipe(tmp_path, student=str(tmp_path / "short"), max_seq_length=12)).student.config.dim == 32
