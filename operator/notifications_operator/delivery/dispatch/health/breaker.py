"""Pauses of one processor: after a failure of all of it, and when it is too fast; pure."""

from __future__ import annotations

from dataclasses import dataclass

from ....api.reasons import Reason

_DELAYS = {Reason.AUTH_FAILED: (30.0, 900.0)}
_DEFAULT_DELAY = (2.0, 120.0)
_SLOWDOWN = (1.0, 120.0)

LONGEST_REQUEST = 900.0
"""Most seconds that the other side can ask a processor to slow down for."""


@dataclass(kw_only=True)
class Breaker:
    """Counts failures in a row and says how long to pause.

    The pause doubles with every failure: from 2 s to 2 min, and from 30 s to 15 min after refused
    credentials, because servers lock accounts out.
    """

    failures: int = 0

    def trip(self, reason: Reason, *, at_least: float = 0.0) -> float:
        """Count a failure and return the seconds to wait before the next trial.

        ``at_least`` is what the other side asked for; it cannot ask for more than the longest
        pause.
        """
        shortest, longest = _DELAYS.get(reason, _DEFAULT_DELAY)
        delay = min(max(shortest * 2.0 ** min(self.failures, 32), at_least), longest)
        self.failures += 1
        return delay

    def reset(self) -> None:
        """Forget the failures: the processor works."""
        self.failures = 0


@dataclass(kw_only=True)
class Slowdown:
    """Counts refusals for too much load and says how long to wait after each.

    The wait doubles from 1 s to 2 min, and every accepted send takes one doubling back. So a
    processor finds the rate that the other side bears.
    """

    level: int = 0

    def hit(self, *, at_least: float = 0.0) -> float:
        """Count a refusal and return the seconds to wait.

        ``at_least`` is what the other side asked for, up to `LONGEST_REQUEST`.
        """
        shortest, longest = _SLOWDOWN
        delay = min(shortest * 2.0**self.level, longest)
        self.level = min(self.level + 1, 16)
        return max(delay, min(at_least, LONGEST_REQUEST))

    def recover(self) -> None:
        """Take a doubling back: a send was accepted."""
        if self.level:
            self.level -= 1

    def reset(self) -> None:
        """Forget the refusals."""
        self.level = 0
