# SPDX-License-Identifier: Apache-2.0
"""`distilbert inspect`: what a checkpoint is and whether it is sound, from headers alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilbert import spec
from distilbert.checkpoint_files import TOKENIZER_FILES, files_in
from distilbert.cli.console import fact_table, grid, plural, say, show, show_json, size, working
from distilbert.cli.options import Json, Revision, Source, Variant
from distilbert.config import INERT_FIELDS, DistilBertConfig
from distilbert.errors import DistilBertError

if TYPE_CHECKING:
    from distilbert.convert import Checkpoint
    from distilbert.convert.fitting import Fit


def inspect(
    source: Source,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor with its shape and type.")] = False,
    check_values: Annotated[
        bool, typer.Option("--check-values", help="Also read the values, and look for NaN and infinity.")
    ] = False,
    variant: Variant = None,
    revision: Revision = None,
    as_json: Json = False,
) -> None:
    """Show what a checkpoint is, and everything that is wrong with it; exit code 1 if anything is.

    Reads headers only, so that the size of the file does not matter.
    """
    found = examine(source, variant, revision, check_values)
    if as_json:
        show_json(found.as_json(tensors))
    else:
        show(fact_table(found.facts()))
        if tensors:
            rows = [(one["name"], str(one["shape"]), one["dtype"]) for one in found.tensor_rows()]
            show(grid("tensors", ("name", "shape", "type"), (), rows))
        for problem in found.problems:
            say("problem", problem)
    if found.problems:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Examination:
    """What there is to say about a checkpoint.

    Attributes:
        checkpoint: as it was read, its projector settled as far as headers tell.
        task: the model it is.
        fit: how it compares with that model.
        projector: how the vocabulary projector is stored; None where there is no masked-LM head.
        tokenizer_problem: what is wrong with the tokenizer beside the weights; None if there is none, or it fits.
        not_finite: tensors with NaN or infinity; None if the values were not read.
    """

    checkpoint: Checkpoint
    task: str
    fit: Fit
    projector: str | None
    tokenizer_problem: str | None
    not_finite: tuple[str, ...] | None

    @property
    def problems(self) -> list[str]:
        """Everything that keeps it from being used as it is, a line for each kind."""
        lines = [] if self.fit.is_exact else str(self.fit.error("")).splitlines()[1:]
        found = [" ".join(line.split()) for line in lines]
        if self.tokenizer_problem:
            found.append(f"tokenizer {self.tokenizer_problem}")
        if self.not_finite:
            found.append(f"NaN or infinity {len(self.not_finite)}: {', '.join(self.not_finite[:8])}")
        return found

    @property
    def unknown_fields(self) -> list[str]:
        """Fields of config.json that mean nothing here; they are kept, and written back."""
        return sorted(self.checkpoint.config.extra.keys() - INERT_FIELDS)

    @property
    def parameters(self) -> int:
        """How many numbers are stored."""
        return sum(tensor.nbytes // tensor.dtype.itemsize for tensor in self.checkpoint.tensors.values())

    @property
    def dtypes(self) -> dict[str, int]:
        """How many tensors there are of each type."""
        return dict(Counter(str(tensor.dtype) for tensor in self.checkpoint.tensors.values()))

    @property
    def tokenizer_files(self) -> list[str]:
        """The tokenizer's files beside the weights."""
        return [name for name in files_in(self.checkpoint.weights.parent) if name in TOKENIZER_FILES]

    def tensor_rows(self) -> list[dict[str, Any]]:
        """Name, shape and type of every tensor."""
        tensors = self.checkpoint.tensors.values()
        return [{"name": one.name, "shape": list(one.shape), "dtype": str(one.dtype)} for one in tensors]

    def facts(self) -> list[tuple[str, str]]:
        """For a reader."""
        checkpoint, config = self.checkpoint, self.checkpoint.config
        names = f"{checkpoint.dialect_title} names"
        files = plural(len(checkpoint.files), "file") + f", {size(checkpoint.nbytes)}"
        dtypes = [f"{dtype} ({count})" if len(self.dtypes) > 1 else dtype for dtype, count in self.dtypes.items()]
        facts = [
            ("weights", str(checkpoint.weights)),
            ("format", f"{checkpoint.format.name}, {names}, {files}"),
            ("model", f"{self.task} ({spec.TASKS[self.task].class_name})"),
            ("tensors", f"{len(checkpoint.tensors):,}, {self.parameters:,} parameters, {', '.join(dtypes)}"),
            ("config", _summary(config)),
        ]
        if self.task in ("sequence-classification", "token-classification"):
            facts.append(("labels", f"{config.num_labels}: {', '.join(list(config.id2label.values())[:12])}"))
        facts.append(("tokenizer", ", ".join(self.tokenizer_files) or "no files"))
        if checkpoint.folded_bert:
            facts.append(("BERT", "read as a DistilBERT: token type 0 is added to the positions"))
        if checkpoint.obstacle:
            facts.append(("head", f"left out: {checkpoint.obstacle}"))
        if checkpoint.difference:
            facts.append(("head", checkpoint.difference))
        if self.projector:
            facts.append(("projector", self.projector))
        if self.unknown_fields:
            facts.append(("unknown", f"config fields without a meaning here: {', '.join(self.unknown_fields)}"))
        if self.not_finite is not None:
            facts.append(
                ("values", f"{len(self.not_finite)} tensors with NaN or infinity" if self.not_finite else "finite")
            )
        return facts

    def as_json(self, with_tensors: bool) -> dict[str, Any]:
        """For scripts."""
        checkpoint = self.checkpoint
        return {
            "weights": str(checkpoint.weights),
            "files": [file.name for file in checkpoint.files],
            "format": checkpoint.format.name,
            "dialect": checkpoint.dialect,
            "task": self.task,
            "folded_bert": checkpoint.folded_bert,
            "obstacle": checkpoint.obstacle,
            "difference": checkpoint.difference,
            "tensors": len(checkpoint.tensors),
            "parameters": self.parameters,
            "bytes": checkpoint.nbytes,
            "dtypes": self.dtypes,
            "config": checkpoint.config.to_dict(),
            "unknown_fields": self.unknown_fields,
            "tokenizer_files": self.tokenizer_files,
            "projector": self.projector,
            "not_finite": None if self.not_finite is None else list(self.not_finite),
            "problems": self.problems,
            **({"tensor_list": self.tensor_rows()} if with_tensors else {}),
        }


def examine(source: str, variant: str | None, revision: str | None, check_values: bool) -> Examination:
    """Open a checkpoint and compare it with the model it says it is."""
    from distilbert import hub
    from distilbert.convert import open_checkpoint
    from distilbert.convert.finite import all_finite

    checkpoint = open_checkpoint(hub.resolve(source, variant=variant, revision=revision), variant)
    not_finite = None
    if check_values:
        with working() as progress:
            progress("reading the values")
            stored = checkpoint.tensors.items()
            not_finite = tuple(name for name, tensor in stored if not all_finite(tensor.load()))
    task = "encoder" if checkpoint.obstacle else checkpoint.task
    checkpoint, projector = _settle_projector(checkpoint, task, check_values)
    fit = checkpoint.fit(checkpoint.config, task)
    return Examination(checkpoint, task, fit, projector, _tokenizer_problem(checkpoint), not_finite)


def _tokenizer_problem(checkpoint: Checkpoint) -> str | None:
    from distilbert.convert.tokenizer_files import check_tokenizer

    try:
        check_tokenizer(checkpoint)
    except DistilBertError as error:
        return str(error)
    return None


def _settle_projector(checkpoint: Checkpoint, task: str, check_values: bool) -> tuple[Checkpoint, str | None]:
    """How the projector is stored; whether it repeats the word embeddings is known only where values may be read."""
    if task != "masked-lm":
        return checkpoint, None
    twice = {spec.PROJECTOR, spec.PREFIX + spec.WORD_EMBEDDINGS} <= checkpoint.tensors.keys()
    if checkpoint.config.tie_word_embeddings and twice and not check_values:
        tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if name != spec.PROJECTOR}
        return replace(checkpoint, tensors=tensors), "tied, yet stored too; --check-values tells whether it is the same"
    settled = checkpoint.with_settled_projector()
    tied = settled.config.tie_word_embeddings
    return settled, "tied to the word embeddings" if tied else "a matrix of its own (untied)"


def _summary(config: DistilBertConfig) -> str:
    heads = f"{config.n_heads} heads" + (" (some pruned)" if config.pruned_heads else "")
    return (
        f"{config.n_layers} layers, {heads}, dim {config.dim}, hidden_dim {config.hidden_dim}, "
        f"{config.vocab_size:,} words, {config.max_position_embeddings} positions, {config.activation}"
    )
