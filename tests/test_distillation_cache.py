# SPDX-License-Identifier: Apache-2.0
"""Batches, and the teacher's answers on disk: the same as asking the teacher, resumable, and refused where they do
not belong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert.errors import InputError
from distilbert.outputs import MaskedLMOutput, SequenceClassifierOutput
from distilbert.reference import forward
from distilbert.training.batch import Batch, normalised, share
from distilbert.training.distillation.batches import Distillation, TaskDistillation
from distilbert.training.distillation.cache import TeacherCache, cached_labels, model_digest
from distilbert.training.distillation.reference import kept_hidden, triple_loss
from distilbert.training.distillation.stages import count_pieces, loss_settings, open_cache, read_examples
from distilbert.training.distillation.student import Prepared, prepare

from .distillation_samples import recipe, texts, write_teacher

Teacher = Callable[[Batch], Mapping[str, np.ndarray]]


def teacher_of(prepared: Prepared, restricted: bool, calls: list[int] | None = None) -> Teacher:
    """The reference as a teacher, its hidden states in the student's coordinates."""
    model = prepared.teacher

    def answer(batch: Batch) -> Mapping[str, np.ndarray]:
        if calls is not None:
            calls.append(len(batch["input_ids"]))
        call = {name: batch[name] for name in ("input_ids", "attention_mask")}
        found = forward(model.task, model.config, model.tensors, **call)
        logits = found.logits
        if restricted:
            logits = np.take_along_axis(logits, batch["places"][..., None].astype(int), 1)
        return {"logits": logits, "hidden": kept_hidden(found.hidden_states[-1], prepared.coordinates)}

    return answer


class Scene:
    """A recipe with all that comes before the first step."""

    def __init__(self, folder: Path, **values: Any) -> None:
        if not (folder / "teacher").exists():
            write_teacher(folder / "teacher")
            (folder / "corpus.txt").write_text("\n".join(texts(80)))
        self.recipe = recipe(folder, teacher_cache=str(folder / "cache"), cache_top_k=6, cache_masks=2, **values)
        self.prepared = prepare(self.recipe, lambda: count_pieces(self.recipe, print))
        self.examples = read_examples(self.recipe, "train", self.prepared.tokenizer, print)
        self.plain = Distillation(self.recipe, self.prepared.tokenizer, self.examples.counts)
        self.teacher = teacher_of(self.prepared, self.recipe.restrict_ce_to_mask)

    def cache(self, shard_tokens: int = 100) -> TeacherCache:
        cache = open_cache(self.recipe, self.prepared, self.examples, self.plain, shard_tokens)
        assert cache is not None
        return cache

    def collate(self, rows: np.ndarray, length: int, masking: int) -> Batch:
        return self.plain.collate_for_cache(self.examples, rows, length, masking)


def test_a_batch_in_training_and_in_evaluation(tmp_path: Path) -> None:
    scene = Scene(tmp_path, line_by_line=True)
    rows = np.array([3, 0, 11])
    found = scene.plain.collate(scene.examples, rows, 16, (42, 0))
    assert {name: values.shape for name, values in found.items()} == {
        "input_ids": (3, 16),
        "attention_mask": (3, 16),
        "places": (3, 8),
        "labels": (3, 8),
        "weights": (3, 8),
        "token_weights": (3, 16),
    }
    assert {name: values.dtype.name for name, values in found.items()} == {
        **dict.fromkeys(("input_ids", "attention_mask", "places", "labels"), "int32"),
        **dict.fromkeys(("weights", "token_weights"), "float32"),
    }
    assert found["attention_mask"].sum(1).tolist() == scene.examples.lengths[rows].tolist()
    assert (found["token_weights"] == found["attention_mask"]).all()
    original = scene.examples.ids(rows, 16)
    kept = found["weights"] == 1
    assert (np.take_along_axis(original, found["places"], 1) == found["labels"])[kept].all()
    again = scene.plain.collate(scene.examples, rows[::-1].copy(), 16, (42, 0))
    assert (again["input_ids"] == found["input_ids"][::-1]).all()
    assert (scene.plain.collate(scene.examples, rows, 16, (42, 1))["input_ids"] != found["input_ids"]).any()
    evaluated = scene.plain.collate(scene.examples, rows, 16, None)
    assert set(evaluated) == set(found) - {"token_weights"}
    assert (evaluated["input_ids"] == scene.plain.collate(scene.examples, rows, 16, None)["input_ids"]).all()


def test_rare_pieces_are_masked_more_often(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    cat = scene.prepared.tokenizer.convert_tokens_to_ids("cat")
    counts = np.full_like(scene.examples.counts, 1000)
    counts[cat] = 10
    rows = np.arange(len(scene.examples))

    def share_of_cat(task: Distillation) -> float:
        batch = task.collate(scene.examples, rows, 16, (0, 0))
        return float((batch["labels"][batch["weights"] == 1] == cat).mean())

    smoothed = Distillation(scene.recipe, scene.prepared.tokenizer, counts)
    plain = Distillation(scene.recipe, scene.prepared.tokenizer, None)
    assert share_of_cat(smoothed) > 3 * share_of_cat(plain) > 0


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("vocab_size", [None, 62])
def test_a_cached_batch_says_what_the_teacher_says(tmp_path: Path, restricted: bool, vocab_size: int | None) -> None:
    scene = Scene(tmp_path, restrict_ce_to_mask=restricted, dim=16, vocab_size=vocab_size, line_by_line=True)
    cache = scene.cache()
    cache.build(scene.teacher, scene.collate, 4)
    assert len(cache.shards.entries) > 4
    task = Distillation(scene.recipe, scene.prepared.tokenizer, scene.examples.counts, cache)
    rows = np.array([7, 0, len(scene.examples) - 1, 20])
    for epoch in (0, 1, 2):
        batch = task.collate(scene.examples, rows, 16, (scene.recipe.seed, epoch))
        fresh = scene.plain.collate(scene.examples, rows, 16, (scene.recipe.seed, epoch % 2))
        assert (batch["input_ids"] == fresh["input_ids"]).all()
        answer = scene.teacher(fresh)
        counted = (fresh["weights"] if restricted else fresh["token_weights"]) == 1
        powers = np.exp(answer["logits"] / 2)
        exact = powers / powers.sum(-1, keepdims=True)
        expected = np.take_along_axis(exact, batch["teacher_ids"].astype(int), -1)
        assert np.allclose(batch["teacher_probabilities"][..., :-1][counted], expected[counted], rtol=2e-3)
        assert np.allclose(batch["teacher_probabilities"].sum(-1), 1, rtol=1e-5)
        real = fresh["attention_mask"] == 1
        hidden = answer["hidden"]
        assert hidden.shape[-1] == 16
        assert np.allclose(batch["teacher_hidden"][real], hidden[real], rtol=2e-3, atol=1e-3)
    student = {"logits": answer["logits"].astype(np.float64), "hidden": hidden.astype(np.float64)}
    terms = triple_loss(loss_settings(scene.recipe), normalised([batch])[0], student, {}).terms
    assert terms["ce"] == pytest.approx(0, abs=1e-4)  # a student that answers as its teacher has nothing to learn
    assert terms["cos"] == pytest.approx(0, abs=1e-5)
    padded = share(normalised([batch])[0], 1, 3)
    assert all(np.isfinite(values).all() for values in padded.values())


def test_a_killed_cache_goes_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    whole = scene.cache()
    whole.build(scene.teacher, scene.collate, 4)
    content = {path.name: path.read_bytes() for path in whole.shards.folder.iterdir()}
    for path in whole.shards.folder.iterdir():
        path.unlink()

    def kill(what: str) -> None:
        done, total = re.findall(r"\d+", what)
        if done != total:
            raise KeyboardInterrupt

    for _ in range(100):
        try:
            scene.cache().build(scene.teacher, scene.collate, 4, kill)
            break
        except KeyboardInterrupt:
            pass
    assert {path.name: path.read_bytes() for path in whole.shards.folder.iterdir()} == content
    calls: list[int] = []
    scene.cache().build(teacher_of(scene.prepared, False, calls), scene.collate, 4)
    assert calls == []


def test_a_cache_of_something_else_is_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.cache().build(scene.teacher, scene.collate, 4)
    for values, message in (
        ({"mlm_probability": 0.3}, r"mlm_probability: was 0.15, is 0.3"),
        ({"seed": 7}, r"seed: was 42, is 7"),
        ({"restrict_ce_to_mask": True}, r"restrict_ce_to_mask: was False, is True"),
    ):
        with pytest.raises(InputError, match=message):
            Scene(tmp_path, **values).cache()
    Scene(tmp_path, temperature=5.0, alpha_ce=1.0).cache()  # these are free
    write_teacher(tmp_path / "teacher", config=scene.prepared.teacher.config.replace(activation="relu"))
    with pytest.raises(InputError, match="teacher: was"):
        Scene(tmp_path).cache()


def test_scores_of_masked_language_modelling(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    size = scene.prepared.teacher.config.vocab_size
    kept = []
    for row in range(6):
        batch = scene.plain.collate(scene.examples, np.array([row]), 16, None)
        logits = np.zeros((batch["places"].shape[1], size), np.float32)
        logits[np.arange(len(logits)), batch["labels"][0]] = 0 if row % 2 else 50
        kept.append(scene.plain.kept(scene.examples, row, MaskedLMOutput(logits=logits)))
    found = scene.plain.score(scene.examples, kept)
    places = np.array([guesses.places for guesses in kept])
    assert found["perplexity"] == pytest.approx(size ** (places[1::2].sum() / places.sum()), rel=1e-4)
    assert found["accuracy"] >= places[::2].sum() / places.sum()


def test_task_batches_and_scores(tmp_path: Path) -> None:
    write_teacher(tmp_path / "teacher", "sequence-classification")
    lines = [f"{text}\t{label}" for text, label in zip(texts(10), ["LABEL_2", "", "0", "", "1"] * 2, strict=True)]
    (tmp_path / "corpus.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    found = recipe(tmp_path, task="text-classification", corpus=str(tmp_path / "corpus.tsv"), alpha_label=1.0)
    prepared = prepare(found)
    teacher = prepared.teacher
    examples = read_examples(found, "train", prepared.tokenizer, print, prepared.teacher.config.id2label)
    calls = []

    def answer(sequences: list[np.ndarray]) -> Iterator[np.ndarray]:
        calls.append(len(sequences))
        for ids in sequences:
            yield forward(teacher.task, teacher.config, teacher.tensors, input_ids=ids[None]).logits[0]

    identity = {"teacher": model_digest(prepared.teacher)}
    logits = cached_labels(tmp_path / "soft", examples, answer, identity, block=4)
    assert calls == [4, 4, 2]
    assert logits.shape == (10, 3)
    assert (cached_labels(tmp_path / "soft", examples, answer, identity, block=4) == logits).all()
    assert len(calls) == 3
    task = TaskDistillation(found, logits)
    batch = task.collate(examples, np.array([0, 1, 2]), 16, (42, 0))
    assert batch["labels"].tolist() == [2, 0, 0]
    assert batch["label_weights"].tolist() == [1, 0, 1]
    assert batch["weights"].tolist() == [1, 1, 1]
    assert (batch["teacher_logits"] == logits[:3]).all()
    evaluated = task.collate(examples, np.array([0, 1, 2]), 16, None)
    assert evaluated["weights"].tolist() == [1, 0, 1]
    assert "teacher_logits" not in evaluated
    answers = [SequenceClassifierOutput(logits=np.eye(3, dtype=np.float32)[2])] * 10
    kept = [task.kept(examples, row, answer) for row, answer in enumerate(answers)]
    assert task.score(examples, kept) == {"accuracy": pytest.approx(1 / 3)}
