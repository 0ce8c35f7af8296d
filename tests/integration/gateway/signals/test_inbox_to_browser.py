"""What happens in the inbox is told to the browsers of those whom it concerns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from notifications_operator.gateway.inbox import delivering
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.matrix import SettingsMatrix
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from notifications_operator.gateway.inbox.types import Payload, Row, pack_sequence
from notifications_operator.gateway.principals import UserPrincipal
from tests.support.relays import relaying
from tests.support.signals import message, serving

ADA, BOB = "user:default/ada", "user:default/bob"
CREATED = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    found = Database(DatabaseSettings(url=SecretStr(f"sqlite:///{tmp_path}/inbox.db")))
    await found.start()
    yield found
    await found.close()


def row(user: str, title: str, identity: str, topic: str | None = None) -> Row:
    return Row(
        user=user,
        uid="00000000-0000-4000-8000-000000000001",
        sequence=pack_sequence(CREATED, 1),
        identity=identity,
        origin="plugin:test",
        created=CREATED,
        payload=Payload(title=title, topic=topic),
    )


async def test_delivered_and_read(database: Database) -> None:
    inbox = Inbox(database)
    principals = {"ada": UserPrincipal(entity_ref=ADA), "bob": UserPrincipal(entity_ref=BOB)}
    async with serving(principals) as served, relaying(database, hub=served.hub):
        ada, bob = await served.connect("ada"), await served.connect("bob")
        ((number, _),) = await inbox.deliver([row(ADA, "for Ada", "a" * 32)])
        news = await message(ada)
        assert news["action"] == "new_notification"
        assert news["notification_id"] == str(number)
        assert news["notification"]["payload"]["title"] == "for Ada"
        await inbox.update(ADA, [number], read=True, saved=None)
        assert await message(ada) == {
            "action": "notification_read",
            "notification_ids": [str(number)],
        }
        await inbox.deliver([row("", "for everybody", "b" * 32)])
        for client in (ada, bob):
            assert (await message(client))["notification"]["payload"]["title"] == "for everybody"
            await client.close()


@pytest.mark.parametrize("title", ["short", "x" * 255], ids=["whole", "by its id"])
async def test_who_muted_a_broadcast_does_not_hear_of_it(
    database: Database, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "SIGNAL_LIMIT", 500)
    inbox = Inbox(database)
    origin = {"id": "plugin:test", "enabled": True, "topics": [{"id": "noise", "enabled": False}]}
    matrix = {"channels": [{"id": "Web", "origins": [origin]}]}
    await inbox.save_settings(BOB, SettingsMatrix.model_validate(matrix))
    principals = {"ada": UserPrincipal(entity_ref=ADA), "bob": UserPrincipal(entity_ref=BOB)}
    async with (
        serving(principals) as served,
        relaying(database, hub=served.hub, mutes=inbox),
    ):
        ada, bob = await served.connect("ada"), await served.connect("bob")
        ((muted, _),) = await inbox.deliver([row("", title, "a" * 32, "noise")])
        ((other, _),) = await inbox.deliver(
            [replace(row("", title, "b" * 32, "news"), uid=str(uuid4()))]
        )
        assert (await message(ada))["notification_id"] == str(muted)
        for client in (ada, bob):
            assert (await message(client))["notification_id"] == str(other)
            await client.close()
