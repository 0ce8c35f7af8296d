"""Settings come from the environment, and a mistake is said with its name."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from pydantic import ValidationError

from notifications_operator.api.messages import describe_validation_error
from notifications_operator.cli import main
from notifications_operator.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:

    for name in list(os.environ):
        if name.startswith("NOTIFICATIONS_"):
            monkeypatch.delenv(name)


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in {"NAMESPACE": "operator", **variables}.items():
        monkeypatch.setenv(f"NOTIFICATIONS_{name}", value)
    return Settings()


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch)
    assert settings.namespace == "operator"
    assert settings.catalog.namespaces == []
    assert (settings.catalog.settle, settings.catalog.removal_settle) == (2, 30)
    assert (settings.catalog.unreadable_grace, settings.catalog.unknown_grace) == (60, 3600)
    assert (settings.delivery.open_wait, settings.delivery.processor_grace) == (5, 300)
    assert settings.limits.max_recipients is None
    assert settings.limits.recipients_per_hour is None
    assert settings.origins.trusted_namespaces == []
    assert settings.sendmail_paths == ["/usr/sbin/sendmail"]
    assert settings.gateway.url is None


@pytest.mark.parametrize(
    ("name", "value", "path", "expected"),
    [
        ("CATALOG__SETTLE", "0.5", "catalog.settle", 0.5),
        ("CATALOG__NAMESPACES", '["a", "b"]', "catalog.namespaces", ["a", "b"]),
        ("LIMITS__MAX_RECIPIENTS", "0", "limits.max_recipients", 0),
        ("ORIGINS__TRUSTED_NAMESPACES", '["inbox"]', "origins.trusted_namespaces", ["inbox"]),
        ("DELIVERY__SHUTDOWN_GRACE", "55", "delivery.shutdown_grace", 55),
        ("SERVER__PORT", "0", "server.port", 0),
        ("POD_UID", "uid-a", "pod_uid", "uid-a"),
        ("GATEWAY__URL", "http://gateway:8080", "gateway.url", "http://gateway:8080"),
        ("GATEWAY__TOKEN_FILE", "/token", "gateway.token_file", "/token"),
        ("INSTALL", "mail", "install", "mail"),
        ("LEADER_ELECTION__NAMESPACE", "mail", "leader_election.namespace", "mail"),
        ("LEADER_ELECTION__FORMER_LEASE_NAME", "x", "leader_election.former_lease_name", "x"),
        ("LEADER_ELECTION__LEASE_DURATION", "60", "leader_election.lease_duration", 60),
        ("LEADER_ELECTION__RENEW_INTERVAL", "0.5", "leader_election.renew_interval", 0.5),
        ("LEADER_ELECTION__RETRY_PERIOD", "9", "leader_election.retry_period", 9),
        (
            "APP_BASE_URL",
            "https://portal.example.com",
            "app_base_url",
            "https://portal.example.com",
        ),
        ("LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
        ("SENDMAIL_PATHS", "[]", "sendmail_paths", []),
    ],
)
def test_every_setting_has_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, path: str, expected: Any
) -> None:
    found: Any = read(monkeypatch, **{name: value})
    for part in path.split("."):
        found = getattr(found, part)
    assert found == expected


def test_limits_have_overrides_by_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = {"team-a": {"max_recipients": 5}, "team-b": {"recipients_per_hour": 0}}
    settings = read(
        monkeypatch, LIMITS__NAMESPACES=json.dumps(overrides), LIMITS__MAX_RECIPIENTS="100"
    )
    assert settings.limits.max_recipients == 100
    assert settings.limits.namespaces["team-a"].max_recipients == 5
    assert settings.limits.namespaces["team-a"].recipients_per_hour is None
    assert settings.limits.namespaces["team-b"].recipients_per_hour == 0


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("CATALOG__SETTLE", "-1", "catalog.settle"),
        ("CATALOG__SETTLE", "soon", "catalog.settle"),
        ("LIMITS__MAX_RECIPIENTS", "-1", "limits.max_recipients"),
        ("LIMITS__MAX_RECIPIENTS", "many", "limits.max_recipients"),
        ("APP_BASE_URL", "portal.example.com", "app_base_url"),
        ("APP_BASE_URL", "javascript:alert(1)", "app_base_url"),
        ("LOG_LEVEL", "LOUD", "log_level"),
        ("SERVER__PORT", "70000", "server.port"),
        ("LEADER_ELECTION__LEASE_DURATION", "1.5", "leader_election.lease_duration"),
        ("LEADER_ELECTION__RENEW_INTERVAL", "0", "leader_election.renew_interval"),
        ("GATEWAY__URL", "gateway:8080", "gateway.url"),
        ("GATEWAY__URL", "http://gateway:8080/base", "gateway.url"),
        ("GATEWAY__URL", "http://user:pass@gateway", "gateway.url"),
        ("LEADER_ELECTION__LEASE_DURATION", "7", "leader_election"),
        ("LEADER_ELECTION__LEASE_DURATION", "14", "leader_election"),
        ("LEADER_ELECTION__RETRY_PERIOD", "10", "leader_election"),
    ],
)
def test_bad_value_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        read(monkeypatch, **{name: value})
    message = describe_validation_error(caught.value)
    assert message.startswith(f"{field}: ")
    assert value in message


def test_namespace_is_required() -> None:
    with pytest.raises(ValidationError, match="namespace"):
        Settings()


def test_settings_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch)
    with pytest.raises(ValidationError, match="frozen"):
        settings.namespace = "other"  # type: ignore[misc]


def test_command_says_what_is_wrong_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTIFICATIONS_LOG_LEVEL", "LOUD")
    assert main(["run"]) == 2
    errors = capsys.readouterr().err
    assert "invalid settings" in errors
    assert "log_level" in errors
    assert "namespace" in errors


@pytest.mark.parametrize("arguments", [[], ["fly"]])
def test_unknown_command_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err
