"""Where links lead, and what of them is shown."""

from __future__ import annotations

import pytest

from notifications_operator.processors.email.links import Link, resolve_link

BASE = "https://portal.example/app/"


@pytest.mark.parametrize(
    ("link", "base", "url", "host"),
    [
        (None, BASE, "https://portal.example/app/notifications", None),
        ("", BASE, "https://portal.example/app/notifications", None),
        ("/catalog/x?y=1#z", BASE, "https://portal.example/app/catalog/x?y=1#z", None),
        ("catalog/x", BASE, "https://portal.example/app/catalog/x", None),
        ("/", BASE, "https://portal.example/app/", None),
        ("https://portal.example/other", BASE, "https://portal.example/other", None),
        ("https://PORTAL.example/other", BASE, "https://PORTAL.example/other", None),
        ("https://evil.example/", BASE, "https://evil.example/", "evil.example"),
        ("http://evil.example:8080/a", None, "http://evil.example:8080/a", "evil.example"),
        ("HTTPS://evil.example", BASE, "HTTPS://evil.example", "evil.example"),
        ("https://[::1]/x", BASE, "https://[::1]/x", "::1"),
        # A name that looks like another is shown as what it is.
        (
            "https://\u0430pple.example/",
            BASE,
            "https://\u0430pple.example/",
            "xn--pple-43d.example",
        ),
        # Quotes and angle brackets cannot leave an attribute; escapes stay.
        ('/a"onclick=<b>%20', BASE, "https://portal.example/app/a%22onclick=%3Cb%3E%20", None),
        ("/ü", BASE, "https://portal.example/app/%C3%BC", None),
        ("/\ud800", BASE, "https://portal.example/app/?", None),
        ("/a\u202eb", BASE, "https://portal.example/app/a%E2%80%AEb", None),
        # Not a scheme, once the slash is gone.
        ("/javascript:alert(1)", BASE, "https://portal.example/app/javascript:alert(1)", None),
    ],
)
def test_a_link_leads(link: str | None, base: str | None, url: str, host: str | None) -> None:
    assert resolve_link(link, base) == Link(text=url, url=url, external_host=host)


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "/\\evil.example",
        "/\tevil",
        "https://user:pw@evil.example/",
        "https:///nowhere",
        "https://evil example/",
        "https://evil.example\r\nX: y",
        "https://ev\u202eil.example/",
        "https://[::1",
        "https://a]b/",
        "/" + "x" * 3000,
    ],
)
def test_what_is_no_link_is_only_shown(link: str) -> None:
    result = resolve_link(link, BASE)

    assert result is not None
    assert result.url is None
    assert result.external_host is None
    assert len(result.text.splitlines()) == 1
    assert len(result.text) <= 2048


def test_without_the_portals_url_a_path_is_only_shown() -> None:
    assert resolve_link("/catalog", None) == Link(text="/catalog", url=None, external_host=None)


def test_without_the_portals_url_there_is_no_default_link() -> None:
    assert resolve_link(None, None) is None
