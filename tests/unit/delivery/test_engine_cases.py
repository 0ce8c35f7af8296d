"""Refusals that people reported, as the whole engine acts on them."""

from __future__ import annotations

import pytest

from notifications_operator.api.notification import DeliveryState
from notifications_operator.processors.email.redaction import Redactor
from notifications_operator.processors.email.replies import Envelope, Phase, Reply, refusal
from notifications_operator.processors.errors import DeliveryError
from tests.unit.delivery.harness import world
from tests.unit.delivery.scripted import Script
from tests.unit.delivery.test_engine_refusals import catalog, quick, ready, refs, states  # noqa: F401

SENDER = "sender@mycompany.com"


def refused(phase: Phase, text: str, recipient: str = "one@corp.example") -> DeliveryError:
    """Return what the first line of a server's reply means."""
    envelope = Envelope(sender=SENDER, recipient=recipient)
    return refusal(phase, Reply.parse(int(text[:3]), text[4:], Redactor()), envelope)


OF_THE_PROCESSOR = [
    (Phase.MESSAGE, "550 5.4.5 Daily user sending limit exceeded. see the limits - gsmtp"),
    (
        Phase.MESSAGE,
        "554 5.2.252 SendAsDenied; relay@corp.example not allowed to send as sender@mycompany.com;"
        " STOREDRV.Submission.Exception:SendAsDeniedException",
    ),
    (
        Phase.MESSAGE,
        "554 Message rejected: Email address is not verified. The following identities failed the "
        "check in region EU-WEST-1: sender@mycompany.com",
    ),
    (Phase.RCPT, "450 4.7.25 Client host rejected: cannot find your hostname, [10.0.0.5]"),
    (Phase.RCPT, "450 4.7.1 Client host rejected: cannot find your reverse hostname, [10.0.0.5]"),
    (Phase.RCPT, "450 4.7.1 <[127.0.0.1]>: Helo command rejected: Host not found"),
    (
        Phase.RCPT,
        "553 5.7.1 <sender@mycompany.com>: Sender address rejected: not owned by user "
        "relay@corp.example",
    ),
]


@pytest.mark.parametrize(("phase", "text"), OF_THE_PROCESSOR)
async def test_what_is_the_processors_is_said_there_and_fails_nobody(
    phase: Phase, text: str
) -> None:
    users = refs("u", 1)
    script = Script(always={"*": lambda: refused(phase, text)})
    async with world(scripts={"email": script}, catalog=catalog(users)) as w:
        w.notify(to=users)
        await w.until(lambda: ready(w)[0] == "False", "not ready")
        assert ready(w)[1] in ("PolicyDenied", "InvalidConfig")
        await w.until(lambda: len(script.sent) >= 3, "tried again")
        assert states(w)[users[0]] in ("Pending", "Claimed")
        script.always.clear()
        done = await w.finished()
        assert done.status.summary == "1/1"
        await w.until(lambda: ready(w)[0] == "True", "ready")


@pytest.mark.parametrize(
    "text",
    [
        "454 Throttling failure: Maximum sending rate exceeded.",
        "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
    ],
)
async def test_a_rate_limit_leaves_it_ready(text: str) -> None:
    users = refs("u", 1)
    script = Script(answers={"*": [refused(Phase.MESSAGE, text)]})
    async with world(scripts={"email": script}, catalog=catalog(users)) as w:
        await w.until(lambda: ready(w)[0] == "True", "ready")
        w.notify(to=users)
        done = await w.finished()
        assert done.status.summary == "1/1"
        assert [event.reason for event in w.recorder.events if event.name == "email"] == [
            "Connected"
        ]


async def test_relay_denied_for_one_recipient_pauses_nobody() -> None:
    good, bad = refs("u", 10), refs("ext", 1)
    text = "454 4.7.1 <one@external.example>: Relay access denied"
    script = Script(
        concurrency=1, always={bad[0]: lambda: refused(Phase.RCPT, text, "one@external.example")}
    )
    async with world(scripts={"email": script}, catalog=catalog(good, bad)) as w:
        await w.until(lambda: ready(w)[0] == "True", "ready")
        w.notify(to=[*bad, *good])
        await w.until(lambda: states(w).get(bad[0]) == DeliveryState.RETRYING, "tried again")
        await w.until(lambda: set(good) <= set(script.recipients), "all others")
        assert script.verified == 1
        assert w.rows()[bad[0]].attempts >= 1
