# SPDX-License-Identifier: Apache-2.0
"""Exported files: every format and task gives the numbers of its source, and what does not is not written."""

from __future__ import annotations

import importlib
import itertools
import json
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import numpy as np
import pytest

from distilbert import DistilBertConfig, spec
from distilbert.checkpoint_files import EXPORT_FILE
from distilbert.errors import BackendError, FileError, InputError, ParityError, QualityError, WeightsError
from distilbert.export.exporting import export_checkpoint
from distilbert.export.formats import FORMATS, INT8, STATIC_INT8
from distilbert.export.running import open_export
from distilbert.parity import tolerances

from .samples import TINY, need_packages, random_tensors, task_config, write_model
from .test_cli import invoke

PACKAGES = {
    "onnx": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "openvino": ("torch", "onnx", "onnxscript", "openvino"),
    "litert": ("tensorflow", "ai_edge_litert"),
    "saved-model": ("tensorflow",),
    "stablehlo": ("jax", "flax"),
    "torch-export": ("torch",),
}
SOURCES = ("safetensors", "pytorch", "tensorflow", "flax")
# In every run each format with two tasks and all tasks with two formats; the whole matrix is slow.
USUAL = [
    ("onnx", "question-answering"), ("openvino", "masked-lm"), ("litert", "token-classification"),
    ("saved-model", "multiple-choice"), ("stablehlo", "encoder"), ("torch-export", "sequence-classification"),
]  # fmt: skip


def need(format: str) -> None:
    need_packages(*PACKAGES[format])


def metadata(format: str, path: Path) -> str | None:
    """The text that a file carries; None where its format has no room for any."""
    if format == "onnx":
        return {row.key: row.value for row in importlib.import_module("onnx").load(path).metadata_props}["distilbert"]
    if format == "openvino":
        found = ElementTree.parse(path).getroot().find("rt_info/distilbert")
        return str(found.get("value"))
    if format == "torch-export":
        with zipfile.ZipFile(path) as archive:
            return archive.read(next(name for name in archive.namelist() if name.endswith("distilbert.json"))).decode()
    if format == "saved-model":
        return (path / "assets.extra" / "distilbert.json").read_text()
    return None


def contents(folder: Path) -> str:
    """All bytes of all files."""
    found = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return found.decode("latin-1")


def check_matrix(folder: Path, format: str, task: str, source: str) -> None:
    """An export passes the check that is part of it, and a session read back answers with the names of the task."""
    need(format)
    config = task_config(TINY, task)
    write_model(folder / "source", config, task, format=source)
    done = export_checkpoint(folder / "source", folder / "out", format)
    assert done.task == task
    assert done.measurements
    assert all(found.error <= tolerances.FLOAT32.bound for found in done.measurements)
    assert (folder / "out" / FORMATS[format].file).exists()
    record = json.loads((folder / "out" / EXPORT_FILE).read_text())
    assert record["format"] == format
    assert record["parity"].keys() == {found.layer for found in done.measurements}
    assert str(Path(__file__).parents[1]) not in contents(folder / "out")
    carried = metadata(format, folder / "out" / FORMATS[format].file)
    assert carried is None or json.loads(carried) == record
    files = {path.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("*") if path.is_file()}
    assert set(done.files) == files
    assert record["parity"][done.measurements[0].layer]["error"] == done.measurements[0].error
    fast = open_export(folder / "out")
    assert set(fast(np.full((2, 3, 5) if task == "multiple-choice" else (2, 5), 7))) == set(fast.fields)
    assert DistilBertConfig.from_pretrained(folder / "out").architectures == (spec.TASKS[task].class_name,)


@pytest.mark.parametrize(("format", "task"), USUAL)
def test_every_format_gives_the_numbers_of_its_source(format, task, tmp_path):
    check_matrix(tmp_path, format, task, "safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(("format", "task", "source"), list(itertools.product(FORMATS, spec.TASKS, SOURCES)))
def test_every_format_and_task_from_every_framework(format, task, source, tmp_path):
    check_matrix(tmp_path, format, task, source)


@pytest.mark.parametrize(
    ("format", "dtype"),
    [(row.name, dtype) for row in FORMATS.values() for dtype in row.dtypes if dtype in ("float16", "bfloat16")],
)
def test_half_precision_is_within_its_bound(format, dtype, tmp_path):
    need(format)
    write_model(tmp_path / "source", TINY, "token-classification")
    done = export_checkpoint(tmp_path / "source", tmp_path / "out", format, dtype=dtype)
    (found,) = done.measurements
    assert found.error > 1e-7  # it is in that precision
    assert found.ok


@pytest.mark.parametrize("format", FORMATS)
def test_other_numbers_are_refused_and_nothing_is_written(format, tmp_path, monkeypatch):
    need(format)
    write_model(tmp_path / "source", TINY, "sequence-classification")
    module = FORMATS[format].module()
    write = module.write

    def spoiled(model, path, dtype):
        tensors = model.dump_tensors()
        name = "distilbert.transformer.layer.1.sa_layer_norm.weight"
        model.load_tensors({**tensors, name: tensors[name] * np.float32(1.0001)})
        write(model, path, dtype)

    monkeypatch.setattr(module, "write", spoiled)
    with pytest.raises(ParityError, match=rf"{format} in float32 .*: logits: off by .*, expected 2e-06 at most"):
        export_checkpoint(tmp_path / "source", tmp_path / "out", format)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def texts() -> list[list[int]]:
    random = np.random.default_rng(1)
    return [random.integers(1, TINY.vocab_size, length).tolist() for length in random.integers(2, 20, 24)]


@pytest.mark.parametrize(("format", "dtype"), [("onnx", INT8), ("onnx", STATIC_INT8), ("litert", INT8)])
def test_eight_bits(format, dtype, tmp_path):
    need(format)
    config = TINY.replace(vocab_size=9000)
    tensors = random_tensors(config, "sequence-classification", std=0.1)
    write_model(tmp_path / "source", config, "sequence-classification", tensors)
    options = {"dtype": dtype, "calibration": texts() if dtype == STATIC_INT8 else ()}
    done = export_checkpoint(tmp_path / "source", tmp_path / "out", format, **options, max_drop=5)
    assert done.measurements == ()
    assert 0 < done.drop <= 5
    assert done.nbytes < 0.6 * sum(values.nbytes for values in tensors.values())
    with pytest.raises(QualityError, match="expected to lose at most 0 points"):
        export_checkpoint(tmp_path / "source", tmp_path / "no", format, **options, max_drop=0)
    assert not (tmp_path / "no").exists()


def test_static_eight_bits_of_a_task_with_choices(tmp_path):
    need("onnx")
    write_model(tmp_path / "source", TINY, "multiple-choice", random_tensors(TINY, "multiple-choice", std=0.1))
    questions = [[first, second] for first, second in itertools.pairwise(texts())]
    options = {"dtype": STATIC_INT8, "calibration": questions, "max_drop": 10}
    done = export_checkpoint(tmp_path / "source", tmp_path / "out", "onnx", **options)
    assert done.drop > 0


def test_wrong_arguments(tmp_path):
    need("onnx")
    write_model(tmp_path / "source", TINY, "encoder")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    wrong = [
        ({"format": "tensorrt"}, InputError, "format: expected one of onnx, openvino, .*; found 'tensorrt'"),
        ({"dtype": "bfloat16"}, InputError, "dtype: onnx takes float32, float16, int8, int8-static; found 'bfloat16'"),
        ({"dtype": STATIC_INT8}, InputError, "calibration: expected texts for int8-static"),
        ({"calibration": [[1, 2]]}, InputError, "calibration: .* found 1 texts with dtype 'float32'"),
        ({"task": "masked-lm"}, WeightsError, "vocab_transform"),
        ({"dtype": STATIC_INT8, "calibration": ["a film"]}, InputError, "sequence 0"),
        ({"dtype": STATIC_INT8, "calibration": [[1], [999_999]]}, InputError, "sequence 1"),
        ({"target": tmp_path / "full"}, FileError, "full"),
    ]
    for changes, error, words in wrong:
        arguments = {"target": tmp_path / "out", "format": "onnx", **changes}
        with pytest.raises(error, match=words):
            export_checkpoint(tmp_path / "source", **arguments)
        assert not (tmp_path / "out").exists()


def test_what_is_not_installed_is_named_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("distilbert.backend.importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"export to openvino needs PyTorch(?s:.*)distilbert\[pt\]"):
        export_checkpoint(tmp_path / "absent", tmp_path / "out", "openvino")
    found = {"torch": object(), "onnxscript": object()}
    monkeypatch.setattr("distilbert.backend.importlib.util.find_spec", found.get)
    with pytest.raises(BackendError, match=r"onnxruntime cannot be imported(?s:.*)distilbert\[onnx\]"):
        export_checkpoint(tmp_path / "absent", tmp_path / "out", "onnx")
    found["onnxruntime"] = object()
    with pytest.raises(BackendError, match=r"needs onnx, which cannot be imported(?s:.*)distilbert\[onnx\]"):
        export_checkpoint(tmp_path / "absent", tmp_path / "out", "onnx")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    need("onnx")
    config = task_config(TINY, "encoder")
    tensors = random_tensors(config, "encoder")
    tensors["embeddings.LayerNorm.bias"][0] = np.nan
    write_model(tmp_path / "source", config, "encoder", tensors)
    with pytest.raises(WeightsError, match=r"found NaN or infinity in embeddings.LayerNorm.bias$"):
        export_checkpoint(tmp_path / "source", tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


def test_positions_far_back_are_compared_too(tmp_path, monkeypatch):
    need("torch-export")
    write_model(tmp_path / "source", TINY, "encoder")
    module = FORMATS["torch-export"].module()
    write = module.write

    def spoiled(model, path, dtype):
        name = "embeddings.position_embeddings.weight"
        values = model.dump_tensors()[name].copy()
        values[-1, ::2] += 0.01  # of the same for all a norm would leave nothing
        model.load_tensors({name: values})
        write(model, path, dtype)

    monkeypatch.setattr(module, "write", spoiled)
    with pytest.raises(ParityError, match="'the longest text'"):
        export_checkpoint(tmp_path / "source", tmp_path / "out", "torch-export")


def test_products_of_activations_are_never_in_eight_bits(tmp_path):
    need("onnx")
    onnx = pytest.importorskip("onnx")
    write_model(tmp_path / "source", TINY, "sequence-classification")
    options = {"dtype": STATIC_INT8, "calibration": texts(), "max_drop": 100}
    export_checkpoint(tmp_path / "source", tmp_path / "out", "onnx", **options)
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    made_by = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul"]

    def of_weights(node) -> bool:
        source = made_by.get(node.input[1])
        return source is not None and source.op_type == "DequantizeLinear" and source.input[0] in weights

    assert sum(map(of_weights, products)) == 6 * TINY.n_layers
    others = [node for node in products if not of_weights(node)]
    assert len(others) == 2 * TINY.n_layers
    for node in others:
        assert all(made_by[name].op_type != "DequantizeLinear" for name in node.input)


@pytest.mark.parametrize("format", ["onnx", "litert", "torch-export", "stablehlo"])
def test_a_broken_file_is_an_error_of_the_file(format, tmp_path):
    need(format)
    write_model(tmp_path / "source", TINY, "encoder")
    export_checkpoint(tmp_path / "source", tmp_path / "out", format)
    path = tmp_path / "out" / FORMATS[format].file
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileError, match=r"cannot open it .*; export the model again"):
        open_export(tmp_path / "out")


def test_inputs_and_outputs_have_their_names(tmp_path):
    need("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    config = task_config(TINY, "question-answering")
    write_model(tmp_path / "source", config, "question-answering")
    export_checkpoint(tmp_path / "source", tmp_path / "out", "onnx", dtype="float16")
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"), providers=["CPUExecutionProvider"])
    for values, names, kind in (
        (session.get_inputs(), ["input_ids", "attention_mask"], "tensor(int64)"),
        (session.get_outputs(), ["start_logits", "end_logits"], "tensor(float)"),
    ):
        assert [value.name for value in values] == names
        assert all(value.shape == ["batch_size", "sequence_length"] for value in values)
        assert all(value.type == kind for value in values)


def test_litert_takes_no_operators_of_tensorflow(tmp_path):
    need("litert")
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    write_model(tmp_path / "source", TINY, "masked-lm")
    export_checkpoint(tmp_path / "source", tmp_path / "out", "litert")
    found = interpreter.Interpreter(str(tmp_path / "out" / "model.tflite"))
    assert not [row for row in found._get_ops_details() if row["op_name"].startswith("Flex")]


def test_the_command(tmp_path):
    need("torch-export")
    write_model(tmp_path / "source", TINY, "sequence-classification")
    arguments = ["export", tmp_path / "source", tmp_path / "out", "--format", "torch-export"]
    result = invoke(*arguments)
    assert "logits: off by" in result.stdout
    assert "accepted 2e-06" in result.stdout
    assert "is not empty; choose a new folder" in invoke(*arguments, code=1).stderr
    result = invoke("export", tmp_path / "source", tmp_path / "json", "--format", "torch-export", "--json")
    found = json.loads(result.stdout)
    assert found["parity"]["logits"]["error"] <= 2e-6
    assert "model.pt2" in found["files"]
    result = invoke("export", tmp_path / "source", tmp_path / "x", "--format", "onnx", "--dtype", "int8-static", code=1)
    assert "distilbert quantize MODEL DST --scheme onnx:int8-static" in result.stderr
    assert "format: expected one of" in invoke("export", "x", tmp_path / "x", "--format", "coreml", code=1).stderr
    result = invoke("verify", tmp_path / "source", "--backends", "pt", "--against", tmp_path / "out")
    assert "weights     bit-equal in PyTorch" in result.stdout
