"""The gateway in the chart."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml

from notifications_operator.gateway.settings import GatewaySettings
from tests.support.helm import Document, Helm, HelmError, documents
from tests.unit.chart.cases import CALLER, GATEWAY

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


def test_the_operator_needs_no_dns_where_the_address_is_given(helm: Helm) -> None:
    rendered = render(helm, gateway(internalService={"port": 8081, "clusterIP": "10.96.0.80"}))
    operator = environment(pod(rendered, "notifications"))
    assert operator["NOTIFICATIONS_GATEWAY__URL"] == "http://10.96.0.80:8081"
    service = one(rendered, "Service", "notifications-gateway-internal")
    assert service["spec"]["clusterIP"] == "10.96.0.80"


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
    names = ("notifications-gateway",)
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
        ({"retension": "1y"}, "retension"),
    ],
)
def test_what_cannot_be(helm: Helm, values: Document, message: str) -> None:
    with pytest.raises(HelmError, match=message):
        helm.template(values=gateway(**values))


def test_reads_the_catalog_only_to_know_people_by_their_address(helm: Helm) -> None:
    oidc = {"issuer": "https://login.example.com", "audiences": ["notifications"]}
    rendered = render(helm, gateway(oidc=oidc))
    assert not [item for item in rendered if "gateway-catalog" in item["metadata"]["name"]]
    rendered = render(helm, gateway(oidc={**oidc, "matchEmail": True}))
    role = one(rendered, "Role", "notifications-gateway-catalog")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    asked = environment(pod(rendered, "notifications-gateway"))
    assert asked["NOTIFICATIONS_GATEWAY_CATALOG_NAMESPACES"] == '["notifications-system"]'


def test_settings_are_as_the_gateway_reads_them(
    helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = render(helm, {"gateway": GATEWAY, "app": {"baseUrl": "https://portal.example.com"}})
    asked = environment(pod(rendered, "notifications-gateway"))
    for name, value in asked.items():
        if name.startswith("NOTIFICATIONS_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("NOTIFICATIONS_GATEWAY_DATABASE__URL", "postgresql://host/name")
    monkeypatch.setenv("NOTIFICATIONS_GATEWAY_OIDC__LOGIN__CLIENT_SECRET", "secret")
    settings = GatewaySettings()
    assert (settings.namespace, settings.app_base_url) == ("posted", "https://portal.example.com")
    assert settings.oidc.entity_ref_claim == "sub"
    assert settings.oidc.login is not None
    assert settings.oidc.login.public_url == GATEWAY["publicUrl"]
    assert settings.oidc.login.client_secret is not None
    assert settings.backstage.namespace == "posted"
    assert settings.backstage.plugins["my-Plugin"].max_recipients == 5
    assert settings.retention.age is None
    assert settings.default_settings.channels[0].id == "Email"
    assert settings.server.cors_origins == GATEWAY["portals"]
    assert settings.sending.max_unfinished == 1_000_000
    assert settings.callers.failures_per_minute == 10
    assert settings.internal is not None
    assert settings.internal.operator_service_account == "notifications"
