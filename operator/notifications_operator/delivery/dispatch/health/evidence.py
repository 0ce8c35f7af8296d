"""Evidence for refusals that do not say whose fault they are; pure.

A permanent refusal without a culprit is final for its recipient only once the processor has
accepted something after it: until then nobody knows whether it refuses everybody alike. Until
then the delivery is held: it is tried again, at no attempt's cost.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ....processors.errors import DeliveryError

Delivery = tuple[str, str]
"""Uid of a Notification, and recipient."""

Pending = Callable[[], Iterable[tuple[str, Iterable[str]]]]
"""Returns what a processor has to send: uids of Notifications, and the recipients of each."""

RECIPIENTS = 5
"""Recipients that must have got the same refusal before it counts as the processor's."""

DOMAINS = 3
"""Domains that they must belong to."""

NOTIFICATIONS = 2
"""Notifications that they must belong to."""

FEWEST = 2
"""Recipients that are a pattern if no more are pending: one refusal is none."""

FIRST_HOLD = 2.0
"""Seconds after which a held delivery is tried again; twice as long each further time."""

LONGEST_HOLD = 900.0
"""Most seconds between two attempts of a held delivery."""

HELD_LIMIT = 1024
"""Most deliveries of a processor that are remembered as held."""

PATTERN_LIMIT = 64
"""Refusals that are remembered of each reply."""

PATTERNS_LIMIT = 32
"""Most different replies that are remembered."""

FORGET_SECONDS = 2 * LONGEST_HOLD
"""A held delivery that was not tried again for so long gives way to others."""

_LONG_SCAN = 0.01
"""Seconds that a look at what is pending may take; after a longer one the next look waits."""


class Acceptances:
    """The order of refusals and accepted sends of one processor, counted instead of timed.

    A send carries `now` of the moment it began: only one that began after a refusal, and was
    accepted, says something about that refusal.
    """

    def __init__(self) -> None:
        self.now = 0
        self._newest = 0

    def refusal(self) -> int:
        """Count a refusal and return its number."""
        self.now += 1
        return self.now

    def accepted(self, began: int) -> None:
        """Note that a send was accepted which began at some number."""
        if began > self._newest:
            self._newest = began

    def since(self, refusal: int) -> bool:
        """Whether a send was accepted that began after a refusal."""
        return self._newest >= refusal


class Judgement(StrEnum):
    """The party at fault for a refusal, as far as the evidence goes."""

    RECIPIENT = "recipient"
    """The recipient's: the refusal is final."""

    OPEN = "open"
    """Not clear yet: the delivery is held."""

    PROCESSOR = "processor"
    """The processor's: it pauses, and the delivery is held."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hold:
    """A held delivery: the number and signature of its last refusal, and how many there were."""

    number: int
    signature: str
    times: int
    moment: float


@dataclass(kw_only=True, slots=True)
class _Pattern:
    """Refusals with one signature, with the domain of each recipient; the oldest first."""

    refused: OrderedDict[Delivery, tuple[int, str]] = field(default_factory=OrderedDict)

    @property
    def recipients(self) -> set[str]:
        """The recipients that were refused."""
        return {recipient for _, recipient in self.refused}

    def add(self, delivery: Delivery, number: int, domain: str) -> None:
        self.refused.pop(delivery, None)
        self.refused[delivery] = (number, domain)
        if len(self.refused) > PATTERN_LIMIT:
            self.refused.popitem(last=False)

    def forget_refuted(self, order: Acceptances) -> None:
        """Drop refusals after which something was accepted."""
        while self.refused:
            delivery, (number, _) = next(iter(self.refused.items()))
            if not order.since(number):
                return
            del self.refused[delivery]


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """The evidence against a processor: a reply, and the Notifications that met with it."""

    signature: str
    number: int
    recipients: int
    notifications: frozenset[str]


class Evidence:
    """Refusals of one processor's deliveries that may be the processor's fault.

    Parameters
    ----------
    order
        Says what was accepted after which refusal.
    clock
        Seconds.
    """

    def __init__(self, order: Acceptances, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._order = order
        self._clock = clock
        self._held: OrderedDict[Delivery, _Hold] = OrderedDict()
        self._patterns: OrderedDict[str, _Pattern] = OrderedDict()
        self._found: Pattern | None = None
        self._next_scan = 0.0

    @property
    def found(self) -> Pattern | None:
        """The pattern that speaks against the processor, until a send refutes it."""
        if self._found is not None and self._order.since(self._found.number):
            self._found = None
        return self._found

    def holds(self, delivery: Delivery) -> bool:
        """Whether a delivery is held."""
        return delivery in self._held

    def accepted(self, delivery: Delivery) -> None:
        """Note that a delivery was accepted: what it met with before is no word against it."""
        if self._held:
            self._held.pop(delivery, None)

    def hold_seconds(self, delivery: Delivery) -> float:
        """Return after how long a held delivery is tried again."""
        hold = self._held.get(delivery)
        doublings = min(hold.times - 1, 16) if hold else 16
        return min(FIRST_HOLD * 2.0**doublings, LONGEST_HOLD)

    def judge(
        self,
        delivery: Delivery,
        signature: str,
        *,
        domain: Callable[[str], str],
        pending: Pending,
        comes_again: bool = False,
    ) -> Judgement:
        """Judge a permanent refusal that does not say whose fault it is.

        Parameters
        ----------
        delivery
            What was refused.
        signature
            What the reply has in common with other replies.
        domain
            Returns the domain of a recipient's address.
        pending
            What else the processor has to send; the delivery itself may be there too.
        comes_again
            Whether the delivery is tried again even if the refusal is its recipient's.
        """
        number = self._order.refusal()
        before = self._held.pop(delivery, None)
        known = before is not None and before.signature == signature
        if before is not None and known and self._order.since(before.number):
            if comes_again:
                # What was shown once holds for the next attempts too.
                self._held[delivery] = replace(before, moment=self._clock())
            return Judgement.RECIPIENT
        pattern = self._pattern(signature)
        pattern.add(delivery, number, domain(delivery[1]))
        self._hold(delivery, number, signature, before)
        found = self.found
        if found is not None and found.signature == signature:
            self._find(signature, found.number, pattern)
            return Judgement.OPEN
        judgement = self._compare(pattern, domain, pending)
        if judgement is Judgement.PROCESSOR:
            self._find(signature, number, pattern)
        return judgement

    def _compare(
        self, pattern: _Pattern, domain: Callable[[str], str], pending: Pending
    ) -> Judgement:
        """Compare what was refused with what is pending, unless that would cost too much."""
        begin = self._clock()
        if begin < self._next_scan:
            return Judgement.OPEN
        found = self._is_evidence(pattern, domain, pending)
        end = self._clock()
        if end - begin > _LONG_SCAN:
            self._next_scan = end + 20 * (end - begin)
        return Judgement.PROCESSOR if found else Judgement.OPEN

    def _pattern(self, signature: str) -> _Pattern:
        pattern = self._patterns.pop(signature, None) or _Pattern()
        pattern.forget_refuted(self._order)
        self._patterns[signature] = pattern
        if len(self._patterns) > PATTERNS_LIMIT:
            self._patterns.popitem(last=False)
        return pattern

    def _hold(self, delivery: Delivery, number: int, signature: str, before: _Hold | None) -> None:
        """Remember a held delivery.

        One for which there is no room is held all the same: it comes again when others were
        settled, and is then taken for new.
        """
        now = self._clock()
        if len(self._held) >= HELD_LIMIT:
            oldest, hold = next(iter(self._held.items()))
            if now - hold.moment < FORGET_SECONDS:
                return
            del self._held[oldest]
        times = before.times + 1 if before else 1
        self._held[delivery] = _Hold(number=number, signature=signature, times=times, moment=now)

    def _find(self, signature: str, number: int, pattern: _Pattern) -> None:
        before = self._found.notifications if self._found else frozenset()
        self._found = Pattern(
            signature=signature,
            number=number,
            recipients=len(pattern.recipients),
            notifications=before | {uid for uid, _ in pattern.refused},
        )

    def _is_evidence(
        self, pattern: _Pattern, domain: Callable[[str], str], pending: Pending
    ) -> bool:
        """Whether enough deliveries were refused alike, or all that are pending.

        Fewer recipients than `RECIPIENTS` count only while they are pending themselves.
        """
        refused: Collection[Delivery] = pattern.refused
        if len(pattern.recipients) < RECIPIENTS:
            refused = [delivery for delivery in refused if delivery in self._held]
        recipients = {recipient for _, recipient in refused}
        uids = {uid for uid, _ in refused}
        domains = {pattern.refused[delivery][1] for delivery in refused}
        return (
            len(recipients) >= FEWEST
            and _covers(RECIPIENTS, recipients, _recipients(pending))
            and _covers(NOTIFICATIONS, uids, _notifications(pending))
            and _covers(DOMAINS, domains, map(domain, _recipients(pending)))
        )


def signature_of(error: DeliveryError) -> str:
    """Return what makes two refusals the same."""
    return error.signature or f"{error.reason} {error.code} {error.enhanced_code}"


def _recipients(pending: Pending) -> Iterable[str]:
    return (recipient for _, recipients in pending() for recipient in recipients)


def _notifications(pending: Pending) -> Iterable[str]:
    return (uid for uid, recipients in pending() if any(True for _ in recipients))


def _covers(enough: int, seen: Collection[str], pending: Iterable[str]) -> bool:
    """Whether what was seen is enough, or all that is pending."""
    return len(seen) >= enough or all(item in seen for item in pending)
