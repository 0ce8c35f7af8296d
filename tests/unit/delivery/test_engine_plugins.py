"""Plugins that fail, lie and forget: nobody else is any the worse."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from notifications_operator.api.conditions import ConditionType, find_condition
from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.processor import NotificationProcessorStatus
from notifications_operator.api.reasons import Reason
from notifications_operator.api.references import PROCESSORS
from notifications_operator.delivery.dispatch import channel
from notifications_operator.delivery.dispatch.health import breaker
from notifications_operator.processors.base import SecretKey
from notifications_operator.processors.errors import (
    InvalidProcessorConfig,
    Receipt,
    Scope,
    SecretNotFound,
)
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


def ready(w: World, name: str = "email") -> tuple[str, str, str]:
    """Return status, reason and message of a processor's condition, as stored."""
    body = w.cluster.read(PROCESSORS, NAMESPACE, name)
    status = NotificationProcessorStatus.model_validate(body["status"])
    found = find_condition(status.conditions, ConditionType.READY)
    return (found.status, found.reason, found.message) if found else ("", "", "")


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [Receipt(), Receipt()],
        [None],
        ["accepted"],
        [True],
        RuntimeError("a bug"),
        NotImplementedError(),
        asyncio.CancelledError(),
        TimeoutError(),
        5,
    ],
    ids=repr,
)
async def test_plugin_that_breaks_its_promise_is_in_doubt_and_nothing_else_is(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(answers={BOB: [answer]})
    async with world(scripts={"email": script}) as w:
        w.notify(to=[ADA, BOB])
        await w.until(
            lambda: w.rows().get(BOB) is not None and w.rows()[BOB].state is DeliveryState.RETRYING,
            "doubted",
        )
        row = w.rows()[BOB]
        assert row.reason == "Ambiguous"
        assert "failed unexpectedly" in (row.message or "")
        done = await w.finished()
        assert done.status.summary == "2/2"
        assert script.recipients == [ADA, BOB, BOB]
    assert "processor failed to send" in caplog.text


class Config(BaseModel):
    url: str


def invalid_config() -> ValidationError:
    try:
        Config.model_validate({"url": 5})
    except ValidationError as failure:
        return failure
    raise AssertionError


@pytest.mark.parametrize(
    ("failure", "reason", "message"),
    [
        (InvalidProcessorConfig("spec.config.url: missing"), "InvalidConfig", "spec.config.url"),
        (SecretNotFound("Secret operator/s has no key 'p'"), "SecretNotFound", "no key 'p'"),
        (invalid_config(), "InvalidConfig", "url: Input should be a valid string"),
        (KeyError("a bug"), "InvalidConfig", "KeyError"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_processor_that_cannot_be_made_says_why_and_works_when_it_can(
    failure: BaseException, reason: str, message: str
) -> None:
    script = Script(create_error=failure)
    async with world(scripts={"email": script}, processors=()) as w:
        w.processor()
        w.notify()
        await w.until(lambda: ready(w)[:2] == ("False", reason), "not ready")
        assert message in ready(w)[2]
        await w.state("Pending")
        assert [row.recipient for row in w.get().status.deliveries] == ["*"]
        assert w.get().status.reason == "InvalidConfig"
        script.create_error = None
        w.cluster.edit(PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(order=1))
        await w.finished()
        assert script.recipients == [ADA]


async def test_verify_with_a_bug_is_not_ready_and_tried_again() -> None:
    script = Script()
    script.verify_errors.append(ZeroDivisionError("a bug"))
    async with world(scripts={"email": script}, processors=()) as w:
        w.processor()
        w.notify()
        await w.finished()
        assert script.verified == 2
        assert script.recipients == [ADA]


def lazy_failure(*_: Any) -> Any:
    yield from ()
    raise RuntimeError("a bug")


@pytest.mark.parametrize(
    ("method", "broken"),
    [
        ("targets", lambda *_: 1 / 0),
        ("targets", lazy_failure),
        ("targets", lambda *_: None),
        ("targets", lambda *_: ["user:default/ada"]),
        ("decorate", lambda *_: 1 / 0),
        ("decorate", lambda *_: None),
    ],
)
async def test_plugin_that_cannot_plan_does_not_delay_another(
    method: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = {"good": Script(), "bad": Script()}
    async with world(scripts=scripts, processors=("good", "bad")) as w:
        bad = w.engine.supervisor.get("bad")
        assert bad is not None
        monkeypatch.setattr(type(bad._processor), method, broken)
        w.notify()
        await w.until(
            lambda: any(
                (row.processor, row.state) == ("good", "Sent") for row in w.get().status.deliveries
            ),
            "the good one sent",
        )
        monkeypatch.undo()


async def test_processor_that_fails_to_close_harms_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:

        async def close(_: Any) -> None:
            raise RuntimeError("a bug")

        made = w.engine.supervisor.get("email")
        assert made is not None
        monkeypatch.setattr(type(made._processor), "close", close)
        w.cluster.edit(PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(order=5))
        await w.until(lambda: script.made == 2, "made anew")
        w.notify()
        await w.finished()
        assert script.recipients == [ADA]


async def test_secret_in_a_processors_own_trouble_is_hidden() -> None:
    script = Script(secret=SecretKey(secret="smtp", key="password"))
    script.create_error = InvalidProcessorConfig("cannot use 'top-secret'")
    async with world(scripts={"email": script}, processors=()) as w:
        w.cluster.put_secret(NAMESPACE, "smtp", {"password": b"top-secret"})
        w.processor()
        await w.until(lambda: ready(w)[1] == "InvalidConfig", "not ready")
        assert ready(w)[2] == "cannot use '***'"


@pytest.mark.parametrize("method", ["_judge", "_count"])
async def test_a_fault_around_a_send_leaves_no_claim_behind(
    method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may have been sent: the delivery is in doubt and its slot is free again."""
    as_written, faults = getattr(channel.Channel, method), [LookupError("odd")]

    def fail(self: channel.Channel, *arguments: Any) -> None:
        if faults:
            raise faults.pop()
        as_written(self, *arguments)

    monkeypatch.setattr(channel.Channel, method, fail)
    script = Script(concurrency=1)
    async with world(scripts={"email": script}) as w:
        w.notify()
        await w.until(lambda: w.rows().get(ADA) is not None and w.rows()[ADA].attempts == 1)
        await w.until(lambda: w.rows()[ADA].reason == Reason.AMBIGUOUS, "in doubt")
        w.notify("other", to=BOB)
        await w.finished("other")
        await w.finished()
        assert script.recipients.count(ADA) == 2, "resent, as onAmbiguous says"
        assert w.engine.supervisor.background.problem is not None
    assert [item for item in caplog.records if item.exc_info]
