"""Deliveries to users whom the catalog does not know when it is their turn; pure.

Whether a user is known is decided from the current catalog and the row alone. The wait costs no
attempt, and its end is stored in the row: a catalog that cannot be read for a while, or a ConfigMap
that is made anew, loses nobody their mail.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from ..api.notification import DeliveryState
from ..api.reasons import Reason
from ..catalog import Directory
from .ledger import UNSENT, Ledger, is_ready
from .rows import end, hold, is_held, release

_USER = "user:"


def settle_unknown_users(
    ledger: Ledger,
    directory: Directory,
    processors: Mapping[str, bool],
    *,
    grace: timedelta,
    now: datetime,
) -> None:
    """Hold what is ready and cannot be addressed, release what can be again, end what waited.

    Parameters
    ----------
    processors
        Those that need the entity of each user, with whether they can send now: nothing begins to
        wait for a user before it could be sent.
    grace
        For how long a row waits.
    """
    for row in ledger.in_state(*UNSENT):
        can_send = processors.get(row.processor)
        if can_send is None or not row.recipient.startswith(_USER):
            continue
        known, held = directory.has_user(row.recipient), is_held(row)
        if known and held:
            ledger.put(release(row))
        elif held and row.next_attempt_time is not None and now >= row.next_attempt_time:
            message = f"the catalog does not know {row.recipient}"
            ledger.put(end(row, DeliveryState.FAILED, Reason.UNKNOWN_ENTITIES, message))
        elif can_send and not known and is_ready(row, now):
            ledger.put(hold(row, until=now + grace))
