# SPDX-License-Identifier: Apache-2.0
"""Files of CoNLL: a word and its tag in each line, a blank line after each sentence.

Words and tags are apart by tabs, or in lines without a tab by spaces. The word is the first entry of a line and the tag
the last; what is between (parts of speech in CoNLL-2003) is not read. A line with more or fewer entries than
the first is an error, as its tag may be what it lacks. Lines that begin with -DOCSTART- end a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from distilbert.tables.rows import Row
from distilbert.training.data.lines import decoded_lines


def read_conll(path: Path) -> Iterator[Row]:
    """The sentences as rows of two lists, `tokens` and `tags`; a sentence with a bad line is set aside with it.

    Raises:
        FileError: the file cannot be read.
    """
    tokens: list[str] = []
    tags: list[str] = []
    number, problem = 0, None
    widths: dict[bool, tuple[int, int]] = {}  # with and without tabs: the columns of the first line, and its number
    for line_number, line, fault in decoded_lines(path):
        if fault is None and (not line or line.startswith("-DOCSTART-")):
            if tokens or problem:
                yield _sentence(number, tokens, tags, problem)
                number, tokens, tags, problem = number + 1, [], [], None
            continue
        entries = [entry.strip() for entry in line.split("\t")] if "\t" in line else line.split()
        if fault is None and (len(entries) < 2 or not entries[0] or not entries[-1]):
            fault = f"expected a word and its tag, found {line!r:.60}"
        if fault is None:
            width, first = widths.setdefault("\t" in line, (len(entries), line_number + 1))
            if len(entries) != width:
                fault = f"expected {width} columns, as in line {first}, found {len(entries)} in {line!r:.60}"
        if fault is not None:
            problem = problem or f"line {line_number + 1}: {fault}"
            continue
        tokens.append(entries[0])
        tags.append(entries[-1])
    if tokens or problem:
        yield _sentence(number, tokens, tags, problem)


def _sentence(number: int, tokens: list[str], tags: list[str], problem: str | None) -> Row:
    return Row(number, None if problem else {"tokens": tokens, "tags": tags}, problem)
