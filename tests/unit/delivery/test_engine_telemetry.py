"""What metrics and logs say of work that was really done."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.dispatch import channel
from notifications_operator.delivery.dispatch.health import breaker
from notifications_operator.delivery.dispatch.lane import Lane
from notifications_operator.processors.base import Limits
from notifications_operator.processors.errors import Scope
from notifications_operator.telemetry.logs import JSONFormatter
from notifications_operator.telemetry.redaction import remember_secrets
from tests.unit.delivery.builders import ADA, error
from tests.unit.delivery.harness import world
from tests.unit.delivery.scripted import Script

OUTAGE = error(Reason.AUTH_FAILED, "535 no", scope=Scope.PROCESSOR)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "_DEFAULT_DELAY", (0.01, 0.02))
    monkeypatch.setattr(breaker, "_DELAYS", {})
    monkeypatch.setattr(channel, "NOT_READY_POLL", 0.02)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"notifications_{name}", {"processor": "email"} | labels) or 0


async def test_breaker_opens_and_closes_in_metrics_and_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    trips = value("processor_breaker_trips_total", reason="AuthFailed")
    script = Script(answers={"*": [OUTAGE]})
    async with world(scripts={"email": script}) as w:
        # The trial after the failure fails too, so that the breaker stays open until it is seen.
        await w.until(lambda: script.verified > 0)
        script.verify_errors.extend([OUTAGE] * 1000)
        w.notify()
        await w.until(lambda: bool(w.engine.supervisor.get("email").measure().breaker_open))  # type: ignore[union-attr]
        w.engine.measure()
        assert value("processor_breaker_open") == 1
        assert value("processor_ready") == 0
        script.verify_errors.clear()
        await w.finished()
        w.engine.measure()
        assert value("processor_breaker_open") == 0
        assert value("processor_ready") == 1
    assert value("processor_breaker_trips_total", reason="AuthFailed") > trips
    lines = [
        record.getMessage()
        for record in caplog.records
        if record.__dict__.get("processor") == "email"
    ]
    assert "processor: Connected -> AuthFailed: 535 no" in lines
    assert "processor: AuthFailed -> Connected: ready to send" in lines
    assert len([line for line in lines if "-> AuthFailed" in line]) == 1, "once, not at each trial"


async def test_time_to_the_first_mail_is_measured_and_that_of_updates_is_not() -> None:
    async with world() as w:
        before = value("created_to_sent_seconds_count")
        w.notify()
        await w.finished()
        first = value("created_to_sent_seconds_count")
        assert first > before
        w.retitle("n", "another")
        await w.until(lambda: w.get().status.revision == 2 and w.get().finished)
        assert value("created_to_sent_seconds_count") == first
        assert value("send_seconds_count") > 0


async def test_suspended_notification_does_not_age() -> None:
    async with world() as w:
        w.notify("resting", suspend=True)
        await w.state("Suspended", "resting")
        w.engine.measure()
        assert REGISTRY.get_sample_value("notifications_unfinished") == 1
        assert REGISTRY.get_sample_value("notifications_oldest_unfinished_seconds") == 0


async def test_log_names_the_notification_and_addresses_only_for_debugging(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with world() as w:
        w.notify()
        await w.finished()
    of_it = [record for record in caplog.records if record.__dict__.get("notification") == "team/n"]
    assert [item.getMessage() for item in of_it if item.levelno == logging.INFO][-1].endswith(
        "-> Delivered"
    )
    assert [item for item in of_it if item.levelno == logging.DEBUG and ADA in item.getMessage()]
    assert not [
        record
        for record in caplog.records
        if record.levelno > logging.DEBUG and ADA in record.getMessage()
    ]


async def test_transitions_never_tell_secrets(caplog: pytest.LogCaptureFixture) -> None:
    remember_secrets("test_engine_telemetry", ["hunter22"])
    try:
        caplog.set_level(logging.DEBUG)
        leak = error(Reason.AUTH_FAILED, "535 hunter22", scope=Scope.PROCESSOR)
        script = Script(answers={"*": [leak]})
        async with world(scripts={"email": script}) as w:
            w.notify()
            await w.finished()
        written = "\n".join(JSONFormatter().format(record) for record in caplog.records)
        assert "hunter22" not in written
        assert written.count("535 ***") > 1
    finally:
        remember_secrets("test_engine_telemetry", ())


async def test_throttle_says_how_long_it_held_back() -> None:
    limits = Limits(concurrency=2, starts=1, interval=timedelta(milliseconds=50))
    lane = Lane(limits)
    async with lane.sending() as first:
        assert first < 0.05
    async with lane.sending() as second:
        assert 0 < second < 30
    lane.configure(Limits(concurrency=2, starts=0, interval=timedelta()))
    async with lane.sending() as unlimited:
        assert unlimited == 0
