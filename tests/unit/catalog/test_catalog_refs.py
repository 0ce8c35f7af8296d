import copy
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.notification import REF_PATTERN
from notifications_operator.catalog import NOTIFICATION_REF_PATTERN, EntityRef, InvalidEntityRef

kinds = st.from_regex("[A-Za-z][A-Za-z0-9]{0,62}", fullmatch=True)
namespaces = st.from_regex("[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?", fullmatch=True)
entity_names = st.from_regex("[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?", fullmatch=True)
refs = st.builds(EntityRef, kind=kinds, namespace=namespaces, name=entity_names)
near_refs = st.text(alphabet="aZ09-_.:/ \n\t\u00e9\u212a\u0661", max_size=12)


@given(ref=refs)
def test_a_ref_survives_its_text_form(ref: EntityRef) -> None:
    assert EntityRef.parse(str(ref)) == ref
    assert copy.copy(ref) == pickle.loads(pickle.dumps(ref)) == ref


@given(kind=kinds, namespace=namespaces, name=entity_names)
def test_case_does_not_matter(kind: str, namespace: str, name: str) -> None:
    text = f"{kind}:{namespace}/{name}"
    parsed = {EntityRef.parse(text), EntityRef.parse(text.upper()), EntityRef.parse(text.lower())}
    assert len(parsed) == 1
    assert str(parsed.pop()) == text.lower()


@given(text=st.one_of(near_refs, refs.map(str), st.text()))
def test_the_pattern_of_the_crd_and_the_parser_judge_alike(text: str) -> None:
    try:
        EntityRef.parse(text)
    except InvalidEntityRef:
        accepted = False
    else:
        accepted = True
    assert accepted == (re.fullmatch(NOTIFICATION_REF_PATTERN, text) is not None)


def test_the_model_has_the_same_pattern() -> None:
    assert NOTIFICATION_REF_PATTERN == REF_PATTERN


@given(first=refs, second=refs)
def test_order_is_by_kind_then_namespace_then_name(first: EntityRef, second: EntityRef) -> None:
    def parts(ref: EntityRef) -> list[str]:
        return [ref.kind, ref.namespace, ref.name]

    assert (first < second) == (parts(first) < parts(second))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jane.doe", "user:team/jane.doe"),
        ("other/jane_doe", "user:other/jane_doe"),
        ("group:admins", "group:team/admins"),
        ("Group:Other/Admins", "group:other/admins"),
        ("a", "user:team/a"),
        ("1a:b", None),
        ("component:a--b/c", "component:a--b/c"),
        ("x" * 63, "user:team/" + "x" * 63),
        ("x" * 64, None),
        ("user:" + "n" * 64 + "/a", None),
        ("k" * 64 + ":a", None),
    ],
)
def test_defaults_fill_in_what_is_not_said(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(InvalidEntityRef):
            EntityRef.parse(text, default_kind="User", default_namespace="Team")
    else:
        ref = EntityRef.parse(text, default_kind="User", default_namespace="Team")
        assert str(ref) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the kind is missing"),
        ("jane", "the kind is missing"),
        ("default/jane", "the kind is missing"),
        (":jane", "the kind is missing"),
        ("user:", "the name is missing"),
        ("user:/jane", "the namespace is missing"),
        ("user:default/", "the name is missing"),
        ("user:a/b/c", "the name 'b/c' must be letters"),
        ("user:a:b", "the name 'a:b' must be letters"),
        ("user:-a", "the name '-a' must be letters"),
        ("user:a.", "the name 'a.' must be letters"),
        ("user:a_b/c", "the namespace 'a_b' must be letters"),
        ("user:Jane Doe", "the name 'Jane Doe' must be letters"),
        (" user:jane", "the kind ' user' must be a letter"),
        ("user:jane\n", r"the name 'jane\n' must be letters"),
        ("user:\u212aelvin", r"the name '\u212aelvin' must be letters"),
    ],
)
def test_a_bad_ref_says_which_part_is_wrong_and_what_is_valid(text: str, message: str) -> None:
    with pytest.raises(InvalidEntityRef) as caught:
        EntityRef.parse(text)
    assert message in str(caught.value)
    assert "[kind:][namespace/]name" in str(caught.value)
    assert caught.value.value == ascii(text)


@given(text=st.one_of(st.text(), st.text(min_size=300).map(lambda text: text * 1000)))
def test_a_message_cannot_be_abused(text: str) -> None:
    with pytest.raises(InvalidEntityRef) as caught:
        EntityRef.parse("user:\r\n\u202e" + text)
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 2500
