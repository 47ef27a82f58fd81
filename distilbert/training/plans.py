# SPDX-License-Identifier: Apache-2.0
"""Which tensors of a model are trained, decay, and at what share of the learning rate; by canonical name."""

from __future__ import annotations

import re

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.spec import Kind, TensorSpec
from distilbert.training.arguments import TrainingArguments
from distilbert.training.engine import TensorPlan


def tensor_plans(arguments: TrainingArguments, config: DistilBertConfig, task: str) -> dict[str, TensorPlan]:
    """How each tensor of a model is trained.

    Raises:
        InputError: more layers are to be frozen than there are.
    """
    if arguments.freeze_layers > config.n_layers:
        raise InputError(f"freeze_layers: the model has {config.n_layers} layers, found {arguments.freeze_layers}")
    return {name: _plan(arguments, config, tensor) for name, tensor in spec.tensors(config, task).items()}


def _plan(arguments: TrainingArguments, config: DistilBertConfig, tensor: TensorSpec) -> TensorPlan:
    height = layer_height(tensor.name, config.n_layers)
    lowest = arguments.freeze_layers if arguments.freeze_layers else int(arguments.freeze_embeddings) - 1
    constant = config.sinusoidal_pos_embds and tensor.name.endswith(spec.POSITION_EMBEDDINGS)
    decays = tensor.leaf == "weight" and tensor.kind is not Kind.NORM
    return TensorPlan(
        trained=height > lowest and not constant,
        decay=arguments.weight_decay if decays else 0.0,
        rate_factor=arguments.layer_lr_decay ** (config.n_layers + 1 - height),
    )


def layer_height(name: str, layers: int) -> int:
    """How far up a tensor is: 0 for the embeddings, 1 for the first layer, one more than the last for a head."""
    if spec.is_head_tensor(name):
        return layers + 1
    found = re.search(r"transformer\.layer\.([0-9]+)\.", name)
    return int(found[1]) + 1 if found else 0
