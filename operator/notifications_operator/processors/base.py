"""The processor protocol: the seed of plugins, and all that the engine knows of a channel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from pydantic import BaseModel

from ..api.notification import Payload
from ..api.processor import NotificationProcessorSpec
from ..catalog import Directory, Entity, EntityRef
from ..settings import GatewaySettings
from .errors import Outcome, Skip


@dataclass(frozen=True, kw_only=True)
class OutboundNotification:
    """A notification on its way out, as processors see and decorate it.

    ``revision`` counts the edits of the payload from 1, ``redelivery`` the redeliveries to
    everyone from 0; both are part of every delivery's identity.
    """

    uid: str
    namespace: str
    name: str
    revision: int
    redelivery: int
    origin: str
    created: datetime
    broadcast: bool
    payload: Payload


def delivery_identity(
    notification: OutboundNotification,
    processor: str,
    recipient: str,
    *,
    revision: int | None = None,
    redelivery: int | None = None,
) -> str:
    """Return the identity of one delivery: 32 hexadecimal digits.

    The same delivery has the same identity on every attempt and after every restart (DESIGN
    section 2.3), so that the other side can drop a copy. ``revision`` and ``redelivery`` name
    another delivery of the same notification, such as the one an update refers to.
    """
    parts = (
        notification.uid,
        str(notification.revision if revision is None else revision),
        str(notification.redelivery if redelivery is None else redelivery),
        processor,
        recipient,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Recipients that a notification resolved to: users in a stable order, or everybody.

    ``strangers`` are users that it names and that the catalog does not know (yet): for processors
    that need nothing but their refs. ``members_without_entity`` are users whom only their groups
    name. Nobody waits for these: a processor that cannot reach them returns them as skipped.
    """

    users: Sequence[Entity]
    broadcast: bool
    strangers: Sequence[EntityRef] = ()
    members_without_entity: Sequence[EntityRef] = ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """One row of the ledger to be.

    ``recipient`` is the row's key and all that survives a restart: a user's entity ref, or
    whatever else the processor can send to. ``skip`` says that it will not be sent to, and why.
    """

    recipient: str
    skip: Skip | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How fast a processor may be driven.

    ``concurrency`` bounds the sends in flight; no more than ``starts`` are started in any
    ``interval`` (zero: no such bound).
    """

    concurrency: int
    starts: int
    interval: timedelta


@dataclass(frozen=True, kw_only=True)
class SecretKey:
    """A key of a Secret of the processor's namespace that it cannot do without.

    What is ``confidential`` is hidden in logs, status and Events; user names and certificates are
    not.
    """

    secret: str
    key: str
    confidential: bool = field(default=True, compare=False)


@dataclass(frozen=True, kw_only=True)
class GatewayAddress:
    """Where the gateway's internal API is, and the file with the token that it asks for."""

    url: str
    token_file: str

    @classmethod
    def of(cls, settings: GatewaySettings) -> Self | None:
        """Return what the settings say; ``None``: there is no gateway."""
        if settings.url is None:
            return None
        return cls(url=settings.url, token_file=settings.token_file)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What all processors know of where they run."""

    app_base_url: str | None = None
    cluster_name: str | None = None
    sendmail_paths: Sequence[str] = ("/usr/sbin/sendmail",)
    gateway: GatewayAddress | None = None


@dataclass(frozen=True, kw_only=True)
class ProcessorContext:
    """What a processor is made from."""

    name: str
    spec: NotificationProcessorSpec
    environment: Environment
    secrets: Mapping[SecretKey, bytes] = field(default_factory=dict)


def _always() -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class SendContext:
    """What a processor may look at while it sends.

    ``may_send`` says whether this process still leads. It is true when `Processor.send` is
    called; whoever then waits asks again before the moment after which a message cannot be taken
    back, and returns `LeaseLost` if it is false (DESIGN section 7). ``epoch`` is the acquisition of
    the Lease that the claims were made under: the other side may refuse one that is over.
    """

    directory: Directory
    may_send: Callable[[], bool] = _always
    epoch: int = 0


class Processor:
    """A channel for notifications.

    Subclasses override `decorate`, or `targets` and `send`, or all three; a processor that
    overrides neither does nothing. Third parties register their class with the entry-point group
    ``notifications_operator.processors`` under ``<domain>/<name>``.
    """

    config_model: ClassVar[type[BaseModel] | None] = None
    """Validates ``spec.config`` of a plugin; built-in types have a block of their own."""

    default_channel: ClassVar[str] = ""
    """Id under which users' settings know the channel, upstream's ``getName()``."""

    max_batch: ClassVar[int] = 1
    """How many recipients one `send` takes."""

    idempotent: ClassVar[bool] = False
    """Whether the other side surely drops what it has already, by the delivery's identity.

    Nothing is then ever in doubt: what was left without an answer or a record is sent again,
    whatever ``onAmbiguous`` says, and the claim window is as large as all concurrent batches.
    """

    reaches_strangers: ClassVar[bool] = False
    """Whether it can send to users that the catalog does not know."""

    def __init__(self, context: ProcessorContext) -> None:
        self.name = context.name

    @classmethod
    def secret_keys(cls, spec: NotificationProcessorSpec) -> Sequence[SecretKey]:
        """Return the Secret keys that a processor with this spec needs."""
        return ()

    @classmethod
    def create(cls, context: ProcessorContext) -> Self:
        """Make a processor.

        Raises
        ------
        InvalidProcessorConfig
            If the configuration cannot work.
        """
        return cls(context)

    @property
    def limits(self) -> Limits:
        """How fast the processor may be driven."""
        return Limits(concurrency=1, starts=0, interval=timedelta())

    async def verify(self) -> None:
        """Check that sending could work now, such as by connecting and logging in.

        Raises
        ------
        DeliveryError
            If not, with scope `Scope.PROCESSOR`.
        """

    def decorate(self, notification: OutboundNotification) -> OutboundNotification:
        """Return the notification as later processors shall see it (upstream ``preProcess``)."""
        return notification

    def targets(self, notification: OutboundNotification, audience: Audience) -> Sequence[Target]:
        """Say whom the processor would reach, in a stable order and each recipient once."""
        return ()

    def domain(self, recipient: str, directory: Directory) -> str:
        """Return what the recipient shares with those who are often refused together.

        That is the domain of the address, where there are addresses.
        """
        return recipient

    def remembers(self, user: str) -> bool:
        """Return whether it can send to a user, by ref, whom the catalog has lost meanwhile.

        The deliveries of others wait until the catalog has the user again.
        """
        return False

    async def send(
        self,
        notification: OutboundNotification,
        recipients: Sequence[str],
        context: SendContext,
    ) -> Sequence[Outcome]:
        """Send to at most `max_batch` recipients; one outcome each, in their order.

        Errors of single deliveries are returned, not raised. When the task is cancelled, nothing
        more is sent.
        """
        raise NotImplementedError(f"{type(self).__name__} has targets but cannot send")

    async def close(self) -> None:
        """Let go of connections; sends in flight have ended."""


def plugin_config(processor: type[Processor], spec: NotificationProcessorSpec) -> Any:
    """Validate ``spec.config`` by the plugin's model; raises pydantic's ``ValidationError``."""
    if processor.config_model is None:
        return None
    return processor.config_model.model_validate(spec.config or {})
