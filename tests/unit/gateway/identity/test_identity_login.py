"""Parts of the login: where it leads back to, and what the browser keeps meanwhile."""

from __future__ import annotations

import hashlib
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.gateway.errors import InputError
from notifications_operator.gateway.identity.pending import PendingLogin, cookie_name
from notifications_operator.gateway.identity.return_to import (
    MAX_RETURN_TO_LENGTH,
    check_return_to,
)

HOST = "https://notifications.example.com"


@pytest.mark.parametrize(
    "path",
    ["/", "/notifications", "/notifications/1?view=saved&search=a%20b#top", "/a?next=//b", "/a:b"],
)
def test_local_paths(path: str) -> None:
    assert check_return_to(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "notifications",
        "//evil.example",
        "///evil.example",
        "/a//b",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\\b",
        "/a?b=\\",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        " /a",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\nSet-Cookie: a=b",
        "/a b",
        "/\x00",
        "/\u2025/evil.example",
        "/ä",
        "/" + "a" * MAX_RETURN_TO_LENGTH,
    ],
)
def test_other_places(path: str) -> None:
    with pytest.raises(InputError, match="return_to must be a path of this host"):
        check_return_to(path)


@given(st.text(alphabet=st.sampled_from("/\\:?#@.%a\t\n h"), max_size=12))
def test_never_another_host(path: str) -> None:
    try:
        checked = check_return_to(path)
    except InputError:
        return
    target = urlsplit(urljoin(f"{HOST}/auth/callback", checked))
    assert f"{target.scheme}://{target.netloc}" == HOST


def test_secrets_are_long_and_new() -> None:
    first, second = PendingLogin(return_to="/"), PendingLogin(return_to="/")
    secrets = {first.state, first.nonce, first.verifier, second.state, second.nonce}
    assert len(secrets) == 5
    # RFC 7636 section 4.1.
    assert 43 <= len(first.verifier) <= 128
    assert first.verifier not in repr(first)


def test_challenge() -> None:
    # The example of RFC 7636 appendix B.
    pending = PendingLogin(return_to="/", verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert pending.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize("return_to", ["/", "/notifications?a=b.c&d=%20#e"])
def test_cookie(return_to: str) -> None:
    pending = PendingLogin(return_to=return_to)
    value = pending.to_cookie()
    assert set(value) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."), (
        "no quotes around it, whatever writes it"
    )
    assert PendingLogin.from_cookie(value, state=pending.state) == pending
    assert pending.cookie_name == cookie_name(pending.state)
    assert pending.cookie_name.startswith("__Host-")


def test_cookie_of_another_login() -> None:
    first, second = PendingLogin(return_to="/"), PendingLogin(return_to="/")
    assert first.cookie_name != second.cookie_name
    with pytest.raises(InputError):
        PendingLogin.from_cookie(first.to_cookie(), state=second.state)


@pytest.mark.parametrize("return_to", ["//evil.example", "https://evil.example", "/\\evil"])
def test_cookie_that_leads_elsewhere(return_to: str) -> None:
    pending = PendingLogin(return_to=return_to)
    with pytest.raises(InputError):
        PendingLogin.from_cookie(pending.to_cookie(), state=pending.state)


@pytest.mark.parametrize(
    "value",
    ["", "....", "a.b.c", "a.b.c.d.e", "a.b.c.%", "a.b.c._w", "a.b.c.\u00e4", "\u00e4.b.c.Lw"],
)
def test_cookies_that_are_none(value: str) -> None:
    with pytest.raises(InputError):
        PendingLogin.from_cookie(value, state="a")


def test_state_of_a_stranger_makes_a_cookie_name() -> None:
    name = cookie_name("; a=b\r\n\u00e4" * 1000)
    digest = hashlib.sha256(("; a=b\r\n\u00e4" * 1000).encode()).hexdigest()
    assert name == f"__Host-notifications-login-{digest[:16]}"
