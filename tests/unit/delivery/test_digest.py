"""Digests tell an edit from a re-apply, and from a change of the definition."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.notification import NotificationSpec, Payload
from notifications_operator.delivery.planning import digest as module
from notifications_operator.delivery.planning.digest import (
    payload_differs,
    payload_digest,
    recipients_differ,
    recipients_digest,
)
from tests.unit.delivery.builders import notification
from tests.unit.delivery.planning import desk

TEXT = st.text(max_size=12)
METADATA = st.dictionaries(
    TEXT,
    st.recursive(
        st.booleans() | st.integers() | TEXT,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
        max_leaves=5,
    ),
    max_size=3,
)
PAYLOADS = st.fixed_dictionaries(
    {"title": st.text(min_size=1, max_size=12)},
    optional={
        "description": TEXT,
        "link": st.sampled_from(["/a", "https://example.com/b"]),
        "severity": st.sampled_from(["critical", "high", "normal", "low"]),
        "topic": TEXT,
        "scope": TEXT,
        "icon": TEXT,
        "metadata": METADATA,
    },
)
REFS = st.lists(st.sampled_from([f"user:default/u{n}" for n in range(9)]), max_size=6)


def digest(payload: dict[str, Any]) -> str:
    return payload_digest(Payload.model_validate(payload))


def spec(**recipients: Any) -> NotificationSpec:
    return notification().spec.model_validate(
        {
            "recipients": {"type": "entity", **recipients},
            "payload": {"title": "t"},
        }
    )


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: reversed_keys(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return [reversed_keys(item) for item in value]
    return value


@given(PAYLOADS)
def test_same_payload_in_another_order_has_the_same_digest(payload: dict[str, Any]) -> None:
    assert digest(payload) == digest(reversed_keys(payload))


@given(PAYLOADS, PAYLOADS)
def test_different_payloads_have_different_digests(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    same = Payload.model_validate(one) == Payload.model_validate(other)
    assert (digest(one) == digest(other)) is same


@given(PAYLOADS)
def test_digest_survives_the_wire(payload: dict[str, Any]) -> None:
    model = Payload.model_validate(payload)
    assert payload_digest(Payload.model_validate(model.to_wire())) == payload_digest(model)


@pytest.mark.parametrize(
    "field", ["title", "description", "link", "topic", "scope", "icon", "severity"]
)
def test_every_field_that_is_said_counts(field: str) -> None:
    values = {"link": "/a", "severity": "high"}
    assert digest({"title": "t"}) != digest({"title": "t", field: values.get(field, "other")})


def test_metadata_counts_in_depth() -> None:
    one = {"title": "t", "metadata": {"a": {"b": [1, 2]}}}
    assert digest(one) != digest({"title": "t", "metadata": {"a": {"b": [2, 1]}}})


@pytest.mark.parametrize(
    "addition",
    [
        {"severity": "normal"},
        {"metadata": {}},
        {"description": None},
        {"fieldOfALaterRelease": "with its default"},
    ],
    ids=lambda addition: next(iter(addition)),
)
def test_defaults_and_fields_of_other_releases_do_not_count(addition: dict[str, Any]) -> None:
    assert digest({"title": "t"}) == digest({"title": "t", **addition})


@given(REFS, REFS, st.randoms(use_true_random=False))
def test_order_and_repetition_of_refs_do_not_count(
    included: list[str], excluded: list[str], random: Any
) -> None:
    included = included or ["user:default/u0"]
    shuffled = [*included, *included[:2]]
    random.shuffle(shuffled)
    assert recipients_digest(
        spec(entityRefs=included, excludeEntityRefs=excluded)
    ) == recipients_digest(spec(entityRefs=shuffled, excludeEntityRefs=excluded[::-1]))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"entityRef": "user:a"}, {"entityRefs": ["user:a"]}, True),
        ({"entityRef": "user:a"}, {"entityRef": "User:A"}, True),
        ({"entityRef": "user:a"}, {"entityRef": "user:b"}, False),
        ({"entityRef": "user:a"}, {"entityRefs": ["user:a", "user:b"]}, False),
        ({"entityRef": "group:a"}, {"entityRef": "group:a", "excludeEntityRef": "user:b"}, False),
        (
            {"entityRefs": ["group:a", "user:b"]},
            {"entityRef": "group:a", "excludeEntityRef": "user:b"},
            False,
        ),
    ],
)
def test_recipients(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    assert (recipients_digest(spec(**one)) == recipients_digest(spec(**other))) is same


def test_broadcast_and_processors_count() -> None:
    plain = notification().spec
    assert recipients_digest(plain) != recipients_digest(notification(to=None).spec)
    assert recipients_digest(plain) != recipients_digest(notification(processors=["a"]).spec)
    assert recipients_digest(notification(processors=["a", "b"]).spec) == recipients_digest(
        notification(processors=["b", "a"]).spec
    )


def test_payload_and_recipients_are_independent() -> None:
    one, other = notification(title="a").spec, notification(title="b", suspend=True).spec
    assert recipients_digest(one) == recipients_digest(other)
    assert payload_digest(one.payload) == payload_digest(
        notification(title="a", to=None).spec.payload
    )


def test_digest_names_its_algorithm_and_is_pinned() -> None:
    # A changed digest of an unchanged Notification would send it again after an upgrade.
    assert digest({"title": "t", "metadata": {"é": 1}}) == (
        "v1:fee969efa7e25086498994f598b7beea5ccd2608f268d9efdab03de3d6bf48e4"
    )


@pytest.fixture
def later_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make digests by other algorithms, which a later release has beside those of this one."""

    def payload(value: Payload) -> dict[str, Any]:
        return {"said": value.title}

    def recipients(value: NotificationSpec) -> dict[str, Any]:
        return {"to": sorted(value.recipients.included)}

    monkeypatch.setattr(module, "PAYLOAD", {**module.PAYLOAD, "v2": payload})
    monkeypatch.setattr(module, "RECIPIENTS", {**module.RECIPIENTS, "v2": recipients})


def test_a_stored_digest_is_compared_under_its_own_algorithm(
    request: pytest.FixtureRequest,
) -> None:
    one, other = notification(title="a"), notification(title="b", to="user:default/bob")
    payload, recipients = payload_digest(one.spec.payload), recipients_digest(one.spec)
    request.getfixturevalue("later_release")
    assert payload_digest(one.spec.payload).startswith("v2:")
    assert not payload_differs(payload, one.spec.payload)
    assert payload_differs(payload, other.spec.payload)
    assert not recipients_differ(recipients, one.spec)
    assert recipients_differ(recipients, other.spec)


def test_a_digest_of_a_later_release_says_nothing() -> None:
    """Going back to an older release must not send everything again."""
    edited = notification(title="b")
    assert not payload_differs("v9:0123", edited.spec.payload)
    assert not recipients_differ("v9:0123", edited.spec)


async def test_an_upgrade_sends_nothing_again(request: pytest.FixtureRequest) -> None:
    async with desk("email") as d:
        d.write(title="one")
        d.plan()
        d.set_rows(ada="Sent")
        request.getfixturevalue("later_release")
        d.write(title="one", ttlSecondsAfterFinished=60)
        d.plan()
        assert (d.status.revision, d.brief) == (1, {"ada": "Sent"})
        d.write(title="two", ttlSecondsAfterFinished=60)
        d.plan()
        assert (d.status.revision, d.brief) == (2, {"ada": "Pending"})
        assert d.status.payload_digest is not None
        assert d.status.payload_digest.startswith("v2:")
