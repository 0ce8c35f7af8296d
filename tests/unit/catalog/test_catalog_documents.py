import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.catalog.documents import BrokenDocument, Document, read_documents
from notifications_operator.catalog.values import KEPT_KEYS, Number, UnusableMapping
from notifications_operator.catalog.yaml_reader import MAX_DEPTH


def contents(text: str) -> list[Any]:
    """What is read from a text of which nothing is broken."""
    found = []
    for document in read_documents(text):
        assert isinstance(document, Document), document
        found.append(document.content)
    return found


def broken(text: str) -> BrokenDocument:
    """The only thing that comes of a text that is broken as a whole."""
    (document,) = read_documents(text)
    assert isinstance(document, BrokenDocument)
    return document


keys = st.sampled_from(sorted(KEPT_KEYS))


def structures(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )
    return st.lists(st.dictionaries(keys, values, min_size=1, max_size=4), min_size=1, max_size=4)


@given(documents=structures(st.text() | st.booleans() | st.none()))
def test_json_is_read_as_it_was_written(documents: list[Any]) -> None:
    assert contents("\n---\n".join(json.dumps(document) for document in documents)) == documents
    assert contents(json.dumps(documents, indent=1)) == documents


@given(documents=structures(st.text()))
def test_yaml_is_read_as_it_was_written(documents: list[Any]) -> None:
    assert contents(yaml.safe_dump_all(documents, default_style='"', indent=3)) == documents
    assert contents(yaml.safe_dump(documents, default_style='"')) == documents


@given(text=st.text(alphabet="-.:[]{}&*!%#|>'\"\\,? \n\t\rab0~", max_size=60) | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    last = 1 + sum(text.count(line_break) for line_break in "\n\r\x85\u2028\u2029")
    assert all(1 <= document.line <= last for document in read_documents(text))


def test_each_document_has_its_place() -> None:
    text = (
        "# Licence\n"
        "---\n"
        "kind: A\n"
        "---\n"
        "# nothing\n"
        "---\n"
        "- kind: B\n"
        "- kind: C\n"
        "---\n"
        '[{"kind": "D"},\n {"kind": "E"}]\n'
        "...\n"
        "kind: F\n"
    )
    found = [(d.index, getattr(d, "item", None), d.line) for d in read_documents(text)]
    assert found == [(0, None, 3), (1, 0, 7), (1, 1, 8), (2, 0, 10), (2, 1, 11), (3, None, 13)]
    assert contents(text) == [{"kind": kind} for kind in "ABCDEF"]


@pytest.mark.parametrize(
    "text",
    [
        "kind: A\r\n---\r\nkind: B\r\n",
        "kind: A\r---\rkind: B",
        "\ufeffkind: A\n--- \nkind: B",
        "%YAML 1.2\n---\nkind: A\n...\n%YAML 1.1\n---\nkind: B\n",
        "--- {kind: A}\n--- # comment\nkind: B\n...\n",
        '---\n{"kind": "A"}\n---\n{kind: B,}\n',
        "---\n- {kind: A}\n- {kind: B}",
        '[{"kind": "A"}, {"kind": "B"}]',
        "[{kind: A}, {kind: B}]",
    ],
)
def test_all_ways_to_write_two_documents(text: str) -> None:
    assert contents(text) == [{"kind": "A"}, {"kind": "B"}]


def test_markers_inside_of_values_separate_nothing() -> None:
    text = 'title: "--- a"\nname: |\n  ---\n  ...\nemail: ---x\n'
    assert contents(text) == [{"title": "--- a", "name": "---\n...\n", "email": "---x"}]


@pytest.mark.parametrize(
    "text", ["", "\n", "---", "---\n---\n", "# a\n---\n# b", "null", "~", "[]"]
)
def test_nothing_comes_of_nothing(text: str) -> None:
    assert contents(text) == []


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0x_1", "0x_1"),
        ("nobody", "nobody"),
        ("1.2.3", "1.2.3"),
        ('"1"', "1"),
        ("!!str 1", "1"),
        ("!Ref thing", "thing"),
        ("|-\n  null", "null"),
        ("", None),
        ("~", None),
        ("NULL", None),
        ("True", True),
        ("false", False),
        ("123", Number("123")),
        ("-1", Number("-1")),
        ("1e5", Number("1e5")),
        (".5", Number(".5")),
        ("0x1f", Number("0x1f")),
        ("0o17", Number("0o17")),
        ("-.inf", Number("-.inf")),
        (".NaN", Number(".NaN")),
    ],
)
def test_scalars_are_those_of_yaml_1_2(scalar: str, value: object) -> None:
    assert contents(f"name: {scalar}") == [{"name": value}]


def test_numbers_of_json_are_kept_as_written() -> None:
    digits = "9" * 10_000
    (document,) = contents(f'{{"name": 1.50, "title": NaN, "email": {digits}}}')
    assert document == {"name": Number("1.50"), "title": Number("NaN"), "email": Number(digits)}


def test_keys_that_no_entity_is_read_from_are_dropped() -> None:
    assert contents("{kind: A, description: x, spec: {steps: [1], owner: o}, 1: 2, ~: 3}") == [
        {"kind": "A", "spec": {"owner": "o"}}
    ]
    assert contents('{"kind": "A", "spec": {"steps": [1], "owner": "o"}}') == [
        {"kind": "A", "spec": {"owner": "o"}}
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: a\nkind: b\nname: c", "the key 'name' occurs twice"),
        ('{"x": 1, "x": 2}', "the key 'x' occurs twice"),
        ("<<: {kind: a}", "merge keys"),
        ("? [a]\n: b", "a key is a list or a mapping"),
        ("{a: b}: c", "a key is a list or a mapping"),
    ],
)
def test_a_mapping_that_is_not_clear_is_marked(text: str, reason: str) -> None:
    (mapping,) = contents(text)
    assert isinstance(mapping, UnusableMapping)
    assert mapping.reason.startswith(reason)
    (outer,) = contents('{"spec": {"a": 1, "a": 2}, "kind": "A"}')
    assert outer == {"spec": UnusableMapping("the key 'a' occurs twice"), "kind": "A"}


def test_aliases_stand_for_what_they_name() -> None:
    text = (
        "kind: &k Group\n"
        "spec:\n"
        "  members: &m [a, *k]\n"
        "  children: *m\n"
        "  profile: &p {title: *k}\n"
        "metadata: *p\n"
    )
    assert contents(text) == [
        {
            "kind": "Group",
            "spec": {
                "members": ["a", "Group"],
                "children": ["a", "Group"],
                "profile": {"title": "Group"},
            },
            "metadata": {"title": "Group"},
        }
    ]
    assert contents("- &a {kind: x}\n- *a\n- &b y\n- *b") == [
        {"kind": "x"}, {"kind": "x"}, "y", "y",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["kind: *a", "&a [*a]", "&a {kind: *a}", "kind: &a x\n---\nkind: *a"]
)
def test_an_alias_of_nothing_is_refused(text: str) -> None:
    *_, document = read_documents(text)
    assert isinstance(document, BrokenDocument)
    assert document.message == "nothing complete is anchored as 'a'"


def billion_laughs(levels: int) -> str:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)
    ]
    return "\n".join(lines)


def test_a_billion_laughs_are_refused() -> None:
    assert broken(billion_laughs(9)).message == "its aliases stand for more than 100000 values"
    assert contents(billion_laughs(3)) == [{}]


def test_a_long_list_repeated_often_is_refused() -> None:
    text = f"members: &m [{'a, ' * 1000}]\nitems:\n" + "- *m\n" * 1000
    assert "aliases" in broken(text).message


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "{" * 1_000_000,
        '{"kind":' * 100_000,
        "- " * 1_000_000,
        "? " * 1_000_000,
        "[a: " * 100_000,
        "\n".join(" " * level + "a:" for level in range(1400)),
        "a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
    ],
)
def test_deep_nesting_is_refused(text: str) -> None:
    assert "nest" in broken(text).message


def test_nesting_up_to_the_bound_is_fine() -> None:
    levels = MAX_DEPTH - 1
    assert contents("- a: " + "[" * (levels - 1) + "]" * (levels - 1)) == [{}]


def test_tag_directives_are_refused_unread() -> None:
    text = "".join(f"%TAG !{number}! x\n" for number in range(100_000)) + "---\nkind: A\n"
    first, second = read_documents(text)
    assert isinstance(first, BrokenDocument)
    assert first.message == "the directive %TAG is not supported"
    assert isinstance(second, Document)
    assert second.content == {"kind": "A"}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("kind: A\n  name: B", 2, "mapping values are not allowed in this context"),
        ("kind: A\nname: [B\nspec: C", 3, "did not find expected ',' or ']'"),
        ("a:\n\tb: c", 2, "found character that cannot start any token"),
        ("kind: A\nname: \x07", 2, "control characters are not allowed"),
        ("kind: A\nname: \ud800", 2, "a surrogate character stands alone"),
        ("kind: 'A", 1, "found unexpected end of stream"),
    ],
)
def test_syntax_errors_say_where_and_what(text: str, line: int, message: str) -> None:
    error = broken(text)
    assert error.line == line
    assert message in error.message
    _, shifted, _ = read_documents(f"kind: X\n---\n{text}\n---\nkind: Y")
    assert isinstance(shifted, BrokenDocument)
    assert (shifted.index, shifted.line) == (1, line + 2)


def test_a_list_that_goes_wrong_keeps_what_came_before() -> None:
    for text in ('[{"kind": "A"},\n{"kind": "B"}\n{"kind": "C"}]', "- {kind: A}\n- {kind: B}\n{"):
        *good, bad = read_documents(text)
        assert [d.content for d in good if isinstance(d, Document)] == [
            {"kind": "A"},
            {"kind": "B"},
        ]
        assert isinstance(bad, BrokenDocument)
