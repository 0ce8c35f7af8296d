"""Installs that disagree, under faults at random: never two lead, and no epoch comes twice."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from notifications_operator.api.errors import ConflictError, UnavailableError
from tests.unit.kube.electorate import CHOSEN, DURATION, FIRST, FORMER, SECOND, Electorate, Member
from tests.unit.kube.leases import Fault


class Chaos:
    """Faults at random, time that passes, and processes that end and begin."""

    CHOICES = (CHOSEN, "mail-a", "mail-b")

    def __init__(self, electorate: Electorate, seed: int) -> None:
        self._electorate = electorate
        self._random = Random(seed)
        self.led: list[int] = []
        electorate.leases.fault = self._fault

    def check(self) -> None:
        """At most one leads, and under an epoch that nobody else had."""
        leaders = self._electorate.leaders
        assert len(leaders) <= 1, [(found.identity, found.epoch) for found in leaders]
        for epoch in (found.epoch for found in leaders):
            assert epoch is not None
            if not self.led or self.led[-1] != epoch:
                assert epoch > max(self.led, default=0)
                self.led.append(epoch)

    def _fault(self, operation: str, namespace: str, name: str) -> Fault:
        if self._random.random() < 0.2:
            return self._random.choice([UnavailableError("down"), ConflictError("changed")])
        self._electorate.leases.lose_next_answer = self._random.random() < 0.1
        if self._random.random() < 0.5:
            return None
        arrives = asyncio.Event()
        asyncio.get_running_loop().call_later(self._random.uniform(0, 0.01), arrives.set)
        return arrives

    async def strike(self) -> None:
        electorate, random = self._electorate, self._random
        match random.choice(["time", "time", "time", "kill", "stop", "join"]):
            case "time":
                electorate.now += random.choice([0.5, DURATION / 3, DURATION - 1, DURATION])
            case "kill" | "stop" as end if len(electorate.members) > 1:
                member = random.choice(electorate.members)
                await (member.kill() if end == "kill" else member.stop())
                electorate.members.remove(member)
            case _ if len(electorate.members) < 4:
                self.join()
        for _ in range(random.randrange(30)):
            await asyncio.sleep(0)
        await asyncio.sleep(random.choice([0, 0.005, 0.02]))
        self.check()

    def join(self) -> Member:
        random, electorate = self._random, self._electorate
        install = random.choice([FIRST, SECOND])
        pod = f"pod{random.randrange(10**9)}"
        return electorate.join(install, pod, chosen=random.choice(self.CHOICES))


@pytest.mark.parametrize("seed", range(8))
async def test_never_two_lead(electorate: Electorate, seed: int) -> None:
    """Installs that disagree, with a Lease of earlier releases, under faults."""
    electorate.hold("", "mail-a", FORMER)
    chaos = Chaos(electorate, seed)
    for _ in range(3):
        chaos.join()
    for _ in range(60):
        await chaos.strike()
    electorate.leases.fault = lambda *_: None
    for member in electorate.members[1:]:
        await member.stop()
    del electorate.members[1:]
    while not electorate.leaders:
        electorate.now += 1
        await asyncio.sleep(0.005)
        chaos.check()
    assert len(chaos.led) > 1
