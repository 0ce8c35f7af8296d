"""Whatever goes wrong on the way to the cluster: stored once, or no yes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from notifications_operator.api.errors import (
    ConflictError,
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from notifications_operator.api.notification import Notification, requested_moment
from notifications_operator.api.references import NOTIFICATIONS
from notifications_operator.gateway.errors import (
    GatewayError,
    InputError,
    NotAllowedError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnprocessableError,
)
from notifications_operator.gateway.principals import ServicePrincipal
from notifications_operator.gateway.sending.backlog import Backlog
from notifications_operator.gateway.sending.request import SendRequest, parse_request
from notifications_operator.gateway.sending.sender import Sender, Stored
from notifications_operator.gateway.sending.settings import SendingSettings
from tests.support.cluster import Interruption, lost_answer, unavailable
from tests.support.gateway import NAMESPACE, SUBJECT, NotificationCluster

CALLER = ServicePrincipal(subject=SUBJECT, namespace=NAMESPACE, broadcast=True)


def request(title: str = "Hello", ref: str | list[str] | None = None) -> SendRequest:
    recipients: dict[str, Any] = {"type": "broadcast"}
    if ref is not None:
        recipients = {"type": "entity", "entityRef": ref}
    return parse_request({"recipients": recipients, "payload": {"title": title}})


@pytest.fixture
def cluster() -> NotificationCluster:
    return NotificationCluster()


def sender(cluster: NotificationCluster, *, most: int = 5000, timeout: float = 8) -> Sender:
    settings = SendingSettings(store_timeout=timeout)
    return Sender(cluster, Backlog(cluster, most=most), settings)


async def send(
    cluster: NotificationCluster, wanted: SendRequest | None = None, key: str | None = None
) -> Stored:
    return await sender(cluster).send(wanted or request(), caller=CALLER, key=key)


async def test_what_is_stored(cluster: NotificationCluster) -> None:
    stored = await send(cluster)
    body = cluster.only()
    assert (stored.namespace, stored.name) == (NAMESPACE, body["metadata"]["name"])
    assert stored.uid == body["metadata"]["uid"]
    assert not stored.repeated
    assert body["spec"]["origin"] == SUBJECT
    assert body["spec"]["ttlSecondsAfterFinished"] == 86_400
    assert body["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "notifications-gateway"}


async def test_when_it_was_made_is_known_to_the_millisecond(cluster: NotificationCluster) -> None:
    """What the rows of an answer are compared with is what the operator hands to the inbox."""
    stored = await send(cluster)
    notification = Notification.model_validate(cluster.only())
    assert stored.created == requested_moment(notification.metadata)
    created = notification.metadata.creation_timestamp
    assert created is not None
    assert abs(stored.created - created) < timedelta(seconds=2)


async def test_without_a_key_every_request_is_another(cluster: NotificationCluster) -> None:
    assert (await send(cluster)).name != (await send(cluster)).name


async def test_the_same_key_is_stored_once(cluster: NotificationCluster) -> None:
    first, *others = await asyncio.gather(*(send(cluster, key="k") for _ in range(5)))
    assert {other.uid for other in others} == {first.uid}
    assert sum(not stored.repeated for stored in (first, *others)) == 1
    assert cluster.only()["metadata"]["uid"] == first.uid


async def test_the_same_key_for_another_request(cluster: NotificationCluster) -> None:
    await send(cluster, key="k")
    with pytest.raises(UnprocessableError):
        await send(cluster, request("Other"), key="k")
    assert cluster.only()["spec"]["payload"]["title"] == "Hello"


async def test_somebody_else_has_the_name(cluster: NotificationCluster) -> None:
    stored = await send(cluster, key="k")
    body = cluster.only()
    cluster.remove(NOTIFICATIONS, NAMESPACE, stored.name)
    del body["metadata"]["annotations"]
    cluster.create(NOTIFICATIONS, body)
    with pytest.raises(UnprocessableError):
        await send(cluster, key="k")


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_lost_answer_is_found_out(cluster: NotificationCluster, key: str | None) -> None:
    cluster.interrupt(lost_answer(operation="create"))
    stored = await send(cluster, key=key)
    assert cluster.only()["metadata"]["uid"] == stored.uid


async def test_a_short_absence_is_bridged(cluster: NotificationCluster) -> None:
    cluster.interrupt(unavailable(operation="create", times=2))
    await send(cluster)
    assert cluster.only()


async def test_a_long_absence_is_no_yes(cluster: NotificationCluster) -> None:
    cluster.reachable = False
    with pytest.raises(ServiceUnavailableError) as caught:
        await sender(cluster, timeout=0.3).send(request(), caller=CALLER, key="k")
    assert caught.value.headers == {"Retry-After": "5"}
    assert cluster.list(NOTIFICATIONS) == []
    cluster.reachable = True
    await send(cluster, key="k")


async def test_an_api_server_that_hangs_is_no_yes(cluster: NotificationCluster) -> None:
    class Hanging(NotificationCluster):
        async def create_notification(self, body: Any) -> Any:
            await asyncio.Event().wait()

    with pytest.raises(ServiceUnavailableError):
        await sender(Hanging(), timeout=0.2).send(request(), caller=CALLER, key=None)


async def test_a_stored_one_whose_answers_hang_is_found(cluster: NotificationCluster) -> None:
    class Slow(NotificationCluster):
        async def create_notification(self, body: Any) -> Any:
            created = await super().create_notification(body)
            return created if await asyncio.Event().wait() else None

    slow = Slow()
    stored = await sender(slow, timeout=2).send(request(), caller=CALLER, key=None)
    assert slow.only()["metadata"]["uid"] == stored.uid


async def test_one_that_is_deleted_between_is_created_anew(cluster: NotificationCluster) -> None:
    """Its key is over with it."""
    first = await send(cluster, key="k")
    cluster.interrupt(
        Interruption(
            operation="get",
            before=lambda: cluster.remove(NOTIFICATIONS, NAMESPACE, first.name),
        )
    )
    again = await send(cluster, key="k")
    assert again.uid != first.uid


def said(status: int, text: str) -> str:
    return f"POST /apis/notifications.orchestrator.io/v1alpha1/notifications: {status} {text}"


@pytest.mark.parametrize(
    ("error", "answer", "text"),
    [
        (RejectedError(said(422, "spec.x: Invalid")), InputError, "the notification: spec.x: Inv"),
        (
            ForbiddenError(said(403, 'ValidatingAdmissionPolicy "p" denied request: no mail')),
            NotAllowedError,
            "denied request: no mail",
        ),
        (
            ForbiddenError(said(403, 'admission webhook "w" denied the request: no')),
            NotAllowedError,
            "denied the request: no",
        ),
        (
            ForbiddenError(
                said(
                    403,
                    "ValidatingAdmissionPolicy 'verbs.notifications.orchestrator.io' with binding "
                    "'b' denied request: spec.origin needs the verb",
                )
            ),
            ServiceUnavailableError,
            "the gateway's log",
        ),
        (
            ForbiddenError(said(403, 'User "gateway" cannot create resource "notifications"')),
            ServiceUnavailableError,
            "the gateway's log",
        ),
        (
            ForbiddenError(said(403, "is forbidden: exceeded quota: q")),
            TooManyRequestsError,
            "try again later",
        ),
        (
            NotFoundError(said(404, 'namespaces "inbox" not found')),
            ServiceUnavailableError,
            "the gateway's log",
        ),
    ],
)
async def test_refusals(
    cluster: NotificationCluster, error: KubernetesError, answer: type[GatewayError], text: str
) -> None:
    cluster.interrupt(Interruption(operation="create", error=error))
    with pytest.raises(answer) as caught:
        await send(cluster)
    assert text in str(caught.value)
    assert "/apis/" not in str(caught.value)


async def test_a_conflict_about_something_else_is_tried_again(cluster: NotificationCluster) -> None:
    conflict = ConflictError(said(409, "Operation cannot be fulfilled on resourcequotas"))
    cluster.interrupt(Interruption(operation="create", error=conflict))
    await send(cluster)
    assert cluster.only()


async def test_only_who_may_sends_to_everybody(cluster: NotificationCluster) -> None:
    caller = ServicePrincipal(subject="external:a", namespace=NAMESPACE)
    with pytest.raises(NotAllowedError, match="external:a may not send to everybody"):
        await sender(cluster).send(request(), caller=caller, key=None)
    await sender(cluster).send(request(ref="user:a"), caller=caller, key=None)
    assert cluster.only()["spec"]["recipients"] == {"type": "entity", "entityRef": "user:a"}


async def test_most_recipients(cluster: NotificationCluster) -> None:
    caller = ServicePrincipal(subject="external:a", namespace=NAMESPACE, max_recipients=2)
    with pytest.raises(NotAllowedError, match="at most 2 entity refs in one request, not 3"):
        await sender(cluster).send(
            request(ref=["user:a", "user:b", "user:c"]), caller=caller, key=None
        )
    await sender(cluster).send(request(ref=["user:a", "user:b"]), caller=caller, key=None)


async def test_too_many_unfinished(cluster: NotificationCluster) -> None:
    one = sender(cluster, most=2)
    first = await one.send(request(), caller=CALLER, key="first")
    await one.send(request(), caller=CALLER, key="second")
    with pytest.raises(TooManyRequestsError) as caught:
        await one.send(request(), caller=CALLER, key="third")
    assert int(caught.value.headers["Retry-After"]) >= 1
    repeated = await one.send(request(), caller=CALLER, key="first")
    assert (repeated.uid, repeated.repeated) == (first.uid, True)
    cluster.interrupt(Interruption(operation="get", error=UnavailableError("away")))
    with pytest.raises(TooManyRequestsError):
        await one.send(request(), caller=CALLER, key="first")
    with pytest.raises(TooManyRequestsError):
        await one.send(request(), caller=CALLER, key=None)
