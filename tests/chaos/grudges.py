"""Refusals that stand for as long as a campaign lasts, each with a culprit of its own.

A mail server with a grudge refuses one recipient, one domain, one sender or everybody, always in
the same words. A grudge against the sender, or against everybody, must fail nobody. One against a
recipient or a domain must delay nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from tests.support.smtp import Reply, Step
from tests.support.smtp.script import Fault, Script

from .evidence import Expectation, Key, Row
from .servers import SENDER, MailServer
from .workload import DOMAINS, USERS, address_of


class Culprit(StrEnum):
    """The party that a grudge is held against."""

    RECIPIENT = "recipient"
    DOMAIN = "domain"
    SENDER = "sender"
    EVERYBODY = "everybody"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A server's refusal, and the step at which it is given.

    Attributes
    ----------
    text
        The reply; ``{rcpt}`` stands for the recipient's address and ``{sender}`` for the sender's.
    """

    step: Step
    text: str


REFUSALS: Final[dict[Culprit, tuple[Refusal, ...]]] = {
    Culprit.RECIPIENT: (
        Refusal(step=Step.RCPT, text="454 4.7.1 <{rcpt}>: Relay access denied"),
        Refusal(step=Step.RCPT, text="530 5.7.1 Authentication required"),
        Refusal(step=Step.RCPT, text="535 5.7.8 Error: authentication failed"),
        Refusal(
            step=Step.RCPT,
            text="550 5.1.1 <{rcpt}>: Recipient address rejected: "
            "User unknown in virtual mailbox table",
        ),
        Refusal(step=Step.RCPT, text="550 5.7.1 Access denied"),
        Refusal(step=Step.RCPT, text="550 Requested action not taken"),
        Refusal(step=Step.END, text="552 5.2.2 mailbox full"),
        Refusal(step=Step.END, text="554 Transaction failed"),
    ),
    Culprit.DOMAIN: (
        Refusal(step=Step.RCPT, text="550 5.1.2 <{rcpt}>: Recipient address rejected: no domain"),
        Refusal(step=Step.RCPT, text="554 5.7.1 <{rcpt}>: Relay access denied"),
        Refusal(step=Step.RCPT, text="451 4.4.1 no answer from host"),
        Refusal(step=Step.RCPT, text="550 Rejected"),
    ),
    Culprit.SENDER: (
        Refusal(
            step=Step.RCPT,
            text="553 5.7.1 <{sender}>: Sender address rejected: not owned by user relay",
        ),
        Refusal(
            step=Step.END,
            text="554 Message rejected: Email address is not verified. The following identities "
            "failed the check in region EU-WEST-1: {sender}",
        ),
        Refusal(step=Step.END, text="550 5.4.5 Daily user sending limit exceeded."),
        Refusal(step=Step.MAIL, text="550 5.1.0 <{sender}>: Sender rejected"),
    ),
    Culprit.EVERYBODY: (
        Refusal(
            step=Step.RCPT,
            text="554 5.7.1 Service unavailable; Client host [10.0.0.5] blocked using "
            "zen.spamhaus.org",
        ),
        Refusal(step=Step.RCPT, text="550 5.7.1 Access denied"),
        Refusal(step=Step.RCPT, text="550 Rejected"),
        Refusal(step=Step.END, text="554 Transaction failed"),
    ),
}
"""Refusals for each culprit: some name it by words and codes, some do not."""


class Grudge(Script):
    """Refusals of one mail server until they are lifted; a script of its peer.

    Parameters
    ----------
    server
        Whose peer it is; it is told of refusals for good.
    culprit
        What it is against.
    random
        Chooses the words, and whom.
    """

    def __init__(self, server: MailServer, culprit: Culprit, random: Random) -> None:
        super().__init__()
        self.culprit = culprit
        self.refusal = random.choice(REFUSALS[culprit])
        self.times = 0
        self._server = server
        self._lifted = False
        domain = random.choice(DOMAINS)
        self._targets = frozenset(
            {
                Culprit.RECIPIENT: random.sample(USERS, len(USERS) // 10),
                Culprit.DOMAIN: [user for user in USERS if address_of(user).endswith(domain)],
            }.get(culprit, USERS)
        )

    @property
    def processor(self) -> str:
        """The processor that meets with it."""
        return self._server.processor

    @property
    def is_of_processor(self) -> bool:
        """Whether no recipient is to blame."""
        return self.culprit in (Culprit.SENDER, Culprit.EVERYBODY)

    def lift(self) -> None:
        """Refuse nobody any more."""
        self._lifted = True

    def is_against(self, recipient: str) -> bool:
        """Whether a user's mail is refused."""
        return recipient in self._targets

    def next(self, step: Step, recipient: str | None = None) -> Fault | None:
        """Return the refusal, if it is due at this step."""
        if self._lifted or step is not self.refusal.step:
            return None
        if recipient is not None:
            if not self.is_against(recipient.partition("@")[0]):
                return None
            if self.refusal.text.startswith("5"):
                self._server.refused[recipient] += 1
        self.times += 1
        text = self.refusal.text.format(rcpt=recipient or "", sender=SENDER)
        return Fault(step=step, action=Reply(text))


def bear_grudges(servers: Sequence[MailServer], random: Random) -> list[Grudge]:
    """Give each server a grudge, one against each kind of culprit in turn."""
    culprits = [*Culprit]
    grudges = []
    for number, server in enumerate(servers):
        grudge = Grudge(server, culprits[number % len(culprits)], random)
        server.peer.script = grudge
        grudges.append(grudge)
    return grudges


def held_up(
    expected: dict[Key, Expectation], rows: Iterable[Row], grudges: Iterable[Grudge]
) -> Iterator[str]:
    """Name the deliveries that nothing stands in the way of and that are not sent yet."""
    by_processor = {grudge.processor: grudge for grudge in grudges}
    states = {row.key: row.state for row in rows}
    for key, expectation in expected.items():
        grudge = by_processor.get(key.processor)
        if expectation is not Expectation.MAIL:
            continue
        if grudge is not None and grudge.is_against(key.recipient):
            continue
        if (state := states.get(key, "not there")) != "Sent":
            yield f"{key.notification} to {key.recipient} by {key.processor} is {state}"


def wrongly_ended(rows: Iterable[Row], grudges: Iterable[Grudge]) -> Iterator[str]:
    """Name the deliveries that failed by what no recipient is to blame for."""
    by_processor = {grudge.processor: grudge for grudge in grudges}
    for row in rows:
        grudge = by_processor.get(row.key.processor)
        if grudge is None or row.state not in ("Failed", "Skipped"):
            continue
        if grudge.is_of_processor and row.state == "Failed":
            yield (
                f"{row.key.notification} to {row.key.recipient} by {row.key.processor} failed "
                f"({row.reason}), and {grudge.culprit} is to blame: {grudge.refusal.text}"
            )
