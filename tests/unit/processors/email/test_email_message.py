"""Messages as the standard library and people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications_operator.api.notification import Severity
from notifications_operator.processors.base import OutboundNotification
from notifications_operator.processors.email.addresses import Mailbox
from notifications_operator.processors.email.message import prepare
from notifications_operator.processors.email.rendering import render
from notifications_operator.processors.email.smtp import stuffed
from tests.unit.processors.email.email_builders import CREATED, notification

SENDER = Mailbox(display_name="Plätform", address="sender@mycompany.com")
IDENTITY = "0123456789abcdef" * 2
FIRST = "fedcba9876543210" * 2


def raw(
    item: OutboundNotification,
    *,
    address: str = "jane@example.com",
    reply_to: Mailbox | None = None,
    first: str | None = None,
    date: datetime = CREATED,
    sender: Mailbox = SENDER,
) -> bytes:
    prepared = prepare(item, render(item, None), sender=sender, reply_to=reply_to, date=date)
    return prepared.addressed(address, identity=IDENTITY, first_identity=first)


def read(item: OutboundNotification, **arguments: Any) -> EmailMessage:
    return message_from_bytes(raw(item, **arguments), policy=policy.SMTPUTF8)


def assert_sound(octets: bytes, *, ascii_only: bool = True) -> EmailMessage:
    """Check what every message must be (RFC 5322, RFC 2045)."""
    assert octets.endswith(b"\r\n")
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert b"\0" not in octets
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    if ascii_only:
        assert octets.isascii()
    message = message_from_bytes(octets, policy=policy.SMTPUTF8)
    assert [part.defects for part in message.walk()] == [[], [], []]
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == [
        "text/plain",
        "text/html",
    ]
    names = [name.lower() for name in message.keys()]  # noqa: SIM118 - not a mapping
    assert len(names) == len(set(names))
    assert {"from", "to", "date", "message-id", "subject", "mime-version"} <= set(names)
    assert not {"bcc", "cc", "list-unsubscribe", "sender"} & set(names)
    return message


def test_a_mail_has_the_fields_that_every_mail_has() -> None:
    message = assert_sound(
        raw(notification(topic="builds"), reply_to=Mailbox.parse("re@x.example"))
    )

    assert message["From"] == "Plätform <sender@mycompany.com>"
    assert message["Reply-To"] == "re@x.example"
    assert message["To"] == "jane@example.com"
    assert message["Subject"] == "Build failed"
    assert message["Date"] == "Wed, 04 Mar 2026 05:06:07 +0000"
    assert message["Message-ID"] == f"<{IDENTITY}@mycompany.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"
    assert message["X-Notification"] == "team-a/build-failed"
    assert message["X-Notification-UID"] == "11111111-2222-3333-4444-555555555555"
    assert message["X-Notification-Severity"] == "normal"
    assert message["X-Notification-Origin"] == "namespace:team-a"
    assert message["X-Notification-Topic"] == "builds"
    assert message["X-Notification-Scope"] is None
    assert message["In-Reply-To"] is None
    assert message["References"] is None


def test_the_date_is_in_utc() -> None:
    east = datetime(2026, 3, 4, 7, 6, 7, tzinfo=timezone(timedelta(hours=2)))

    assert read(notification(), date=east)["Date"] == "Wed, 04 Mar 2026 05:06:07 +0000"


@pytest.mark.parametrize(
    ("severity", "fields"),
    [
        (Severity.CRITICAL, ("high", "1", "High")),
        (Severity.HIGH, ("high", "1", "High")),
        (Severity.NORMAL, (None, None, None)),
        (Severity.LOW, ("low", "5", "Low")),
    ],
)
def test_severity_becomes_importance(severity: Severity, fields: tuple[str | None, ...]) -> None:
    message = read(notification(severity=severity))

    names = ("Importance", "X-Priority", "X-MSMail-Priority")
    assert tuple(message[name] for name in names) == fields


def test_only_a_broadcast_is_bulk() -> None:
    assert read(notification(broadcast=True))["Precedence"] == "bulk"
    assert read(notification())["Precedence"] is None


def test_a_scope_is_a_thread_of_its_origin() -> None:
    first = read(notification(scope="s", uid="a"))
    second = read(notification(scope="s", uid="b", revision=2), first=FIRST)
    other_origin = read(notification(scope="s", origin="namespace:team-b"))
    other_scope = read(notification(scope="t"))

    assert first["References"] == first["In-Reply-To"]
    assert len(first["References"]) <= 76
    assert second["References"] == first["References"]
    assert other_origin["References"] != first["References"]
    assert other_scope["References"] != first["References"]


def test_an_update_without_scope_refers_to_the_first_mail() -> None:
    message = read(notification(revision=2), first=FIRST)

    assert message["References"] == message["In-Reply-To"] == f"<{FIRST}@mycompany.com>"
    assert message["Message-ID"] == f"<{IDENTITY}@mycompany.com>"


@pytest.mark.parametrize("length", [10, 60, 240])
def test_message_identifiers_are_whole_whatever_the_domain(length: int) -> None:
    domain = ".".join(["x" * 20] * (length // 20) + ["x" * 10, "com"])
    sender = Mailbox(display_name="", address=f"s@{domain}")

    octets = raw(notification(scope="s"), sender=sender)

    assert f"\r\nMessage-ID: <{IDENTITY}@{domain}>\r\n".encode() in octets
    assert octets.count(f"@{domain}>\r\n".encode()) == 3
    assert_sound(octets)


@pytest.mark.parametrize(
    ("topic", "origin", "list_id"),
    [
        ("builds", "team", "<builds.team.notifications.mycompany.com>"),
        (None, "team", "<team.notifications.mycompany.com>"),
        ("Builds", "team", "<builds-6a3fe887.team.notifications.mycompany.com>"),
    ],
)
def test_a_list_is_a_topic_of_an_origin(topic: str | None, origin: str, list_id: str) -> None:
    assert read(notification(topic=topic, origin=origin))["List-Id"] == list_id


def test_different_topics_are_different_lists_however_odd() -> None:
    topics = ["a b", "a-b", "A-B", "a.b", "ü", "ö", "x" * 100, "x" * 101, "\r\n", "-", "\ud800"]

    found = {read(notification(topic=topic))["List-Id"] for topic in topics}

    assert len(found) == len(topics)
    assert all(len(list_id) <= 255 for list_id in found)


def test_a_local_part_outside_ascii_makes_the_header_utf8() -> None:
    message = assert_sound(raw(notification(), address="jäne@bücher.example"), ascii_only=False)

    assert message["To"] == "jäne@xn--bcher-kva.example"


def test_a_domain_outside_ascii_leaves_the_header_in_ascii() -> None:
    message = assert_sound(raw(notification(), address="Jane@bücher.example"))

    assert message["To"] == "Jane@xn--bcher-kva.example"


def test_the_same_delivery_is_the_same_bytes() -> None:
    assert raw(notification(description="x")) == raw(notification(description="x"))


def test_a_text_cannot_contain_the_boundary() -> None:
    message = read(notification())
    boundary = message.get_boundary()

    octets = raw(notification(description=f"--{boundary}\n--{boundary}--\n"))

    assert octets.count(f"--{boundary}".encode()) == 3
    assert_sound(octets)


def test_texts_are_read_back() -> None:
    description = "Grüße\n\n.\n..dots\nFrom here\n" + "wörd " * 500 + "\ntrailing  \n日本語"
    message = read(notification(description=description))

    plain = message.get_body(("plain",))
    assert plain is not None
    assert description in plain.get_content().replace("\r\n", "\n")


VALUES = ("title", "description", "link", "topic", "scope", "origin")
HOSTILE = [
    "a\r\nBcc: victim@example.com\r\n\r\nbody",
    "a\nBcc: victim@example.com",
    "a\rBcc: victim@example.com",
    "\0\x0b\x0c\x1b\x85\u2028Bcc: x",
    "</script>",
    "\u202eevil\u2066",
    "\ud800",
    "=?utf-8?q?=0D=0ABcc=3A_x=40y.z?=",
    '"<x@y.z>, "',
    "x" * 1_000_000,
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:30])
@pytest.mark.parametrize("field", VALUES)
def test_no_value_adds_a_field_or_breaks_the_message(field: str, value: str) -> None:
    fields: dict[str, Any] = {field: value}
    message = assert_sound(raw(notification(**fields)))

    assert len(str(message["Subject"])) <= 200
    assert len(raw(notification(**fields))) < 600_000


ANY = st.text(st.characters(), max_size=200)


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(dict.fromkeys(("title", "description", "topic", "scope", "origin"), ANY))
)
def test_any_notification_is_a_sound_message(values: dict[str, Any]) -> None:
    assert_sound(raw(notification(**values)))


def test_the_subject_is_decoded_to_the_title() -> None:
    title = "Grüße — ビルド failed 👩\u200d💻 " * 4

    assert read(notification(title=title))["Subject"] == title.strip()


def test_dates_do_not_depend_on_the_machine() -> None:
    assert CREATED.tzinfo is UTC


@given(st.lists(st.text("a.", max_size=4), max_size=8))
def test_a_message_is_found_again_behind_doubled_dots(texts: list[str]) -> None:
    data = "".join(f"{text}\r\n" for text in texts).encode()

    *sent, end = stuffed(data).decode().split("\r\n")[:-1]

    # RFC 5321 section 4.5.2, as the receiver reads it.
    assert end == "."
    assert "." not in sent
    assert [line.removeprefix(".") for line in sent] == texts
