"""An app-config as people have it: taken as Backstage takes it, or answered with what to write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.sync import values_schema
from notifications_operator.gateway.inbox.settings import RetentionSettings
from tests.support.helm import CHART, SEED_VALUES, Document, Helm, HelmError, documents, find
from tests.unit.chart.cases import CALLER, EVERYTHING, email, transport

REPOSITORY = Path(__file__).parents[3]
PLACEHOLDER = "${NAME}"


def processor(helm: Helm, options: Document) -> Document:
    given = {"notifications": {"processors": {"email": options}}}
    rendered = documents(helm.template(values=given))
    found: Document = find(rendered, "NotificationProcessor")["spec"]["email"]
    return found


def refusal(helm: Helm, given: Document) -> str:
    with pytest.raises(HelmError) as refused:
        helm.template(values=given)
    return str(refused.value)


def smtp(**fields: Any) -> Document:
    return {"transport": "smtp", "hostname": "smtp.corp.example", "port": 25, **fields}


class TestTakenAsBackstageTakesIt:
    """``ConfigReader`` of @backstage/config 1.3.11."""

    @pytest.mark.parametrize("text", ["587", " 587 ", "+587", "0587", "587.0"])
    def test_a_port_in_quotes(self, helm: Helm, text: str) -> None:
        options = {"transportConfig": smtp(port=text), "sender": "a@mycompany.com"}
        port = processor(helm, options)["transportConfig"]["port"]
        assert (port, type(port)) == (587, int)

    @pytest.mark.parametrize(
        ("value", "taken"),
        [
            ("false", False), ("FALSE", False), ("no", False), ("off", False), ("0", False),
            (0, False), (False, False), ("true", True), ("True", True), (" yes ", True),
            ("y", True), ("on", True), ("1", True), (1, True), (True, True),
        ],
    )  # fmt: skip
    def test_booleans(self, helm: Helm, value: Any, taken: bool) -> None:
        options = {
            "transportConfig": smtp(secure=value, requireTls=value),
            "sender": "a@mycompany.com",
        }
        config = processor(helm, options)["transportConfig"]
        assert (config["secure"], config["requireTls"]) == (taken, taken)

    def test_other_numbers_in_quotes(self, helm: Helm) -> None:
        taken = processor(
            helm,
            {
                "transportConfig": smtp(),
                "sender": "a@mycompany.com",
                "concurrencyLimit": "10",
                "throttleInterval": {"seconds": "60", "milliseconds": " .5 ", "hours": None},
                "cache": {"ttl": {"days": "01"}},
            },
        )
        assert taken["concurrencyLimit"] == 10
        assert taken["throttleInterval"] == {"seconds": 60, "milliseconds": 0.5}
        assert taken["cache"] == {"ttl": {"days": 1}}

    def test_keys_without_a_value(self, helm: Helm) -> None:
        options = {
            "transportConfig": smtp(
                secure=None, requireTls=None, ignoreTls=None, tls=None, username=None, password=None
            ),
            "sender": "a@mycompany.com",
            "replyTo": None,
            "cache": None,
            "broadcastConfig": None,
            "concurrencyLimit": None,
            "throttleInterval": None,
            "filter": {"minSeverity": None, "includedTopics": None},
            "allowedEmailDomains": None,
            "existingSecret": None,
            "retry": None,
            "order": None,
        }
        assert processor(helm, options) == {
            "transportConfig": smtp(),
            "sender": "a@mycompany.com",
            "filter": {},
        }

    def test_a_value_within_a_block_without_one(self, helm: Helm) -> None:
        options = {"transportConfig": smtp(), "sender": "a@mycompany.com", "cache": {"ttl": None}}
        assert processor(helm, options)["cache"] == {}

    @pytest.mark.parametrize("path", ["sender", "transportConfig", "transportConfig.port"])
    def test_what_is_required_has_a_value(self, helm: Helm, path: str) -> None:
        options: Document = {"transportConfig": smtp(), "sender": "a@mycompany.com"}
        *parents, name = path.split(".")
        place = options
        for parent in parents:
            place = place[parent]
        place[name] = None
        message = refusal(helm, {"notifications": {"processors": {"email": options}}})
        assert f"notifications.processors.email.{path} is missing" in message

    @pytest.mark.parametrize(
        "given",
        [
            {"app": None},
            {"app": {"baseUrl": None}},
            {"notifications": None},
            {"notifications": {"processors": None}},
            {"notifications": {"processors": {"email": None}}},
            {"notifications": {"defaultSettings": None}},
            {"notifications": {"defaultSettings": {"channels": None}}},
            {"notifications": {"retention": None}},
        ],
    )
    @pytest.mark.parametrize("gateway", [False, True])
    def test_empty_blocks_around_it(self, helm: Helm, given: Document, gateway: bool) -> None:
        rendered = documents(helm.template(values={**given, "gateway": {"enabled": gateway}}))
        kinds = {(item["kind"], item["metadata"]["name"]) for item in rendered}
        assert ("NotificationProcessor", "email") not in kinds

    @pytest.mark.parametrize(
        ("given", "days"), [({}, 365), ({"retention": None}, 365), ({"retention": "false"}, None)]
    )
    def test_retention(self, helm: Helm, given: Document, days: int | None) -> None:
        settings = RetentionSettings.model_validate(
            gateway_settings(helm, given).get("RETENTION", {})
        )
        assert (settings.age.days if settings.age else None) in (days, 366 if days else None)

    def test_default_settings(self, helm: Helm) -> None:
        topics = [{"id": "t", "enabled": "no"}]
        origins = [{"id": "o", "enabled": "true", "topics": topics}, {"id": "p", "enabled": 0}]
        given = [{"id": "Email", "enabled": None, "origins": origins}, {"id": "Web"}]
        taken = gateway_settings(helm, {"defaultSettings": {"channels": given}})["DEFAULT_SETTINGS"]
        first, second = taken["channels"][0]["origins"]
        assert "enabled" not in taken["channels"][0]
        assert (first["enabled"], first["topics"][0]["enabled"]) == (True, False)
        assert second["enabled"] is False

    @pytest.mark.parametrize(
        "options",
        [
            {
                "transportConfig": {
                    "transport": "sendmail",
                    "path": "/usr/sbin/sendmail",
                    "newline": "unix",
                },
                "sender": "sender@mycompany.com",
            },
            {
                "transportConfig": {
                    "transport": "smtp",
                    "hostname": "mailpit.mailpit.svc.cluster.local",
                    "port": 1025,
                },
                "sender": "notifications@developer-hub.local",
                "filter": {"minSeverity": "high"},
            },
            {
                "transportConfig": smtp(hostname="smtp.invalid"),
                "sender": "plugin-sanity-dummy@invalid",
            },
        ],
    )
    def test_what_was_right_stays_as_it_is(self, helm: Helm, options: Document) -> None:
        assert processor(helm, options) == options


def gateway_settings(helm: Helm, notifications: Document) -> dict[str, Any]:
    given = {"notifications": notifications, "gateway": {"enabled": True}}
    rendered = documents(helm.template(values=given))
    deployment = find(rendered, "Deployment", "notifications-gateway")
    prefix = "NOTIFICATIONS_GATEWAY_"
    return {
        variable["name"].removeprefix(prefix): json.loads(variable["value"])
        for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        if variable["name"] in {f"{prefix}RETENTION", f"{prefix}DEFAULT_SETTINGS"}
    }


FREE = {
    "global", "entities", "extraObjects", "annotations", "podAnnotations", "relabelings",
    "metricRelabelings",
}  # fmt: skip
"""Values in which ``${1}`` has a meaning for others, or may have one."""


class TestPlaceholders:
    def test_credentials_of_nearly_every_public_app_config(self, helm: Helm) -> None:
        given = transport(
            hostname="${SMTP_HOST}",
            username="${NOTIFICATIONS_EMAIL_USERNAME}",
            password="${NOTIFICATIONS_EMAIL_PASSWORD:-hunter22}",
        )
        given["notifications"]["processors"]["email"]["sender"] = "${SENDER}"
        message = refusal(helm, given)
        block = "- notifications.processors.email"
        assert f"{block}.transportConfig.hostname: write the value itself" in message
        assert f"{block}.sender: write the value itself" in message
        for name in ("username", "password"):
            assert f"{block}.transportConfig.{name}: put it into a Secret" in message
        assert "existingSecret" in message
        assert "Helm does not know them" in message
        assert "envsubst <" in message
        assert "hunter22" not in message

    def test_every_value_by_its_path(self, helm: Helm) -> None:
        """Placeholders are named before the schema judges type, pattern or valid values."""
        given = {**EVERYTHING, "gateway": {**EVERYTHING["gateway"], "namespaces": ["team-a"]}}
        given["gateway"]["tokens"] = {"externalAccess": [CALLER]}
        given["notifications"] = {
            **SEED_VALUES["notifications"],
            "retention": "1y",
            "defaultSettings": {"channels": [{"id": "Email", "enabled": True}]},
        }
        given, paths = unfilled(given)
        assert len(paths) > 150
        message = refusal(helm, given)
        named = {line[2:].partition(": ")[0] for line in message.splitlines() if line[:2] == "- "}
        assert set(paths) - named == set()
        assert named - set(paths) == set()

    @pytest.mark.parametrize(
        "text",
        [
            "${NAME}", "a${NAME}b", "${NAME:-default}", "$${ESCAPED}", "${{ secrets.NAME }}",
            "${}", "a\n${NAME}",
        ],
    )  # fmt: skip
    def test_forms(self, helm: Helm, text: str) -> None:
        message = refusal(helm, transport(password=text))
        assert "email.transportConfig.password: put it into a Secret" in message

    @pytest.mark.parametrize("text", ["$NAME", "{NAME}", "a${b", "$(NAME)", "$ {NAME}", "%{NAME}"])
    def test_what_is_none(self, helm: Helm, text: str) -> None:
        helm.template(values=transport(password=text))

    @pytest.mark.parametrize("key", ["$env", "$file", "$include"])
    def test_what_backstage_includes(self, helm: Helm, key: str) -> None:
        message = refusal(helm, transport(password={key: "secrets/password.txt"}))
        assert "email.transportConfig.password: put it into a Secret" in message

    def test_a_token_of_a_caller(self, helm: Helm) -> None:
        caller = {**CALLER, "options": {**CALLER["options"], "token": PLACEHOLDER}}
        message = refusal(
            helm, {"gateway": {"enabled": True, "tokens": {"externalAccess": [caller]}}}
        )
        path = "gateway.tokens.externalAccess[0].options.token"
        assert f"{path}: put the callers into a Secret" in message
        assert "gateway.tokens.existingSecret" in message

    def test_a_key(self, helm: Helm) -> None:
        message = refusal(helm, {"limits": {"namespaces": {PLACEHOLDER: {"maxRecipients": 1}}}})
        assert f"limits.namespaces.{PLACEHOLDER}: write the value itself" in message

    def test_where_it_has_a_meaning_it_stays(self, helm: Helm) -> None:
        given = {
            "catalog": {
                "entities": [
                    {
                        "apiVersion": "v1",
                        "kind": "User",
                        "metadata": {"name": "a", "description": PLACEHOLDER},
                    }
                ]
            },
            "extraObjects": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "x"},
                    "data": {"script": "echo ${HOME}"},
                }
            ],
            "podAnnotations": {"a": PLACEHOLDER},
            "serviceMonitor": {
                "enabled": True,
                "renderMode": "alwaysRender",
                "relabelings": [{"replacement": "${1}:9100"}],
            },
        }
        assert "${1}:9100" in helm.template(values=given)

    def test_the_schema_still_judges_beside_them(self, helm: Helm) -> None:
        given = {"podAnnotations": {"a": PLACEHOLDER}, "replicaCount": "many"}
        assert "at '/replicaCount': got string, want integer" in refusal(helm, given)

    def test_schema_and_templates_leave_out_the_same(self) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text())
        (left_out,) = schema["definitions"]["unfilled"]["anyOf"][-1]["not"]["patternProperties"]
        assert set(left_out[2:-2].split("|")) == FREE
        template = (CHART / "templates/_appconfig.tpl").read_text()
        assert (
            f"list {' '.join(json.dumps(name) for name in left_out[2:-2].split('|'))}" in template
        )


def unfilled(value: Any, path: str = "") -> tuple[Any, list[str]]:
    """Return values with a placeholder in each place, and the paths of the places."""
    if isinstance(value, dict):
        found = {
            name: unfilled(item, f"{path}.{name}".removeprefix("."))
            for name, item in value.items()
            if name not in FREE
        }
    elif isinstance(value, list):
        found = {
            position: unfilled(item, f"{path}[{position}]") for position, item in enumerate(value)
        }
    else:
        return PLACEHOLDER, [path]
    paths = [place for _, places in found.values() for place in places]
    items = {name: item for name, (item, _) in found.items()}
    return (items if isinstance(value, dict) else list(items.values())), paths


def is_option(place: str, name: str) -> bool:
    """Return whether a place of the values has an option of this name."""
    options = json.loads((CHART / "values.schema.json").read_text())["definitions"]["email"]
    of = {
        "processors.email": options["properties"],
        "transportConfig": options["properties"]["transportConfig"]["properties"],
    }
    return name in of.get(place, {})


KNOWN = yaml.safe_load((CHART / "files" / "misplaced-keys.yaml").read_text())


def misplaced(message: str) -> dict[str, str]:
    """Return what each path is answered with."""
    lines = [line[2:] for line in message.splitlines() if line.startswith("- ")]
    return dict(line.split(": ", 1) for line in lines)


class TestMisplacedKeys:
    def test_the_example_of_backstages_documentation(self, helm: Helm) -> None:
        """docs/notifications/processors.md: nothing there reads it either."""
        block = {
            "host": "smtp.example.com",
            "port": 587,
            "secure": False,
            "username": "${SMTP_USERNAME}",
            "password": "${SMTP_PASSWORD}",
        }
        message = refusal(helm, {"notifications": {"email": {"smtp": block}}})
        right = "notifications.processors.email.transportConfig"
        for name, meant in {**{name: name for name in block}, "host": "hostname"}.items():
            assert f"- notifications.email.smtp.{name}: write {right}.{meant}\n" in message
        assert "nothing, neither here nor by Backstage's email processor" in message
        for name in ("username", "password"):
            assert f"- notifications.email.smtp.{name}: put it into a Secret" in message

    @pytest.mark.parametrize(
        ("given", "answers"),
        [
            (
                {"email": {"transportConfig": {"transport": "smtp"}, "from": "a@b"}},
                {"email.transportConfig": "transportConfig", "email.from": "sender"},
            ),
            (
                {"smtp": {"host": "a", "auth": {"user": "b", "pass": "c"}}},
                {
                    "smtp.host": "transportConfig.hostname",
                    "smtp.auth.user": "transportConfig.username",
                    "smtp.auth.pass": "transportConfig.password",
                },
            ),
            (
                {"processors": {"smtp": {"host": "a"}}},
                {"processors.smtp.host": "transportConfig.hostname"},
            ),
            (
                {"processors": {"email": {"smtp": {"host": "a"}, "from": "a@b", "port": 25}}},
                {
                    "processors.email.smtp.host": "transportConfig.hostname",
                    "processors.email.from": "sender",
                    "processors.email.port": "transportConfig.port",
                },
            ),
            (
                {"mail": {"smtp_host": "a", "reply-to": "b"}},
                {"mail.smtp_host": "transportConfig.hostname", "mail.reply-to": "replyTo"},
            ),
            (
                {"processors": {"email": {"transport_config": {}, "SMTP_PORT": 1}}},
                {
                    "processors.email.transport_config": "transportConfig",
                    "processors.email.SMTP_PORT": "transportConfig.port",
                },
            ),
            (
                {"processors": {"email": {"transport": "smtp", "Hostname": "a"}}},
                {
                    "processors.email.transport": "transportConfig.transport",
                    "processors.email.Hostname": "transportConfig.hostname",
                },
            ),
            (
                {
                    "processors": {
                        "email": {
                            "transportConfig": {
                                "transport": "smtp",
                                "host": "a",
                                "requireTLS": True,
                                "auth": {"user": "b", "pass": "c"},
                                "replyto": "a@b",
                            }
                        }
                    }
                },
                {
                    "processors.email.transportConfig.host": "transportConfig.hostname",
                    "processors.email.transportConfig.requireTLS": "transportConfig.requireTls",
                    "processors.email.transportConfig.auth.user": "transportConfig.username",
                    "processors.email.transportConfig.auth.pass": "transportConfig.password",
                    "processors.email.transportConfig.replyto": "replyTo",
                },
            ),
        ],
    )
    def test_each_is_answered_with_the_right_key(
        self, helm: Helm, given: Document, answers: dict[str, str]
    ) -> None:
        assert misplaced(refusal(helm, {"notifications": given})) == {
            f"notifications.{path}": f"write notifications.processors.email.{meant}"
            for path, meant in answers.items()
        }

    def test_a_setting_that_there_is_not(self, helm: Helm) -> None:
        message = refusal(helm, {"notifications": {"email": {"smtp": {"dkim": {}}, "x": 1}}})
        assert misplaced(message) == {
            "notifications.email.smtp.dkim": "the email processor has no such setting",
            "notifications.email.x": "the email processor has no such setting",
        }

    @pytest.mark.parametrize("value", ["smtp://host", 1, ["a"], True])
    def test_a_block_that_is_none(self, helm: Helm, value: Any) -> None:
        message = refusal(helm, {"notifications": {"email": value}})
        assert "notifications.email: the settings are below notifications.processors" in message

    @pytest.mark.parametrize("value", ["x", 0, [], {}, {"x": {}}, None])
    @pytest.mark.parametrize("place", ["", "processors", "processors.email", "transportConfig"])
    def test_what_the_schema_lets_through_is_answered(
        self, helm: Helm, place: str, value: Any
    ) -> None:
        """A key that passes both schema and templates would be ignored silently."""
        names = KNOWN.get(place or "notifications", [*KNOWN["groups"], *KNOWN["keys"]])
        for spelling in (str.upper, lambda name: name.replace("-", "_")):
            block: Document = {spelling(name): value for name in names}
            misspelt = {name: item for name, item in block.items() if not is_option(place, name)}
            given: Document = misspelt
            path = {"transportConfig": "processors.email.transportConfig"}.get(place, place)
            for name in reversed(path.split(".") if path else []):
                given = {name: given}
            message = refusal(helm, {"notifications": given})
            prefix = f"- notifications.{path}".rstrip(".")
            for name in misspelt:
                assert f"{prefix}.{name}" in message

    def test_every_answer_is_a_valid_key(self) -> None:
        options = json.loads((CHART / "values.schema.json").read_text())["definitions"]["email"]
        for meant in KNOWN["keys"].values():
            schema = options
            for name in meant.split("."):
                schema = schema.get("properties") or {"ttl": {}}
                assert name in schema, meant
                schema = schema[name]

    @pytest.mark.parametrize("prefix", ["", "transportConfig."])
    def test_no_valid_key_is_answered(self, prefix: str) -> None:
        """The table of misplaced keys contains no option of the schema."""
        options = json.loads((CHART / "values.schema.json").read_text())["definitions"]["email"]
        for name in prefix.split(".")[:-1]:
            options = options["properties"][name]
        folded = {name.replace("-", ""): meant for name, meant in KNOWN["keys"].items()}
        for name in options["properties"]:
            assert folded.get(name.lower(), prefix + name) == prefix + name
            assert name.lower() not in KNOWN["groups"] or name == "transport"

    def test_the_schema_is_made_from_the_table(self) -> None:
        text = values_schema.generate(REPOSITORY)[values_schema.SCHEMA]
        names = [*KNOWN["notifications"], *KNOWN["processors"], *KNOWN["groups"], *KNOWN["keys"]]
        assert all(name.replace("-", "[-_]?") in text for name in names)

    def test_an_unknown_key_is_left_to_the_schema(self, helm: Helm) -> None:
        message = refusal(helm, email(hostnam="x"))
        assert "additional properties 'hostnam' not allowed" in message


def test_everything_that_is_checked_is_reached(helm: Helm) -> None:
    """A type that fits nowhere is never met by a template before it is refused."""
    given: Document = {"gateway": PLACEHOLDER, "metrics": PLACEHOLDER, "notifications": PLACEHOLDER}
    message = refusal(helm, given)
    for name in given:
        assert f"- {name}: write the value itself" in message
