"""The processor as the engine uses it, against a server, and against the mail catcher."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from notifications_operator.api.notification import Severity
from notifications_operator.api.reasons import Reason
from notifications_operator.processors.base import SecretKey
from notifications_operator.processors.email import EmailProcessor
from notifications_operator.processors.errors import DeliveryError, Receipt
from notifications_operator.processors.registry import ProcessorRegistry
from tests.integration.email.email_peers import CA_KEY, PASSWORD, USERNAME
from tests.support.smtp import (
    CertificateAuthority,
    Drop,
    SMTPPeer,
    Step,
    TLSMode,
    read_ledger,
)
from tests.unit.processors.email.email_builders import (
    SECRET,
    audience,
    context,
    credentials,
    notification,
    sending,
    spec,
    user,
)

JANE = user("jane", "jane@example.com")
JOE = user("joe", "joe@example.com")


def processor(port: int, ca_pem: bytes, **email: Any) -> EmailProcessor:
    """Make a processor from the values that the issue gives, host, port and authority aside."""
    values = {
        "replyTo": "no-reply@mycompany.com",
        "sender": "sender@mycompany.com",
        "broadcastConfig": {"receiver": "users"},
        "concurrencyLimit": 10,
        "cache": {"ttl": {"days": 1}},
        **email,
    }
    transport = {
        "transport": "smtp",
        "hostname": "127.0.0.1",
        "port": port,
        "secure": False,
        "tls": {"caSecretRef": {"name": CA_KEY.secret, "key": CA_KEY.key}},
    }
    secrets: dict[SecretKey, bytes] = {
        **credentials(USERNAME.encode(), PASSWORD.encode()),
        CA_KEY: ca_pem,
    }
    return EmailProcessor.create(
        context(
            spec(transport, secret=SECRET, **values),
            secrets=secrets,
            app_base_url="https://portal.example",
        )
    )


def server(authority: CertificateAuthority) -> SMTPPeer:
    return SMTPPeer(
        tls=TLSMode.STARTTLS,
        certificate=authority.valid(),
        username=USERNAME,
        password=PASSWORD,
    )


def test_the_type_is_registered() -> None:
    assert ProcessorRegistry.installed().get("email") is EmailProcessor


async def test_the_seed_values_send_mail(authority: CertificateAuthority) -> None:
    item = notification(
        title="Grüße",
        description="<b>one</b>\ntwo",
        link="/builds/1",
        severity=Severity.CRITICAL,
        topic="builds",
        scope="build-1",
    )
    async with server(authority) as peer:
        mail_processor = processor(peer.port, authority.pem)
        await mail_processor.verify()
        targets = mail_processor.targets(item, audience(JANE, JOE))
        outcomes = await asyncio.gather(
            *(
                mail_processor.send(item, [target.recipient], sending([JANE, JOE]))
                for target in targets
            )
        )
        await mail_processor.close()

    assert all(isinstance(outcome[0], Receipt) for outcome in outcomes)
    assert peer.ledger.violations == []
    assert sorted(peer.ledger.recipients) == ["jane@example.com", "joe@example.com"]
    for message in peer.ledger.messages:
        assert message.tls
        assert message.user == USERNAME
        assert message.rcpt_to == (str(message.parsed["To"]),)
        assert message.parsed["Subject"] == "Grüße"
        assert message.parsed["Reply-To"] == "no-reply@mycompany.com"
        assert message.parsed["Importance"] == "high"
        assert "https://portal.example/builds/1" in message.to_json()["text"]
        assert "&lt;b&gt;one&lt;/b&gt;<br>two" in message.to_json()["html"]
    threads = {str(message.parsed["References"]) for message in peer.ledger.messages}
    assert len(threads) == 1


async def test_an_unknown_outcome_is_repeated_with_the_same_message_id(
    authority: CertificateAuthority,
) -> None:
    item = notification()
    async with server(authority) as peer:
        mail_processor = processor(peer.port, authority.pem)
        peer.fail(Step.END, Drop(), recorded=True)
        first = await mail_processor.send(item, ["user:default/jane"], sending([JANE]))
        second = await mail_processor.send(item, ["user:default/jane"], sending([JANE]))
        await mail_processor.close()

    assert isinstance(first[0], DeliveryError)
    assert first[0].reason is Reason.AMBIGUOUS
    assert isinstance(second[0], Receipt)
    assert len(peer.ledger.messages) == 2
    assert len(set(peer.ledger.message_ids)) == 1
    assert peer.ledger.messages[0].raw == peer.ledger.messages[1].raw


HOSTILE = [
    "x\r\nBcc: victim@example.com\r\n\r\nowned",
    "\r\n.\r\nMAIL FROM:<x@y.z>\r\n",
    "</script><script>alert(1)</script>",
    "\u202eevil\u2066",
    "\0\x1b[31m",
    "\ud800",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:30])
async def test_hostile_values_in_every_field_arrive_as_one_mail(
    authority: CertificateAuthority, value: str
) -> None:
    fields: dict[str, Any] = dict.fromkeys(
        ("title", "description", "link", "topic", "scope", "icon"), value
    )
    item = notification(origin=value, **fields)
    async with server(authority) as peer:
        mail_processor = processor(peer.port, authority.pem)
        outcomes = await mail_processor.send(item, ["user:default/jane"], sending([JANE]))
        await mail_processor.close()

    assert isinstance(outcomes[0], Receipt)
    assert peer.ledger.violations == []
    assert peer.ledger.recipients == ["jane@example.com"]
    assert peer.ledger.messages[0].parsed["Bcc"] is None


async def test_an_address_cannot_add_commands_or_recipients(
    authority: CertificateAuthority,
) -> None:
    evil = "jane@example.com>\r\nRCPT TO:<victim@example.com"
    async with server(authority) as peer:
        mail_processor = processor(peer.port, authority.pem)
        await mail_processor.send(
            notification(), ["user:default/jane"], sending([user("jane", evil)])
        )
        await mail_processor.close()

    assert peer.ledger.messages == []
    assert peer.ledger.connections == 0


@dataclass(frozen=True, kw_only=True)
class Catcher:
    """A running mail catcher."""

    port: int
    ca_pem: bytes
    ledger: Path
    process: asyncio.subprocess.Process


@pytest.fixture
async def catcher(tmp_path: Path) -> AsyncIterator[Catcher]:
    """Run the mail catcher as a process of its own."""
    ledger, ready = tmp_path / "ledger.jsonl", tmp_path / "ready"
    certificates = tmp_path / "certificates"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.smtp", "--username", USERNAME),
        *("--password", PASSWORD, "--ledger", ledger, "--ready-file", ready),
        *("--certificate-directory", certificates, "--name", "mail.demo.example"),
    )
    try:
        async with asyncio.timeout(60):
            while not ready.exists():
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield Catcher(
            port=int(ready.read_text().rpartition(":")[2]),
            ca_pem=(certificates / "ca.crt").read_bytes(),
            ledger=ledger,
            process=process,
        )
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_the_mail_catcher_keeps_what_it_accepted(catcher: Catcher) -> None:
    mail_processor = processor(catcher.port, catcher.ca_pem)
    await mail_processor.verify()
    for title in ("Grüße", "second"):
        outcomes = await mail_processor.send(
            notification(title=title, uid=title), ["user:default/jane"], sending([JANE])
        )
        assert isinstance(outcomes[0], Receipt)
    # At the moment of the receipt it is on disk: a kill of the catcher loses nothing.
    catcher.process.kill()
    await catcher.process.wait()
    await mail_processor.close()

    entries = read_ledger(catcher.ledger)
    assert [entry["subject"] for entry in entries] == ["Grüße", "second"]
    assert all(entry["rcptTo"] == ["jane@example.com"] for entry in entries)
    assert all(entry["tls"] and entry["user"] == USERNAME for entry in entries)
    assert "Severity: normal" in entries[0]["text"]
    assert len({entry["messageId"] for entry in entries}) == 2


async def test_the_mail_catcher_ends_when_told(catcher: Catcher) -> None:
    catcher.process.terminate()

    assert await asyncio.wait_for(catcher.process.wait(), 30) == 0


def test_a_ledger_line_still_being_written_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    file.write_text(json.dumps({"subject": "whole"}) + "\n" + '{"subject": "ha')

    assert read_ledger(file) == [{"subject": "whole"}]
    assert read_ledger(tmp_path / "missing") == []
