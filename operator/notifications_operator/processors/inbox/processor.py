"""The inbox processor: hands batches of rows to the gateway, which keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Self

from ...api.reasons import Reason
from ..base import (
    Audience,
    Limits,
    OutboundNotification,
    Processor,
    ProcessorContext,
    SendContext,
    Target,
    delivery_identity,
)
from ..errors import (
    DeliveryError,
    InvalidProcessorConfig,
    LeaseLost,
    Outcome,
    Receipt,
    Scope,
    Skip,
)
from .client import GatewayClient

BROADCAST = "broadcast"
"""Recipient of the one row that stands for everybody."""

MAX_BATCH = 256
"""Rows of one request: those of one slice of the ledger.

A row is less than 400 octets and the payload is said once, so a body stays far below the
gateway's bound of 1 MiB.
"""

CONCURRENCY = 4
"""Requests under way at a time."""

_STORED = frozenset({"Inserted", "Updated", "Unchanged"})


class InboxProcessor(Processor):
    """Puts notifications into the gateway's inbox.

    Rows carry their delivery's identity, and the gateway changes nothing for one that it has: so a
    batch whose answer was lost is repeated, and nothing is ever in doubt.
    """

    default_channel: ClassVar[str] = "Web"
    max_batch: ClassVar[int] = MAX_BATCH
    idempotent: ClassVar[bool] = True
    reaches_strangers: ClassVar[bool] = True

    def __init__(self, context: ProcessorContext, *, client: GatewayClient | None = None) -> None:
        super().__init__(context)
        address = context.environment.gateway
        if address is None:
            raise InvalidProcessorConfig(
                "type inbox needs a gateway: the operator's setting gateway.url says where it is"
            )
        self._client = client or GatewayClient(address, connections=CONCURRENCY)

    @classmethod
    def create(cls, context: ProcessorContext) -> Self:
        """Make a processor; raises `InvalidProcessorConfig` if the operator knows no gateway."""
        return cls(context)

    @property
    def limits(self) -> Limits:
        """A few batches at a time, as fast as the gateway takes them."""
        return Limits(concurrency=CONCURRENCY, starts=0, interval=timedelta())

    async def verify(self) -> None:
        """Ask the gateway whether it knows this operator and can store something."""
        await self._client.get("/ready")

    def targets(self, notification: OutboundNotification, audience: Audience) -> Sequence[Target]:
        """Say whose inboxes it reaches; a broadcast is one row, whoever reads it.

        Users that the catalog does not know have inboxes too, as upstream.
        """
        if audience.broadcast:
            return [Target(recipient=BROADCAST)]
        users = [user.ref for user in audience.users]
        refs = [*users, *audience.strangers, *audience.members_without_entity]
        return [Target(recipient=str(ref)) for ref in refs]

    async def send(
        self,
        notification: OutboundNotification,
        recipients: Sequence[str],
        context: SendContext,
    ) -> Sequence[Outcome]:
        body = self._batch(notification, recipients, context.epoch)
        try:
            answer = await self._client.post("/deliveries", body)
        except DeliveryError as error:
            fenced = error.code == 409 and not context.may_send()
            return [LeaseLost() if fenced else error] * len(recipients)
        return _outcomes(answer, len(recipients))

    async def close(self) -> None:
        await self._client.close()

    def _batch(
        self, notification: OutboundNotification, recipients: Sequence[str], epoch: int
    ) -> Mapping[str, Any]:
        return {
            "epoch": epoch,
            "notification": {
                "uid": notification.uid,
                "namespace": notification.namespace,
                "name": notification.name,
                "revision": notification.revision,
                "redelivery": notification.redelivery,
                "origin": notification.origin,
                "created": notification.created.isoformat(),
                "payload": notification.payload.model_dump(mode="json", by_alias=True),
            },
            "rows": [
                {
                    "user": "" if recipient == BROADCAST else recipient,
                    "identity": delivery_identity(notification, self.name, recipient),
                }
                for recipient in recipients
            ],
        }


def _outcomes(answer: Mapping[str, Any], amount: int) -> Sequence[Outcome]:
    results = answer.get("results")
    if not isinstance(results, list) or len(results) != amount:
        found = f"{len(results)} results" if isinstance(results, list) else "no results"
        return [_odd(f"the gateway answered with {found} for {amount} rows")] * amount
    return [_outcome(result) for result in results]


def _outcome(result: Any) -> Outcome:
    if result == "Superseded":
        return Skip(
            reason=Reason.SUPERSEDED,
            message="a newer notification of this origin and scope is in the inbox",
        )
    if isinstance(result, str) and result in _STORED:
        return Receipt(message=result)
    return _odd(f"the gateway answered with the result {str(result)[:64]!r}")


def _odd(message: str) -> DeliveryError:
    """Return the error of an answer that cannot be understood; asking again is safe."""
    return DeliveryError(Reason.UNKNOWN, message, scope=Scope.MESSAGE, retryable=True)
