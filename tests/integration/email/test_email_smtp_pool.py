"""How connections are kept, given up and replaced."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.smtp import SMTPConnection
from notifications_operator.processors.errors import DeliveryError, Scope
from tests.integration.email.email_peers import (
    PATIENT,
    failure,
    mail,
    pool_to,
    server,
    success,
)
from tests.support.smtp import Drop, Hang, Raw, Reply, Reset, SMTPPeer, Step
from tests.support.smtp.script import Action
from tests.unit.processors.email.email_builders import always


async def test_messages_share_a_connection() -> None:
    async with SMTPPeer() as peer:
        async with pool_to(peer) as pool:
            for number in range(5):
                await success(pool, mail(name=str(number)))

        assert peer.ledger.message_ids == [f"<{number}@mycompany.com>" for number in range(5)]
        assert peer.ledger.verbs() == ["EHLO", *["MAIL", "RCPT", "DATA"] * 5, "QUIT"]


async def test_a_receipt_says_what_the_server_said() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        receipt = await success(pool)

        assert (receipt.code, receipt.enhanced_code) == (250, "2.0.0")
        assert receipt.message == "queued as 1"


async def test_there_are_no_more_connections_than_allowed() -> None:
    async with SMTPPeer() as peer, pool_to(peer, size=3) as pool:
        await asyncio.gather(*(success(pool, mail(name=str(number))) for number in range(60)))

        assert len(set(peer.ledger.message_ids)) == 60
        assert 1 < peer.ledger.connections <= 3


async def test_verifying_keeps_the_connection() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await pool.verify()
        await pool.verify()
        await success(pool)

        assert peer.ledger.connections == 1
        assert peer.ledger.verbs()[:2] == ["EHLO", "RSET"]


async def test_verifying_replaces_a_dead_connection() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await pool.verify()
        await peer.drop_connections()
        await pool.verify()

        assert peer.ledger.connections == 2


async def test_a_connection_ends_after_so_many_messages() -> None:
    async with SMTPPeer() as peer, pool_to(peer, max_messages=2) as pool:
        for number in range(5):
            await success(pool, mail(name=str(number)))

        assert [message.connection for message in peer.ledger.messages] == [1, 1, 2, 2, 3]
        await peer.ledger.wait_for_verb("QUIT", 2)


async def test_a_connection_that_rests_too_long_is_closed() -> None:
    async with SMTPPeer() as peer, pool_to(peer, size=2, idle_seconds=0.1) as pool:
        await asyncio.gather(success(pool, mail(name="1")), success(pool, mail(name="2")))
        await peer.ledger.wait_for_verb("QUIT", peer.ledger.connections)

        await success(pool, mail(name="3"))

        assert len(peer.ledger.messages) == 3


async def test_a_rested_connection_is_asked_first() -> None:
    async with SMTPPeer() as peer, pool_to(peer, probe_seconds=0) as pool:
        await success(pool)
        await success(pool)

        assert peer.ledger.verbs() == [
            "EHLO",
            "MAIL",
            "RCPT",
            "DATA",
            "RSET",
            "MAIL",
            "RCPT",
            "DATA",
        ]


@pytest.mark.parametrize("action", [Drop(), Reset(), Reply("421 4.4.2 idle"), Reply("500 what")])
async def test_a_rested_connection_that_is_dead_is_replaced(action: Action) -> None:
    async with SMTPPeer() as peer, pool_to(peer, probe_seconds=0) as pool:
        await success(pool)
        peer.fail(Step.RSET, action)
        await success(pool)

        assert [message.connection for message in peer.ledger.messages] == [1, 2]


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool)
        await peer.drop_connections()
        await success(pool)

        assert [message.connection for message in peer.ledger.messages] == [1, 2]


async def test_a_server_that_limits_messages_gets_new_connections() -> None:
    async with SMTPPeer(max_messages=2) as peer, pool_to(peer) as pool:
        for number in range(5):
            await success(pool, mail(name=str(number)))

        assert [message.connection for message in peer.ledger.messages] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT, Step.DATA])
@pytest.mark.parametrize("action", [Drop(), Reset(), Reply("421 4.3.2 closing")])
async def test_before_the_message_a_kept_connection_is_replaced_at_once(
    step: Step, action: Action
) -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool, mail(name="1"))
        peer.fail(step, action)
        await success(pool, mail(name="2"))

        assert peer.ledger.message_ids == ["<1@mycompany.com>", "<2@mycompany.com>"]
        assert peer.ledger.connections == 2


async def test_it_is_replaced_once() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool)
        peer.fail(Step.MAIL, Drop(), times=2)

        error = await failure(pool)

        assert (error.reason, error.scope) == (Reason.CONNECT_FAILED, Scope.RECIPIENT)
        assert peer.ledger.connections == 2


async def test_a_new_connection_is_not_replaced() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        peer.fail(Step.MAIL, Drop())

        await failure(pool)

        assert peer.ledger.connections == 1


@pytest.mark.parametrize("action", [Drop(), Reset()])
async def test_from_the_message_on_nothing_is_repeated(action: Action) -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool, mail(name="1"))
        peer.fail(Step.END, action, recorded=True)

        error = await failure(pool, mail(name="2"))

        assert error.reason is Reason.AMBIGUOUS
        assert peer.ledger.message_ids == ["<1@mycompany.com>", "<2@mycompany.com>"]
        assert peer.ledger.connections == 1


async def test_a_connection_that_the_server_is_about_to_close_is_not_used_again() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        peer.fail(Step.END, Raw(b"421 4.3.2 closing soon\r\n", hang=True))

        error = await failure(pool, mail(name="1"))
        await peer.wait_for_open_connections(0)
        await success(pool, mail(name="2"))

        assert error.reason is Reason.SERVER_BUSY


async def test_a_connection_that_ends_between_two_parts_of_a_message_accepts_nothing() -> None:
    async with SMTPPeer() as peer:
        connection = await SMTPConnection.open(server(peer), PATIENT)

        async def drain() -> None:
            connection._dialogue.abort()

        connection._dialogue.drain = drain  # type: ignore[method-assign]
        with pytest.raises(DeliveryError) as caught:
            await connection.send(mail(body="x" * 76 + "\r\n" * 100_000), always)

    assert (caught.value.reason, caught.value.scope) == (
        Reason.CONNECT_FAILED,
        Scope.RECIPIENT,
    )


async def test_a_refused_transaction_is_reset_before_the_next() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        peer.fail(Step.DATA, "451 4.3.0 later")
        await failure(pool)
        await success(pool)

        assert peer.ledger.verbs() == [
            *["EHLO", "MAIL", "RCPT", "DATA"],
            *["RSET", "MAIL", "RCPT", "DATA"],
        ]


async def test_a_cancelled_delivery_sends_nothing_more() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        peer.fail(Step.RCPT, Hang())
        task = asyncio.create_task(pool.deliver(mail(name="1"), may_send=always))
        await peer.ledger.wait_for_verb("RCPT")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        await success(pool, mail(name="2"))

        assert peer.ledger.verbs(1) == ["EHLO", "MAIL", "RCPT"]
        assert peer.ledger.message_ids == ["<2@mycompany.com>"]


async def test_a_cancelled_opening_leaves_nothing_behind() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        peer.fail(Step.EHLO, Hang())
        task = asyncio.create_task(pool.verify())
        await peer.ledger.wait_for_verb("EHLO")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        await peer.wait_for_open_connections(0)
        await success(pool)


@pytest.mark.parametrize("action", [Drop(), Reset(), Hang(), Reply("500 what")])
async def test_closing_does_not_depend_on_the_server(action: Action) -> None:
    async with SMTPPeer() as peer:
        peer.fail(Step.QUIT, action)
        async with pool_to(peer, timeouts=replace(PATIENT, quit=0.2)) as pool:
            await success(pool)

        assert peer.ledger.verbs()[-1] == "QUIT"


async def test_a_server_that_went_away_is_noticed_and_found_again() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool, mail(name="1"))
        await peer.stop()

        error = await failure(pool, mail(name="2"))
        assert (error.reason, error.scope) == (Reason.CONNECT_FAILED, Scope.PROCESSOR)
        assert "connection refused" in error.message

        async with SMTPPeer(port=peer.port, ledger=peer.ledger):
            await success(pool, mail(name="2"))

        assert peer.ledger.message_ids == ["<1@mycompany.com>", "<2@mycompany.com>"]
