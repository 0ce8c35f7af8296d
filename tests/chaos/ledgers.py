"""What the cluster says of deliveries, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.kubernetes import Object
from tests.support.proxy import SLICE_STATES

from .evidence import Key, Row


def is_sliced(body: Object) -> bool:
    """Whether the ledger of a Notification is in slices."""
    return (body.get("status", {}).get("ledger") or {}).get("type") == "Slices"


def rows_of(body: Object) -> list[Row]:
    """Return all deliveries of a Notification."""
    if is_sliced(body):
        committed = [item for item in body["slices"] if item["index"] < _committed(body)]
        return [row for item in committed for row in rows_of_slice(item)]
    return [
        Row(
            key=_key(body["metadata"]["name"], row["processor"], row["recipient"]),
            state=row["state"],
            reason=row.get("reason"),
            attempts=row.get("attempts", 0),
            holder=row.get("holder"),
        )
        for row in body.get("status", {}).get("deliveries", [])
    ]


def _committed(body: Object) -> int:
    return int(body["status"]["ledger"]["slices"])


def rows_of_slice(item: Object) -> Iterator[Row]:
    """Return the deliveries of one part of a large ledger."""
    notification = item["metadata"]["ownerReferences"][0]["name"]
    details = {detail["row"]: detail for detail in item.get("details", ())}
    holders = {row: claim["holder"] for claim in item.get("claims", ()) for row in claim["rows"]}
    for number, (recipient, letter) in enumerate(
        zip(item["recipients"], item["states"], strict=True)
    ):
        detail = details.get(number, {})
        yield Row(
            key=_key(notification, item["processor"], recipient),
            state=SLICE_STATES[letter],
            reason=detail.get("reason"),
            attempts=detail.get("attempts", 1 if letter in "CS" else 0),
            holder=holders.get(number),
        )


def _key(notification: str, processor: str, recipient: str) -> Key:
    return Key(processor, notification, recipient.rpartition("/")[2])
