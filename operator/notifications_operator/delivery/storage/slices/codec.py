"""Rows as a slice keeps them: one letter each, and details only where there is something to say.

What is dropped is what nobody needs again: of a sent delivery the answer and the moments, of a
skipped one the moments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice, repeat
from typing import Any

from ....api.fields import WORD_LIMIT
from ....api.notification import DeliveryState
from ....api.resource import format_time
from ....api.slice import DETAIL_MESSAGE_LIMIT, SliceDetail, SliceRows
from ...ledger.rows import Row
from ..newer_format import unknown_format

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
    """Return the fields of a slice that say these rows, in the API's spelling.

    It is made by hand, as it is made for every write: models take ten times as long (measured).
    """
    common = _common(rows, processor)
    found = [_detail(number, row, common) for number, row in enumerate(rows)]
    return {
        "processor": processor,
        "revision": common.revision,
        "openedTime": format_time(common.opened),
        "summary": _summary(rows),
        "recipients": [row.recipient for row in rows],
        "states": "".join([_LETTERS[row.state] for row in rows]),
        "claims": _claims(rows),
        "details": [item for item in found if item is not None],
    }


def unreadable_slice(body: Mapping[str, Any]) -> str | None:
    """Return why a slice of the API server cannot be read, or ``None`` if it can."""
    if unknown := unknown_format(body.get("format"), "format"):
        return unknown
    letters = body.get("states") or ""
    if strange := sorted(set(letters) - _STATES.keys()):
        return f"states has {strange[0]!r}, and this release knows {', '.join(_STATES)}"
    amount = len(body.get("recipients") or ())
    if len(letters) != amount:
        return f"states has {len(letters)} letters for {amount} recipients"
    numbers = [item.get("row", 0) for item in body.get("details") or ()]
    for claim in body.get("claims") or ():
        numbers += claim.get("rows") or ()
    if wrong := [number for number in numbers if not 0 <= number < amount]:
        return f"row {wrong[0]} is beyond its {amount} recipients"
    return None


def decode(stored: SliceRows, known: Sequence[Row] = ()) -> list[Row]:
    """Return the rows that a slice says.

    Parameters
    ----------
    known
        What it said before. A row that is the same is taken from there: most are, and to make one
        takes longer than to look.
    """
    common = Common(processor=stored.processor, revision=stored.revision, opened=stored.opened_time)
    rows = [
        before
        if before is not None and _is_plain(before, recipient, _STATES[letter], common)
        else _plain(recipient, _STATES[letter], common)
        for recipient, letter, before in zip(
            stored.recipients, stored.states, _padded(known, len(stored.recipients)), strict=True
        )
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
        attempts=_usual_attempts(state),
        revision=common.revision,
        opened_time=common.opened,
    )


def _is_plain(row: Row, recipient: str, state: DeliveryState, common: Common) -> bool:
    """Whether a row is what `_plain` would make."""
    return (
        row.state is state
        and row.recipient == recipient
        and row.holder is None
        and row.reason is None
        and row.last_attempt_time is None
        and row.message is None
        and row.code is None
        and row.enhanced_code is None
        and row.next_attempt_time is None
        and row.attempts == _usual_attempts(state)
        and row.revision == common.revision
        and row.opened_time == common.opened
        and row.processor == common.processor
    )


def _padded(known: Sequence[Row], length: int) -> Iterator[Row | None]:
    """Return so many of the known rows, and ``None`` for those that are missing."""
    return islice(chain(known, repeat(None)), length)


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


def _detail(number: int, row: Row, common: Common) -> dict[str, Any] | None:
    """Return what is to be said about a row, if anything is."""
    detail: dict[str, Any] = {}
    if row.reason:
        detail["reason"] = str(row.reason)[:WORD_LIMIT]
    if row.attempts != _usual_attempts(row.state):
        detail["attempts"] = row.attempts
    if row.revision != common.revision:
        detail["revision"] = row.revision
    if row.next_attempt_time is not None:
        detail["nextAttemptTime"] = format_time(row.next_attempt_time)
    if row.message and (row.reason or row.state is not DeliveryState.SENT):
        detail["message"] = row.message[:DETAIL_MESSAGE_LIMIT]
    if row.state not in _TIMELESS:
        detail |= _history(row, common)
    return {"row": number, **detail} if detail else None


def _history(row: Row, common: Common) -> dict[str, Any]:
    """Return the moments and codes of a row that is not at rest."""
    history: dict[str, Any] = {}
    if row.code is not None:
        history["code"] = row.code
    if row.enhanced_code:
        history["enhancedCode"] = row.enhanced_code[:WORD_LIMIT]
    if row.opened_time is not None and row.opened_time != common.opened:
        history["openedTime"] = format_time(row.opened_time)
    if row.last_attempt_time is not None and row.holder is None:
        history["lastAttemptTime"] = format_time(row.last_attempt_time)
    return history


def _usual_attempts(state: DeliveryState) -> int:
    return 1 if state in _TRIED_ONCE else 0


def _claims(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Gather claimed rows by their claim."""
    found: dict[tuple[str, datetime], list[int]] = {}
    for number, row in enumerate(rows):
        if row.state is DeliveryState.CLAIMED:
            moment = row.last_attempt_time or row.opened_time or datetime.now(UTC)
            found.setdefault((row.holder or "", moment), []).append(number)
    return [
        {"holder": holder, "time": format_time(moment), "rows": numbers}
        for (holder, moment), numbers in found.items()
    ]


def _summary(rows: Sequence[Row]) -> str:
    states = Counter(row.state for row in rows)
    total = len(rows) - states[DeliveryState.SKIPPED]
    return f"{states[DeliveryState.SENT]}/{total}"
