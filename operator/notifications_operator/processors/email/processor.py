"""The email processor: whom it reaches, and how one mail comes about."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Self

from ...api.email import BroadcastConfig, EmailConfig, SMTPTransport
from ...api.email import SendmailTransport as SendmailConfig
from ...api.processor import NotificationProcessorSpec
from ...api.reasons import Reason
from ...catalog import Directory, Entity
from ...catalog.quoting import quoted
from ..base import (
    Audience,
    Limits,
    OutboundNotification,
    Processor,
    ProcessorContext,
    SecretKey,
    SendContext,
    Target,
    delivery_identity,
)
from ..errors import DeliveryError, InvalidProcessorConfig, Outcome, Scope, Skip
from .addresses import AddressBook, Mailbox, domain_of, normalized, wire_address
from .config import smtp_secret_keys, smtp_server
from .message import PreparedMessage, prepare
from .policy import AddressPolicy
from .pool import SMTPPool
from .rendering import render
from .sendmail import SendmailTransport
from .stream import StreamTransport
from .transport import Mail, Transport

PREPARED_MESSAGES = 64
"""Notifications whose messages are kept while their recipients are served."""

_log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class EmailProcessor(Processor):
    """Sends each recipient a mail of their own.

    Recipients are users' entity refs, whose addresses are looked up at each attempt, or addresses
    (``broadcastConfig.receiver: config``), which are told apart by their ``@``.

    Parameters
    ----------
    context
        Configuration, Secrets and environment.
    transport
        How mail leaves; by default what ``transportConfig`` says.
    clock
        Seconds, for the address book.
    now
        The time, for the Date of updates.
    """

    default_channel: ClassVar[str] = "Email"
    max_batch: ClassVar[int] = 1

    def __init__(
        self,
        context: ProcessorContext,
        *,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _now,
    ) -> None:
        super().__init__(context)
        config = _email_config(context.spec)
        self._config = config
        self._sender = _mailbox("spec.email.sender", config.sender)
        self._reply_to = (
            _mailbox("spec.email.replyTo", config.reply_to) if config.reply_to else None
        )
        self._app_base_url = context.environment.app_base_url
        self._policy = AddressPolicy(config)
        broadcasts = config.broadcast_config
        self._receivers = _addresses_by_key(broadcasts.receiver_emails if broadcasts else ())
        self._book = AddressBook(config.cache.ttl, clock)
        self._now = now
        self._prepared: OrderedDict[
            tuple[str, int, int], tuple[OutboundNotification, PreparedMessage]
        ] = OrderedDict()
        self._transport = transport or _transport(context, config, self._sender)

    @classmethod
    def secret_keys(cls, spec: NotificationProcessorSpec) -> Sequence[SecretKey]:
        transport = _email_config(spec).transport_config
        return smtp_secret_keys(spec, transport) if isinstance(transport, SMTPTransport) else ()

    @classmethod
    def create(cls, context: ProcessorContext) -> Self:
        """Make a processor.

        Raises
        ------
        InvalidProcessorConfig
            If the configuration cannot work.
        SecretNotFound
            If a Secret lacks a key of `secret_keys`.
        """
        return cls(context)

    @property
    def limits(self) -> Limits:
        """Upstream's: so many sends begin in each interval, over all mail of the processor."""
        limit = self._config.concurrency_limit
        interval = self._config.throttle_interval
        return Limits(
            concurrency=limit, starts=limit if interval > timedelta() else 0, interval=interval
        )

    async def verify(self) -> None:
        await self._transport.verify()

    def targets(self, notification: OutboundNotification, audience: Audience) -> Sequence[Target]:
        """Say who gets a mail, and who does not and why.

        Of two users with one address the first gets it. A broadcast reaches whom
        ``broadcastConfig`` says; users without an address are no part of it, unless nobody has one.
        """
        if not audience.broadcast:
            unknown = [
                Target(recipient=str(ref), skip=_unknown_member(str(ref)))
                for ref in audience.members_without_entity
            ]
            return [*self._user_targets(audience.users), *unknown]
        match self._config.broadcast_config:
            case BroadcastConfig(receiver="users"):
                reached = list(self._user_targets(audience.users, without_address=False))
                return reached or list(self._user_targets(audience.users))
            case BroadcastConfig(receiver="config", receiver_emails=addresses):
                return list(_address_targets(addresses, self._policy))
            case _:
                return ()

    def remembers(self, user: str) -> bool:
        """Return whether the user's address was looked up within ``cache.ttl``."""
        return self._book.address_of(user, None) is not None

    async def send(
        self,
        notification: OutboundNotification,
        recipients: Sequence[str],
        context: SendContext,
    ) -> Sequence[Outcome]:
        return [await self._send(notification, recipient, context) for recipient in recipients]

    def domain(self, recipient: str, directory: Directory) -> str:
        address = self._address(recipient, directory)
        return domain_of(normalized(address)) if address is not None else ""

    async def close(self) -> None:
        await self._transport.close()

    def _user_targets(
        self, users: Sequence[Entity], *, without_address: bool = True
    ) -> Iterator[Target]:
        owners: dict[str, str] = {}
        for user in users:
            ref = str(user.ref)
            address = self._book.address_of(ref, user.email)
            if address is None:
                if without_address:
                    yield Target(recipient=ref, skip=_no_address(ref))
                continue
            skip = self._policy.objection(address)
            if skip is None:
                owner = owners.setdefault(normalized(address), ref)
                skip = None if owner == ref else _duplicate(owner)
            yield Target(recipient=ref, skip=skip)

    async def _send(
        self, notification: OutboundNotification, recipient: str, context: SendContext
    ) -> Outcome:
        address = self._address(recipient, context.directory)
        if address is None:
            known = context.directory.user(recipient) is not None
            return _no_address(recipient) if known else _unknown_user(recipient)
        # Once more: the address may have changed since the snapshot was taken.
        if (skip := self._policy.objection(address)) is not None:
            return skip
        _log.debug("Sending %s to %s", notification.uid, address)
        mail = Mail(
            sender=self._sender.address,
            recipient=address,
            data=self._message(notification, recipient, address),
        )
        try:
            return await self._transport.deliver(mail, may_send=context.may_send)
        except DeliveryError as error:
            return error

    def _address(self, recipient: str, directory: Directory) -> str | None:
        """Return where a recipient is reached, or ``None`` if that is not known."""
        if "@" in recipient:
            # A receiver that is not configured any more has no other spelling.
            return self._receivers.get(recipient, recipient)
        user = directory.user(recipient)
        return self._book.address_of(recipient, user.email if user else None)

    def _message(self, notification: OutboundNotification, recipient: str, address: str) -> bytes:
        first = None
        if (notification.revision, notification.redelivery) != (1, 0):
            first = delivery_identity(notification, self.name, recipient, revision=1, redelivery=0)
        return self._prepare(notification).addressed(
            address,
            identity=delivery_identity(notification, self.name, recipient),
            first_identity=first,
        )

    def _prepare(self, notification: OutboundNotification) -> PreparedMessage:
        """Render a notification, or find what was rendered for its other recipients."""
        key = (notification.uid, notification.revision, notification.redelivery)
        known = self._prepared.get(key)
        if known is not None and (known[0] is notification or known[0] == notification):
            # The same object next time: comparing the contents costs more than all else here.
            self._prepared[key] = (notification, known[1])
            self._prepared.move_to_end(key)
            return known[1]
        original = notification.revision == 1 and notification.redelivery == 0
        message = prepare(
            notification,
            render(notification, self._app_base_url),
            sender=self._sender,
            reply_to=self._reply_to,
            # An update is as old as itself, or mail programs would sort it under the original.
            date=notification.created if original else self._now(),
        )
        self._prepared[key] = (notification, message)
        if len(self._prepared) > PREPARED_MESSAGES:
            self._prepared.popitem(last=False)
        return message


def _email_config(spec: NotificationProcessorSpec) -> EmailConfig:
    if spec.email is None:
        raise InvalidProcessorConfig("spec.email is required for type email")
    return spec.email


def _mailbox(field_name: str, text: str) -> Mailbox:
    try:
        mailbox = Mailbox.parse(text)
    except ValueError as error:
        raise InvalidProcessorConfig(f"{field_name}: {quoted(text)} is invalid: {error}") from None
    address = wire_address(mailbox.address)
    if not address.isascii():
        # Every mail carries it, and not every server takes it.
        raise InvalidProcessorConfig(
            f"{field_name}: {quoted(text)} is invalid: what is before the @ must be in ASCII, "
            "because not every server takes other letters there"
        )
    return replace(mailbox, address=address)


def _transport(context: ProcessorContext, config: EmailConfig, sender: Mailbox) -> Transport:
    gateway = context.environment.gateway
    match config.transport_config:
        case SMTPTransport() as smtp:
            server = smtp_server(
                context.spec,
                smtp,
                context.secrets,
                sender=sender.address,
                own_tokens=[gateway.token_file] if gateway else [],
            )
            return SMTPPool(server, size=config.concurrency_limit)
        case SendmailConfig() as sendmail:
            return SendmailTransport(sendmail, context.environment.sendmail_paths)
        case _:
            return StreamTransport()


def _address_targets(receivers: Sequence[str], policy: AddressPolicy) -> Iterator[Target]:
    for key, address in _addresses_by_key(receivers).items():
        yield Target(recipient=key, skip=policy.objection(address))


def _addresses_by_key(receivers: Sequence[str]) -> Mapping[str, str]:
    """Return the addresses to send to, as they were written, by the recipients they stand for.

    Of several that are one the first counts. A recipient is the address in lower case, which
    stays what it is when somebody writes other capitals: the ledger knows it by that.
    """
    first: dict[str, str] = {}
    for address in map(_receiver_address, receivers):
        first.setdefault(normalized(address), address)
    return {address.lower(): address for address in first.values()}


def _receiver_address(text: str) -> str:
    """Return the address of ``Name <address>``, or the text if it is none, to be skipped."""
    try:
        return Mailbox.parse(text.strip()).address
    except ValueError:
        return text.strip()


def _no_address(ref: str) -> Skip:
    return Skip(reason=Reason.NO_ADDRESS, message=f"{ref} has no e-mail address in the catalog")


def _unknown_user(ref: str) -> DeliveryError:
    """Return why a user who was known is not sent to now: the catalog may be read in part only."""
    return DeliveryError(
        Reason.UNKNOWN_ENTITIES,
        f"the catalog does not know {ref}",
        scope=Scope.RECIPIENT,
        retryable=True,
    )


def _unknown_member(ref: str) -> Skip:
    return Skip(
        reason=Reason.UNKNOWN_ENTITIES,
        message=f"a group names {ref} as a member, and the catalog has no entity of it",
    )


def _duplicate(owner: str) -> Skip:
    return Skip(reason=Reason.DUPLICATE_ADDRESS, message=f"{owner} has the same address")
