"""When a Notification was created: the trusted may say it to the fraction of a second."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from notifications_operator.api.notification import REQUESTED_ANNOTATION
from notifications_operator.delivery.ledger.ledger import Ledger
from tests.unit.delivery.builders import NOW, notification
from tests.unit.delivery.planning import desk

PRECISE = NOW + timedelta(microseconds=123456)
TRUSTED = {"trusted_namespaces": ["team"]}


async def created(text: str, **settings: object) -> datetime:
    async with desk(**settings) as d:  # type: ignore[arg-type]
        made = notification(annotations={REQUESTED_ANNOTATION: text})
        return d.planner.outbound(made, Ledger()).created


@pytest.mark.parametrize(
    "moment",
    [PRECISE, PRECISE - timedelta(seconds=59), NOW + timedelta(seconds=60)],
)
async def test_the_trusted_are_believed(moment: datetime) -> None:
    assert await created(moment.isoformat(), origins=TRUSTED) == moment
    assert await created(moment.isoformat().replace("+00:00", "Z"), origins=TRUSTED) == moment


async def test_others_are_not() -> None:
    assert await created(PRECISE.isoformat()) == NOW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2030-01-31T12:00:00.5",
        "1e9",
        (NOW + timedelta(seconds=61)).isoformat(),
        (NOW - timedelta(seconds=61)).isoformat(),
        "0001-01-01T00:00:00+00:00",
        "9999-12-31T23:59:59-23:59",
    ],
)
async def test_what_cannot_be_is_ignored(text: str) -> None:
    assert await created(text, origins=TRUSTED) == NOW
