"""Where the link of a notification leads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from ...api.notification import LINK_PATTERN
from .domains import ascii_domain
from .text import one_line

MAX_LINK = 2048
"""Characters of a link; the schema allows no more."""

_LINK = re.compile(LINK_PATTERN)
_HOST = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]")
_URI_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link as a mail shows it.

    Attributes
    ----------
    text
        What is shown, always.
    url
        Where it leads; ``None`` if it can only be shown.
    external_host
        The host it leads to if that is not the portal's own.
    """

    text: str
    url: str | None
    external_host: str | None


def resolve_link(link: str | None, app_base_url: str | None) -> Link | None:
    """Resolve a payload's link.

    A path leads to a page under the portal's URL, as upstream's ``resolveNotificationLink``; no
    link leads to its ``/notifications``. Without the portal's URL a path can only be shown. The
    link is checked again here, because decorators may have changed it.
    """
    base = app_base_url.rstrip("/") if app_base_url else None
    if not link:
        return _to(f"{base}/notifications", base) if base else None
    if _LINK.fullmatch(link) is None or len(link) > MAX_LINK:
        return _shown(link)
    if link[:8].lower().startswith(("http://", "https://")):
        return _to(link, base)
    # Joined as text: urljoin would take "/javascript:..." without its slash for a URL.
    return _to(f"{base}/{link.lstrip('/')}", base) if base else _shown(link)


def _shown(link: str) -> Link:
    return Link(text=one_line(link, MAX_LINK), url=None, external_host=None)


def _to(url: str, base: str | None) -> Link:
    try:
        host = urlsplit(url).hostname
        own_host = urlsplit(base).hostname if base else None
    except ValueError:
        return _shown(url)
    if host is None or not (_HOST.fullmatch(host) or _HOST.fullmatch(f"[{host}]")):
        return _shown(url)
    scheme, _, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    encoded = quote(rest[len(authority) :], safe=_URI_CHARACTERS, errors="replace")
    target = f"{scheme}://{authority}{encoded}"
    return Link(
        text=target, url=target, external_host=None if host == own_host else _readable(host)
    )


def _readable(host: str) -> str:
    """Return a host as ASCII, so that no letter can pass for another."""
    try:
        return ascii_domain(host)
    except ValueError:
        return ascii(host)[1:-1]
