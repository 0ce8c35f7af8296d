"""A YAML document to plain values, by events.

Not ``yaml.load``, for three reasons. A ConfigMap full of brackets makes its recursive composer
overflow the C stack, which kills the process, and its scanner take hours; here nesting is bounded
while it is read. It resolves scalars as YAML 1.1 does, where a user named ``no`` is a boolean;
Backstage reads YAML 1.2. And it takes about twice the time and keeps everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from yaml import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    MarkedYAMLError,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    YAMLError,
)
from yaml.cyaml import CParser  # type: ignore[attr-defined]
from yaml.reader import ReaderError

from .quoting import quoted
from .values import DocumentError, Located, Number, keep_known

MAX_DEPTH = 100
"""Levels of nesting in a document; the scanner's time is quadratic in it."""

MAX_NODES = 2_000_000
"""Values in a document, or in one item of a document that is a list; bounds the memory."""

MAX_ALIASED_NODES = 100_000
"""Values that the aliases of one document may stand for, all together."""


def read_yaml(piece: str) -> Iterator[Located]:
    """Read a YAML document; the items of one that is a list are handed on one by one.

    Documents without content are left out.

    Raises
    ------
    DocumentError
        If the text is not YAML, or breaks one of the bounds above.
    """
    handlers = _Builder().handlers
    for event in _events(piece):
        handler = handlers.get(event.__class__)
        if handler is not None and (value := handler(event)) is not None:
            yield value


_TAG_DIRECTIVE = re.compile("(?:\\A|[\n\x85\u2028\u2029\ufeff])%TAG")


def _events(piece: str) -> Iterator[Event]:
    if "%TAG" in piece and _TAG_DIRECTIVE.search(piece):
        # The scanner compares each with all before it, without ever letting another thread run.
        raise DocumentError(0, "the directive %TAG is not supported")
    try:
        parser = CParser(piece)
        while (event := parser.get_event()) is not None:
            yield event
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last_line = piece.rstrip().count("\n")  # an unexpected end is reported on the line after
        line = min(mark.line, last_line) if mark else 0
        message = ", ".join(filter(None, (error.problem, error.context)))
        raise DocumentError(line, message) from error
    except ReaderError as error:
        line = piece.count("\n", 0, error.position)
        raise DocumentError(line, f"{error.reason} (at character {error.position})") from error
    except YAMLError as error:
        raise DocumentError(0, str(error)) from error
    except UnicodeEncodeError as error:
        raise DocumentError(
            piece.count("\n", 0, error.start), "a surrogate character stands alone"
        ) from error


@dataclass(frozen=True, slots=True)
class _Anchored:
    """What an anchor names, and of how many values it is made."""

    value: object
    size: int


class _Builder:
    """Builds values from events, with a stack of its own.

    Attributes
    ----------
    handlers
        For each type of event what takes it, and returns the document or item that it completes.
    """

    def __init__(self) -> None:
        self.handlers: dict[type[Event], Callable[[Any], Located | None]] = {
            ScalarEvent: self._scalar,
            AliasEvent: self._alias,
            MappingStartEvent: self._begin,
            SequenceStartEvent: self._begin,
            MappingEndEvent: self._end_mapping,
            SequenceEndEvent: self._end_sequence,
            DocumentStartEvent: self._start,
        }
        self._start()

    def _start(self, _: DocumentStartEvent | None = None) -> None:
        self._open: list[list[object]] = []
        self._is_list = False
        self._line = 0
        self._items = 0
        self._nodes = 0
        self._nodes_of_items = 0
        self._aliased = 0
        self._anchors: dict[str, _Anchored] = {}
        self._open_anchors: list[tuple[int, str, int]] = []

    def _scalar(self, event: ScalarEvent) -> Located | None:
        text = event.value
        value: object = text
        if event.implicit[0] and (not text or text[0] in _MAYBE_RESOLVED):
            value = _resolve(text)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, 1)
        if len(self._open) > self._is_list:
            self._open[-1].append(value)
            return None
        self._line = _line(event)
        return self._complete(value)

    def _alias(self, event: AliasEvent) -> Located | None:
        anchor = str(event.anchor)
        anchored = self._anchors.get(anchor)
        if anchored is None:
            raise DocumentError(_line(event), f"nothing complete is anchored as {quoted(anchor)}")
        self._nodes += anchored.size - 1
        self._aliased += anchored.size
        if self._aliased > MAX_ALIASED_NODES:
            raise DocumentError(
                _line(event), f"its aliases stand for more than {MAX_ALIASED_NODES} values"
            )
        if len(self._open) > self._is_list:
            self._open[-1].append(anchored.value)
            return None
        self._line = _line(event)
        return self._complete(anchored.value)

    def _begin(self, event: CollectionStartEvent) -> None:
        depth = len(self._open)
        if depth >= MAX_DEPTH:
            raise DocumentError(_line(event), f"more than {MAX_DEPTH} levels of nesting")
        if depth <= self._is_list:
            self._line = _line(event)
            self._is_list = self._is_list or isinstance(event, SequenceStartEvent)
        if event.anchor is not None:
            self._open_anchors.append((depth, event.anchor, self._nodes))
        self._open.append([])

    def _end_mapping(self, _: MappingEndEvent) -> Located | None:
        items = self._open[-1]
        return self._end(keep_known(list(zip(items[::2], items[1::2], strict=True))))

    def _end_sequence(self, _: SequenceEndEvent) -> Located | None:
        return self._end(self._open[-1])

    def _end(self, value: object) -> Located | None:
        self._nodes += len(self._open.pop())
        if self._nodes - self._nodes_of_items > MAX_NODES:
            raise DocumentError(self._line, f"more than {MAX_NODES} values; split it")
        depth = len(self._open)
        if self._open_anchors and self._open_anchors[-1][0] == depth:
            _, anchor, nodes_before = self._open_anchors.pop()
            self._anchors[anchor] = _Anchored(value, self._nodes - nodes_before + 1)
        if depth > self._is_list:
            self._open[-1].append(value)
            return None
        if depth == 0 and self._is_list:
            return None
        return self._complete(value)

    def _complete(self, value: object) -> Located | None:
        self._nodes_of_items = self._nodes
        if not self._is_list:
            return None if value is None else Located(self._line, None, value)
        self._items += 1
        return Located(self._line, self._items - 1, value)


def _line(event: Event) -> int:
    assert event.start_mark is not None, "a parser marks all its events"
    return event.start_mark.line


_MAYBE_RESOLVED = frozenset("~nNtTfF+-.0123456789")
_CONSTANTS: dict[str, bool | None] = {
    "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_NUMBER = re.compile(
    r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


def _resolve(text: str) -> str | bool | Number | None:
    """Resolve a plain scalar by the core schema (YAML 1.2.2, section 10.3.2)."""
    if not text:
        return None
    if text[0] not in _MAYBE_RESOLVED:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    return Number(text) if _NUMBER.fullmatch(text) else text
