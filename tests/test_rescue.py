# SPDX-License-Identifier: Apache-2.0
"""Old repositories of every dialect, served by a hub on loopback, become clean ones; so do folders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants

from distilbert import DistilBertTokenizer, hub, spec
from distilbert.convert import convert, open_checkpoint
from distilbert.convert.arrays import same_bits
from distilbert.convert.formats import FORMATS
from distilbert.convert.weights import read_weights
from distilbert.errors import (
    BackendError,
    ConfigError,
    DistilBertError,
    FileError,
    HubError,
    InputError,
    TokenizerError,
    WeightsError,
)
from distilbert.files import file_digest
from distilbert.rescuing import Rescue, rescue
from distilbert.yaml_text import parse_yaml

from .hub_server import HubServer, Repository, running_hub
from .samples import TINY, random_tensors, write_as_is, write_model
from .test_bert_folding import CONFIG as BERT_CONFIG
from .test_bert_folding import bert_tensors
from .test_cli import invoke

NAME = "org/old"
TASK = "sequence-classification"
VOCABULARY = "".join(f"{word}\n" for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film", "##s"))
OLD_FIELDS = {"_name_or_path": "/home/ada/models/7", "output_past": True, "tie_weights_": True, "torchscript": False}
CARD = "---\nlicense: mit\ntags:\n- sentiment\n---\n# Old model\n\nIt was good.\n"
CLEAN = {
    "README.md",
    "certificate.json",
    "config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
}
Tensors = dict[str, np.ndarray]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr("distilbert.files._sync", lambda path: None)
    with running_hub(tmp_path, monkeypatch) as running:
        yield running


def serve(server: HubServer, folder: Path, name: str = NAME, **options: Any) -> None:
    """Put the files of a folder into a repository."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    server.repositories[name] = Repository(files, **options)


def rescued(source: str | Path, target: Path, **options: Any) -> Rescue:
    """A rescue for which no framework is started."""
    return rescue(source, target, **{"backends": (), **options})


def old_fields(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | OLD_FIELDS | fields))


def values(folder: Path, task: str) -> Tensors:
    checkpoint = open_checkpoint(folder)
    return {name: tensor.load() for name, tensor in checkpoint.fit(checkpoint.config, task).tensors.items()}


def assert_same(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    assert all(same_bits(found[name], expected[name]) for name in expected)


# What the repositories hold; each writes one, and returns what has to come out of it.


def in_format(format: str, **options: Any) -> Callable[[Path], Tensors]:
    return lambda folder: write_model(folder, TINY, TASK, format=format, **options)


def in_safetensors_of(dialect: str) -> Callable[[Path], Tensors]:
    """A model.safetensors as TensorFlow and Flax write it, with their names and layout."""

    def write(folder: Path) -> Tensors:
        tensors, named = random_tensors(TINY, TASK), {}
        for name, row in spec.tensors(TINY, TASK).items():
            native = spec.native_name(row, dialect)
            turned = np.ascontiguousarray(tensors[name].T) if row.transposed else tensors[name]
            named[native.replace("/", ".") if dialect == "flax" else native] = turned
        write_as_is(folder, named, TINY.replace(architectures=("DistilBertForSequenceClassification",)).to_dict())
        return tensors

    return write


def old_spelling(folder: Path) -> Tensors:
    """Norms as gamma and beta, DataParallel's prefix, a counter: as the first versions wrote them."""
    tensors = random_tensors(TINY, TASK)
    named = {
        f"module.{name.replace('orm.weight', 'orm.gamma').replace('orm.bias', 'orm.beta')}": array
        for name, array in tensors.items()
    }
    named["module.distilbert.embeddings.position_ids"] = np.arange(48)[None]
    write_as_is(folder, named, {**TINY.to_dict(), "architectures": ["DistilBertForSequenceClassification"]}, "pytorch")
    return tensors


SHARDED = {"max_shard_size": "20KB"}
DIALECTS = {
    **{name: in_format(name) for name in FORMATS},
    **{f"{name}-sharded": in_format(name, **SHARDED) for name in FORMATS},
    "tensorflow-safetensors": in_safetensors_of("tf"),
    "flax-safetensors": in_safetensors_of("flax"),
    "old-spelling": old_spelling,
}


@pytest.mark.parametrize("named", ["keras-hub", "orbax", "orbax/flax_model.orbax"])
def test_formats_of_other_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    format = named.partition("/")[0]
    if format == "orbax":
        pytest.importorskip("orbax.checkpoint")
    monkeypatch.setattr("distilbert.cli.rescue.installed", list)
    plain, source, target = tmp_path / "plain", tmp_path / format, tmp_path / "clean"
    expected = write_model(plain, TINY, TASK)
    (plain / "vocab.txt").write_text(VOCABULARY)
    convert(plain, source, format)
    (source / "README.md").write_text(CARD)
    (source / "LICENSE").write_text("Permission is hereby granted")
    shown = invoke("rescue", tmp_path / named, target).stdout
    title = {"keras-hub": "KerasHub", "orbax": "JAX/Flax"}[format]
    assert f"{format}, {title} names" in shown
    assert {path.name for path in target.iterdir()} == CLEAN | {"LICENSE", "model.safetensors"}
    assert_same(values(target, TASK), expected)
    assert DistilBertTokenizer.from_pretrained(target)("A films")["input_ids"] == [2, 5, 6, 7, 3]
    text = (target / "README.md").read_text()
    assert f"{title} names" in text
    assert "It was good." in text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_from_the_hub(server: HubServer, tmp_path: Path, dialect: str) -> None:
    source, target = tmp_path / "source", tmp_path / "new" / "clean"
    expected = DIALECTS[dialect](source)
    old_fields(source)
    (source / "vocab.txt").write_text(VOCABULARY)
    serve(server, source)
    done = rescued(NAME, target)
    assert {path.name for path in target.iterdir()} == set(done.files) == CLEAN | {"model.safetensors"}
    assert [path.name for path in target.parent.iterdir()] == ["clean"]
    assert read_weights(target).tensors.keys() == expected.keys(), "the names are canonical"
    assert_same(values(target, TASK), expected)
    assert done.left_out == tuple(sorted(OLD_FIELDS))
    assert not OLD_FIELDS.keys() & json.loads((target / "config.json").read_text()).keys()
    assert done.origin.name == NAME
    assert done.origin.commit == server.repositories[NAME].at("main")[0]  # type: ignore[index]


def test_bert_that_folds(server: HubServer, tmp_path: Path) -> None:
    tensors = bert_tensors("bert.")
    source = write_as_is(tmp_path / "source", tensors, BERT_CONFIG, "pytorch")
    (source / "vocab.txt").write_text(VOCABULARY)
    serve(server, source)
    done = rescued(NAME, tmp_path / "clean")
    assert done.conversion.source.folded_bert
    assert json.loads((tmp_path / "clean" / "config.json").read_text())["model_type"] == "distilbert"
    positions = tensors["bert.embeddings.position_embeddings.weight"]
    segments = tensors["bert.embeddings.token_type_embeddings.weight"]
    assert_same(
        {"positions": values(tmp_path / "clean", "encoder")["embeddings.position_embeddings.weight"]},
        {"positions": positions + segments[0]},
    )
    assert "The source is a BERT" in (tmp_path / "clean" / "README.md").read_text()


def test_large_models_come_in_shards(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = write_model(tmp_path / "source", TINY, TASK, format="tensorflow")
    serve(server, tmp_path / "source")
    monkeypatch.setattr("distilbert.rescuing.folder.MAX_SHARD_SIZE", "20KB")
    with pytest.warns(UserWarning, match="no tokenizer"):
        done = rescued(NAME, tmp_path / "clean")
    assert "model.safetensors.index.json" in done.files
    assert "model.safetensors" not in done.files
    assert_same(values(tmp_path / "clean", TASK), expected)
    assert "`model-00001-of-" in (tmp_path / "clean" / "README.md").read_text()


def test_a_variant_in_shards(tmp_path: Path) -> None:
    source = tmp_path / "source"
    expected = write_model(source, TINY, TASK, **SHARDED)
    (source / "model.safetensors.index.json").rename(source / "model.safetensors.index.fp16.json")
    (source / "vocab.txt").write_text(VOCABULARY)
    rescued(source, tmp_path / "clean", variant="fp16")
    assert_same(values(tmp_path / "clean", TASK), expected)


def test_variant_revision_and_task(server: HubServer, tmp_path: Path) -> None:
    source = tmp_path / "source"
    expected = write_model(source, TINY, TASK, random_tensors(TINY, TASK, dtype=np.float16))
    (source / "model.safetensors").rename(source / "model.fp16.safetensors")
    (source / "vocab.txt").write_text(VOCABULARY)
    serve(server, source)
    server.repositories[NAME].revisions = {"v1": server.repositories[NAME].files}
    server.repositories[NAME].files = {}
    done = rescued(NAME, tmp_path / "clean", variant="fp16", revision="v1", task="encoder")
    assert (done.origin.name, done.conversion.task) == (f"{NAME}@v1", "encoder")
    encoder = {name: expected[spec.PREFIX + name] for name in spec.tensors(TINY, "encoder")}
    assert_same(values(tmp_path / "clean", "encoder"), encoder)


# Tokenizer


def test_vocabulary_alone_becomes_a_whole_tokenizer(tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    assert rescued(tmp_path / "source", tmp_path / "clean").tokenizer == ("vocab.txt",)
    before = DistilBertTokenizer.from_pretrained(tmp_path / "source")
    after = DistilBertTokenizer.from_pretrained(tmp_path / "clean")
    assert after("A films film")["input_ids"] == before("A films film")["input_ids"] == [2, 5, 6, 7, 6, 3]
    assert after.model_max_length == TINY.max_position_embeddings, "texts are cut where the model ends"
    assert before.model_max_length > 1_000_000
    (tmp_path / "clean" / "vocab.txt").unlink()
    assert DistilBertTokenizer.from_pretrained(tmp_path / "clean")("films")["input_ids"] == [2, 6, 7, 3]


def test_what_the_source_says_of_the_tokenizer_stays(tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY + "Film\n")
    (tmp_path / "source" / "tokenizer_config.json").write_text('{"do_lower_case": false, "model_max_length": 12}')
    rescued(tmp_path / "source", tmp_path / "clean")
    tokenizer = DistilBertTokenizer.from_pretrained(tmp_path / "clean")
    assert tokenizer("Film")["input_ids"] == [2, 8, 3]
    assert tokenizer.model_max_length == 12


def test_a_vocabulary_that_seems_cased_is_told(tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY + "Film\nParis\n")
    with pytest.warns(UserWarning, match="2 words have capitals, but nothing says do_lower_case=false"):
        rescued(tmp_path / "source", tmp_path / "clean")


# Card and certificate


def front_matter(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = parse_yaml((folder / "README.md").read_text().split("---\n")[1], "README.md")
    return found


def test_the_card_of_the_source_is_kept(server: HubServer, tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK, format="flax")
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    (tmp_path / "source" / "README.md").write_text(CARD)
    (tmp_path / "source" / "LICENSE").write_text("Permission is hereby granted")
    serve(server, tmp_path / "source")
    done = rescued(NAME, tmp_path / "clean")
    text = (tmp_path / "clean" / "README.md").read_text()
    assert text.startswith("---\nlicense: mit\ntags:\n- sentiment\n")
    assert "# Old model\n\nIt was good.\n\n## Rescued\n" in text
    commit = server.repositories[NAME].at("main")[0]  # type: ignore[index]
    assert f"made these files from `{NAME} (commit {commit})`, the text above included." in text
    assert "`flax_model.msgpack`, JAX/Flax names | `model.safetensors`, PyTorch names" in text
    assert front_matter(tmp_path / "clean") == {
        "license": "mit",
        "tags": ["sentiment"],
        "library_name": "distilbert",
        "pipeline_tag": "text-classification",
    }
    assert done.licence == "mit"
    assert "As the source states: `mit`. The source's `LICENSE` came along." in text
    assert (tmp_path / "clean" / "LICENSE").read_text() == "Permission is hereby granted"


def test_no_licence_is_made_up(tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    rescued(tmp_path / "source", tmp_path / "clean", name="org/new")
    text = (tmp_path / "clean" / "README.md").read_text()
    assert "license" not in front_matter(tmp_path / "clean")
    assert "The source states none. Ask its authors" in text
    assert (
        "# org/new\n\nA `DistilBertForSequenceClassification` for text-classification, rescued from `source`." in text
    )
    assert 'pipeline("text-classification", "org/new", backend="flax")' in text
    assert str(tmp_path) not in text + (tmp_path / "clean" / "certificate.json").read_text()


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("no front matter", None),
        ("---\nlicense:\n- mit\n- apache-2.0\n---\n", "mit, apache-2.0"),
        ("---\r\nlicense: other\r\nlicense_name: own\r\n---\r\ntext", "other, own"),
        ("---\nlicense_name: own\n---\n", None),
    ],
)
def test_licences(tmp_path: Path, card: str, licence: str | None) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    (tmp_path / "source" / "README.md").write_bytes(card.encode())
    assert rescued(tmp_path / "source", tmp_path / "clean").licence == licence
    assert front_matter(tmp_path / "clean")["library_name"] == "distilbert"


@pytest.mark.parametrize(
    "front", ["{license: mit}", "- mit", "'library_name': own\n\"pipeline_tag\": own", "# nothing"]
)
def test_lines_that_would_break_a_front_matter_are_not_added(tmp_path: Path, front: str) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    (tmp_path / "source" / "README.md").write_text(f"---\n{front}\n---\ntext\n")
    rescued(tmp_path / "source", tmp_path / "clean")
    text = (tmp_path / "clean" / "README.md").read_text()
    assert text.startswith(f"---\n{front}\n")
    found, before = front_matter(tmp_path / "clean"), parse_yaml(front, "README.md")
    assert found == (before or {"library_name": "distilbert", "pipeline_tag": "text-classification"})


def test_a_card_without_a_text(tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    (tmp_path / "source" / "README.md").write_text("---\nlicense: mit\n---\n")
    rescued(tmp_path / "source", tmp_path / "clean")
    text = (tmp_path / "clean" / "README.md").read_text()
    assert "Its model card has no text: what it was trained on" in text
    assert "There was no model card" not in text


def test_rescuing_again_replaces_the_section(tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    (tmp_path / "source" / "README.md").write_text(CARD + "\n## Rescued\n\nfrom a fire\n")
    rescued(tmp_path / "source", tmp_path / "once")
    with (tmp_path / "once" / "README.md").open("a") as card:
        card.write("\n## Thanks\n\nto all\n")
    rescued(tmp_path / "once", tmp_path / "twice")
    text = (tmp_path / "twice" / "README.md").read_text()
    assert text.count("`distilbert rescue`") == text.count("### Parity") == 1
    assert "It was good.\n\n## Rescued\n\nfrom a fire\n\n## Thanks\n\nto all\n\n## Rescued\n" in text
    assert "from `once`" in text


def test_a_card_that_the_cache_lacks(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    (tmp_path / "source" / "README.md").write_text(CARD)
    serve(server, tmp_path / "source")
    hub.resolve(NAME)  # without the card, as from_pretrained does
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert rescued(NAME, tmp_path / "offline").licence is None
    text = (tmp_path / "offline" / "README.md").read_text()
    assert "A model card was not at hand (the hub was not asked)" in text
    assert "which may state one, was not at hand" in text
    assert "states none" not in text
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    del server.repositories[NAME].files["README.md"]
    rescued(NAME, tmp_path / "online")
    text = (tmp_path / "online" / "README.md").read_text()
    assert "There was no model card" in text
    assert "The source states none" in text


def test_a_local_folder_has_no_commit(tmp_path: Path) -> None:
    source = tmp_path / "snapshots" / ("a" * 40)
    write_model(source, TINY, TASK)
    (source / "vocab.txt").write_text(VOCABULARY)
    done = rescued(source, tmp_path / "clean")
    assert done.origin.commit is None
    assert "There was no model card" in (tmp_path / "clean" / "README.md").read_text()


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "vocab.txt"])
def test_links_to_elsewhere_are_not_followed(tmp_path: Path, name: str) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    (tmp_path / "secret").write_text(VOCABULARY)
    (tmp_path / "source" / name).unlink(missing_ok=True)
    (tmp_path / "source" / name).symlink_to(tmp_path / "secret")
    with pytest.raises(FileError, match=f"{name}: is a link to .*secret, outside its folder"):
        rescued(tmp_path / "source", tmp_path / "clean")
    assert not (tmp_path / "clean").exists()


def test_a_front_matter_that_is_no_yaml(tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    (tmp_path / "source" / "README.md").write_text("---\nlicense: [mit\n---\ntext\n")
    with pytest.warns(UserWarning, match="the front matter is kept as it is"):
        done = rescued(tmp_path / "source", tmp_path / "clean")
    assert done.licence is None
    assert (tmp_path / "clean" / "README.md").read_text().startswith("---\nlicense: [mit\n")


def test_the_certificate_without_a_framework(tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK, format="tensorflow")
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    rescued(tmp_path / "source", tmp_path / "clean")
    found = json.loads((tmp_path / "clean" / "certificate.json").read_text())
    assert found["verdict"] == "equal"
    assert (found["source"]["name"], found["other"]["name"]) == ("clean", "source")
    assert found["source"]["files"]["model.safetensors"] == file_digest(tmp_path / "clean" / "model.safetensors")
    assert found["source"]["files"]["config.json"] == file_digest(tmp_path / "clean" / "config.json")
    assert found["other"]["files"]["tf_model.h5"] == file_digest(tmp_path / "source" / "tf_model.h5")
    assert [one["subject"] for one in found["weights"] if one["ok"]] == ["other"]
    assert {one["backend"] for one in found["measurements"]} == {"other"}
    assert "The frameworks were not compared: none ran" in (tmp_path / "clean" / "README.md").read_text()


WITHOUT = """
import importlib.util, sys
hidden = {"torch", "tensorflow", "keras", "jax", "flax", "sklearn", "matplotlib", "pyarrow", "tensorboardX"}
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in hidden else real(name, *rest)
sys.modules.update(dict.fromkeys(hidden))
import distilbert
print(distilbert.rescue(sys.argv[1], sys.argv[2]).report.ok)
"""


def test_where_no_framework_is_installed(tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK, format="flax")
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    command = [sys.executable, "-c", WITHOUT, str(tmp_path / "source"), str(tmp_path / "clean")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"
    text = (tmp_path / "clean" / "README.md").read_text()
    assert "The frameworks were not compared: none ran" in text
    assert json.loads((tmp_path / "clean" / "certificate.json").read_text())["verdict"] == "equal"


def test_the_certificate_with_a_framework(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    assert rescued(tmp_path / "source", tmp_path / "clean", backends=("pt",)).report.ok
    text = (tmp_path / "clean" / "README.md").read_text()
    assert "**Equal.**" in text
    assert "| PyTorch | torch" in text
    found = json.loads((tmp_path / "clean" / "certificate.json").read_text())
    assert {one["backend"] for one in found["measurements"]} == {"pt", "other"}


def test_values_that_are_not_finite_are_kept_and_told(tmp_path: Path) -> None:
    tensors = random_tensors(TINY, TASK)
    tensors["classifier.bias"][:2] = np.nan, np.inf
    write_model(tmp_path / "source", TINY, TASK, tensors)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    done = rescued(tmp_path / "source", tmp_path / "clean")
    assert_same(values(tmp_path / "clean", TASK), tensors)
    assert done.conversion.not_finite == ("classifier.bias",)
    assert (
        "NaN or infinity was in the source, and is here, in `classifier.bias`."
        in (tmp_path / "clean" / "README.md").read_text()
    )


def test_outputs_that_were_not_compared_are_not_called_equal(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    tensors = random_tensors(TINY, TASK)
    tensors["classifier.bias"][:2] = np.nan, np.inf
    write_model(tmp_path / "source", TINY, TASK, tensors)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    rescued(tmp_path / "source", tmp_path / "clean", backends=("pt",))
    text = (tmp_path / "clean" / "README.md").read_text()
    assert "**Equal weights.** The weights hold NaN or infinity, so only their bits were compared" in text
    assert "**Equal.**" not in text


# Sentence encoders


def test_a_sentence_encoder_stays_one(server: HubServer, tmp_path: Path) -> None:
    source, clean = tmp_path / "source", tmp_path / "clean"
    expected = write_model(source, TINY, "encoder", format="pytorch")
    (source / "vocab.txt").write_text(VOCABULARY)
    dense = {"linear.weight": np.eye(5, 32, dtype=np.float32), "linear.bias": np.arange(5, dtype=np.float16)}
    write_as_is(source / "2_Dense", dense, {"in_features": 32, "out_features": 5}, format="pytorch")
    (source / "1_Pooling").mkdir()
    kept = {
        "modules.json": "[]",
        "1_Pooling/config.json": '{"pooling_mode_cls_token": true}',
        "sentence_bert_config.json": '{"max_seq_length": 32}',
    }
    for name, text in kept.items():
        (source / name).write_text(text)
    serve(server, source)
    done = rescued(NAME, clean)
    assert set(done.files) == CLEAN | kept.keys() | {
        "model.safetensors",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
    }
    assert {name: (clean / name).read_text() for name in kept} == kept
    assert_same({name: tensor.load() for name, tensor in read_weights(clean / "2_Dense").tensors.items()}, dense)
    assert_same(values(clean, "encoder"), expected)
    assert front_matter(clean)["pipeline_tag"] == "sentence-similarity"


def test_converting_takes_the_files_of_sentence_encoders_along(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_model(source, TINY, "encoder")
    write_as_is(source / "2_Dense", {"linear.weight": np.eye(5, 32, dtype=np.float32)}, {}, format="pytorch")
    (source / "modules.json").write_text("[]")
    (source / "notes.txt").write_text("mine")
    files = {"modules.json", "2_Dense/config.json", "2_Dense/pytorch_model.bin"}
    done = convert(source, tmp_path / "flax", "flax")
    assert set(done.files) == {"config.json", "flax_model.msgpack"} | files
    assert all((tmp_path / "flax" / name).read_bytes() == (source / name).read_bytes() for name in files)


# Wrong inputs leave nothing behind.


def truncate(folder: Path) -> None:
    path = folder / "tf_model.h5"
    path.write_bytes(path.read_bytes()[:-3000])


def without_weights(folder: Path) -> None:
    (folder / "tf_model.h5").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def another_family(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "gpt2"}')


def long_vocabulary(folder: Path) -> None:
    (folder / "vocab.txt").write_text(VOCABULARY + "".join(f"word{number}\n" for number in range(99)))


def damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": "perhaps"}')


def unreadable_card(folder: Path) -> None:
    (folder / "README.md").write_bytes(b"\xff\xfe")


WRONG = [
    (truncate, WeightsError, "tf_model.h5"),
    (without_weights, FileError, "no weights"),
    (without_config, FileError, "config.json: missing"),
    (another_family, ConfigError, "found 'gpt2'"),
    (long_vocabulary, TokenizerError, "has 107 tokens"),
    (damaged_tokenizer, TokenizerError, "do_lower_case"),
    (unreadable_card, FileError, "README.md: expected UTF-8"),
]


@pytest.mark.parametrize(("spoil", "kind", "message"), WRONG, ids=[row[0].__name__ for row in WRONG])
def test_wrong_folders(
    tmp_path: Path, spoil: Callable[[Path], None], kind: type[DistilBertError], message: str
) -> None:
    write_model(tmp_path / "source", TINY, TASK, format="tensorflow")
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    spoil(tmp_path / "source")
    with pytest.raises(kind, match=message):
        rescued(tmp_path / "source", tmp_path / "clean")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_wrong_names_and_options(server: HubServer, tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    before = sorted(tmp_path.iterdir())
    cases: list[tuple[type[DistilBertError], str, dict[str, Any]]] = [
        (HubError, "org/none", {}),
        (FileError, "./none", {}),
        (InputError, str(tmp_path / "source"), {"task": "translation"}),
        (FileError, str(tmp_path / "source"), {"variant": "fp16"}),
    ]
    for kind, source, options in cases:
        with pytest.raises(kind):
            rescued(source, tmp_path / "clean", **options)
    with pytest.warns(UserWarning, match="no tokenizer"), pytest.raises(BackendError, match="'mxnet'"):
        rescued(tmp_path / "source", tmp_path / "clean", backends=("mxnet",))
    assert sorted(path for path in tmp_path.iterdir() if path.name != "cache") == before


def test_a_target_that_exists(tmp_path: Path) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    with pytest.raises(FileError, match="is not empty"):
        rescued(tmp_path / "source", tmp_path / "source")
    assert not (tmp_path / "source" / "README.md").exists()


# The command


def test_the_command(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distilbert.cli.rescue.installed", list)
    write_model(tmp_path / "source", TINY, TASK, format="tensorflow", **SHARDED)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    serve(server, tmp_path / "source")
    shown = invoke("rescue", NAME, tmp_path / "shown").stdout
    files = len(list((tmp_path / "source").glob("tf_model-*.h5")))
    for fact in (f"{NAME} (commit ", f"tensorflow, TensorFlow names, {files} files", "none stated by the source"):
        assert fact in shown
    assert "no framework ran" in shown
    found = json.loads(invoke("rescue", NAME, tmp_path / "clean", "--json").stdout)
    assert (found["source"], found["task"], found["equal"], found["backends"]) == (NAME, TASK, True, [])
    assert (found["uploaded"], found["licence"], found["files"]) == (None, None, sorted([*CLEAN, "model.safetensors"]))


def test_the_command_round_trip(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the hub to the hub, and from there into a model."""
    pt = pytest.importorskip("distilbert.pt")
    monkeypatch.setattr("distilbert.cli.rescue.installed", lambda: ["pt"])
    monkeypatch.setenv("HF_TOKEN", server.writer)
    expected = write_model(tmp_path / "source", TINY, TASK, format="flax", **SHARDED)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    serve(server, tmp_path / "source")
    shown = invoke("rescue", NAME, tmp_path / "clean", "--push", "org/new", "--private").stdout
    assert "equal: PyTorch" in shown
    assert f"{server.url}/org/new" in shown
    assert server.repositories["org/new"].private
    sent = server.repositories["org/new"].files
    assert sent == {path.name: path.read_bytes() for path in (tmp_path / "clean").iterdir()}
    assert b"# org/new" in sent["README.md"]
    model = pt.DistilBertForSequenceClassification.from_pretrained("org/new")
    assert_same(model.dump_tensors(), expected)
    assert DistilBertTokenizer.from_pretrained("org/new")("films")["input_ids"] == [2, 6, 7, 3]


def test_frameworks_that_disagree_are_told_and_nothing_is_uploaded(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distilbert.cli.rescue.installed", list)
    monkeypatch.setattr("distilbert.parity.report.Report.ok", False)
    monkeypatch.setattr("distilbert.parity.report.Report.problems", lambda report: ["PyTorch: diverges"])
    monkeypatch.setenv("HF_TOKEN", server.writer)
    write_model(tmp_path / "source", TINY, TASK)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    result = invoke("rescue", tmp_path / "source", tmp_path / "clean", "--push", "org/new", code=1)
    assert "problem: PyTorch: diverges" in result.stderr
    assert "not uploaded to org/new" in result.stderr
    assert json.loads((tmp_path / "clean" / "certificate.json").read_text())["verdict"] == "different"
    assert not server.repositories


def test_the_command_refuses_early(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "source", TINY, TASK)
    shutil.copytree(tmp_path / "source", tmp_path / "full")
    cases: list[tuple[list[Any], int, str]] = [
        (["org/none", tmp_path / "clean"], 1, "no such repository"),
        ([tmp_path / "source", tmp_path / "full"], 1, "is not empty"),
        ([tmp_path / "source", tmp_path / "clean", "--push", "org/new"], 1, "needs an access token"),
        ([tmp_path / "source", tmp_path / "clean", "--push", "a/b/c"], 1, "expected 'name', 'org/name'"),
        ([tmp_path / "source", tmp_path / "clean", "--private"], 2, "--push"),
        ([tmp_path / "source", tmp_path / "clean", "--backends", "mxnet"], 2, "mxnet"),
    ]
    for arguments, code, message in cases:
        assert message in " ".join(invoke("rescue", *arguments, code=code).stderr.split())
        assert not (tmp_path / "clean").exists()
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    monkeypatch.setattr("distilbert.cli.rescue.installed", list)
    (tmp_path / "source" / "vocab.txt").write_text(VOCABULARY)
    result = invoke("rescue", tmp_path / "source", tmp_path / "clean", "--push", "org/new", code=1)
    assert "does not let this token write there" in result.stderr
    assert f"{tmp_path / 'clean'} is complete" in result.stderr
    assert (tmp_path / "clean" / "model.safetensors").exists()
