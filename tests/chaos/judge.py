"""The one judge of all campaigns: every law it knows, and whether it was kept.

It reads what mail servers and the API server recorded, and nothing that the operator says of itself
elsewhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

from .evidence import Doubt, Evidence, Expectation, Key, Mail, Orphan, Row

_COUNTED = {
    "sent": ("Sent",),
    "failed": ("Failed",),
    "skipped": ("Skipped",),
    "unknown": ("Unknown",),
    "pending": ("Pending", "Claimed"),
    "retrying": ("Retrying",),
}


def judge(evidence: Evidence) -> list[str]:
    """Return each law that was broken, with what broke it; empty if all were kept."""
    return [
        *(f"a mail for nobody: {stranger}" for stranger in evidence.strangers),
        *(f"against RFC 5321: {violation}" for violation in evidence.violations),
        *(f"the operator ended: {crash}" for crash in evidence.crashes),
        *(f"left over: {leak}" for leak in evidence.leaks),
        *(f"two leaders: {deed}" for deed in evidence.overruled),
        *(f"by another's fault: {late}" for late in evidence.held_up),
        *_nothing_is_lost(evidence),
        *_states_agree_with_mails(evidence),
        *_failures_agree_with_refusals(evidence),
        *_doubles_only_in_doubt(evidence),
        *_holding_waits(evidence),
        *_nothing_begins_late(evidence),
        *_identities(evidence),
        *_nothing_is_stuck(evidence.bodies),
        *_summaries(evidence),
    ]


def count_doubles(mails: Iterable[Mail]) -> int:
    """Return how many accepted mails were copies of earlier ones."""
    counted = Counter((mail.key, mail.edition) for mail in mails if mail.accepted)
    return sum(times - 1 for times in counted.values())


def _nothing_is_lost(evidence: Evidence) -> Iterator[str]:
    found = Counter(row.key for row in evidence.rows)
    for key in evidence.expected.keys() - found.keys():
        yield f"{_name(key)} has no row"
    for key in found.keys() - evidence.expected.keys():
        yield f"{_name(key)} has a row and is no recipient"
    for key, times in found.items():
        if times > 1:
            yield f"{_name(key)} has {times} rows"


def _states_agree_with_mails(evidence: Evidence) -> Iterator[str]:
    mails = _newest(evidence)
    doubtful = {doubt.key for doubt in evidence.doubts}
    doubtful |= {orphan.key for orphan in evidence.orphans}
    doubtful |= {mail.key for mail in evidence.mails if not mail.answered}
    for row in evidence.rows:
        of_row = mails[row.key]
        accepted = [mail for mail in of_row if mail.accepted]
        if row.attempts < len(of_row):
            heard = ", ".join(_heard(mail) for mail in of_row)
            yield f"{_name(row.key)} has {len(of_row)} mails in {row.attempts} attempts: {heard}"
        for problem in _problems(row, accepted, evidence, doubtful):
            yield f"{_name(row.key)} is {row.state} ({row.reason}): {problem}"


def _heard(mail: Mail) -> str:
    """Say when a mail came and what became of it."""
    began = f"begun {mail.begun:%T.%f}, " if mail.begun else ""
    taken = "accepted" if mail.accepted else "not accepted"
    return f"{began}there {mail.moment:%T.%f}, {taken}{'' if mail.answered else ', unanswered'}"


def _problems(
    row: Row, accepted: list[Mail], evidence: Evidence, doubtful: set[Key]
) -> Iterator[str]:
    expected = evidence.expected.get(row.key)
    skipped = expected is Expectation.SKIP
    superseded = expected is Expectation.NEWEST and row.reason == "Superseded"
    match row.state:
        case "Sent":
            if not any(mail.answered for mail in accepted):
                yield "no server said that it accepted it"
        case "Failed":
            refused = evidence.refused[row.key.processor, row.key.recipient]
            if not refused and not _is_refused_elsewhere(row, evidence):
                yield "no server refused it for good"
            if any(mail.answered for mail in accepted):
                yield "a server accepted it"
        case "Unknown":
            if row.key.processor not in evidence.holding:
                yield "its processor does not hold"
            interrupted = (row.key.processor, row.key.recipient) in evidence.interrupted
            if row.key not in doubtful and not interrupted:
                yield "it never was in doubt"
        case "Skipped":
            if not skipped and not superseded:
                yield "nothing was to be skipped"
            # It may have been stored by an attempt without an answer, and replaced before the next.
            if accepted and not superseded:
                yield "it was sent"
        case _:
            yield "it did not end"
    if skipped and row.state != "Skipped":
        yield "it was to be skipped"


def _failures_agree_with_refusals(evidence: Evidence) -> Iterator[str]:
    failed = Counter(
        (row.key.processor, row.key.recipient)
        for row in evidence.rows
        if row.state == "Failed" and not _is_refused_elsewhere(row, evidence)
    )
    for (processor, recipient), times in failed.items():
        said = evidence.refused[processor, recipient]
        if said < times:
            yield f"{recipient} failed {times} times by {processor}, and was refused {said} times"


def _is_refused_elsewhere(row: Row, evidence: Evidence) -> bool:
    """Whether the server refused the same message for another recipient."""
    return any(
        evidence.refused_messages[other.key.processor, other.key.recipient]
        for other in evidence.rows
        if other.state == "Failed" and other.key != row.key and other.key[:2] == row.key[:2]
    )


def _doubles_only_in_doubt(evidence: Evidence) -> Iterator[str]:
    doubts, asked = _moments(evidence.doubts), _moments(evidence.asked)
    orphaned: defaultdict[Key, list[datetime]] = defaultdict(list)
    for orphan in evidence.orphans:
        orphaned[orphan.key].append(orphan.claimed)
    for (key, _), mails in _by_edition(evidence.mails).items():
        copies = 0
        for first, second in pairwise(mail for mail in mails if mail.accepted):
            times = f"{first.moment:%T.%f} and {second.moment:%T.%f}"
            if any(first.moment <= moment <= second.moment for moment in asked[key]):
                continue
            if key.processor in evidence.holding:
                yield f"{_name(key)} has mails at {times} although its processor holds"
            if any(first.moment <= moment <= second.moment for moment in doubts[key]):
                continue
            copies += first.answered
            # Each claim is sent once at most, so each copy needs a claim that was given up.
            if copies > sum(claimed <= second.moment for claimed in orphaned[key]):
                yield f"{_name(key)} was sent again without doubt: {times}"


def _holding_waits(evidence: Evidence) -> Iterator[str]:
    """A claim in doubt is not acted upon if its processor holds, whether or not it was sent.

    After an edit the delivery is another one, so only Notifications that were not edited tell.
    """
    asked = _moments(evidence.asked)
    doubts = {
        doubt.key: doubt.moment
        for doubt in evidence.doubts
        if doubt.key.processor in evidence.holding
        and not evidence.editions.get(doubt.key.notification, 0)
    }
    for mail in evidence.mails:
        doubted = doubts.get(mail.key)
        if doubted is None or mail.moment < doubted:
            continue
        if not any(doubted <= moment <= mail.moment for moment in asked[mail.key]):
            yield f"{_name(mail.key)} was sent at {mail.moment:%T.%f} although it was in doubt"


def _nothing_begins_late(evidence: Evidence) -> Iterator[str]:
    """A former leader finishes messages that it had begun, and begins no other.

    Which mails are its own can be told where the next leader sends nothing itself.
    """
    asked = _moments(evidence.asked)
    orphans: defaultdict[Key, list[Orphan]] = defaultdict(list)
    for orphan in evidence.orphans:
        holds = orphan.key.processor in evidence.holding
        if holds and not evidence.editions.get(orphan.key.notification, 0):
            orphans[orphan.key].append(orphan)
    for mail in evidence.mails:
        begun = mail.begun or mail.moment
        for orphan in orphans[mail.key]:
            wanted = any(orphan.found <= moment <= begun for moment in asked[mail.key])
            if orphan.found < begun and not wanted:
                yield f"{_name(mail.key)} was begun at {begun:%T.%f}, after another had found it"


def _identities(evidence: Evidence) -> Iterator[str]:
    keys: dict[str, tuple[Key, int]] = {}
    for (key, edition), mails in _by_edition(evidence.mails).items():
        identities = {mail.message_id for mail in mails}
        if len(identities) > 1:
            yield f"{_name(key)} has {len(identities)} Message-IDs: {sorted(identities)}"
        for identity in identities:
            other, its = keys.setdefault(identity, (key, edition))
            if (other, its) != (key, edition):
                yield f"{_name(key)} and {_name(other)} share the Message-ID {identity}"


def _nothing_is_stuck(bodies: list[dict[str, Any]]) -> Iterator[str]:
    for body in bodies:
        name, status = body["metadata"]["name"], body["status"]
        conditions = {item["type"]: item["status"] for item in status.get("conditions", [])}
        if conditions.get("Complete") != "True" or "completionTime" not in status:
            yield f"{name} is stuck: {status.get('state')}, {status.get('summary')}"
        if conditions.get("Reconciling") == "True":
            yield f"{name} is complete and reconciling"
        if status.get("observedGeneration") != body["metadata"]["generation"]:
            yield f"{name} was not observed at its generation"


def _summaries(evidence: Evidence) -> Iterator[str]:
    for body in evidence.bodies:
        name, status = body["metadata"]["name"], body["status"]
        rows = [row for row in evidence.rows if row.key.notification == name]
        for item in status.get("processors", []):
            states = Counter(row.state for row in rows if row.key.processor == item["name"])
            for field, counted in _COUNTED.items():
                real = sum(states[state] for state in counted)
                if item.get(field, 0) != real:
                    yield f"{name}: {item['name']} says {field} {item.get(field, 0)}, not {real}"
        yield from _verdict(name, status, Counter(row.state for row in rows))


def _verdict(name: str, status: dict[str, Any], states: Counter[str]) -> Iterator[str]:
    """Compare with DESIGN section 3: what the whole is called."""
    if states.keys() - {"Sent", "Failed", "Unknown", "Skipped"}:
        return
    state = "Delivered"
    if states["Failed"] or states["Unknown"]:
        state = "PartiallyDelivered" if states["Sent"] else "Failed"
    if status["state"] != state:
        yield f"{name} is {status['state']}, and should be {state}: {dict(states)}"
    summary = f"{states['Sent']}/{states.total() - states['Skipped']}"
    if status.get("summary") != summary:
        yield f"{name} says {status.get('summary')}, and has {summary}"


def _by_edition(mails: Iterable[Mail]) -> defaultdict[tuple[Key, int], list[Mail]]:
    """Return the mails of each delivery, in order; an edit makes another delivery."""
    found: defaultdict[tuple[Key, int], list[Mail]] = defaultdict(list)
    for mail in sorted(mails, key=lambda mail: mail.moment):
        found[mail.key, mail.edition].append(mail)
    return found


def _newest(evidence: Evidence) -> defaultdict[Key, list[Mail]]:
    """Return the mails that rows speak of: of the newest edition, since they were opened last."""
    opened = _moments([*evidence.asked, *evidence.reopened])
    found: defaultdict[Key, list[Mail]] = defaultdict(list)
    for (key, edition), mails in _by_edition(evidence.mails).items():
        if edition == evidence.editions.get(key.notification, 0):
            since = max(opened[key], default=None)
            found[key] = [mail for mail in mails if since is None or mail.moment >= since]
    return found


def _moments(doubts: Iterable[Doubt]) -> defaultdict[Key, list[datetime]]:
    found: defaultdict[Key, list[datetime]] = defaultdict(list)
    for doubt in doubts:
        found[doubt.key].append(doubt.moment)
    return found


def _name(key: Key) -> str:
    return f"{key.notification} to {key.recipient} by {key.processor}"
