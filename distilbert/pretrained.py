# SPDX-License-Identifier: Apache-2.0
"""What every model of every framework can do besides computing: load, save, push, resize, prune.

Framework-free. A backend's `PreTrainedModel` (in `<backend>/io.py`) adds how values get into and out of its layers.
"""

from __future__ import annotations

import importlib
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from distilbert import spec, surgery
from distilbert.config import DTYPES, DistilBertConfig
from distilbert.convert.finite import warn_if_not_finite
from distilbert.convert.tensor import Array
from distilbert.defaults import MAX_DROP
from distilbert.errors import ConfigError, InputError
from distilbert.inference.fast_model import FastModel
from distilbert.inference.quality import check_quality
from distilbert.initialization import initial_tensors
from distilbert.outputs import ModelOutput
from distilbert.publishing import Publishable
from distilbert.spec import TensorSpec


@dataclass(frozen=True)
class OutputSettings:
    """What a call returns: arguments where given, else the config's choice."""

    attentions: bool
    hidden_states: bool
    return_dict: bool


class PreTrained(Publishable):
    """Base of all models: `config` says what it is, `task` which of the six classes."""

    task: ClassVar[str]
    backend: ClassVar[str]
    base_model_prefix: ClassVar[str] = "distilbert"
    main_input_name: ClassVar[str] = "input_ids"
    config: DistilBertConfig

    # How values get in and out: written by each backend.

    @classmethod
    @abstractmethod
    def empty(cls, config: DistilBertConfig, dtype: str) -> Self:
        """A model in evaluation mode whose parameters have shapes but no values yet; `load_tensors` must follow."""

    @abstractmethod
    def load_tensors(self, tensors: Mapping[str, Array]) -> None:
        """Give parameters, by canonical name and in PyTorch's orientation, new values of the model's float type."""

    @abstractmethod
    def dump_tensors(self) -> dict[str, Array]:
        """All parameters as NumPy arrays by canonical name, in PyTorch's orientation."""

    @abstractmethod
    def rebuild(self, config: DistilBertConfig, tensors: Mapping[str, Array]) -> None:
        """Become, in place, the model of another config with these values."""

    @abstractmethod
    def random_seed(self) -> int:
        """A seed from the framework's own random state, so that its global seed decides."""

    # Loading and saving.

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        config: DistilBertConfig | None = None,
        dtype: Any = "float32",
        attn_implementation: str | None = None,
        strict: bool = True,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> Any:
        """The model of a checkpoint in any format, local or from the hub, in evaluation mode.

        Args:
            name_or_path: a folder, a weights file, or a hub repository (`org/name` or `org/name@revision`).
            config: replaces the checkpoint's config.json.
            dtype: float type of the parameters and the computation (`float32`, `float64`, `bfloat16`, `float16`, or
                the framework's own object), or `auto` for that of the file.
            attn_implementation: which attention kernel to use.
            strict: False to accept missing and unexpected tensors.
            ignore_mismatched_sizes: True to draw tensors of another shape anew.
            output_loading_info: also return a dict with missing_keys, unexpected_keys and mismatched_keys.
            seed: of values that are drawn because the checkpoint has none.
            options: `revision`, `subfolder`, `token`, `cache_dir`, `local_files_only`, `force_download` and `variant`
                choose the source; other keywords replace fields of the config, as in `num_labels=3`.

        Raises:
            WeightsError: the file is damaged, or lists every tensor that does not fit. A head that the checkpoint of
                another task cannot have is drawn anew, with a warning that names it.
            ConfigError, FileError, HubError: as their names say.
        """
        from distilbert.convert.loading import load_for_task

        for flag in ("from_pt", "from_tf", "from_flax"):  # every format is found without being told
            options.pop(flag, None)
        dtype = dtype_name(options.pop("torch_dtype", dtype))
        loaded = load_for_task(
            name_or_path, cls.task, config, strict=strict, ignore_mismatched_sizes=ignore_mismatched_sizes, **options
        )
        config = loaded.config.replace(dtype=loaded.dtype if dtype == "auto" else dtype)
        values = {name: tensor.load() for name, tensor in loaded.tensors.items()}
        warn_if_not_finite(values, str(name_or_path))
        model = cls.empty(config, str(config.dtype))
        model.load_tensors({**initial_tensors(config, loaded.absent, seed), **values})
        if attn_implementation is not None:
            model.set_attn_implementation(attn_implementation)
        return (model, loaded.info()) if output_loading_info else model

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        format: str | None = None,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
    ) -> None:
        """Write config.json and the weights into `folder`; each file appears whole or not at all.

        Args:
            folder: made if it does not exist.
            format: `safetensors`, `pytorch`, `tensorflow`, `flax`, `orbax` or `keras-hub`; default safetensors.
            max_shard_size: in bytes or as "5GB"; larger models are written in several files with an index.
                Without effect for keras-hub and Orbax.
            safe_serialization: False means the framework's own format where `format` is not given.
        """
        from distilbert.convert import StoredTensor, write_checkpoint

        own = {"pt": "pytorch", "tf": "tensorflow", "flax": "flax"}[self.backend]
        format = format or ("safetensors" if safe_serialization else own)
        tensors = {name: StoredTensor.of(name, values) for name, values in self.dump_tensors().items()}
        config = self.config.replace(architectures=(spec.TASKS[self.task].class_name,))
        write_checkpoint(Path(folder), config, self.task, tensors, format=format, max_shard_size=max_shard_size)

    # Inference.

    def for_inference(
        self,
        dtype: str = "float32",
        sequences: Iterable[Any] | None = None,
        labels: Sequence[Any] | None = None,
        max_drop: float = MAX_DROP,
    ) -> FastModel:
        """A fast copy of the model for inference: the same answers, within the precision of `dtype`.

        Args:
            dtype: `float32`, `bfloat16`, `float16`, `int8` (8-bit weights and activations in the linear layers), or
                `auto` for the fastest floating-point format of the machine.
            sequences: token ids of texts on which a lower precision has to prove itself; without any, only int8 has to,
                on random ones.
            labels: what is right for them (`inference.quality` says in which form); default what the model answers.
            max_drop: points (percent) of quality that may be lost.

        Returns:
            A FastModel: `fast(input_ids, attention_mask)` for a batch, `fast.run(sequences)` for texts of any lengths.

        Raises:
            QualityError: the low precision costs more than `max_drop` points.
        """
        module = importlib.import_module(f"distilbert.{self.backend}.inference")
        fast: FastModel = module.FastModel(self, dtype)
        if fast.dtype == "int8" or sequences is not None:
            check_quality(module.FastModel(self, "float32"), fast, sequences, labels, max_drop)
        return fast

    # Surgery.

    def resize_token_embeddings(self, new_num_tokens: int, seed: int = 0) -> None:
        """Grow or shrink the vocabulary in place; old words keep their vectors, new ones are drawn."""
        self.rebuild(*surgery.resize(self.config, self.task, self.dump_tensors(), seed, vocab_size=new_num_tokens))

    def resize_position_embeddings(self, new_num_position_embeddings: int, seed: int = 0) -> None:
        """Change the longest input in place; old positions keep their vectors, new ones are drawn or computed."""
        changes = {"max_position_embeddings": new_num_position_embeddings}
        self.rebuild(*surgery.resize(self.config, self.task, self.dump_tensors(), seed, **changes))

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Remove attention heads in place: {layer: heads}, numbered as in the unpruned model."""
        self.rebuild(*surgery.prune_heads(self.config, self.task, self.dump_tensors(), heads_to_prune))

    # Small facts.

    @property
    def tensor_specs(self) -> dict[str, TensorSpec]:
        """Every tensor of this model by canonical name."""
        return spec.tensors(self.config, self.task)

    def num_parameters(self) -> int:
        """How many numbers the model has learned; a tied projector counts once."""
        return sum(int(np.prod(tensor.shape)) for tensor in self.tensor_specs.values())

    @abstractmethod
    def set_attn_implementation(self, name: str) -> None:
        """Use another attention kernel from now on."""

    # Used by the models themselves.

    def check_config(self) -> None:
        """Raise ConfigError where the config is sound but not for this class."""
        if self.task == "question-answering" and self.config.num_labels != 2:
            raise ConfigError(f"num_labels: question answering has 2 (start and end), found {self.config.num_labels}")

    def fresh_tensors(self, seed: int | None) -> dict[str, Array]:
        """New values for the layers this class itself adds: a head's own, or all of the encoder's."""
        own = [tensor for tensor in self.tensor_specs.values() if not tensor.name.startswith(spec.PREFIX)]
        return dict(initial_tensors(self.config, own, self.random_seed() if seed is None else seed))

    def output_settings(
        self, output_attentions: bool | None, output_hidden_states: bool | None, return_dict: bool | None
    ) -> OutputSettings:
        """The given choices, or the config's."""
        config = self.config
        return OutputSettings(
            config.output_attentions if output_attentions is None else output_attentions,
            config.output_hidden_states if output_hidden_states is None else output_hidden_states,
            config.return_dict if return_dict is None else return_dict,
        )

    def finish(self, output: ModelOutput, return_dict: bool | None) -> Any:
        """The output as the caller wants it: with names, or as a tuple."""
        return output if self.output_settings(None, None, return_dict).return_dict else output.to_tuple()


def dtype_name(dtype: Any) -> str:
    """The name of a float type given as text or as an object of any framework."""
    try:
        name = str(dtype) if isinstance(dtype, str) or "torch" in str(dtype) else np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    name = name.removeprefix("torch.")
    if name != "auto" and name not in DTYPES:
        raise InputError(f"dtype: expected one of {', '.join(DTYPES)} or auto; found {dtype!r}")
    return name
