"""What a body must be like; and that the API server takes what is taken here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.notification import REQUESTED_ANNOTATION, Notification
from notifications_operator.api.references import NOTIFICATIONS
from notifications_operator.gateway.errors import InputError
from notifications_operator.gateway.principals import ServicePrincipal
from notifications_operator.gateway.sending.manifest import manifest
from notifications_operator.gateway.sending.request import METADATA_LIMIT, parse_request
from tests.support.conformance import Case, load_cases
from tests.support.definitions import installed_definitions

CALLER = ServicePrincipal(subject="external:build", namespace="inbox", broadcast=True)
NOW = datetime(2030, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
BROADCAST = {"type": "broadcast"}


def entity(ref: Any = "user:default/ada", **more: Any) -> dict[str, Any]:
    return {"type": "entity", "entityRef": ref, **more}


def body(recipients: Any = BROADCAST, **payload: Any) -> dict[str, Any]:
    return {"recipients": recipients, "payload": {"title": "Hello", **payload}}


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        (BROADCAST, {"type": "broadcast"}),
        (entity(), {"type": "entity", "entityRef": "user:default/ada"}),
        (entity(["group:a"]), {"type": "entity", "entityRef": "group:a"}),
        (entity(["user:a", "b:c/d"]), {"type": "entity", "entityRefs": ["user:a", "b:c/d"]}),
        (
            entity(excludeEntityRef="user:b"),
            {"type": "entity", "entityRef": "user:default/ada", "excludeEntityRef": "user:b"},
        ),
        (
            entity(excludeEntityRef=["user:b", "user:c"]),
            {
                "type": "entity",
                "entityRef": "user:default/ada",
                "excludeEntityRefs": ["user:b", "user:c"],
            },
        ),
        (entity(excludeEntityRef=[]), {"type": "entity", "entityRef": "user:default/ada"}),
        ({"type": "broadcast", "more": 1}, {"type": "broadcast"}),
    ],
)
def test_recipients(given: Any, fields: dict[str, Any]) -> None:
    made = manifest(
        parse_request(body(given)), caller=CALLER, name="n", ttl_seconds=1, requested=NOW
    )
    assert made["spec"]["recipients"] == fields


def test_an_empty_list_is_nobody() -> None:
    assert parse_request(body(entity([]))).recipients is None


def test_what_is_said_is_kept_and_what_nobody_knows_is_not() -> None:
    said = {
        "title": "T",
        "description": "",
        "link": "/catalog",
        "severity": "critical",
        "topic": "t",
        "scope": "s",
        "icon": "i",
        "metadata": {"a": [None, 1, {"b": 2.5}]},
    }
    given = {"recipients": BROADCAST, "payload": {**said, "extra": 1}, "origin": "me", "x": None}
    made = manifest(parse_request(given), caller=CALLER, name="n", ttl_seconds=7, requested=NOW)
    assert made["spec"] == {
        "recipients": BROADCAST,
        "payload": said,
        "origin": "external:build",
        "ttlSecondsAfterFinished": 7,
    }


def test_when_it_was_requested_is_kept_as_the_inbox_keeps_it() -> None:
    made = manifest(parse_request(body()), caller=CALLER, name="n", ttl_seconds=7, requested=NOW)
    said = made["metadata"]["annotations"][REQUESTED_ANNOTATION]
    assert said == "2030-01-31T12:00:00.123+00:00"


def test_an_empty_link_or_scope_is_none() -> None:
    assert parse_request(body(link="", scope="")).payload_fields == {"title": "Hello"}


BAD: dict[str, tuple[Any, str]] = {
    "no object": ([], "body: must be an object"),
    "no recipients": ({"payload": {"title": "T"}}, "recipients: is required"),
    "no payload": ({"recipients": BROADCAST}, "payload: is required"),
    "null recipients": (body(None), "recipients: must be an object, not null"),
    "a list of payloads": ({"recipients": BROADCAST, "payload": []}, "payload: must be an object"),
    "no type": (body({}), "recipients.type: must be entity or broadcast, not null"),
    "an unknown type": (
        body({"type": "all"}),
        'recipients.type: must be entity or broadcast, not "',
    ),
    "no ref": (body({"type": "entity"}), "recipients.entityRef: is required"),
    "a null ref": (body(entity(None)), "recipients.entityRef: must be an entity ref or a list"),
    "a number as ref": (body(entity([1])), "recipients.entityRef: must hold entity refs, not 1"),
    "no kind": (body(entity("nokind")), "recipients.entityRef: 'nokind' is not an entity ref"),
    "a bad exclusion": (body(entity(excludeEntityRef="x")), "recipients.excludeEntityRef: 'x'"),
    "too many refs": (body(entity(["user:a"] * 1001)), "recipients.entityRefs: "),
    "the plural field": (body(entity(entityRefs=["user:a"])), "recipients.entityRefs: here a list"),
    "a broadcast with refs": (
        body({"type": "broadcast", "entityRef": "user:a"}),
        "type broadcast takes no entityRef",
    ),
    "a missing title": ({"recipients": BROADCAST, "payload": {}}, "missing title"),
    "an empty title": (body(title=""), "missing title"),
    "a null title": (body(title=None), "payload.title: must be a string, not null"),
    "a long title": (body(title="x" * 256), "payload.title: String should have at most 255"),
    "a null description": (body(description=None), "payload.description: must be a string, not n"),
    "a null link": (body(link=None), "payload.link: must be a string, not null"),
    "a null severity": (body(severity=None), "payload.severity: must be a string, not null"),
    "an unknown severity": (body(severity="HIGH"), "payload.severity: Input should be 'critical'"),
    "a number as topic": (body(topic=1), "payload.topic: must be a string, not 1"),
    "a long topic": (body(topic="x" * 256), "payload.topic: String should have at most 255"),
    "a long scope": (body(scope="x" * 256), "payload.scope: "),
    "a long link": (body(link="/" + "x" * 2048), "payload.link: String should have at most 2048"),
    "a long icon": (body(icon="x" * 256), "payload.icon: "),
    "a long description": (body(description="x" * 32769), "payload.description: "),
    "null metadata": (body(metadata=None), "payload.metadata: must be an object, not null"),
    "metadata as a list": (body(metadata=[]), "payload.metadata: must be an object"),
    "much metadata": (body(metadata={"a": "x" * METADATA_LIMIT}), "at most 65536"),
    "many keys": (body(metadata=dict.fromkeys(map(str, range(257)))), "payload.metadata: "),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies(name: str) -> None:
    given, message = BAD[name]
    with pytest.raises(InputError) as caught:
        parse_request(given)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("field", "longest"),
    [("title", 255), ("topic", 255), ("scope", 255), ("icon", 255), ("description", 32_768)],
)
def test_the_longest_texts_are_taken(field: str, longest: int) -> None:
    taken = parse_request(body(**{field: "ü" * longest})).payload_fields
    assert taken[field] == "ü" * longest
    with pytest.raises(InputError, match=rf"payload\.{field}"):
        parse_request(body(**{field: "ü" * (longest + 1)}))


def test_a_long_title_is_refused_for_entities_alike() -> None:
    with pytest.raises(InputError, match=r"payload\.title"):
        parse_request(body(entity(), title="x" * 256))


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "mailto:ada@example.com",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://",
        "https://user:password@example.com/",
        "https://example.com/a b",
        "https://example.com/\t",
        "https://example.com:99999/",
        "https://[::::]/",
        "http:example.com",
        " https://example.com",
        "data:text/html,x",
    ],
)
def test_bad_links(link: str) -> None:
    with pytest.raises(InputError, match="Invalid link provided"):
        parse_request(body(link=link))


@pytest.mark.parametrize(
    "link",
    ["/catalog", "catalog/x?y=z#a", "http://foo.com/bar", "HTTPS://[::1]:8443/", "/", "a/b:c"],
)
def test_good_links(link: str) -> None:
    assert parse_request(body(link=link)).payload.link == link


REFS = st.sampled_from(["user:a", "group:default/b", "nokind", "", "x:y/z", "user:" + "n" * 64])
TEXTS = st.one_of(st.text(max_size=4), st.integers(250, 260).map("x".__mul__), st.none())
RECIPIENTS = st.one_of(
    st.just(BROADCAST),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["entity", "broadcast"])},
        optional={
            "entityRef": REFS | st.lists(REFS, max_size=3),
            "excludeEntityRef": REFS | st.lists(REFS, max_size=3),
        },
    ),
)
PAYLOADS = st.fixed_dictionaries(
    {"title": TEXTS},
    optional={
        "description": TEXTS,
        "link": st.sampled_from(["/a", "https://x", "http://[::1]", "ftp://x"]) | TEXTS,
        "severity": st.sampled_from(["critical", "low", "LOW"]),
        "topic": TEXTS,
        "scope": TEXTS,
        "icon": TEXTS,
        "metadata": st.dictionaries(st.text(max_size=3), st.integers() | st.none(), max_size=3),
    },
)


@given(recipients=RECIPIENTS, payload=PAYLOADS)
def test_the_api_server_takes_what_is_taken_here(
    recipients: dict[str, Any], payload: dict[str, Any]
) -> None:
    try:
        request = parse_request({"recipients": recipients, "payload": payload})
    except InputError:
        return
    if request.recipients is None:
        return
    made = manifest(request, caller=CALLER, name="rest-a", ttl_seconds=86_400, requested=NOW)
    stored = installed_definitions()[NOTIFICATIONS].admit(made)
    spec = Notification.model_validate(stored).spec
    assert (spec.recipients, spec.payload.title) == (request.recipients, request.payload.title)
    assert spec.payload.link == request.payload.link


@pytest.mark.parametrize(
    "case",
    [case for case in load_cases() if case.kind == "Notification"],
    ids=lambda case: case.id,
)
def test_nothing_is_taken_that_the_conformance_table_refuses(case: Case) -> None:
    """The table's verdicts were given by a real API server."""
    given = _as_posted(case.spec)
    try:
        request = parse_request(given)
    except InputError:
        return
    if request.recipients is None:
        return
    made = manifest(request, caller=CALLER, name="rest-a", ttl_seconds=86_400, requested=NOW)
    installed_definitions()[NOTIFICATIONS].admit(made)
    Notification.model_validate(made)


def _as_posted(spec: Any) -> Any:
    """Return a resource's spec as a client of the REST API would write it."""
    if not isinstance(spec, dict) or not isinstance(spec.get("recipients"), dict):
        return spec
    recipients = dict(spec["recipients"])
    for name in ("entityRef", "excludeEntityRef"):
        plural = recipients.pop(f"{name}s", None)
        if isinstance(plural, list):
            one = [recipients[name]] if isinstance(recipients.get(name), str) else []
            recipients[name] = one + plural
    return {**spec, "recipients": recipients}
