"""Rows as a slice keeps them: one letter each, and details only where there is something to say.

What is dropped is what nobody needs again: of a sent delivery the answer and the moments, of a
skipped one the moments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ...api.notification import DeliveryState
from ...api.slice import DETAIL_MESSAGE_LIMIT, SliceClaim, SliceDetail, SliceRows
from ..rows import Row

_LETTERS = {
    DeliveryState.PENDING: "P",
    DeliveryState.CLAIMED: "C",
    DeliveryState.SENT: "S",
    DeliveryState.RETRYING: "R",
    DeliveryState.FAILED: "F",
    DeliveryState.SKIPPED: "K",
    DeliveryState.UNKNOWN: "U",
}
_STATES = {letter: state for state, letter in _LETTERS.items()}
_TRIED_ONCE = (DeliveryState.CLAIMED, DeliveryState.SENT)
_TIMELESS = (DeliveryState.SENT, DeliveryState.SKIPPED)


@dataclass(frozen=True, kw_only=True)
class Common:
    """What holds for all rows of a slice whose details do not say otherwise."""

    processor: str
    revision: int
    opened: datetime


def encode(rows: Sequence[Row], processor: str) -> dict[str, Any]:
    """Return the fields of a slice that say these rows, in the API's spelling."""
    common = _common(rows, processor)
    found = [_detail(number, row, common) for number, row in enumerate(rows)]
    fields = SliceRows.model_construct(
        processor=processor,
        revision=common.revision,
        opened_time=common.opened,
        summary=_summary(rows),
        recipients=[row.recipient for row in rows],
        states="".join(_LETTERS[row.state] for row in rows),
        claims=_claims(rows),
        details=[item for item in found if item is not None],
    ).to_wire()
    # An empty list is said too: a merge patch would leave the old one in place.
    return {"claims": [], "details": [], **fields}


def decode(stored: SliceRows) -> list[Row]:
    """Return the rows that a slice says."""
    common = Common(processor=stored.processor, revision=stored.revision, opened=stored.opened_time)
    rows = [
        _plain(recipient, _STATES[letter], common)
        for recipient, letter in zip(stored.recipients, stored.states, strict=True)
    ]
    for item in stored.details:
        rows[item.row] = _detailed(rows[item.row], item)
    for claim in stored.claims:
        for number in claim.rows:
            rows[number] = replace(rows[number], holder=claim.holder, last_attempt_time=claim.time)
    return rows


def _common(rows: Sequence[Row], processor: str) -> Common:
    """Choose what most rows share."""
    opened = Counter(row.opened_time for row in rows if row.opened_time is not None)
    revisions = Counter(row.revision for row in rows)
    return Common(
        processor=processor,
        revision=max(revisions, key=lambda item: (revisions[item], item), default=1),
        opened=max(
            opened,
            key=lambda item: (opened[item], item),
            default=datetime.now(UTC).replace(microsecond=0),
        ),
    )


def _plain(recipient: str, state: DeliveryState, common: Common) -> Row:
    return Row(
        processor=common.processor,
        recipient=recipient,
        state=state,
        attempts=1 if state in _TRIED_ONCE else 0,
        revision=common.revision,
        opened_time=common.opened,
    )


def _detailed(row: Row, detail: SliceDetail) -> Row:
    return replace(
        row,
        reason=detail.reason,
        message=detail.message,
        code=detail.code,
        enhanced_code=detail.enhanced_code,
        attempts=row.attempts if detail.attempts is None else detail.attempts,
        revision=row.revision if detail.revision is None else detail.revision,
        opened_time=detail.opened_time or row.opened_time,
        last_attempt_time=detail.last_attempt_time,
        next_attempt_time=detail.next_attempt_time,
    )


def _detail(number: int, row: Row, common: Common) -> SliceDetail | None:
    """Return what is to be said about a row, if anything is."""
    plain = _plain(row.recipient, row.state, common)
    brief = row.state in _TIMELESS
    sent = row.state is DeliveryState.SENT
    message = row.message if row.reason or not sent else None
    detail = SliceDetail.model_construct(
        row=number,
        reason=row.reason,
        message=message[:DETAIL_MESSAGE_LIMIT] if message else None,
        code=None if sent else row.code,
        enhanced_code=None if sent else row.enhanced_code,
        attempts=row.attempts if row.attempts != plain.attempts else None,
        revision=row.revision if row.revision != common.revision else None,
        opened_time=row.opened_time if row.opened_time != common.opened and not brief else None,
        last_attempt_time=row.last_attempt_time if row.holder is None and not brief else None,
        next_attempt_time=row.next_attempt_time,
    )
    return None if detail == SliceDetail.model_construct(row=number) else detail


def _claims(rows: Iterable[Row]) -> list[SliceClaim]:
    """Gather claimed rows by their claim."""
    found: dict[tuple[str, datetime], list[int]] = {}
    for number, row in enumerate(rows):
        if row.state is DeliveryState.CLAIMED:
            moment = row.last_attempt_time or row.opened_time or datetime.now(UTC)
            found.setdefault((row.holder or "", moment), []).append(number)
    return [
        SliceClaim(holder=holder, time=moment, rows=numbers)
        for (holder, moment), numbers in found.items()
    ]


def _summary(rows: Sequence[Row]) -> str:
    states = Counter(row.state for row in rows)
    total = len(rows) - states[DeliveryState.SKIPPED]
    return f"{states[DeliveryState.SENT]}/{total}"
