"""One Notification as the API server has it, and the writing of its status."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from ...api.notification import DeliveryState, Notification, NotificationStatus
from ...api.references import NOTIFICATIONS, ObjectRef
from ...api.resource import ObjectMeta
from ..ledger.denials import is_said, still_denied
from ..ledger.ledger import INLINE, OPEN, Ledger
from ..ledger.rows import Row
from ..ledger.tally import Tally
from ..ports import Cluster, Recorder
from .announcer import Announcer
from .merge_patch import is_kept, merge_patch
from .minimal_status import minimal_status
from .newer_format import is_over, unknown_in_status, unreadable_status
from .trackers import ttl_note


class StatusPruned(Exception):
    """The API server stored the status without the claims: it must not be acted on."""


class Stored:
    """The stored state of one Notification, as far as this process knows it.

    Everything is written at the version at hand; whoever is told of a conflict reads again.
    ``minimal`` reduces what is written to the states, ``pruned`` says that claims were not kept,
    ``denied`` that a write is refused which the deliveries need, and ``unreadable`` why the newest
    version cannot be read.
    """

    def __init__(
        self,
        notification: Notification,
        status: dict[str, Any],
        *,
        cluster: Cluster,
        recorder: Recorder,
    ) -> None:
        self.ref = ObjectRef.of(NOTIFICATIONS, notification.metadata)
        self.announcer = Announcer(recorder, self.ref)
        self.notification = notification
        self.deleted = False
        self.minimal = False
        self.pruned = False
        self.denied = is_said(notification)
        self.unreadable: str | None = None
        self.over = False
        self._status = status
        self._cluster = cluster
        self._incoming: tuple[Notification, dict[str, Any]] | None = None
        self._unread_version = 0

    @property
    def unseen(self) -> tuple[Notification, dict[str, Any]] | None:
        """A newer version that the watch brought and nobody has looked at."""
        if self.deleted or self._incoming is None:
            return None
        known = max(self.notification.metadata.version, self._unread_version)
        return self._incoming if self._incoming[0].metadata.version > known else None

    @property
    def has_news(self) -> bool:
        """Whether the watch brought anything since `observe`."""
        return self._incoming is not None

    @property
    def is_edited(self) -> bool:
        """Whether the specification is newer than the status, and so than its claims."""
        generation = self.notification.metadata.generation
        return generation != self.notification.status.observed_generation

    def unsent(self, processor: str) -> Iterator[str]:
        """Return whom a processor has still to send to, by the rows that the status keeps."""
        status = self.notification.status
        if status.ledger is None or status.ledger.type != INLINE:
            return
        for item in status.deliveries:
            if item.processor == processor and item.state in OPEN:
                yield item.recipient

    def offer(self, notification: Notification, status: dict[str, Any]) -> None:
        """Take a version of the object that the watch brought, unless it brought a newer one."""
        if self._incoming is not None:
            waiting = self._incoming[0].metadata.version
            if notification.metadata.version < waiting:
                return
        self._incoming = (notification, status)

    def offer_unreadable(self, metadata: ObjectMeta, problem: str, *, over: bool) -> bool:
        """Take a version that cannot be read; False if a newer one is known.

        Parameters
        ----------
        over
            Whether it says that the Notification is finished.
        """
        incoming = self._incoming[0].metadata.version if self._incoming else 0
        known = max(self.notification.metadata.version, self._unread_version, incoming)
        if metadata.version < known:
            return False
        self._unread_version = metadata.version
        self.unreadable, self.over = problem, over
        return True

    def observe(self) -> None:
        """Look at what the watch brought, unless it is older than what we wrote or read."""
        unseen, self._incoming = self.unseen, None
        if unseen is not None:
            self._take(*unseen)

    async def read(self) -> None:
        """Read the object again."""
        self._adopt(await self._cluster.get(self.ref))

    async def write(self, ledger: Ledger, now: datetime, *, tally: Tally | None = None) -> None:
        """Write the status that records the ledger, if it differs from the stored one.

        Parameters
        ----------
        tally
            What all rows add up to, if the ledger's own are only those to be shown.

        Raises
        ------
        StatusPruned
            If the installed definition is older than the operator.
        """
        tally = tally or Tally.of(ledger.rows.values())
        wanted = ledger.dump(
            generation=self.notification.metadata.generation,
            suspended=self.notification.spec.suspend,
            note=self._note(ledger),
            now=now,
            tally=tally,
        )
        if self.denied:
            wanted = still_denied(wanted, self.notification.status)
        wire = (minimal_status(wanted) if self.minimal else wanted).to_wire()
        patch = merge_patch(self._status, wire)
        if not patch:
            return
        before = self.notification.status
        await self._patch(patch)
        self._check_claims(ledger, wire)
        await self.announcer.announce(before, self.notification, tally)

    async def write_status(self, wanted: NotificationStatus) -> None:
        """Write a status that leaves all rows as they are, if it differs from the stored one."""
        wire = (minimal_status(wanted) if self.minimal else wanted).to_wire()
        if patch := merge_patch(self._status, wire):
            before = self.notification.status
            await self._patch(patch)
            tally = Tally.of(map(Row.of, wanted.deliveries))
            await self.announcer.announce(before, self.notification, tally)

    async def write_rows(self, ledger: Ledger) -> None:
        """Write the rows that the status keeps, and nothing else, if they differ."""
        status = self.notification.status
        rows = [row.to_delivery() for row in ledger.rows.values()]
        if rows == status.deliveries:
            return
        wanted = status.model_copy(update={"deliveries": rows})
        wire = (minimal_status(wanted) if self.minimal else wanted).to_wire()
        await self._patch({"deliveries": wire["deliveries"]})

    async def _patch(self, patch: dict[str, Any]) -> None:
        version = self.notification.metadata.resource_version
        self._adopt(await self._cluster.patch_status(self.ref, patch, resource_version=version))

    def _note(self, ledger: Ledger) -> str | None:
        """What the user should know though it stops nothing."""
        notes = [ttl_note(self.notification)]
        origin = self.notification.spec.origin
        if origin is not None and origin != ledger.origin:
            notes.append("spec.origin is ignored outside origins.trustedNamespaces")
        return "; ".join(note for note in notes if note) or None

    def _adopt(self, body: dict[str, Any]) -> None:
        """Take over an object as the API server answered it."""
        metadata = body["metadata"]
        if metadata["uid"] != self.ref.uid or "deletionTimestamp" in metadata:
            self.deleted = True
            return
        status = body.get("status") or {}
        try:
            notification = None if unknown_in_status(status) else Notification.model_validate(body)
        except ValidationError:
            notification = None
        if notification is None and (problem := unreadable_status(status)):
            read = ObjectMeta.model_validate(metadata)
            self.offer_unreadable(read, problem, over=is_over(read, status))
            return
        if notification is None:
            # A laxer definition let an edit pass: what is under way is finished as it was.
            spec = self.notification.spec.model_dump(mode="json", by_alias=True)
            notification = Notification.model_validate({**body, "spec": spec})
        self._take(notification, status)

    def _take(self, notification: Notification, status: dict[str, Any]) -> None:
        self.notification, self._status = notification, status
        self.unreadable, self.over = None, False

    def _check_claims(self, ledger: Ledger, wire: dict[str, Any]) -> None:
        """Make sure that claims were stored with all that their record and revision need.

        An older definition prunes silently what it does not know.
        """
        if self.deleted or not (ledger.slices or ledger.in_state(DeliveryState.CLAIMED)):
            return
        if not is_kept(wire, self._status):
            raise StatusPruned(
                "the API server dropped fields of the status; are the CRDs of this release "
                "installed?"
            )
        self.pruned = False
