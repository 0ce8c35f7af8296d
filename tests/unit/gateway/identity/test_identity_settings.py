"""Settings of identity: what is refused, and how it is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

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
        ({"plugins": {"../auth": {}}}, "must be letters"),
        ({"plugins": {"scaffolder": {"namespace": "In_box"}}}, "match pattern"),
        ({"plugins": {"scaffolder": {"broadcasts": True}}}, "Extra inputs are not permitted"),
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
        ("http://gateway.localhost", "http://gateway.localhost"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_origin(url: str, origin: str) -> None:
    assert LoginSettings(client_id="gateway", public_url=url).origin == origin


def test_secret_is_not_shown() -> None:
    settings = LoginSettings.model_validate({**LOGIN, "client_secret": "very-secret"})
    assert "very-secret" not in repr(settings)


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="GATEWAY_", env_nested_delimiter="__")

    oidc: OIDCSettings = OIDCSettings()
    backstage: BackstageSettings = BackstageSettings()


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "OIDC__ISSUER": ISSUER,
        "OIDC__AUDIENCES": '["notifications"]',
        "OIDC__KEYS__KEEP": "3600",
        "OIDC__LOGIN__CLIENT_ID": "gateway",
        "OIDC__LOGIN__CLIENT_SECRET": "very-secret",
        "OIDC__LOGIN__PUBLIC_URL": LOGIN["public_url"],
        "BACKSTAGE__BASE_URL": "https://backstage.example.com",
        "BACKSTAGE__PLUGINS": '{"scaffolder": {"broadcast": true}}',
    }.items():
        monkeypatch.setenv(f"GATEWAY_{name}", value)
    settings = _Settings()
    assert settings.oidc.audiences == ["notifications"]
    assert settings.oidc.keys.keep == 3600
    assert settings.oidc.login is not None
    assert settings.oidc.login.client_secret is not None
    assert settings.oidc.login.client_secret.get_secret_value() == "very-secret"
    assert settings.backstage.plugins["scaffolder"].broadcast


def test_from_the_environment_as_the_chart_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_OIDC", json.dumps({"issuer": ISSUER, "login": LOGIN}))
    monkeypatch.setenv("GATEWAY_OIDC__LOGIN__CLIENT_SECRET", "very-secret")
    monkeypatch.setenv("GATEWAY_BACKSTAGE", '{"namespace": "inbox", "plugins": {"scaffolder": {}}}')
    settings = _Settings()
    assert settings.oidc.login is not None
    assert settings.oidc.login.client_id == "gateway"
    assert settings.oidc.login.client_secret is not None
    assert settings.backstage.namespace == "inbox"
