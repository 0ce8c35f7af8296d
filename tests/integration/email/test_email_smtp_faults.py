"""Every fault of a server at every step, judged by the server's own ledger."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.dialogue import Dialogue
from notifications_operator.processors.email.timeouts import Timeouts
from notifications_operator.processors.errors import Scope
from tests.integration.email.email_peers import PATIENT, failure, mail, pool_to, success
from tests.support.smtp import (
    CertificateAuthority,
    Drop,
    Hang,
    Pause,
    Raw,
    Reply,
    Reset,
    SMTPPeer,
    Step,
    TLSMode,
)
from tests.support.smtp.script import Action

CONNECTION, MESSAGE, PROCESSOR, RECIPIENT = (
    Scope.RECIPIENT,
    Scope.MESSAGE,
    Scope.PROCESSOR,
    Scope.RECIPIENT,
)
SHORT = 0.5
HTTP = Raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
ENDLESS = Raw(b"250-" + b"x" * 100_000)
BIG = mail(body=("x" * 76 + "\r\n") * 210_000)
"""16 MB: more than the kernel's buffers hold."""

both = pytest.mark.parametrize("pipelining", [False, True], ids=["one-by-one", "pipelining"])

LOST = (Reason.CONNECT_FAILED, CONNECTION)
UNVERIFIED = "554 Message rejected: Email address is not verified. The following identities failed"

NOT_ACCEPTED: list[tuple[Step, Action, Reason, Scope]] = [
    (Step.CONNECT, Drop(), Reason.CONNECT_FAILED, PROCESSOR),
    (Step.CONNECT, Reset(), Reason.CONNECT_FAILED, PROCESSOR),
    (Step.CONNECT, Reply("554 no service", close=True), Reason.CONNECT_FAILED, PROCESSOR),
    (Step.CONNECT, Reply("421 4.3.2 full"), Reason.CONNECT_FAILED, PROCESSOR),
    (Step.CONNECT, HTTP, Reason.CONNECT_FAILED, PROCESSOR),
    (Step.CONNECT, ENDLESS, Reason.CONNECT_FAILED, PROCESSOR),
    (Step.CONNECT, Raw(b"\0\xff\xfe\r\n"), Reason.CONNECT_FAILED, PROCESSOR),
    (Step.EHLO, Drop(), Reason.CONNECT_FAILED, PROCESSOR),
    (Step.EHLO, Reset(), Reason.CONNECT_FAILED, PROCESSOR),
    (Step.EHLO, Reply("421 4.3.2 closing"), Reason.CONNECT_FAILED, PROCESSOR),
    (Step.EHLO, Reply("550 5.7.1 not you"), Reason.CONNECT_FAILED, PROCESSOR),
    (Step.EHLO, HTTP, Reason.CONNECT_FAILED, PROCESSOR),
    (Step.MAIL, Drop(), *LOST),
    (Step.MAIL, Reset(), *LOST),
    (Step.MAIL, HTTP, *LOST),
    (Step.MAIL, ENDLESS, *LOST),
    (Step.MAIL, Reply("354 go ahead"), *LOST),
    (Step.MAIL, Reply("421 4.3.2 closing"), Reason.SERVER_BUSY, PROCESSOR),
    (Step.MAIL, Reply("451 4.3.0 later"), Reason.SERVER_BUSY, PROCESSOR),
    (Step.MAIL, Reply("550 5.7.1 not you"), Reason.POLICY_DENIED, PROCESSOR),
    (Step.RCPT, Drop(), *LOST),
    (Step.RCPT, Reset(), *LOST),
    (Step.RCPT, HTTP, *LOST),
    (Step.RCPT, Reply("421 4.3.2 closing"), Reason.SERVER_BUSY, CONNECTION),
    (Step.RCPT, Reply("450 4.2.1 too quickly"), Reason.RATE_LIMITED, RECIPIENT),
    (Step.RCPT, Reply("452 4.2.2 full"), Reason.MAILBOX_FULL, RECIPIENT),
    (Step.RCPT, Reply("550 5.1.1 unknown"), Reason.RECIPIENT_REJECTED, RECIPIENT),
    (
        Step.RCPT,
        Reply("454 4.7.1 <jane@example.com>: Relay access denied"),
        Reason.POLICY_DENIED,
        RECIPIENT,
    ),
    (Step.RCPT, Reply("530 5.7.1 Authentication required"), Reason.AUTH_FAILED, RECIPIENT),
    (
        Step.RCPT,
        Reply("554 5.7.1 <sender@mycompany.com>: Sender address rejected: Access denied"),
        Reason.POLICY_DENIED,
        PROCESSOR,
    ),
    (Step.DATA, Drop(), *LOST),
    (Step.DATA, Reset(), *LOST),
    (Step.DATA, Reply("250 what"), *LOST),
    (Step.DATA, Reply("421 4.3.2 closing"), Reason.SERVER_BUSY, CONNECTION),
    (Step.DATA, Reply("451 4.3.0 later"), Reason.SERVER_BUSY, RECIPIENT),
    (Step.DATA, Reply("554 5.5.1 no"), Reason.CONTENT_REJECTED, RECIPIENT),
    (Step.END, Reply("421 4.3.2 closing"), Reason.SERVER_BUSY, CONNECTION),
    (Step.END, Reply("451 4.3.0 later"), Reason.SERVER_BUSY, RECIPIENT),
    (Step.END, Reply("552 5.3.4 too big"), Reason.TOO_LARGE, MESSAGE),
    (Step.END, Reply("554 5.7.1 spam"), Reason.CONTENT_REJECTED, MESSAGE),
    (Step.END, Reply(f"{UNVERIFIED}: sender@mycompany.com"), Reason.INVALID_CONFIG, PROCESSOR),
    (Step.END, Reply(f"{UNVERIFIED}: jane@example.com"), Reason.POLICY_DENIED, RECIPIENT),
    (Step.END, Reply("454 Throttling failure: rate exceeded"), Reason.RATE_LIMITED, PROCESSOR),
]


def label(value: object) -> str:
    return repr(value)[:40] if isinstance(value, Reply | Raw) else type(value).__name__


@both
@pytest.mark.parametrize(
    ("step", "action", "reason", "scope"),
    NOT_ACCEPTED,
    ids=[f"{step}-{label(action)}" for step, action, *_ in NOT_ACCEPTED],
)
async def test_nothing_is_accepted_and_the_next_attempt_works(
    step: Step, action: Action, reason: Reason, scope: Scope, pipelining: bool
) -> None:
    async with SMTPPeer(pipelining=pipelining) as peer, pool_to(peer) as pool:
        peer.fail(step, action)

        error = await failure(pool)

        assert (error.reason, error.scope) == (reason, scope)
        assert peer.ledger.messages == []
        assert str(peer.port) in error.message or error.code is not None

        await success(pool)
        assert peer.ledger.message_ids == ["<1@mycompany.com>"]


HANGS: list[tuple[Step, Action, str, Scope]] = [
    (Step.CONNECT, Hang(), "greeting", PROCESSOR),
    (Step.CONNECT, Raw(b"220", hang=True), "greeting", PROCESSOR),
    (Step.CONNECT, Raw(b"220-unfinished\r\n", hang=True), "greeting", PROCESSOR),
    (Step.EHLO, Hang(), "command", PROCESSOR),
    (Step.MAIL, Hang(), "command", CONNECTION),
    (Step.MAIL, Raw(b"250-unfinished\r\n", hang=True), "command", CONNECTION),
    (Step.RCPT, Hang(), "command", CONNECTION),
    (Step.DATA, Hang(), "data", CONNECTION),
]


@both
@pytest.mark.parametrize(
    ("step", "action", "limit", "scope"), HANGS, ids=[f"{case[0]}-{case[1]}" for case in HANGS]
)
async def test_who_hangs_is_left(
    step: Step, action: Action, limit: str, scope: Scope, pipelining: bool
) -> None:
    timeouts = replace(PATIENT, **{limit: SHORT})
    async with SMTPPeer(pipelining=pipelining) as peer, pool_to(peer, timeouts=timeouts) as pool:
        peer.fail(step, action)

        error = await failure(pool)

        assert (error.reason, error.scope, error.retryable) == (Reason.TIMEOUT, scope, True)
        assert peer.ledger.messages == []


@both
@pytest.mark.parametrize("action", [Drop(), Reset(), Raw(b"250 2.0.0 what\r\n"), HTTP])
async def test_a_message_that_was_broken_off_is_not_accepted(
    action: Action, pipelining: bool
) -> None:
    async with SMTPPeer(pipelining=pipelining) as peer, pool_to(peer) as pool:
        peer.fail(Step.BODY, action)

        error = await failure(pool, BIG)

        assert (error.reason, error.scope) == LOST
        assert "not accepted" in error.message
        assert peer.ledger.messages == []
        assert peer.ledger.connections == 1


EARLY: list[tuple[Step, Action, Reason, Scope]] = [
    (Step.BODY, Reply("552 5.3.4 too big"), Reason.TOO_LARGE, MESSAGE),
    (Step.BODY, Reply("552 5.3.4 too big", close=True), Reason.TOO_LARGE, MESSAGE),
    (Step.BODY, Reply("552-5.3.4 much\n552 5.3.4 too big"), Reason.TOO_LARGE, MESSAGE),
    (Step.BODY, Reply("421 4.3.2 closing", close=True), Reason.SERVER_BUSY, RECIPIENT),
    (Step.BODY, Reply("554 5.7.1 spam", close=True), Reason.CONTENT_REJECTED, MESSAGE),
    (Step.BODY, Raw(b"552 5.3.4 too big\r\n", hang=True), Reason.TOO_LARGE, MESSAGE),
    (Step.DATA, Raw(b"354 go\r\n552 5.3.4 too big\r\n", hang=True), Reason.TOO_LARGE, MESSAGE),
]


@pytest.mark.parametrize("size", ["one block", "many blocks"])
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize(
    ("step", "action", "reason", "scope"),
    EARLY,
    ids=[f"{step}-{action.__class__.__name__}-{n}" for n, (step, action, *_) in enumerate(EARLY)],
)
async def test_a_refusal_within_the_message_is_heard(
    authority: CertificateAuthority,
    step: Step,
    action: Action,
    reason: Reason,
    scope: Scope,
    tls: bool,
    size: str,
) -> None:
    certificate = authority.valid() if tls else None
    mode = TLSMode.IMPLICIT if tls else TLSMode.NONE
    async with (
        SMTPPeer(tls=mode, certificate=certificate) as peer,
        pool_to(peer, certificate, transport={"secure": tls}) as pool,
    ):
        peer.fail(step, action)

        error = await failure(pool, BIG if size == "many blocks" else mail())

        assert (error.reason, error.scope) == (reason, scope)
        assert error.retryable is (scope is RECIPIENT)
        assert peer.ledger.messages == []

        # Nobody could tell what the server took the rest of the message for.
        await success(pool, mail(name="2"))
        assert peer.ledger.message_ids == ["<2@mycompany.com>"]


async def test_a_server_that_stops_reading_is_left() -> None:
    timeouts = replace(PATIENT, block=SHORT)
    async with SMTPPeer() as peer, pool_to(peer, timeouts=timeouts) as pool:
        peer.fail(Step.BODY, Hang(deaf=True))

        error = await failure(pool, BIG)

        assert (error.reason, error.scope) == (Reason.TIMEOUT, CONNECTION)
        assert peer.ledger.messages == []


UNKNOWN: list[tuple[Action, Timeouts]] = [
    (Drop(), PATIENT),
    (Reset(), PATIENT),
    (HTTP, PATIENT),
    (ENDLESS, PATIENT),
    (Reply("354 again"), PATIENT),
    (Raw(b"699 what\r\n"), PATIENT),
    (Hang(), replace(PATIENT, final=SHORT)),
    (Raw(b"250-unfinished\r\n", hang=True), replace(PATIENT, final=SHORT)),
]


@both
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize(
    ("action", "timeouts"), UNKNOWN, ids=[label(action) for action, _ in UNKNOWN]
)
async def test_after_the_final_dot_only_an_answer_tells(
    action: Action, timeouts: Timeouts, recorded: bool, pipelining: bool
) -> None:
    async with SMTPPeer(pipelining=pipelining) as peer, pool_to(peer, timeouts=timeouts) as pool:
        peer.fail(Step.END, action, recorded=recorded)

        error = await failure(pool)

        assert (error.reason, error.scope, error.retryable) == (Reason.AMBIGUOUS, RECIPIENT, True)
        # Not repeated here, whatever became of it.
        assert peer.ledger.verbs().count("DATA") == 1
        assert len(peer.ledger.messages) == recorded
        assert pool._resting == type(pool._resting)()


async def test_an_answer_that_was_only_late_is_not_taken_for_the_next_message() -> None:
    timeouts = replace(PATIENT, final=SHORT)
    async with SMTPPeer() as peer, pool_to(peer, timeouts=timeouts) as pool:
        peer.fail(Step.END, Hang(), recorded=True)
        await failure(pool, mail(name="1"))

        peer.fail(Step.RCPT, "550 5.1.1 unknown")
        error = await failure(pool, mail(name="2"))

        assert error.reason is Reason.RECIPIENT_REJECTED
        assert peer.ledger.message_ids == ["<1@mycompany.com>"]


async def test_an_answer_that_comes_as_time_runs_out_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event loop finds both at once after a pause, and would hear only of the time."""
    loop, write = asyncio.get_running_loop(), Dialogue.write

    def write_and_stall(dialogue: Dialogue, data: bytes, *, replies: int = 0) -> None:
        write(dialogue, data, replies=replies)
        if data.endswith(b"\r\n.\r\n"):
            loop.call_soon(stall, dialogue)

    def stall(dialogue: Dialogue) -> None:
        time.sleep(2 * SHORT)
        # Earlier than the end of the wait, so that of the two it is looked at first.
        loop.call_at(loop.time() - 10, dialogue.data_received, b"250 2.0.0 queued\r\n")

    release = asyncio.Event()
    timeouts = replace(PATIENT, final=SHORT)
    async with SMTPPeer() as peer, pool_to(peer, timeouts=timeouts) as pool:
        peer.fail(Step.END, Pause(release))
        monkeypatch.setattr(Dialogue, "write", write_and_stall)

        receipt = await success(pool)

        assert receipt.message == "queued"
        release.set()


async def test_a_big_message_arrives_whole() -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool, BIG)

        assert peer.ledger.messages[0].raw == BIG.data


@pytest.mark.parametrize(
    "body",
    [".\r\n", "..\r\n", ".\r\n.\r\n", "a\r\n.b\r\n...c\r\n", "x" * 998 + "\r\n", "\r\n", ""],
)
async def test_dots_and_long_lines_arrive_as_they_are(body: str) -> None:
    item = mail(body=body)
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool, item)

        assert peer.ledger.messages[0].raw == item.data


@pytest.mark.parametrize("position", [-2, -1, 0, 1, 2])
async def test_dots_at_the_edge_of_a_block_arrive_as_they_are(position: int) -> None:
    head = len(mail(body="").data)
    filler = ("y" * 62 + "\r\n") * 2000
    room = 65536 - head + position
    item = mail(body=filler[: room - room % 64] + "." * (room % 64) + "\r\n.\r\n..end\r\n")
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        await success(pool, item)

        assert peer.ledger.messages[0].raw == item.data


async def test_greylisting_ends_with_the_second_attempt() -> None:
    async with SMTPPeer(greylist=True) as peer, pool_to(peer) as pool:
        error = await failure(pool)
        await success(pool)

        assert (error.reason, error.scope, error.retryable) == (Reason.GREYLISTED, RECIPIENT, True)
        assert (error.code, error.enhanced_code) == (450, "4.7.1")
        assert len(peer.ledger.messages) == 1


@both
async def test_one_bad_recipient_is_no_other(pipelining: bool) -> None:
    async with SMTPPeer(pipelining=pipelining) as peer, pool_to(peer) as pool:
        peer.fail(Step.RCPT, "550 5.1.1 unknown", recipient="bad@example.com", times=None)

        error = await failure(pool, mail("bad@example.com"))
        await success(pool, mail("good@example.com"))

        assert error.reason is Reason.RECIPIENT_REJECTED
        assert not error.retryable
        assert peer.ledger.recipients == ["good@example.com"]
        assert peer.ledger.connections == 1
        assert peer.ledger.verbs().count("RSET") == 1


@pytest.mark.parametrize(
    "text",
    [
        "550 5.1.1 " + "x" * 5000,
        "550-5.1.1 one\n550 5.1.1 two",
        "550 5.1.1 esc\x1b[31m nul\0 bell\x07",
        "550 5.1.1 \u202egnirts",
    ],
)
async def test_what_a_server_says_is_made_harmless(text: str) -> None:
    async with SMTPPeer() as peer, pool_to(peer) as pool:
        peer.fail(Step.RCPT, text)

        error = await failure(pool)

        assert (error.code, error.enhanced_code) == (550, "5.1.1")
        assert len(error.message) < 350
        assert error.message.isprintable()
