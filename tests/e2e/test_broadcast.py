"""Broadcasts: the three receivers of Backstage's ``broadcastConfig``."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.installation import AddProcessor
from tests.support.kubernetes import Kubernetes, complete, notification, rows
from tests.support.mail import Catcher

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("installation")]

EVERYONE = ["ada@example.com", "edsger@example.com", "grace@example.com"]


@pytest.fixture
def transport(catcher: Catcher) -> dict[str, Any]:
    """The mail catcher without credentials is refused; these come from a Secret."""
    return {
        "transport": "smtp",
        "hostname": "127.0.0.1",
        "port": catcher.port,
        "tls": {"caSecretRef": {"name": "mail-ca", "key": "ca.crt"}},
    }


SECRET = {"username": "my-username", "password": "my-password"}


async def test_receiver_users_reaches_every_user_with_an_address(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str
) -> None:
    await kubernetes.create(notification("users", namespace, title=title))
    body = await kubernetes.wait("Notification", "users", namespace, complete)
    assert catcher.recipients(title) == EVERYONE
    assert body["status"]["state"] == "Delivered"
    assert "user:default/silent" not in rows(body)


async def test_receiver_config_reaches_the_configured_addresses(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    add_processor: AddProcessor,
    transport: dict[str, Any],
) -> None:
    receivers = [
        "Ops <Ops.Team@example.com>",
        "ops.team@example.com",
        "board@bücher.example",
        "board@xn--bcher-kva.example",
    ]
    processor = await add_processor(
        transport,
        secret=SECRET,
        email={"broadcastConfig": {"receiver": "config", "receiverEmails": receivers}},
    )
    await kubernetes.create(notification("config", namespace, title=title, processors=[processor]))
    await kubernetes.wait("Notification", "config", namespace, complete)
    assert catcher.recipients(title) == ["Ops.Team@example.com", "board@xn--bcher-kva.example"]


async def test_receiver_none_reaches_nobody(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    add_processor: AddProcessor,
    transport: dict[str, Any],
) -> None:
    processor = await add_processor(
        transport, secret=SECRET, email={"broadcastConfig": {"receiver": "none"}}
    )
    await kubernetes.create(notification("none", namespace, title=title, processors=[processor]))
    body = await kubernetes.wait("Notification", "none", namespace, complete)
    assert catcher.mails(title) == []
    assert body["status"]["state"] == "Delivered"
    assert body["status"]["summary"] == "0/0"


async def test_a_broadcast_is_deleted_in_the_foreground(
    kubernetes: Kubernetes, namespace: str, title: str
) -> None:
    """The garbage collector's own patch must pass the admission policy."""
    await kubernetes.create(notification("gone", namespace, title=title))
    await kubernetes.wait("Notification", "gone", namespace, complete)
    await kubernetes.delete("Notification", "gone", namespace, propagation="Foreground")
    await kubernetes.wait_gone("Notification", "gone", namespace)
