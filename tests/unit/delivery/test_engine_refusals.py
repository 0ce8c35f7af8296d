"""Refusals and the engine: nobody pays for another's fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from notifications_operator.api.conditions import ConditionType, find_condition
from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.processor import NotificationProcessorStatus
from notifications_operator.api.reasons import Reason
from notifications_operator.api.references import PROCESSORS
from notifications_operator.delivery.dispatch import channel
from notifications_operator.delivery.dispatch.health import breaker, evidence
from notifications_operator.delivery.dispatch.lane import WINDOW_LIMIT
from notifications_operator.delivery.ledger import rows
from notifications_operator.delivery.runners import runner
from notifications_operator.delivery.storage.slices import book
from notifications_operator.processors.errors import DeliveryError, Scope
from tests.unit.delivery.builders import directory, error, users_yaml
from tests.unit.delivery.harness import NAMESPACE, World, world
from tests.unit.delivery.scripted import Script


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pauses, polls and holds be over soon."""
    monkeypatch.setattr(breaker, "_DEFAULT_DELAY", (0.02, 0.04))
    monkeypatch.setattr(breaker, "_DELAYS", {})
    monkeypatch.setattr(breaker, "_SLOWDOWN", (0.02, 0.04))
    monkeypatch.setattr(channel, "NOT_READY_POLL", 0.02)
    monkeypatch.setattr(evidence, "FIRST_HOLD", 0.05)
    monkeypatch.setattr(evidence, "LONGEST_HOLD", 0.1)
    monkeypatch.setattr(rows, "_whole_seconds", lambda moment: moment)


@pytest.fixture(params=["Inline", "Slices"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Keep the ledger in the status, or in slices of three rows."""
    if request.param == "Slices":
        monkeypatch.setattr(runner, "INLINE_LIMIT", 2)
        monkeypatch.setattr(runner, "SLICED_LINGER", 0.005)
        monkeypatch.setattr(book, "SLICE_SIZE", 3)
    return str(request.param)


def refs(prefix: str, amount: int) -> list[str]:
    """Return some users."""
    return [f"user:default/{prefix}{number:03}" for number in range(amount)]


def catalog(*users: list[str]) -> Any:
    """Return a catalog of users."""
    names = [ref.removeprefix("user:default/") for group in users for ref in group]
    return directory(users_yaml(names))


def denied() -> DeliveryError:
    """Return a refusal of everything that the processor sends."""
    return error(Reason.POLICY_DENIED, "553 not owned", scope=Scope.PROCESSOR, code=553)


def unclear() -> DeliveryError:
    """Return a permanent refusal that does not say whose fault it is."""
    return error(
        Reason.RECIPIENT_REJECTED,
        "550 rejected",
        retryable=False,
        code=550,
        conclusive=False,
        signature="550 rejected",
    )


def unknown_user() -> DeliveryError:
    """Return a permanent refusal that names the recipient."""
    return error(
        Reason.RECIPIENT_REJECTED, "550 5.1.1 unknown", retryable=False, enhanced_code="5.1.1"
    )


def spam() -> DeliveryError:
    """Return a permanent refusal of the message."""
    return error(
        Reason.CONTENT_REJECTED,
        "554 spam",
        scope=Scope.MESSAGE,
        retryable=False,
        code=554,
        enhanced_code="5.7.1",
    )


def ready(w: World) -> tuple[str, str, str]:
    """Return status, reason and message of the processor's condition, as stored."""
    body = w.cluster.read(PROCESSORS, NAMESPACE, "email")
    status = NotificationProcessorStatus.model_validate(body["status"])
    found = find_condition(status.conditions, ConditionType.READY)
    return (found.status, found.reason, found.message) if found else ("", "", "")


def states(w: World, name: str = "n") -> dict[str, str]:
    """Return the state of each delivery of a Notification."""
    return {recipient: str(row.state) for recipient, row in w.rows(name).items()}


def all_in(state: DeliveryState, w: World, name: str = "n") -> Callable[[], bool]:
    """Return whether all deliveries of a Notification are in a state."""
    return lambda: set(states(w, name).values()) == {str(state)}


class TestWholeProcessor:
    async def test_it_is_not_ready_until_a_delivery_is_accepted(self) -> None:
        users = refs("u", 5)
        script = Script(concurrency=1, always={"*": denied})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify(to=users)
            await w.until(lambda: script.verified >= 5, "verified again and again")
            assert ready(w)[:2] == ("False", "PolicyDenied")
            assert "553 not owned" in ready(w)[2]
            told = [event.reason for event in w.recorder.events if event.name == "email"]
            assert told in (["PolicyDenied"], ["Connected", "PolicyDenied"]), "it does not flap"
            assert set(states(w).values()) <= {"Pending", "Claimed"}
            script.always.clear()
            await w.finished()
            await w.until(lambda: ready(w)[0] == "True", "ready")
            assert {row.attempts for row in w.rows().values()} == {1}

    async def test_one_delivery_at_a_time_probes_it(self) -> None:
        users = refs("u", 30)
        script = Script(concurrency=8, always={"*": denied})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify(to=users)
            await w.until(lambda: ready(w)[0] == "False", "not ready")
            await w.until(lambda: script.sending == 0, "all answered")
            before, verified = len(script.sent), script.verified
            await w.until(lambda: script.verified >= verified + 5, "five trials")
            assert len(script.sent) - before <= 7

    async def test_a_changed_processor_starts_afresh(self) -> None:
        script = Script(always={"*": denied})
        users = refs("u", 3)
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify(to=users)
            await w.until(lambda: ready(w)[0] == "False", "not ready")
            script.always.clear()
            w.cluster.edit(
                PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(order=5)
            )
            await w.finished()

    async def test_nobody_fails_before_max_age(self) -> None:
        users = refs("u", 3)
        script = Script(always={"*": denied})
        async with world(scripts={"email": script}, catalog=catalog(users), processors=()) as w:
            w.processor(retry={"minDelay": "100ms", "maxDelay": "100ms", "maxAttempts": 1})
            w.notify(to=users)
            await w.until(lambda: len(script.sent) > 10, "tried again and again")
            assert set(states(w).values()) <= {"Pending", "Claimed"}

    async def test_what_is_too_old_ends_with_the_reason(self, kept: str) -> None:
        users = refs("u", 4)
        script = Script(always={"*": denied})
        async with world(scripts={"email": script}, catalog=catalog(users), processors=()) as w:
            w.processor(retry={"minDelay": "100ms", "maxDelay": "100ms", "maxAge": "1s"})
            w.notify(to=users)
            await w.finished()
            found = w.rows().values()
            assert {(row.state, row.reason) for row in found} == {("Failed", "PolicyDenied")}

    async def test_a_broadcast_that_its_filter_leaves_out_goes_by_the_others(
        self, kept: str
    ) -> None:
        users = refs("u", 5)
        script, other = Script(always={"*": denied}), Script()
        async with world(
            scripts={"email": script, "other": other},
            processors=("other",),
            catalog=catalog(users),
        ) as w:
            w.processor("email", filter={"minSeverity": "high"})
            await w.until(lambda: ready(w)[0] == "True", "ready")
            w.notify("urgent", to=users, payload={"severity": "critical"})
            await w.until(lambda: ready(w)[0] == "False", "not ready")
            w.notify("plain", to=users)
            done = await w.finished("plain")
            assert done.status.summary == "5/5"


class TestTooFast:
    @pytest.mark.parametrize("reason", [Reason.RATE_LIMITED, Reason.SERVER_BUSY])
    async def test_it_slows_down_and_stays_ready(self, reason: Reason) -> None:
        busy = error(reason, "454 throttling", scope=Scope.PROCESSOR, code=454)
        script = Script(answers={"*": [busy]})
        users = refs("u", 3)
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            await w.until(lambda: ready(w)[0] == "True", "ready")
            w.notify(to=users)
            await w.finished()
            told = [event.reason for event in w.recorder.events if event.name == "email"]
            assert told == ["Connected"]
            assert {row.attempts for row in w.rows().values()} == {1}

    async def test_it_verifies_before_it_goes_on_when_it_is_refused_again(self) -> None:
        busy = error(Reason.SERVER_BUSY, "503", scope=Scope.PROCESSOR, code=503)
        script = Script(concurrency=1, always={"*": lambda: busy})
        async with world(scripts={"email": script}, catalog=catalog(refs("u", 1))) as w:
            await w.until(lambda: ready(w)[0] == "True", "ready")
            script.verify_errors.extend([busy] * 10_000)
            w.notify(to=refs("u", 1))
            await w.until(lambda: ready(w)[:2] == ("False", "ConnectFailed"), "not ready")
            assert len(script.sent) == 2
            script.always.clear()
            script.verify_errors.clear()
            await w.finished()


class TestOneThatAlwaysTrips:
    async def test_all_others_get_theirs_before_it_is_tried_again(self, kept: str) -> None:
        good, bad = refs("u", 60), refs("aaa", 1)
        script = Script(concurrency=2, always={bad[0]: denied})
        async with world(scripts={"email": script}, catalog=catalog(good, bad)) as w:
            w.notify(to=[*bad, *good])
            await w.until(lambda: set(good) <= set(script.recipients), "all good ones")
            last = max(script.recipients.index(ref) for ref in good)
            assert script.recipients[:last].count(bad[0]) <= 2
            await w.until(lambda: w.rows()[bad[0]].attempts >= 2, "charged each time")

    async def test_other_notifications_pass_it(self) -> None:
        good, bad = refs("u", 60), refs("aaa", 1)
        script = Script(concurrency=2, always={bad[0]: denied})
        async with world(scripts={"email": script}, catalog=catalog(good, bad)) as w:
            w.notify("bad", to=bad, payload={"severity": "critical"})
            for number, ref in enumerate(good):
                w.notify(f"good-{number}", to=ref)
            await w.until(lambda: set(good) <= set(script.recipients), "all good ones")
            last = max(script.recipients.index(ref) for ref in good)
            assert script.recipients[:last].count(bad[0]) <= 3

    async def test_it_makes_nobody_pause_for_ever(self) -> None:
        good, bad = refs("u", 20), refs("aaa", 1)
        script = Script(concurrency=1, always={bad[0]: denied})
        async with world(scripts={"email": script}, catalog=catalog(good, bad)) as w:
            w.notify("bad", to=bad)
            for number, ref in enumerate(good):
                w.notify(f"good-{number}", to=ref)
                await w.finished(f"good-{number}")
            before = script.verified
            tries = script.recipients.count(bad[0])
            await w.until(lambda: script.recipients.count(bad[0]) >= tries + 1, "tried again")
            await w.until(lambda: ready(w)[0] == "True", "ready")
            assert script.verified == before, "it does not pause any more"

    async def test_its_attempts_end(self) -> None:
        good, bad = refs("u", 300), refs("aaa", 1)
        script = Script(concurrency=1, always={bad[0]: denied})
        async with world(scripts={"email": script}, catalog=catalog(good, bad), processors=()) as w:
            w.processor(retry={"minDelay": "100ms", "maxDelay": "100ms", "maxAttempts": 3})
            w.notify("bad", to=bad)
            for number, ref in enumerate(good):
                w.notify(f"good-{number}", to=ref)
                await w.finished(f"good-{number}")
                if states(w, "bad")[bad[0]] == "Failed":
                    break
            row = w.rows("bad")[bad[0]]
            assert (row.state, row.reason, row.attempts) == ("Failed", "PolicyDenied", 3)


class TestMessage:
    async def test_the_others_are_not_tried(self, kept: str) -> None:
        users = refs("u", 40)
        script = Script(concurrency=1, answers={"*": [spam()]})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify(to=users)
            done = await w.finished()
            assert len(script.sent) == 1
            assert done.status.state == "Failed"
            assert done.status.processors[0].failed == 40
            found = w.rows()
            first = found.pop(script.recipients[0])
            assert (first.message, first.attempts) == ("554 spam", 1)
            for row in found.values():
                assert (row.state, row.reason) == ("Failed", "ContentRejected")
                assert (row.code, row.enhanced_code, row.attempts) == (554, "5.7.1", 0)
                assert row.message == (
                    "not tried: the server refused this message for another recipient: 554 spam"
                )

    async def test_those_under_way_finish_by_themselves(self, kept: str) -> None:
        users = refs("u", 6)
        script = Script(concurrency=2, answers={users[0]: [spam()]})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            script.gate, end = w.new_gate(), w.new_gate()
            script.answers[users[1]] = [end]
            w.notify(to=users)
            await w.started(2)
            script.gate.set()
            await w.until(lambda: list(states(w).values()).count("Failed") == 5, "the others ended")
            assert states(w)[users[1]] == "Claimed"
            end.set()
            done = await w.finished()
            assert done.status.summary == "1/6"
            assert sorted(script.recipients) == users[:2]

    async def test_another_notification_and_another_processor_are_not_concerned(self) -> None:
        users = refs("u", 3)
        first, second = Script(concurrency=1, answers={"*": [spam()]}), Script()
        async with world(
            scripts={"email": first, "other": second},
            processors=("email", "other"),
            catalog=catalog(users),
        ) as w:
            w.notify(to=users)
            await w.finished()
            assert len(second.sent) == 3
            w.notify("next", to=users)
            done = await w.finished("next")
            assert done.status.summary == "6/6"

    async def test_an_edit_sends_to_all(self, kept: str) -> None:
        users = refs("u", 8)
        script = Script(concurrency=1, answers={"*": [spam()]})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify(to=users)
            await w.finished()
            w.retitle("n", "no spam")
            await w.until(lambda: w.get().status.summary == "8/8", "all sent")
            assert w.get().status.processors[0].reason is None

    async def test_a_redelivery_sends_to_all(self, kept: str) -> None:
        users = refs("u", 8)
        script = Script(concurrency=1, answers={"*": [spam()]})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify(to=users)
            await w.finished()
            w.annotate("n", "notifications.orchestrator.io/redeliver", "1")
            await w.until(lambda: w.get().status.summary == "8/8", "all sent")

    async def test_a_restart_goes_on_from_what_is_stored(self, kept: str) -> None:
        users = refs("u", 8)
        script = Script(concurrency=1, answers={"*": [spam()]})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify(to=users)
            await w.until(lambda: "Failed" in states(w).values(), "one failed")
            await w.kill()
            script.answers = {"*": [spam()]}
            w.restart(holder="pod_2", catalog=catalog(users))
            await w.finished()
            assert set(states(w).values()) == {"Failed"}
            assert len(script.sent) <= 1

    async def test_one_that_can_be_tried_again_ends_nothing(self) -> None:
        users = refs("u", 3)
        later = error(Reason.SERVER_BUSY, "451", scope=Scope.MESSAGE)
        script = Script(concurrency=1, answers={"*": [later]})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify(to=users)
            done = await w.finished()
            assert done.status.summary == "3/3"


class TestEvidence:
    async def test_a_lone_recipient_fails_once_somebody_is_accepted(self) -> None:
        users = refs("u", 2)
        script = Script(always={users[0]: unclear})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify("lone", to=users[:1])
            await w.until(lambda: len(script.sent) >= 3, "tried again and again")
            row = w.rows("lone")[users[0]]
            assert row.state in ("Retrying", "Claimed", "Pending")
            assert ready(w)[0] == "True"
            w.notify("other", to=users[1:])
            await w.finished("other")
            await w.finished("lone")
            row = w.rows("lone")[users[0]]
            assert (row.state, row.reason, row.attempts) == ("Failed", "RecipientRejected", 1)

    async def test_one_among_others_fails_when_the_others_are_accepted(self, kept: str) -> None:
        users = refs("u", 8)
        script = Script(concurrency=1, always={users[0]: unclear})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify(to=users)
            done = await w.finished()
            assert done.status.summary == "7/8"
            row = w.rows()[users[0]]
            assert (row.state, row.reason, row.attempts) == ("Failed", "RecipientRejected", 1)
            assert script.recipients.count(users[0]) == 2
            assert ready(w)[0] == "True"

    async def test_all_refused_alike_make_it_pause_and_nobody_fails(self, kept: str) -> None:
        users = refs("u", 12)
        script = Script(concurrency=2, always={"*": unclear})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify(to=users)
            await w.until(lambda: ready(w)[:2] == ("False", "PolicyDenied"), "not ready")
            assert "550 rejected" in ready(w)[2]
            await w.until(lambda: script.verified >= 6, "tried again and again")
            assert set(states(w).values()) <= {"Pending", "Retrying", "Claimed"}
            script.always.clear()
            done = await w.finished()
            assert done.status.summary == "12/12"
            await w.until(lambda: ready(w)[0] == "True", "ready")
            assert {row.attempts for row in w.rows().values()} == {1}

    async def test_another_notification_probes_at_once_and_refutes_it(
        self, kept: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(breaker, "_DEFAULT_DELAY", (3600, 3600))
        dead, good = refs("dead", 12), refs("good", 3)
        script = Script(concurrency=2, always=dict.fromkeys(dead, unclear))
        async with world(scripts={"email": script}, catalog=catalog(dead, good)) as w:
            w.notify("dead", to=dead)
            await w.until(lambda: ready(w)[0] == "False", "not ready")
            before = len(script.sent)
            w.notify("good", to=good)
            await w.finished("good")
            assert script.recipients[before] in good
            await w.until(lambda: ready(w)[0] == "True", "ready")

    async def test_what_was_refuted_is_final_and_no_evidence_again(self) -> None:
        dead, good = refs("dead", 5), refs("good", 1)
        script = Script(concurrency=1, always=dict.fromkeys(dead, unclear))
        async with world(scripts={"email": script}, catalog=catalog(dead, good)) as w:
            w.notify("dead", to=dead)
            await w.until(lambda: ready(w)[0] == "False", "not ready")
            w.notify("good", to=good)
            done = await w.finished("dead")
            assert done.status.state == "Failed"
            assert {row.attempts for row in w.rows("dead").values()} == {1}
            await w.until(lambda: ready(w)[0] == "True", "ready")

    async def test_a_killed_process_goes_on_with_what_was_held(self, kept: str) -> None:
        users = refs("u", 6)
        script = Script(concurrency=1, always={"*": unclear})
        async with world(scripts={"email": script}, catalog=catalog(users)) as w:
            w.notify(to=users)
            await w.until(lambda: "Retrying" in states(w).values(), "held")
            await w.kill()
            script.always.clear()
            w.restart(holder="pod_2", catalog=catalog(users))
            done = await w.finished()
            assert done.status.summary == "6/6"

    @pytest.mark.parametrize("refusal", [unknown_user, unclear])
    async def test_300_dead_addresses_of_one_domain_delay_nobody(
        self, refusal: Callable[[], DeliveryError], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(breaker, "_DEFAULT_DELAY", (3600, 3600))
        dead, good = refs("dead", 300), refs("good", 10)
        script = Script(concurrency=2, always=dict.fromkeys(dead, refusal))
        script.domains = dict.fromkeys(dead, "left.example")
        async with world(scripts={"email": script}, catalog=catalog(dead, good)) as w:
            w.notify("dead", to=dead)
            await w.until(lambda: len(script.sent) >= 6, "under way")
            for number, ref in enumerate(good):
                before = len(script.sent)
                w.notify(f"good-{number}", to=ref)
                await w.finished(f"good-{number}")
                # What was claimed before, and what was claimed with it, goes first.
                assert script.recipients.index(ref) - before <= 2 * WINDOW_LIMIT


async def test_a_processor_that_fails_to_name_domains_is_judged_all_the_same() -> None:
    users = refs("u", 8)
    script = Script(concurrency=1, always={users[0]: unclear}, domain_error=ValueError("bug"))
    async with world(scripts={"email": script}, catalog=catalog(users)) as w:
        w.notify(to=users)
        done = await w.finished()
        assert done.status.summary == "7/8"


async def test_what_replaces_a_processor_says_nothing_of_the_next() -> None:
    users = refs("u", 2)
    script = Script()
    async with world(scripts={"email": script}, catalog=catalog(users)) as w:
        gate = w.new_gate()
        script.gate = gate
        w.notify(to=users[:1])
        await w.started()
        script.answers = {users[0]: [denied()]}
        w.cluster.edit(PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(order=5))
        await w.until(lambda: script.made == 2, "made anew")
        script.gate = None
        gate.set()
        await w.finished()
        assert ready(w)[0] == "True"
