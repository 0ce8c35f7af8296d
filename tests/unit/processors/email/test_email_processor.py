"""Whom the processor reaches, and how one mail comes about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from typing import Any

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.catalog import EntityRef
from notifications_operator.processors.base import (
    Limits,
    OutboundNotification,
    Target,
    delivery_identity,
)
from notifications_operator.processors.email import EmailProcessor
from notifications_operator.processors.email import processor as module
from notifications_operator.processors.email.rendering import Content, render
from notifications_operator.processors.email.transport import Mail, MaySend, check
from notifications_operator.processors.errors import DeliveryError, Receipt, Scope, Skip
from notifications_operator.processors.registry import ProcessorRegistry
from tests.unit.processors.email.email_builders import (
    CREATED,
    audience,
    context,
    notification,
    sending,
    spec,
    user,
)

NOW = CREATED + timedelta(days=3)


class Outbox:
    """A transport that keeps what it is given, or fails as told."""

    def __init__(self, error: DeliveryError | None = None) -> None:
        self.mails: list[Mail] = []
        self.closed = False
        self._error = error

    async def verify(self) -> None:
        if self._error:
            raise self._error

    async def deliver(self, mail: Mail, *, may_send: MaySend) -> Receipt:
        check(may_send)
        if self._error:
            raise self._error
        self.mails.append(mail)
        return Receipt(code=250)

    async def close(self) -> None:
        self.closed = True

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(mail.data, policy=policy.SMTPUTF8) for mail in self.mails]


def processor(
    outbox: Outbox | None = None,
    *,
    clock: Callable[[], float] = lambda: 0.0,
    now: Callable[[], datetime] = lambda: NOW,
    **email: Any,
) -> EmailProcessor:
    return EmailProcessor(
        context(spec(**email)), transport=outbox or Outbox(), clock=clock, now=now
    )


def reached(targets: Any) -> dict[str, Reason | None]:
    return {target.recipient: target.skip.reason if target.skip else None for target in targets}


JANE = user("jane", "jane@example.com")
JOE = user("joe", "joe@example.com")
NOBODY = user("nobody")


def test_users_are_reached_in_their_order() -> None:
    targets = processor().targets(notification(), audience(JOE, JANE))

    assert targets == [Target(recipient="user:default/joe"), Target(recipient="user:default/jane")]


def test_a_user_without_address_is_skipped() -> None:
    targets = processor().targets(notification(), audience(NOBODY, user("blank", ""), JANE))

    assert reached(targets) == {
        "user:default/nobody": Reason.NO_ADDRESS,
        "user:default/blank": Reason.NO_ADDRESS,
        "user:default/jane": None,
    }


def test_members_without_an_entity_are_skipped_by_name() -> None:
    ghost = EntityRef.parse("user:default/ghost")
    targets = processor().targets(
        notification(), replace(audience(JANE), members_without_entity=[ghost])
    )

    assert reached(targets) == {
        "user:default/jane": None,
        "user:default/ghost": Reason.UNKNOWN_ENTITIES,
    }


def test_a_broadcast_to_users_without_any_address_says_so() -> None:
    everybody = processor(broadcastConfig={"receiver": "users"})
    reaching = partial(everybody.targets, notification(broadcast=True))

    assert reached(reaching(audience(NOBODY, JANE, broadcast=True))) == {"user:default/jane": None}
    assert reached(reaching(audience(NOBODY, broadcast=True))) == {
        "user:default/nobody": Reason.NO_ADDRESS
    }


def test_two_users_with_one_address_get_one_mail() -> None:
    twin = user("twin", "JANE@Example.com")

    targets = processor().targets(notification(), audience(JANE, twin, JOE))

    assert reached(targets) == {
        "user:default/jane": None,
        "user:default/twin": Reason.DUPLICATE_ADDRESS,
        "user:default/joe": None,
    }
    skip = targets[1].skip
    assert skip is not None
    assert "user:default/jane" in skip.message


def test_two_spellings_of_a_domain_are_one_address() -> None:
    users = (user("a", "a@münchen.example"), user("b", "A@xn--mnchen-3ya.example"))

    assert reached(processor().targets(notification(), audience(*users))) == {
        "user:default/a": None,
        "user:default/b": Reason.DUPLICATE_ADDRESS,
    }


def test_a_skipped_user_does_not_stand_in_the_way_of_the_next() -> None:
    twins = (user("a", "bad@@example.com"), user("b", "bad@@example.com"))

    targets = processor().targets(notification(), audience(*twins))

    assert set(reached(targets).values()) == {Reason.INVALID_ADDRESS}


def test_policy_is_said_per_user() -> None:
    targets = processor(allowedEmailDomains=["example.com"]).targets(
        notification(), audience(JANE, user("ext", "x@elsewhere.example"))
    )

    assert reached(targets) == {"user:default/jane": None, "user:default/ext": Reason.BLOCKED}


@pytest.mark.parametrize("config", [None, {"receiver": "none"}])
def test_a_broadcast_reaches_nobody_unless_configured(config: dict[str, Any] | None) -> None:
    email: dict[str, Any] = {"broadcastConfig": config} if config else {}

    targets = processor(**email).targets(notification(broadcast=True), audience(broadcast=True))

    assert list(targets) == []


def test_a_broadcast_to_users_reaches_all_who_have_an_address() -> None:
    twin = user("twin", "JANE@example.com")
    targets = processor(broadcastConfig={"receiver": "users"}).targets(
        notification(broadcast=True), audience(JANE, NOBODY, twin, broadcast=True)
    )

    assert reached(targets) == {
        "user:default/jane": None,
        "user:default/twin": Reason.DUPLICATE_ADDRESS,
    }


def test_a_broadcast_to_a_list_reaches_its_addresses() -> None:
    targets = processor(
        broadcastConfig={
            "receiver": "config",
            "receiverEmails": [
                "All@Example.com",
                "all@example.com",
                "Ops <ops@example.com>",
                "double..dot@example.com",
                "denied@example.com",
            ],
        },
        denylistEmailAddresses=["denied@example.com"],
    ).targets(notification(broadcast=True), audience(JANE, broadcast=True))

    assert reached(targets) == {
        "all@example.com": None,
        "ops@example.com": None,
        "double..dot@example.com": Reason.INVALID_ADDRESS,
        "denied@example.com": Reason.BLOCKED,
    }


def test_a_large_broadcast_names_each_user_once() -> None:
    users = [user(f"u{number}", f"u{number}@example.com") for number in range(5000)]

    targets = processor(broadcastConfig={"receiver": "users"}).targets(
        notification(broadcast=True), audience(*users, broadcast=True)
    )

    assert len({target.recipient for target in targets}) == 5000


async def test_a_mail_goes_to_the_users_address() -> None:
    outbox = Outbox()

    outcomes = await processor(outbox, replyTo="re@mycompany.com").send(
        notification(), ["user:default/jane"], sending([JANE])
    )

    assert outcomes == [Receipt(code=250)]
    assert [(mail.sender, mail.recipient) for mail in outbox.mails] == [
        ("sender@mycompany.com", "jane@example.com")
    ]
    assert outbox.messages[0]["From"] == "Platform <sender@mycompany.com>"
    assert outbox.messages[0]["Reply-To"] == "re@mycompany.com"
    assert outbox.messages[0]["To"] == "jane@example.com"


async def test_domains_outside_ascii_go_in_ascii() -> None:
    outbox = Outbox()

    await processor(outbox, sender="Bücher <Post@bücher.example>", replyTo="re@рф.example").send(
        notification(topic="builds"),
        ["user:default/juergen"],
        sending([user("juergen", "Juergen@bücher.example")]),
    )

    (mail,), (message,) = outbox.mails, outbox.messages
    assert (mail.sender, mail.recipient) == (
        "Post@xn--bcher-kva.example",
        "Juergen@xn--bcher-kva.example",
    )
    assert mail.data.isascii()
    assert message["From"] == "Bücher <Post@xn--bcher-kva.example>"
    assert message["Reply-To"] == "re@xn--p1ai.example"
    assert message["To"] == "Juergen@xn--bcher-kva.example"
    assert message["Message-ID"].endswith("@xn--bcher-kva.example>")
    assert message["List-Id"].endswith(".notifications.xn--bcher-kva.example>")


RECEIVERS = {
    "receiver": "config",
    "receiverEmails": [
        "Ops Team <Ops.Team@Example.com>",
        "OPS.TEAM@example.com",
        "Rathaus@München.example",
        "rathaus@xn--mnchen-3ya.example",
    ],
}


async def test_a_list_of_receivers_is_compared_without_case_and_sent_to_with_it() -> None:
    """RFC 5321 section 2.4: the case of local parts must be preserved."""
    outbox = Outbox()
    mail_processor = processor(outbox, broadcastConfig=RECEIVERS)
    item = notification(broadcast=True)

    targets = mail_processor.targets(item, audience(broadcast=True))
    for target in targets:
        await mail_processor.send(item, [target.recipient], sending())

    # Rows of releases that sent to these very keys go on.
    assert reached(targets) == {"ops.team@example.com": None, "rathaus@münchen.example": None}
    addresses = ["Ops.Team@Example.com", "Rathaus@xn--mnchen-3ya.example"]
    assert [mail.recipient for mail in outbox.mails] == addresses
    assert [message["To"] for message in outbox.messages] == addresses


async def test_a_receiver_that_is_not_configured_any_more_is_sent_to_as_recorded() -> None:
    outbox = Outbox()

    await processor(outbox, broadcastConfig=RECEIVERS).send(
        notification(broadcast=True), ["gone@example.com"], sending()
    )

    assert [mail.recipient for mail in outbox.mails] == ["gone@example.com"]


async def test_a_mail_goes_to_an_address_as_such() -> None:
    outbox = Outbox()

    await processor(outbox).send(notification(), ["all@example.com"], sending())

    assert [mail.recipient for mail in outbox.mails] == ["all@example.com"]


async def test_the_message_id_is_the_identity_on_every_attempt() -> None:
    outbox = Outbox()
    item = notification()

    for mail_processor in (processor(outbox), processor(outbox)):
        await mail_processor.send(item, ["user:default/jane"], sending([JANE]))

    identity = delivery_identity(item, "email", "user:default/jane")
    assert [message["Message-ID"] for message in outbox.messages] == (
        [f"<{identity}@mycompany.com>"] * 2
    )
    assert outbox.mails[0] == outbox.mails[1]


async def test_every_delivery_has_an_identity_of_its_own() -> None:
    outbox = Outbox()
    mail_processor = processor(outbox)

    for item in (notification(), notification(revision=2), notification(redelivery=1)):
        for name in ("jane", "joe"):
            await mail_processor.send(item, [f"user:default/{name}"], sending([JANE, JOE]))

    assert len({message["Message-ID"] for message in outbox.messages}) == 6


async def test_an_update_refers_to_the_first_mail_of_its_recipient() -> None:
    outbox = Outbox()
    mail_processor = processor(outbox)

    for item in (notification(), notification(revision=2), notification(redelivery=1)):
        await mail_processor.send(item, ["user:default/jane"], sending([JANE]))

    first, update, repeated = outbox.messages
    assert first["References"] is None
    assert update["References"] == repeated["References"] == first["Message-ID"]


async def test_an_update_is_as_old_as_itself() -> None:
    outbox = Outbox()
    mail_processor = processor(outbox)

    await mail_processor.send(notification(), ["a@b.example"], sending())
    await mail_processor.send(notification(revision=2), ["a@b.example"], sending())

    assert [message["Date"].datetime for message in outbox.messages] == [CREATED, NOW]


async def test_a_user_whom_the_catalog_does_not_know_is_not_skipped() -> None:
    outbox = Outbox()

    (outcome,) = await processor(outbox).send(notification(), ["user:default/jane"], sending())

    assert isinstance(outcome, DeliveryError)
    assert (outcome.reason, outcome.scope) == (Reason.UNKNOWN_ENTITIES, Scope.RECIPIENT)
    assert outcome.retryable
    assert outbox.mails == []


async def test_a_user_who_lost_the_address_is_skipped() -> None:
    (outcome,) = await processor().send(notification(), ["user:default/nobody"], sending([NOBODY]))

    assert isinstance(outcome, Skip)
    assert outcome.reason is Reason.NO_ADDRESS


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("jane@example.com\r\nBcc: all@example.com", Reason.INVALID_ADDRESS),
        ("jane doe@example.com", Reason.INVALID_ADDRESS),
        ("jane@@example.com", Reason.INVALID_ADDRESS),
        ("denied@example.com", Reason.BLOCKED),
    ],
)
async def test_an_address_that_changed_for_the_worse_is_skipped(
    address: str, reason: Reason
) -> None:
    outbox = Outbox()

    outcomes = await processor(outbox, denylistEmailAddresses=["denied@example.com"]).send(
        notification(), ["user:default/jane"], sending([user("jane", address)])
    )

    assert isinstance(outcomes[0], Skip)
    assert outcomes[0].reason is reason
    assert outbox.mails == []


async def test_an_address_is_remembered_from_the_snapshot_on() -> None:
    outbox = Outbox()
    moment = [0.0]
    mail_processor = processor(outbox, clock=lambda: moment[0], cache={"ttl": {"minutes": 1}})

    mail_processor.targets(notification(), audience(JANE))
    await mail_processor.send(notification(), ["user:default/jane"], sending())
    assert mail_processor.remembers("user:default/jane")
    moment[0] = 60.0
    assert not mail_processor.remembers("user:default/jane")
    outcomes = await mail_processor.send(notification(), ["user:default/jane"], sending())

    assert [mail.recipient for mail in outbox.mails] == ["jane@example.com"]
    assert isinstance(outcomes[0], DeliveryError)


def test_addresses_are_remembered_for_an_hour_by_default() -> None:
    moment = [0.0]
    mail_processor = processor(
        clock=lambda: moment[0], denylistEmailAddresses=["denied@example.com"]
    )

    def denied(address: str) -> bool:
        targets = mail_processor.targets(notification(), audience(user("jane", address)))
        return reached(targets)["user:default/jane"] is not None

    assert not denied("jane@example.com")
    moment[0] = 3599.0
    assert not denied("denied@example.com")
    moment[0] = 3600.0
    assert denied("denied@example.com")


@pytest.mark.parametrize(
    ("recipient", "domain"),
    [
        ("user:default/jane", "example.com"),
        ("ops@Two.Example", "two.example"),
        ("user:default/gone", ""),
    ],
)
def test_domain_is_that_of_the_address(recipient: str, domain: str) -> None:
    directory = sending([user("jane", "jane@Example.COM")]).directory

    assert processor().domain(recipient, directory) == domain


async def test_errors_are_outcomes() -> None:
    error = DeliveryError(
        Reason.RECIPIENT_REJECTED, "no", scope=Scope.RECIPIENT, retryable=False, code=550
    )

    assert await processor(Outbox(error)).send(notification(), ["a@b.example"], sending()) == [
        error
    ]


async def test_a_notification_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = []

    def counted(item: OutboundNotification, app_base_url: str | None) -> Content:
        rendered.append(item.revision)
        return render(item, app_base_url)

    monkeypatch.setattr(module, "render", counted)
    outbox = Outbox()
    mail_processor = processor(outbox)
    item, edited = notification(), notification(revision=2, title="Edited")

    for number in range(10):
        await mail_processor.send(item, [f"u{number}@example.com"], sending())
        await mail_processor.send(edited, [f"u{number}@example.com"], sending())
    # Decorated otherwise after a restart of the processor before it in the order.
    await mail_processor.send(notification(title="Decorated"), ["x@example.com"], sending())

    assert rendered == [1, 2, 1]
    assert outbox.messages[-1]["Subject"] == "Decorated"


async def test_renderings_do_not_pile_up() -> None:
    mail_processor = processor()

    for number in range(3 * module.PREPARED_MESSAGES):
        await mail_processor.send(notification(uid=str(number)), ["a@b.example"], sending())

    assert len(mail_processor._prepared) == module.PREPARED_MESSAGES


def test_its_channel_is_upstreams() -> None:
    assert ProcessorRegistry.installed().channel("email") == "Email"


def test_limits_are_upstreams() -> None:
    assert processor().limits == Limits(
        concurrency=2, starts=2, interval=timedelta(milliseconds=100)
    )
    assert processor(concurrencyLimit=10, throttleInterval={"seconds": 1}).limits == Limits(
        concurrency=10, starts=10, interval=timedelta(seconds=1)
    )


def test_without_an_interval_only_concurrency_is_limited() -> None:
    limits = processor(concurrencyLimit=10, throttleInterval={"seconds": 0}).limits

    assert limits == Limits(concurrency=10, starts=0, interval=timedelta(0))


async def test_a_stream_sends_nothing() -> None:
    mail_processor = EmailProcessor.create(context(spec({"transport": "stream"})))

    await mail_processor.verify()
    outcomes = await mail_processor.send(notification(), ["a@b.example"], sending())
    await mail_processor.close()

    assert outcomes == [Receipt(message="streamed, nothing was sent")]


async def test_closing_closes_the_transport() -> None:
    outbox = Outbox()

    await processor(outbox).close()

    assert outbox.closed


async def test_addresses_are_logged_at_debug_only(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        await processor().send(notification(), ["user:default/jane"], sending([JANE]))

    assert [record.levelname for record in caplog.records if "jane@" in record.message] == ["DEBUG"]
