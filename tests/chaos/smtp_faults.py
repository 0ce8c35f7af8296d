"""The campaign of SMTP faults: mail servers refuse, hang, vanish and lose answers at random.

Others bear a grudge that lasts: against a recipient, a domain, the sender or everybody.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random
from typing import Final

from tests.support.installation import Installation
from tests.support.smtp import (
    CertificateAuthority,
    Drop,
    Hang,
    Raw,
    Reply,
    Reset,
    SMTPPeer,
    Step,
    TLSMode,
)
from tests.support.smtp.script import Action, Fault, Script

from .figures import Figures
from .grudges import Culprit, Grudge, bear_grudges, held_up, wrongly_ended
from .ledgers import rows_of
from .servers import MailServer
from .stage import Stage, stage
from .workload import Workload

SETTLE_SECONDS = 120.0
"""Within so many seconds after the mail servers behave everything must be complete."""

STAND_SECONDS = 60.0
"""Within so many seconds everybody must have been reached whom no grudge is against."""

LONGEST_ROUND = 3.0
"""Seconds between two changes of a mail server's behaviour."""

_VANISH: Final[tuple[Action, ...]] = (Drop(), Reset(), Hang(), Raw(b"\x00\xff nonsense\r\n"))
_BUSY: Final = Reply("421 4.3.2 shutting down", close=True)

FAULTS: Final[dict[Step, tuple[Action, ...]]] = {
    Step.CONNECT: (*_VANISH, _BUSY, Reply("554 5.3.2 no service here", close=True)),
    Step.EHLO: (*_VANISH, _BUSY, Reply("451 4.3.0 not now"), Reply("550 5.0.0 no")),
    Step.STARTTLS: (*_VANISH, _BUSY, Reply("454 4.7.0 TLS not available")),
    Step.AUTH: (*_VANISH, _BUSY, Reply("454 4.7.0 temporarily"), Reply("535 5.7.8 refused")),
    Step.MAIL: (
        *_VANISH,
        _BUSY,
        Reply("452 4.3.1 insufficient system storage"),
        Reply("451 4.3.0 not now"),
        Reply("550 5.7.1 not this sender"),
    ),
    Step.RCPT: (
        *_VANISH,
        _BUSY,
        Reply("450 4.2.1 mailbox busy"),
        Reply("451 4.7.1 slow down"),
        Reply("452 4.2.2 mailbox full"),
        Reply("452 4.5.3 too many recipients"),
        Reply("550 5.1.1 no such user"),
    ),
    Step.DATA: (
        *_VANISH,
        _BUSY,
        Reply("451 4.3.0 not now"),
        Reply("452 4.3.1 insufficient system storage"),
        Reply("554 5.6.0 not this message"),
        Reply("250 2.0.0 what?"),
    ),
    Step.BODY: (Drop(), Reset(), Hang()),
    Step.END: (
        *_VANISH,
        _BUSY,
        Reply("451 4.3.0 not now"),
        Reply("452 4.3.1 insufficient system storage"),
        Reply("552 5.2.2 mailbox full"),
        Reply("554 5.6.0 not this message"),
    ),
    Step.RSET: (*_VANISH, _BUSY, Reply("500 5.5.1 what?")),
    Step.NOOP: (*_VANISH, _BUSY),
    Step.QUIT: (*_VANISH, Reply("500 5.5.1 what?")),
}
"""What may happen at each step; one that is not a reply may have been recorded before."""

REFUSED_MESSAGES: Final = frozenset({Reply("554 5.6.0 not this message")})
"""Refusals of the message itself, after which its other deliveries need not be tried."""


class RandomScript(Script):
    """Lets any step fail with some probability, and tells its server what that means.

    Attributes
    ----------
    share
        The probability, from 0 to 1.
    full
        Whether the disk is full: no message is taken.
    counts
        Faults by step.
    """

    def __init__(self, random: Random, server: MailServer) -> None:
        super().__init__()
        self.share = 0.0
        self.full = False
        self.counts: Counter[str] = Counter()
        self._random = random
        self._server = server

    def next(self, step: Step, recipient: str | None = None) -> Fault | None:
        """Return the fault of this step, if fate wants one."""
        if self.full and step in (Step.MAIL, Step.END):
            self.counts["full"] += 1
            return Fault(step=step, action=Reply("452 4.3.1 insufficient system storage"))
        if step not in FAULTS or self._random.random() >= self.share:
            return None
        action = self._random.choice(FAULTS[step])
        self.counts[step] += 1
        recorded = step is Step.END and not isinstance(action, Reply)
        if isinstance(action, Reply) and action.text.startswith("5") and recipient is not None:
            self._server.refused[recipient] += 1
            self._server.refused_messages[recipient] += action in REFUSED_MESSAGES
        if step is Step.BODY and recipient is not None:
            self._server.interrupted.add(recipient)
        return Fault(step=step, action=action, recorded=recorded and self._random.random() < 0.5)


async def run(installation: Installation, *, seed: int, rounds: int) -> Figures:
    """Let mail servers misbehave so many times and judge what became of the work."""
    figures = Figures(campaign="smtp", seed=seed)
    random = Random(f"smtp {seed}")
    servers = _servers(seed)
    scripts = {server.processor: _misbehave(server, random) for server in servers}
    bearers = [MailServer(processor=f"{name}-{seed}") for name in Culprit]
    grudges = bear_grudges(bearers, random)
    servers += bearers
    async with stage([installation], servers, figures, impatient=True) as one:
        work = Workload(seed, namespace=one.namespace, processors=[*one.servers])
        for _ in range(rounds):
            await one.create(work.jobs(random.randint(1, 3)))
            await one.edit_some(random)
            script = random.choice([*scripts.values()])
            script.share = random.choice([0, 0.02, 0.1, 0.3])
            script.full = random.random() < 0.2
            await asyncio.sleep(random.uniform(0.2, LONGEST_ROUND))
            one.check_alive()
        for script in scripts.values():
            script.share, script.full = 0.0, False
            for step, times in script.counts.items():
                figures.instants[str(step)] = figures.instants.get(str(step), 0) + times
        await _stand(one, grudges)
        for grudge in grudges:
            grudge.lift()
            name = f"{grudge.culprit}: {grudge.refusal.text}"
            figures.instants[name] = figures.instants.get(name, 0) + grudge.times
        await one.finish(seconds=SETTLE_SECONDS)
        return await one.conclude()


async def _stand(one: Stage, grudges: list[Grudge]) -> None:
    """Wait until everybody is reached whom no grudge is against; note who is not, and who failed.

    What failed by a server that has no grudge was refused at random before.
    """
    end = time.monotonic() + STAND_SECONDS
    expected = {
        key: expectation
        for job in one.jobs.values()
        for key, expectation in job.expected.items()
        if key.processor in {grudge.processor for grudge in grudges}
    }
    while True:
        rows = [row for body in await one.bodies() for row in rows_of(body)]
        late = list(held_up(expected, rows, grudges))
        if not late or time.monotonic() > end:
            break
        await asyncio.sleep(0.5)
    one.held_up += late
    one.held_up += wrongly_ended(rows, grudges)


def _servers(seed: int) -> list[MailServer]:
    certificate = CertificateAuthority().valid()
    secured = SMTPPeer(
        tls=TLSMode.STARTTLS, certificate=certificate, username="chaos", password="chaos-password"
    )
    return [
        MailServer(processor=f"resend-{seed}", peer=SMTPPeer(max_messages=3)),
        MailServer(processor=f"hold-{seed}", hold=True),
        MailServer(processor=f"grey-{seed}", peer=SMTPPeer(greylist=True)),
        MailServer(processor=f"secured-{seed}", peer=secured, secret=f"secured-{seed}"),
    ]


def _misbehave(server: MailServer, random: Random) -> RandomScript:
    script = RandomScript(random, server)
    server.peer.script = script
    return script
