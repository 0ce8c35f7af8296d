"""The values that the chart is rendered with, each for a reason."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from tests.support.helm import SEED_VALUES

GATEWAY: dict[str, Any] = {
    "enabled": True,
    "replicaCount": 2,
    "publicUrl": "https://notifications.example.com",
    "database": {"existingSecret": "inbox-database", "key": "uri", "poolSize": 20},
    "inboxNamespace": {"name": "posted", "quota": 1000000},
    "namespaces": ["team-a"],
    "tokens": {"existingSecret": "callers", "failuresPerMinute": 10},
    "oidc": {
        "issuer": "https://login.example.com",
        "audiences": ["notifications"],
        "entityRefClaim": "sub",
        "keys": {"refreshInterval": 60},
        "login": {"clientId": "notifications", "existingSecret": "login", "idleTimeout": 600},
    },
    "backstage": {
        "baseUrl": "https://backstage.example.com",
        "plugins": {"my-Plugin": {"maxRecipients": 5, "broadcast": True}},
    },
    "portals": ["https://portal.example.com"],
    "channels": ["Web", "Chat"],
    "page": {
        "title": "What's new? <b>",
        "markAsReadOnLinkOpen": True,
        "webNotificationsEnabled": True,
        "titleCounterEnabled": False,
        "snackbarEnabled": False,
        "snackbarAutoHideDuration": 2000000,
        "originNames": {"plugin:my-App": "My app"},
        "topicNames": {"The topic": "Theme", "maxRecipients": "Not a setting"},
    },
    "signals": {
        "pingInterval": 12.5,
        "maxSockets": 2000000,
        "maxSocketsPerUser": 7,
        "maxQueuedMessages": 8,
        "maxQueuedBytes": 4000000,
    },
    "maxUnfinished": 1000000,
    "ttlSecondsAfterFinished": 3000000,
    "service": {"type": "LoadBalancer", "port": 8443, "annotations": {"a": "b"}},
    "internalService": {"port": 8081, "clusterIP": "10.96.0.80"},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"c": "d"},
        "hosts": ["notifications.example.com"],
        "tls": [{"hosts": ["notifications.example.com"], "secretName": "tls"}],
    },
    "httpRoute": {
        "enabled": True,
        "annotations": {"e": "f"},
        "parentRefs": [{"name": "public", "namespace": "gateways"}],
        "hostnames": ["notifications.example.com"],
    },
    "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"},
    "networkPolicy": {
        "enabled": True,
        "databasePorts": [6432],
        "issuerPorts": [443, 7007],
        "ingress": [{"from": [{"podSelector": {}}]}],
    },
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "terminationGracePeriodSeconds": 61,
}
"""The gateway with PostgreSQL, and everything else that it can have."""

APP_CONFIG: dict[str, Any] = {
    "retention": False,
    "defaultSettings": {
        "channels": [
            {
                "id": "Email",
                "enabled": False,
                "origins": [
                    {"id": "a", "enabled": True, "topics": [{"id": "b", "enabled": False}]}
                ],
            }
        ]
    },
}
"""Of an app-config's ``notifications``, what the gateway obeys."""

CALLER: dict[str, Any] = {
    "type": "static",
    "options": {
        "token": "0123456789abcdef" * 2,
        "subject": "external:my-service",
        "maxRecipients": 10,
    },
}

EVERYTHING: dict[str, Any] = {
    "gateway": GATEWAY,
    "global": {"anything": True},
    "app": {"baseUrl": "https://backstage.example.com/portal"},
    "clusterName": "east-1",
    "catalog": {
        "entities": [
            {
                "apiVersion": "backstage.io/v1alpha1",
                "kind": "User",
                "metadata": {"name": "jane.doe"},
                "spec": {"profile": {"email": "jane.doe@example.com"}, "memberOf": ["team-a"]},
            },
            {
                "apiVersion": "backstage.io/v1alpha1",
                "kind": "Group",
                "metadata": {"name": "team-a", "description": "a --- b {{ not a template }}"},
                "spec": {"type": "team", "children": []},
            },
        ],
        "namespaces": ["org-data", "notifications-system"],
        "settle": 0.5,
        "removalSettle": 31,
        "unreadableGrace": 61,
        "unknownGrace": 1000000,
    },
    "limits": {
        "maxRecipients": 0,
        "recipientsPerHour": 2000000,
        "namespaces": {"team-a": {"maxRecipients": 50}, "team-b": {"recipientsPerHour": 10}},
    },
    "origins": {"trustedNamespaces": ["argocd"]},
    "sendmailPaths": ["/usr/bin/msmtp"],
    "delivery": {"openWait": 6, "processorGrace": 301, "verifyInterval": 59, "shutdownGrace": 26},
    "watch": {"resyncInterval": 300, "inactivityTimeout": 65.5},
    "replicaCount": 2,
    "leaderElection": {
        "namespace": "mail-election",
        "leaseName": "mail",
        "leaseDuration": 30,
        "renewInterval": 9.5,
        "retryPeriod": 3,
    },
    "logLevel": "DEBUG",
    "image": {
        "repository": "registry.example.com/platform/notifications-operator",
        "tag": "1.2.3",
        "digest": "sha256:" + "a" * 64,
        "pullPolicy": "Always",
    },
    "imagePullSecrets": [{"name": "registry"}],
    "commonLabels": {"team": "platform"},
    "serviceAccount": {"annotations": {"example.com/role": "mail"}},
    "rbac": {"secretNames": ["other"]},
    "metrics": {
        "service": {"port": 9090, "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "prometheusRule": {
            "enabled": True,
            "renderMode": "alwaysRender",
            "namespace": "monitoring",
            "additionalLabels": {"release": "prometheus"},
            "annotations": {"e": "f"},
        },
        "dashboard": {
            "enabled": True,
            "namespace": "monitoring",
            "labels": {"grafana_dashboard": "yes"},
            "annotations": {"grafana_folder": "Platform"},
        },
    },
    "serviceMonitor": {
        "enabled": True,
        "renderMode": "alwaysRender",
        "namespace": "monitoring",
        "additionalLabels": {"release": "prometheus"},
        "annotations": {"e": "f"},
        "interval": "30s",
        "scrapeTimeout": "10s",
        "honorLabels": True,
        "relabelings": [{"action": "labeldrop", "regex": "pod"}],
        "metricRelabelings": [{"action": "drop", "regex": "python_.*"}],
    },
    "podDisruptionBudget": {
        "enabled": True,
        "minAvailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    },
    "networkPolicy": {"enabled": True, "apiServerPorts": [16443], "smtpPorts": [2525]},
    "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/ca/ca.crt"}],
    "extraEnvFrom": [{"configMapRef": {"name": "proxy"}}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
    "extraObjects": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "{{ .Release.Name }}-object", "namespace": "notifications-system"},
        },
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-text\n"
        "  namespace: {{ .Release.Namespace }}\n",
    ],
    "podLabels": {"example.com/pod": "yes"},
    "podAnnotations": {"example.com/note": "yes"},
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "mail", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "tests": {"enabled": True, "recipient": "user:default/jane.doe", "timeoutSeconds": 60},
    **SEED_VALUES,
    "notifications": {**SEED_VALUES["notifications"], **APP_CONFIG},
}

NOTHING: dict[str, Any] = {
    "admission": {"enabled": False},
    "metrics": {"enabled": False},
    "rbac": {"create": False},
    "crds": {"install": False},
    "replicaCount": 0,
}


def email(**options: Any) -> dict[str, Any]:
    """Return values with an email processor of the seed's, some options changed (None: removed)."""
    values = copy.deepcopy(SEED_VALUES)
    processor = values["notifications"]["processors"]["email"]
    for name, option in options.items():
        if option is None:
            del processor[name]
        else:
            processor[name] = option
    return values


def transport(**options: Any) -> dict[str, Any]:
    """Return values with the seed's email processor, its transport changed (None: removed)."""
    seed = SEED_VALUES["notifications"]["processors"]["email"]["transportConfig"]
    changed = {**seed, **options}
    return email(transportConfig={k: v for k, v in changed.items() if v is not None})


@dataclass(frozen=True)
class Case:
    """One way to render the chart."""

    values: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    release: str = "notifications"


CASES: dict[str, Case] = {
    "defaults": Case(),
    "seed": Case(SEED_VALUES),
    "everything": Case(EVERYTHING, ("--include-crds",)),
    "nothing": Case(NOTHING),
    "upgrade": Case(SEED_VALUES, ("--is-upgrade",)),
    "existing service account": Case({"serviceAccount": {"create": False, "name": "mailer"}}),
    "existing secret": Case(
        {
            "rbac": {"secretNames": ["other"]},
            **email(
                existingSecret="smtp-login",
                transportConfig={
                    "transport": "smtp",
                    "hostname": "mail.example.com",
                    "port": 2465,
                    "secure": True,
                    "tls": {"caSecretRef": {"name": "mail-ca", "key": "ca.crt"}},
                },
            ),
        }
    ),
    "oauth2 of microsoft": Case(
        {
            "rbac": {"secretNames": ["other"]},
            "networkPolicy": {"enabled": True},
            **email(
                transportConfig={
                    "transport": "smtp",
                    "hostname": "smtp.office365.com",
                    "port": 587,
                    "oauth2": {
                        "grant": "clientCredentials",
                        "tokenUrl": "https://login.microsoftonline.com/tenant/oauth2/v2.0/token",
                        "clientId": "11111111-2222-3333-4444-555555555555",
                        "scopes": ["https://outlook.office365.com/.default"],
                        "clientSecretRef": {"name": "mail-oauth2", "key": "clientSecret"},
                        "username": "mailbox@example.com",
                    },
                },
            ),
        }
    ),
    "oauth2 with a federated token": Case(
        {
            "podLabels": {"azure.workload.identity/use": "true"},
            "networkPolicy": {"enabled": True},
            **email(
                transportConfig={
                    "transport": "smtp",
                    "hostname": "smtp.office365.com",
                    "port": 587,
                    "oauth2": {
                        "grant": "clientCredentials",
                        "tokenUrl": "https://login.example.com:8443/token?audience=mail",
                        "clientId": "client",
                        "federatedTokenFile": (
                            "/var/run/secrets/azure/tokens/azure-identity-token"
                        ),
                    },
                },
            ),
        }
    ),
    "oauth2 of google": Case(
        {
            "rbac": {"secretNames": ["other"]},
            **email(
                transportConfig={
                    "transport": "smtp",
                    "hostname": "smtp.gmail.com",
                    "port": 465,
                    "secure": True,
                    "oauth2": {
                        "grant": "jwtBearer",
                        "tokenUrl": "https://oauth2.googleapis.com/token",
                        "clientId": "mailer@project.iam.gserviceaccount.com",
                        "scopes": ["https://mail.google.com/"],
                        "subject": "mailbox@example.com",
                        "privateKeyRef": {"name": "mail-key", "key": "key.json"},
                    },
                },
            ),
        }
    ),
    "sendmail": Case(email(transportConfig={"transport": "sendmail", "newline": "windows"})),
    "stream": Case(
        email(
            transportConfig={"transport": "stream"},
            channel="Mail",
            order=-5,
            suspend=True,
            onAmbiguous="Hold",
            retry={"maxAttempts": 3, "maxAge": "1h", "minDelay": "1s", "maxDelay": "1m30s"},
            throttleInterval=0,
            cache={"ttl": "5 minutes"},
            filter={"minSeverity": "high", "excludedTopics": ["noise"]},
            allowedEmailDomains=["example.com"],
            allowlistEmailAddresses=["a@example.org"],
            denylistEmailAddresses=["b@example.com"],
        )
    ),
    "own network rules": Case(
        {
            "networkPolicy": {
                "enabled": True,
                "ingress": [{"from": [{"podSelector": {}}]}],
                "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
            },
            "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"},
        }
    ),
    "gateway on a volume": Case(
        {"gateway": {"enabled": True, "tokens": {"externalAccess": [CALLER]}}}
    ),
    "gateway without a volume": Case(
        {
            "gateway": {
                "enabled": True,
                "database": {"persistence": {"enabled": False}},
                "inboxNamespace": {"create": False},
            }
        }
    ),
    "long release name": Case(EVERYTHING, release="r" * 52 + "x"),
    "long names": Case({**EVERYTHING, "nameOverride": "n" * 80, "fullnameOverride": "f-" * 40}),
}
