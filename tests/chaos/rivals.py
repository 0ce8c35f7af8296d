"""What can come between two operators, one of which leads.

Each rivalry lasts as long as its coroutine. To add one, write a function like those below and put
it into `RIVALRIES`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.support.proxy import (
    APIProxy,
    Fault,
    Hold,
    LoseAnswer,
    LoseRequest,
    Read,
    Refuse,
    Stall,
    Withhold,
    Write,
)
from tests.support.smtp import Pause, Step

from .history import History
from .instants import is_ledger_patch
from .operators import Operator
from .stage import Stage

DURATION = 3
"""Seconds of the Lease."""

LONGEST_STALL = 2.0 * DURATION
"""Seconds for which a request is held up: beyond the end of the Lease."""

LONGEST_LINGER = 1.5
"""Seconds for which the new leader has the field to itself."""

TAKEOVER_SECONDS = DURATION + 8.0
"""Longest wait for a take-over; the campaign condemns none that takes longer."""

REACH_SECONDS = 3.0
"""Longest wait for the leader to get to where it is to be paused."""


@dataclass(frozen=True, kw_only=True)
class Duel:
    """Two operators at one moment."""

    leader: Operator
    rival: Operator
    stage: Stage
    history: History
    random: Random

    async def taken_over(self) -> None:
        """Wait until the rival leads, and a little longer."""
        await self._led_by_rival()
        await self.linger()

    async def linger(self) -> None:
        """Let things go on as they are for a while."""
        await asyncio.sleep(self.random.uniform(0, LONGEST_LINGER))

    async def _led_by_rival(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKEOVER_SECONDS):
                while not await self.history.is_led_by(self.rival):
                    await asyncio.sleep(0.05)


Rivalry = Callable[[Duel], Awaitable[None]]

_Request = Write | Read


def _apart(make: Callable[[Random], Fault], *, cut: bool = True) -> Rivalry:
    """Come between the leader and the API server until its rival leads."""

    async def rivalry(duel: Duel) -> None:
        _between(duel.leader.proxy, lambda request: make(duel.random), cut=cut)
        await duel.taken_over()
        duel.leader.proxy.behave()

    return rivalry


def _between(proxy: APIProxy, judge: Callable[[_Request], Fault], *, cut: bool) -> None:
    proxy.judge = proxy.judge_read = judge
    if cut:
        proxy.cut_watches()
    else:
        proxy.silence_watches()


async def _deaf(duel: Duel) -> None:
    """What the leader asks for is done, and it does not hear of it: so nobody can take over."""
    _between(duel.leader.proxy, lambda request: LoseAnswer(), cut=True)
    await asyncio.sleep(DURATION)
    await duel.linger()
    duel.leader.proxy.behave()


async def _without_lease(duel: Duel) -> None:
    """The leader reaches everything but its Lease."""

    def judge(request: _Request) -> Fault:
        return Refuse(503, "no leases") if "/leases" in request.path else None

    duel.leader.proxy.judge = duel.leader.proxy.judge_read = judge
    await duel.taken_over()
    duel.leader.proxy.behave()


async def _rival_apart(duel: Duel) -> None:
    """The rival reaches nothing, which must not matter."""
    _between(duel.rival.proxy, lambda request: LoseRequest(), cut=True)
    await duel.linger()
    duel.rival.proxy.behave()


async def _both_apart(duel: Duel) -> None:
    """Nobody reaches the API server for longer than the Lease lasts."""
    for operator in (duel.leader, duel.rival):
        _between(operator.proxy, lambda request: LoseRequest(), cut=True)
    await asyncio.sleep(DURATION)
    await duel.linger()
    for operator in duel.random.sample([duel.leader, duel.rival], 2):
        operator.proxy.behave()
        await duel.linger()


async def _paused(duel: Duel) -> None:
    """The leader is stopped wherever it is, and goes on after the take-over."""
    duel.leader.installation.signal(signal.SIGSTOP)
    await duel.taken_over()
    duel.leader.installation.signal(signal.SIGCONT)


def _paused_at(step: Step) -> Rivalry:
    """Stop the leader within a message, with its other connections wherever they are."""

    async def rivalry(duel: Duel) -> None:
        reached, released = asyncio.Event(), asyncio.Event()

        def pause() -> None:
            if not reached.is_set():
                duel.leader.installation.signal(signal.SIGSTOP)
                reached.set()

        for server in duel.stage.servers.values():
            server.peer.fail(step, Pause(released), reached=pause)
        with suppress(TimeoutError):
            async with asyncio.timeout(REACH_SECONDS):
                await reached.wait()
        pause()
        for server in duel.stage.servers.values():
            server.peer.script.clear()
        await duel.taken_over()
        released.set()
        await duel.linger()
        duel.leader.installation.signal(signal.SIGCONT)

    return rivalry


async def _killed(duel: Duel) -> None:
    """The leader is killed, and started again before or after its rival leads."""
    await duel.leader.kill()
    duel.stage.figures.kills += 1
    if duel.random.random() < 0.7:
        await duel.taken_over()
    duel.leader.launch()


async def _killed_in_takeover(duel: Duel) -> None:
    """The leader is killed, and its rival as well, at the first thing it writes in its place."""
    reached = asyncio.Event()
    stored = duel.random.random() < 0.5

    def strike() -> None:
        # A write may be done so late that the rival was killed without, and started again.
        if not reached.is_set():
            duel.rival.strike()
            reached.set()

    def judge(write: Write) -> Fault:
        if not is_ledger_patch(write) or reached.is_set():
            return None
        if stored:
            return Withhold(strike)
        strike()
        return Hold()

    await duel.leader.kill()
    duel.rival.proxy.judge = judge
    with suppress(TimeoutError):
        async with asyncio.timeout(TAKEOVER_SECONDS):
            await reached.wait()
    reached.set()
    await duel.rival.kill()
    duel.stage.figures.kills += 2
    duel.rival.proxy.behave()
    for operator in duel.random.sample([duel.leader, duel.rival], 2):
        operator.launch()
        await duel.linger()


async def _stopped(duel: Duel) -> None:
    """The leader is asked to stop, and started again."""
    await duel.leader.stop(begun=False)
    await duel.taken_over()
    duel.leader.launch()


RIVALRIES: Final[dict[str, Rivalry]] = {
    "cut off": _apart(lambda random: LoseRequest()),
    "no answers": _deaf,
    "silence": _apart(lambda random: Hold(), cut=False),
    "stalls": _apart(lambda random: Stall(random.uniform(0, LONGEST_STALL))),
    "no Lease": _without_lease,
    "rival cut off": _rival_apart,
    "both cut off": _both_apart,
    "paused": _paused,
    "paused in the message": _paused_at(Step.BODY),
    "paused after the final dot": _paused_at(Step.END),
    "killed": _killed,
    "killed during take-over": _killed_in_takeover,
    "SIGTERM": _stopped,
}
"""All rivalries."""
