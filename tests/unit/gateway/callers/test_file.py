"""The file of callers: what it says, and that its mistakes are told without its secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from notifications_operator.gateway.callers.file import (
    CallersError,
    read_callers,
    token_digest,
)
from notifications_operator.gateway.principals import ServicePrincipal

TOKEN = "token-0123456789-0123456789-0123456789"


def entry(token: Any = TOKEN, subject: Any = "external:build", **options: Any) -> dict[str, Any]:
    return {"type": "static", "options": {"token": token, "subject": subject, **options}}


def read(entries: object) -> dict[bytes, ServicePrincipal]:
    callers = read_callers(yaml.safe_dump(entries), namespace="inbox")
    return {digest: caller.principal for digest, caller in callers.by_digest.items()}


def test_defaults_are_narrow() -> None:
    assert read([entry()]) == {
        token_digest(TOKEN): ServicePrincipal(
            subject="external:build",
            namespace="inbox",
            broadcast=False,
            max_recipients=None,
            rate=None,
        )
    }


def test_everything() -> None:
    given = entry(namespace="team-a", broadcast=True, maxRecipients=5, rate=60)
    assert read([given])[token_digest(TOKEN)] == ServicePrincipal(
        subject="external:build", namespace="team-a", broadcast=True, max_recipients=5, rate=60
    )


def test_json_is_read_too() -> None:
    assert len(read_callers(json.dumps([entry()]), namespace="inbox").by_digest) == 1


def test_an_empty_list_is_nobody() -> None:
    assert read([]) == {}


def test_restrictions_of_backstage() -> None:
    given = {**entry(), "accessRestrictions": [{"plugin": "catalog", "permission": ["x"]}]}
    callers = read_callers(yaml.safe_dump([given]), namespace="inbox")
    assert callers.by_digest[token_digest(TOKEN)].restricted_to == ("catalog",)


SECRET = "hush-hush-hush-hush-hush-hush-hush-hush"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it must be a list"),
        ("callers: []", "it must be a list"),
        (f"- token: *{SECRET}\n", "it is not YAML (line 1)"),
        (f"- a\n- !{SECRET} x\n", "it is not YAML (line 2)"),
        ("[" * 100_000, "it is not YAML"),
        ("\x00", "it is not YAML"),
        ("!!int ''", "it is not YAML"),
        ("!!float ''", "it is not YAML"),
        ("!!bool x", "it is not YAML"),
        ("!!timestamp x", "it is not YAML"),
        (yaml.safe_dump([SECRET]), "[0]: "),
        (yaml.safe_dump([{"type": "legacy", "options": {}}]), "[0].type: Input should be 'static'"),
        (yaml.safe_dump([entry(SECRET[:31])]), "[0].options.token: must have at least 32"),
        (yaml.safe_dump([entry(f"{SECRET} x")]), "[0].options.token: must be of visible ASCII"),
        (yaml.safe_dump([entry(int("1" * 40))]), "[0].options.token: Input should be a valid str"),
        (yaml.safe_dump([entry(), entry(SECRET, "a b")]), "[1].options.subject: String should"),
        (yaml.safe_dump([entry(SECRET, "plugin:catalog")]), "must not begin with namespace: or pl"),
        (yaml.safe_dump([entry(SECRET, "namespace:x")]), "must not begin with namespace: or plug"),
        (yaml.safe_dump([entry(SECRET, "")]), "[0].options.subject: "),
        (yaml.safe_dump([entry(SECRET, "x" * 256)]), "[0].options.subject: "),
        (yaml.safe_dump([entry(SECRET, namespace="Team")]), "[0].options.namespace: "),
        (yaml.safe_dump([entry(SECRET, broadcast="yes")]), "[0].options.broadcast: "),
        (yaml.safe_dump([entry(SECRET, maxRecipients=0)]), "[0].options.maxRecipients: "),
        (yaml.safe_dump([entry(SECRET, rate=0)]), "[0].options.rate: "),
        (yaml.safe_dump([entry(SECRET, brodcast=True)]), "[0].options.brodcast: Extra inputs"),
        (yaml.safe_dump([entry(SECRET, "a"), entry(SECRET, "b")]), "[1].options.token: another"),
        (yaml.safe_dump([{**entry(SECRET), "accessRestrictions": []}]), "[0].accessRestrictions: "),
        (yaml.safe_dump([entry("${TOKEN}")]), "[0].options.token: nothing fills in a placeholder"),
        (yaml.safe_dump([entry(f"{SECRET}${{B}}")]), "[0].options.token: nothing fills in"),
        (yaml.safe_dump([entry(SECRET, "external:${NAME}")]), "[0].options.subject: nothing fills"),
        (yaml.safe_dump([entry(SECRET, namespace="${NS}")]), "[0].options.namespace: nothing fill"),
        (yaml.safe_dump([{**entry(SECRET), "type": "${T}"}]), "[0].type: nothing fills in"),
        (
            yaml.safe_dump([{**entry(SECRET), "accessRestrictions": [{"plugin": "${PLUGIN}"}]}]),
            "[0].accessRestrictions[0].plugin: nothing fills in",
        ),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(CallersError) as caught:
        read_callers(text, namespace="inbox")
    assert message in str(caught.value)
    assert SECRET[:31] not in str(caught.value)
