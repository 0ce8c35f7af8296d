"""One NotificationProcessor at work: made, verified, watched over, and sent through."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ..api.errors import KubernetesError
from ..api.notification import Payload
from ..api.placeholders import has_placeholder
from ..api.processor import (
    NotificationProcessor,
    NotificationProcessorSpec,
    NotificationProcessorStatus,
    OnAmbiguous,
    ProcessorReason,
    RetryPolicy,
)
from ..api.reasons import Reason
from ..api.resource import ObjectMeta
from ..catalog import Directory
from ..processors.base import (
    Audience,
    Environment,
    Limits,
    OutboundNotification,
    Processor,
    ProcessorContext,
    SecretKey,
    SendContext,
    Target,
)
from ..processors.errors import (
    DeliveryError,
    InvalidProcessorConfig,
    LeaseLost,
    Outcome,
    Receipt,
    Scope,
    SecretNotFound,
)
from ..processors.registry import ProcessorRegistry
from ..telemetry import metrics
from ..telemetry.metrics import ProcessorGauges
from ..telemetry.redaction import remember_secrets
from . import guarded
from .breaker import Breaker
from .lane import Lane
from .ports import Cluster
from .rows import Policy

logger = logging.getLogger(__name__)

NOT_READY_POLL = 5.0
"""Seconds between looks at the Secrets of a processor that is not ready."""

DEFAULT_POLICY = Policy(retry=RetryPolicy(), on_ambiguous=OnAmbiguous.RESEND)
"""What is done with failures while the processor's own wishes are not known."""

_IDLE_LIMITS = Limits(concurrency=1, starts=0, interval=timedelta())


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Whether a processor can send, as its ``Ready`` condition says it."""

    ready: bool
    reason: ProcessorReason
    message: str


class Channel:
    """One processor, its lane and its breaker.

    Only `run` makes and verifies the processor; everything else looks at what it left.
    """

    def __init__(
        self,
        metadata: ObjectMeta,
        *,
        registry: ProcessorRegistry,
        cluster: Cluster,
        environment: Environment,
        verify_interval: float,
    ) -> None:
        self.name = metadata.name
        self.lane = Lane(_IDLE_LIMITS)
        self.metadata = metadata
        self.readiness = Readiness(
            ready=False, reason=ProcessorReason.CONNECTING, message="not verified yet"
        )
        self.updated = asyncio.Event()
        """Set when there may be something new for the processor's status."""
        self.secret_version: str | None = None
        self.last_success: float | None = None
        self._registry = registry
        self._cluster = cluster
        self._environment = environment
        self._verify_interval = verify_interval
        self._resource: NotificationProcessor | None = None
        self._problem: str | None = None
        self._processor: Processor | None = None
        self._made_from: tuple[NotificationProcessorSpec, str] | None = None
        self._sending: Counter[Processor] = Counter()
        self._retired: set[Processor] = set()
        self._secrets: list[str] = []
        self._secrets_of: dict[Processor, list[str]] = {}
        self._breaker = Breaker()
        self._tripped: DeliveryError | None = None
        self._refused_sends = False
        self._verified = False
        self._next_trial = 0.0
        self._changed = asyncio.Event()

    def offer(self, resource: NotificationProcessor) -> None:
        """Take the processor's newest specification."""
        self.metadata, self._resource, self._problem = resource.metadata, resource, None
        self._changed.set()

    def offer_invalid(self, metadata: ObjectMeta, problem: str) -> None:
        """Take a specification that cannot be read."""
        self.metadata, self._resource, self._problem = metadata, None, problem
        self._changed.set()

    @property
    def spec(self) -> NotificationProcessorSpec | None:
        """The newest specification, unless it cannot be read."""
        return self._resource.spec if self._resource else None

    @property
    def stored(self) -> NotificationProcessorStatus:
        """The newest status that was seen in the cluster."""
        return self._resource.status if self._resource else NotificationProcessorStatus()

    @property
    def policy(self) -> Policy:
        """What to do with failures and doubts."""
        if self.spec is None:
            return DEFAULT_POLICY
        return Policy(
            retry=self.spec.retry,
            on_ambiguous=self.spec.on_ambiguous,
            idempotent=self._registry.is_idempotent(self.spec.type),
        )

    @property
    def reaches_strangers(self) -> bool:
        """Whether it can send to users that the catalog does not know."""
        return self.spec is not None and self._registry.reaches_strangers(self.spec.type)

    @property
    def id(self) -> str:
        """Id under which users' settings know the processor; empty if they do not."""
        if self.spec is None:
            return ""
        return self.spec.channel or self._registry.channel(self.spec.type)

    def excludes(self, payload: Payload) -> str | None:
        """Return why the filters leave a notification out, or ``None`` if they do not."""
        if self.spec is None:
            return None
        filters = [self.spec.filter, self.spec.email.filter if self.spec.email else None]
        for item in filters:
            if item and (why := item.excludes(payload.severity, payload.topic)):
                return why
        return None

    def decorate(self, notification: OutboundNotification) -> OutboundNotification:
        """Let the processor decorate a notification; a failing one leaves it as it is."""
        return guarded.decorate(self._processor, notification) if self._processor else notification

    def targets(
        self, notification: OutboundNotification, audience: Audience
    ) -> Sequence[Target] | None:
        """Return whom the processor would reach, or ``None`` while it cannot say."""
        if self._processor is None:
            return None
        return guarded.targets(self._processor, notification, audience)

    @property
    def max_batch(self) -> int:
        """How many recipients one send takes."""
        return self._processor.max_batch if self._processor else 1

    async def send(
        self,
        notification: OutboundNotification,
        recipients: Sequence[str],
        directory: Directory,
        *,
        may_send: Callable[[], bool],
        epoch: int,
    ) -> Sequence[Outcome]:
        """Send within the lane's limits; one outcome for each recipient, always.

        ``may_send`` says whether the claims that this is about, made under ``epoch``, still allow
        it.
        """
        async with self.lane.sending() as throttled:
            metrics.THROTTLED.labels(self.name).inc(throttled)
            if not may_send():
                return [LeaseLost()] * len(recipients)
            processor = self._processor
            if processor is None or self._tripped is not None:
                return [self._not_sent()] * len(recipients)
            self._sending[processor] += 1
            try:
                context = SendContext(directory=directory, may_send=may_send, epoch=epoch)
                with metrics.SEND_SECONDS.labels(self.name).time():
                    outcomes = await guarded.send(processor, notification, recipients, context)
            finally:
                self._sending[processor] -= 1
                await self._close_retired()
        self._observe(outcomes)
        self._count(notification, recipients, outcomes)
        return outcomes

    def measure(self) -> ProcessorGauges:
        """Return what the gauges say of the processor now."""
        return ProcessorGauges(
            waiting=self.lane.waiting,
            ready=self.readiness.ready,
            suspended=self.spec is not None and self.spec.suspend,
            breaker_open=self._tripped is not None,
            window=self.lane.window,
            claimed=self.lane.held,
        )

    async def run(self) -> None:
        """Keep the processor made, verified and its readiness true, until cancelled."""
        try:
            while True:
                self._changed.clear()
                delay = await self._refresh()
                try:
                    async with asyncio.timeout(delay):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            self.lane.close()
            self._secrets = []
            await self._retire()
            self._remember_secrets()

    async def _refresh(self) -> float:
        """Do what is due and return the seconds until the next look."""
        try:
            await self._make()
            await self._verify()
        except InvalidProcessorConfig as error:
            self._not_ready(ProcessorReason.INVALID_CONFIG, str(error))
        except SecretNotFound as error:
            self._not_ready(ProcessorReason.SECRET_NOT_FOUND, str(error))
        except KubernetesError as error:
            logger.warning("could not read Secrets: %s", error, extra={"processor": self.name})
            if self._processor is None:
                self._not_ready(ProcessorReason.CONNECTING, f"could not read Secrets: {error}")
        self.updated.set()
        if self.readiness.ready:
            return self._verify_interval
        pause = self._next_trial - time.monotonic()
        return min(max(pause, 0.05), NOT_READY_POLL) if self._tripped else NOT_READY_POLL

    async def _make(self) -> None:
        """Make the processor anew if its specification or its Secrets changed."""
        if self._problem is not None:
            raise InvalidProcessorConfig(self._problem)
        if self._resource is None:
            return
        spec = self._resource.spec
        kind = self._registry.get(spec.type)
        secrets, version = await self._read_secrets(guarded.secret_keys(kind, spec))
        if self._made_from == (spec, version):
            return
        self._secrets = _confidential(secrets)
        self._remember_secrets()
        context = ProcessorContext(
            name=self.name, spec=spec, environment=self._environment, secrets=secrets
        )
        made = guarded.create(kind, context)
        await self._retire()
        self._processor, self._made_from = made, (spec, version)
        self._secrets_of[made] = self._secrets
        self.secret_version = version or None
        self.lane.configure(made.limits, window=_sure_window(made))
        self._verified, self._tripped, self._next_trial = False, None, 0.0
        self._refused_sends = False
        self._breaker.reset()

    async def _read_secrets(self, keys: Sequence[SecretKey]) -> tuple[dict[SecretKey, bytes], str]:
        values: dict[SecretKey, bytes] = {}
        versions = []
        for name in dict.fromkeys(key.secret for key in keys):
            secret = await self._cluster.get_secret(self.metadata.namespace, name)
            wanted = [key for key in keys if key.secret == name]
            if secret is None:
                names = ", ".join(key.key for key in wanted)
                raise SecretNotFound(
                    f"Secret {self.metadata.namespace}/{name} does not exist; "
                    f"it must have the keys {names}"
                )
            for key in wanted:
                if not secret.data.get(key.key):
                    there = ", ".join(sorted(secret.data)) or "none"
                    raise SecretNotFound(
                        f"Secret {self.metadata.namespace}/{name} has no key {key.key!r} "
                        f"(or it is empty); its keys: {there}"
                    )
                values[key] = secret.data[key.key]
                _refuse_placeholder(f"{self.metadata.namespace}/{name}", key, values[key])
            versions.append(secret.resource_version)
        return values, ",".join(versions)

    async def _verify(self) -> None:
        """Try the processor when that is due, and open or close the lane accordingly."""
        if self._processor is None or self.spec is None:
            return
        if self.spec.suspend:
            self._not_ready(ProcessorReason.SUSPENDED, "spec.suspend is true")
            return
        if not self._verified and time.monotonic() >= self._next_trial:
            try:
                await guarded.verify(self._processor)
            except DeliveryError as error:
                self._trip(error)
            else:
                self._verified, self._tripped = True, None
                if not self._refused_sends:
                    self._breaker.reset()
        if self._verified:
            self._set_readiness(
                Readiness(ready=True, reason=ProcessorReason.CONNECTED, message="ready to send")
            )
            self.lane.open()

    def _trip(self, error: DeliveryError) -> None:
        self._verified, self._tripped = False, error
        pause = self._breaker.trip(error.reason, at_least=error.retry_after or 0.0)
        self._next_trial = time.monotonic() + pause
        metrics.TRIPS.labels(self.name, error.reason).inc()
        logger.warning(
            "processor pauses for %g s after %s",
            pause,
            error.reason,
            extra={"processor": self.name},
        )
        self._not_ready(_processor_reason(error.reason), error.message)

    def _not_ready(self, reason: ProcessorReason, message: str) -> None:
        self.lane.close()
        self._set_readiness(Readiness(ready=False, reason=reason, message=message))

    def _set_readiness(self, readiness: Readiness) -> None:
        """Take over a finding; a line in the log says when it is another one."""
        before, self.readiness = self.readiness, readiness
        if (before.ready, before.reason) == (readiness.ready, readiness.reason):
            return
        logger.log(
            logging.INFO if readiness.ready else logging.WARNING,
            "processor: %s -> %s: %s",
            before.reason,
            readiness.reason,
            readiness.message,
            extra={"processor": self.name},
        )

    def _count(
        self,
        notification: OutboundNotification,
        recipients: Sequence[str],
        outcomes: Sequence[Outcome],
    ) -> None:
        """Count and log what became of the recipients of one send."""
        sent = sum(isinstance(outcome, Receipt) for outcome in outcomes)
        if sent and notification.revision == 1 and notification.redelivery == 0:
            metrics.count_sent(self.name, notification.created, sent)
        if not logger.isEnabledFor(logging.DEBUG):
            return
        extra = {
            "processor": self.name,
            "notification": f"{notification.namespace}/{notification.name}",
            "uid": notification.uid,
        }
        for recipient, outcome in zip(recipients, outcomes, strict=True):
            logger.debug("%s: %s", recipient, outcome, extra=extra)

    def _observe(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Receipt):
                self.last_success = time.time()
                self._refused_sends = False
                self._breaker.reset()
            elif (
                isinstance(outcome, DeliveryError)
                and not isinstance(outcome, LeaseLost)
                and outcome.scope is Scope.PROCESSOR
                and self._tripped is None
            ):
                # Connecting and logging in may well succeed: only a send shows that it is over.
                self._refused_sends = True
                self._trip(outcome)
                self._changed.set()

    def _not_sent(self) -> DeliveryError:
        """The outcome of a claim that the breaker overtook."""
        if self._tripped is not None:
            return self._tripped
        return DeliveryError(
            Reason.INVALID_CONFIG, self.readiness.message, scope=Scope.PROCESSOR, retryable=True
        )

    async def _retire(self) -> None:
        if self._processor is not None:
            self._retired.add(self._processor)
            self._processor = None
            await self._close_retired()

    async def _close_retired(self) -> None:
        """Close replaced processors whose last send has ended."""
        for processor in [item for item in self._retired if not self._sending[item]]:
            self._retired.discard(processor)
            del self._sending[processor]
            await guarded.close(processor)
            del self._secrets_of[processor]
            self._remember_secrets()

    def _remember_secrets(self) -> None:
        """Hide the Secrets read last, and those that sends under way may still speak of."""
        in_use = [value for values in self._secrets_of.values() for value in values]
        remember_secrets(f"{self.name} {self.metadata.uid}", [*self._secrets, *in_use])


def _confidential(secrets: Mapping[SecretKey, bytes]) -> list[str]:
    """Return those values that no text may show."""
    return [value.decode(errors="ignore") for key, value in secrets.items() if key.confidential]


def _refuse_placeholder(secret: str, key: SecretKey, value: bytes) -> None:
    """Refuse what would be sent to the other side as a user name, a password or a token."""
    if has_placeholder(value.decode(errors="ignore")):
        raise InvalidProcessorConfig(
            f"Secret {secret}, key {key.key!r}: it contains a placeholder such as ${{NAME}}, which "
            "nothing fills in; create the Secret with the value itself (envsubst), or name another"
        )


def _sure_window(processor: Processor) -> int | None:
    """Return how many deliveries of a processor may be claimed if none can come to be in doubt."""
    return processor.limits.concurrency * processor.max_batch if processor.idempotent else None


def _processor_reason(reason: Reason) -> ProcessorReason:
    try:
        return ProcessorReason(reason)
    except ValueError:
        return ProcessorReason.CONNECT_FAILED
