# SPDX-License-Identifier: Apache-2.0
"""What Keras expects of a model besides computing: to be called in many ways, trained by `fit`, saved and exported.

Training. Compiled with a loss, a model is trained by that loss on its logits. Compiled without, it is trained by its
own loss. Either way the labels are `y`, or are among the inputs (`labels`, or `start_positions` and `end_positions`).
(Keras forgets no loss: compiled without one after it was compiled with one, a model still has that.)
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self

import keras
import tensorflow as tf

from distilbert.config import DistilBertConfig
from distilbert.errors import DistilBertError, InputError

LABELS = ("labels", "start_positions", "end_positions")
SWITCHES = ("output_attentions", "output_hidden_states", "return_dict", "first_only", "training")


class KerasModel(keras.Model):
    """Base of the models: `config` and `task` come from the class that is made of both."""

    config: DistilBertConfig
    task: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "call" in vars(cls) and hasattr(super(cls, cls), "call"):  # Keras passes on what it finds in the signature
            cls.call.__signature__ = with_options_of(cls.call, super(cls, cls).call)

    # Calling.

    @tf.autograph.experimental.do_not_convert
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the model with arrays, tensors or lists, by position, by name, or in one dict or tuple.

        Raises:
            InputError: lists everything in the call that does not fit.
        """
        given = {name: value for name, value in self.named(*arguments, **options).items() if value is not None}
        given = {name: value if name in SWITCHES else as_tensor(name, value) for name, value in given.items()}
        try:
            return super().__call__(**given)
        except DistilBertError as error:
            plain = without_decoration(error)
        raise plain

    def named(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """The arguments of a call by name."""
        names = self.call_signature_parameters
        if len(arguments) == 1 and isinstance(arguments[0], Mapping):
            unknown = [name for name in arguments[0] if name not in names]
            if unknown:
                raise InputError(f"inputs: {', '.join(map(repr, unknown))} unknown; expected {', '.join(names)}")
            options = {**arguments[0], **options}
            arguments = ()
        elif len(arguments) == 1 and isinstance(arguments[0], list | tuple) and all(map(has_rank, arguments[0])):
            arguments = tuple(arguments[0])
        if len(arguments) > len(names):
            raise InputError(f"inputs: expected at most {len(names)} ({', '.join(names)}), found {len(arguments)}")
        positional = dict(zip(names, arguments, strict=False))
        twice = [name for name in positional if name in options]
        if twice:
            raise InputError(f"inputs: {', '.join(twice)} given twice")
        return {**positional, **options}

    # Training.

    @property
    def label_names(self) -> dict[str, str]:
        """What labels are called in the inputs, and which output they are about."""
        if self.task == "question-answering":
            return {"start_positions": "start_logits", "end_positions": "end_logits"}
        return {"labels": "last_hidden_state" if self.task == "encoder" else "logits"}

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of `fit` on (x), (x, y) or (x, y, sample_weight)."""
        return dict(super().train_step(self.batch(data)))

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of `evaluate`."""
        return dict(super().test_step(self.batch(data)))

    def predict_step(self, data: Any) -> Any:
        """One step of `predict`: outputs without a loss, which could not be joined over batches."""
        inputs = self.named(keras.utils.unpack_x_y_sample_weight(data)[0])
        return super().predict_step(({name: value for name, value in inputs.items() if name not in LABELS},))

    def batch(self, data: Any) -> tuple[dict[str, Any], Any, Any]:
        """A batch with the labels where the loss wants them: among the inputs for the model's own, else as y."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        inputs = self.named(x)
        targets = self.targets(inputs, y)
        inputs = {name: value for name, value in inputs.items() if name not in LABELS}
        if self.loss is None:
            if self.task == "encoder":
                raise InputError("loss: the bare encoder has none of its own; compile(loss=...)")
            inputs |= {name: targets[output] for name, output in self.label_names.items() if output in targets}
            if sample_weight is not None:
                raise InputError("sample_weight: the model's own loss has none; compile(loss=...) with one that does")
        return inputs, targets, sample_weight

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss of a batch: the compiled one, else the model's own."""
        targets, outputs = self.compared(x, y, y_pred)
        if self.loss is not None:
            return super().compute_loss(x, targets, outputs, sample_weight, training)
        if "loss" not in y_pred:
            names = " and ".join(self.label_names)
            raise InputError(f"labels: without compile(loss=...) expected {names} among the inputs, or y; found none")
        # Keras adds up the gradients of replicas, so their losses must add up to the mean.
        loss = y_pred["loss"] / tf.distribute.get_strategy().num_replicas_in_sync
        return tf.add_n([loss, *(tf.cast(added, loss.dtype) for added in self.losses)])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Update the compiled metrics, which compare the labels with the logits."""
        targets, outputs = self.compared(x, y, y_pred)
        return dict(super().compute_metrics(x, targets, outputs, sample_weight))

    def targets(self, inputs: Mapping[str, Any], y: Any) -> dict[str, Any]:
        """The labels of a batch by output, from y or from among the inputs."""
        names = self.label_names
        if y is None:
            y = {name: inputs[name] for name in names if inputs.get(name) is not None}
        elif not isinstance(y, Mapping):
            y = dict(zip(names, y if len(names) > 1 else (y,), strict=True))
        unknown = [name for name in y if name not in names and name not in names.values()]
        if unknown:
            raise InputError(f"y: {', '.join(map(repr, unknown))} unknown; expected {', '.join(names)}")
        return {names.get(name, name): labels for name, labels in y.items()}

    def compared(self, x: Any, y: Any, y_pred: Any) -> tuple[Any, Any]:
        """Labels and outputs in the same structure: one tensor each, or a dict each."""
        if not isinstance(y_pred, Mapping):
            raise InputError("return_dict: training needs outputs with names, but the config says false")
        targets = self.targets(self.named(x), y)
        outputs = {name: y_pred[name] for name in self.label_names.values()}
        if len(outputs) > 1:
            return targets or None, outputs
        name, output = outputs.popitem()
        return targets.get(name), output

    def forget_compiled_steps(self) -> None:
        """Let `fit`, `evaluate` and `predict` compile anew, because the computation has changed."""
        self.train_function = self.test_function = self.predict_function = None

    # Saving and exporting.

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs: our config, the name, and the float types."""
        return {
            "config": self.config.to_dict(),
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Self:
        """A model with new weights from what `get_config` gave."""
        with dtype_policy(keras.dtype_policies.get(config["dtype"])):
            model = cls(DistilBertConfig.from_dict(config["config"]))
        model.name = config["name"]
        return model

    @property
    def input_signature(self) -> dict[str, tf.TensorSpec]:
        """The inputs of an exported model: ids and mask, of any batch size and length."""
        shape = (None, None, None) if self.task == "multiple-choice" else (None, None)
        return {name: tf.TensorSpec(shape, tf.int32, name) for name in ("input_ids", "attention_mask")}

    def serve(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What an exported model computes: tensors by name, those of all layers stacked."""
        output = self(inputs, training=False, return_dict=True)
        return {name: tf.stack(value) if isinstance(value, tuple) else value for name, value in output.items()}

    @property
    def _default_save_signature(self) -> Any:
        """What `tf.saved_model.save(model, folder)` serves."""
        return tf.function(self.serve, [self.input_signature])

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **options: Any,
    ) -> None:
        """Write the model for serving, as a SavedModel with the endpoint `serve` or in another format of Keras.

        Args:
            filepath: where to.
            format: see `keras.Model.export`.
            verbose: whether Keras prints what it wrote.
            input_signature: names, shapes and types of the inputs; default `[model.input_signature]`.
            options: see `keras.Model.export`.
        """
        signature = [self.input_signature] if input_signature is None else input_signature
        if format != "tf_saved_model":
            return super().export(filepath, format, verbose, signature, **options)
        archive = keras.export.ExportArchive()
        archive.track(self)
        archive.add_endpoint("serve", self.serve, signature)
        archive.write_out(filepath, verbose=verbose is not False)
        return None


@contextlib.contextmanager
def dtype_policy(policy: keras.DTypePolicy) -> Iterator[None]:
    """While entered, new layers have this Keras dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def with_options_of(call: Callable[..., Any], base: Callable[..., Any]) -> inspect.Signature:
    """The signature of a `call` that hands on `**options`: its own arguments, then those of the `call` it overrides."""
    various = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    own = inspect.signature(call).parameters
    if all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in own.values()):
        return inspect.signature(call)
    named = {**own, **{name: one for name, one in inspect.signature(base).parameters.items() if name not in own}}
    return inspect.Signature([one for one in named.values() if one.kind not in various])


def as_tensor(name: str, value: Any) -> Any:
    """A tensor of the same values; symbolic tensors stay."""
    if isinstance(value, tf.RaggedTensor | tf.SparseTensor):
        raise InputError(f"{name}: expected rows of one length, found a {type(value).__name__}; pad it")
    if tf.is_tensor(value) or isinstance(value, keras.KerasTensor):
        return value
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected an array, tensor or list of rows of one length; {error}") from error


def has_rank(value: Any) -> bool:
    """Whether a value is an array or tensor rather than a number or a list, or is left out."""
    return value is None or len(getattr(value, "shape", ())) > 1


def without_decoration(error: DistilBertError) -> DistilBertError:
    """The error as it was raised, before Keras added the arguments of every layer around it."""
    while isinstance(error.__context__, DistilBertError):
        error = error.__context__
    return error
