# SPDX-License-Identifier: Apache-2.0
"""Writes a model for ONNX Runtime the usual way: PyTorch's exporter, the optimizer for BERT, dynamic quantisation."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path


def main(model: str, class_name: str, precision: str, folder: str) -> None:
    """Write `<precision>.onnx` (`float32` or `int8`) into the folder; what is there is used."""
    Path(folder).mkdir(exist_ok=True)
    optimised = Path(folder) / "float32.onnx"
    if not optimised.exists():
        plain = Path(folder) / "exported.onnx"
        _export(model, class_name, plain)
        _optimise(model, plain, optimised)
        plain.unlink()
    if precision == "int8":
        _quantise(optimised, Path(folder) / "int8.onnx")


def _export(model: str, class_name: str, file: Path) -> None:
    import torch
    import transformers

    # The optimizer knows the plain attention; a fused kernel would stay as it is.
    network = getattr(transformers, class_name).from_pretrained(model, attn_implementation="eager").eval()
    network.config.return_dict = False
    example = torch.ones(2, 9, dtype=torch.long)
    inputs, free = ["input_ids", "attention_mask"], {0: "batch", 1: "tokens"}
    axes = {**dict.fromkeys(inputs, free), "output": free if class_name == "DistilBertModel" else {0: "batch"}}
    torch.onnx.export(
        network,
        (example, example),
        str(file),
        input_names=inputs,
        output_names=["output"],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


def _optimise(model: str, source: Path, target: Path) -> None:
    from onnxruntime.transformers import optimizer

    config = json.loads((Path(model) / "config.json").read_text())
    fused = optimizer.optimize_model(
        str(source), model_type="bert", num_heads=config["n_heads"], hidden_size=config["dim"], opt_level=1
    )
    _complete(target, lambda path: fused.save_model_to_file(path))


def _quantise(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    settings = {"per_channel": True, "weight_type": QuantType.QInt8, "extra_options": {"DefaultTensorType": 1}}
    _complete(target, lambda path: quantize_dynamic(str(source), path, **settings))


def _complete(target: Path, write: Callable[[str], object]) -> None:
    """Let the file appear only when it is whole: an export that was broken off must not be taken for one."""
    partial = target.with_suffix(".partial.onnx")
    write(str(partial))
    os.replace(partial, target)
