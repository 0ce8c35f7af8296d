"""When a delivery is tried again, when no more, and what stops it on the way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.installation import AddProcessor, Installation, free_port
from tests.support.kubernetes import (
    Kubernetes,
    Object,
    complete,
    notification,
    rows,
    state_is,
)
from tests.support.smtp import Pause, SMTPPeer, Step

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("installation")]

ADA, GRACE = "user:default/ada", "user:default/grace"
LATER = "450 4.2.0 try later"
QUICK = {"minDelay": "1s", "maxDelay": "1s"}
ONE_AT_A_TIME = {"concurrencyLimit": 1, "throttleInterval": {"milliseconds": 0}}


def smtp(port: int) -> Object:
    return {"transport": "smtp", "hostname": "127.0.0.1", "port": port}


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def retrying(body: Object) -> bool:
    return any(row["state"] == "Retrying" for row in rows(body).values())


async def test_the_time_of_the_next_attempt_survives_a_kill(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(
            smtp(peer.port), retry={"minDelay": "10s", "maxDelay": "10s"}
        )
        peer.fail(Step.RCPT, LATER)
        await kubernetes.create(
            notification("later", namespace, ADA, title=title, processors=[processor])
        )
        body = await kubernetes.wait("Notification", "later", namespace, retrying)
        before = rows(body)[ADA]
        due = datetime.fromisoformat(before["nextAttemptTime"])
        # Up to a fifth shorter at random; times in the status are whole seconds.
        assert due - datetime.fromisoformat(before["lastAttemptTime"]) >= timedelta(seconds=8)
        assert body["status"]["processors"][0]["nextAttemptTime"] == before["nextAttemptTime"]
        await asyncio.to_thread(installation.kill)
        installation.start()
        await asyncio.to_thread(installation.wait_ready)
        body = await kubernetes.wait("Notification", "later", namespace, complete)
        (message,) = peer.ledger.messages
        assert message.received >= due
        row = rows(body)[ADA]
        assert (row["state"], row["attempts"]) == ("Sent", 2)
        assert datetime.fromisoformat(row["lastAttemptTime"]) >= due


async def test_attempts_end_and_the_last_reason_stays(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        counted = await add_processor(smtp(peer.port), retry={**QUICK, "maxAttempts": 2})
        aged = await add_processor(smtp(peer.port), retry={**QUICK, "maxAge": "4s"})
        peer.fail(Step.RCPT, LATER, times=None)
        for name in (counted, aged):
            await kubernetes.create(
                notification(name, namespace, ADA, title=title, processors=[name])
            )
        for name in (counted, aged):
            body = await kubernetes.wait("Notification", name, namespace, complete)
            row = rows(body)[ADA]
            assert (row["state"], row["reason"], row["code"]) == ("Failed", "ServerBusy", 450)
            assert "nextAttemptTime" not in row
            assert body["status"]["state"] == "Failed"
            assert row["attempts"] == 2 if name == counted else row["attempts"] >= 2


async def test_what_could_not_be_tried_ends_with_its_age(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    """By the reason of its processor; one that is suspended has none, so it is `Expired`."""
    down = await add_processor(smtp(free_port()), ready=False, retry={"maxAge": "3s"})
    held = await add_processor(smtp(free_port()), ready=False, suspend=True, retry={"maxAge": "3s"})
    for name in (down, held):
        await kubernetes.create(notification(name, namespace, ADA, title=title, processors=[name]))
    for name, why, state in ((down, "ConnectFailed", "Failed"), (held, "Expired", "Expired")):
        body = await kubernetes.wait("Notification", name, namespace, complete)
        row = rows(body)[ADA]
        assert (row["state"], row["reason"], row["attempts"]) == ("Failed", why, 0)
        assert body["status"]["state"] == state


async def test_a_session_that_the_server_ends_costs_no_attempt(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer(max_messages=1) as peer:
        processor = await add_processor(smtp(peer.port), email=ONE_AT_A_TIME)
        await kubernetes.create(
            notification(
                "421", namespace, "group:default/root", title=title, processors=[processor]
            )
        )
        body = await kubernetes.wait("Notification", "421", namespace, complete)
        assert [row["attempts"] for row in rows(body).values()] == [1, 1, 1]
        assert len(set(peer.ledger.recipients)) == len(peer.ledger.messages) == 3


async def test_a_421_to_the_message_is_tried_again_in_its_time(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(smtp(peer.port), retry=QUICK)
        peer.fail(Step.END, "421 4.3.2 shutting down")
        await kubernetes.create(
            notification("421", namespace, ADA, title=title, processors=[processor])
        )
        body = await kubernetes.wait("Notification", "421", namespace, complete)
        assert (rows(body)[ADA]["state"], rows(body)[ADA]["attempts"]) == ("Sent", 2)
        assert len(peer.ledger.messages) == 1


async def test_expiry_on_the_way_ends_what_is_not_sent(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(smtp(peer.port))
        peer.fail(Step.RCPT, LATER, times=None, recipient="grace@example.com")
        await kubernetes.create(
            notification(
                "soon",
                namespace,
                *(ADA, GRACE),
                title=title,
                processors=[processor],
                expiresAt=in_seconds(300),
            )
        )
        await kubernetes.wait(
            "Notification",
            "soon",
            namespace,
            lambda body: retrying(body) and rows(body)[ADA]["state"] == "Sent",
        )
        edit = {"spec": {"expiresAt": in_seconds(2)}}
        await kubernetes.patch("Notification", "soon", namespace, edit)
        body = await kubernetes.wait("Notification", "soon", namespace, complete)
        assert body["status"]["state"] == "PartiallyDelivered"
        assert rows(body)[ADA]["state"] == "Sent"
        row = rows(body)[GRACE]
        assert (row["state"], row["reason"], row["attempts"]) == ("Failed", "Expired", 1)
        assert peer.ledger.recipients == ["ada@example.com"]


async def test_what_is_being_sent_at_its_expiry_is_finished(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(smtp(peer.port), email=ONE_AT_A_TIME)
        release = asyncio.Event()
        peer.fail(Step.END, Pause(release))
        await kubernetes.create(
            notification(
                "edge",
                namespace,
                *(ADA, GRACE),
                title=title,
                processors=[processor],
                expiresAt=in_seconds(6),
            )
        )
        await peer.ledger.wait_for_verb("DATA", timeout=30)
        await kubernetes.wait(
            "Notification", "edge", namespace, lambda body: rows(body)[GRACE]["state"] == "Failed"
        )
        release.set()
        body = await kubernetes.wait("Notification", "edge", namespace, complete)
        assert body["status"]["state"] == "PartiallyDelivered"
        assert (rows(body)[ADA]["state"], rows(body)[GRACE]["reason"]) == ("Sent", "Expired")
        assert peer.ledger.recipients == ["ada@example.com"]


async def test_suspending_on_the_way_finishes_what_is_claimed_and_holds_the_rest(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(smtp(peer.port), email=ONE_AT_A_TIME)
        release = asyncio.Event()
        peer.fail(Step.END, Pause(release))
        await kubernetes.create(
            notification("pause", namespace, ADA, GRACE, title=title, processors=[processor])
        )
        await peer.ledger.wait_for_verb("DATA", timeout=30)
        await kubernetes.patch("Notification", "pause", namespace, {"spec": {"suspend": True}})
        await kubernetes.wait("Notification", "pause", namespace, state_is("Suspended"))
        release.set()
        body = await kubernetes.wait(
            "Notification", "pause", namespace, lambda body: rows(body)[ADA]["state"] == "Sent"
        )
        assert body["status"]["state"] == "Suspended"
        assert rows(body)[GRACE]["state"] == "Pending"
        assert peer.ledger.recipients == ["ada@example.com"]
        await kubernetes.patch("Notification", "pause", namespace, {"spec": {"suspend": False}})
        await kubernetes.wait("Notification", "pause", namespace, complete)
        assert peer.ledger.recipients == ["ada@example.com", "grace@example.com"]


async def test_deleting_on_the_way_finishes_what_is_claimed_and_cancels_the_rest(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(smtp(peer.port), email=ONE_AT_A_TIME)
        release = asyncio.Event()
        peer.fail(Step.END, Pause(release))
        await kubernetes.create(
            notification("gone", namespace, ADA, GRACE, title=title, processors=[processor])
        )
        await peer.ledger.wait_for_verb("DATA", timeout=30)
        await kubernetes.delete("Notification", "gone", namespace)
        await kubernetes.wait_gone("Notification", "gone", namespace)
        await kubernetes.create(
            notification(
                "after", namespace, "user:default/edsger", title=title, processors=[processor]
            )
        )
        release.set()
        await kubernetes.wait("Notification", "after", namespace, complete)
        assert peer.ledger.recipients == ["ada@example.com", "edsger@example.com"]
