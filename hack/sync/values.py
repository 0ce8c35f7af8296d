"""The generated part of the chart's README: its values as tables.

Two sources: the ``# --`` comments of ``values.yaml`` (as helm-docs reads them) with the defaults
next to them, and, for the options of a processor, which have no defaults in the chart, the
descriptions in ``values.schema.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hack.sync import values_schema

CHART = Path("charts/notifications")
_COMMENT = re.compile(r"^\s*# ?(?P<text>.*)$")
_GENERATED = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)


@dataclass(frozen=True)
class Value:
    """One line of the table."""

    path: str
    default: Any
    description: str


@dataclass(frozen=True)
class Option:
    """One line of the table of a processor's options."""

    path: str
    type: str
    default: Any
    description: str


class UndocumentedValueError(Exception):
    """A value has no comment, and no value that it belongs to has one."""


def generate(root: Path) -> dict[Path, str]:
    """Return the generated files, by path relative to the repository.

    Parameters
    ----------
    root
        The repository.

    Returns
    -------
    dict
        The chart's schema and its README, whose hand-written parts are as they were.

    Raises
    ------
    UndocumentedValueError
        If ``values.yaml`` or the schema has a value that nothing describes.
    ValueError
        If the README lacks the place for a table.
    """
    readme = CHART / "README.md"
    values = read_values((root / CHART / "values.yaml").read_text())
    schema = values_schema.generate(root)
    options = read_options(json.loads(schema[values_schema.SCHEMA]))
    tables = {
        "values": _table(
            ("Value", "Default", "Description"),
            ((_code(v.path), _code(json.dumps(v.default)), v.description) for v in values),
        ),
        "options": _table(
            ("Option", "Type", "Default", "Description"),
            (
                (
                    _code(o.path),
                    o.type,
                    "" if o.default is None else _code(json.dumps(o.default)),
                    o.description.replace("<", "&lt;"),
                )
                for o in options
            ),
        ),
    }
    return schema | {readme: _fill((root / readme).read_text(), tables)}


def read_values(text: str) -> list[Value]:
    """Return the values of a ``values.yaml`` in its order, each with its comment.

    A value with a ``# --`` comment is one line of the table, whatever is below it; one without is
    a block whose values have comments.

    Raises
    ------
    UndocumentedValueError
        If neither a value nor the block it is in has a comment.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise UndocumentedValueError("values.yaml holds no values")
    return list(_walk(node, text.splitlines(), ""))


def _walk(node: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[Value]:
    for key, child in node.value:
        path = f"{prefix}{key.value}"
        description = _comment_above(lines, key.start_mark.line)
        if description is not None:
            yield Value(path, yaml.safe_load(yaml.serialize(child)), description)
        elif isinstance(child, yaml.MappingNode) and child.value:
            yield from _walk(child, lines, f"{path}.")
        else:
            raise UndocumentedValueError(f"values.yaml does not describe {path}: add '# -- ...'")


def _comment_above(lines: list[str], line: int) -> str | None:
    comment: list[str] = []
    for above in reversed(lines[:line]):
        match = _COMMENT.match(above)
        if match is None:
            return None
        comment.insert(0, match["text"].strip())
        if comment[0].startswith("--"):
            return " ".join(comment).removeprefix("--").strip()
    return None


def read_options(schema: dict[str, Any]) -> list[Option]:
    """Return the options of the email processor in the schema's order.

    Raises
    ------
    UndocumentedValueError
        If one of them has no description.
    """
    return list(_walk_schema(schema["definitions"]["email"], ""))


def _walk_schema(schema: dict[str, Any], prefix: str) -> Iterator[Option]:
    for name, option in schema["properties"].items():
        path = f"{prefix}{name}"
        if "description" not in option:
            raise UndocumentedValueError(f"values.schema.json does not describe {path}")
        kind = _kind(option)
        default = None if kind == "object" else option.get("default")
        yield Option(path, kind, default, option["description"])
        if "properties" in option:
            yield from _walk_schema(option, f"{path}.")


def _kind(option: dict[str, Any]) -> str:
    """Return the type of an option as people read it; a number or boolean in quotes is not text."""
    if "$ref" in option:
        return str(option["$ref"].rpartition("/")[2])
    types = option["type"] if isinstance(option["type"], list) else [option["type"]]
    return str(types[0])


def _code(text: str) -> str:
    return f"`{text}`"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _fill(readme: str, tables: dict[str, str]) -> str:
    missing = set(tables) - {match["name"] for match in _GENERATED.finditer(readme)}
    if missing:
        raise ValueError(f"{CHART}/README.md has no place for: {', '.join(sorted(missing))}")
    return _GENERATED.sub(
        lambda match: match["begin"] + tables[match["name"]] + match["end"], readme
    )
