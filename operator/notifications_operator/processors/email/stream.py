"""``transport: stream``."""

from __future__ import annotations

from ..errors import Receipt
from .transport import Mail, MaySend, check


class StreamTransport:
    """Sends nothing: the mail was rendered, and that is all."""

    async def verify(self) -> None:
        """There is nothing that could be wrong."""

    async def deliver(self, mail: Mail, *, may_send: MaySend) -> Receipt:
        check(may_send)
        return Receipt(message="streamed, nothing was sent")

    async def close(self) -> None:
        """Nothing is open."""
