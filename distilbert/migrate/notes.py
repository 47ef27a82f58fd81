# SPDX-License-Identifier: Apache-2.0
"""What a person has to look at, for it cannot be rewritten with the same meaning; and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How much there is to do."""

    CHANGE = "change"  # it does not work as it is
    CHECK = "check"  # it works, and may mean something else
    LEFT = "left"  # not known to be DistilBERT


@dataclass(frozen=True)
class Note:
    """A place in a file.

    Attributes:
        kind: how much there is to do.
        line: from 1, in the file, or in the cell of a notebook.
        what: is there.
        instead: what to write, or what to compare.
        cell: of a notebook, from 1; None in other files.
    """

    kind: Kind
    line: int
    what: str
    instead: str
    cell: int | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.instead}"


@dataclass(frozen=True)
class Change:
    """A line that is rewritten, and what is done there."""

    line: int
    what: str
    cell: int | None = None


_ADAMW = (
    "keras.optimizers.AdamW(keras.optimizers.schedules.PolynomialDecay(rate, steps, 0.0), weight_decay=0.01), or "
    "distilbert.finetune"
)
_TRAINING = "distilbert.finetune, or a loop of your own"
_MODULE = "FlaxDistilBert...(config, _do_init=False) is called with params=..., and there is no Linen module"
_BASE = "PreTrainedModel of distilbert.pt, distilbert.tf or distilbert.flax; its constructor takes the config alone"

# Names of transformers that do not go with the models here, by framework of the models ("" is any), and the remedy.
STAYING = {
    "create_optimizer": ("tf", _ADAMW),
    "AdamWeightDecay": ("tf", _ADAMW),
    "WarmUp": ("tf", "a schedule of keras.optimizers.schedules"),
    "GradientAccumulator": ("tf", "gradient_accumulation_steps of a Keras 3 optimizer"),
    "KerasMetricCallback": ("tf", "a keras.callbacks.Callback of your own, or distilbert.finetune"),
    "PushToHubCallback": ("tf", "model.push_to_hub(name) after fit"),
    "TFTrainer": ("tf", _TRAINING),
    "TFTrainingArguments": ("tf", _TRAINING),
    "Trainer": ("pt", _TRAINING),
    "TFDistilBertMainLayer": ("", "TFDistilBertModel, which is a layer too"),
    "DistilBertPreTrainedModel": ("", _BASE),
    "TFDistilBertPreTrainedModel": ("", _BASE),
    "FlaxDistilBertPreTrainedModel": ("", _BASE),
    "FlaxDistilBertModule": ("", _MODULE),
    "DistilBertOnnxConfig": ("", "torch.onnx.export of the PyTorch model"),
}
TRAINERS = ("Trainer", "Seq2SeqTrainer")
COLLATORS = "DataCollator"

# Attributes that models of transformers have and models here have not, by framework, and the remedy.
_EVERY = {
    "generate": "no DistilBERT generates text",
    "framework": "model.backend: pt, tf or flax",
    "name_or_path": "the name that you gave to from_pretrained",
    "can_generate": "False for every DistilBERT",
}
ABSENT = {
    "pt": {
        **_EVERY,
        "base_model": "model.encoder",
        "get_position_embeddings": "model.encoder.embeddings.position_embeddings",
        "dummy_inputs": "inputs of your own",
        "enable_input_require_grads": "a forward hook on model.get_input_embeddings()",
        "get_extended_attention_mask": "the mask as it is; the model makes of it what it needs",
        "invert_attention_mask": "the mask as it is; the model makes of it what it needs",
        "get_head_mask": "the head mask as it is",
        "set_output_embeddings": "model.vocab_projector = ...",
        "get_memory_footprint": "model.num_parameters() times the bytes of its dtype",
        "post_init": "nothing; the constructor draws the values",
        "init_weights": "nothing; the constructor draws the values",
    },
    "tf": {
        **_EVERY,
        "hf_compute_loss": "leave loss out of compile; by hand model(..., labels=y).loss",
        "prepare_tf_dataset": "tf.data.Dataset.from_tensor_slices((dict(batch), labels)).shuffle(n).batch(size)",
        "dummy_inputs": "nothing; a model has its variables from the start",
        "serving": "model.serve, or model.export(folder)",
        "serving_output": "model.serve, which gives tensors by name",
        "create_model_card": "distilbert.finetune writes one",
        "get_lm_head": "model.vocab_projector",
        "get_output_layer_with_bias": "model.vocab_projector",
        "get_bias": "model.vocab_projector.bias",
        "set_bias": "model.vocab_projector.bias.assign(...)",
        "set_output_embeddings": "model.vocab_projector = ...",
        "build_in_name_scope": "nothing; a model has its variables from the start",
    },
    "flax": {
        **_EVERY,
        "module": "call the model with params=...; it is a Flax NNX module itself, there is no Linen module",
        "required_params": "model.params_shape_tree",
        "enable_gradient_checkpointing": "gradient_checkpointing_enable",
    },
}
# The same of pipelines.
NO_PIPELINE_HAS = {
    **dict.fromkeys(
        ("model", "device", "framework", "torch_dtype", "dtype"),
        "load the model by its class, keep it, and give it with its tokenizer; its config is the pipeline's config",
    ),
    **dict.fromkeys(("save_pretrained", "push_to_hub"), "that of the model and of the tokenizer"),
    **dict.fromkeys(
        ("preprocess", "forward", "postprocess", "predict", "transform"),
        "call the pipeline, or the model and tokenizer",
    ),
}
DISTINCTIVE = ("hf_compute_loss", "prepare_tf_dataset")  # noted on anything, for nothing else has these

# Keywords of from_pretrained, and of pipeline.
DROPPED = ("from_pt", "from_tf", "from_flax", "low_cpu_mem_usage", "trust_remote_code", "resume_download", "use_fast")
RENAMED = {"use_auth_token": "token", "pretrained_model_name_or_path": "name_or_path"}
KEYWORDS = {
    "device_map": "load without it, then model.to(device); TensorFlow and JAX take a GPU by themselves",
    "device": "load the model, model.to(device), and give it with its tokenizer; TensorFlow and JAX find a GPU",
    "quantization_config": 'model.for_inference("int8")',
    "load_in_8bit": 'model.for_inference("int8")',
    "load_in_4bit": 'model.for_inference("int8")',
    "state_dict": "from_pretrained(name), then model.load_state_dict(state)",
    "use_safetensors": "leave it out; safetensors come first where there are several formats",
    "dtype": "leave it out for float32; bfloat16, float16 and int8 are there for speed",
    "torch_dtype": "leave it out for float32; dtype= bfloat16, float16 and int8 are there for speed",
    "trust_remote_code": "leave it out, if the checkpoint brings no code of its own",
    "proxies": "the environment variables HTTPS_PROXY and HTTP_PROXY",
    "saved_model": "model.export(folder), or tf.saved_model.save(model, folder)",
    "push_to_hub": "model.push_to_hub(name)",
    "return_unused_kwargs": "keep them apart yourself",
    "load_weight_prefix": "leave it out; the prefix is found",
    "model_kwargs": "load the model with them, and give it with its tokenizer",
    "config": "load the model with it, and give it with its tokenizer",
}
# Keywords of push_to_hub that it has not here.
NOT_PUSHED = ("commit_description", "create_pr", "tags", "use_auth_token", "use_temp_dir")
OTHER_KEYWORD = "leave it out; an unknown keyword is an error here that names it"
# Classes of transformers' pipelines, and the tasks that distilbert.pipeline has for them.
PIPELINE_CLASSES = {
    "FeatureExtractionPipeline": "feature-extraction",
    "FillMaskPipeline": "fill-mask",
    "NerPipeline": "token-classification",
    "QuestionAnsweringPipeline": "question-answering",
    "TextClassificationPipeline": "text-classification",
    "TokenClassificationPipeline": "token-classification",
}
