"""Follows every version of the ledgers, and finds what only the order of versions tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from tests.support.kubernetes import Object

from .evidence import Key, Orphan, Row
from .ledgers import is_sliced, rows_of, rows_of_slice
from .operators import Operator
from .stage import Stage

LEASE = "notifications-operator"
"""Name of the Lease; the chart gives it the release's."""

_RECORDED = ("Sent", "Failed", "Skipped")
_UNTOUCHED = "Pending"
"""A claim that its own process took back because it had not begun to send."""


class History:
    """What happened to each delivery, by the API server's own account.

    It puts orphaned claims, and deeds of processes that did not lead any more, on the stage:

    - one epoch is of one process,
    - no claim of an earlier epoch is stored after one of a later epoch, in one object,
    - what is recorded as sent stays so, unless an edit or a person wants it again.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rows: dict[Key, Row] = {}
        self._claimed: dict[Key, datetime] = {}
        self._processes: dict[int, str] = {}
        self._newest: dict[str, int] = {}
        self._epoch = 0

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Follow while the context lasts."""
        kinds = ("Notification", "NotificationDeliverySlice")
        tasks = [asyncio.create_task(self._follow(kind)) for kind in kinds]
        try:
            yield
            ended = [task for task in tasks if task.done()]
            assert ended == [], "nobody followed the history"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def takeovers(self) -> int:
        """How many processes acted under a Lease of their own after the first one."""
        return max(len(self._processes) - 1, 0)

    async def is_led_by(self, operator: Operator) -> bool:
        """Whether an operator holds the Lease."""
        holder: str = (await self._lease())["holderIdentity"]
        return holder.startswith(f"{operator.installation.pod}_")

    async def _lease(self) -> Object:
        """Return who leads since when, and note the epoch."""
        body = await self._stage.kubernetes.get("Lease", LEASE, "kube-system")
        spec: Object = body["spec"]
        self._epoch = max(self._epoch, int(spec["leaseTransitions"]))
        return spec

    async def _follow(self, kind: str) -> None:
        async for event in self._stage.kubernetes.watch(kind, self._stage.namespace):
            body = event["object"]
            if event["type"] not in ("ADDED", "MODIFIED") or is_sliced(body):
                continue
            rows = rows_of(body) if kind == "Notification" else rows_of_slice(body)
            await self._compare(body["metadata"]["uid"], rows)

    async def _compare(self, uid: str, rows: Iterable[Row]) -> None:
        for row in rows:
            before = self._rows.get(row.key)
            if before is not None:
                await self._note_end(before, row)
                self._note_overwriting(before, row)
            if row.holder is not None and (before is None or before.holder != row.holder):
                self._note_claim(uid, row.key, row.holder)
            self._rows[row.key] = row

    def _note_claim(self, uid: str, key: Key, holder: str) -> None:
        self._claimed[key] = datetime.now(UTC)
        epoch, process = _epoch(holder), _process(holder)
        if self._processes.setdefault(epoch, process) != process:
            self._accuse(key, f"epoch {epoch} is of {process} and of {self._processes[epoch]}")
        if epoch < self._newest.get(uid, 0):
            self._accuse(key, f"claimed under {epoch} after {self._newest[uid]}")
        self._newest[uid] = max(epoch, self._newest.get(uid, 0))

    async def _note_end(self, before: Row, row: Row) -> None:
        """Note a claim that somebody else than its process put an end to."""
        if before.holder is None or before.holder == row.holder:
            return
        if row.state in (*_RECORDED, _UNTOUCHED):
            return
        if row.holder is not None and _process(row.holder) == _process(before.holder):
            # It led again, and knows that nothing was begun; if it lies, the mails will tell.
            return
        if _epoch(before.holder) >= self._epoch:
            await self._lease()
        if _epoch(before.holder) < self._epoch:
            orphan = Orphan(
                key=row.key,
                claimed=self._claimed[row.key],
                found=datetime.now(UTC),
            )
            self._stage.orphans.append(orphan)

    def _note_overwriting(self, before: Row, row: Row) -> None:
        wanted = row.key.notification in self._stage.editions or any(
            asked.key == row.key for asked in self._stage.asked
        )
        if before.state == "Sent" != row.state and not wanted:
            self._accuse(row.key, f"was recorded as sent and is {row.state}")

    def _accuse(self, key: Key, deed: str) -> None:
        self._stage.overruled.append(f"{'/'.join(key)}: {deed}")


def _epoch(holder: str) -> int:
    return int(holder.split("/")[0])


def _process(holder: str) -> str:
    return holder.split("/")[1]
