"""What the values become, and what users are told of values that cannot be."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from hack.sync import values
from notifications_operator.settings import Settings
from tests.support.helm import CHART, SEED_VALUES, Document, Helm, HelmError, documents, find
from tests.unit.chart.cases import CASES, EVERYTHING, GATEWAY, email, transport

REPOSITORY = Path(__file__).parents[3]
ANONYMOUS: Document = {"username": None, "password": None}
OAUTH2: Document = {
    "grant": "clientCredentials",
    "tokenUrl": "https://login.example.com/token",
    "clientId": "client",
    "clientSecretRef": {"name": "mail-oauth2", "key": "clientSecret"},
}


def oauth2(beside: Document | None = None, **options: Any) -> Document:
    """Return values with access tokens, some of their options changed (None: removed)."""
    changed = {key: value for key, value in {**OAUTH2, **options}.items() if value is not None}
    return transport(**{**ANONYMOUS, "oauth2": changed, **(beside or {})})


def render(helm: Helm, given: Document | None = None, *arguments: str) -> list[Document]:
    return documents(helm.template(*arguments, values=given))


def container(rendered: list[Document]) -> Document:
    deployment = find(rendered, "Deployment", "notifications")
    found: Document = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def rules(document: Document) -> set[tuple[str, str, tuple[str, ...]]]:
    return {
        (group, resource, tuple(rule["verbs"]))
        for rule in document["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def operator_settings(rendered: list[Document], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Read the Deployment's environment as the operator will."""
    for variable in container(rendered)["env"]:
        value = variable.get("value")
        if "valueFrom" in variable:
            value = variable["valueFrom"]["fieldRef"]["fieldPath"]
        monkeypatch.setenv(variable["name"], value)
    return Settings()


class TestSeed:
    def test_becomes_a_processor_without_credentials(self, helm: Helm) -> None:
        processor = find(render(helm, SEED_VALUES), "NotificationProcessor")
        assert processor["metadata"]["name"] == "email"
        assert processor["metadata"]["namespace"] == "notifications-system"
        assert processor["spec"] == {
            "type": "email",
            "secretRef": {"name": "notifications-email"},
            "email": {
                "transportConfig": {
                    "transport": "smtp",
                    "hostname": "my-smtp-server",
                    "port": 587,
                    "secure": False,
                },
                "sender": "sender@mycompany.com",
                "replyTo": "no-reply@mycompany.com",
                "broadcastConfig": {"receiver": "users"},
                "concurrencyLimit": 10,
                "cache": {"ttl": {"days": 1}},
            },
        }

    def test_becomes_a_secret_with_the_credentials(self, helm: Helm) -> None:
        secret = find(render(helm, SEED_VALUES), "Secret")
        assert secret["metadata"]["name"] == "notifications-email"
        assert secret["type"] == "Opaque"
        decoded = {key: base64.b64decode(value) for key, value in secret["data"].items()}
        assert decoded == {"username": b"my-username", "password": b"my-password"}


class TestProcessor:
    def test_there_is_none_by_default(self, helm: Helm) -> None:
        kinds = {document["kind"] for document in render(helm)}
        assert not kinds & {"NotificationProcessor", "Secret", "ConfigMap"}

    def test_an_existing_secret_is_referred_to(self, helm: Helm) -> None:
        rendered = render(helm, CASES["existing secret"].values)
        assert not [document for document in rendered if document["kind"] == "Secret"]
        spec = find(rendered, "NotificationProcessor")["spec"]
        assert spec["secretRef"] == {"name": "smtp-login"}
        assert "existingSecret" not in spec["email"]

    def test_no_credentials_no_secret(self, helm: Helm) -> None:
        rendered = render(helm, transport(**ANONYMOUS, ignoreTls=True))
        assert not [document for document in rendered if document["kind"] == "Secret"]
        assert "secretRef" not in find(rendered, "NotificationProcessor")["spec"]

    def test_the_name_for_ehlo_is_passed_on(self, helm: Helm) -> None:
        rendered = render(helm, transport(name="notifications.example.com"))
        spec = find(rendered, "NotificationProcessor")["spec"]
        assert spec["email"]["transportConfig"]["name"] == "notifications.example.com"

    def test_what_is_not_emails_is_beside_it(self, helm: Helm) -> None:
        given = CASES["stream"].values["notifications"]["processors"]["email"]
        spec = find(render(helm, CASES["stream"].values), "NotificationProcessor")["spec"]
        beside = ("channel", "order", "suspend", "onAmbiguous", "retry")
        assert {key: spec[key] for key in beside} == {key: given[key] for key in beside}
        assert spec["email"] == {key: given[key] for key in given if key not in beside}

    @pytest.mark.parametrize("text", ["p: 'w\" {{ .Values }}\n#%$(HOME)", "пароль", " ", "-1e3"])
    def test_any_password_arrives_as_it_is(self, helm: Helm, text: str) -> None:
        secret = find(render(helm, transport(password=text)), "Secret")
        assert base64.b64decode(secret["data"]["password"]).decode() == text


class TestSettings:
    def test_defaults_are_the_operators(self, helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = operator_settings(render(helm), monkeypatch)
        expected = Settings.model_construct(namespace="metadata.namespace").model_dump()
        expected |= {"pod_name": "metadata.name", "pod_uid": "metadata.uid"}
        expected["catalog"] |= {"namespaces": ["notifications-system"]}
        assert settings.model_dump() == expected

    def test_every_setting_can_be_set(self, helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = operator_settings(render(helm, EVERYTHING), monkeypatch)
        defaults = Settings.model_construct(namespace="local")
        unchanged = {
            path for path, value in leaves(settings) if value == dict(leaves(defaults))[path]
        }
        # The volume with the token is mounted where it is looked for; an install is called like
        # its release.
        assert unchanged == {"server.host", "server.port", "gateway.token_file", "install"}
        assert settings.catalog.namespaces == ["notifications-system", "org-data"]
        assert settings.catalog.settle == 0.5
        assert settings.catalog.unknown_grace == 1_000_000
        assert settings.limits.max_recipients == 0
        assert settings.limits.namespaces["team-a"].max_recipients == 50
        assert settings.limits.namespaces["team-b"].recipients_per_hour == 10

    def test_numbers_stay_numbers(self, helm: Helm) -> None:
        env = {v["name"]: v.get("value") for v in container(render(helm, EVERYTHING))["env"]}
        assert env["NOTIFICATIONS_LIMITS__RECIPIENTS_PER_HOUR"] == "2000000"

    def test_image(self, helm: Helm) -> None:
        def image(**given: str) -> str:
            return str(container(render(helm, {"image": given}))["image"])

        digest = "sha256:" + "0" * 64
        assert image() == "notifications-operator:0.1.0"
        assert image(repository="r/n", tag="dev") == "r/n:dev"
        assert image(digest=digest) == f"notifications-operator@{digest}"
        assert image(tag="1", digest=digest) == f"notifications-operator:1@{digest}"


def leaves(model: BaseModel, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            found += leaves(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


class TestRights:
    def test_of_the_operator(self, helm: Helm) -> None:
        rendered = render(helm)
        ours = "notifications.orchestrator.io"
        assert rules(find(rendered, "ClusterRole")) == {
            (ours, "notifications", ("get", "list", "watch", "delete")),
            (ours, "notifications/status", ("get", "patch")),
            (ours, "notificationdeliveryslices", ("get", "list", "create", "patch", "delete")),
            (ours, "notificationprocessors", ("get", "list", "watch")),
            (ours, "notificationprocessors/status", ("patch",)),
            ("events.k8s.io", "events", ("create", "patch")),
            ("apiextensions.k8s.io", "customresourcedefinitions", ("get",)),
            ("coordination.k8s.io", "leases", ("list", "patch")),
        }
        assert rules(find(rendered, "Role", "notifications")) == {
            ("", "secrets", ("get",)),
            ("coordination.k8s.io", "leases", ("get", "watch", "patch")),
        }
        election = find(rendered, "Role", "notifications-system.notifications")
        assert election["metadata"]["namespace"] == "kube-system"
        assert rules(election) == {
            ("coordination.k8s.io", "leases", ("get", "watch", "patch")),
            ("coordination.k8s.io", "leases", ("create",)),
        }
        assert rules(find(rendered, "Role", "notifications-catalog")) == {
            ("", "configmaps", ("get", "list", "watch"))
        }

    def test_bindings_name_the_service_account(self, helm: Helm) -> None:
        for name in ("defaults", "existing service account"):
            rendered = render(helm, CASES[name].values)
            pod = find(rendered, "Deployment")["spec"]["template"]["spec"]
            bindings = [d for d in rendered if d["kind"] in {"RoleBinding", "ClusterRoleBinding"}]
            assert len(bindings) == 4
            for binding in bindings:
                assert binding["subjects"] == [
                    {
                        "kind": "ServiceAccount",
                        "name": pod["serviceAccountName"],
                        "namespace": "notifications-system",
                    }
                ]

    def test_leases_are_named(self, helm: Helm) -> None:
        """But for the right to create them, which cannot be given for a name."""
        election = {"namespace": "election", "leaseName": "mail"}
        rendered = render(helm, {"leaderElection": election})
        found = {
            (document["metadata"].get("namespace"), *rule.get("resourceNames", ["any"]))
            for document in rendered
            if document["kind"] in {"Role", "ClusterRole"}
            for rule in document["rules"]
            if "leases" in rule["resources"] and rule["verbs"] != ["create"]
        }
        assert found == {
            (None, "notifications-operator"),
            ("election", "notifications-operator"),
            ("notifications-system", "mail"),
        }

    def test_installs_of_one_name_share_nothing_outside_their_namespaces(self, helm: Helm) -> None:
        """`helm template | kubectl apply` would overwrite what another install needs."""

        def outside(namespace: str) -> set[tuple[str, str, str]]:
            values = {"admission": {"enabled": False}, "gateway": {"enabled": True}}
            manifest = helm.template(values=values, namespace=namespace)
            return {
                (document["kind"], metadata.get("namespace", ""), metadata["name"])
                for document in documents(manifest)
                if (metadata := document["metadata"]).get("namespace") != namespace
                and document["kind"] != "Namespace"
            }

        one, other = outside("one"), outside("other")
        assert one and not {found for found in one & other if found[1] != "notifications-inbox"}

    def test_secrets_can_be_narrowed(self, helm: Helm) -> None:
        def names(given: Document) -> Any:
            return find(render(helm, given), "Role", "notifications")["rules"][0]["resourceNames"]

        assert names(CASES["existing secret"].values) == ["other", "smtp-login", "mail-ca"]
        assert names({**SEED_VALUES, "rbac": {"secretNames": ["x"]}}) == [
            "x",
            "notifications-email",
        ]
        assert names({"rbac": {"secretNames": ["x"]}}) == ["x"]
        assert names(CASES["oauth2 of microsoft"].values) == ["other", "mail-oauth2"]
        assert names(CASES["oauth2 of google"].values) == ["other", "mail-key"]

    def test_catalog_namespaces_are_readable(self, helm: Helm) -> None:
        roles = [
            document["metadata"]["namespace"]
            for document in render(helm, {"catalog": {"namespaces": ["org", "hr"]}})
            if document["kind"] == "Role" and document["metadata"]["name"].endswith("-catalog")
        ]
        assert sorted(roles) == ["hr", "notifications-system", "org"]


class TestExamples:
    @pytest.mark.parametrize(
        "path",
        sorted((REPOSITORY / "examples" / "oauth2").glob("*.yaml")),
        ids=lambda path: str(path.stem),
    )
    def test_values_with_access_tokens_are_taken(self, helm: Helm, path: Path) -> None:
        given = yaml.safe_load(path.read_text())
        spec = find(render(helm, given), "NotificationProcessor")["spec"]
        assert spec == {"type": "email", "email": given["notifications"]["processors"]["email"]}


class TestCatalog:
    def test_entities_become_one_labelled_config_map(self, helm: Helm) -> None:
        config = find(render(helm, EVERYTHING), "ConfigMap", "notifications-catalog")
        assert config["metadata"]["labels"]["notifications.orchestrator.io/catalog"] == "true"
        entities = list(yaml.safe_load_all(config["data"]["entities.yaml"]))
        assert entities == EVERYTHING["catalog"]["entities"]

    def test_too_many_are_refused(self, helm: Helm) -> None:
        entity = {
            "apiVersion": "backstage.io/v1alpha1",
            "kind": "Group",
            "metadata": {"name": "g", "description": "x" * 600_000},
        }
        with pytest.raises(HelmError, match="a ConfigMap holds 1 MiB"):
            render(helm, {"catalog": {"entities": [entity, entity]}})


class TestNetworkPolicy:
    def test_default_rules_reach_what_is_needed(self, helm: Helm) -> None:
        given = {**CASES["existing secret"].values, "networkPolicy": {"enabled": True}}
        spec = find(render(helm, given), "NetworkPolicy")["spec"]
        ports = [[port["port"] for port in rule["ports"]] for rule in spec["egress"]]
        assert ports == [[53, 53], [443, 6443], [25, 465, 587, 2465]]
        assert spec["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]

    @pytest.mark.parametrize(
        ("case", "port"), [("oauth2 of microsoft", 443), ("oauth2 with a federated token", 8443)]
    )
    def test_token_endpoints_are_reached(self, helm: Helm, case: str, port: int) -> None:
        spec = find(render(helm, CASES[case].values), "NetworkPolicy")["spec"]
        ports = [[port["port"] for port in rule["ports"]] for rule in spec["egress"]]
        assert ports == [[53, 53], [443, 6443], [25, 465, 587], [port]]

    def test_own_rules_replace_them(self, helm: Helm) -> None:
        given = CASES["own network rules"].values
        spec = find(render(helm, given), "NetworkPolicy")["spec"]
        assert spec["ingress"] == given["networkPolicy"]["ingress"]
        assert spec["egress"] == given["networkPolicy"]["egress"]


class TestServiceMonitor:
    @pytest.mark.parametrize(
        ("mode", "known", "expected"),
        [
            ("skipIfMissing", False, 0),
            ("skipIfMissing", True, 1),
            ("alwaysRender", False, 1),
            ("failIfMissing", True, 1),
        ],
    )
    def test_modes(self, helm: Helm, mode: str, known: bool, expected: int) -> None:
        arguments = ("--api-versions", "monitoring.coreos.com/v1") if known else ()
        given = {"serviceMonitor": {"enabled": True, "renderMode": mode}}
        rendered = render(helm, given, *arguments)
        assert sum(d["kind"] == "ServiceMonitor" for d in rendered) == expected

    def test_can_insist(self, helm: Helm) -> None:
        with pytest.raises(HelmError, match="install the Prometheus operator first"):
            render(helm, {"serviceMonitor": {"enabled": True, "renderMode": "failIfMissing"}})


class TestPrometheusRule:
    @pytest.mark.parametrize(
        ("mode", "known", "expected"),
        [
            ("skipIfMissing", False, 0),
            ("skipIfMissing", True, 1),
            ("alwaysRender", False, 1),
            ("failIfMissing", True, 1),
        ],
    )
    def test_modes(self, helm: Helm, mode: str, known: bool, expected: int) -> None:
        arguments = ("--api-versions", "monitoring.coreos.com/v1") if known else ()
        given = {"metrics": {"prometheusRule": {"enabled": True, "renderMode": mode}}}
        rendered = render(helm, given, *arguments)
        assert sum(d["kind"] == "PrometheusRule" for d in rendered) == expected

    def test_can_insist(self, helm: Helm) -> None:
        given = {"metrics": {"prometheusRule": {"enabled": True, "renderMode": "failIfMissing"}}}
        with pytest.raises(HelmError, match="install the Prometheus operator first"):
            render(helm, given)

    def test_holds_the_alerts_as_they_are(self, helm: Helm) -> None:
        """Their {{ $labels }} are Prometheus's to fill in, not Helm's."""
        rule = find(render(helm, EVERYTHING), "PrometheusRule")
        assert rule["spec"] == yaml.safe_load((CHART / "files/alerts.yaml").read_text())
        assert rule["metadata"]["namespace"] == "monitoring"
        assert rule["metadata"]["labels"]["release"] == "prometheus"
        assert rule["metadata"]["annotations"] == {"e": "f"}


class TestDashboard:
    def test_is_found_by_grafanas_sidecar(self, helm: Helm) -> None:
        given = {"metrics": {"dashboard": {"enabled": True}}}
        config = find(render(helm, given), "ConfigMap", "notifications-dashboard")
        assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert config["metadata"]["namespace"] == "notifications-system"
        file = json.loads((CHART / "files/dashboard.json").read_text())
        assert json.loads(config["data"]["notifications.json"]) == file

    def test_can_be_put_elsewhere(self, helm: Helm) -> None:
        config = find(render(helm, EVERYTHING), "ConfigMap", "notifications-dashboard")
        assert config["metadata"]["namespace"] == "monitoring"
        assert config["metadata"]["labels"]["grafana_dashboard"] == "yes"
        assert config["metadata"]["annotations"] == {"grafana_folder": "Platform"}


class TestDefinitions:
    """The definitions are installed from crds/, and updated by a hook (see upgrade.yaml)."""

    def test_an_install_renders_none(self, helm: Helm) -> None:
        kinds = {document["kind"] for document in render(helm, SEED_VALUES)}
        assert "CustomResourceDefinition" not in kinds

    def test_an_upgrade_applies_them_as_they_are(self, helm: Helm) -> None:
        rendered = {
            document["metadata"]["name"]: document
            for document in render(helm, SEED_VALUES, "--is-upgrade")
            if document["kind"] == "CustomResourceDefinition"
        }
        for path in sorted((REPOSITORY / "crds").glob("*.yaml")):
            definition = yaml.safe_load(path.read_text())
            found = rendered.pop(definition["metadata"]["name"])
            assert found["metadata"]["annotations"] == {"helm.sh/hook": "pre-upgrade"}
            assert found["spec"] == definition["spec"]
        assert not rendered

    @pytest.mark.parametrize("arguments", [("--is-upgrade",), ("--include-crds",)])
    @pytest.mark.parametrize("install", [True, False])
    def test_can_be_left_out(self, helm: Helm, arguments: tuple[str, ...], install: bool) -> None:
        rendered = render(helm, {"crds": {"install": install}}, *arguments)
        found = [d for d in rendered if d["kind"] == "CustomResourceDefinition"]
        assert bool(found) is install

    def test_can_be_shown_for_use_by_hand(self, helm: Helm) -> None:
        shown = documents(helm.run("show", "crds", str(CHART)))
        files = (REPOSITORY / "crds").glob("*.yaml")
        names = {yaml.safe_load(file.read_text())["metadata"]["name"] for file in files}
        assert {definition["metadata"]["name"] for definition in shown} == names


class TestRefused:
    @pytest.mark.parametrize(
        "path",
        [
            "typo",
            "app.typo",
            "catalog.typo",
            "limits.namespaces.team-a.typo",
            "notifications.typo",
            "notifications.processors.typo",
            "notifications.processors.email.typo",
            "notifications.processors.email.transportConfig.typo",
            "notifications.processors.email.transportConfig.tls.typo",
            "notifications.processors.email.broadcastConfig.typo",
            "notifications.processors.email.cache.typo",
            "notifications.processors.email.cache.ttl.typo",
            "notifications.processors.email.filter.typo",
            "notifications.processors.email.retry.typo",
            "image.typo",
            "crds.typo",
            "rbac.typo",
            "serviceAccount.typo",
            "livenessProbe.typo",
            "metrics.service.typo",
            "metrics.prometheusRule.typo",
            "metrics.dashboard.typo",
            "serviceMonitor.typo",
            "podDisruptionBudget.typo",
            "networkPolicy.typo",
            "tests.typo",
        ],
    )
    def test_an_unknown_key_by_its_name(self, helm: Helm, path: str) -> None:
        with pytest.raises(HelmError) as refusal:
            helm.template("--set", f"{path}=1")
        message = str(refusal.value)
        assert "additional properties 'typo' not allowed" in message
        place = "".join(f"/{part}" for part in path.split(".")[:-1])
        assert f"at '{place}'" in message

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (
                {"notifications": {"processors": {"slack": [{"token": "xoxb-canary"}]}}},
                "at '/notifications/processors': additional properties 'slack' not allowed",
            ),
            (email(sesConfig={"fromArn": "arn:canary"}), "'sesConfig' not allowed"),
            (email(templateRenderer="canary"), "'templateRenderer' not allowed"),
            (transport(transport="ses", region="canary"), "must be one of 'smtp', 'sendmail'"),
            (transport(transport="azure", accessKey="canary"), "must be one of 'smtp', 'sendmail'"),
        ],
    )
    def test_what_backstage_has_and_this_has_not_by_its_name(
        self, helm: Helm, given: Document, message: str
    ) -> None:
        with pytest.raises(HelmError) as refusal:
            render(helm, given)
        assert message in str(refusal.value)
        assert "canary" not in str(refusal.value)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"replicaCount": -1}, "at '/replicaCount': minimum: got -1, want 0"),
            ({"logLevel": "debug"}, "'/logLevel': value must be one of 'DEBUG', 'INFO'"),
            ({"app": {"baseUrl": "ftp://x"}}, "at '/app/baseUrl'"),
            ({"catalog": {"settle": "5s"}}, "at '/catalog/settle': got string, want number"),
            ({"catalog": {"entities": [{"kind": "User"}]}}, "missing properties 'apiVersion'"),
            ({"limits": {"maxRecipients": -1}}, "at '/limits/maxRecipients': minimum: got -1"),
            ({"image": {"digest": "sha256:1"}}, "at '/image/digest'"),
            ({"tests": {"recipient": "jane"}}, "at '/tests/recipient'"),
            (email(sender="Jane"), "email/sender': 'Jane' does not match"),
            (email(sender="a@b\nBcc: c@d"), "email/sender'"),
            (email(concurrencyLimit=0), "email/concurrencyLimit': minimum: got 0, want 1"),
            (email(concurrencyLimit="101"), "email/concurrencyLimit': '101' does not match"),
            (email(concurrencyLimit=True), "got boolean, want null or integer or string"),
            (transport(secure="maybe"), "transportConfig/secure': 'maybe' does not match"),
            (transport(ignoreTls="false"), "transportConfig/ignoreTls': got string"),
            (email(broadcastConfig={}), "missing property 'receiver'"),
            (email(filter={"minSeverity": "urgent"}), "must be one of 'critical', 'high'"),
            (email(cache={"ttl": {"fortnights": 1}}), "'fortnights' not allowed"),
            (email(cache={"ttl": "soon"}), "email/cache/ttl': 'soon' does not match"),
            (email(onAmbiguous="Guess"), "must be one of 'Resend', 'Hold'"),
            (transport(transport="ses"), "must be one of 'smtp', 'sendmail', 'stream'"),
            (transport(port=70000), "port': maximum: got 70,000, want 65,535"),
            (transport(password=1234), "password': got number, want null or string"),
            (oauth2(tokenUrl="http://login.example/token"), "oauth2/tokenUrl'"),
            (oauth2(grant="password"), "must be one of 'clientCredentials', 'jwtBearer'"),
            (oauth2(clientSecret="inline"), "additional properties 'clientSecret' not allowed"),
            (oauth2(clientSecretRef="inline"), "got string, want"),
        ],
    )
    def test_a_wrong_value_with_its_place(self, helm: Helm, given: Document, message: str) -> None:
        with pytest.raises(HelmError) as refusal:
            render(helm, given)
        assert message in str(refusal.value)

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            (email(sender=None), "email.sender is missing"),
            (email(transportConfig=None), "email.transportConfig is missing"),
            (transport(hostname=None), "transportConfig.hostname is missing"),
            (transport(port=None), "transportConfig.port is missing"),
            (transport(password=None), "transportConfig.password is missing"),
            (transport(username=None), "transportConfig.username is missing"),
            (email(existingSecret="s"), "existingSecret and transportConfig.username/password"),
            (transport(ignoreTls=True), "ignoreTls cannot be used with credentials"),
            (transport(**ANONYMOUS, ignoreTls=True, requireTls=True), "ignoreTls contradicts"),
            (transport(**ANONYMOUS, ignoreTls=True, tls={"serverName": "x"}), "contradicts"),
            (transport(path="/bin/sh"), "transportConfig.path does not belong to transport smtp"),
            (transport(transport="stream"), "transport stream, which takes: nothing else."),
            (
                email(transportConfig={"transport": "sendmail", "path": "/bin/sh"}),
                "/bin/sh is not in sendmailPaths (/usr/sbin/sendmail)",
            ),
            (
                email(transportConfig={"transport": "stream"}, existingSecret="s"),
                "existingSecret is for transport smtp",
            ),
            (oauth2(clientSecretRef=None), "needs clientSecretRef or federatedTokenFile"),
            (oauth2(federatedTokenFile="/t"), "clientSecretRef and federatedTokenFile exclude"),
            (oauth2(subject="a@b"), "oauth2.subject does not belong to grant clientCredentials"),
            (oauth2(grant="jwtBearer"), "oauth2.clientSecretRef does not belong to grant jwtB"),
            (oauth2(grant="jwtBearer"), "oauth2.privateKeyRef is missing"),
            (oauth2(grant="refreshToken"), "oauth2.refreshTokenRef is missing"),
            (
                oauth2({"username": "a", "password": "b"}),
                "oauth2 logs in with tokens instead of a password",
            ),
            (oauth2({"ignoreTls": True}), "ignoreTls contradicts oauth2"),
            (
                email(transportConfig={"transport": "stream", "oauth2": OAUTH2}),
                "transportConfig.oauth2 does not belong to transport stream",
            ),
            (email(cache={"ttl": 60}), "email.cache.ttl is the bare number 60"),
            (email(throttleInterval=0.5), "email.throttleInterval is the bare number 0.5"),
            (
                {"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}},
                "podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable",
            ),
            (
                {"metrics": {"enabled": False}, "serviceMonitor": {"enabled": True}},
                "serviceMonitor.enabled needs metrics.enabled",
            ),
            (
                {"metrics": {"enabled": False, "prometheusRule": {"enabled": True}}},
                "metrics.prometheusRule.enabled needs metrics.enabled",
            ),
            ({"serviceAccount": {"create": False}}, "serviceAccount.name is missing"),
            ({"tests": {"enabled": True}}, "tests.recipient is missing"),
            ({"terminationGracePeriodSeconds": 25}, "delivery.shutdownGrace (25) must be less"),
            (
                {"leaderElection": {"leaseDuration": 7}},
                "leaderElection.renewInterval (5) and leaderElection.retryPeriod (2) must "
                "together be less than leaderElection.leaseDuration (7)",
            ),
            (
                {"leaderElection": {"leaseDuration": 14}},
                "leaderElection.renewInterval (5) must be at most a third of "
                "leaderElection.leaseDuration (14)",
            ),
        ],
    )
    def test_what_cannot_be_together_in_a_sentence(
        self, helm: Helm, given: Document, sentence: str
    ) -> None:
        with pytest.raises(HelmError) as refusal:
            render(helm, given)
        assert sentence in str(refusal.value)
        assert "my-password" not in str(refusal.value)

    def test_all_problems_at_once(self, helm: Helm) -> None:
        given = {**email(sender=None, existingSecret="s"), "serviceAccount": {"create": False}}
        with pytest.raises(HelmError) as refusal:
            render(helm, given)
        assert str(refusal.value).count("\n- ") == 3


class TestFiles:
    def test_generated_parts_are_current(self) -> None:
        for path, text in values.generate(REPOSITORY).items():
            assert (REPOSITORY / path).read_text() == text, "run python -m hack.sync"

    def test_schema_and_values_name_the_same(self) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text())["else"]
        given = yaml.safe_load((CHART / "values.yaml").read_text())
        for_parent_charts = {"global", "enabled"}
        assert set(schema["properties"]) - for_parent_charts == set(given)
        for name, part in schema["properties"].items():
            if "properties" in part and name not in {"affinity", *for_parent_charts}:
                assert set(part["properties"]) - {"global"} == set(given[name]), name

    def test_a_value_without_a_comment_is_found(self) -> None:
        text = "# -- A.\na: 1\nb:\n  # -- C.\n  c: {d: 1}\n"
        assert [value.path for value in values.read_values(text)] == ["a", "b.c"]
        with pytest.raises(values.UndocumentedValueError, match=r"describe b\.e"):
            values.read_values(text + "  # prose\n  e: []\n")

    def test_notes_are_rendered(self, helm: Helm) -> None:
        def notes(*arguments: str) -> str:
            command = ("install", "notifications", str(CHART), "--dry-run=client", "-n", "ntf")
            return helm.run(*command, *arguments).partition("NOTES:")[2]

        assert "There is no processor yet" in notes()
        assert "-n default --for=condition=Complete" in notes()
        monitor = "serviceMonitor.enabled=true"
        assert "WARNING: no ServiceMonitor was created" in notes("--set", monitor)
        rule = "metrics.prometheusRule.enabled=true"
        assert "WARNING: no PrometheusRule was created" in notes("--set", rule)

        inside = notes("--set", "gateway.enabled=true")
        assert "There is no processor yet" not in inside
        assert "port-forward -n ntf service/notifications-gateway 7007:80" in inside
        assert "curl -X POST http://127.0.0.1:7007/api/notifications" in inside
        assert "create secret generic my-callers -n ntf" in inside
        assert "WARNING: nobody can read" in inside
        assert "gateway" not in notes()

    def test_notes_of_a_gateway_that_lacks_nothing(self, helm: Helm, tmp_path: Path) -> None:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump({"gateway": GATEWAY}))
        command = ("install", "notifications", str(CHART), "--dry-run=client", "-n", "ntf")
        notes = helm.run(*command, "--values", str(file)).partition("NOTES:")[2]
        assert "curl -X POST https://notifications.example.com/api/notifications" in notes
        for remedy in ("port-forward", "create secret", "WARNING"):
            assert remedy not in notes
