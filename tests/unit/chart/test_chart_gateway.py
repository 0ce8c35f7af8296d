"""The gateway in the chart."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
import yaml

from notifications_operator.gateway.inbox.settings import YEAR, DatabaseSettings
from notifications_operator.gateway.page.settings import PageSettings
from notifications_operator.gateway.sending.settings import SendingSettings
from notifications_operator.gateway.settings import GatewaySettings
from notifications_operator.gateway.signals.settings import SignalsSettings
from tests.support.helm import Document, Helm, HelmError, documents
from tests.unit.chart.cases import APP_CONFIG, CALLER, EVERYTHING, GATEWAY, email

INTERNAL = "http://notifications-gateway-internal.notifications-system.svc:8080"


def gateway(**values: Any) -> Document:
    return {"gateway": {"enabled": True, **values}}


def render(helm: Helm, values: Document) -> list[Document]:
    return documents(helm.template(values=values))


def one(rendered: list[Document], kind: str, name: str) -> Document:
    [found] = [
        document
        for document in rendered
        if (document["kind"], document["metadata"]["name"]) == (kind, name)
    ]
    return found


def pod(rendered: list[Document], name: str) -> Document:
    spec: Document = one(rendered, "Deployment", name)["spec"]["template"]["spec"]
    return spec


def environment(spec: Document) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in spec["containers"][0]["env"]}


def test_is_not_there_by_default(helm: Helm) -> None:
    rendered = render(helm, {})
    assert not [item for item in rendered if "gateway" in item["metadata"]["name"]]
    operator = pod(rendered, "notifications")
    assert not [name for name in environment(operator) if "GATEWAY" in name]
    assert [volume["name"] for volume in operator["volumes"]] == ["tmp"]


def test_the_operator_reaches_it_with_a_token_for_it_alone(helm: Helm) -> None:
    rendered = render(helm, gateway())
    operator = pod(rendered, "notifications")
    assert environment(operator)["NOTIFICATIONS_GATEWAY__URL"] == INTERNAL
    [volume] = [item for item in operator["volumes"] if item["name"] == "gateway-token"]
    [source] = volume["projected"]["sources"]
    asked = environment(pod(rendered, "notifications-gateway"))
    audience = asked["NOTIFICATIONS_GATEWAY_INTERNAL__AUDIENCE"]
    assert source["serviceAccountToken"]["audience"] == audience
    assert asked["NOTIFICATIONS_GATEWAY_INTERNAL__OPERATOR_SERVICE_ACCOUNT"] == "notifications"
    service = one(rendered, "Service", "notifications-gateway-internal")
    assert service["spec"]["ports"][0]["targetPort"] == "internal"
    assert one(rendered, "NotificationProcessor", "inbox")["spec"] == {"type": "inbox"}


@pytest.mark.parametrize(
    ("address", "host"), [("10.96.0.80", "10.96.0.80"), ("fd00:10:96::80", "[fd00:10:96::80]")]
)
def test_the_operator_needs_no_dns_where_the_address_is_given(
    helm: Helm, address: str, host: str
) -> None:
    rendered = render(helm, gateway(internalService={"port": 8081, "clusterIP": address}))
    operator = environment(pod(rendered, "notifications"))
    assert operator["NOTIFICATIONS_GATEWAY__URL"] == f"http://{host}:8081"
    service = one(rendered, "Service", "notifications-gateway-internal")
    assert service["spec"]["clusterIP"] == address


def test_no_route_leads_to_the_internal_port(helm: Helm) -> None:
    rendered = render(helm, {"gateway": GATEWAY})
    ingress = one(rendered, "Ingress", "notifications-gateway")
    route = one(rendered, "HTTPRoute", "notifications-gateway")
    public = one(rendered, "Service", "notifications-gateway")
    assert [port["targetPort"] for port in public["spec"]["ports"]] == ["http"]
    for document in (ingress, route):
        assert "internal" not in yaml.safe_dump(document["spec"])


def test_may_do_no_more_than_it_needs(helm: Helm) -> None:
    rendered = render(helm, {"gateway": GATEWAY})
    names = ("notifications-gateway", "notifications-system.notifications-gateway")
    rules = {
        (document["kind"], document["metadata"].get("namespace")): document["rules"]
        for document in rendered
        if "rules" in document and document["metadata"]["name"] in names
        if document["kind"] in {"Role", "ClusterRole"}
    }
    posting = [
        {
            "apiGroups": ["notifications.orchestrator.io"],
            "resources": ["notifications"],
            "verbs": ["create", "get", "list", "watch", "broadcast", "set-origin"],
        }
    ]
    assert rules == {
        ("Role", "posted"): posting,
        ("Role", "team-a"): posting,
        ("ClusterRole", None): [
            {
                "apiGroups": ["authentication.k8s.io"],
                "resources": ["tokenreviews"],
                "verbs": ["create"],
            }
        ],
    }
    trusted = environment(pod(rendered, "notifications"))[
        "NOTIFICATIONS_ORIGINS__TRUSTED_NAMESPACES"
    ]
    assert yaml.safe_load(trusted) == ["posted", "team-a"]


def test_its_namespace_holds_nothing_else_and_outlives_the_release(helm: Helm) -> None:
    rendered = render(helm, gateway(inboxNamespace={"quota": 20000}))
    namespace = one(rendered, "Namespace", "notifications-inbox")
    assert namespace["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    quota = one(rendered, "ResourceQuota", "notifications-gateway")["spec"]["hard"]
    assert quota == {"count/notifications.notifications.orchestrator.io": "20000", "pods": "0"}
    quota = one(render(helm, gateway()), "ResourceQuota", "notifications-gateway")
    assert quota["spec"]["hard"] == {"pods": "0"}


def test_callers_go_to_a_secret(helm: Helm) -> None:
    manifest = helm.template(values=gateway(tokens={"externalAccess": [CALLER]}))
    rendered = documents(manifest)
    secret = one(rendered, "Secret", "notifications-gateway-tokens")
    callers = yaml.safe_load(base64.b64decode(secret["data"]["callers.yaml"]))
    assert callers == [CALLER]
    assert CALLER["options"]["token"] not in manifest
    spec = pod(rendered, "notifications-gateway")
    [mount] = [item for item in spec["containers"][0]["volumeMounts"] if item["name"] == "callers"]
    file = environment(spec)["NOTIFICATIONS_GATEWAY_CALLERS__FILE"]
    assert file == f"{mount['mountPath']}/callers.yaml"


def test_sqlite_has_one_pod_and_a_volume(helm: Helm) -> None:
    rendered = render(helm, gateway())
    deployment = one(rendered, "Deployment", "notifications-gateway")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    claim = one(rendered, "PersistentVolumeClaim", "notifications-gateway")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    spec = pod(rendered, "notifications-gateway")
    [mount] = [item for item in spec["containers"][0]["volumeMounts"] if item["name"] == "database"]
    url = environment(spec)["NOTIFICATIONS_GATEWAY_DATABASE__URL"]
    assert url.startswith(f"sqlite:///{mount['mountPath']}/")


def test_postgresql_is_named_by_a_secret(helm: Helm) -> None:
    rendered = render(helm, {"gateway": GATEWAY})
    deployment = one(rendered, "Deployment", "notifications-gateway")["spec"]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (2, "RollingUpdate")
    assert not [item for item in rendered if item["kind"] == "PersistentVolumeClaim"]
    env = deployment["template"]["spec"]["containers"][0]["env"]
    [entry] = [item for item in env if item["name"] == "NOTIFICATIONS_GATEWAY_DATABASE__URL"]
    assert entry["valueFrom"]["secretKeyRef"] == {"name": "inbox-database", "key": "uri"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"replicaCount": 2}, "SQLite serves one process"),
        (
            {"tokens": {"existingSecret": "a", "externalAccess": [CALLER]}},
            "gateway.tokens.existingSecret and gateway.tokens.externalAccess exclude each other",
        ),
        (
            {"oidc": {"issuer": "https://a", "login": {"clientId": "b"}}},
            "gateway.publicUrl is missing",
        ),
        ({"ingress": {"enabled": True}}, "gateway.ingress.hosts is empty"),
        ({"httpRoute": {"enabled": True}}, "gateway.httpRoute.parentRefs is empty"),
        (
            {"tokens": {"externalAccess": [{**CALLER, "options": {"token": "short"}}]}},
            "/gateway/tokens/externalAccess/0",
        ),
        ({"maxUnfinnished": 1}, "maxUnfinnished"),
        ({"page": {"snackbar": True}}, "snackbar"),
        ({"page": {"title": ""}}, "/gateway/page/title"),
        ({"page": {"originNames": {"a": 1}}}, "/gateway/page/originNames/a"),
        ({"signals": {"maxSockets": 0}}, "/gateway/signals/maxSockets"),
        ({"channels": [""]}, "/gateway/channels/0"),
        # A rule without ports lets everything out.
        ({"networkPolicy": {"databasePorts": []}}, "/gateway/networkPolicy/databasePorts"),
        ({"terminationGracePeriodSeconds": 28}, "terminationGracePeriodSeconds"),
    ],
)
def test_what_cannot_be(helm: Helm, values: Document, message: str) -> None:
    with pytest.raises(HelmError, match=message):
        helm.template(values=gateway(**values))


@pytest.mark.parametrize(
    ("app_config", "message"),
    [
        ({"retention": True}, "/notifications/retention"),
        ({"retention": 30}, "/notifications/retention"),
        ({"retention": "soon"}, "/notifications/retention"),
        ({"defaultSettings": {"channels": [{"enabled": False}]}}, "missing property 'id'"),
        ({"defaultSettings": {"channels": [{"id": "Web", "on": True}]}}, "'on' not allowed"),
        (
            {"defaultSettings": {"channels": [{"id": "Web", "origins": [{"id": "a"}]}]}},
            "missing property 'enabled'",
        ),
    ],
)
def test_what_an_app_config_cannot_say(helm: Helm, app_config: Document, message: str) -> None:
    with pytest.raises(HelmError, match=message):
        helm.template(values={**gateway(), "notifications": app_config})


def test_reads_the_catalog_only_to_know_people_by_their_address(helm: Helm) -> None:
    oidc = {"issuer": "https://login.example.com", "audiences": ["notifications"]}
    rendered = render(helm, gateway(oidc=oidc))
    assert not [item for item in rendered if "gateway-catalog" in item["metadata"]["name"]]
    rendered = render(helm, gateway(oidc={**oidc, "matchEmail": True}))
    role = one(rendered, "Role", "notifications-gateway-catalog")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    asked = environment(pod(rendered, "notifications-gateway"))
    assert asked["NOTIFICATIONS_GATEWAY_CATALOG_NAMESPACES"] == '["notifications-system"]'


def read_settings(
    monkeypatch: pytest.MonkeyPatch, rendered: list[Document], **further: str
) -> GatewaySettings:
    """Return the settings as the gateway reads them from the pod's environment."""
    for name, value in environment(pod(rendered, "notifications-gateway")).items():
        if name.startswith("NOTIFICATIONS_"):
            monkeypatch.setenv(name, value)
    for name, value in further.items():
        monkeypatch.setenv(f"NOTIFICATIONS_GATEWAY_{name}", value)
    return GatewaySettings()


def test_settings_are_as_the_gateway_reads_them(
    helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "gateway": GATEWAY,
        "notifications": APP_CONFIG,
        "app": {"baseUrl": "https://portal.example.com"},
    }
    settings = read_settings(
        monkeypatch,
        render(helm, values),
        DATABASE__URL="postgresql://host/name",
        OIDC__LOGIN__CLIENT_SECRET="secret",
    )
    assert (settings.namespace, settings.app_base_url) == ("posted", "https://portal.example.com")
    assert settings.database.pool_size == 20
    assert settings.oidc.entity_ref_claim == "sub"
    assert settings.oidc.keys.refresh_interval == 60
    assert settings.oidc.login is not None
    assert settings.oidc.login.public_url == GATEWAY["publicUrl"]
    assert settings.oidc.login.client_secret is not None
    assert settings.oidc.login.idle_timeout == 600
    assert settings.backstage.namespace == "posted"
    assert settings.backstage.plugins["my-Plugin"].max_recipients == 5
    assert settings.retention.age is None
    assert settings.default_settings.choices() == {
        ("email", "", ""): False,
        ("email", "a", ""): True,
        ("email", "a", "b"): False,
    }
    assert settings.default_settings.to_json() == APP_CONFIG["defaultSettings"]
    assert settings.channels == ["Web", "Chat"]
    assert settings.server.cors_origins == GATEWAY["portals"]
    assert settings.sending.max_unfinished == 1_000_000
    assert settings.sending.ttl_seconds == 3_000_000
    assert settings.callers.failures_per_minute == 10
    assert settings.internal is not None
    assert settings.internal.operator_service_account == "notifications"


def test_the_page_gets_its_defaults(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    page = read_settings(monkeypatch, render(helm, gateway(page=GATEWAY["page"]))).page
    given = page.model_dump(by_alias=False, exclude={"directory"})
    assert given == {
        "title": "What's new? <b>",
        "mark_as_read_on_link_open": True,
        "web_notifications_enabled": True,
        "title_counter_enabled": False,
        "snackbar_enabled": False,
        "snackbar_auto_hide_duration": 2_000_000,
        "origin_names": {"plugin:my-App": "My app"},
        "topic_names": {"The topic": "Theme", "maxRecipients": "Not a setting"},
    }


def test_a_snackbar_may_stay_until_it_is_closed(
    helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = gateway(page={"snackbarAutoHideDuration": None})
    page = read_settings(monkeypatch, render(helm, values)).page
    assert page.snackbar_auto_hide_duration is None


def test_the_sockets_have_bounds(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    signals = read_settings(monkeypatch, render(helm, gateway(signals=GATEWAY["signals"]))).signals
    assert (signals.ping_interval, signals.max_sockets) == (12.5, 2_000_000)
    assert signals.max_sockets_per_user == 7
    assert (signals.max_queued_messages, signals.max_queued_bytes) == (8, 4_000_000)


def test_without_values_everything_is_as_the_gateway_has_it(
    helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = GatewaySettings(namespace="inbox")
    settings = read_settings(monkeypatch, render(helm, gateway()))
    assert settings.page == PageSettings()
    assert settings.signals == SignalsSettings()
    assert settings.retention.age is not None
    assert settings.retention.age - YEAR < timedelta(days=1)
    assert settings.sending == SendingSettings()
    assert settings.database.pool_size == DatabaseSettings().pool_size
    assert settings.channels == own.channels


@pytest.mark.parametrize("given", ["P30D", "30 days", {"days": 30}])
def test_retention_in_every_form_of_an_app_config(
    helm: Helm, monkeypatch: pytest.MonkeyPatch, given: object
) -> None:
    values = {**gateway(), "notifications": {"retention": given}}
    settings = read_settings(monkeypatch, render(helm, values))
    assert settings.retention.age == timedelta(days=30)


def test_users_choose_about_the_channel_of_the_email_processor(
    helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings(monkeypatch, render(helm, {**gateway(), **email(channel="Mail")}))
    assert settings.channels == ["Web", "Mail"]


def test_a_certificate_can_be_mounted(helm: Helm) -> None:
    spec = pod(render(helm, EVERYTHING), "notifications-gateway")
    assert {"name": "ca", "configMap": {"name": "ca"}} in spec["volumes"]
    mounts = spec["containers"][0]["volumeMounts"]
    assert {"name": "ca", "mountPath": "/etc/ca"} in mounts


def test_the_pods_are_spread(helm: Helm) -> None:
    spec = pod(render(helm, {"gateway": GATEWAY}), "notifications-gateway")
    assert spec["affinity"] == GATEWAY["affinity"]
    assert spec["topologySpreadConstraints"] == GATEWAY["topologySpreadConstraints"]


def test_the_network_policy_lets_out_to_issuers_and_the_database(helm: Helm) -> None:
    rendered = render(helm, {"gateway": GATEWAY})
    policy = one(rendered, "NetworkPolicy", "notifications-gateway")["spec"]
    ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert ports == {53, 443, 6443, 7007, 6432}
    embedded = render(helm, gateway(networkPolicy={"enabled": True}))
    policy = one(embedded, "NetworkPolicy", "notifications-gateway")["spec"]
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 443, 6443}


def test_the_operators_network_policy_lets_it_reach_the_gateway(helm: Helm) -> None:
    rendered = render(helm, gateway() | {"networkPolicy": {"enabled": True}})
    policy = one(rendered, "NetworkPolicy", "notifications")["spec"]
    deployment = one(rendered, "Deployment", "notifications-gateway")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    [rule] = [rule for rule in policy["egress"] if "to" in rule]
    assert rule["to"][0]["podSelector"]["matchLabels"].items() <= labels.items()
    [container] = pod(rendered, "notifications-gateway")["containers"]
    [internal] = [port for port in container["ports"] if port["name"] == "internal"]
    assert rule["ports"] == [{"port": internal["containerPort"], "protocol": "TCP"}]


def test_prometheus_scrapes_its_internal_port(helm: Helm) -> None:
    monitoring = {"enabled": True, "renderMode": "alwaysRender", "interval": "30s"}
    rendered = render(helm, {**gateway(), "serviceMonitor": monitoring})
    monitor = one(rendered, "ServiceMonitor", "notifications-gateway")["spec"]
    [endpoint] = monitor["endpoints"]
    assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == (
        "internal",
        "/metrics",
        "30s",
    )
    scraped = [
        document["metadata"]["name"]
        for document in rendered
        if document["kind"] == "Service"
        if monitor["selector"]["matchLabels"].items() <= document["metadata"]["labels"].items()
        if endpoint["port"] in [port["name"] for port in document["spec"]["ports"]]
    ]
    assert scraped == ["notifications-gateway-internal"]
    operator = one(rendered, "ServiceMonitor", "notifications")["spec"]
    assert [endpoint["port"] for endpoint in operator["endpoints"]] == ["http"]
    without = render(helm, {"serviceMonitor": monitoring})
    assert not [item for item in without if item["metadata"]["name"] == "notifications-gateway"]
