"""Processors that fail, lie, come and go: one bad thing stays one bad thing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from notifications_operator.api.conditions import ConditionType, find_condition
from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.processor import NotificationProcessor, NotificationProcessorStatus
from notifications_operator.api.reasons import Reason
from notifications_operator.api.references import PROCESSORS
from notifications_operator.delivery.dispatch import channel
from notifications_operator.delivery.dispatch.health import breaker
from notifications_operator.processors.base import SecretKey
from notifications_operator.processors.errors import (
    Scope,
)
from notifications_operator.telemetry.redaction import redact
from tests.unit.delivery.builders import ADA, BOB, error
from tests.unit.delivery.harness import NAMESPACE, World, world
from tests.unit.delivery.scripted import Script

OUTAGE = error(Reason.CONNECT_FAILED, "refused", scope=Scope.PROCESSOR)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let breakers and polls be over soon."""
    monkeypatch.setattr(breaker, "_DEFAULT_DELAY", (0.01, 0.02))
    monkeypatch.setattr(breaker, "_DELAYS", {})
    monkeypatch.setattr(channel, "NOT_READY_POLL", 0.02)


def processor(w: World, name: str = "email") -> NotificationProcessor:
    return NotificationProcessor.model_validate(w.cluster.read(PROCESSORS, NAMESPACE, name))


def ready(w: World, name: str = "email") -> tuple[str, str, str]:
    """Return status, reason and message of a processor's condition, as stored."""
    body = w.cluster.read(PROCESSORS, NAMESPACE, name)
    status = NotificationProcessorStatus.model_validate(body["status"])
    found = find_condition(status.conditions, ConditionType.READY)
    return (found.status, found.reason, found.message) if found else ("", "", "")


async def test_outage_costs_no_attempt_and_is_over_by_itself() -> None:
    script = Script(answers={"*": [OUTAGE, OUTAGE, OUTAGE]})
    async with world(scripts={"email": script}) as w:
        w.notify()
        await w.finished()
        await w.engine.drain()
        assert script.recipients == [ADA] * 4
        row = w.rows()[ADA]
        assert (row.state, row.attempts) == (DeliveryState.SENT, 1)


async def test_outage_is_said_on_the_row_while_it_lasts() -> None:
    script = Script(answers={"*": [OUTAGE]})
    async with world(scripts={"email": script}) as w:
        script.verify_errors.extend([OUTAGE] * 10_000)
        w.notify()
        await w.until(
            lambda: [row.reason for row in w.rows().values()] == ["ConnectFailed"], "blamed"
        )
        row = w.rows()[ADA]
        assert (row.state, row.attempts, row.message) == (DeliveryState.PENDING, 0, "refused")
        await w.until(lambda: ready(w)[:2] == ("False", "ConnectFailed"), "not ready")
        script.verify_errors.clear()
        await w.finished()


async def test_breaker_stops_the_others_before_they_are_tried() -> None:
    script = Script(concurrency=1, answers={"*": [OUTAGE]})
    async with world(scripts={"email": script}) as w:
        w.scripts["email"].verify_errors.extend([OUTAGE] * 10_000)
        for number in range(5):
            w.notify(f"n{number}")
        await w.until(lambda: ready(w)[1] == "ConnectFailed", "not ready")
        await w.settle()
        assert len(script.started) == 1
        script.verify_errors.clear()
        for number in range(5):
            await w.finished(f"n{number}")
        assert len(script.started) == 6


async def test_two_processors_one_broken_do_not_delay_each_other() -> None:
    good, bad = Script(), Script(answers={"*": [OUTAGE]})
    async with world(scripts={"good": good, "bad": bad}, processors=("good", "bad")) as w:
        bad.verify_errors.extend([OUTAGE] * 10_000)
        w.notify()
        await w.until(
            lambda: (
                [(row.processor, row.state) for row in w.get().status.deliveries]
                == [("bad", "Pending"), ("good", "Sent")]
            ),
            "the good one sent",
        )
        bad.verify_errors.clear()
        done = await w.finished()
        assert done.status.summary == "2/2"


async def test_send_that_hangs_does_not_delay_another_processors_retry() -> None:
    good, slow = Script(answers={"*": [error()]}), Script()
    async with world(scripts={"good": good, "slow": slow}, processors=("good", "slow")) as w:
        slow.gate = gate = w.new_gate()
        w.notify()
        await w.until(lambda: len(good.sent) == 2, "tried again while the other hangs")
        gate.set()
        done = await w.finished()
        assert done.status.summary == "2/2"


async def test_throttle_is_over_all_recipients_and_notifications_of_a_processor() -> None:
    script = Script(starts=2, interval=timedelta(hours=1))
    async with world(scripts={"email": script}) as w:
        w.notify("group", to=[ADA, BOB])
        await w.finished("group")
        w.notify("other", to=[ADA])
        w.notify("another", to=[BOB])
        await w.settle()
        assert script.recipients == [ADA, BOB]


async def test_batch_gets_one_outcome_each() -> None:
    script = Script(
        max_batch=2, answers={BOB: [error(Reason.MAILBOX_FULL, "full", retryable=False)]}
    )
    async with world(scripts={"email": script}) as w:
        w.notify(to=[ADA, BOB])
        done = await w.finished()
        assert done.status.summary == "1/2"
        assert (w.rows()[ADA].state, w.rows()[BOB].reason) == ("Sent", "MailboxFull")


async def test_missing_secret_waits_and_goes_when_it_appears() -> None:
    script = Script(secret=SecretKey(secret="smtp", key="password"))
    async with world(scripts={"email": script}, processors=()) as w:
        w.processor()
        w.notify()
        await w.until(lambda: ready(w)[:2] == ("False", "SecretNotFound"), "not ready")
        assert "operator/smtp" in ready(w)[2]
        assert "must have the key password" in ready(w)[2]
        w.cluster.put_secret(NAMESPACE, "smtp", {"user": b"u"})
        await w.until(lambda: "'password'" in ready(w)[2], "names the key")
        assert "its keys: user" in ready(w)[2]
        w.cluster.put_secret(NAMESPACE, "smtp", {"password": b"secret-value"})
        await w.finished()
        assert script.recipients == [ADA]
        await w.until(lambda: ready(w)[0] == "True", "ready")
        assert processor(w).status.observed_secret_version is not None


async def test_unknown_type_names_the_valid_ones() -> None:
    async with world() as w:
        w.processor("other", type="example.com/nothing")
        await w.until(lambda: ready(w, "other")[:2] == ("False", "InvalidConfig"), "not ready")
        assert "example.com/email" in ready(w, "other")[2]


async def test_processor_elsewhere_is_not_used() -> None:
    async with world() as w:
        w.cluster.create(
            PROCESSORS,
            {
                "kind": "NotificationProcessor",
                "metadata": {"namespace": "team", "name": "own"},
                "spec": {"type": "example.com/email"},
            },
        )

        def refused() -> bool:
            body = w.cluster.read(PROCESSORS, "team", "own")
            return "NotAllowed" in str(body["status"])

        await w.until(refused, "refused")
        w.notify()
        done = await w.finished()
        assert [item.name for item in done.status.processors] == ["email"]


async def test_deleted_processor_is_closed_after_its_last_send() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify()
        await w.started()
        w.cluster.remove(PROCESSORS, NAMESPACE, "email")
        await w.settle()
        assert script.closed == 0
        gate.set()
        done = await w.finished()
        await w.until(lambda: script.closed == 1, "closed")
        assert not script.closed_while_sending
        assert done.status.state == "Delivered"


async def test_replaced_processor_is_closed_after_its_last_send() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify()
        await w.started()
        w.cluster.edit(PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(order=5))
        await w.until(lambda: script.made == 2, "made anew")
        assert script.closed == 0
        gate.set()
        await w.finished()
        await w.until(lambda: script.closed == 1, "closed")
        assert not script.closed_while_sending


async def test_suspended_processor_waits() -> None:
    async with world(processors=()) as w:
        w.processor(suspend=True)
        w.notify()
        await w.until(lambda: ready(w)[:2] == ("False", "Suspended"), "suspended")
        w.cluster.edit(
            PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(suspend=False)
        )
        await w.finished()
        assert w.scripts["email"].recipients == [ADA]


async def test_processor_that_becomes_unreadable_says_so() -> None:
    async with world() as w:

        def change(body: dict[str, Any]) -> None:
            body["spec"]["retry"] = {"minDelay": "2h", "maxDelay": "1h"}

        w.cluster.edit(PROCESSORS, NAMESPACE, "email", change)
        await w.until(lambda: ready(w)[:2] == ("False", "InvalidConfig"), "not ready")
        assert "maxDelay" in ready(w)[2]


async def test_ready_is_written_once() -> None:
    async with world() as w:
        await w.until(lambda: ready(w)[0] == "True", "ready")
        before = len(w.cluster.patches)
        for number in range(3):
            w.notify(f"n{number}")
            await w.finished(f"n{number}")
        await w.settle()
        written = [patch.status for patch in w.cluster.patches[before:] if patch.name == "email"]
        assert len(written) <= 1, "lastSuccessTime at most once a minute"


@pytest.mark.parametrize("change", ["rotation", "deletion"])
async def test_old_secret_stays_hidden_until_its_last_send_has_ended(change: str) -> None:
    script = Script(secret=SecretKey(secret="smtp", key="password"))
    script.answers = {"*": [error(message="535 old-password is wrong", retryable=False)]}
    async with world(scripts={"email": script}, processors=()) as w:
        w.cluster.put_secret(NAMESPACE, "smtp", {"password": b"old-password"})
        w.processor()
        script.gate = gate = w.new_gate()
        w.notify()
        await w.started()
        if change == "rotation":
            w.cluster.put_secret(NAMESPACE, "smtp", {"password": b"new-password"})
            w.cluster.edit(
                PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(order=5)
            )
            await w.until(lambda: redact("new-password") == "***", "made anew")
        else:
            w.cluster.remove(PROCESSORS, NAMESPACE, "email")
            await w.settle()
        gate.set()
        await w.finished()
        assert w.rows()[ADA].message == "535 *** is wrong"
        await w.until(lambda: script.closed == script.made - (change == "rotation"), "closed")
        assert redact("old-password") == "old-password", "and is forgotten then"


@pytest.mark.parametrize("confidential", [True, False])
async def test_only_what_is_confidential_is_hidden(confidential: bool) -> None:
    """A user name or an authority of a Secret is an ordinary text, wherever it occurs."""
    key = SecretKey(secret="smtp", key="username", confidential=confidential)
    script = Script(secret=key)
    script.answers = {"*": [error(message="535 relay@corp.example is wrong", retryable=False)]}
    async with world(scripts={"email": script}, processors=()) as w:
        w.cluster.put_secret(NAMESPACE, "smtp", {"username": b"relay@corp.example"})
        w.processor()
        w.notify()
        await w.finished()
        shown = "***" if confidential else "relay@corp.example"
        assert w.rows()[ADA].message == f"535 {shown} is wrong"


@pytest.mark.parametrize(
    "value", ["${SMTP_PASSWORD}", "hunter22-${SMTP_PASSWORD}", "${A:-hunter22}", "${{ secrets.A }}"]
)
async def test_placeholder_in_a_secret_is_never_sent(value: str) -> None:
    script = Script(secret=SecretKey(secret="smtp", key="password"))
    async with world(scripts={"email": script}, processors=()) as w:
        w.cluster.put_secret(NAMESPACE, "smtp", {"password": value.encode()})
        w.processor()
        w.notify()
        await w.until(lambda: ready(w)[:2] == ("False", "InvalidConfig"), "not ready")
        assert f"Secret {NAMESPACE}/smtp, key 'password': it contains a placeholder" in ready(w)[2]
        assert "envsubst" in ready(w)[2]
        assert "hunter22" not in ready(w)[2]
        assert script.made == 0

        w.cluster.put_secret(NAMESPACE, "smtp", {"password": b"hunter22"})
        w.cluster.edit(PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(order=5))
        await w.finished()
        assert script.recipients == [ADA]
