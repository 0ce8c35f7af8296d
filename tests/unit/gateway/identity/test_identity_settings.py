"""Settings of identity: what is refused, and how it is said."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from notifications_operator.gateway.identity.settings import (
    BackstageSettings,
    LoginSettings,
    OIDCSettings,
)

ISSUER = "https://login.example.com/realms/one"
LOGIN = {"client_id": "gateway", "public_url": "https://notifications.example.com"}


def test_off_by_default() -> None:
    assert not OIDCSettings().enabled
    assert not BackstageSettings().enabled


def test_issuer_is_kept_to_the_letter() -> None:
    settings = OIDCSettings(issuer=f"{ISSUER}/", audiences=["a"])
    assert settings.issuer == f"{ISSUER}/"
    assert settings.enabled


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"issuer": ISSUER}, "needs audiences"),
        ({"audiences": ["a"]}, "need an issuer"),
        ({"login": LOGIN}, "need an issuer"),
        ({"issuer": "http://login.example.com", "audiences": ["a"]}, "must be https"),
        ({"issuer": "login.example.com", "audiences": ["a"]}, "must be an http or https URL"),
        ({"issuer": "https://", "audiences": ["a"]}, "must be an http or https URL"),
        ({"issuer": "https://a:b@c", "audiences": ["a"]}, "neither user"),
        ({"issuer": f"{ISSUER}?a=b", "audiences": ["a"]}, "neither user"),
        ({"issuer": ISSUER, "audiences": ["a"], "algorithms": ["none"]}, "'none' is not accepted"),
        ({"issuer": ISSUER, "audiences": ["a"], "algorithms": ["HS256"]}, "valid are RS256"),
        ({"issuer": ISSUER, "audiences": ["a"], "algorithms": []}, "at least 1"),
        ({"issuer": ISSUER, "audiences": ["a"], "clock_skew": -1}, "greater than or equal to 0"),
        ({"issuer": ISSUER, "login": {**LOGIN, "scopes": ["email"]}}, "must contain 'openid'"),
        ({"issuer": ISSUER, "login": {**LOGIN, "public_url": "http://a.com"}}, "must be https"),
        ({"issuer": ISSUER, "login": {**LOGIN, "public_url": "https://a/b"}}, "must have no path"),
    ],
)
def test_refused_oidc(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        OIDCSettings.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"base_url": "http://backstage.svc:7007"}, "must be https, or allow_http"),
        ({"plugins": {"scaffolder": {}}}, "plugins scaffolder may send and have no namespace"),
        ({"plugins": {"../auth": {}}, "namespace": "inbox"}, "must be letters"),
        ({"namespace": "In_box"}, "match pattern"),
    ],
)
def test_refused_backstage(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        BackstageSettings.model_validate(settings)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Notifications.Example.com/", "https://notifications.example.com"),
        ("https://notifications.example.com:443", "https://notifications.example.com"),
        ("https://notifications.example.com:8443", "https://notifications.example.com:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_origin(url: str, origin: str) -> None:
    assert LoginSettings(client_id="gateway", public_url=url).origin == origin


def test_secret_is_not_shown() -> None:
    settings = LoginSettings.model_validate({**LOGIN, "client_secret": "very-secret"})
    assert "very-secret" not in repr(settings)
