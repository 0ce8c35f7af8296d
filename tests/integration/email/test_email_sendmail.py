"""Mail through a local program."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email import EmailProcessor
from notifications_operator.processors.email.sendmail import SendmailTransport
from notifications_operator.processors.errors import DeliveryError, Receipt, Scope
from tests.integration.email.email_peers import mail
from tests.unit.processors.email.email_builders import always, context, notification, sending, spec


def program(directory: Path, script: str) -> Path:
    """Write a shell script that stands for the program."""
    path = directory / "sendmail"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def transport(path: Path, *, timeout: float = 30, **fields: Any) -> SendmailTransport:
    email = spec({"transport": "sendmail", "path": str(path), **fields}).email
    assert email is not None
    return SendmailTransport(email.transport_config, [str(path)], timeout=timeout)  # type: ignore[arg-type]


async def ended(group: int) -> None:
    """Wait until nobody of a process group lives; who is dead may still wait to be buried."""
    async with asyncio.timeout(10):
        while any(state != "Z" for state in _states(group)):
            await asyncio.sleep(0.01)


def _states(group: int) -> list[str]:
    states = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, process_group, *_ = stat.read_text().rpartition(")")[2].split()
            if int(process_group) == group:
                states.append(state)
    return states


async def failure(item: SendmailTransport, **changes: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await item.deliver(mail(**changes), may_send=always)
    return caught.value


@pytest.mark.parametrize(("newline", "ending"), [("unix", b"\n"), ("windows", b"\r\n")])
async def test_the_program_gets_envelope_and_message(
    tmp_path: Path, newline: str, ending: bytes
) -> None:
    path = program(tmp_path, f'printf "%s\\n" "$@" > {tmp_path}/args; cat > {tmp_path}/mail')
    item = mail("-odq@example.com", body=".\r\n..dots\r\n")

    receipt = await transport(path, newline=newline).deliver(item, may_send=always)

    assert receipt == Receipt(message=f"handed to {path}")
    assert (tmp_path / "args").read_text().splitlines() == [
        "-i",
        "-f",
        "sender@mycompany.com",
        "--",
        "-odq@example.com",
    ]
    assert (tmp_path / "mail").read_bytes() == item.data.replace(b"\r\n", ending)


async def test_no_shell_sees_the_address(tmp_path: Path) -> None:
    path = program(tmp_path, "cat > /dev/null")

    await transport(path).deliver(
        mail(f"a|b&`touch${{IFS}}{tmp_path}/x`$d@example.com"), may_send=always
    )

    assert [path.name for path in tmp_path.iterdir()] == ["sendmail"]


async def test_the_program_does_not_get_the_operators_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPERATOR_TOKEN", "s3cret")
    path = program(tmp_path, f"env > {tmp_path}/env; cat > /dev/null")

    await transport(path).deliver(mail(), may_send=always)

    assert "s3cret" not in (tmp_path / "env").read_text()


@pytest.mark.parametrize(
    ("status", "reason", "scope", "retryable"),
    [
        (64, Reason.INVALID_CONFIG, Scope.PROCESSOR, True),
        (65, Reason.CONTENT_REJECTED, Scope.MESSAGE, False),
        (67, Reason.RECIPIENT_REJECTED, Scope.RECIPIENT, False),
        (68, Reason.RECIPIENT_REJECTED, Scope.RECIPIENT, False),
        (69, Reason.SERVER_BUSY, Scope.RECIPIENT, True),
        (71, Reason.SERVER_BUSY, Scope.RECIPIENT, True),
        (75, Reason.SERVER_BUSY, Scope.RECIPIENT, True),
        (77, Reason.POLICY_DENIED, Scope.PROCESSOR, True),
        (78, Reason.INVALID_CONFIG, Scope.PROCESSOR, True),
        (1, Reason.UNKNOWN, Scope.RECIPIENT, True),
        (255, Reason.UNKNOWN, Scope.RECIPIENT, True),
    ],
)
async def test_exit_statuses(
    tmp_path: Path, status: int, reason: Reason, scope: Scope, retryable: bool
) -> None:
    path = program(tmp_path, f"cat > /dev/null; echo 'why not' >&2; exit {status}")

    error = await failure(transport(path))

    assert (error.reason, error.scope, error.retryable) == (reason, scope, retryable)
    assert error.message == f"{path} ended with exit status {status}: why not"
    assert error.code == status


async def test_what_it_says_is_bounded_and_harmless(tmp_path: Path) -> None:
    path = program(
        tmp_path,
        "cat > /dev/null; printf '\\033[31m\\000' >&2; yes xxxxxxx | head -c 3000000 >&2; exit 75",
    )

    error = await failure(transport(path))

    assert len(error.message) < 450 + len(str(path))
    assert error.message.isprintable()


@pytest.mark.parametrize("status", [0, 75])
async def test_a_program_that_does_not_read(tmp_path: Path, status: int) -> None:
    path = program(tmp_path, f"exec <&-; exit {status}")

    error = await failure(transport(path), body="x" * 10_000_000)

    assert error.retryable
    assert "before it had read the message" in error.message


async def test_a_program_that_hangs_before_it_reads(tmp_path: Path) -> None:
    path = program(tmp_path, "exec sleep 1000")

    error = await failure(transport(path, timeout=0.3), body="x" * 10_000_000)

    assert (error.reason, error.retryable) == (Reason.TIMEOUT, True)


async def test_a_program_that_hangs_with_the_message(tmp_path: Path) -> None:
    path = program(tmp_path, f"echo $$ > {tmp_path}/pid; cat > /dev/null; sleep 1000; exit 0")

    error = await failure(transport(path, timeout=1))

    assert (error.reason, error.scope) == (Reason.AMBIGUOUS, Scope.RECIPIENT)
    await ended(int((tmp_path / "pid").read_text()))


async def test_a_program_that_is_killed_with_the_message(tmp_path: Path) -> None:
    path = program(tmp_path, "cat > /dev/null; kill -9 $$")

    error = await failure(transport(path))

    assert error.reason is Reason.AMBIGUOUS
    assert signal.SIGKILL.name in error.message


async def test_a_cancelled_program_is_ended(tmp_path: Path) -> None:
    path = program(tmp_path, f"echo $$ > {tmp_path}/pid; cat > /dev/null; sleep 1000")
    task = asyncio.create_task(transport(path).deliver(mail(), may_send=always))
    async with asyncio.timeout(30):
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await ended(int((tmp_path / "pid").read_text()))


async def test_what_it_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    path = program(
        tmp_path, f"cat > /dev/null; (while [ ! -e {tmp_path}/end ]; do sleep 0.1; done) & exit 0"
    )
    try:
        async with asyncio.timeout(20):
            assert isinstance(await transport(path).deliver(mail(), may_send=always), Receipt)
    finally:
        (tmp_path / "end").touch()


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    item = transport(tmp_path / "missing")

    with pytest.raises(DeliveryError) as caught:
        await item.verify()
    error = await failure(item)

    for problem in (caught.value, error):
        assert (problem.reason, problem.scope) == (Reason.INVALID_CONFIG, Scope.PROCESSOR)
        assert str(tmp_path / "missing") in problem.message


async def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    path = program(tmp_path, "exit 0")
    path.chmod(0o644)

    with pytest.raises(DeliveryError, match="missing or not executable"):
        await transport(path).verify()
    assert (await failure(transport(path))).reason is Reason.INVALID_CONFIG


async def test_the_processor_uses_it(tmp_path: Path) -> None:
    path = program(tmp_path, f"cat > {tmp_path}/mail")
    mail_processor = EmailProcessor.create(
        context(spec({"transport": "sendmail", "path": str(path)}), sendmail_paths=(str(path),))
    )

    await mail_processor.verify()
    outcomes = await mail_processor.send(notification(), ["jane@example.com"], sending())
    await mail_processor.close()

    assert isinstance(outcomes[0], Receipt)
    assert b"\nSubject: Build failed\n" in (tmp_path / "mail").read_bytes()
