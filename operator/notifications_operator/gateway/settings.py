"""Every setting of the gateway, read from the environment (the chart sets it there)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ..api.placeholders import find_placeholders
from .callers.settings import CallerSettings
from .identity.settings import BackstageSettings, OIDCSettings
from .inbox.settings import DatabaseSettings, DefaultSettings, RetentionSettings
from .internal.settings import InternalSettings
from .page.settings import PageSettings
from .sending.settings import SendingSettings
from .signals.settings import SignalsSettings

Port = Annotated[int, Field(ge=0, le=65535)]
Namespace = Annotated[
    str, StringConstraints(max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[^/\s*]+$")]


class ServerSettings(BaseModel):
    """Where and how requests are served."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "0.0.0.0"
    """Address of both listeners; 0.0.0.0: all of IPv4, ``::``: all of IPv6 and IPv4."""

    port: Port = 7007
    """Port of the REST API, the signals and the page; 0: any that is free."""

    internal_port: Port = 8080
    """Port of the probes, the metrics and the operator's deliveries; no Ingress leads there."""

    max_body_bytes: Annotated[int, Field(ge=1024)] = 1024 * 1024
    """Most bytes of a request's body; more is answered with 413."""

    body_timeout: Annotated[float, Field(gt=0)] = 30
    """Seconds in which a request's body must arrive."""

    head_timeout: Annotated[float, Field(gt=0, le=300)] = 15
    """Seconds in which a request's line and headers must arrive; then the connection is closed."""

    write_timeout: Annotated[float, Field(gt=0, le=3600)] = 60
    """Seconds in which a client must have read its answer; then the connection is closed."""

    shutdown_delay: Annotated[float, Field(ge=0)] = 3
    """Seconds from SIGTERM until new connections are refused: so long may the news of it take."""

    shutdown_grace: Annotated[int, Field(ge=1)] = 25
    """Seconds after that in which requests under way may finish."""

    cors_origins: list[Origin] = Field(default_factory=list)
    """Origins of portals whose pages may use the REST API, such as https://portal.example.com."""


class GatewaySettings(BaseSettings):
    """All settings; ``NOTIFICATIONS_GATEWAY_SERVER__PORT=80`` sets ``server.port``."""

    model_config = SettingsConfigDict(
        env_prefix="NOTIFICATIONS_GATEWAY_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    namespace: Namespace
    """Where Notifications are made for callers that name no namespace; it holds nothing else."""

    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"

    app_base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] | None = None
    """Where relative links lead (Backstage's ``app.baseUrl``)."""

    channels: list[str] = Field(default_factory=lambda: ["Web", "Email"])
    """Channels of the operator's processors that users can choose about."""

    catalog_namespaces: list[Namespace] = Field(default_factory=list)
    """Where the catalog's ConfigMaps are; read only for ``oidc.match_email``."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    callers: CallerSettings = Field(default_factory=CallerSettings)
    sending: SendingSettings = Field(default_factory=SendingSettings)
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    default_settings: DefaultSettings = Field(default_factory=DefaultSettings)
    oidc: OIDCSettings = Field(default_factory=OIDCSettings)
    backstage: BackstageSettings = Field(default_factory=BackstageSettings)
    signals: SignalsSettings = Field(default_factory=SignalsSettings)
    page: PageSettings = Field(default_factory=PageSettings)
    internal: InternalSettings | None = None
    """Whom the internal port takes deliveries from; unset: from nobody."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_placeholders(cls, data: Any) -> Any:
        # Most of them are from Secrets: the database's URL and the client's secret.
        if paths := find_placeholders(data):
            raise ValueError(
                f"{', '.join(paths)}: nothing fills in a placeholder such as ${{NAME}} here; set "
                "the value itself, in the chart's values or the Secret that they name"
            )
        return data
