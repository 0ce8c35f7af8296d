"""A relay that runs, and what it hands over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.signals.hub import Hub
from notifications_operator.gateway.signals.news import Connect
from notifications_operator.gateway.signals.outbox import Signal, append
from notifications_operator.gateway.signals.relay import Mutes, Relay
from notifications_operator.gateway.signals.settings import SignalsSettings


class Recorder(Hub):
    """A hub that notes what it is to publish."""

    def __init__(self) -> None:
        super().__init__(SignalsSettings())
        self.numbers: list[int] = []
        self.signals: list[Signal] = []

    async def publish(self, signals: Sequence[Signal]) -> None:
        self.signals += signals
        self.numbers += [signal.message["number"] for signal in signals]

    def has(self, number: int) -> bool:
        """Whether a signal has come."""
        return number in self.numbers


async def no_listening() -> Any:
    raise AssertionError("only PostgreSQL is listened at")


@asynccontextmanager
async def relaying(
    database: Database,
    *,
    connect: Connect = no_listening,
    hub: Hub | None = None,
    mutes: Mutes | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[Recorder, Relay]]:
    """Run a relay; without settings nothing but what it is told makes it look for long.

    Parameters
    ----------
    hub
        Where it brings signals, instead of the recorder.
    mutes
        Whom it asks who muted a broadcast; else nobody did.
    """
    recorder = Recorder()
    found = SignalsSettings(**{"poll_interval": 3600, **settings})
    relay = Relay(database.engine, hub or recorder, found, connect=connect, mutes=mutes)
    task = asyncio.create_task(relay.run())
    try:
        yield recorder, relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), "the relay ended by itself"


async def write(database: Database, *numbers: int, text: str = "") -> None:
    """Commit one batch of signals."""

    async def work(connection: AsyncConnection) -> None:
        await append(connection, numbered(*numbers, text=text))

    await database.write(work)


def numbered(*numbers: int, text: str = "") -> list[Signal]:
    """Return signals that carry numbers."""
    return [
        Signal(users=None, channel="notifications", message={"number": number, "text": text})
        for number in numbers
    ]
