"""Deliveries to users whom the catalog does not know when it is their turn; pure.

Whether a delivery waits is decided from the row, the current catalog and the processor. The wait
costs no attempt, and its end is stored in the row: a catalog that cannot be read for a while, or a
ConfigMap that is made anew, loses nobody their mail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ...api.notification import DeliveryState
from ...api.reasons import Reason
from ...catalog import Directory
from ..ledger.ledger import UNSENT, Ledger, is_ready
from ..ledger.rows import await_user, awaits_user, end, is_user, stop_awaiting


@dataclass(frozen=True, kw_only=True)
class Outlet:
    """A processor that needs the entity of each user.

    ``can_send`` says whether it can send now: nothing begins to wait for a user before it could be
    sent. ``remembers`` says of a user whether it can do without the entity.
    """

    can_send: bool
    remembers: Callable[[str], bool]


def settle_unknown_users(
    ledger: Ledger,
    directory: Directory,
    outlets: Mapping[str, Outlet],
    *,
    grace: timedelta,
    now: datetime,
) -> None:
    """Let deliveries wait that cannot be addressed, go on with those that can, end old ones.

    Parameters
    ----------
    outlets
        The processors by name, without those that need nothing but the ref.
    grace
        For how long a row waits.
    """
    for row in ledger.in_state(*UNSENT):
        outlet = outlets.get(row.processor)
        if outlet is None or not is_user(row.recipient):
            continue
        known = directory.user(row.recipient) is not None or outlet.remembers(row.recipient)
        if known and row.next_attempt_time is None:
            continue
        waits = awaits_user(row)
        if known and waits:
            ledger.put(stop_awaiting(row))
        elif waits and row.next_attempt_time is not None and now >= row.next_attempt_time:
            message = f"the catalog does not know {row.recipient}"
            ledger.put(end(row, DeliveryState.FAILED, Reason.UNKNOWN_ENTITIES, message))
        elif outlet.can_send and not known and is_ready(row, now):
            ledger.put(await_user(row, until=now + grace))
