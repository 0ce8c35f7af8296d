"""Health of one processor, judged by the outcomes of its sends; no I/O.

A refusal of the whole processor opens its breaker. After a pause, and once connecting and logging
in works, one delivery at a time probes it, until one is accepted: only that shows that it is over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import StrEnum
from random import randrange

from ....api.reasons import Reason
from ....processors.errors import DeliveryError, LeaseLost, Scope
from ....telemetry import metrics
from ...ledger.outcomes import Held, charged
from ...ledger.rows import Row
from .breaker import Breaker, Slowdown
from .evidence import (
    FIRST_HOLD,
    Acceptances,
    Delivery,
    Evidence,
    Judgement,
    Pending,
    signature_of,
)
from .readiness import CONNECTED, CONNECTING, Readiness
from .suspects import Suspects, Suspicion

logger = logging.getLogger(__name__)

_LOAD = frozenset({Reason.RATE_LIMITED, Reason.SERVER_BUSY})
"""Reasons that pass by themselves when less is sent."""

_UNANSWERED = frozenset(
    {Reason.CONNECT_FAILED, Reason.DNS_FAILED, Reason.TIMEOUT, Reason.TLS_FAILED}
)
"""Reasons that, without a reply, cannot be about what was to be sent."""

_VERIFIABLE = _UNANSWERED | {Reason.AUTH_FAILED}
"""Reasons that a trial without a delivery usually shows to be over."""


class Stage(StrEnum):
    """Amount that a processor may send."""

    OPEN = "open"
    """As much as its limits allow."""

    PROBING = "probing"
    """One delivery at a time, preferably of Notifications that were not refused."""

    PROBING_OTHERS = "probing others"
    """One delivery at a time, and only of Notifications that were not refused."""

    PAUSED = "paused"
    """Nothing."""


class Health:
    """Judges the outcomes of a processor and says whether, and what, it may send.

    Parameters
    ----------
    name
        The processor's.
    pending
        What it has to send.
    clock
        Seconds.
    """

    def __init__(
        self, name: str, *, pending: Pending, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._pending = pending
        self._clock = clock
        self.changed = False
        """Set when `stage` or `readiness` may have changed by what was sent."""
        self.reset()

    def reset(self) -> None:
        """Forget everything: the processor was made anew."""
        self._order = Acceptances()
        self._evidence = Evidence(self._order, clock=self._clock)
        self._suspects = Suspects(self._order)
        self._breaker = Breaker()
        self._slowdown = Slowdown()
        self._verified = False
        self._pause: DeliveryError | None = None
        self._refusal: DeliveryError | None = None
        self._slow = False
        self._lifted = False
        self._stopped_at = 0
        self._probe: int | None = None
        self._behind: frozenset[str] = frozenset()
        self._may_probe_others = False
        self.next_trial = 0.0
        self.changed = False

    def take_over(self) -> None:
        """Forget what was refused before another process sent: it may be over since.

        A pause goes on, as it spares an account that the other side may lock.
        """
        self._evidence = Evidence(self._order, clock=self._clock)
        self._suspects = Suspects(self._order)
        self._refusal, self._lifted = None, False
        self._behind, self._may_probe_others = frozenset(), False
        self.changed = True

    @property
    def stage(self) -> Stage:
        """The amount that may be sent now."""
        if self._pause is not None:
            others = self._may_probe_others and not self._slow
            return Stage.PROBING_OTHERS if others else Stage.PAUSED
        if not self._verified:
            return Stage.PAUSED
        return Stage.OPEN if self._refusal is None else Stage.PROBING

    @property
    def now(self) -> int:
        """The number of a trial that begins."""
        return self._order.now

    @property
    def behind(self) -> frozenset[str]:
        """Notifications that probe after all others, as they were refused."""
        return self._behind

    @property
    def paused(self) -> bool:
        """Whether it pauses until `next_trial`."""
        return self._pause is not None

    @property
    def trial_due(self) -> bool:
        """Whether it is time to verify the processor, or to go on without."""
        return (self._pause is not None or not self._verified) and self._clock() >= self.next_trial

    @property
    def needs_trial(self) -> bool:
        """Whether the processor must be verified before it goes on."""
        return not self._verified

    @property
    def is_probing(self) -> bool:
        """Whether a refusal stands that only an accepted delivery refutes."""
        return self._refusal is not None

    @property
    def breaker_open(self) -> bool:
        """Whether the processor fails as a whole, as far as is known."""
        return self._refusal is not None or (self._pause is not None and not self._slow)

    @property
    def readiness(self) -> Readiness:
        """Readiness for the ``Ready`` condition."""
        error = self._refusal or (None if self._slow else self._pause)
        if error is not None:
            return Readiness.of(error)
        return CONNECTED if self._verified or self._slow else CONNECTING

    def hindrance(self, uid: str) -> DeliveryError | None:
        """Return why a delivery of a Notification may not begin now, if so."""
        if self._pause is None and self._refusal is None:
            return None
        stage = self.stage
        if stage is Stage.PAUSED or (stage is Stage.PROBING_OTHERS and uid in self._behind):
            return self._pause or self._refusal
        return None if self._probe is None else self._refusal or self._pause

    def begin(self) -> int:
        """Note that a send begins; its number goes with its outcomes, and to `ended`."""
        if self._refusal is not None:
            self._probe = self._order.now
        return self._order.now

    def ended(self, began: int) -> None:
        """Note that a send ended, however it did."""
        if self._probe == began:
            self._probe = None

    def accepted(self, began: int, uid: str, recipient: str) -> None:
        """Take in that a delivery was accepted; costs next to nothing, as it is for each mail."""
        self._order.accepted(began)
        if self._suspects:
            self._suspects.clear((uid, recipient))
        self._evidence.accepted((uid, recipient))
        if began < self._stopped_at:
            # It began before the last refusal, and says nothing about that.
            return
        self._breaker.reset()
        self._slowdown.recover()
        self._lifted = False
        if self._refusal is not None:
            self._verified, self._pause, self._refusal, self._slow = True, None, None, False
            self._behind, self._may_probe_others = frozenset(), False
            self.changed = True

    def refused(
        self,
        began: int,
        delivery: Delivery,
        error: DeliveryError,
        domain: Callable[[str], str],
        *,
        alone: bool,
    ) -> DeliveryError:
        """Judge why a delivery was not accepted; return what is to be recorded.

        Parameters
        ----------
        began
            What `begin` returned.
        delivery
            What was refused.
        error
            The refusal.
        domain
            Returns the domain of a recipient's address.
        alone
            Whether it was not sent in a batch: one that is refused as a whole says nothing about
            one recipient.
        """
        if error.scope is Scope.PROCESSOR:
            return self._refuse_all(began, delivery, error, alone=alone)
        if error.conclusive:
            return error
        return self._weigh(began, delivery, error, domain)

    def unjudged(self, error: DeliveryError) -> DeliveryError:
        """Return what to record of a refusal that a processor met with which was replaced since.

        It says nothing about the one that took its place, so only a conclusive one is final.
        """
        if error.scope is Scope.PROCESSOR or error.conclusive or error.retryable:
            return error
        return Held(error, FIRST_HOLD)

    def verified(self, began: int) -> None:
        """Note that connecting and logging in worked, in a trial that `now` numbers.

        It says nothing about what was refused meanwhile.
        """
        if began < self._stopped_at:
            return
        self._verified, self._pause, self._slow = True, None, False
        self._may_probe_others = False
        if self._refusal is None:
            if not self._lifted:
                self._breaker.reset()
        elif self._refusal.reason in _VERIFIABLE and not self._lifted:
            # If a send is refused once more, only an accepted send can end the pause.
            self._refusal, self._lifted = None, True

    def resume(self) -> None:
        """Go on after a pause that needs no trial."""
        self._pause, self._slow = None, False

    def failed(self, error: DeliveryError) -> None:
        """Note that connecting or logging in failed."""
        self._may_probe_others = False
        self._open_breaker(error)

    def choose(self, uid: str, ready: list[Row]) -> tuple[list[Row], bool]:
        """Return which ready rows of a Notification go first.

        Returns
        -------
        tuple
            The rows, and whether they go after those of all other Notifications, as their
            refusals made the processor pause before.
        """
        probing = self._refusal is not None
        if not (probing or self._suspects.concerns(uid)):
            return ready, False
        others = [row for row in ready if not self.is_doubtful((uid, row.recipient))]
        chosen = others or ready
        if probing and len(chosen) > 1:
            # Neighbours in a ledger have much in common, such as their domain.
            start = randrange(len(chosen))  # noqa: S311 - spreads probes, guards nothing
            chosen = chosen[start:] + chosen[:start]
        return chosen, not others

    def is_doubtful(self, delivery: Delivery) -> bool:
        """Whether a delivery's refusal is what the processor pauses for, or paused for."""
        return delivery in self._suspects or (
            self._refusal is not None and self._evidence.holds(delivery)
        )

    def is_troubled_by(self, uid: str) -> bool:
        """Whether it matters which deliveries of a Notification go first."""
        return self._refusal is not None or self._suspects.concerns(uid)

    def _refuse_all(
        self, began: int, delivery: Delivery, error: DeliveryError, *, alone: bool
    ) -> DeliveryError:
        """Pause for a refusal of the whole processor, unless it is clearly the delivery's own."""
        if isinstance(error, LeaseLost) or began < self._stopped_at:
            return error
        suspicion = self._suspects.note(delivery) if alone else Suspicion.NONE
        if error.code is None and error.reason in _UNANSWERED:
            suspicion = Suspicion.NONE
        if suspicion is not Suspicion.CERTAIN:
            if error.reason in _LOAD and error.retryable:
                self._slow_down(error)
            else:
                known = self._suspects.is_strong(delivery)
                self._stop(error, behind=frozenset({delivery[0]}), probe_others=known)
        return error if suspicion is Suspicion.NONE else charged(error)

    def _weigh(
        self, began: int, delivery: Delivery, error: DeliveryError, domain: Callable[[str], str]
    ) -> DeliveryError:
        """Judge a refusal by evidence.

        One that can be retried is, at the cost of an attempt, until there is evidence.
        """
        known = self._evidence.found
        signature = signature_of(error)
        judgement = self._evidence.judge(
            delivery, signature, domain=domain, pending=self._pending, comes_again=error.retryable
        )
        if judgement is Judgement.RECIPIENT:
            return error
        found = self._evidence.found
        if error.retryable and (found is None or found.signature != signature):
            return error
        held = Held(error, self._evidence.hold_seconds(delivery))
        repeated = known is not None and known.signature == signature
        against = judgement is Judgement.PROCESSOR or (repeated and began == self._probe)
        if found is not None and against and (began >= self._stopped_at or self._refusal is None):
            # The first probe may be of anybody who was not refused; when it is refused too, only
            # a probe after the pause shows whether another such is worth while.
            early = self._pause is not None
            self._stop(
                _refused_alike(error, found.recipients, len(found.notifications)),
                behind=found.notifications,
                probe_others=not early,
            )
        return held

    def _stop(self, error: DeliveryError, *, behind: frozenset[str], probe_others: bool) -> None:
        self._refusal = error
        self._behind, self._may_probe_others = behind, probe_others
        self._open_breaker(error)

    def _open_breaker(self, error: DeliveryError) -> None:
        pause = self._breaker.trip(error.reason, at_least=error.retry_after or 0.0)
        self._begin_pause(error, pause)
        self._verified, self._slow = False, False
        metrics.TRIPS.labels(self._name, error.reason).inc()
        logger.warning(
            "processor pauses for %g s after %s",
            pause,
            error.reason,
            extra={"processor": self._name},
        )

    def _slow_down(self, error: DeliveryError) -> None:
        """Wait a little, without a word on readiness; if it goes on, verify before going on."""
        repeated = self._slowdown.level > 0
        pause = self._slowdown.hit(at_least=error.retry_after or 0.0)
        self._begin_pause(error, pause)
        self._verified, self._slow = self._verified and not repeated, True
        metrics.SLOWDOWNS.labels(self._name, error.reason).inc()
        logger.info(
            "processor slows down for %g s after %s",
            pause,
            error.reason,
            extra={"processor": self._name},
        )

    def _begin_pause(self, error: DeliveryError, pause: float) -> None:
        self._pause, self.changed = error, True
        self._stopped_at = self._order.refusal()
        self.next_trial = self._clock() + pause


def _refused_alike(error: DeliveryError, recipients: int, notifications: int) -> DeliveryError:
    """Say that the other side refuses everybody alike, and what to do."""
    return DeliveryError(
        Reason.POLICY_DENIED,
        f"{recipients} recipients of {notifications} Notifications were refused alike and nobody "
        "was accepted since, so this is about the sender, the account or this host rather than "
        f"about them: {error.message}; see what the server's logs say of it. Sending goes on by "
        "itself once a mail is accepted",
        scope=Scope.PROCESSOR,
        retryable=True,
        code=error.code,
        enhanced_code=error.enhanced_code,
    )
