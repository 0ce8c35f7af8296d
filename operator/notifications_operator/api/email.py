"""``spec.email``: the fields of Backstage's ``notifications.processors.email``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from .appconfig import read_boolean, read_integer
from .durations import Duration
from .fields import Boolean
from .notification import Severity, Topic
from .oauth2 import OAuth2Config
from .resource import KubernetesModel
from .secrets import SecretKeyRef

_ATOM = r'[^\x00-\x20\x7f-\xa0"(),:;<>@\[\\\]]+'
_ADDRESS = f"{_ATOM}@{_ATOM}"

MAILBOX_PATTERN = rf"^({_ADDRESS}|[^\x00-\x1f\x7f-\x9f<>]*<{_ADDRESS}>)$"
"""``address`` or ``Name <address>`` on one line (RFC 5322 section 3.4, without quoted local parts,
domain literals and comments)."""

ADDRESS_PATTERN = f"^ *{_ADDRESS} *$"
"""An address to compare with; blanks around it do not count, as upstream."""

DOMAIN_PATTERN = f"^{_ATOM}$"
"""A domain without ``@``."""

# Letters, digits, "_", "-" and "."; outside ASCII everything but control characters.
_HOST_END = r"[^\x00-/:-@\[-^`{-\xa0]"
_HOST_INNER = r"[^\x00-,/:-@\[-^`{-\xa0]"
_HOST_NAME = rf"{_HOST_END}({_HOST_INNER}*({_HOST_END}|\.))?"
_IPV6 = "[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*"

HOSTNAME_PATTERN = f"^({_HOST_NAME}|{_IPV6})$"
"""A DNS name or an IP address; no scheme and no port."""

CLIENT_NAME_PATTERN = rf"^({_HOST_NAME}|{_IPV6}|\[([0-9.]+|([Ii][Pp][Vv]6:)?{_IPV6})\])$"
"""A DNS name, an IP address, or a literal such as ``[192.0.2.1]`` (RFC 5321 section 4.1.3)."""

PATH_PATTERN = r"^/[^\x00-\x1f\x7f]*$"
"""An absolute path."""

Mailbox = Annotated[str, StringConstraints(max_length=320, pattern=MAILBOX_PATTERN)]
Address = Annotated[str, StringConstraints(max_length=320, pattern=ADDRESS_PATTERN)]
Domain = Annotated[str, StringConstraints(max_length=253, pattern=DOMAIN_PATTERN)]
Hostname = Annotated[str, StringConstraints(max_length=253, pattern=HOSTNAME_PATTERN)]
ClientName = Annotated[str, StringConstraints(max_length=253, pattern=CLIENT_NAME_PATTERN)]

ConfigInteger = BeforeValidator(read_integer)
"""Makes an integer what it is to Backstage: ``5``, ``5.0`` and ``"5"``, never ``true``."""

ConfigBoolean = Annotated[Boolean, BeforeValidator(read_boolean)]
"""A boolean as Backstage takes it: also ``"false"``, ``"no"`` and ``0``."""


class TLSConfig(KubernetesModel):
    """How the server's certificate is checked; verification is on."""

    ca_secret_ref: SecretKeyRef | None = None
    server_name: Hostname | None = None
    insecure_skip_verify: Boolean = False


class _Transport(KubernetesModel):
    """What the transports have in common: each refuses what belongs to another place."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_foreign_fields(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name for name, value in data.items() if value is not None}
        if credentials := sorted(given & REFUSED_TRANSPORT_FIELDS):
            raise ValueError(
                f"{', '.join(credentials)}: credentials do not belong here; put them into the "
                "Secret that spec.secretRef names, under the keys username and password"
            )
        if foreign := sorted(given & (_wire_names(*TRANSPORTS) - _wire_names(cls))):
            raise ValueError(f"{', '.join(foreign)} belong to another transport; remove them")
        return data


class SMTPTransport(_Transport):
    """``transport: smtp``. A password is in the Secret that ``spec.secretRef`` names."""

    transport: Literal["smtp"]
    hostname: Hostname
    port: Annotated[int, Field(ge=1, le=65535), ConfigInteger]
    name: ClientName | None = None
    secure: ConfigBoolean = False
    require_tls: ConfigBoolean = False
    ignore_tls: Boolean = False
    tls: TLSConfig | None = None
    oauth2: OAuth2Config | None = None

    @model_validator(mode="after")
    def _tls_is_consistent(self) -> Self:
        if self.ignore_tls and self.oauth2 is not None:
            raise ValueError(
                "ignoreTls contradicts oauth2: tokens are never sent in clear; remove either"
            )
        if self.ignore_tls and (self.secure or self.require_tls or self.tls is not None):
            raise ValueError("ignoreTls contradicts secure, requireTls and tls; remove either")
        return self


class SendmailTransport(_Transport):
    """``transport: sendmail``: hand the mail to a local program."""

    transport: Literal["sendmail"]
    path: Annotated[str, StringConstraints(max_length=1024, pattern=PATH_PATTERN)] = (
        "/usr/sbin/sendmail"
    )
    newline: Literal["unix", "windows"] = "unix"


class StreamTransport(_Transport):
    """``transport: stream``: render the mail and send nothing; for trying things out."""

    transport: Literal["stream"]


Transport = Annotated[
    SMTPTransport | SendmailTransport | StreamTransport, Field(discriminator="transport")
]

TRANSPORTS: tuple[type[_Transport], ...] = (SMTPTransport, SendmailTransport, StreamTransport)
"""All transports of this release."""

REFUSED_TRANSPORT_FIELDS = frozenset({"username", "password"})
"""Backstage's fields for credentials: known, so that they are refused with an explanation."""


def _wire_names(*transports: type[_Transport]) -> set[str]:
    return {
        field.alias or name
        for transport in transports
        for name, field in transport.model_fields.items()
    }


class BroadcastConfig(KubernetesModel):
    """Who gets the mail of a broadcast."""

    receiver: Literal["none", "config", "users"]
    receiver_emails: list[Mailbox] = Field(default_factory=list, max_length=1000)


class CacheConfig(KubernetesModel):
    """How long a recipient's address is remembered."""

    ttl: Duration = timedelta(hours=1)


class ProcessorFilter(KubernetesModel):
    """Which notifications a processor takes (upstream ``NotificationProcessorFilters``)."""

    min_severity: Severity | None = None
    max_severity: Severity | None = None
    included_topics: Annotated[list[Topic], Field(max_length=256)] | None = None
    excluded_topics: Annotated[list[Topic], Field(max_length=256)] | None = None

    def excludes(self, severity: Severity, topic: str | None) -> str | None:
        """Return why a notification is left out, or ``None`` if it passes.

        Topics are compared exactly, as upstream does; a notification without a topic passes
        ``excludedTopics`` and never ``includedTopics``.
        """
        if self.min_severity is not None and severity.rank > self.min_severity.rank:
            return f"severity {severity} is below minSeverity {self.min_severity}"
        if self.max_severity is not None and severity.rank < self.max_severity.rank:
            return f"severity {severity} is above maxSeverity {self.max_severity}"
        if self.included_topics is not None and topic not in self.included_topics:
            return f"topic {topic!r} is not in includedTopics" if topic else "it has no topic"
        if self.excluded_topics is not None and topic in self.excluded_topics:
            return f"topic {topic!r} is in excludedTopics"
        return None


class EmailConfig(KubernetesModel):
    """Settings of the email processor, spelled as in Backstage's app-config."""

    transport_config: Transport
    sender: Mailbox
    reply_to: Mailbox | None = None
    concurrency_limit: Annotated[int, Field(ge=1, le=100), ConfigInteger] = 2
    throttle_interval: Duration = timedelta(milliseconds=100)
    broadcast_config: BroadcastConfig | None = None
    cache: CacheConfig = Field(default_factory=CacheConfig)
    filter: ProcessorFilter | None = None
    allowed_email_domains: Annotated[list[Domain], Field(max_length=1000)] | None = None
    allowlist_email_addresses: Annotated[list[Address], Field(max_length=1000)] | None = None
    denylist_email_addresses: Annotated[list[Address], Field(max_length=1000)] | None = None
