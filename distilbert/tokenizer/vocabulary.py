# SPDX-License-Identifier: Apache-2.0
"""vocab.txt: one word per line, the line number is the id. Reading it, and what a list of words must be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from distilbert.errors import FileError
from distilbert.files import read_text

SHOWN = 5  # of each kind of problem, the rest is counted


def read_vocabulary(path: Path, problems: list[str]) -> list[str] | None:
    """The words of a vocab.txt in the order of their ids; None if it could not be read as one."""
    try:
        text = read_text(path)
    except FileError as error:
        problems.append(str(error))
        return None
    # Only "\n" ends a word: real vocabularies hold characters at which str.splitlines() would split.
    words = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if words == [""]:
        problems.append(f"{path.name}: the file is empty; expected one word per line")
        return None
    problems += word_problems(words, path.name)
    return words


def word_problems(words: Sequence[str], name: str) -> list[str]:
    """What is wrong with a list of words: empty ones, line breaks in them, the same one twice."""
    empty = [f"line {line} is empty" for line, word in enumerate(words, 1) if not word]
    broken = [f"line {line} holds a line break" for line, word in enumerate(words, 1) if "\r" in word or "\n" in word]
    return listed(name, [*empty, *broken, *_doubled(words)])


def listed(name: str, problems: Sequence[str]) -> list[str]:
    """The first few problems, each after the file's name, and how many more there are."""
    rest = [f"{name}: and {len(problems) - SHOWN:,} more of this kind"] if len(problems) > SHOWN else []
    return [f"{name}: {problem}" for problem in problems[:SHOWN]] + rest


def _doubled(words: Sequence[str]) -> Iterable[str]:
    if len(set(words)) == len(words):
        return
    lines: dict[str, list[int]] = {word: [] for word, count in Counter(words).items() if count > 1 and word}
    for line, word in enumerate(words, 1):
        if word in lines:
            lines[word].append(line)
    for word, found in lines.items():
        yield f"{word!r} is on line {' and '.join(map(str, found[:SHOWN]))}; a word can have only one id"
