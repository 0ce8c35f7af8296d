"""Names, encryption, authentication and extensions."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import replace
from typing import Any

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.config import Encryption
from notifications_operator.processors.email.pool import SMTPPool
from notifications_operator.processors.errors import DeliveryError, Scope
from tests.integration.email.email_peers import (
    PASSWORD,
    PATIENT,
    USERNAME,
    failure,
    mail,
    pool_to,
    server,
    success,
)
from tests.support.smtp import (
    CertificateAuthority,
    Hang,
    Raw,
    Reply,
    SMTPPeer,
    Step,
    TLSMode,
)

SHORT = 0.5
STARTTLS, IMPLICIT = TLSMode.STARTTLS, TLSMode.IMPLICIT
SECURE: dict[str, Any] = {"secure": True}
REQUIRED = {"requireTls": True}


async def refused(pool: SMTPPool) -> DeliveryError:
    """Verify and deliver, which must fail alike and concern the processor."""
    with pytest.raises(DeliveryError) as caught:
        await pool.verify()
    error = await failure(pool)
    assert error.reason is caught.value.reason
    assert error.scope is caught.value.scope is Scope.PROCESSOR
    return error


# Names and connections


async def test_a_name_that_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async with SMTPPeer() as peer, pool_to(peer, transport={"hostname": "mail.invalid"}) as pool:

        async def unknown(*args: Any, **options: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        error = await refused(pool)

    assert error.reason is Reason.DNS_FAILED
    assert error.message == "cannot look up mail.invalid: Name or service not known"


async def test_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with SMTPPeer() as peer, pool_to(peer, timeouts=replace(PATIENT, resolve=SHORT)) as pool:

        async def hanging(*args: Any, **options: Any) -> Any:
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hanging)
        error = await refused(pool)

    assert error.reason is Reason.DNS_FAILED
    assert "no answer within 0.5 s" in error.message


async def test_nobody_listens() -> None:
    async with SMTPPeer() as peer:
        await peer.stop()
        async with pool_to(peer) as pool:
            error = await refused(pool)

    assert error.reason is Reason.CONNECT_FAILED
    assert error.message == f"cannot connect to 127.0.0.1:{peer.port}: connection refused"


async def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with SMTPPeer() as peer, pool_to(peer, timeouts=replace(PATIENT, connect=SHORT)) as pool:

        async def hanging(*args: Any) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", hanging)
        error = await refused(pool)

    assert error.reason is Reason.TIMEOUT


async def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with SMTPPeer() as dead, SMTPPeer() as peer:
        await dead.stop()
        async with pool_to(peer, transport={"hostname": "mail.invalid"}) as pool:

            async def both(*args: Any, **options: Any) -> Any:
                kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
                return [(*kind, (host.host, host.port)) for host in (dead, peer)]

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
            await success(pool)

        assert len(peer.ledger.messages) == 1


# Encryption


async def test_starttls_is_used_where_offered(authority: CertificateAuthority) -> None:
    certificate = authority.valid()
    async with SMTPPeer(tls=STARTTLS, certificate=certificate) as peer:
        async with pool_to(peer, certificate) as pool:
            await success(pool)

        assert peer.ledger.messages[0].tls
        assert peer.ledger.verbs()[:3] == ["EHLO", "STARTTLS", "EHLO"]


async def test_without_offer_and_without_need_it_goes_in_clear() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool)

        assert not peer.ledger.messages[0].tls


async def test_tls_from_the_start(authority: CertificateAuthority) -> None:
    certificate = authority.valid()
    async with SMTPPeer(tls=IMPLICIT, certificate=certificate) as peer:
        async with pool_to(peer, certificate, transport=SECURE) as pool:
            await success(pool)

        assert peer.ledger.messages[0].tls
        assert "STARTTLS" not in peer.ledger.verbs()


async def test_starttls_is_left_alone_when_told(authority: CertificateAuthority) -> None:
    async with SMTPPeer(tls=STARTTLS, certificate=authority.valid()) as peer:
        async with pool_to(peer, transport={"ignoreTls": True}) as pool:
            await success(pool)

        assert not peer.ledger.messages[0].tls


@pytest.mark.parametrize("transport", [{}, REQUIRED])
async def test_starttls_that_is_needed_and_not_offered(transport: dict[str, Any]) -> None:
    username = None if transport else USERNAME
    peer = SMTPPeer(username=username, password=PASSWORD, auth_offered_in_clear=True)
    async with peer, pool_to(peer, transport=transport) as pool:
        error = await refused(pool)

        assert error.reason is Reason.TLS_FAILED
        assert "does not offer STARTTLS" in error.message
        # A stripped STARTTLS gets neither credentials nor mail.
        assert set(peer.ledger.verbs()) == {"EHLO"}
        assert peer.ledger.clear_credentials == 0


@pytest.mark.parametrize("username", [None, USERNAME])
@pytest.mark.parametrize("tls", [STARTTLS, IMPLICIT])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("expired", "certificate has expired"),
        ("wrong_host", "not valid for '127.0.0.1'"),
        ("untrusted", "unable to get local issuer certificate"),
    ],
)
async def test_a_bad_certificate(
    authority: CertificateAuthority, tls: TLSMode, username: str | None, kind: str, said: str
) -> None:
    certificate = {
        "expired": authority.expired,
        "wrong_host": authority.wrong_host,
        "untrusted": CertificateAuthority().valid,
    }[kind]()
    trusted = authority.valid()
    peer = SMTPPeer(tls=tls, certificate=certificate, username=username, password=PASSWORD)
    async with peer, pool_to(peer, trusted, transport={"secure": tls is IMPLICIT}) as pool:
        error = await refused(pool)

        assert error.reason is Reason.TLS_FAILED
        assert said in error.message
        assert "checked for 127.0.0.1" in error.message
        # Opportunistic or not: who fails at TLS is not talked to in clear.
        assert set(peer.ledger.verbs()) <= {"EHLO", "STARTTLS"}


async def test_a_certificate_of_no_known_authority(authority: CertificateAuthority) -> None:
    async with SMTPPeer(tls=STARTTLS, certificate=authority.valid()) as peer, pool_to(peer) as pool:
        error = await refused(pool)

    assert error.reason is Reason.TLS_FAILED


async def test_a_bad_certificate_is_accepted_only_when_told(
    authority: CertificateAuthority,
) -> None:
    async with SMTPPeer(tls=STARTTLS, certificate=authority.expired()) as peer:
        async with pool_to(peer, transport={"tls": {"insecureSkipVerify": True}}) as pool:
            await success(pool)

        assert peer.ledger.messages[0].tls


@pytest.mark.parametrize("tls", [STARTTLS, IMPLICIT])
async def test_the_certificate_may_be_for_another_name(
    authority: CertificateAuthority, tls: TLSMode
) -> None:
    certificate = authority.wrong_host()
    transport = {"secure": tls is IMPLICIT, "tls": {"serverName": "elsewhere.example"}}
    async with SMTPPeer(tls=tls, certificate=certificate) as peer:
        async with pool_to(peer, certificate, transport=transport) as pool:
            await success(pool)

        assert peer.ledger.messages[0].tls


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (Reply("454 4.7.0 TLS not available"), Reason.TLS_FAILED),
        (Reply("502 5.5.1 not implemented"), Reason.TLS_FAILED),
        (Reply("220 go ahead", close=True), Reason.TLS_FAILED),
        (Reply("220 go ahead"), Reason.TLS_FAILED),
        (Raw(b"220 go ahead\r\n250 injected\r\n"), Reason.TLS_FAILED),
        (Raw(b"220 go ahead\r\n", hang=True), Reason.TIMEOUT),
    ],
)
async def test_a_starttls_that_fails_is_not_gone_round(
    authority: CertificateAuthority, action: Reply | Raw, reason: Reason
) -> None:
    certificate = authority.valid()
    timeouts = replace(PATIENT, tls=SHORT if reason is Reason.TIMEOUT else PATIENT.tls)
    async with SMTPPeer(tls=STARTTLS, certificate=certificate) as peer:
        pool = SMTPPool(server(peer, certificate), size=1, timeouts=timeouts)
        peer.fail(Step.STARTTLS, action, times=None)
        error = await refused(pool)
        await pool.close()

        assert error.reason is reason
        assert not {"MAIL", "AUTH"} & set(peer.ledger.verbs())


async def test_tls_is_expected_where_there_is_none() -> None:
    async with SMTPPeer() as peer:
        pool = SMTPPool(server(peer, **SECURE), size=1, timeouts=PATIENT)
        error = await refused(pool)
        await pool.close()

    assert error.reason is Reason.TLS_FAILED
    assert "secure: true is for ports that expect TLS from the start" in error.message


async def test_tls_is_not_expected_where_there_is(authority: CertificateAuthority) -> None:
    peer = SMTPPeer(tls=IMPLICIT, certificate=authority.valid())
    async with peer, pool_to(peer, timeouts=replace(PATIENT, greeting=SHORT)) as pool:
        error = await refused(pool)

    assert error.reason is Reason.TIMEOUT
    assert "set secure: true" in error.message


# Authentication


@pytest.mark.parametrize(
    "mechanisms",
    [("PLAIN",), ("LOGIN",), ("CRAM-MD5",), ("XOAUTH2", "CRAM-MD5", "LOGIN", "PLAIN")],
)
@pytest.mark.parametrize("tls", [STARTTLS, IMPLICIT])
async def test_authentication(
    authority: CertificateAuthority, tls: TLSMode, mechanisms: tuple[str, ...]
) -> None:
    certificate = authority.valid()
    peer = SMTPPeer(
        tls=tls,
        certificate=certificate,
        username=USERNAME,
        password=PASSWORD,
        auth_mechanisms=mechanisms,
    )
    async with peer, pool_to(peer, certificate, transport={"secure": tls is IMPLICIT}) as pool:
        await success(pool)

        assert peer.ledger.messages[0].user == USERNAME
        assert peer.ledger.messages[0].tls


@pytest.mark.parametrize(
    ("reply", "reason", "retryable", "attempts"),
    [
        # PLAIN, and LOGIN because there are servers on which only that works.
        ("535 5.7.8 credentials invalid", Reason.AUTH_FAILED, True, 2),
        ("534 5.7.9 mechanism is too weak", Reason.AUTH_FAILED, True, 3),
        ("454 4.7.0 temporary failure", Reason.AUTH_FAILED, True, 1),
        ("421 4.3.2 closing", Reason.CONNECT_FAILED, True, 1),
    ],
)
async def test_authentication_that_is_refused(
    authority: CertificateAuthority, reply: str, reason: Reason, retryable: bool, attempts: int
) -> None:
    certificate = authority.valid()
    peer = SMTPPeer(
        tls=STARTTLS,
        certificate=certificate,
        username=USERNAME,
        password=PASSWORD,
        auth_mechanisms=("CRAM-MD5", "LOGIN", "PLAIN"),
    )
    async with peer, pool_to(peer, certificate) as pool:
        peer.fail(Step.AUTH, reply, times=None)
        error = await failure(pool)

        assert (error.reason, error.scope) == (reason, Scope.PROCESSOR)
        assert error.retryable is retryable
        assert peer.ledger.verbs().count("AUTH") == attempts
        assert "MAIL" not in peer.ledger.verbs()
        await peer.wait_for_open_connections(0)


@pytest.mark.parametrize("encryption", [Encryption.NONE, Encryption.OPPORTUNISTIC])
async def test_credentials_never_go_in_clear_whatever_the_configuration(
    encryption: Encryption,
) -> None:
    peer = SMTPPeer(username=USERNAME, password=PASSWORD, auth_offered_in_clear=True)
    async with peer:
        pool = SMTPPool(replace(server(peer), encryption=encryption), size=1, timeouts=PATIENT)
        error = await refused(pool)
        await pool.close()

    assert error.reason is Reason.TLS_FAILED
    assert "credentials are never sent without TLS" in error.message
    assert peer.ledger.clear_credentials == 0
    assert set(peer.ledger.verbs()) == {"EHLO"}


async def test_wrong_credentials(authority: CertificateAuthority) -> None:
    certificate = authority.valid()
    peer = SMTPPeer(tls=STARTTLS, certificate=certificate, username=USERNAME, password="other")
    async with peer, pool_to(peer, certificate) as pool:
        error = await refused(pool)

        assert (error.reason, error.code) == (Reason.AUTH_FAILED, 535)
        assert error.enhanced_code == "5.7.8"


@pytest.mark.parametrize("mechanisms", [(), ("XOAUTH2",), ("GSSAPI", "NTLM")])
async def test_no_authentication_that_is_known(
    authority: CertificateAuthority, mechanisms: tuple[str, ...]
) -> None:
    certificate = authority.valid()
    peer = SMTPPeer(
        tls=STARTTLS,
        certificate=certificate,
        username=USERNAME,
        password=PASSWORD,
        auth_mechanisms=mechanisms,
    )
    async with peer, pool_to(peer, certificate) as pool:
        error = await refused(pool)

        assert error.reason is Reason.AUTH_FAILED
        assert f"offered: {' '.join(mechanisms) or 'none'}" in error.message
        assert "AUTH" not in peer.ledger.verbs()


async def test_a_server_that_repeats_credentials_does_not_give_them_away(
    authority: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = authority.valid()
    peer = SMTPPeer(tls=STARTTLS, certificate=certificate, username=USERNAME, password=PASSWORD)
    plain = "AG15LXVzZXJuYW1lAG15LXBhc3N3b3Jk"
    async with peer, pool_to(peer, certificate) as pool:
        said = f"535 5.7.8 {USERNAME}: {PASSWORD} {plain} {USERNAME}\0{PASSWORD}"
        peer.fail(Step.AUTH, said, times=None)
        with caplog.at_level("DEBUG"):
            error = await failure(pool)

    for text in (error.message, str(error), repr(error), caplog.text):
        assert PASSWORD not in text
        assert plain not in text
    assert f"535 5.7.8 {USERNAME}: *** *** {USERNAME} ***; " in error.message


async def test_authentication_that_hangs(authority: CertificateAuthority) -> None:
    certificate = authority.valid()
    peer = SMTPPeer(tls=STARTTLS, certificate=certificate, username=USERNAME, password=PASSWORD)
    async with peer, pool_to(peer, certificate) as pool:
        await pool.verify()
    async with peer:
        pool = SMTPPool(server(peer, certificate), size=1, timeouts=replace(PATIENT, command=SHORT))
        peer.fail(Step.AUTH, Hang())
        error = await failure(pool)
        await pool.close()

    assert (error.reason, error.scope) == (Reason.TIMEOUT, Scope.PROCESSOR)


# Extensions


async def test_a_server_without_extensions() -> None:
    async with SMTPPeer(esmtp=False) as peer, pool_to(peer) as pool:
        await success(pool)

        assert peer.ledger.verbs()[:3] == ["EHLO", "HELO", "MAIL"]


async def test_a_server_without_extensions_cannot_be_safe() -> None:
    async with SMTPPeer(esmtp=False) as peer, pool_to(peer, transport=REQUIRED) as pool:
        error = await refused(pool)

        assert error.scope is Scope.PROCESSOR
        assert "HELO" not in peer.ledger.verbs()


async def test_a_message_that_the_server_would_not_take_is_not_sent() -> None:
    async with SMTPPeer(max_size=1000) as peer, pool_to(peer) as pool:
        error = await failure(pool, mail(body="x" * 900 + "\r\n"))
        await success(pool)

        assert (error.reason, error.scope) == (Reason.TOO_LARGE, Scope.MESSAGE)
        assert not error.retryable
        assert peer.ledger.verbs().count("MAIL") == 1


async def test_a_server_that_lies_about_its_limit() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        peer.fail(Step.EHLO, "250-scripted\n250 SIZE 99999999999999999999999")
        peer.fail(Step.MAIL, "552 5.3.4 too big after all")
        error = await failure(pool)

        assert error.reason is Reason.TOO_LARGE
        assert error.code == 552


async def test_addresses_outside_ascii() -> None:
    item = mail("jäne@bücher.example")
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool, item)
        await success(pool, mail("plain@example.com"))

        assert peer.ledger.recipients == ["jäne@xn--bcher-kva.example", "plain@example.com"]
        assert [message.smtputf8 for message in peer.ledger.messages] == [True, False]
        assert peer.ledger.messages[0].raw == item.data


async def test_a_domain_outside_ascii_needs_nothing_of_the_server() -> None:
    async with SMTPPeer(smtputf8=False) as peer, pool_to(peer) as pool:
        await success(pool, mail("Juergen@bücher.example"))

        assert peer.ledger.recipients == ["Juergen@xn--bcher-kva.example"]


async def test_the_operator_introduces_itself_by_the_address_it_connects_from() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool)

        assert peer.ledger.client_names == ["[127.0.0.1]"]


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("listening", "hostname", "name"),
    [
        ("::1", "::1", "[IPv6:::1]"),
        ("127.0.0.1", "::ffff:127.0.0.1", "[127.0.0.1]"),
    ],
)
async def test_the_operator_introduces_itself_by_its_ipv6_address(
    listening: str, hostname: str, name: str
) -> None:
    async with (
        SMTPPeer(host=listening) as peer,
        pool_to(peer, transport={"hostname": hostname}) as pool,
    ):
        await success(pool)

        assert peer.ledger.client_names == [name]


async def test_a_name_is_said_before_and_within_tls(authority: CertificateAuthority) -> None:
    certificate = authority.valid()
    name = "notifications.example.com"
    async with (
        SMTPPeer(tls=STARTTLS, certificate=certificate) as peer,
        pool_to(peer, certificate, transport={"name": name}) as pool,
    ):
        await success(pool)

        assert peer.ledger.client_names == [name, name]


async def test_a_relay_that_wants_a_name_takes_mail_with_one() -> None:
    """Google's relay hangs up on ``[127.0.0.1]`` (cases/10-name-in-ehlo)."""
    relay = SMTPPeer(refused_names=re.compile(r"\["))
    async with relay as peer, pool_to(peer) as nameless:
        error = await failure(nameless)
        async with pool_to(peer, transport={"name": "notifications.example.com"}) as named:
            await success(named)

    assert (error.reason, error.scope) == (Reason.CONNECT_FAILED, Scope.PROCESSOR)
    assert "(EHLO)" in error.message
    assert peer.ledger.recipients == ["jane@example.com"]


async def test_addresses_outside_ascii_where_they_are_not_taken() -> None:
    async with SMTPPeer(smtputf8=False) as peer, pool_to(peer) as pool:
        error = await failure(pool, mail("jäne@example.com"))
        await success(pool)

        assert (error.reason, error.scope) == (Reason.INVALID_ADDRESS, Scope.RECIPIENT)
        assert not error.retryable
        assert "SMTPUTF8" in error.message
        assert peer.ledger.recipients == ["jane@example.com"]


async def test_a_session_that_fails_within_tls_leaves_no_descriptor_behind(
    authority: CertificateAuthority,
) -> None:
    """The library ends TLS in order, and still reads when the number may be another's already."""
    certificate = authority.valid()
    peer = SMTPPeer(tls=STARTTLS, certificate=certificate, username=USERNAME, password=PASSWORD)
    async with peer, pool_to(peer, certificate) as pool:
        peer.fail(Step.AUTH, Raw(b"421 4.3.2 shutting down\r\n"))
        assert (await failure(pool)).reason is Reason.CONNECT_FAILED
        # Takes the lowest number that is free: the one of the connection that was given up.
        await success(pool)
