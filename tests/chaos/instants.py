"""The instants at which the operator is killed, each reached from outside.

An instant arms a trap on the proxy or on a mail server and calls `strike` from within it: the
request or the message that sprang it goes no further before the process is dead. To add one, write
a function like those below and put it into `INSTANTS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.support.proxy import Fault, Hold, Withhold, Write
from tests.support.smtp import Hang, Step

from .stage import Stage

RANDOM_SECONDS = 3.0
"""Within so many seconds of its start the operator is killed at random."""

_ENDED = {"Sent", "Failed", "Retrying", "Unknown"}

Strike = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Instant:
    """One instant.

    Attributes
    ----------
    arm
        Sets the trap; it calls what it is given when the instant is reached.
    graceful
        Ask the operator to stop (SIGTERM) instead of killing it; then nothing may be in doubt.
    """

    name: str
    arm: Callable[[Stage, Random, Strike], None]
    graceful: bool = False


def is_slice(write: Write) -> bool:
    """Whether a write is of a part of a large ledger."""
    return "/notificationdeliveryslices" in write.path


def is_ledger_patch(write: Write) -> bool:
    """Whether a write changes a ledger."""
    of_status = write.path.endswith("/status") and "status" in write.body
    return write.method == "PATCH" and (of_status or is_slice(write))


def is_slice_creation(write: Write) -> bool:
    """Whether a write begins a large ledger, or adds to one."""
    return write.method == "POST" and is_slice(write)


def is_commit(write: Write) -> bool:
    """Whether a write makes slices count."""
    ledger = write.body.get("status", {}).get("ledger") or {}
    return is_ledger_patch(write) and "slices" in ledger


def is_claim(write: Write) -> bool:
    """Whether a write claims deliveries (and perhaps records others)."""
    return is_ledger_patch(write) and "Claimed" in write.row_states


def is_record(write: Write) -> bool:
    """Whether a write records what became of deliveries (and perhaps claims others)."""
    return is_ledger_patch(write) and not _ENDED.isdisjoint(write.row_states)


def _on_write(
    fits: Callable[[Write], bool], *, stored: bool, most_skipped: int = 2
) -> Callable[..., None]:
    """Make a trap for a write: kept from the API server, or stored and its answer withheld."""

    def arm(stage: Stage, random: Random, strike: Strike) -> None:
        skipped = random.randint(0, most_skipped)

        def judge(write: Write) -> Fault:
            nonlocal skipped
            if not fits(write):
                return None
            skipped -= 1
            if skipped >= 0:
                return None
            if stored:
                return Withhold(strike)
            strike()
            return Hold()

        stage.proxy.judge = judge

    return arm


def _at_mail_server(step: Step, action: Hang | str) -> Callable[..., None]:
    """Make a trap on every mail server: the first to get there springs it."""

    def arm(stage: Stage, random: Random, strike: Strike) -> None:
        for server in stage.servers.values():
            accepted = not isinstance(action, Hang) or random.random() < 0.5
            server.peer.fail(step, action, recorded=accepted, reached=strike)

    return arm


def _at_random(stage: Stage, random: Random, strike: Strike) -> None:
    asyncio.get_running_loop().call_later(random.uniform(0, RANDOM_SECONDS), strike)


INSTANTS: Final = (
    Instant(name="before claim", arm=_on_write(is_claim, stored=False)),
    Instant(name="after claim", arm=_on_write(is_claim, stored=True)),
    Instant(name="before MAIL", arm=_at_mail_server(Step.MAIL, Hang())),
    Instant(name="in the message", arm=_at_mail_server(Step.BODY, Hang())),
    Instant(name="after the final dot", arm=_at_mail_server(Step.END, Hang())),
    Instant(name="after 250", arm=_at_mail_server(Step.END, "250 2.0.0 queued")),
    Instant(name="before record", arm=_on_write(is_record, stored=False)),
    Instant(name="after record", arm=_on_write(is_record, stored=True)),
    Instant(
        name="before a slice is created",
        arm=_on_write(is_slice_creation, stored=False, most_skipped=0),
    ),
    Instant(
        name="after a slice is created",
        arm=_on_write(is_slice_creation, stored=True, most_skipped=0),
    ),
    Instant(
        name="before slices are committed", arm=_on_write(is_commit, stored=False, most_skipped=0)
    ),
    Instant(
        name="after slices are committed", arm=_on_write(is_commit, stored=True, most_skipped=0)
    ),
    *[Instant(name="random", arm=_at_random)] * 2,
    Instant(name="SIGTERM", arm=_at_random, graceful=True),
)
"""All instants, each as often as it shall come."""
