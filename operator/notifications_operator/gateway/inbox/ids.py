"""Ids of rows: known before the rows are there, and the same on every attempt."""

from __future__ import annotations

from uuid import UUID, uuid5

_NAMESPACE = UUID("6f0d2f7e-5f2b-5d35-9c0c-2b4a1c9f8a51")


def row_id(*, origin: str, scope: str | None, uid: str, user: str) -> UUID:
    """Return the id of a row.

    With a scope, whatever the origin says in it to one user is one row; without, each Notification
    has its own (DESIGN section 11). The user of a broadcast is empty.
    """
    parts = ("scope", origin, scope, user) if scope else ("uid", uid, user)
    return uuid5(_NAMESPACE, clean_text("\x1f".join(parts)))


def clean_text(text: str) -> str:
    """Replace what JSON can say and no database can store: NUL and halves of surrogate pairs."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return paired.replace("\0", "\ufffd")
