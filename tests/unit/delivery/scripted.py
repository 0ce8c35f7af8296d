"""A processor that follows a script."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from notifications_operator.api.reasons import Reason
from notifications_operator.catalog import Directory
from notifications_operator.processors.base import (
    Audience,
    Limits,
    OutboundNotification,
    Processor,
    ProcessorContext,
    SecretKey,
    SendContext,
    Target,
    delivery_identity,
)
from notifications_operator.processors.errors import (
    DeliveryError,
    Outcome,
    Receipt,
    Skip,
)

Answer = Outcome | BaseException | asyncio.Event | Sequence[Any] | None


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One delivery that a processor was asked to make."""

    recipient: str
    identity: str
    revision: int
    redelivery: int
    title: str


@dataclass
class Script:
    """What one processor answers, and what it was asked.

    ``answers`` are given in turn to a recipient, or to anybody under ``"*"``, and then receipts:
    outcomes, exceptions to raise, events to wait for, or anything else to return as it is.
    """

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    always: dict[str, Callable[[], Outcome]] = field(default_factory=dict)
    """Answers for ever, where `answers` has none."""
    domains: dict[str, str] = field(default_factory=dict)
    """Domains of recipients; ``example.com`` unless it is here."""
    gate: asyncio.Event | None = None
    """Sends wait for it before they answer."""
    verify_errors: deque[BaseException] = field(default_factory=deque)
    create_error: BaseException | None = None
    targets_error: BaseException | None = None
    domain_error: BaseException | None = None
    skips: dict[str, Skip] = field(default_factory=dict)
    first_only: bool = False
    """All users have one address, so that only the first is sent to."""
    only: Sequence[str] | None = None
    """Recipients to name instead of the users."""
    concurrency: int = 8
    starts: int = 0
    interval: timedelta = timedelta()
    max_batch: int = 1
    secret: SecretKey | None = None
    idempotent: bool = False
    reaches_strangers: bool = False
    remembered: Any = ()
    """Users whom it can send to without their entities."""
    channel: str = ""
    suffix: str = ""
    """Decorates titles."""

    sent: list[Sent] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    made: int = 0
    verified: int = 0
    closed: int = 0
    closed_while_sending: bool = False
    sending: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def recipients(self) -> list[str]:
        """Recipients in the order in which they were sent to."""
        return [item.recipient for item in self.sent]

    def answer(self, recipient: str) -> Answer:
        """Return the next answer for a recipient."""
        for key in (recipient, "*"):
            if self.answers.get(key):
                return self.answers[key].pop(0)
        for key in (recipient, "*"):
            if key in self.always:
                return self.always[key]()
        return Receipt(message="accepted")


class Scripted(Processor):
    """Does what its script says."""

    script: Script

    def __init__(self, context: ProcessorContext) -> None:
        super().__init__(context)
        self.script.made += 1
        if self.script.create_error is not None:
            raise self.script.create_error

    @classmethod
    def secret_keys(cls, spec: Any) -> Sequence[SecretKey]:
        return [cls.script.secret] if cls.script.secret else []

    @property
    def limits(self) -> Limits:
        script = self.script
        return Limits(
            concurrency=script.concurrency, starts=script.starts, interval=script.interval
        )

    async def verify(self) -> None:
        self.script.verified += 1
        self.script.changed.set()
        if self.script.verify_errors:
            raise self.script.verify_errors.popleft()

    def decorate(self, notification: OutboundNotification) -> OutboundNotification:
        if not self.script.suffix:
            return notification
        title = notification.payload.title + self.script.suffix
        payload = notification.payload.model_copy(update={"title": title})
        return OutboundNotification(**{**notification.__dict__, "payload": payload})

    def remembers(self, user: str) -> bool:
        return user in self.script.remembered

    def targets(self, notification: OutboundNotification, audience: Audience) -> Sequence[Target]:
        if self.script.targets_error is not None:
            raise self.script.targets_error
        names = self.script.only
        if names is None:
            names = [str(user.ref) for user in audience.users]
            if self.script.reaches_strangers:
                names += [str(ref) for ref in audience.strangers]
            names += [str(ref) for ref in audience.members_without_entity]
        skips = dict(self.script.skips)
        if not self.script.reaches_strangers:
            unknown = Skip(reason=Reason.UNKNOWN_ENTITIES, message="there is no entity")
            skips |= {str(ref): unknown for ref in audience.members_without_entity}
        targets = [Target(recipient=name, skip=skips.get(name)) for name in names]
        if self.script.first_only:
            duplicate = Skip(reason=Reason.DUPLICATE_ADDRESS, message="the same address")
            targets[1:] = [replace(target, skip=duplicate) for target in targets[1:]]
        return targets

    def domain(self, recipient: str, directory: Directory) -> str:
        if self.script.domain_error is not None:
            raise self.script.domain_error
        return self.script.domains.get(recipient, "example.com")

    async def send(
        self, notification: OutboundNotification, recipients: Sequence[str], context: SendContext
    ) -> Sequence[Outcome]:
        script = self.script
        script.started.extend(recipients)
        script.changed.set()
        script.sending += 1
        try:
            if script.gate is not None:
                await script.gate.wait()
            for recipient in recipients:
                script.sent.append(
                    Sent(
                        recipient=recipient,
                        identity=delivery_identity(notification, self.name, recipient),
                        revision=notification.revision,
                        redelivery=notification.redelivery,
                        title=notification.payload.title,
                    )
                )
            script.changed.set()
            return await self._outcomes(recipients)
        finally:
            script.sending -= 1

    async def _outcomes(self, recipients: Sequence[str]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for recipient in recipients:
            answer = self.script.answer(recipient)
            if isinstance(answer, asyncio.Event):
                await answer.wait()
                answer = Receipt()
            match answer:
                case DeliveryError() | Receipt() | Skip() as outcome:
                    outcomes.append(outcome)
                case BaseException() as failure:
                    raise failure
                case anything:
                    return anything  # type: ignore[return-value]
        return outcomes

    async def close(self) -> None:
        self.script.closed += 1
        self.script.closed_while_sending |= self.script.sending > 0


def scripted(script: Script) -> type[Processor]:
    """Return a type of processors that follow a script."""
    attributes = {
        "script": script,
        "max_batch": script.max_batch,
        "idempotent": script.idempotent,
        "reaches_strangers": script.reaches_strangers,
        "default_channel": script.channel,
    }
    return type("ScriptedProcessor", (Scripted,), attributes)
