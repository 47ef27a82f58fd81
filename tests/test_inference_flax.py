# SPDX-License-Identifier: Apache-2.0
"""The fast path in JAX, where it is unlike the others': few programs, kept on disk, and padding of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("flax")

from distilbert import DistilBertConfig  # noqa: E402
from distilbert.errors import InputError  # noqa: E402
from distilbert.flax import (  # noqa: E402
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertModel,
    kernels,
)
from distilbert.flax.inference import FastModel, compute, padded_length  # noqa: E402
from distilbert.inference import compile_cache  # noqa: E402
from distilbert.parity.tolerances import BFLOAT16  # noqa: E402

from .samples import TINY  # noqa: E402

SMALL = DistilBertConfig(vocab_size=11, dim=8, n_layers=1, n_heads=2, hidden_dim=8, max_position_embeddings=48)


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compile_cache.VARIABLE, "0")


@pytest.fixture
def programs() -> object:
    """Counts the programs that have been compiled since the test started."""
    compute.clear_cache()
    return compute._cache_size


@pytest.mark.parametrize("model_class", [DistilBertModel, DistilBertForSequenceClassification])
def test_every_length_in_few_programs(model_class, programs) -> None:
    fast = model_class(SMALL, seed=0).for_inference()
    for length in range(1, 49):
        ids = np.ones((1, length), np.int64)
        fast(ids)
        fast(ids, np.ones_like(ids))
    assert programs() == 5  # of 8, 16, 24, 32 and 48 tokens
    for length in range(1, 49):
        list(fast.run([[1] * length]))
    assert programs() <= 8  # rows of 16, 24, 32 and 48 tokens, with places for more texts than one


def test_every_batch_in_few_programs(programs) -> None:
    fast = DistilBertModel(SMALL, seed=0).for_inference()
    for batch in range(1, 40):
        assert fast(np.ones((batch, 40), np.int64)).last_hidden_state.shape == (batch, 40, 8)
    assert programs() == 4  # 1, 2, 4 and 8 rows of 48 tokens, which are 512 at most


def test_warm_up_leaves_nothing_to_compile(caplog, monkeypatch) -> None:
    monkeypatch.setattr(FastModel, "tokens_per_pack", 64)  # for fewer programs
    fast = DistilBertForSequenceClassification(SMALL.replace(max_position_embeddings=12), seed=0).for_inference()
    fast.warm_up()
    random = np.random.default_rng(0)
    with jax.log_compiles():
        for length in range(1, 13):
            for batch in (1, 3, 40):
                fast(np.ones((batch, length), np.int64))
        for longest in (1, 2, 5, 12):
            for count in (1, 3, 40, 900):
                list(fast.run([[1] * length for length in random.integers(1, longest + 1, count)]))
        assert "Compiling" not in caplog.text
        jax.jit(lambda x: x + 1)(1)
        assert "Compiling" in caplog.text


def test_warm_up_for_some_lengths(programs) -> None:
    fast = DistilBertForSequenceClassification(SMALL, seed=0).for_inference()
    fast.warm_up([40, 47])
    compiled = programs()
    fast(np.ones((7, 41), np.int64))
    list(fast.run([[1] * length for length in (40, 41, 47, 46)]))
    assert programs() == compiled
    fast(np.ones((7, 31), np.int64))
    assert programs() > compiled
    compiled = programs()
    list(fast.run([[1]] * 40))
    assert programs() > compiled


@pytest.mark.parametrize("tokens_per_pack", [512, 16384])
@pytest.mark.parametrize("model_class", [DistilBertModel, DistilBertForSequenceClassification])
def test_warm_up_knows_every_shape(model_class, tokens_per_pack, monkeypatch) -> None:
    """Long texts and a GPU's many rows too: nothing is computed here."""
    used = set()

    def compute(self, ids, positions, segments, places):
        used.add((*ids.shape, 0 if places is None else places.shape[1]))
        return (np.zeros((*ids.shape, 1) if places is None else (*places.shape, 1)),)

    monkeypatch.setattr(FastModel, "compute", compute)
    fast = model_class(SMALL.replace(max_position_embeddings=600), seed=0).for_inference()
    fast.tokens_per_pack = tokens_per_pack
    random = np.random.default_rng(0)
    for shortest, longest in ((1, 600), (1, 3), (3, 512), (8, 20), (16, 16), (17, 130), (200, 200), (300, 600)):
        used.clear()
        lengths = range(shortest, longest + 1)
        for length in {shortest, longest, *random.choice(lengths, 8).tolist()}:
            fast(np.ones((random.integers(1, 100), length), np.int64))
        for count in (1, 2, 5, 30, 200):
            list(fast.run([[1] * length for length in random.integers(shortest, longest + 1, count)]))
            list(fast.run([[1] * length for length in random.choice([shortest, longest], count, p=[0.9, 0.1])]))
        assert used <= set(fast.shapes(lengths))
        if shortest > 8 and fast.first_only:
            list(fast.run([[1]] * 128))
            assert not used <= set(fast.shapes(lengths))


@pytest.mark.parametrize("places", [1, 3])
def test_warm_up_knows_every_number_of_places(places, monkeypatch) -> None:
    used = set()

    def compute(self, ids, positions, segments, places):
        used.add((*ids.shape, places.shape[1]))
        return (np.zeros((*places.shape, 1)),)

    monkeypatch.setattr(FastModel, "compute", compute)
    fast = DistilBertForMaskedLM(SMALL.replace(max_position_embeddings=300), seed=0).for_inference()
    random = np.random.default_rng(0)
    for shortest, longest in ((5, 20), (30, 300), (200, 200)):
        used.clear()
        for count in (1, 2, 5, 30, 200):
            texts = [[1] * length for length in random.integers(shortest, longest + 1, count)]
            list(fast.run(texts, [[0] * random.integers(0, places + 1) for _ in texts]))
        assert used <= set(fast.shapes(range(shortest, longest + 1), places))
        list(fast.run([[1] * shortest] * 200, [[0] * 20] * 200))
        assert not used <= set(fast.shapes(range(shortest, longest + 1), places))


def test_models_of_one_shape_share_programs(programs) -> None:
    one, other = (DistilBertModel(SMALL, seed=seed).for_inference() for seed in (0, 1))
    ids = np.ones((1, 8), np.int64)
    assert not np.array_equal(one(ids).last_hidden_state, other(ids).last_hidden_state)
    assert programs() == 1


def test_lengths_above_the_usual_ones_are_doubled() -> None:
    assert [padded_length(length) for length in (1, 8, 9, 17, 512, 513, 769)] == [8, 8, 16, 24, 512, 768, 1024]


@pytest.mark.parametrize("model_class", [DistilBertModel, DistilBertForSequenceClassification])
@pytest.mark.parametrize("length", [7, 16])  # with and without padding added to it
def test_row_of_padding_alone_is_as_in_the_model(model_class, length: int) -> None:
    model = model_class(TINY, seed=3)
    ids = np.random.default_rng(0).integers(0, TINY.vocab_size, (3, length))
    mask = np.ones_like(ids)
    mask[1] = 0
    mask[2, :3] = 0
    expected, found = model(ids, mask).to_tuple()[0], model.for_inference()(ids, mask).to_tuple()[0]
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max(), rtol=0)


def test_sequences_with_many_to_a_row() -> None:
    model = DistilBertForSequenceClassification(TINY, seed=3)
    random = np.random.default_rng(0)
    sequences = [random.integers(0, TINY.vocab_size, length) for length in [1, 33, *[1] * 40, 5]]
    for sequence, answer in zip(sequences, model.for_inference().run(sequences), strict=True):
        np.testing.assert_allclose(answer.logits, model(sequence[None]).logits[0], atol=2e-6, rtol=0)


def test_half_precision_sums_in_float32() -> None:
    model = DistilBertModel(TINY, seed=3)
    ids = np.arange(16)[None]
    expected = model(ids).last_hidden_state
    for dtype, error in (("bfloat16", 1e-2), ("float16", 1e-3)):
        found = model.for_inference(dtype)(ids).last_hidden_state
        assert found.dtype == np.float32
        assert 0 < np.abs(found - expected).max() / np.abs(expected).max() < error


def test_heads_and_a_scale_that_is_no_power_of_two() -> None:
    config = DistilBertConfig(
        vocab_size=11, dim=12, n_layers=2, n_heads=4, hidden_dim=8, max_position_embeddings=16, pruned_heads={0: [1, 2]}
    )
    model = DistilBertModel(config, seed=1)
    ids = np.arange(10)[None]
    np.testing.assert_allclose(
        model.for_inference()(ids).last_hidden_state, model(ids).last_hidden_state, atol=3e-6, rtol=0
    )


def test_not_inside_compiled_code() -> None:
    fast = DistilBertModel(SMALL, seed=0).for_inference()
    with pytest.raises(InputError, match="compiles itself"):
        jax.jit(lambda ids: fast(ids).last_hidden_state)(np.ones((1, 8), np.int32))


def test_model_without_values() -> None:
    with pytest.raises(InputError, match="_do_init=False"):
        FastModel(DistilBertModel(SMALL, _do_init=False), "float32")


# The folder of programs. JAX has one for the whole process, so that each of these needs its own.

MAKE = """
import numpy, jax
from distilbert import DistilBertConfig
from distilbert.flax import DistilBertModel
config = DistilBertConfig(vocab_size=11, dim=8, n_layers=1, n_heads=2, hidden_dim=8, max_position_embeddings=48)
model = DistilBertModel(config, seed=0)
jax.jit(lambda x: x + 1)(1)
from distilbert.inference import compile_cache
compile_cache.SHORTEST = 0
fast = model.for_inference()
fast(numpy.ones((1, 8), int)).last_hidden_state.block_until_ready()
print(jax.config.jax_compilation_cache_dir)
"""


def make(**environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != compile_cache.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", MAKE],
        env={**kept, "JAX_PLATFORMS": "cpu", **environment},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_programs_are_kept_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "distilbert" / "xla"
    assert make(XDG_CACHE_HOME=str(tmp_path)) == str(folder)
    kept = sorted(path.name for path in folder.glob("jit_compute*-cache"))
    assert len(kept) == 1
    make(XDG_CACHE_HOME=str(tmp_path))
    assert sorted(path.name for path in folder.glob("jit_compute*-cache")) == kept


def test_folder_of_the_users_choice(tmp_path: Path) -> None:
    chosen = str(tmp_path / "chosen")
    assert make(XDG_CACHE_HOME=str(tmp_path), JAX_COMPILATION_CACHE_DIR=chosen) == chosen
    assert not (tmp_path / "distilbert").exists()


def test_where_programs_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert compile_cache.cache_folder() is None  # 0
    monkeypatch.setenv(compile_cache.VARIABLE, str(tmp_path))
    assert compile_cache.cache_folder() == tmp_path
    monkeypatch.delenv(compile_cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compile_cache.cache_folder() == tmp_path / "distilbert" / "xla"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compile_cache.cache_folder() == tmp_path / ".cache" / "distilbert" / "xla"


def test_no_place_to_keep_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(compile_cache.VARIABLE, str(tmp_path / "file" / "folder"))
    before = jax.config.jax_compilation_cache_dir
    DistilBertModel(SMALL, seed=0).for_inference()
    assert jax.config.jax_compilation_cache_dir == before


def test_attention_of_a_gpu(monkeypatch):
    """cuDNN's kernel, replaced by XLA's of the same meaning, answers as the one for CPUs does."""
    own = jax.nn.dot_product_attention
    used = []

    def without_cudnn(*arrays, implementation, **options):
        used.append(implementation)
        return own(*arrays, implementation="xla", **options)

    monkeypatch.setattr(jax.nn, "dot_product_attention", without_cudnn)
    random = np.random.default_rng(0)
    q, k, v = (jax.numpy.asarray(random.normal(size=(2, 2, 8, 6)), "bfloat16") for _ in range(3))
    segments = jax.numpy.asarray([[1, 1, 2, 2, 2, -1], [1, 1, 1, 1, 1, 0]])
    mask = kernels.segment_mask(segments, "float32")
    found, expected = (
        np.asarray(kernels.attention(q, k, v, mask, on_gpu), np.float32)[..., :5] for on_gpu in (True, False)
    )
    assert used == ["cudnn"]
    assert np.abs(found - expected).max() <= BFLOAT16.bound * np.abs(expected).max()
