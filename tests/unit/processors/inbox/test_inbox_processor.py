"""Whom the inbox processor reaches, and what it may not be made without."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from notifications_operator.api.processor import NotificationProcessorSpec
from notifications_operator.catalog import EntityRef
from notifications_operator.processors.base import (
    Environment,
    GatewayAddress,
    Limits,
    Processor,
    ProcessorContext,
)
from notifications_operator.processors.errors import InvalidProcessorConfig
from notifications_operator.processors.inbox import InboxProcessor
from notifications_operator.processors.registry import ProcessorRegistry
from notifications_operator.settings import GatewaySettings
from tests.unit.processors.email.email_builders import audience, notification, user

ADDRESS = GatewayAddress(url="http://gateway:8081", token_file="/nowhere/token")


def made(address: GatewayAddress | None = ADDRESS) -> InboxProcessor:
    return InboxProcessor.create(
        ProcessorContext(
            name="inbox",
            spec=NotificationProcessorSpec(type="inbox"),
            environment=Environment(gateway=address),
        )
    )


def test_each_user_is_reached_with_or_without_address() -> None:
    targets = made().targets(notification(), audience(user("ada", "ada@example.com"), user("bob")))
    assert [(target.recipient, target.skip) for target in targets] == [
        ("user:default/ada", None),
        ("user:default/bob", None),
    ]


def test_users_that_the_catalog_does_not_know_have_inboxes_too() -> None:
    known = audience(user("ada"))
    targets = made().targets(
        notification(), replace(known, strangers=[EntityRef.parse("user:default/zoe")])
    )
    assert [target.recipient for target in targets] == ["user:default/ada", "user:default/zoe"]


def test_members_without_an_entity_have_inboxes_too() -> None:
    members = [EntityRef.parse("user:default/mixedcase"), EntityRef.parse("user:default/lower")]
    targets = made().targets(
        notification(), replace(audience(user("ada")), members_without_entity=members)
    )
    assert [(target.recipient, target.skip) for target in targets] == [
        ("user:default/ada", None),
        ("user:default/mixedcase", None),
        ("user:default/lower", None),
    ]


def test_broadcast_is_one_row_whoever_there_is() -> None:
    everybody = audience(user("ada"), user("bob"), broadcast=True)
    (target,) = made().targets(notification(broadcast=True), everybody)
    assert (target.recipient, target.skip) == ("broadcast", None)


def test_no_gateway_is_a_configuration_that_cannot_work() -> None:
    with pytest.raises(InvalidProcessorConfig, match=r"gateway\.url"):
        made(None)


def test_its_channel_is_the_web() -> None:
    registry = ProcessorRegistry({"inbox": InboxProcessor, "x/y": Processor})
    assert registry.channel("inbox") == "Web"
    assert registry.is_idempotent("inbox")
    assert registry.reaches_strangers("inbox")
    for other in ("x/y", "unheard-of"):
        assert not registry.reaches_strangers(other)
        assert registry.channel(other) == ""
        assert not registry.is_idempotent(other)


def test_rows_go_in_batches_as_fast_as_they_are_taken() -> None:
    assert made().limits == Limits(concurrency=4, starts=0, interval=timedelta())
    assert InboxProcessor.max_batch == 256


def test_the_gateway_is_where_the_settings_say() -> None:
    assert GatewayAddress.of(GatewaySettings()) is None
    settings = GatewaySettings(url="https://gateway.example.com:8081/", token_file="/token")
    assert GatewayAddress.of(settings) == GatewayAddress(
        url="https://gateway.example.com:8081/", token_file="/token"
    )
