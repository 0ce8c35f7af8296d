"""A process that does not lead any more begins no message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from notifications_operator.processors.base import SendContext
from notifications_operator.processors.email import EmailProcessor
from notifications_operator.processors.email.stream import StreamTransport
from notifications_operator.processors.email.transport import MaySend
from notifications_operator.processors.errors import LeaseLost, Scope
from tests.integration.email.email_peers import mail, pool_to, success
from tests.integration.email.test_email_sendmail import program, transport
from tests.support.smtp import SMTPPeer
from tests.unit.processors.email.email_builders import context, notification, sending, spec


def never() -> bool:
    """Say that another process leads."""
    return False


def until_verb(peer: SMTPPeer, verb: str) -> MaySend:
    """Lead until the server has heard a command."""
    return lambda: verb not in peer.ledger.verbs()


@pytest.mark.parametrize("pipelining", [False, True])
async def test_not_before_mail(pipelining: bool) -> None:
    async with SMTPPeer(pipelining=pipelining) as peer, pool_to(peer) as pool:
        with pytest.raises(LeaseLost):
            await pool.deliver(mail(), may_send=never)
        await peer.wait_for_open_connections(0)

        assert peer.ledger.verbs() == ["EHLO"]


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_not_before_the_message_either(verb: str, pipelining: bool) -> None:
    """The connection is dropped: there is no other way to end DATA without a message."""
    async with SMTPPeer(pipelining=pipelining) as peer, pool_to(peer) as pool:
        with pytest.raises(LeaseLost):
            await pool.deliver(mail(), may_send=until_verb(peer, verb))
        await peer.wait_for_open_connections(0)

        assert peer.ledger.verbs() == ["EHLO", "MAIL", "RCPT", "DATA"]
        assert peer.ledger.messages == []


async def test_not_on_a_kept_connection() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool, mail(name="1"))
        with pytest.raises(LeaseLost):
            await pool.deliver(mail(name="2"), may_send=never)
        await success(pool, mail(name="3"))

        assert peer.ledger.message_ids == ["<1@mycompany.com>", "<3@mycompany.com>"]
        assert peer.ledger.connections == 2


async def test_not_on_the_connection_that_replaces_a_dead_one() -> None:
    asked: list[bool] = []

    def once() -> bool:
        asked.append(len(asked) == 0)
        return asked[-1]

    async with SMTPPeer() as peer, pool_to(peer, probe_seconds=1000) as pool:
        await pool.verify()
        await peer.drop_connections()
        with pytest.raises(LeaseLost):
            await pool.deliver(mail(), may_send=once)

        assert peer.ledger.messages == []
        assert "MAIL" not in peer.ledger.verbs(2)


async def test_a_program_is_not_started(tmp_path: Path) -> None:
    path = program(tmp_path, f"touch {tmp_path}/ran; cat > /dev/null")
    with pytest.raises(LeaseLost):
        await transport(path).deliver(mail(), may_send=never)

    assert [item.name for item in tmp_path.iterdir()] == ["sendmail"]


async def test_a_stream_says_nothing() -> None:
    with pytest.raises(LeaseLost):
        await StreamTransport().deliver(mail(), may_send=never)


@pytest.mark.parametrize("make", [lambda peer: never, lambda peer: until_verb(peer, "DATA")])
async def test_the_outcome_costs_no_attempt(make: Callable[[SMTPPeer], MaySend]) -> None:
    async with SMTPPeer() as peer:
        fields = {"transport": "smtp", "hostname": peer.host, "port": peer.port}
        processor = EmailProcessor.create(context(spec(fields)))
        leave = SendContext(directory=sending().directory, may_send=make(peer))
        [outcome] = await processor.send(notification(), ["jane@example.com"], leave)
        await processor.close()

        assert isinstance(outcome, LeaseLost)
        assert outcome.scope is Scope.PROCESSOR
        assert peer.ledger.messages == []
