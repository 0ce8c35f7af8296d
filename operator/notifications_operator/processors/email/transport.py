"""How a finished message leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import Receipt


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A message and its envelope (RFC 5321 section 2.3.1), with one recipient."""

    sender: str
    recipient: str
    data: bytes


class Transport(Protocol):
    """Hands messages to the next hop."""

    async def verify(self) -> None:
        """Check that mail could leave now.

        Raises
        ------
        DeliveryError
            If not, with scope `Scope.PROCESSOR`.
        """

    async def deliver(self, mail: Mail) -> Receipt:
        """Hand over a message.

        Raises
        ------
        DeliveryError
            If the next hop did not take responsibility for it, or nobody knows.
        """

    async def close(self) -> None:
        """Let go of what is held open."""
