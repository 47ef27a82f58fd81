# SPDX-License-Identifier: Apache-2.0
"""Values into and out of Flax models: new, loaded, dumped, resized, pruned, in every float type."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert.convert.tensor import FLOAT_DTYPES
from distilbert.errors import BackendError, ConfigError, InputError
from distilbert.initialization import initial_tensors

from .flax_samples import SMALL, flax_model, jax, strict_jax  # noqa: F401
from .samples import TINY, random_tensors

IDS = np.array([[5, 6, 7, 8], [9, 1, 0, 0]])


@pytest.fixture(scope="module")
def models():
    import distilbert.flax

    return distilbert.flax


def test_new_values(models):
    model = models.DistilBertForTokenClassification(SMALL, seed=7)
    expected = initial_tensors(SMALL, model.tensor_specs.values(), 7)
    found = model.dump_tensors()
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    default, zero = models.DistilBertModel(SMALL).dump_tensors(), models.DistilBertModel(SMALL, seed=0).dump_tensors()
    assert all(np.array_equal(default[name], zero[name]) for name in zero)


def test_unknown_options_and_unfit_configs(models):
    with pytest.raises(TypeError, match="param_dtype"):
        models.DistilBertModel(SMALL, param_dtype="float32")
    with pytest.raises(InputError, match="dtype: expected one of"):
        models.DistilBertModel(SMALL, dtype="int8")
    with pytest.raises(ConfigError, match="num_labels"):
        models.DistilBertForQuestionAnswering(TINY)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_tensors_go_in_and_out_bit_by_bit(dtype):
    tensors = random_tensors(TINY, "masked-lm", dtype=FLOAT_DTYPES[dtype])
    model = flax_model("masked-lm", TINY, dtype)
    model.load_tensors(tensors)
    dumped = model.dump_tensors()
    assert model.dtype == FLOAT_DTYPES[dtype]
    assert dumped.keys() == tensors.keys()
    for name, values in tensors.items():
        assert dumped[name].dtype == values.dtype
        assert np.array_equal(dumped[name], values)


def test_float64_needs_the_switch(models):
    with pytest.raises(BackendError, match=r'jax.config.update\("jax_enable_x64", True\)'):
        models.DistilBertModel.empty(SMALL, "float64")
    with jax.enable_x64(True):
        model = flax_model("encoder", SMALL, np.float64)
        tensors = random_tensors(SMALL, "encoder", dtype=np.float64)
        assert all(np.array_equal(values, tensors[name]) for name, values in model.dump_tensors().items())
        assert model(IDS)[0].dtype == "float64"


def test_no_array_is_made_before_loading(models):
    big = TINY.replace(vocab_size=10_000_000, dim=1_000_000, n_heads=4)
    model = models.DistilBertForMaskedLM.empty(big, "float32")  # 40 TB of embeddings
    assert model.is_empty
    assert model.num_parameters() > 10**13


def test_later_changes_of_a_source_do_not_reach_the_model():
    model = flax_model("encoder", SMALL)
    room = np.zeros(99 * 32 * 4 + 64, np.uint8)
    start = -room.ctypes.data % 64  # JAX shares memory that is aligned like this
    table = room[start : start + 99 * 32 * 4].view(np.float32).reshape(99, 32)
    model.load_tensors({"embeddings.word_embeddings.weight": table})
    before = np.asarray(model(IDS)[0]).copy()
    table[:] = 5
    assert np.array_equal(model(IDS)[0], before)


@pytest.mark.parametrize("tied", [True, False])
def test_resize_in_place(tied):
    model = flax_model("masked-lm", SMALL.replace(tie_word_embeddings=tied), "bfloat16")
    model.set_attn_implementation("xla")
    model.gradient_checkpointing_enable()
    model.train()
    before = model.dump_tensors()
    model.resize_token_embeddings(120, seed=3)
    model.resize_position_embeddings(20)
    after = model.dump_tensors()
    kept = model.dtype, model.attn_implementation, model.gradient_checkpointing, model.deterministic
    assert kept == (FLOAT_DTYPES["bfloat16"], "xla", True, False)
    assert (model.config.vocab_size, model.config.max_position_embeddings) == (120, 20)
    table = "distilbert.embeddings.word_embeddings.weight"
    assert np.array_equal(after[table][:99], before[table])
    assert np.asarray(after[table][99:], np.float32).any()
    assert np.array_equal(after["vocab_projector.bias"][:99], before["vocab_projector.bias"])
    assert ("vocab_projector.weight" in after) is not tied
    model.eval()
    model.gradient_checkpointing_disable()
    model.set_attn_implementation("eager")
    assert model([[119] * 20]).logits.shape == (1, 20, 120)
    with pytest.raises(InputError, match="max_position_embeddings 20"):
        model([[1] * 21])


def test_prune_in_place():
    model = flax_model("encoder", TINY)
    masked = model(IDS, head_mask=np.array([[1, 0, 1, 1], [0, 1, 1, 0]]))[0]
    model.prune_heads({0: [1], 1: [0]})
    model.prune_heads({1: [3]})
    assert model.config.pruned_heads == {0: (1,), 1: (0, 3)}
    assert model.transformer.layer[1].attention.q_lin.kernel.shape == (32, 16)
    assert np.allclose(model(IDS)[0], masked, atol=1e-5)
    assert np.allclose(jax.jit(lambda model: model(IDS)[0])(model), masked, atol=1e-5)


def test_embeddings_get_and_set(models):
    from distilbert.flax.layers import Embedding

    tied, untied = (flax_model("masked-lm", SMALL.replace(tie_word_embeddings=flag)) for flag in (True, False))
    assert tied.get_output_embeddings() is tied.vocab_projector
    assert flax_model("encoder", SMALL).get_output_embeddings() is None
    for model in (tied, untied):
        table = Embedding(99, 32, padding_idx=0)
        table.embedding.set_value(jax.numpy.zeros((99, 32)))
        model.set_input_embeddings(table)
        assert model.get_input_embeddings() is table
    assert np.allclose(tied(IDS).logits, tied.vocab_projector.bias[...][None, None])
    assert not np.allclose(untied(IDS).logits, untied.vocab_projector.bias[...][None, None])


def test_files_in_every_float_type(models, tmp_path):
    model = flax_model("token-classification", SMALL)
    model.save_pretrained(tmp_path)
    for dtype in ("auto", jax.numpy.bfloat16, "float16", np.float32):
        loaded = models.DistilBertForTokenClassification.from_pretrained(tmp_path, dtype=dtype)
        assert loaded.deterministic
        for name, values in loaded.dump_tensors().items():
            assert np.array_equal(values, model.dump_tensors()[name].astype(loaded.dtype))
    with pytest.raises(BackendError, match="float64"):
        models.DistilBertForTokenClassification.from_pretrained(tmp_path, dtype="float64")
