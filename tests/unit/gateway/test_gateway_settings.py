"""Settings of the gateway as a whole."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from notifications_operator.api.messages import describe_validation_error
from notifications_operator.gateway.settings import GatewaySettings

LOGIN = {"client_id": "gateway", "public_url": "https://notifications.example.com"}
OIDC = {"issuer": "https://login.example.com", "login": LOGIN}


@pytest.mark.parametrize(
    ("variable", "value", "path"),
    [
        ("DATABASE__URL", "postgresql://app:${PASSWORD:-hunter22}@db/inbox", "database.url"),
        ("OIDC__LOGIN__CLIENT_SECRET", "${CLIENT_SECRET:-hunter22}", "oidc.login.client_secret"),
        ("APP_BASE_URL", "https://${HOST}", "app_base_url"),
        ("CHANNELS", '["Web", "${CHANNEL}"]', "channels[1]"),
    ],
)
def test_placeholders_are_refused_without_the_values(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, path: str
) -> None:
    monkeypatch.setenv("NOTIFICATIONS_GATEWAY_NAMESPACE", "inbox")
    monkeypatch.setenv("NOTIFICATIONS_GATEWAY_OIDC", json.dumps(OIDC))
    assert GatewaySettings().namespace == "inbox"

    monkeypatch.setenv(f"NOTIFICATIONS_GATEWAY_{variable}", value)
    with pytest.raises(ValidationError) as refused:
        GatewaySettings()
    message = describe_validation_error(refused.value)
    assert message.startswith(f"{path}: nothing fills in a placeholder such as ${{NAME}} here")
    assert "hunter22" not in message
