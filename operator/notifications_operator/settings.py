"""Every setting of the operator, read from the environment (the chart sets it there)."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(ge=0)]


class CatalogSettings(BaseModel):
    """The catalog in ConfigMaps."""

    namespaces: list[str] = Field(default_factory=list)
    """Namespaces whose labelled ConfigMaps hold entities; empty: the operator's own."""

    settle: Seconds = 2
    """Seconds that changes must rest before the directory is built anew."""

    removal_settle: Seconds = 30
    """The same for removals: a re-created ConfigMap must not empty a group in between."""

    unreadable_grace: Seconds = 60
    """Seconds for which a namespace that cannot be read holds back the first send."""

    unknown_grace: Seconds = 3600
    """Seconds for which refs that the catalog does not know go on being resolved."""


class LimitSettings(BaseModel):
    """Bounds on recipients, for one namespace or for all."""

    max_recipients: int | None = Field(default=None, ge=0)
    """Most users that one Notification may resolve to."""

    recipients_per_hour: int | None = Field(default=None, ge=0)
    """Most users that the Notifications of one namespace may resolve to within an hour."""


class NamespaceLimitSettings(LimitSettings):
    """Bounds on recipients, with overrides by namespace."""

    namespaces: dict[str, LimitSettings] = Field(default_factory=dict)
    """Bounds of single namespaces; a bound that is unset there is the general one."""


class OriginSettings(BaseModel):
    """Who may say who they are."""

    trusted_namespaces: list[str] = Field(default_factory=list)
    """Namespaces whose Notifications' ``spec.origin`` is honoured."""


class DeliverySettings(BaseModel):
    """The delivery engine."""

    open_wait: Seconds = 5
    """Seconds that a Notification waits for a free slot before it is opened as Pending."""

    processor_grace: Seconds = 300
    """Seconds for which pending deliveries wait for a processor that is not there."""

    verify_interval: Seconds = 60
    """Seconds between looks at a ready processor's Secrets."""

    shutdown_grace: Seconds = 25
    """Seconds for which sends in flight may finish and be recorded at SIGTERM."""


class WatchSettings(BaseModel):
    """How it is made sure that the watches bring everything."""

    resync_interval: Annotated[float, Field(gt=0)] = 600
    """Seconds between comparisons of what a watch brought with a list, give or take a fifth."""

    inactivity_timeout: Annotated[float, Field(gt=0)] = 70
    """Seconds without a sign of life after which a watch is begun anew.

    The API server gives one about once a minute, a bookmark.
    """


class LeaseSettings(BaseModel):
    """Leader election: of all processes in the cluster only the holder of the Lease sends."""

    namespace: Annotated[str, Field(min_length=1, max_length=63)] = "kube-system"
    """Namespace of the cluster's Lease, ``notifications-operator``; the same for all installs."""

    former_lease_name: Annotated[str, Field(min_length=1, max_length=253)] = "notifications"
    """Name of the Lease that earlier releases have in the operator's own namespace."""

    lease_duration: Annotated[int, Field(ge=1)] = 15
    """Seconds after which a Lease that is not renewed may be taken over."""

    renew_interval: Annotated[float, Field(gt=0)] = 5
    """Seconds between renewals, and most that one request may take."""

    retry_period: Annotated[float, Field(gt=0)] = 2
    """Seconds between looks at another's Lease, and before a failed renewal is repeated."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.renew_interval + self.retry_period >= self.lease_duration:
            raise ValueError(
                f"renew_interval ({self.renew_interval:g}) and retry_period "
                f"({self.retry_period:g}) must together be less than lease_duration "
                f"({self.lease_duration}), so that one renewal may fail"
            )
        if 3 * self.renew_interval > self.lease_duration:
            raise ValueError(
                f"renew_interval ({self.renew_interval:g}) must be at most a third of "
                f"lease_duration ({self.lease_duration}): a renewal, the interval after it and "
                "the next renewal must end within the duration, and each may take an interval"
            )
        return self


class GatewaySettings(BaseModel):
    """The gateway, as far as the operator talks to it: it keeps the inbox and users' settings."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+/?$")] | None = None
    """Address of its internal port, such as ``http://gateway-internal:8080``; unset: there is none.

    With it, users' settings are asked for before a Notification is planned.
    """

    token_file: Annotated[str, Field(min_length=1)] = "/var/run/secrets/notifications-gateway/token"  # noqa: S105 - a path, no secret
    """File with the ServiceAccount token that the gateway asks for; read anew for each request."""


class ServerSettings(BaseModel):
    """Where probes and metrics are served."""

    host: str = "0.0.0.0"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080


class Settings(BaseSettings):
    """All settings; ``NOTIFICATIONS_CATALOG__SETTLE=5`` sets ``catalog.settle``."""

    model_config = SettingsConfigDict(
        env_prefix="NOTIFICATIONS_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    namespace: str
    """The operator's own namespace: its processors, Secrets and catalog are there."""

    install: Annotated[str, Field(min_length=1, max_length=63)] = "notifications"
    """Name of this install in its namespace."""

    pod_name: str = "local"
    """Name of the pod; part of the identity that claims carry."""

    pod_uid: str | None = None
    """UID of the pod: a restarted container need not wait for the Lease of the one before."""

    app_base_url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] | None = None
    """Where relative links lead (Backstage's ``app.baseUrl``)."""

    cluster_name: str | None = None
    """Put before the namespace in the default origin."""

    sendmail_paths: list[str] = Field(default_factory=lambda: ["/usr/sbin/sendmail"])
    """Programs that ``transport: sendmail`` may run."""

    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"

    catalog: CatalogSettings = Field(default_factory=CatalogSettings)
    limits: NamespaceLimitSettings = Field(default_factory=NamespaceLimitSettings)
    origins: OriginSettings = Field(default_factory=OriginSettings)
    delivery: DeliverySettings = Field(default_factory=DeliverySettings)
    watch: WatchSettings = Field(default_factory=WatchSettings)
    leader_election: LeaseSettings = Field(default_factory=LeaseSettings)
    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
