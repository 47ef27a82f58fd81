# SPDX-License-Identifier: Apache-2.0
"""The card of a rescued model: that of the source, word for word, and what was done. Nothing is claimed beyond that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from distilbert import __version__
from distilbert.backend import BACKENDS, installed
from distilbert.checkpoint_files import CARD_FILE, MODULES_FILE, TOKENIZER_FILES
from distilbert.errors import FileError
from distilbert.model_cards.markdown import code, grid
from distilbert.model_cards.names import hub_task
from distilbert.model_cards.parity import Parity, parity_section
from distilbert.model_cards.use import usage
from distilbert.parity.certificate import certificate
from distilbert.rescuing.facts import Rescue
from distilbert.rescuing.source_card import SourceCard
from distilbert.spec import TASKS
from distilbert.yaml_text import parse_yaml, to_yaml

CERTIFICATE_FILE = "certificate.json"
_OWN_SECTION = re.compile(r"^## Rescued\n\n`distilbert rescue` .*?(?=^##? |\Z)", re.M | re.S)  # of an earlier rescue


def write_card(rescue: Rescue, source: SourceCard) -> str:
    """The whole text."""
    text = _OWN_SECTION.sub("", source.body).strip("\n")
    parts = [
        f"---\n{_front_matter(rescue, source)}---",
        text or _introduction(rescue, source),
        "## Rescued",
        *_rescued(rescue, bool(text)),
        "### Licence",
        _licence(rescue, source),
        "### Parity",
        *_parity(rescue),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(rescue: Rescue, source: SourceCard) -> str:
    """What the source has, word for word, and what it lacks of the two fields by which the hub finds a model."""
    front = source.front or ""
    task = "sentence-similarity" if MODULES_FILE in rescue.files else hub_task(rescue.conversion.task)
    known: dict[str, Any] = {"library_name": "distilbert", "pipeline_tag": task}
    new = {name: value for name, value in known.items() if name not in source.fields}
    longer = front + (to_yaml(new) if new else "")
    return longer if _says(longer, {**source.fields, **new}) else front


def _says(front: str, fields: Mapping[str, Any]) -> bool:
    """Whether these lines are YAML for the fields: lines cannot be added to all that may stand there."""
    try:
        return bool(parse_yaml(front, CARD_FILE) == fields)
    except FileError:
        return False


def _introduction(rescue: Rescue, source: SourceCard) -> str:
    task = rescue.conversion.task
    card = "There was no model card" if source.front is None else "Its model card has no text"
    if not source.at_hand:
        card = "A model card was not at hand (the hub was not asked)"
    said = (
        f"A `{TASKS[task].class_name}` for {hub_task(task)}, rescued from {code(rescue.origin.name)}. It runs in "
        f"PyTorch, TensorFlow and JAX. {card}: what it was trained on and how well it does is not known here."
    )
    return "\n\n".join([f"# {rescue.name}", said, "## Use", usage(rescue.name, task)])


def _rescued(rescue: Rescue, has_card: bool) -> list[str]:
    done = rescue.conversion
    of_source = ", the text above included" if has_card else ""
    files = [name for name in rescue.files if "safetensors" in name and "/" not in name]
    names = f"{done.source.dialect_title} names"
    rows = [
        ("weights", f"{_listed(file.name for file in done.source.files)}, {names}", f"{_listed(files)}, PyTorch names"),
        (
            "tokenizer",
            _listed(rescue.tokenizer) or "none",
            _listed(name for name in TOKENIZER_FILES if name in rescue.files) or "none",
        ),
        *([("left out of `config.json`", _listed(rescue.left_out), "")] if rescue.left_out else []),
    ]
    said = [
        f"`distilbert rescue` {__version__} made these files from {code(str(rescue.origin))}{of_source}.",
        grid(("", "there", "here"), rows, "lll"),
        f"All {done.tensors:,} tensors were read back from the files here and equal what was read there, bit for bit.",
    ]
    if done.source.folded_bert:
        said.append(
            "The source is a BERT. It was read as a DistilBERT, which computes the same for texts of one segment, up "
            "to rounding: here the positions have the vector of the first segment added to them. There is no pooled "
            "output and no second segment."
        )
    if done.not_finite:
        said.append(f"NaN or infinity was in the source, and is here, in {_listed(done.not_finite)}.")
    return said


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(code, names))


def _licence(rescue: Rescue, source: SourceCard) -> str:
    files = f" The source's {_listed(rescue.licence_files)} came along." if rescue.licence_files else ""
    if rescue.licence:
        return f"As the source states: {code(rescue.licence)}.{files}"
    if not source.at_hand:
        return f"The source's card, which may state one, was not at hand (the hub was not asked).{files}"
    if files:
        return f"No card of the source names a licence.{files}"
    return "The source states none. Ask its authors what you may do with the model."


def _parity(rescue: Rescue) -> list[str]:
    report = rescue.report
    if report.backends:
        missing = tuple(BACKENDS[name].title for name in BACKENDS if name not in installed())
        found = Parity(certificate(report), missing)
        return parity_section(found, CERTIFICATE_FILE, "where the model was rescued")
    return [
        "The frameworks were not compared: none ran where the model was rescued. `distilbert verify` compares them.",
        f"`{CERTIFICATE_FILE}` has the digests of the files, and that their weights equal the source's.",
    ]
