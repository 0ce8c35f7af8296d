"""A processor that was refused, and what happens meanwhile to those whom it asks to probe it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from notifications_operator.api.errors import ForbiddenError
from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.processor import NotificationProcessorStatus
from notifications_operator.api.reasons import Reason
from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS
from notifications_operator.delivery.dispatch import channel
from notifications_operator.delivery.dispatch.health import breaker, evidence
from notifications_operator.delivery.ledger import rows
from notifications_operator.processors.errors import DeliveryError, Scope
from tests.support.cluster import Interruption
from tests.unit.delivery.builders import ADA, BOB, CATALOG, EVE, directory, error
from tests.unit.delivery.harness import NAMESPACE, World, world
from tests.unit.delivery.scripted import Script


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pauses, polls and holds be over soon."""
    monkeypatch.setattr(breaker, "_DEFAULT_DELAY", (0.02, 0.04))
    monkeypatch.setattr(breaker, "_DELAYS", {})
    monkeypatch.setattr(channel, "NOT_READY_POLL", 0.02)
    monkeypatch.setattr(evidence, "FIRST_HOLD", 0.05)
    monkeypatch.setattr(evidence, "LONGEST_HOLD", 0.1)
    monkeypatch.setattr(rows, "_whole_seconds", lambda moment: moment)


def denied() -> DeliveryError:
    """Return a refusal of everything that the processor sends."""
    return error(Reason.POLICY_DENIED, "553 not owned", scope=Scope.PROCESSOR, code=553)


def unclear() -> DeliveryError:
    """Return a permanent refusal that does not say whose fault it is."""
    return error(
        Reason.RECIPIENT_REJECTED, "550 no", retryable=False, conclusive=False, signature="no"
    )


def ready(w: World) -> tuple[str, str]:
    """Return status and reason of the processor's condition, as stored."""
    body = w.cluster.read(PROCESSORS, NAMESPACE, "email")
    status = NotificationProcessorStatus.model_validate(body["status"])
    return next(((item.status, item.reason) for item in status.conditions), ("", ""))


def state(w: World, name: str, recipient: str) -> str:
    """Return the state of a delivery, whatever else its status says."""
    body = w.cluster.read(NOTIFICATIONS, "team", name)
    found = {item["recipient"]: item["state"] for item in body["status"]["deliveries"]}
    return str(found[recipient])


async def probing(w: World, name: str = "probe") -> None:
    """Let the delivery of a Notification probe the processor, until the script's gate opens."""
    script = w.scripts["email"]
    script.answers = {ADA: [denied()]}
    w.notify(name, to=ADA)
    await w.until(lambda: ready(w) == ("False", "PolicyDenied"), "not ready")
    script.gate = w.new_gate()
    await w.until(lambda: len(script.started) == 2, "the probe begun")


async def test_a_probe_whose_notification_is_left_alone_is_not_waited_for() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        await probing(w)
        script.answers = {ADA: [error()]}
        w.notify("other", to=BOB)
        w.cluster.write_status(
            NOTIFICATIONS, "team", "probe", lambda status: status["ledger"].update(format=99)
        )
        await w.settle()
        assert script.gate is not None
        script.gate.set()
        done = await w.finished("other")
        assert done.status.state == "Delivered"


@pytest.mark.parametrize("fate", ["deleted", "suspended", "forbidden"])
async def test_a_probe_that_cannot_be_made_is_left_to_others(fate: str) -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        await probing(w)
        script.answers = {ADA: [denied()]}
        w.notify("other", to=BOB)
        match fate:
            case "deleted":
                w.remove("probe")
            case "suspended":
                w.edit("probe", lambda body: body["spec"].update(suspend=True))
            case _:
                w.cluster.interrupt(
                    Interruption(
                        operation="patch_status",
                        error=ForbiddenError("403 policy"),
                        times=10**6,
                        when=lambda status: ADA in str(status),
                    )
                )
        assert script.gate is not None
        script.gate.set()
        done = await w.finished("other")
        assert done.status.state == "Delivered"
        await w.until(lambda: ready(w)[0] == "True", "ready")


async def test_what_an_edited_processor_was_refused_before_is_no_verdict() -> None:
    script = Script(answers={ADA: [unclear()]})
    async with world(scripts={"email": script}) as w:
        script.gate = w.new_gate()
        w.notify(to=ADA)
        await w.started()
        w.cluster.edit(PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(order=5))
        await w.until(lambda: script.made == 2, "made anew")
        script.gate.set()
        done = await w.finished()
        assert done.status.state == "Delivered"
        assert w.rows()[ADA].attempts == 1


async def test_an_unusable_processor_that_pauses_is_not_looked_at_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(answers={ADA: [denied()]})
    async with world(scripts={"email": script}) as w:
        monkeypatch.setattr(channel, "NOT_READY_POLL", 3600.0)
        monkeypatch.setattr(channel, "SHORTEST_SLEEP", 0.0)
        script.verify_errors.extend([denied()] * 3)
        w.notify(to=ADA)
        await w.until(lambda: script.verified >= 2, "a trial")
        spec: dict[str, Any] = {"type": "example.com/unheard-of"}
        w.cluster.edit(PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(spec))
        await w.until(lambda: ready(w)[1] == "InvalidConfig", "invalid")
        looks: list[None] = []
        await w.until(lambda: w.engine.supervisor.get("email").health.trial_due, "due")  # type: ignore[union-attr]
        w.engine.supervisor.subscribe(lambda: looks.append(None))
        for _ in range(10):
            await w.settle()
        assert len(looks) <= 1


async def test_unknown_users_wait_and_cost_no_attempt_while_a_processor_is_probed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breaker, "_DEFAULT_DELAY", (3600.0, 3600.0))
    unknown = error(Reason.UNKNOWN_ENTITIES, "the catalog does not know it")
    script = Script(always={EVE: denied, BOB: lambda: unknown})
    async with world(scripts={"email": script}) as w:
        w.notify("refused", to=EVE)
        await w.until(lambda: ready(w) == ("False", "PolicyDenied"), "not ready")
        w.notify(to=BOB)
        await w.until(lambda: w.get().status.revision == 1, "planned")
        w.engine.use_directory(directory(CATALOG.replace("name: bob", "name: bobby")))
        email = w.engine.supervisor.get("email")
        assert email is not None
        email.health.next_trial = 0.0
        await w.until(lambda: w.rows()[BOB].reason == "UnknownEntities", "it waits")
        row = w.rows()[BOB]
        assert (row.state, row.attempts) == (DeliveryState.PENDING, 0)
        assert BOB not in script.started


async def test_what_was_refused_before_another_process_led_does_not_stand() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        script.always = {ADA: denied}
        w.notify(to=ADA)
        await w.until(lambda: ready(w) == ("False", "PolicyDenied"), "not ready")
        w.edit("n", lambda body: body["spec"].update(suspend=True))
        await w.state("Suspended")
        w.tenure.epoch = None
        w.engine.lead()
        await w.settle()
        w.cluster.write_status(
            PROCESSORS,
            NAMESPACE,
            "email",
            lambda status: status["conditions"][0].update(status="True", reason="Connected"),
        )
        w.tenure.epoch = 3
        w.engine.lead()
        await w.until(lambda: ready(w)[0] == "True", "ready without a mail")
        w.notify("other", to=BOB)
        await w.finished("other")
        assert ready(w)[0] == "True"


async def test_a_trial_that_blames_a_recipient_ends_nobody() -> None:
    """A plugin may raise any error of a delivery from its trial."""
    script = Script(starts=1, interval=timedelta(seconds=0.2))
    wrong = error(Reason.RECIPIENT_REJECTED, "no", retryable=False)
    async with world(scripts={"email": script}) as w:
        script.gate = w.new_gate()
        script.answers = {ADA: [denied()]}
        script.verify_errors.extend([wrong] * 15)
        w.notify(to=[ADA, BOB, EVE])
        await w.started()
        script.gate.set()
        done = await w.finished()
        assert done.status.summary == "3/3"


async def test_what_is_suspended_hides_no_refusal_of_everybody() -> None:
    script = Script(always={ADA: unclear, BOB: unclear, EVE: denied})
    async with world(scripts={"email": script}) as w:
        w.notify("later", to=EVE)
        await w.until(lambda: ready(w)[0] == "False", "planned and refused")
        w.edit("later", lambda body: body["spec"].update(suspend=True))
        await w.state("Suspended", "later")
        del script.always[EVE]
        w.notify("first", to=EVE)
        await w.finished("first")
        await w.until(lambda: ready(w)[0] == "True", "ready")
        w.notify(to=[ADA, BOB])
        await w.until(lambda: ready(w) == ("False", "PolicyDenied"), "not ready")
