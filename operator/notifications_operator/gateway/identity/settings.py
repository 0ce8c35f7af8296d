"""Settings of who may ask, and how they show it."""

from __future__ import annotations

import re
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from .algorithms import ASYMMETRIC_ALGORITHMS

Seconds = Annotated[float, Field(ge=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]

_NAMESPACE: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_PLUGIN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} must be an http or https URL with a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{url!r} must have neither user, query nor fragment")
    return url


def _is_this_machine(host: str) -> bool:
    """Tell whether browsers trust a host without TLS (W3C Secure Contexts section 3.1)."""
    return host in {"localhost", "127.0.0.1", "::1"} or host.endswith(".localhost")


def _check_algorithm(name: str) -> str:
    if name not in ASYMMETRIC_ALGORITHMS:
        valid = ", ".join(ASYMMETRIC_ALGORITHMS)
        raise ValueError(f"{name!r} is not accepted; valid are {valid}")
    return name


def _check_plugin_id(name: str) -> str:
    if _PLUGIN_ID.fullmatch(name) is None:
        raise ValueError(f"{name!r} must be letters, digits, hyphens and underscores")
    return name


BaseURL = Annotated[str, AfterValidator(_check_url)]
Algorithm = Annotated[str, AfterValidator(_check_algorithm)]
PluginID = Annotated[str, AfterValidator(_check_plugin_id)]


class KeySettings(BaseModel):
    """How an issuer's public keys are fetched and kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refresh_interval: PositiveSeconds = 300
    """Seconds between refreshes; for so long a key that the issuer withdrew is still accepted."""

    unknown_key_interval: PositiveSeconds = 10
    """Least seconds between refreshes because of unknown keys, and before a failed one is repeated.

    So made-up key ids cannot turn the gateway against the issuer.
    """

    keep: PositiveSeconds = 86_400
    """Seconds for which the last keys are used while the issuer is away."""

    request_timeout: PositiveSeconds = 5
    """Most seconds that one request to the issuer may take."""

    warm_grace: Seconds = 60
    """Seconds for which an issuer that cannot be reached holds back readiness."""


class LoginSettings(BaseModel):
    """Browser login for the gateway's own page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: Annotated[str, Field(min_length=1)]
    """The gateway's client at the issuer."""

    client_secret: SecretStr | None = None
    """The client's secret; without it the client is a public one, and PKCE alone protects it."""

    public_url: BaseURL
    """Scheme, host and port under which browsers see the gateway.

    ``<public_url>/auth/callback`` must be among the client's redirect URIs at the issuer.
    """

    scopes: Annotated[list[str], Field(min_length=1)] = ["openid", "profile", "email"]
    """Scopes that are asked for; ``openid`` must be one."""

    idle_timeout: PositiveSeconds = 8 * 3600
    """Seconds without a request after which a session ends."""

    absolute_timeout: PositiveSeconds = 24 * 3600
    """Seconds after the login at which a session ends in any case."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if urlsplit(self.public_url).path.strip("/"):
            raise ValueError(
                f"public_url {self.public_url!r} must have no path: the session's cookie "
                "is the whole host's"
            )
        parts = urlsplit(self.public_url)
        if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
            raise ValueError(
                f"public_url {self.public_url!r} must be https: browsers keep the session's "
                "cookie over TLS only (or on this machine)"
            )
        if "openid" not in self.scopes:
            raise ValueError("scopes must contain 'openid' (OpenID Connect Core section 3.1.2.1)")
        return self

    @property
    def origin(self) -> str:
        """The page's origin as browsers write it (RFC 6454 section 6.2)."""
        parts = urlsplit(self.public_url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        default = {"http": 80, "https": 443}[parts.scheme]
        port = "" if parts.port in (None, default) else f":{parts.port}"
        return f"{parts.scheme}://{host}{port}"


class OIDCSettings(BaseModel):
    """People who show a token of an OpenID Connect issuer, or log in there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: BaseURL | None = None
    """The issuer, exactly as in its tokens' ``iss``; unset: no OpenID Connect."""

    audiences: list[str] = Field(default_factory=list)
    """Bearer tokens must be meant for one of these (``aud``); empty: none are accepted."""

    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = Field(
        default_factory=lambda: list(ASYMMETRIC_ALGORITHMS)
    )
    """Signature algorithms that are accepted; asymmetric ones only."""

    clock_skew: Seconds = 60
    """Seconds by which the issuer's clock may differ."""

    entity_ref_claim: Annotated[str, Field(min_length=1)] = "backstage_entity_ref"
    """The claim that names the user in the catalog.

    A value without kind, ``ada``, is ``user:default/ada``. Choose a claim that people cannot
    change themselves.
    """

    match_email: bool = False
    """Whether a token without that claim is mapped by its verified ``email``.

    Only where exactly one user of the catalog has that address.
    """

    allow_http: bool = False
    """Whether the issuer may be reached without TLS: for tests on one machine."""

    keys: KeySettings = Field(default_factory=KeySettings)
    login: LoginSettings | None = None
    """Browser login; unset: bearer tokens only."""

    @property
    def enabled(self) -> bool:
        """Whether there is an issuer."""
        return self.issuer is not None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.issuer is None:
            if self.login is not None or self.audiences:
                raise ValueError("audiences and login need an issuer")
            return self
        if not self.audiences and self.login is None:
            raise ValueError("an issuer needs audiences (for bearer tokens), login, or both")
        if self.issuer.startswith("http:") and not self.allow_http:
            raise ValueError(f"the issuer {self.issuer!r} must be https, or allow_http be set")
        return self


class PluginSettings(BaseModel):
    """What one plugin of the Backstage backend may do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    send: bool = True
    """Whether it may send; without it, it may only read on behalf of users."""

    namespace: Annotated[str, Field(pattern=_NAMESPACE)] | None = None
    """Where its Notifications are made; unset: ``backstage.namespace``."""

    broadcast: bool = False
    """Whether it may address everybody."""

    max_recipients: int | None = Field(default=None, ge=1)
    """Most entity refs that one request may name."""

    rate: int | None = Field(default=None, ge=1)
    """Most requests to send a minute."""


class BackstageSettings(BaseModel):
    """Callers that show tokens of a Backstage backend."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: BaseURL | None = None
    """Backstage's ``backend.baseUrl``, as the gateway reaches it; unset: no Backstage."""

    namespace: Annotated[str, Field(pattern=_NAMESPACE)] | None = None
    """Where the Notifications of plugins are made; unset: the gateway's own ``namespace``."""

    plugins: dict[PluginID, PluginSettings] = Field(default_factory=dict)
    """Plugins whose tokens are accepted, by id; the origin of what they send is ``plugin:<id>``."""

    clock_skew: Seconds = 60
    """Seconds by which Backstage's clock may differ."""

    allow_http: bool = False
    """Whether Backstage may be reached without TLS, as inside a cluster."""

    keys: KeySettings = Field(default_factory=KeySettings)

    @property
    def enabled(self) -> bool:
        """Whether there is a Backstage."""
        return self.base_url is not None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.base_url is not None and self.base_url.startswith("http:") and not self.allow_http:
            raise ValueError(f"base_url {self.base_url!r} must be https, or allow_http be set")
        return self
