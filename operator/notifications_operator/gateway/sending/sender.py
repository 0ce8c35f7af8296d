"""Stores what is sent as Notifications: each request once, and never a yes without it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any, Self

from ...api.errors import ConflictError, KubernetesError, UnavailableError
from ...api.notification import requested_moment
from ...api.resource import ObjectMeta
from ...telemetry import gateway as metrics
from ..errors import (
    NotAllowedError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnprocessableError,
)
from ..principals import ServicePrincipal
from .backlog import Backlog
from .cluster import Cluster
from .manifest import DIGEST_ANNOTATION, manifest
from .names import keyed_name, random_name
from .refusals import refusal
from .request import SendRequest
from .settings import SendingSettings

logger = logging.getLogger(__name__)

PAUSES = (0.1, 0.3, 1.0)
"""Seconds before an unanswered creation is tried again; the last one goes on."""

RETRY_AFTER = 5.0
"""Seconds after which a request may come again that the API server did not answer."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A Notification that is in the cluster.

    Attributes
    ----------
    repeated
        Whether it was there already, by an earlier request with the same key or an earlier try.
    """

    namespace: str
    name: str
    uid: str
    created: datetime
    repeated: bool

    @classmethod
    def of(cls, body: Mapping[str, Any], *, repeated: bool) -> Self:
        """Return what an object's metadata say."""
        metadata = ObjectMeta.model_validate(body["metadata"])
        created = metadata.creation_timestamp
        assert created is not None, "the API server sets it"
        requested = requested_moment(metadata)
        return cls(
            namespace=metadata.namespace,
            name=metadata.name,
            uid=metadata.uid,
            created=created if requested is None else requested,
            repeated=repeated,
        )


class Sender:
    """Checks what a caller may send, and stores it."""

    def __init__(self, cluster: Cluster, backlog: Backlog, settings: SendingSettings) -> None:
        self._cluster = cluster
        self._backlog = backlog
        self._settings = settings

    async def send(
        self, request: SendRequest, *, caller: ServicePrincipal, key: str | None
    ) -> Stored:
        """Store a request that has recipients.

        Parameters
        ----------
        key
            The ``Idempotency-Key``: the same request with the same key is stored once.

        Raises
        ------
        NotAllowedError
            If the caller, or anybody by a policy of the cluster, may not send this.
        InputError
            If the API server refuses it for what it says.
        UnprocessableError
            If the key belongs to another request.
        TooManyRequestsError
            If too many Notifications are not finished yet, or a quota is used up.
        ServiceUnavailableError
            If it is not known to be stored.
        """
        _check_rights(request, caller)
        name = random_name() if key is None else keyed_name(caller.subject, key)
        body = manifest(
            request,
            caller=caller,
            name=name,
            ttl_seconds=self._settings.ttl_seconds,
            requested=datetime.now(UTC),
        )
        stored: Stored | None
        try:
            async with self._backlog.room(caller.namespace):
                stored = await self._store(body)
        except TooManyRequestsError:
            stored = await self._stored_before(body)
            if stored is None:
                raise
        result = "found" if stored.repeated else "created"
        metrics.SENT.labels(result).inc()
        logger.info(
            "%s a Notification",
            result,
            extra={
                "notification": f"{stored.namespace}/{stored.name}",
                "uid": stored.uid,
                "origin": caller.subject,
            },
        )
        return stored

    async def _stored_before(self, body: Mapping[str, Any]) -> Stored | None:
        """Return what an earlier request has stored: a repetition needs no more room."""
        try:
            return await self._known(body)
        except KubernetesError as error:
            logger.warning("cannot look for a Notification: %s", error)
            return None

    async def _store(self, body: Mapping[str, Any]) -> Stored:
        """Create the Notification, again and again while it is not known whether it is there.

        Every try has the same name: if an answer was lost, the next try finds what it stored.
        """
        problem: object = None
        try:
            async with asyncio.timeout(self._settings.store_timeout):
                for pause in chain(PAUSES, repeat(PAUSES[-1])):
                    try:
                        return await self._create(body)
                    except UnavailableError as error:
                        problem = error
                    await asyncio.sleep(pause)
        except TimeoutError:
            problem = problem or "no answer in time"
        except KubernetesError as error:
            raise refusal(error) from error
        metadata = body["metadata"]
        logger.warning(
            "the API server did not store a Notification in time: %s",
            problem,
            extra={"notification": f"{metadata['namespace']}/{metadata['name']}"},
        )
        raise ServiceUnavailableError(
            "The notification is not known to be stored. Send it again; with an Idempotency-Key, "
            "and the same one each time, it is never delivered twice",
            retry_after=RETRY_AFTER,
        )

    async def _create(self, body: Mapping[str, Any]) -> Stored:
        """Create the Notification once, or find it.

        Raises
        ------
        KubernetesError
            `UnavailableError` if it may have been stored or not; all others mean that it was not.
        UnprocessableError
            If its name belongs to another request.
        """
        try:
            # A try may take half of the time, so that a second one can find what it did.
            async with asyncio.timeout(self._settings.store_timeout / 2):
                created = await self._cluster.create_notification(body)
                return Stored.of(created, repeated=False)
        except TimeoutError:
            raise UnavailableError("no answer in time") from None
        except ConflictError as error:
            known = await self._known(body)
            if known is None:
                # Deleted since, or a conflict about something else, such as a quota's record.
                raise UnavailableError(str(error)) from error
            return known

    async def _known(self, body: Mapping[str, Any]) -> Stored | None:
        """Return the Notification of the same name if there is one, made by the same request."""
        metadata = body["metadata"]
        found = await self._cluster.get_notification(metadata["namespace"], metadata["name"])
        if found is None:
            return None
        annotations = found["metadata"].get("annotations") or {}
        if annotations.get(DIGEST_ANNOTATION) != metadata["annotations"][DIGEST_ANNOTATION]:
            raise UnprocessableError(
                "This Idempotency-Key belongs to another request: use a new key for a new one"
            )
        return Stored.of(found, repeated=True)


def _check_rights(request: SendRequest, caller: ServicePrincipal) -> None:
    recipients = request.recipients
    assert recipients is not None, "nothing is stored for nobody"
    if recipients.type == "broadcast":
        if not caller.broadcast:
            raise NotAllowedError(
                f"{caller.subject} may not send to everybody (recipients.type: broadcast)"
            )
        return
    amount = len(recipients.included)
    if caller.max_recipients is not None and amount > caller.max_recipients:
        raise NotAllowedError(
            f"{caller.subject} may name at most {caller.max_recipients} entity refs in one "
            f"request, not {amount} (recipients.entityRef)"
        )
