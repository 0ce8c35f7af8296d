"""Replies as they come out of the network's pieces."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiosmtplib import SMTPResponse, SMTPResponseException
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.processors.email.dialogue import MAX_REPLY, Dialogue

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20
).map(str.strip)
REPLY = st.tuples(st.integers(200, 599), st.lists(TEXT, min_size=1, max_size=4))


class Wire(asyncio.Transport):
    """A connection without another end."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: Any) -> None:
        assert not self.aborted
        self.written += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Who feeds the dialogue is the test."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""


def encoded(code: int, lines: list[str]) -> bytes:
    last = len(lines) - 1
    return b"".join(
        f"{code}{' ' if number == last else '-'}{line}\r\n".encode()
        for number, line in enumerate(lines)
    )


@given(st.data())
def test_replies_are_the_same_however_they_are_cut(data: st.DataObject) -> None:
    said = data.draw(st.lists(REPLY, min_size=1, max_size=4))
    stream = b"".join(encoded(*reply) for reply in said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))

    async def heard() -> list[SMTPResponse]:
        dialogue = Dialogue(Wire())
        dialogue.tell(*[b"NOOP"] * len(said))
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            dialogue.data_received(stream[start:end])
        return [await dialogue.reply() for _ in said]

    assert asyncio.run(heard()) == [(code, "\n".join(lines)) for code, lines in said]


async def test_a_reply_that_came_before_the_end_is_heard() -> None:
    wire = Wire()
    dialogue = Dialogue(wire)
    dialogue.tell(b"MAIL", b"RCPT")
    dialogue.data_received(b"250 ok\r\n25")
    dialogue.eof_received()

    assert (await dialogue.reply()).code == 250
    with pytest.raises(ConnectionError):
        await dialogue.reply()
    assert wire.aborted


async def test_who_waits_hears_of_the_end() -> None:
    dialogue = Dialogue(Wire())
    dialogue.tell(b"NOOP")
    waiting = asyncio.create_task(dialogue.reply())
    await asyncio.sleep(0)
    dialogue.connection_lost(None)

    with pytest.raises(ConnectionError):
        await waiting


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 400\r\n", b"\r\n", b"25\r\n", b"-12 x\r\n", b"250-a\r\nb\r\n", b"x" * 40_000],
    ids=lambda data: repr(data[:12]),
)
async def test_what_is_no_reply_ends_it(data: bytes) -> None:
    wire = Wire()
    dialogue = Dialogue(wire)
    dialogue.tell(b"NOOP")
    dialogue.data_received(data)

    with pytest.raises(SMTPResponseException):
        await dialogue.reply()
    assert not dialogue.is_open


async def test_a_reply_is_bounded_however_it_comes() -> None:
    dialogue = Dialogue(Wire())
    dialogue.tell(b"NOOP")
    dialogue.data_received(b"250-more\r\n" * (MAX_REPLY // 10 + 2))

    with pytest.raises(SMTPResponseException, match="too long"):
        await dialogue.reply()


@pytest.mark.parametrize("data", [b"421 idle\r\n", b"25"])
async def test_what_nobody_asked_for_ends_it(data: bytes) -> None:
    dialogue = Dialogue(Wire())
    dialogue.tell(b"NOOP")
    dialogue.data_received(b"250 ok\r\n")
    dialogue.data_received(data)

    assert (await dialogue.reply()).code == 250
    assert not dialogue.is_open
    with pytest.raises(ConnectionError):
        dialogue.tell(b"NOOP")


@pytest.mark.parametrize("text", [b"MAIL\r\nDATA", b"a\0", b"\x7f", b"\n"])
async def test_a_command_stays_one(text: bytes) -> None:
    wire = Wire()
    with pytest.raises(ValueError, match="control"):
        Dialogue(wire).tell(b"NOOP", text)

    assert wire.written == b""


async def test_draining_waits_for_the_transport() -> None:
    dialogue = Dialogue(Wire())
    dialogue.pause_writing()
    draining = asyncio.create_task(dialogue.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    dialogue.resume_writing()
    await draining

    dialogue.pause_writing()
    draining = asyncio.create_task(dialogue.drain())
    dialogue.abort()
    with pytest.raises(ConnectionError):
        await draining
