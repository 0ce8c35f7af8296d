"""What a mail says, and that nothing of it is taken for markup."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications_operator.api.notification import Severity
from notifications_operator.processors.email.rendering import Content, render
from tests.unit.processors.email.email_builders import notification

BASE = "https://portal.example"
HOSTILE = [
    "<script>alert(1)</script>",
    "</title></script><img src=x onerror=alert(1)>",
    "\"><svg/onload=alert(1)>'",
    "{{ 7 * 7 }}{% for x in y %}",
    "&amp;&#60;script&#62;",
    "\r\nBcc: all@example.com\r\n\r\nbody",
    "\u202egnirts lacitsoh",
    "\0\x1b[31m",
    "\ud800\udfff",
    "x" * 1_000_000,
]


class Markup(HTMLParser):
    """Collects the tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.hrefs: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.hrefs += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


TAGS = {
    "html", "head", "meta", "title", "body", "div", "p", "span", "h1", "a", "br", "bdi",
}  # fmt: skip
ATTRIBUTES = {"charset", "name", "content", "style", "dir", "href", "rel"}


def assert_harmless(content: Content) -> None:
    markup = Markup(content.html)
    assert set(markup.tags) <= TAGS
    assert markup.attributes <= ATTRIBUTES
    assert all(href.startswith(("https://", "http://")) for href in markup.hrefs)
    for part in (content.subject, content.text, content.html):
        part.encode()
        assert "\u202e" not in part
        assert "\0" not in part
    assert len(content.subject) <= 200
    assert len(content.subject.splitlines()) == 1
    assert len(content.html) < 400_000


def test_everything_is_shown_in_both_parts() -> None:
    content = render(
        notification(
            title="Build failed",
            description="First line\n  second line",
            link="/builds/1",
            topic="builds",
            severity=Severity.HIGH,
        ),
        BASE,
    )

    assert content.subject == "Build failed"
    for part in (content.text, Markup(content.html).text):
        for expected in (
            "Build failed",
            "First line",
            "  second line",
            "https://portal.example/builds/1",
            "high",
            "Topic: builds",
            "From: namespace:team-a",
        ):
            assert expected in part
    assert Markup(content.html).hrefs == ["https://portal.example/builds/1"]


def test_line_breaks_are_kept() -> None:
    content = render(notification(description="one\r\ntwo\n\nfour"), None)

    assert "one\ntwo\n\nfour\n" in content.text
    assert "one<br>two<br><br>four" in content.html


def test_the_text_ends_with_a_signature() -> None:
    assert "\n-- \nSeverity: normal\n" in render(notification(), None).text


def test_the_host_of_an_external_link_is_shown() -> None:
    content = render(notification(link="https://elsewhere.example/x"), BASE)

    assert "leads to elsewhere.example" in content.text
    assert "leads to elsewhere.example" in content.html
    assert "leads to" not in render(notification(link="/x"), BASE).html


def test_without_a_link_the_inbox_is_linked() -> None:
    assert Markup(render(notification(), BASE).html).hrefs == [f"{BASE}/notifications"]
    assert Markup(render(notification(), None).html).hrefs == []


def test_a_link_that_leads_nowhere_is_shown_as_text() -> None:
    content = render(notification(link="/builds/1"), None)

    assert Markup(content.html).hrefs == []
    assert "/builds/1" in Markup(content.html).text
    assert "/builds/1" in content.text


def test_updates_and_broadcasts_say_so() -> None:
    content = render(notification(revision=2, broadcast=True), None)

    for part in (content.text, content.html):
        assert "This is an update of an earlier notification." in part
        assert "This notification went to everybody." in part
    assert "update" not in render(notification(), None).text


@pytest.mark.parametrize("title", ["", "\r\n", "\0", "\u202e"])
def test_a_subject_is_never_empty(title: str) -> None:
    assert render(notification(title=title), None).subject == "Notification from namespace:team-a"


@pytest.mark.parametrize("field", ["title", "description", "topic", "scope", "link", "icon"])
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:30])
def test_hostile_values_stay_text(field: str, value: str) -> None:
    fields: dict[str, Any] = {field: value}
    assert_harmless(render(notification(**fields), BASE))


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:30])
def test_a_hostile_origin_stays_text(value: str) -> None:
    assert_harmless(render(notification(origin=value), BASE))


@settings(max_examples=50)
@given(st.fixed_dictionaries({name: st.text(max_size=60) for name in ("title", "topic", "link")}))
def test_any_text_stays_text(values: dict[str, Any]) -> None:
    assert_harmless(render(notification(description=values["title"], **values), BASE))
