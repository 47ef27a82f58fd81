# SPDX-License-Identifier: Apache-2.0
"""Lists with commas (arguments, imported names): items taken out and changed, with comments and line breaks kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import libcst as cst


@dataclass
class CallEdit:
    """What is to be changed in a call.

    Attributes:
        dropped: arguments to leave out, by place.
        keywords: new keywords of arguments, by place.
        values: new values of arguments, by place.
        added: keywords and values to put after them.
    """

    dropped: set[int] = field(default_factory=set)
    keywords: dict[int, str] = field(default_factory=dict)
    values: dict[int, str] = field(default_factory=dict)
    added: list[tuple[str, str]] = field(default_factory=list)

    def apply(self, call: cst.Call) -> cst.Call:
        """The call with the changes."""
        arguments = [self._changed(place, one) for place, one in enumerate(call.args)]
        kept = without(arguments, self.dropped)
        for keyword, value in self.added:
            kept = _appended(kept, _argument(keyword, cst.parse_expression(value)))
        return call.with_changes(args=kept)

    def _changed(self, place: int, argument: cst.Arg) -> cst.Arg:
        if place in self.values:
            argument = argument.with_changes(value=cst.parse_expression(self.values[place]))
        if place in self.keywords:
            plain = _argument(self.keywords[place], argument.value)
            argument = argument.with_changes(keyword=plain.keyword, equal=plain.equal)
        return argument


def without(items: Sequence[Any], dropped: set[int]) -> list[Any]:
    """The items at the places that are not `dropped`; the last one of them ends as the last one of all did."""
    kept = [item for place, item in enumerate(items) if place not in dropped]
    if kept and kept[-1] is not items[-1]:
        kept[-1] = ended_as(kept[-1], items[-1])
    return kept


def ended_as(item: Any, last: Any) -> Any:
    """The item with what comes after `last` after it, and with its own comment."""
    after = _whitespace(item.comma)
    has_comment = isinstance(after, cst.ParenthesizedWhitespace) and after.first_line.comment is not None
    ending = _whitespace(last.comma)
    if isinstance(ending, cst.ParenthesizedWhitespace):
        if has_comment:
            ending = ending.with_changes(first_line=after.first_line)
        else:
            ending = ending.with_changes(first_line=ending.first_line.with_changes(comment=None))
        return item.with_changes(comma=cst.Comma(whitespace_after=ending))
    if has_comment:  # the comment needs the end of its line, and so the comma
        flat = after.with_changes(indent=False, last_line=cst.SimpleWhitespace(""))
        return item.with_changes(comma=item.comma.with_changes(whitespace_after=flat))
    changes: dict[str, Any] = {"comma": cst.MaybeSentinel.DEFAULT}
    if isinstance(last, cst.Arg):
        changes["whitespace_after_arg"] = last.whitespace_after_arg
    return item.with_changes(**changes)


def _whitespace(comma: Any) -> Any:
    return comma.whitespace_after if isinstance(comma, cst.Comma) else None


def _argument(keyword: str, value: cst.BaseExpression) -> cst.Arg:
    tight = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    return cst.Arg(value, keyword=cst.Name(keyword), equal=tight)


def _appended(items: list[cst.Arg], item: cst.Arg) -> list[cst.Arg]:
    """The items with one more, which ends as the last one did."""
    if not items:
        return [item]
    *others, last = items
    between: Any = cst.SimpleWhitespace(" ")
    if others and isinstance(others[-1].comma, cst.Comma):
        between = others[-1].comma.whitespace_after
        if isinstance(between, cst.ParenthesizedWhitespace):
            between = between.with_changes(first_line=cst.TrailingWhitespace())
    ending = item.with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg)
    before = last.with_changes(comma=cst.Comma(whitespace_after=between), whitespace_after_arg=cst.SimpleWhitespace(""))
    return [*others, before, ending]
