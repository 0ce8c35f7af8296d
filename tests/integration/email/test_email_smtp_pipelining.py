"""MAIL and RCPT in one write, to servers that offer it (RFC 2920) and to those that only say so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.errors import Scope
from tests.integration.email.email_peers import PATIENT, failure, mail, pool_to, success
from tests.support.smtp import (
    CertificateAuthority,
    Drop,
    Hang,
    Raw,
    Reply,
    Reset,
    SMTPPeer,
    Step,
    TLSMode,
)
from tests.support.smtp.script import Action

IMPATIENT = replace(PATIENT, command=0.5)


async def test_a_group_is_one_write() -> None:
    """The peer's rule against pipelining what was not offered shows that it was one."""
    async with SMTPPeer(pipelining=True) as peer, pool_to(peer) as pool:
        for number in range(3):
            await success(pool, mail(name=str(number)))

        assert peer.ledger.verbs() == ["EHLO", *["MAIL", "RCPT", "DATA"] * 3]
        assert peer.ledger.groups == 3


async def test_without_the_offer_it_is_two() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool)

        assert peer.ledger.groups == 0


@pytest.mark.parametrize("tls", [TLSMode.STARTTLS, TLSMode.IMPLICIT])
async def test_over_tls(authority: CertificateAuthority, tls: TLSMode) -> None:
    certificate = authority.valid()
    peer = SMTPPeer(pipelining=True, tls=tls, certificate=certificate)
    transport = {"secure": tls is TLSMode.IMPLICIT}
    async with peer, pool_to(peer, certificate, transport=transport) as pool:
        item = mail(body=("x" * 76 + "\r\n") * 50_000)
        await success(pool, item)

        assert peer.ledger.messages[0].raw == item.data
        assert peer.ledger.groups == 1


async def test_parameters_are_the_same() -> None:
    async with SMTPPeer(pipelining=True, max_size=10_000) as peer, pool_to(peer) as pool:
        await success(pool, mail("jörg@example.com"))

        assert peer.ledger.messages[0].smtputf8
        assert peer.ledger.recipients == ["jörg@example.com"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("451 4.3.0 later", Reason.SERVER_BUSY), ("550 5.7.1 not you", Reason.POLICY_DENIED)],
)
async def test_when_mail_is_refused_the_answer_to_rcpt_is_heard(text: str, reason: Reason) -> None:
    """It was sent already; left unheard, it would be taken for the answer to RSET."""
    async with SMTPPeer(pipelining=True) as peer, pool_to(peer) as pool:
        await success(pool, mail(name="1"))
        peer.fail(Step.MAIL, text)

        error = await failure(pool, mail(name="2"))
        await success(pool, mail(name="3"))

        assert error.reason is reason
        assert peer.ledger.message_ids == ["<1@mycompany.com>", "<3@mycompany.com>"]
        assert peer.ledger.connections == 1
        assert peer.ledger.verbs()[4:] == ["MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize(
    "action",
    [Drop(), Reset(), Hang(), Reply("421 4.3.2 closing"), Raw(b"HTTP/1.1 400 no\r\n")],
    ids=repr,
)
async def test_when_nothing_follows_a_refusal_it_still_counts(action: Action) -> None:
    async with (
        SMTPPeer(pipelining=True) as peer,
        pool_to(peer, timeouts=IMPATIENT) as pool,
    ):
        peer.fail(Step.MAIL, "550 5.7.1 not you")
        peer.fail(Step.RCPT, action)

        error = await failure(pool, mail(name="1"))
        await success(pool, mail(name="2"))

        assert error.reason in (Reason.POLICY_DENIED, Reason.CONNECT_FAILED)
        assert action == Reset() or error.code == 550
        assert [message.connection for message in peer.ledger.messages] == [2]


async def test_a_recipient_that_is_refused_is_no_other() -> None:
    async with SMTPPeer(pipelining=True) as peer, pool_to(peer) as pool:
        peer.fail(Step.RCPT, "550 5.1.1 unknown")

        error = await failure(pool, mail("bad@example.com"))
        await success(pool, mail("good@example.com"))

        assert (error.reason, error.scope) == (Reason.RECIPIENT_REJECTED, Scope.RECIPIENT)
        assert peer.ledger.verbs() == [
            *["EHLO", "MAIL", "RCPT"],
            *["RSET", "MAIL", "RCPT", "DATA"],
        ]


async def test_who_offers_it_and_drops_a_group_is_asked_one_by_one() -> None:
    async with (
        SMTPPeer(drops_groups=True) as peer,
        pool_to(peer, timeouts=IMPATIENT) as pool,
    ):
        error = await failure(pool, mail(name="1"))
        assert (error.reason, error.scope, error.retryable) == (
            Reason.TIMEOUT,
            Scope.RECIPIENT,
            True,
        )
        for number in range(1, 4):
            await success(pool, mail(name=str(number)))

        assert [message.connection for message in peer.ledger.messages] == [2, 2, 2]


async def test_more_replies_than_commands_are_nobodys() -> None:
    """One too many to MAIL would be taken for RCPT's, and each after it for the next."""
    async with SMTPPeer(pipelining=True) as peer, pool_to(peer) as pool:
        peer.fail(Step.RCPT, Raw(b"550 5.1.1 unknown\r\n250 2.1.5 ok\r\n"))

        error = await failure(pool, mail(name="1"))
        await success(pool, mail(name="2"))

        assert error.reason is Reason.RECIPIENT_REJECTED
        assert [message.connection for message in peer.ledger.messages] == [2]
