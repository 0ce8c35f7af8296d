"""How a finished message leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..errors import LeaseLost, Receipt
from .addresses import wire_address

MaySend = Callable[[], bool]
"""Says whether this process still leads; `SendContext.may_send`."""


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A message and its envelope (RFC 5321 section 2.3.1), with one recipient.

    However they were written, the addresses are those of the wire (`wire_address`).

    Raises
    ------
    ValueError
        If one of them is outside ASCII and has no such form.
    """

    sender: str
    recipient: str
    data: bytes

    def __post_init__(self) -> None:
        if not self.sender.isascii():
            object.__setattr__(self, "sender", wire_address(self.sender))
        if not self.recipient.isascii():
            object.__setattr__(self, "recipient", wire_address(self.recipient))


class Transport(Protocol):
    """Hands messages to the next hop."""

    async def verify(self) -> None:
        """Check that mail could leave now.

        Raises
        ------
        DeliveryError
            If not, with scope `Scope.PROCESSOR`.
        """

    async def deliver(self, mail: Mail, *, may_send: MaySend) -> Receipt:
        """Hand over a message, unless it may not be sent any more.

        Raises
        ------
        DeliveryError
            If the next hop did not take responsibility for it, or nobody knows. `LeaseLost` if
            nothing was handed over because ``may_send`` forbade it.
        """

    async def close(self) -> None:
        """Let go of what is held open."""


def check(may_send: MaySend) -> None:
    """Raise `LeaseLost` unless sending is still allowed."""
    if not may_send():
        raise LeaseLost
