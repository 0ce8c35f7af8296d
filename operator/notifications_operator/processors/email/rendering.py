"""What a mail says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from ...api.notification import Severity
from ..base import OutboundNotification
from .links import resolve_link
from .text import lines, one_line

MAX_SUBJECT = 200
"""Characters of a subject; longer ones are cut."""

MAX_DESCRIPTION = 32768
"""Characters of a description; the schema allows no more, but decorators may."""

MAX_FACT = 255
"""Characters of a topic, a scope or an origin."""

_COLOURS = {
    Severity.CRITICAL: "#b00020",
    Severity.HIGH: "#c25100",
    Severity.NORMAL: "#1f5493",
    Severity.LOW: "#5c6670",
}
"""White on each of them has a contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(enabled_extensions=("html.j2",), default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, kw_only=True)
class Content:
    """A rendered notification: one line of subject, and the same body twice."""

    subject: str
    text: str
    html: str


def render(notification: OutboundNotification, app_base_url: str | None) -> Content:
    """Render a notification, the same for all its recipients.

    Every value is bounded, and escaped where it stands.
    """
    payload = notification.payload
    origin = one_line(notification.origin, MAX_FACT)
    values = {
        "title": one_line(payload.title, MAX_SUBJECT) or f"Notification from {origin}",
        "description": lines(payload.description or "", MAX_DESCRIPTION),
        "link": resolve_link(payload.link, app_base_url),
        "severity": payload.severity.value,
        "colour": _COLOURS[payload.severity],
        "topic": one_line(payload.topic or "", MAX_FACT),
        "origin": origin,
        "update": notification.revision > 1,
        "broadcast": notification.broadcast,
    }
    return Content(
        subject=str(values["title"]),
        text=_TEMPLATES.get_template("body.txt.j2").render(values),
        html=_TEMPLATES.get_template("body.html.j2").render(values),
    )
