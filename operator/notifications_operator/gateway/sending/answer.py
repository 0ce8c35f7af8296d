"""What a sender is answered: the rows of the inbox, as read from it or as they will be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import chain, repeat
from typing import Protocol
from uuid import UUID

from ...catalog import EntityRef
from ..errors import ServiceUnavailableError
from ..inbox.types import InboxNotification, Payload
from .request import SendRequest
from .sender import Stored

logger = logging.getLogger(__name__)

PAUSES = (0.02, 0.03, 0.05, 0.1)
"""Seconds between looks into the inbox; the last one goes on."""

SLOW_SECONDS = 1.0
"""Seconds for which a look that has begun may outlast the wait."""


class RowId(Protocol):
    """Computes the id of a row; the inbox's `row_id`."""

    def __call__(self, *, origin: str, scope: str | None, uid: str, user: str) -> UUID:
        """Return the id; an empty user is a broadcast."""
        ...


class Rows(Protocol):
    """Reads rows, whosever they are; the `Inbox`.

    Its methods raise `ServiceUnavailableError` while the database is away.
    """

    async def find(self, ids: Sequence[UUID], /) -> Sequence[InboxNotification]:
        """Return those of the rows that are there."""
        ...

    async def muted_by(
        self, users: Sequence[str], *, origin: str, topic: str | None
    ) -> AbstractSet[str]:
        """Return those of the users who get no rows of an origin and topic."""
        ...


class Answers:
    """Makes the answer to a request that was stored.

    Parameters
    ----------
    row_id
        By which the rows are predicted.
    rows
        Where they are read; ``None`` without an inbox.
    timeout
        Seconds to wait for them.
    """

    def __init__(self, *, row_id: RowId, rows: Rows | None, timeout: float) -> None:
        self._row_id = row_id
        self._rows = rows
        self._timeout = timeout

    async def answer(
        self, request: SendRequest, stored: Stored, *, origin: str, wait: bool
    ) -> list[InboxNotification]:
        """Return the rows of the users that are named, or the one of a broadcast.

        Those that are not there in time are answered as they will be; who muted the inbox gets
        none. Whom a group or another entity leads to, the operator finds out; their rows are not
        among the answer.

        Parameters
        ----------
        wait
            Whether to wait for them at all.
        """
        predicted = {row.id: row for row in self._predict(request, stored, origin)}
        if wait and self._rows is not None and predicted:
            predicted = await self._read(self._rows, predicted)
        return list(predicted.values())

    async def _read(
        self, rows: Rows, predicted: Mapping[UUID, InboxNotification]
    ) -> dict[UUID, InboxNotification]:
        """Read until all rows are there and say what was sent, or the time is over."""
        answer = dict(predicted)
        now = asyncio.get_running_loop().time
        end = now() + self._timeout
        try:
            # The end falls between two looks if it can: a query that is cut off costs a connection.
            async with asyncio.timeout(self._timeout + SLOW_SECONDS):
                for id_ in await _muted(rows, predicted):
                    del answer[id_]
                missing = list(answer)
                for pause in chain(PAUSES, repeat(PAUSES[-1])):
                    found = await rows.find(missing)
                    current = {row.id: row for row in found if _is_current(row, predicted[row.id])}
                    answer.update(current)
                    missing = [id_ for id_ in missing if id_ not in current]
                    if not missing or now() + pause > end:
                        break
                    await asyncio.sleep(pause)
        except TimeoutError:
            logger.warning("the inbox does not answer in time")
        except ServiceUnavailableError as error:
            logger.warning("cannot read the rows of a Notification: %s", error)
        return answer

    def _predict(
        self, request: SendRequest, stored: Stored, origin: str
    ) -> list[InboxNotification]:
        fields = {**request.payload_fields, "severity": request.payload.severity}
        payload = Payload(**fields)
        return [
            InboxNotification(
                id=self._row_id(origin=origin, scope=payload.scope, uid=stored.uid, user=user),
                user=user or None,
                created=stored.created,
                updated=None,
                read=None,
                saved=None,
                origin=origin,
                payload=payload,
            )
            for user in _users(request)
        ]


async def _muted(rows: Rows, predicted: Mapping[UUID, InboxNotification]) -> list[UUID]:
    """Return the rows that there will not be, as their users do not want them."""
    some = next(iter(predicted.values()))
    users = [row.user for row in predicted.values() if row.user is not None]
    if not users:
        return []
    muted = await rows.muted_by(users, origin=some.origin, topic=some.payload.topic)
    return [id_ for id_, row in predicted.items() if row.user in muted]


def _is_current(row: InboxNotification, predicted: InboxNotification) -> bool:
    """Tell whether a row says what was sent, and not what was sent earlier in its scope."""
    if predicted.payload.scope is None:
        return True
    changed = row.updated or row.created
    return changed >= predicted.created and _said(row) == _said(predicted)


def _said(row: InboxNotification) -> Payload:
    return replace(row.payload, metadata=row.payload.metadata or None)


def _users(request: SendRequest) -> list[str]:
    """Return the users that are named themselves; an empty one is everybody."""
    recipients = request.recipients
    assert recipients is not None, "nothing is stored for nobody"
    if recipients.type == "broadcast":
        return [""]
    included = (EntityRef.parse(ref) for ref in recipients.included)
    excluded = {EntityRef.parse(ref) for ref in recipients.excluded}
    users = (ref for ref in included if ref.kind == "user" and ref not in excluded)
    return list(dict.fromkeys(str(ref) for ref in users))
