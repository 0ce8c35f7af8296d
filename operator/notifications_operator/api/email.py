"""``spec.email``: the fields of Backstage's ``notifications.processors.email``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from .durations import Duration
from .notification import Severity
from .resource import KubernetesModel

ShortText = Annotated[str, StringConstraints(min_length=1, max_length=320)]


class SecretKeyRef(KubernetesModel):
    """One key of a Secret in the processor's own namespace."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    key: Annotated[str, StringConstraints(min_length=1, max_length=253)]


class TLSConfig(KubernetesModel):
    """How the server's certificate is checked; verification is on."""

    ca_secret_ref: SecretKeyRef | None = None
    server_name: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None
    insecure_skip_verify: bool = False


class SMTPTransport(KubernetesModel):
    """``transport: smtp``. Credentials are in the Secret that ``spec.secretRef`` names."""

    transport: Literal["smtp"]
    hostname: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)]
    secure: bool = False
    require_tls: bool = False
    ignore_tls: bool = False
    tls: TLSConfig | None = None

    @model_validator(mode="after")
    def _tls_is_consistent(self) -> Self:
        if self.ignore_tls and (self.secure or self.require_tls):
            raise ValueError("ignoreTls contradicts secure and requireTls; remove one of them")
        return self


class SendmailTransport(KubernetesModel):
    """``transport: sendmail``: hand the mail to a local program."""

    transport: Literal["sendmail"]
    path: Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^/")] = (
        "/usr/sbin/sendmail"
    )
    newline: Literal["unix", "windows"] = "unix"


class StreamTransport(KubernetesModel):
    """``transport: stream``: render the mail and send nothing; for trying things out."""

    transport: Literal["stream"]


Transport = Annotated[
    SMTPTransport | SendmailTransport | StreamTransport, Field(discriminator="transport")
]


class BroadcastConfig(KubernetesModel):
    """Who gets the mail of a broadcast."""

    receiver: Literal["none", "config", "users"]
    receiver_emails: list[ShortText] = Field(default_factory=list, max_length=1000)


class CacheConfig(KubernetesModel):
    """How long a recipient's address is remembered."""

    ttl: Duration = timedelta(hours=1)


class ProcessorFilter(KubernetesModel):
    """Which notifications a processor takes (upstream ``NotificationProcessorFilters``)."""

    min_severity: Severity | None = None
    max_severity: Severity | None = None
    included_topics: list[str] | None = None
    excluded_topics: list[str] | None = None

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
    sender: ShortText
    reply_to: ShortText | None = None
    concurrency_limit: Annotated[int, Field(ge=1, le=100)] = 2
    throttle_interval: Duration = timedelta(milliseconds=100)
    broadcast_config: BroadcastConfig | None = None
    cache: CacheConfig = Field(default_factory=CacheConfig)
    filter: ProcessorFilter | None = None
    allowed_email_domains: list[ShortText] | None = None
    allowlist_email_addresses: list[ShortText] | None = None
    denylist_email_addresses: list[ShortText] | None = None
