"""All slices of one Notification: reads them, writes them, adds to them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import chain, count
from typing import Any

from ....api.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from ....api.ledger_format import LEDGER_FORMAT
from ....api.notification import DeliveryState
from ....api.references import ObjectRef
from ....api.resource import API_VERSION
from ....api.slice import NOTIFICATION_UID_LABEL, SLICE_SIZE
from ....telemetry.background import end_tasks
from ...ledger.rows import Row, RowKey, awaits_user
from ...ledger.tally import Tally
from ...ports import Cluster
from ..merge_patch import is_kept, merge_patch
from .codec import encode
from .page import Page

CONCURRENCY = 8
"""Slices that are created or rewritten at a time."""

_URGENT = (DeliveryState.FAILED, DeliveryState.UNKNOWN, DeliveryState.RETRYING)


class SlicePruned(Exception):
    """The API server stored a slice without all that was written: it must not be acted on."""


class SliceRefused(ForbiddenError):
    """The API server refuses a slice as it is (400, 422): by default, policies answer so too."""


class Book:
    """The slices of one Notification, in their order.

    Nothing here is claimed on its own: `write` stores what it is given if the slice is still at
    the version this process knows.
    """

    def __init__(
        self, cluster: Cluster, owner: ObjectRef, bodies: Iterable[dict[str, Any]]
    ) -> None:
        self._cluster = cluster
        self._owner = owner
        self.pages = sorted((Page(body) for body in bodies), key=lambda page: page.index)

    @property
    def tally(self) -> Tally:
        """What all rows add up to."""
        return Tally.sum(page.tally for page in self.pages)

    @property
    def is_open(self) -> bool:
        """Whether any row is not in a terminal state."""
        return any(page.is_open for page in self.pages)

    @property
    def next_due(self) -> datetime | None:
        """The earliest next attempt."""
        return min((page.due for page in self.pages if page.due is not None), default=None)

    @property
    def newest_generation(self) -> int:
        """The newest generation of the Notification that a slice was written for."""
        return max((page.observed_generation for page in self.pages), default=0)

    @property
    def newest_revision(self) -> int:
        """The newest revision that a row belongs to."""
        return max((page.newest_revision for page in self.pages), default=0)

    def rows(self) -> Iterator[Row]:
        """Return all rows, slice by slice."""
        for page in self.pages:
            yield from page.rows

    def shown(self, limit: int) -> list[Row]:
        """Return the rows that need attention, the worst first, not too many of them."""
        found: list[Row] = []
        for state in _URGENT:
            for page in self.pages:
                if len(found) >= limit:
                    break
                found.extend(page.in_state(state))
        for page in self.pages:
            if page.awaiting and len(found) < limit:
                found.extend(filter(awaits_user, page.rows))
        return found[:limit]

    def missing(self, committed: int) -> list[int]:
        """Return which of the committed slices are not there."""
        return sorted(set(range(committed)) - {page.index for page in self.pages})

    async def discard(self, committed: int) -> None:
        """Delete the slices that were written but never committed."""
        for page in [page for page in self.pages if page.index >= committed]:
            self.pages.remove(page)
            try:
                await self._cluster.delete(
                    page.ref, uid=page.ref.uid, resource_version=page.resource_version
                )
            except NotFoundError:
                continue

    async def refresh(self) -> None:
        """Read again the slices of which it is not known what is stored."""
        for page in [page for page in self.pages if page.stale]:
            try:
                page.adopt(await self._cluster.get(page.ref))
            except NotFoundError as error:
                raise _gone(page) from error

    async def write(
        self, page: Page, rows: Sequence[Row], *, generation: int | None = None
    ) -> None:
        """Store the rows of one slice.

        Parameters
        ----------
        generation
            The Notification's generation that the rows were planned for, if they were.

        Raises
        ------
        ConflictError
            If another process has written the slice.
        SlicePruned
            If the installed definition is older.
        """
        wanted = _fields(page.index, rows, page.processor, generation or page.observed_generation)
        patch = merge_patch(page.body, wanted)
        if not patch:
            return
        page.stale = True
        version = page.resource_version
        try:
            page.adopt(await self._cluster.patch_slice(page.ref, patch, resource_version=version))
        except NotFoundError as error:
            raise _gone(page) from error
        except RejectedError as error:
            raise SliceRefused(str(error)) from error
        _ensure_kept(wanted, page.body)

    @property
    def count(self) -> int:
        """How many slices there are, deleted ones in between included."""
        return max((page.index for page in self.pages), default=-1) + 1

    async def replace(
        self, rows: Mapping[RowKey, Row], *, generation: int, free: Sequence[int] = ()
    ) -> None:
        """Bring all slices in line with planned rows.

        Rows stay in their slices; new ones fill up the last slice of their processor, and then
        slices of their own, which do not count until the Notification's status names them.

        Parameters
        ----------
        free
            Indexes of slices that are not there any more.
        """
        known: set[RowKey] = set()
        wanted: dict[int, list[Row]] = {}
        for page in self.pages:
            keys = [row.key for row in page.rows]
            known.update(keys)
            wanted[page.index] = [rows[key] for key in keys if key in rows]
        added = self._fill([row for key, row in rows.items() if key not in known], wanted)
        await _all(
            partial(self.write, page, wanted[page.index], generation=generation)
            for page in self.pages
            if not _same(page.rows, wanted[page.index])
        )
        made: list[Page] = []
        indexes = chain(free, count(max(self.count, max(free, default=-1) + 1)))
        await _all(
            partial(self._create, index, part, generation, made)
            for index, part in zip(indexes, added, strict=False)
        )
        self.pages = sorted([*self.pages, *made], key=lambda page: page.index)

    def _fill(self, rows: Sequence[Row], wanted: dict[int, list[Row]]) -> list[list[Row]]:
        """Put new rows where there is room; return those for new slices."""
        by_processor: dict[str, list[Row]] = {}
        for row in rows:
            by_processor.setdefault(row.processor, []).append(row)
        parts: list[list[Row]] = []
        for processor, items in by_processor.items():
            last = max((p.index for p in self.pages if p.processor == processor), default=None)
            if last is not None:
                room = SLICE_SIZE - len(wanted[last])
                wanted[last] = wanted[last] + items[:room]
                items = items[room:]
            parts += [items[at : at + SLICE_SIZE] for at in range(0, len(items), SLICE_SIZE)]
        return parts

    async def _create(
        self, index: int, rows: Sequence[Row], generation: int, made: list[Page]
    ) -> None:
        fields = _fields(index, rows, rows[0].processor, generation)
        try:
            body = await self._cluster.create_slice(self._manifest(index, fields))
        except NotFoundError as error:
            # The definition is missing. A Notification that is deleted is the watch's news.
            raise UnavailableError(str(error)) from error
        except RejectedError as error:
            raise SliceRefused(str(error)) from error
        _ensure_kept(fields, body)
        made.append(Page(body))

    def _manifest(self, index: int, fields: Mapping[str, Any]) -> dict[str, Any]:
        owner = self._owner
        return {
            "apiVersion": API_VERSION,
            "kind": "NotificationDeliverySlice",
            "metadata": {
                "namespace": owner.namespace,
                "name": slice_name(owner, index),
                "labels": {NOTIFICATION_UID_LABEL: owner.uid},
                "ownerReferences": [
                    {
                        "apiVersion": API_VERSION,
                        "kind": owner.kind,
                        "name": owner.name,
                        "uid": owner.uid,
                        "controller": True,
                    }
                ],
            },
            **fields,
        }


def slice_name(owner: ObjectRef, index: int) -> str:
    """Return the name of a Notification's slice: the same for the same slice, always."""
    digest = hashlib.sha256(owner.uid.encode()).hexdigest()[:8]
    return f"{owner.name[:230].rstrip('-.')}-{digest}-{index}"


def _fields(index: int, rows: Sequence[Row], processor: str, generation: int) -> dict[str, Any]:
    return {
        "format": LEDGER_FORMAT,
        "index": index,
        "observedGeneration": generation,
        **encode(rows, processor),
    }


def _ensure_kept(wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    if not is_kept(wanted, stored):
        raise SlicePruned(
            "the API server dropped fields of a slice; are the CRDs of this release installed?"
        )


def _gone(page: Page) -> ConflictError:
    return ConflictError(f"the slice {page.ref.name} was deleted")


def _same(before: Sequence[Row], after: Sequence[Row]) -> bool:
    return len(before) == len(after) and all(map(lambda a, b: a is b, before, after))


async def _all(calls: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Make calls, some at a time; the first that fails ends the others.

    A cancellation that meets a failing call ends it too. `asyncio.gather`, and before Python 3.13
    `asyncio.TaskGroup`, would forget the cancellation, and a runner that was told to end go on.
    """
    free = asyncio.Semaphore(CONCURRENCY)

    async def limited(call: Callable[[], Awaitable[None]]) -> None:
        async with free:
            await call()

    tasks = [asyncio.create_task(limited(call)) for call in calls]
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await end_tasks(tasks)
    for task in done:
        task.result()
