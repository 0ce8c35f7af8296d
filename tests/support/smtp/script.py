"""What goes wrong on an SMTP peer, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """Where in a session a fault happens."""

    CONNECT = "connect"
    """Instead of the greeting."""

    EHLO = "ehlo"
    HELO = "helo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"

    BODY = "body"
    """After 354, once the first line of the message is there."""

    END = "end"
    """After the final dot."""

    RSET = "rset"
    NOOP = "noop"
    QUIT = "quit"


@dataclass(frozen=True)
class Reply:
    """Say this instead; lines are separated by ``\\n``, each with its code."""

    text: str
    close: bool = False


@dataclass(frozen=True)
class Raw:
    """Send these bytes as they are, and then nothing more if `hang` is set."""

    data: bytes
    hang: bool = False


@dataclass(frozen=True)
class Drop:
    """Close the connection (FIN)."""


@dataclass(frozen=True)
class Reset:
    """Reset the connection (RST), losing what was not read."""


@dataclass(frozen=True)
class Hang:
    """Say nothing more until the client goes away; nor read anything, if `deaf` is set."""

    deaf: bool = False


@dataclass(frozen=True)
class Pause:
    """Go on as usual, but not before this is set."""

    released: asyncio.Event


Action = Reply | Raw | Drop | Reset | Hang | Pause


@dataclass(kw_only=True)
class Fault:
    """One fault that is due, so many times (``None``: always).

    `reached` is called when it happens: after a reply was sent, and before anything else.
    """

    step: Step
    action: Action
    times: int | None = 1
    recipient: str | None = None
    recorded: bool = False
    reached: Callable[[], None] | None = None

    def fits(self, step: Step, recipient: str | None) -> bool:
        return self.step is step and self.recipient in (None, recipient) and self.times != 0


class Script:
    """Faults in the order they were added; the first that fits happens."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        """Behave from now on."""
        self._faults.clear()

    def next(self, step: Step, recipient: str | None = None) -> Fault | None:
        """Return the fault that is due at this step, and count it."""
        for fault in self._faults:
            if fault.fits(step, recipient):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None
