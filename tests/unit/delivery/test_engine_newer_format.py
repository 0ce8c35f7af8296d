"""A ledger that a newer release wrote is left alone, and gone on with once it can be read again."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from notifications_operator.api.conditions import Condition
from notifications_operator.api.errors import ForbiddenError
from notifications_operator.api.notification import REDELIVER_ANNOTATION
from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS, SLICES, ObjectRef
from notifications_operator.api.resource import ObjectMeta
from notifications_operator.delivery import left_alone, runner
from notifications_operator.delivery.newer_format import NEWER_FORMAT
from tests.support.cluster import Interruption, MemoryCluster, unavailable
from tests.support.definitions import Definition, installed_definitions
from tests.unit.delivery.builders import ADA, BOB, EVE, directory, error, users_yaml
from tests.unit.delivery.harness import NAMESPACE, World, world
from tests.unit.delivery.scripted import Script

NAMES = [f"u{number:03}" for number in range(300)]
MANY = [f"user:default/{name}" for name in NAMES]

Status = dict[str, Any]
Change = Callable[[Status], object]


def _format(status: Status) -> None:
    status["ledger"]["format"] = 99


def _type(status: Status) -> None:
    status["ledger"]["type"] = "Table"


def _state(status: Status) -> None:
    status["state"] = "Paused"


def _delivery(status: Status) -> None:
    status["deliveries"] = [
        {"processor": "email", "recipient": ADA, "state": "Queued"},
        *status.get("deliveries", [])[1:],
    ]


def _everything(status: Status) -> None:
    """As if nothing that this release reads were there."""
    status.clear()
    status.update(ledger={"format": 2}, state="Queued", conditions=[])


CHANGES = pytest.mark.parametrize("change", [_format, _type, _state, _delivery, _everything])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_alone, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(runner, "SLICE_RECHECK", 0.02)


def newer_definitions() -> dict[str, Definition]:
    """Return definitions under which slices may have letters that this release does not know."""
    schema = copy.deepcopy(dict(installed_definitions()[SLICES].schema))
    del schema["properties"]["states"]["pattern"]
    return {**installed_definitions(), SLICES: Definition(schema)}


def raw(w: World, name: str = "n") -> dict[str, Any]:
    return w.cluster.read(NOTIFICATIONS, "team", name)


def status_of(w: World, name: str = "n") -> Status:
    found: Status = raw(w, name)["status"]
    return found


def delivered(w: World, name: str = "n") -> Condition | None:
    stored = status_of(w, name).get("conditions", [])
    return next((Condition.model_validate(c) for c in stored if c["type"] == "Delivered"), None)


def is_told(w: World, name: str = "n") -> bool:
    found = delivered(w, name)
    return found is not None and (found.status, found.reason) == ("Unknown", NEWER_FORMAT)


def gauge(w: World) -> float:
    w.engine.measure()
    return REGISTRY.get_sample_value("notifications_newer_format") or 0.0


def replace_status(w: World, change: Change, name: str = "n") -> Status:
    """Change the status, as a newer release does; return what it was."""
    before = status_of(w, name)
    w.cluster.write_status(NOTIFICATIONS, "team", name, lambda body: change(body))
    return before


def restore(w: World, before: Status, name: str = "n") -> None:
    def put(status: Status) -> None:
        status.clear()
        status.update(before)

    w.cluster.write_status(NOTIFICATIONS, "team", name, put)


async def change_slice(w: World, fields: dict[str, Any], at: int = 0) -> None:
    body = w.slices()[at]
    metadata = ObjectMeta.model_validate(body["metadata"])
    await w.cluster.patch_slice(
        ObjectRef.of(SLICES, metadata), fields, resource_version=metadata.resource_version
    )


def hold(w: World, suspend: bool) -> None:
    """Suspend the processor, or let it send."""
    w.cluster.edit(
        PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(suspend=suspend)
    )


async def pending(w: World, *, to: list[str] | None) -> None:
    """Make a Notification whose deliveries are all pending."""
    hold(w, True)
    w.notify(to=to)
    await w.until(lambda: w.get().status.revision == 1, "it is planned")
    if to is None:
        await w.until(lambda: len(w.slices()) == 2 and w.get().status.ledger is not None, "slices")


def without_conditions(status: Status) -> Status:
    return {name: value for name, value in status.items() if name != "conditions"}


@CHANGES
@pytest.mark.parametrize("to", [[ADA, BOB], None])
async def test_a_pending_notification_is_left_alone_and_then_sent_once(
    change: Change, to: list[str] | None
) -> None:
    script = Script()
    people = [ADA, BOB] if to else MANY
    catalog = directory(users_yaml(["ada", "bob"] if to else NAMES))
    async with world(scripts={"email": script}, catalog=catalog) as w:
        await pending(w, to=to)
        before = replace_status(w, change)
        changed = status_of(w)
        await w.until(lambda: is_told(w), "the condition says it")
        hold(w, False)
        w.engine.use_directory(directory(users_yaml(["eve"])))
        w.engine.use_directory(catalog)
        await w.settle()
        assert without_conditions(status_of(w)) == without_conditions(changed)
        assert script.started == []
        (event,) = w.events()
        assert (event.warning, event.reason) == (True, NEWER_FORMAT)
        assert "upgrade the operator" in event.note
        assert gauge(w) == 1
        assert "team/n" in w.engine.remarks["newer-format"]
        restore(w, before)
        done = await w.finished()
        assert done.status.summary == f"{len(people)}/{len(people)}"
        assert Counter(script.recipients) == dict.fromkeys(people, 1)
        assert gauge(w) == 0
        assert w.engine.remarks == {}
        assert (delivered(w) or changed).reason == "Delivered"


@pytest.mark.parametrize(
    "fields",
    [
        {"format": 99},
        {"states": "X" * 256},
        {"states": "P"},
        {"details": [{"row": 256, "reason": "Later"}]},
        {"claims": [{"holder": "new", "time": "2030-01-01T00:00:00Z", "rows": [-1]}]},
    ],
)
@pytest.mark.parametrize("at", [0, 1])
async def test_a_slice_of_a_newer_format_keeps_all_of_its_notification_waiting(
    fields: dict[str, Any], at: int
) -> None:
    script = Script()
    cluster = MemoryCluster(definitions=newer_definitions())
    async with world(
        scripts={"email": script}, catalog=directory(users_yaml(NAMES)), cluster=cluster
    ) as w:
        await pending(w, to=None)
        before = w.slices()[at]
        await w.kill()
        await change_slice(w, fields, at)
        hold(w, False)
        w.restart(holder="pod_2", catalog=directory(users_yaml(NAMES)))
        await w.until(lambda: is_told(w), "the condition says it")
        stored = w.slices()
        await w.settle()
        assert (script.started, w.slices()) == ([], stored)
        assert before["metadata"]["name"] in (delivered(w) or before).message
        assert [event.reason for event in w.events()] == [NEWER_FORMAT]
        assert gauge(w) == 1
        put_back = {name: before.get(name) for name in fields}
        await change_slice(w, put_back, at)
        done = await w.finished()
        assert done.status.summary == "300/300"
        assert Counter(script.recipients) == dict.fromkeys(MANY, 1)
        assert gauge(w) == 0
