# SPDX-License-Identifier: Apache-2.0
"""DistilBERT in NumPy: the executable description of the model, and the oracle the three frameworks are held to.

Written for clarity and exactness, in the precision of the weights it is given; not for speed. Every step returns its
value and a `pull` that takes the gradient of the value back to the gradient of the input, so that one source describes
the outputs and the derivatives. There is no dropout here: it is what evaluation, and training without dropout, compute.

Axes: B batch, T tokens, D dim, H heads, K head size, F hidden_dim, V vocabulary, C choices, L labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from distilbert import inputs as call_inputs
from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.inputs import IGNORED_LABEL
from distilbert.outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

Array = NDArray[Any]
Pull = Callable[[Array], Array]
Step = tuple[Array, Pull]

LAYER_NORM_EPS = 1e-12


class Weights:
    """The tensors of a model by canonical name, and the gradients that the pulls have added up so far."""

    def __init__(self, tensors: Mapping[str, Array], prefix: str = "") -> None:
        self.tensors = tensors
        self.prefix = prefix
        self.gradients: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        values: Array = self.tensors[self.prefix + name]
        return values

    def add_gradient(self, name: str, gradient: Array) -> None:
        name = self.prefix + name
        self.gradients[name] = self.gradients[name] + gradient if name in self.gradients else gradient

    def encoder(self) -> Weights:
        """The same weights seen from inside the encoder."""
        view = Weights(self.tensors, spec.PREFIX)
        view.gradients = self.gradients
        return view


# Layers.


def linear(weights: Weights, path: str, x: Array) -> Step:
    """x (..., in) -> (..., out) with weight (out, in) and bias (out,)."""
    weight, bias = weights[f"{path}.weight"], weights[f"{path}.bias"]

    def pull(dy: Array) -> Array:
        rows = dy.reshape(-1, dy.shape[-1])
        weights.add_gradient(f"{path}.weight", rows.T @ x.reshape(-1, x.shape[-1]))
        weights.add_gradient(f"{path}.bias", rows.sum(0))
        return dy @ weight

    return x @ weight.T + bias, pull


def layer_norm(weights: Weights, path: str, x: Array) -> Step:
    """x (..., D) with mean 0 and variance 1 along D, then scaled and shifted."""
    scale, shift = weights[f"{path}.weight"], weights[f"{path}.bias"]
    centered = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centered * centered).mean(-1, keepdims=True) + x.dtype.type(LAYER_NORM_EPS))
    normal = centered / deviation

    def pull(dy: Array) -> Array:
        weights.add_gradient(f"{path}.weight", (dy * normal).reshape(-1, x.shape[-1]).sum(0))
        weights.add_gradient(f"{path}.bias", dy.reshape(-1, x.shape[-1]).sum(0))
        d = dy * scale
        dx: Array = (d - d.mean(-1, keepdims=True) - normal * (d * normal).mean(-1, keepdims=True)) / deviation
        return dx

    return normal * scale + shift, pull


def softmax(scores: Array) -> Step:
    """Probabilities along the last axis."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    probabilities = powers / powers.sum(-1, keepdims=True)

    def pull(dy: Array) -> Array:
        dx: Array = probabilities * (dy - (dy * probabilities).sum(-1, keepdims=True))
        return dx

    return probabilities, pull


def embedding(
    weights: Weights, name: str, ids: Array, untrained: int | None = None
) -> tuple[Array, Callable[[Array], None]]:
    """Rows of a table (N, D) by ids (...): (..., D). The row `untrained` gets no gradient."""
    table = weights[name]

    def pull(dy: Array) -> None:
        gradient = np.zeros_like(table)
        np.add.at(gradient, ids, dy)
        if untrained is not None:
            gradient[untrained] = 0
        weights.add_gradient(name, gradient)

    return table[ids], pull


# Activations: name -> function returning value and derivative.

_erf_each = np.frompyfunc(math.erf, 1, 1)  # NumPy has no error function of its own


def gelu(x: Array) -> tuple[Array, Array]:
    """x times the normal distribution function of x, exactly."""
    erf = np.asarray(_erf_each(x / math.sqrt(2)), x.dtype)
    distribution = (0.5 * (1 + erf)).astype(x.dtype)
    density = (np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)).astype(x.dtype)
    return x * distribution, distribution + x * density


def gelu_tanh(x: Array) -> tuple[Array, Array]:
    """The tanh approximation of gelu."""
    scale = math.sqrt(2 / math.pi)
    t = np.tanh(scale * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x * x)


def gelu_10(x: Array) -> tuple[Array, Array]:
    """gelu held between -10 and 10."""
    value, slope = gelu(x)
    return np.clip(value, -10, 10), np.where(np.abs(value) < 10, slope, 0)


def quick_gelu(x: Array) -> tuple[Array, Array]:
    """x sigmoid(1.702 x)."""
    s = sigmoid(1.702 * x)[0]
    return x * s, s + 1.702 * x * s * (1 - s)


def sigmoid(x: Array) -> tuple[Array, Array]:
    """1 / (1 + exp(-x)), without overflow."""
    s = np.exp(-np.logaddexp(0, -x))
    return s, s * (1 - s)


def silu(x: Array) -> tuple[Array, Array]:
    """x sigmoid(x)."""
    s = sigmoid(x)[0]
    return x * s, s + x * s * (1 - s)


def mish(x: Array) -> tuple[Array, Array]:
    """x tanh(softplus(x))."""
    t = np.tanh(np.logaddexp(0, x))
    return x * t, t + x * (1 - t * t) * sigmoid(x)[0]


def tanh(x: Array) -> tuple[Array, Array]:
    """Hyperbolic tangent."""
    t = np.tanh(x)
    return t, 1 - t * t


def relu(x: Array) -> tuple[Array, Array]:
    """max(x, 0)."""
    return np.maximum(x, 0), (x > 0).astype(x.dtype)


def relu6(x: Array) -> tuple[Array, Array]:
    """x held between 0 and 6."""
    return np.clip(x, 0, 6), ((x > 0) & (x < 6)).astype(x.dtype)


def leaky_relu(x: Array) -> tuple[Array, Array]:
    """x, or 0.01 x below zero."""
    return np.where(x > 0, x, 0.01 * x), np.where(x > 0, 1, 0.01).astype(x.dtype)


def identity(x: Array) -> tuple[Array, Array]:
    """x."""
    return x, np.ones_like(x)


ACTIVATIONS: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "gelu": gelu,
    "gelu_10": gelu_10,
    "gelu_fast": gelu_tanh,
    "gelu_new": gelu_tanh,
    "gelu_python": gelu,
    "gelu_pytorch_tanh": gelu_tanh,
    "leaky_relu": leaky_relu,
    "linear": identity,
    "mish": mish,
    "quick_gelu": quick_gelu,
    "relu": relu,
    "relu6": relu6,
    "sigmoid": sigmoid,
    "silu": silu,
    "swish": silu,
    "tanh": tanh,
}


def activation(name: str, x: Array) -> Step:
    """The config's activation, elementwise."""
    value, slope = ACTIVATIONS[name](x)
    return value.astype(x.dtype), lambda dy: dy * slope


# Encoder.


def sinusoidal_positions(count: int, dim: int) -> Array:
    """The fixed position table (count, D) of "Attention Is All You Need": sines in even columns, cosines in odd."""
    rates = 1 / np.power(10000, 2 * (np.arange(dim) // 2) / dim)
    angles = np.arange(count)[:, None] * rates
    return np.where(np.arange(dim) % 2 == 0, np.sin(angles), np.cos(angles))


def additive_mask(mask: Array | None, dtype: np.dtype[Any]) -> Array | float:
    """What is added to the attention scores: (B or 1, H or 1, T or 1, T).

    A 2-D mask (B, T), or a 4-D one (B or 1, H or 1, T, T) of bool or whole numbers, attends where it is not zero; a
    4-D mask of real numbers is added as it is. Masked means the smallest finite number, never minus infinity: a row
    with everything masked attends evenly to everything and stays finite.
    """
    if mask is None:
        return 0.0
    smallest = float(ml_dtypes.finfo(dtype).min)  # type: ignore[no-untyped-call]
    if mask.ndim == 4 and mask.dtype.kind not in "biu":
        return np.maximum(mask, smallest).astype(dtype)
    keep = (mask if mask.ndim == 4 else mask[:, None, None, :]) != 0
    return np.where(keep, 0, smallest).astype(dtype)


def attend(
    q: Array, k: Array, v: Array, mask: Array | float, head_mask: Array | float
) -> tuple[Array, Array, Callable[[Array], tuple[Array, Array, Array]]]:
    """Scaled dot-product attention: context (B, H, T, K) and probabilities (B, H, T, T)."""
    scale = 1 / math.sqrt(q.shape[-1])
    scores = (q @ k.swapaxes(-1, -2)) * q.dtype.type(scale) + mask  # (B, H, T, T)
    probabilities, pull_softmax = softmax(scores)  # (B, H, T, T)
    attentions = probabilities * head_mask  # (B, H, T, T)

    def pull(dy: Array) -> tuple[Array, Array, Array]:
        d_scores = pull_softmax(dy @ v.swapaxes(-1, -2) * head_mask) * scale
        return d_scores @ k, d_scores.swapaxes(-1, -2) @ q, attentions.swapaxes(-1, -2) @ dy

    return attentions @ v, attentions, pull


def self_attention(
    weights: Weights, path: str, x: Array, head_dim: int, mask: Any, head_mask: Any
) -> tuple[Array, Array, Pull]:
    """Multi-head self-attention of x (B, T, D): (B, T, D) and the probabilities (B, H, T, T)."""
    b, t, _ = x.shape

    def split(y: Array) -> Array:
        return y.reshape(b, t, -1, head_dim).swapaxes(1, 2)  # (B, H, T, K)

    def join(y: Array) -> Array:
        return y.swapaxes(1, 2).reshape(b, t, -1)  # (B, T, H*K)

    q, pull_q = linear(weights, f"{path}.q_lin", x)
    k, pull_k = linear(weights, f"{path}.k_lin", x)
    v, pull_v = linear(weights, f"{path}.v_lin", x)
    context, attentions, pull_attend = attend(split(q), split(k), split(v), mask, head_mask)
    y, pull_out = linear(weights, f"{path}.out_lin", join(context))

    def pull(dy: Array) -> Array:
        d_q, d_k, d_v = pull_attend(split(pull_out(dy)))
        return pull_q(join(d_q)) + pull_k(join(d_k)) + pull_v(join(d_v))

    return y, attentions, pull


def feed_forward(weights: Weights, path: str, x: Array, act: str) -> Step:
    """x (B, T, D) -> (B, T, F) -> (B, T, D)."""
    wide, pull_1 = linear(weights, f"{path}.lin1", x)
    active, pull_act = activation(act, wide)
    y, pull_2 = linear(weights, f"{path}.lin2", active)
    return y, lambda dy: pull_1(pull_act(pull_2(dy)))


def block(
    weights: Weights, path: str, x: Array, config: DistilBertConfig, mask: Any, head_mask: Any
) -> tuple[Array, Array, Pull]:
    """One transformer block: attention and feed-forward, each added to its input and normalised."""
    attended, attentions, pull_a = self_attention(weights, f"{path}.attention", x, config.head_dim, mask, head_mask)
    middle, pull_n = layer_norm(weights, f"{path}.sa_layer_norm", attended + x)
    forward, pull_f = feed_forward(weights, f"{path}.ffn", middle, config.activation)
    y, pull_m = layer_norm(weights, f"{path}.output_layer_norm", forward + middle)

    def pull(dy: Array) -> Array:
        d_sum = pull_m(dy)
        d_sum = pull_n(pull_f(d_sum) + d_sum)
        return pull_a(d_sum) + d_sum

    return y, attentions, pull


def encoder(weights: Weights, config: DistilBertConfig, call: Mapping[str, Any]) -> tuple[BaseModelOutput, Pull]:
    """The encoder on checked inputs: all hidden states, all attentions, and the pull from the last hidden state."""
    words, pull_words = _words(weights, config, call)  # (B, T, D)
    positions = call.get("position_ids")
    positions = np.arange(words.shape[1]) if positions is None else positions
    places, pull_places = embedding(weights, spec.POSITION_EMBEDDINGS, np.broadcast_to(positions, words.shape[:2]))
    x, pull_norm = layer_norm(weights, "embeddings.LayerNorm", words + places)  # (B, T, D)
    mask = additive_mask(call.get("attention_mask"), x.dtype)
    hidden_states, attentions, pulls = [x], [], []
    for i in range(config.n_layers):
        head_mask = layer_head_mask(call.get("head_mask"), i, x.dtype)
        x, probabilities, pull_block = block(weights, f"transformer.layer.{i}", x, config, mask, head_mask)
        hidden_states.append(x)
        attentions.append(probabilities)
        pulls.append(pull_block)

    def pull(dy: Array) -> Array:
        for pull_block in reversed(pulls):
            dy = pull_block(dy)
        d_sum = pull_norm(dy)
        pull_words(d_sum)
        if not config.sinusoidal_pos_embds:
            pull_places(d_sum)
        return d_sum

    return BaseModelOutput(last_hidden_state=x, hidden_states=tuple(hidden_states), attentions=tuple(attentions)), pull


def _words(
    weights: Weights, config: DistilBertConfig, call: Mapping[str, Any]
) -> tuple[Array, Callable[[Array], None]]:
    """The word vectors: those given, or those of the ids."""
    if "inputs_embeds" in call:
        return call["inputs_embeds"], lambda dy: None
    return embedding(weights, spec.WORD_EMBEDDINGS, call["input_ids"], config.pad_token_id)


def layer_head_mask(head_mask: Array | None, layer: int, dtype: np.dtype[Any]) -> Array | float:
    """The factor (H, 1, 1) or (B, H, 1, 1) on a layer's attention probabilities."""
    if head_mask is None:
        return 1.0
    return np.asarray(head_mask if head_mask.ndim == 1 else head_mask[layer], dtype)[..., None, None]


# Heads: (weights, config, hidden (B, T, D)) -> logits and the pull back to hidden.


def masked_lm_head(weights: Weights, config: DistilBertConfig, hidden: Array) -> Step:
    """Logits (B, T, V)."""
    x, pull_t = linear(weights, "vocab_transform", hidden)  # (B, T, D)
    x, pull_a = activation(config.activation, x)  # (B, T, D)
    x, pull_n = layer_norm(weights, "vocab_layer_norm", x)  # (B, T, D)
    name = spec.PREFIX + spec.WORD_EMBEDDINGS if config.tie_word_embeddings else spec.PROJECTOR
    projector = weights[name]

    def pull(dy: Array) -> Array:
        rows = dy.reshape(-1, dy.shape[-1])
        weights.add_gradient(name, rows.T @ x.reshape(-1, x.shape[-1]))
        weights.add_gradient(spec.PROJECTOR_BIAS, rows.sum(0))
        return pull_t(pull_a(pull_n(dy @ projector)))

    return x @ projector.T + weights[spec.PROJECTOR_BIAS], pull


def sequence_head(weights: Weights, config: DistilBertConfig, hidden: Array) -> Step:
    """Logits (B, L) from the first token."""
    x, pull_p = linear(weights, "pre_classifier", hidden[:, 0])  # (B, D)
    x, pull_r = activation("relu", x)  # (B, D)
    logits, pull_c = linear(weights, "classifier", x)  # (B, L)

    def pull(dy: Array) -> Array:
        d_hidden = np.zeros_like(hidden)
        d_hidden[:, 0] = pull_p(pull_r(pull_c(dy)))
        return d_hidden

    return logits, pull


def token_head(weights: Weights, config: DistilBertConfig, hidden: Array) -> Step:
    """Logits (B, T, L)."""
    return linear(weights, "classifier", hidden)


def span_head(weights: Weights, config: DistilBertConfig, hidden: Array) -> Step:
    """Logits (B, T, 2): the start and the end of the answer."""
    return linear(weights, "qa_outputs", hidden)


# Losses: value and its gradient with respect to the logits.


def cross_entropy(logits: Array, labels: Array, ignored: int = IGNORED_LABEL) -> tuple[Any, Array]:
    """Mean over the labels that are not ignored; 0 when all are."""
    logits, labels = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    kept = labels != ignored
    count = max(int(kept.sum()), 1)
    shifted = logits - logits.max(-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    rows, targets = np.arange(len(labels)), np.where(kept, labels, 0)
    gradient = np.exp(log_probabilities)
    gradient[rows, targets] -= 1
    return -(log_probabilities[rows, targets] * kept).sum() / count, gradient * kept[:, None] / count


def squared_error(logits: Array, labels: Array) -> tuple[Any, Array]:
    """Mean of the squared differences."""
    difference = logits - labels.reshape(logits.shape)
    return (difference * difference).mean(), 2 * difference / difference.size


def binary_cross_entropy(logits: Array, labels: Array) -> tuple[Any, Array]:
    """Mean over all labels of the yes/no cross-entropy of each."""
    loss = np.logaddexp(0, logits) - labels * logits
    return loss.mean(), (sigmoid(logits)[0] - labels) / logits.size


def classification_loss(config: DistilBertConfig, logits: Array, labels: Array) -> tuple[Any, Array]:
    """The loss of a sequence classifier, by problem type; logits (B, L)."""
    kind = call_inputs.problem_type(config, labels)
    if kind == "single_label_classification":
        _check_classes(labels, logits.shape[:1], logits.shape[1])
        return cross_entropy(logits, labels)
    call_inputs.check_value_labels(labels, logits.shape)
    loss = squared_error if kind == "regression" else binary_cross_entropy
    return loss(logits, labels.astype(logits.dtype))


def span_loss(logits: Array, starts: Array, ends: Array) -> tuple[Any, Array]:
    """Mean of the cross-entropies of start and end; positions beyond the text are ignored. Logits (B, T, 2)."""
    length = logits.shape[1]
    losses = [
        cross_entropy(logits[..., column], np.clip(positions.reshape(-1), 0, length), length)
        for column, positions in enumerate((starts, ends))
    ]
    return (losses[0][0] + losses[1][0]) / 2, np.stack([losses[0][1], losses[1][1]], -1) / 2


# Models.


def forward(task: str, config: DistilBertConfig, tensors: Mapping[str, Array], **call: Any) -> ModelOutput:
    """Outputs of the model of `task`, with loss (if labels are given), all hidden states and all attentions.

    Args:
        task: a name in `spec.TASKS`.
        config: its configuration.
        tensors: weights by canonical name, all of one float type, which is also the type of the results.
        call: input_ids (B, T) or inputs_embeds (B, T, D), attention_mask, position_ids, head_mask, labels,
            start_positions, end_positions; for multiple choice with an axis C after B.

    Raises:
        InputError: when the call does not fit the config.
    """
    return _run(task, config, Weights(tensors), call)[0]


def gradients(task: str, config: DistilBertConfig, tensors: Mapping[str, Array], **call: Any) -> dict[str, Array]:
    """Gradient of the loss with respect to every trained tensor, by canonical name. Arguments as in `forward`."""
    weights = Weights(tensors)
    pull = _run(task, config, weights, call)[1]
    pull()
    return weights.gradients


def _run(
    task: str, config: DistilBertConfig, weights: Weights, call: Mapping[str, Any]
) -> tuple[ModelOutput, Callable[[], Any]]:
    call = {name: np.asarray(value) for name, value in call.items() if value is not None}
    if task == "encoder":
        call_inputs.check_call(config, call, bounds)
        return encoder(weights, config, call)[0], lambda: None
    if task == "multiple-choice":
        call_inputs.check_choices(call.get("input_ids"), call.get("inputs_embeds"))
        choices = next(call[name] for name in ("input_ids", "inputs_embeds") if name in call).shape[1]
        call = {name: _flatten_choices(name, value) for name, value in call.items()}
    call_inputs.check_call(config, call, bounds)
    hidden, pull_encoder = encoder(weights.encoder(), config, call)
    logits, pull_head = _HEADS[task](weights, config, hidden.last_hidden_state)
    if task == "multiple-choice":
        logits = logits.reshape(-1, choices)  # (B, C)
    loss, d_logits = _loss(task, config, logits, call)

    def pull() -> Array:
        d_head = d_logits.reshape(-1, 1) if task == "multiple-choice" else d_logits
        return pull_encoder(pull_head(d_head))

    fields = (
        {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
        if task == "question-answering"
        else {"logits": logits}
    )
    return _OUTPUTS[task](loss=loss, **fields, hidden_states=hidden.hidden_states, attentions=hidden.attentions), pull


def _loss(task: str, config: DistilBertConfig, logits: Array, call: Mapping[str, Array]) -> tuple[Any, Any]:
    labels, starts, ends = (call.get(name) for name in ("labels", "start_positions", "end_positions"))
    if task == "question-answering":
        call_inputs.check_span_labels(starts, ends, len(logits))
        return (None, None) if starts is None or ends is None else span_loss(logits, starts, ends)
    if labels is None:
        return None, None
    if task == "sequence-classification":
        return classification_loss(config, logits, labels)
    _check_classes(labels, logits.shape[:-1], logits.shape[-1])
    loss, gradient = cross_entropy(logits, labels)
    return loss, gradient.reshape(logits.shape)


def _check_classes(labels: Array, shape: tuple[int, ...], classes: int) -> None:
    call_inputs.check_class_labels(labels, shape, classes, bounds(np.where(labels == IGNORED_LABEL, 0, labels)))


def _flatten_choices(name: str, value: Array) -> Array:
    per_token = name in ("input_ids", "inputs_embeds", "attention_mask", "position_ids") and value.ndim >= 3
    return value.reshape(-1, *value.shape[2:]) if per_token else value


def bounds(values: Array) -> tuple[int, int]:
    """Smallest and largest value."""
    return int(values.min()), int(values.max())


_HEADS: dict[str, Callable[[Weights, DistilBertConfig, Array], Step]] = {
    "masked-lm": masked_lm_head,
    "sequence-classification": sequence_head,
    "multiple-choice": sequence_head,
    "token-classification": token_head,
    "question-answering": span_head,
}
_OUTPUTS: dict[str, type[ModelOutput]] = {
    "masked-lm": MaskedLMOutput,
    "sequence-classification": SequenceClassifierOutput,
    "multiple-choice": MultipleChoiceModelOutput,
    "token-classification": TokenClassifierOutput,
    "question-answering": QuestionAnsweringModelOutput,
}
