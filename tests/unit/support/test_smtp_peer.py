"""The SMTP peer's ledger must tell what a client can know."""

from __future__ import annotations

import asyncio

from tests.support.smtp import Pause, SMTPPeer, Step

MESSAGE = (
    b"EHLO client.example.com\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n",
    b"From: a@example.com\r\nTo: b@example.com\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
    b"Message-ID: <1@example.com>\r\nSubject: s\r\n\r\ntext\r\n.\r\n",
)


async def test_an_answer_that_nobody_was_left_to_hear() -> None:
    """The mail is accepted all the same, as by a real server."""
    reached, released = asyncio.Event(), asyncio.Event()
    async with SMTPPeer() as peer:
        peer.fail(Step.END, Pause(released), reached=reached.set)
        reader, writer = await asyncio.open_connection(peer.host, peer.port)
        await reader.readline()
        for line in MESSAGE[0].splitlines(keepends=True):
            writer.write(line)
            while (await reader.readline())[3:4] == b"-":
                pass
        writer.write(MESSAGE[1])
        await reached.wait()
        writer.close()
        await writer.wait_closed()
        # Who is greeted now came later, so that the server knows of the end before.
        reader, writer = await asyncio.open_connection(peer.host, peer.port)
        await reader.readline()
        released.set()
        await peer.ledger.wait_for_messages(1)
        writer.close()
        assert peer.ledger.unanswered == peer.ledger.messages
