"""Mechanisms are tried in an order, and no oftener than accounts bear."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.pool import SMTPPool
from notifications_operator.processors.errors import DeliveryError
from tests.integration.email.email_peers import PASSWORD, USERNAME, failure, pool_to, success
from tests.support.smtp import CertificateAuthority, LoginStyle, Reply, SMTPPeer, Step, TLSMode

WRONG = "535 5.7.8 authentication credentials invalid"


@contextlib.asynccontextmanager
async def login_peer(
    authority: CertificateAuthority, **options: Any
) -> AsyncIterator[tuple[SMTPPeer, SMTPPool]]:
    certificate = authority.valid()
    options = {"username": USERNAME, "password": PASSWORD, **options}
    peer = SMTPPeer(tls=TLSMode.STARTTLS, certificate=certificate, **options)
    async with peer, pool_to(peer, certificate) as pool:
        yield peer, pool


async def trial(pool: SMTPPool) -> DeliveryError:
    """Try the processor, which must fail."""
    with pytest.raises(DeliveryError) as caught:
        await pool.verify()
    return caught.value


@pytest.mark.parametrize("style", list(LoginStyle))
@pytest.mark.parametrize(
    "prompts",
    [
        (b"Username:", b"Password:"),
        (b"Password:", b"Username:"),
        (b"", b""),
        ("Benutzer, ähm".encode(), b"\xff\x00"),
    ],
)
async def test_login_answers_two_prompts_whatever_they_say(
    authority: CertificateAuthority, style: LoginStyle, prompts: tuple[bytes, bytes]
) -> None:
    options = {"auth_mechanisms": ("LOGIN",), "login_style": style, "login_prompts": prompts}
    async with login_peer(authority, **options) as (peer, pool):
        await success(pool)

        assert peer.ledger.messages[0].user == USERNAME


@pytest.mark.parametrize(
    ("offered", "hinted"), [(("XOAUTH2",), True), (("OAUTHBEARER",), True), (("NTLM",), False)]
)
async def test_a_server_that_takes_tokens_alone_leads_to_them(
    authority: CertificateAuthority, offered: tuple[str, ...], hinted: bool
) -> None:
    async with login_peer(authority, auth_mechanisms=offered) as (_, pool):
        error = await trial(pool)

        assert error.reason is Reason.AUTH_FAILED
        assert ("transportConfig.oauth2" in error.message) is hinted


async def test_mechanisms_in_the_old_syntax(authority: CertificateAuthority) -> None:
    options: dict[str, Any] = {"auth_mechanisms": ("LOGIN",), "auth_in_old_syntax": True}
    async with login_peer(authority, **options) as (peer, pool):
        await success(pool)

        assert peer.ledger.messages[0].user == USERNAME


@pytest.mark.parametrize("hangs_up", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        WRONG,
        "504 5.5.4 Unrecognized authentication type",
        "500 5.5.1 command unrecognized",
        "501 5.5.4 Syntax",
        "502 5.5.1 not implemented",
        "503 5.5.1 bad sequence",
        "530 5.7.0 Must issue something first",
        "534 5.7.9 mechanism is too weak",
        "535 5.7.4 no such security feature",
        "538 5.7.11 Encryption required for requested authentication mechanism",
        "550 unsupported authentication mechanism",
    ],
)
async def test_login_is_tried_where_plain_is_refused(
    authority: CertificateAuthority, reply: str, hangs_up: bool
) -> None:
    options = {"refused_mechanisms": {"PLAIN": reply}, "hangs_up_after_refusal": hangs_up}
    async with login_peer(authority, **options) as (peer, pool):
        await success(pool)
        await peer.drop_connections()
        await success(pool)

        assert {message.user for message in peer.ledger.messages} == {USERNAME}
        # The second session began with what had worked.
        assert peer.ledger.mechanisms == ["PLAIN", "LOGIN", "LOGIN"]


async def test_plain_that_is_refused_for_now_is_no_reason_for_login(
    authority: CertificateAuthority,
) -> None:
    options = {"refused_mechanisms": {"PLAIN": "454 4.7.0 temporary authentication failure"}}
    async with login_peer(authority, **options) as (peer, pool):
        error = await trial(pool)

        assert (error.reason, error.code) == (Reason.AUTH_FAILED, 454)
        assert peer.ledger.mechanisms == ["PLAIN"]


async def test_a_wrong_password_costs_one_attempt_more_and_only_once(
    authority: CertificateAuthority,
) -> None:
    mechanisms = ("PLAIN", "LOGIN")
    async with login_peer(authority, password="other", auth_mechanisms=mechanisms) as (peer, pool):
        for _ in range(4):
            error = await trial(pool)
            assert (error.reason, error.code) == (Reason.AUTH_FAILED, 535)

        assert peer.ledger.mechanisms == ["PLAIN", "LOGIN", "PLAIN", "LOGIN", "PLAIN"]


async def test_a_wrong_password_is_not_tried_by_every_mechanism(
    authority: CertificateAuthority,
) -> None:
    options = {"password": "other", "auth_mechanisms": ("PLAIN", "LOGIN", "CRAM-MD5")}
    async with login_peer(authority, **options) as (peer, pool):
        await trial(pool)

        assert peer.ledger.mechanisms == ["PLAIN", "LOGIN"]


async def test_no_other_mechanism_but_login_repeats_a_refused_password(
    authority: CertificateAuthority,
) -> None:
    options = {"password": "other", "auth_mechanisms": ("PLAIN", "CRAM-MD5")}
    async with login_peer(authority, **options) as (peer, pool):
        await trial(pool)

        assert peer.ledger.mechanisms == ["PLAIN"]


async def test_mechanisms_that_the_server_does_not_have_are_passed_over(
    authority: CertificateAuthority,
) -> None:
    unknown = "504 5.5.4 unknown mechanism"
    options = {
        "auth_mechanisms": ("PLAIN", "LOGIN", "CRAM-MD5"),
        "refused_mechanisms": {"PLAIN": unknown, "LOGIN": unknown},
    }
    async with login_peer(authority, **options) as (peer, pool):
        await success(pool)

        assert peer.ledger.mechanisms == ["PLAIN", "LOGIN", "CRAM-MD5"]


async def test_a_login_that_works_again_is_found_again(authority: CertificateAuthority) -> None:
    options = {"refused_mechanisms": {"PLAIN": WRONG}}
    async with login_peer(authority, **options) as (peer, pool):
        peer.fail(Step.AUTH, WRONG, times=2)
        await trial(pool)
        errors = 0
        while not peer.ledger.messages:
            try:
                await pool.verify()
            except DeliveryError:
                errors += 1
                continue
            await success(pool)

        assert errors <= 1


@pytest.mark.parametrize("length", [200, 2000])
async def test_long_passwords_keep_to_the_length_of_a_line(
    authority: CertificateAuthority, length: int
) -> None:
    # RFC 4954 section 4; the peer counts, and pool_to looks for violations.
    certificate = authority.valid()
    password = "p" * length
    peer = SMTPPeer(
        tls=TLSMode.STARTTLS,
        certificate=certificate,
        username=USERNAME,
        password=password,
        auth_mechanisms=("PLAIN",),
    )
    async with peer, pool_to(peer, certificate, password=password) as pool:
        await success(pool)

        assert peer.ledger.messages[0].user == USERNAME


@pytest.mark.parametrize("reply", ["354 go ahead", "334 ", "199 what"])
async def test_replies_that_are_none_to_auth(authority: CertificateAuthority, reply: str) -> None:
    async with login_peer(authority, auth_mechanisms=("PLAIN",)) as (peer, pool):
        peer.fail(Step.AUTH, Reply(reply), times=None)
        error = await failure(pool)

        assert error.reason is Reason.CONNECT_FAILED
        await peer.wait_for_open_connections(0)
