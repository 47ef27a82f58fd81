# SPDX-License-Identifier: Apache-2.0
"""What `distilbert distill` is told. Defaults are those with which DistilBERT was made, where they are known."""

from __future__ import annotations

import dataclasses

from distilbert.training.arguments import TrainingArguments
from distilbert.training.settings import setting

TASKS = ("text-classification",)
WIDTHS = ("projection", "truncation")
_OF_WORDS = (
    "alpha_mlm",
    "alpha_cos",
    "mlm_probability",
    "mlm_smoothing",
    "whole_word_masking",
    "restrict_ce_to_mask",
    "line_by_line",
)
_OF_CACHE = ("cache_top_k", "cache_masks")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillRecipe(TrainingArguments):
    """A teacher, a student made from it, and text. Without a task it is masked language modelling that is distilled."""

    COMMAND = "distilbert distill"

    learning_rate: float = setting(5e-4, "Of AdamW, at its highest.", least=0)
    warmup_ratio: float = setting(0.05, "Share of all steps in which the rate rises.", least=0, most=1)
    adam_epsilon: float = setting(1e-6, "Added to AdamW's root mean square.", above=0)
    max_grad_norm: float = setting(5.0, "Longest gradient; 0 does not clip.", least=0)

    teacher_name_or_path: str = setting(
        dataclasses.MISSING, "Folder or hub repository: DistilBERT or BERT.", alias="teacher", panel="Teacher and text"
    )
    corpus: tuple[str, ...] = setting(
        dataclasses.MISSING, "Texts (.txt) or tables with texts: files, patterns or folders.", alias="train_file"
    )
    validation_file: tuple[str, ...] = setting((), "The same to evaluate on.", alias="eval")
    task: str | None = setting(None, "Distil a fine-tuned teacher of this task by its answers.", choices=TASKS)
    input_format: str | None = setting(None, "text, csv, tsv, jsonl, parquet or arrow; else by the suffix.")
    column: tuple[str, ...] = setting((), "FIELD=NAME: which column the text or the label is in, as text=sentence.")
    max_train_samples: int | None = setting(None, "Use only the first so many lines or rows.", least=1)
    max_eval_samples: int | None = setting(None, "The same in evaluation.", least=1)
    max_seq_length: int = setting(128, "Tokens of a run of text; a text of a task is cut there.", least=8)
    line_by_line: bool = setting(False, "Each line or row for itself, rather than full lengths of joined ones.")
    corpus_folder: str | None = setting(None, "Where tokenised text goes; by default into the output folder.")

    student_name_or_path: str | None = setting(
        None, "A student to go on with, in place of one made from the teacher.", alias="student", panel="Student"
    )
    layers: str | None = setting(None, "The teacher's layers to keep, as 0,2,4,7,9,11; by default half of them.")
    dim: int | None = setting(None, "Width of a narrower student.", least=2)
    n_heads: int | None = setting(None, "Its attention heads; by default as many as keep their size.", least=1)
    hidden_dim: int | None = setting(None, "Width of its feed-forward layers; by default in proportion.", least=1)
    width: str = setting("projection", "How it becomes narrower.", choices=WIDTHS)
    vocab_size: int | None = setting(None, "Keep about so many word pieces, the most frequent ones.", least=1)

    temperature: float = setting(2.0, "Softens what teacher and student say.", above=0, panel="Loss")
    alpha_ce: float = setting(5.0, "Weight of the cross-entropy with the teacher.", least=0)
    alpha_mlm: float = setting(2.0, "Weight of masked language modelling.", least=0)
    alpha_cos: float = setting(1.0, "Weight of the cosine of the last hidden states.", least=0)
    alpha_label: float = setting(0.0, "Of a task: weight of the labels that the text has.", least=0)
    mlm_probability: float = setting(0.15, "Share of the tokens to be guessed.", above=0, most=1)
    mlm_smoothing: float = setting(0.7, "Rare pieces are masked more often, by their count to minus this.", least=0)
    whole_word_masking: bool = setting(False, "All pieces of a word are masked together.")
    restrict_ce_to_mask: bool = setting(False, "Compare with the teacher at masked tokens alone: faster.")
    teacher_cache: str | None = setting(None, "Folder for the teacher's answers, so that it answers once.")
    cache_top_k: int = setting(32, "Likeliest pieces kept of each answer there.", least=1)
    cache_masks: int = setting(1, "Different maskings of each text there; epochs take turns.", least=1)

    def __post_init__(self) -> None:
        layers: object = self.layers
        if isinstance(layers, list | tuple | int):  # as YAML may have it
            numbers = [layers] if isinstance(layers, int) else layers
            object.__setattr__(self, "layers", ",".join(map(str, numbers)))
        super().__post_init__()

    @property
    def layer_numbers(self) -> tuple[int, ...] | None:
        """The layers asked for, rising; None for the default."""
        return None if self.layers is None else tuple(int(part) for part in self.layers.split(","))

    def problems(self) -> list[str]:
        found = super().problems()
        if isinstance(self.layers, str) and self.layers:
            found += _layer_problems(self.layers)
        if not found:
            found += [*self._student_problems(), *self._loss_problems(), *self._idle_problems()]
        return found

    def _student_problems(self) -> list[str]:
        if self.student_name_or_path is None:
            return []
        made = ("layers", "dim", "n_heads", "hidden_dim", "vocab_size")
        given = [name for name in made if getattr(self, name) is not None]
        return [f"{name}: is the student's own; leave it out, or leave out student_name_or_path" for name in given]

    def _loss_problems(self) -> list[str]:
        if self.task is None:
            used = {"alpha_ce": self.alpha_ce, "alpha_mlm": self.alpha_mlm, "alpha_cos": self.alpha_cos}
            found = ["alpha_label: is for a task; masked language modelling has no labels"] if self.alpha_label else []
        else:
            used = {"alpha_ce": self.alpha_ce, "alpha_label": self.alpha_label}
            found = []
        if self.label_smoothing_factor:
            found.append("label_smoothing_factor: expected 0; what the teacher says is soft already")
        if not any(used.values()):
            found.append(f"{', '.join(used)}: all are 0, so there is nothing to learn")
        return found

    def _idle_problems(self) -> list[str]:
        """What is asked for and would do nothing."""
        changed = {entry.name for entry in dataclasses.fields(self) if getattr(self, entry.name) != entry.default}
        reasons: dict[str, str] = {}
        if self.teacher_cache is None:
            reasons |= dict.fromkeys(_OF_CACHE, "is for a teacher_cache; name its folder")
        if self.task is not None:
            reasons |= dict.fromkeys((*_OF_WORDS, *_OF_CACHE), "is for masked language modelling, and a task has none")
        if not changed & {"dim", "n_heads", "hidden_dim"}:
            reasons["width"] = "is for a narrower student; name its dim, n_heads or hidden_dim"
        found = [f"{name}: {reason}" for name, reason in reasons.items() if name in changed]
        if self.task is None and any(entry.startswith("label=") for entry in self.column):
            found.append("column: label=NAME is for a task; masked language modelling has no labels")
        return found


def _layer_problems(text: str) -> list[str]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        return [f"layers: expected whole numbers such as 0,2,4,7,9,11; found {text!r}"]
    numbers = [int(part) for part in parts]
    if numbers != sorted(set(numbers)):
        return [f"layers: expected rising numbers, each once; found {text!r}"]
    return []
