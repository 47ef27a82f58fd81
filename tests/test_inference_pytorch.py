# SPDX-License-Identifier: Apache-2.0
"""What only PyTorch's fast path and its oneDNN layers have: gradients, fallbacks, a GPU's code on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from distilbert.parity.measuring import relative_error  # noqa: E402
from distilbert.parity.tolerances import FLOAT32  # noqa: E402
from distilbert.pt import DistilBertForTokenClassification, inference, kernels, layers  # noqa: E402

from .samples import TINY, random_tensors  # noqa: E402


def model(**changes):
    made = DistilBertForTokenClassification.empty(TINY.replace(**changes), "float32")
    made.load_tensors(random_tensors(made.config, made.task))
    return made


def ids(rows=3, tokens=9):
    return torch.from_numpy(np.random.default_rng(0).integers(0, TINY.vocab_size, (rows, tokens)))


def numbers(shape, seed=0, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype).requires_grad_()


def test_product_has_the_gradients_of_a_linear_layer():
    shapes = (5, 7), (4, 7), (4,)
    wide = [numbers(shape, seed) for seed, shape in enumerate(shapes)]
    narrow = [value.detach().float().requires_grad_() for value in wide]
    expected = torch.autograd.grad(torch.nn.functional.linear(*wide).sin().sum(), wide)
    found = torch.autograd.grad(kernels.product(*narrow).sin().sum(), narrow)
    for one, other in zip(found, expected, strict=True):
        assert relative_error(one.double().numpy(), other.numpy()) < 1e-6


def test_product_has_second_derivatives():
    def penalty(linear, x, weight, bias):
        (slope,) = torch.autograd.grad(linear(x, weight, bias).sin().sum(), x, create_graph=True)
        return torch.autograd.grad((slope**2).sum(), weight)[0]

    wide = [numbers(shape, seed) for seed, shape in enumerate([(5, 7), (4, 7), (4,)])]
    narrow = [value.detach().float().requires_grad_() for value in wide]
    expected = penalty(torch.nn.functional.linear, *wide)
    assert relative_error(penalty(kernels.product, *narrow).double().numpy(), expected.numpy()) < 1e-5


def test_plain_layers_are_left_alone_where_code_is_transformed():
    weight, bias = torch.ones(2, 3), torch.zeros(2)
    per_row = torch.func.vmap(lambda x: layers.linear(x, weight, bias))(torch.ones(4, 3))
    assert per_row.tolist() == [[3, 3]] * 4
    compiled = torch.compile(lambda x: layers.linear(x, weight, bias), backend="eager", fullgraph=True)
    assert compiled(torch.ones(1, 3)).tolist() == [[3, 3]]


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    torch.manual_seed(0)
    dropped = layers.dropout(torch.ones(1000, 999), rate)
    share = float((dropped == 0).double().mean())
    assert abs(share - rate) < 2e-3
    assert abs(float(dropped.double().mean()) - 1) < 4e-3
    torch.manual_seed(0)
    assert torch.equal(layers.dropout(torch.ones(1000, 999), rate), dropped)


def test_dropout_has_the_gradient_of_what_was_kept():
    x = torch.ones(50, 3, requires_grad=True)
    y = layers.dropout(x, 0.4)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_without_onednn(monkeypatch):
    """Also what runs on a GPU."""
    plain = model()
    expected = plain(ids()).logits.detach().numpy()
    monkeypatch.setattr(kernels, "_has_operator", lambda namespace, name: False)
    assert isinstance(kernels.linear(torch.ones(2, 2), torch.zeros(2), "float32"), kernels.PlainLinear)
    assert relative_error(plain.for_inference()(ids()).logits.numpy(), expected) <= FLOAT32.bound
    int8 = plain.for_inference("int8", max_drop=5)
    assert int8.encoder.layers[0].lin1.packed is None
    monkeypatch.undo()
    with_onednn = plain.for_inference("int8", max_drop=5)(ids()).logits
    assert relative_error(int8(ids()).logits.numpy(), with_onednn.numpy()) < 1e-2  # a rounding may tip the other way


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's compiler, about itself
def test_capture_for_a_gpu(monkeypatch):
    """The code that a GPU would run compiles without a break, and its outputs are their own."""
    monkeypatch.setattr(kernels, "_has_operator", lambda namespace, name: False)
    compile_model = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, mode: compile_model(f, backend="eager", fullgraph=True))
    fast = model().for_inference()
    expected = fast(ids()).logits
    fast.run_dense = inference.captured(fast.compute)
    assert torch.equal(fast(ids()).logits, expected)


def test_attention_over_many_lengths_at_once(monkeypatch):
    """The kernel of a GPU, replaced by its definition."""

    def varlen_attn(q, k, v, q_starts, starts, q_longest, longest):
        assert (q_longest, longest) == (5, 5)
        parts = []
        for q_part, part in zip(q_starts.unfold(0, 2, 1).tolist(), starts.unfold(0, 2, 1).tolist(), strict=True):
            one = (x[slice(*span)].transpose(0, 1) for x, span in ((q, q_part), (k, part), (v, part)))
            parts.append(torch.nn.functional.scaled_dot_product_attention(*one).transpose(0, 1))
        return torch.cat(parts)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    block = model().for_inference().encoder.layers[0]
    qkv = numbers((12, 96), dtype=torch.float32).detach()
    blocks = [inference.Block(1, 2), inference.Block(2, 5)]
    assert torch.allclose(block.attend_varlen(qkv, blocks), block.attend_blocks(qkv, blocks, None), atol=1e-6)
