"""Every state of a Notification with the conditions that the documentation promises for it."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.installation import AddProcessor, Installation, free_port
from tests.support.kubernetes import Kubernetes, Object, condition_is, notification, state_is
from tests.support.mail import Catcher
from tests.support.smtp import Pause, SMTPPeer, Step

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("installation")]

ADA, GRACE = "user:default/ada", "user:default/grace"


def conditions(body: Object) -> dict[str, str]:
    return {item["type"]: item["status"] for item in body["status"]["conditions"]}


def expected(
    *, resolved: str, complete: str, delivered: str, ready: str, reconciling: str, stalled: str
) -> dict[str, str]:
    return {
        "RecipientsResolved": resolved,
        "Complete": complete,
        "Delivered": delivered,
        "Ready": ready,
        "Reconciling": reconciling,
        "Stalled": stalled,
    }


UNDER_WAY = expected(
    resolved="True",
    complete="False",
    delivered="Unknown",
    ready="False",
    reconciling="True",
    stalled="False",
)
SUCCESS = expected(
    resolved="True",
    complete="True",
    delivered="True",
    ready="True",
    reconciling="False",
    stalled="False",
)


async def test_states_on_the_way(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        down = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": free_port()}, ready=False
        )
        slow = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port}
        )
        release = asyncio.Event()
        peer.fail(Step.END, Pause(release))
        specs: dict[str, Object] = {
            "pending": {"processors": [down]},
            "delivering": {"processors": [slow]},
            "suspended": {"processors": [slow], "suspend": True},
        }
        for name, spec in specs.items():
            await kubernetes.create(notification(name, namespace, ADA, title=title, **spec))
        body = await kubernetes.wait(
            "Notification",
            "pending",
            namespace,
            lambda body: state_is("Pending")(body) and body["status"].get("deliveries"),
        )
        assert conditions(body) == UNDER_WAY
        assert condition_is("RecipientsResolved", "True", "Resolved")(body)
        body = await kubernetes.wait(
            "Notification", "delivering", namespace, state_is("Delivering")
        )
        assert conditions(body) == UNDER_WAY
        assert {row["state"] for row in body["status"]["deliveries"]} == {"Claimed"}
        body = await kubernetes.wait("Notification", "suspended", namespace, state_is("Suspended"))
        # Nothing is resolved before it may go, and nothing is on the way.
        assert conditions(body) == UNDER_WAY | {
            "RecipientsResolved": "Unknown",
            "Reconciling": "False",
        }
        reasons = {item["type"]: item["reason"] for item in body["status"]["conditions"]}
        assert (reasons["RecipientsResolved"], reasons["Ready"]) == ("Progressing", "Suspended")
        release.set()
        await kubernetes.wait("Notification", "delivering", namespace, state_is("Delivered"))


async def test_states_at_the_end(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    async with SMTPPeer() as peer:
        strict = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port}
        )
        peer.fail(Step.RCPT, "550 5.1.1 no", times=None, recipient="grace@example.com")
        both, only = (ADA, GRACE), (GRACE,)
        for name, refs in {"delivered": (ADA,), "part": both, "failed": only}.items():
            await kubernetes.create(
                notification(name, namespace, *refs, title=title, processors=[strict])
            )
        await kubernetes.create(
            notification("nobody", namespace, "group:default/empty", title=title)
        )
        past = "2020-01-01T00:00:00Z"
        await kubernetes.create(
            notification("expired", namespace, ADA, title=title, expiresAt=past)
        )
        ends = {
            "delivered": ("Delivered", SUCCESS),
            "nobody": ("NoRecipients", SUCCESS | {"Delivered": "False"}),
            "part": ("PartiallyDelivered", SUCCESS | {"Delivered": "False"}),
            "failed": (
                "Failed",
                SUCCESS | {"Delivered": "False", "Ready": "False", "Stalled": "True"},
            ),
            "expired": (
                "Expired",
                SUCCESS | {"Delivered": "False", "RecipientsResolved": "Unknown"},
            ),
        }
        for name, (state, wanted) in ends.items():
            body = await kubernetes.wait("Notification", name, namespace, state_is(state))
            assert conditions(body) == wanted, name
            assert body["status"]["completionTime"]
