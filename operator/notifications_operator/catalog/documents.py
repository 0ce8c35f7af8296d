"""A text of many YAML or JSON documents, cut into plain values.

JSON, which is YAML too, goes to the JSON parser, which is five times as fast.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .values import DocumentError, Located, Number, keep_known
from .yaml_reader import read_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document that could be read, or one item of a document that is a list.

    Attributes
    ----------
    index
        Position in the text, from 0, empty documents not counted.
    item
        Position in the list, from 0, if the document is one.
    line
        Line of the text on which it begins, from 1.
    content
        Plain values, see `values`.
    """

    index: int
    item: int | None
    line: int
    content: object


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenDocument:
    """A document, or the rest of one that is a list, that could not be read."""

    index: int
    line: int
    message: str


def read_documents(text: str) -> Iterator[Document | BrokenDocument]:
    """Read a stream of YAML or JSON documents, separated by lines that begin with ``---``.

    A broken document ends neither the stream nor the documents beside it. Documents without
    content (such as a leading comment) are left out. Time and memory are linear in the text.
    """
    index = 0
    for first_line, piece in _pieces(text):
        found = False
        try:
            for value in _read_piece(piece):
                found = True
                yield Document(
                    index=index,
                    item=value.item,
                    line=first_line + value.line,
                    content=value.content,
                )
        except DocumentError as error:
            found = True
            yield BrokenDocument(index=index, line=first_line + error.line, message=error.message)
        index += found


_LINE_BREAK = re.compile(r"\r\n?")
_YAML_DIRECTIVE = re.compile(r"^%YAML[^\n]*", re.MULTILINE)


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Cut a stream before every ``---`` and ``...`` at the beginning of a line.

    Nothing within a document may look like that (YAML 1.2.2, production 206 ``c-forbidden``), so
    the cuts are right even where the text between them is not YAML. ``%YAML`` directives, which
    would be cut off from their document, are left out.
    """
    if "\r" in text:
        text = _LINE_BREAK.sub("\n", text)
    if "%YAML" in text:
        text = _YAML_DIRECTIVE.sub("", text)
    if "\ufeff" in text:
        # A mark begins a text. Concatenated files have one at the beginning of each.
        text = text.removeprefix("\ufeff").replace("\n\ufeff", "\n")
    line = 1
    start = 0
    for cut in _cuts(text):
        yield line, text[start:cut].removeprefix("...")
        line += text.count("\n", start, cut)
        start = cut
    yield line, text[start:].removeprefix("...")


def _cuts(text: str) -> Iterator[int]:
    """Yield where lines that begin with a document marker begin, except the first line."""
    upcoming = {marker: text.find(marker) for marker in ("\n---", "\n...")}
    while True:
        found = [(at, marker) for marker, at in upcoming.items() if at >= 0]
        if not found:
            return
        at, marker = min(found)
        after = at + len(marker)
        if text[after : after + 1] in ("", " ", "\t", "\n"):
            yield at + 1
        upcoming[marker] = text.find(marker, after)


_JSON = json.JSONDecoder(
    object_pairs_hook=keep_known, parse_int=Number, parse_float=Number, parse_constant=Number
)
_JSON_START = re.compile(r"(?:---)?[ \t\n]*([\[{])")
_SPACE = frozenset(" \t\n")


class _NotJson(Exception):
    """The text is not JSON."""


def _read_piece(piece: str) -> Iterator[Located]:
    opening = _JSON_START.match(piece)
    if opening is not None:
        try:
            yield from _read_json(piece, opening.start(1))
        except _NotJson:
            pass
        else:
            return
    yield from read_yaml(piece)


def _read_json(piece: str, start: int) -> Iterator[Located]:
    """Read a JSON document that begins at `start`, the items of an array one by one.

    Raises
    ------
    _NotJson
        Before the first value, if the text is not JSON; it may still be YAML.
    DocumentError
        If it is JSON but nested too deeply, or an array that goes wrong after its first item.
    """
    is_array = piece[start] == "["
    values = _json_items(piece, start + 1) if is_array else _json_object(piece, start)
    line, at, count = 0, 0, 0
    try:
        for begin, content in values:
            line += piece.count("\n", at, begin)
            at = begin
            yield Located(line, count if is_array else None, content)
            count += 1
    except RecursionError:
        raise DocumentError(line, "it is nested too deeply") from None
    except _NotJson:
        if not count:
            raise
        raise DocumentError(line, f"the list is not valid JSON after item {count}") from None


def _json_object(piece: str, at: int) -> Iterator[tuple[int, object]]:
    """Yield position and content of the one object of a document."""
    content, end = _decode(piece, at)
    _expect_end(piece, end)
    yield at, content


def _json_items(piece: str, at: int) -> Iterator[tuple[int, object]]:
    """Yield position and content of each item of an array; `at` is behind its bracket."""
    at = _skip_space(piece, at)
    if piece.startswith("]", at):
        return _expect_end(piece, at + 1)
    while True:
        content, end = _decode(piece, at)
        yield at, content
        end = _skip_space(piece, end)
        if piece.startswith("]", end):
            return _expect_end(piece, end + 1)
        if not piece.startswith(",", end):
            raise _NotJson
        at = _skip_space(piece, end + 1)


def _decode(piece: str, at: int) -> tuple[object, int]:
    try:
        return _JSON.raw_decode(piece, at)
    except json.JSONDecodeError as error:
        raise _NotJson from error


def _skip_space(piece: str, at: int) -> int:
    while piece[at : at + 1] in _SPACE:
        at += 1
    return at


def _expect_end(piece: str, at: int) -> None:
    if piece[at:].strip():
        raise _NotJson
