"""One NotificationProcessor at work: made, verified, watched over, and sent through."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial

from ...api.errors import KubernetesError
from ...api.notification import Payload
from ...api.processor import (
    NotificationProcessor,
    NotificationProcessorSpec,
    NotificationProcessorStatus,
    OnAmbiguous,
    ProcessorReason,
    RetryPolicy,
)
from ...api.reasons import Reason
from ...api.resource import ObjectMeta
from ...catalog import Directory
from ...processors.base import (
    Audience,
    Environment,
    Limits,
    OutboundNotification,
    Processor,
    ProcessorContext,
    SendContext,
    Target,
)
from ...processors.errors import (
    DeliveryError,
    InvalidProcessorConfig,
    LeaseLost,
    Outcome,
    Receipt,
    Scope,
    SecretNotFound,
)
from ...processors.registry import ProcessorRegistry
from ...telemetry import metrics
from ...telemetry.metrics import ProcessorGauges
from ...telemetry.redaction import remember_secrets
from ..ledger.rows import Policy
from ..ports import Cluster
from ..wakeup import SHORTEST_SLEEP
from . import guarded
from .health.evidence import Pending
from .health.health import Health, Stage
from .health.readiness import CONNECTING, Readiness
from .lane import Lane
from .secret_reader import confidential, read_secrets

logger = logging.getLogger(__name__)

NOT_READY_POLL = 5.0
"""Seconds between looks at the Secrets of a processor that is not ready."""

DEFAULT_POLICY = Policy(retry=RetryPolicy(), on_ambiguous=OnAmbiguous.RESEND)
"""What is done with failures while the processor's own wishes are not known."""

_IDLE_LIMITS = Limits(concurrency=1, starts=0, interval=timedelta())


def _nobody() -> Iterable[tuple[str, Iterable[str]]]:
    return ()


class Channel:
    """One processor, its lane and its health.

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
        pending: Pending = _nobody,
    ) -> None:
        self.name = metadata.name
        self.lane = Lane(_IDLE_LIMITS)
        self.metadata = metadata
        self.readiness = CONNECTING
        self.updated = asyncio.Event()
        """Set when there may be something new for the processor's status."""
        self.secret_version: str | None = None
        self.last_success: float | None = None
        self.health = Health(metadata.name, pending=pending)
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
        self._usable = False
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

    def take_over(self) -> None:
        """Begin to send, and to write the status, where another process did until now."""
        self.health.take_over()
        self._steer()
        self.updated.set()

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

    def remembers(self, user: str) -> bool:
        """Return whether it can send to a user whom the catalog has lost."""
        return self._processor is not None and guarded.remembers(self._processor, user)

    @property
    def can_send(self) -> bool:
        """Whether it sends, be it only one delivery at a time to probe it."""
        probing = self._usable and self.health.stage is not Stage.PAUSED
        return probing or self.readiness.ready

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
        verdict: Callable[[], DeliveryError | None] = lambda: None,
    ) -> Sequence[Outcome]:
        """Send within the lane's limits; one outcome for each recipient, always.

        ``may_send`` says whether the claims that this is about, made under ``epoch``, still allow
        it; ``verdict`` returns why the message need not be sent any more, if so.
        """
        async with self.lane.sending() as throttled:
            metrics.throttled(self.name).inc(throttled)
            if not may_send():
                return [LeaseLost()] * len(recipients)
            if (ended := verdict()) is not None:
                return [ended] * len(recipients)
            processor = self._processor
            hindrance = self.health.hindrance(notification.uid)
            if processor is None or hindrance is not None:
                return [hindrance or self._unusable()] * len(recipients)
            began = self.health.begin()
            self._sending[processor] += 1
            try:
                context = SendContext(directory=directory, may_send=may_send, epoch=epoch)
                with metrics.send_seconds(self.name).time():
                    outcomes = await guarded.send(processor, notification, recipients, context)
                self._judge(processor, began, notification.uid, recipients, outcomes, directory)
            finally:
                self.health.ended(began)
                self._sending[processor] -= 1
                await self._close_retired()
        if self.health.changed:
            self._steer()
            self._changed.set()
        self._count(notification, recipients, outcomes)
        return outcomes

    def measure(self) -> ProcessorGauges:
        """Return what the gauges say of the processor now."""
        return ProcessorGauges(
            waiting=self.lane.waiting,
            ready=self.readiness.ready,
            suspended=self.spec is not None and self.spec.suspend,
            breaker_open=self.health.breaker_open,
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
        except Exception as error:
            self._not_ready(
                ProcessorReason.CONNECTING,
                f"the operator failed unexpectedly ({type(error).__name__}) and tries again",
            )
            self.updated.set()
            raise
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
            elif self._usable:
                await self._verify()
        self.updated.set()
        if self._usable and self.health.paused:
            pause = self.health.next_trial - time.monotonic()
            return min(max(pause, SHORTEST_SLEEP), NOT_READY_POLL)
        return self._verify_interval if self.readiness.ready else NOT_READY_POLL

    async def _make(self) -> None:
        """Make the processor anew if its specification or its Secrets changed."""
        if self._problem is not None:
            raise InvalidProcessorConfig(self._problem)
        if self._resource is None:
            return
        spec = self._resource.spec
        kind = self._registry.get(spec.type)
        secrets, version = await read_secrets(
            self._cluster, self.metadata.namespace, guarded.secret_keys(kind, spec)
        )
        if self._made_from == (spec, version):
            return
        self._secrets = confidential(secrets)
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
        self.health.reset()

    async def _verify(self) -> None:
        """Try the processor when that is due, and open or close the lane accordingly."""
        if self._processor is None or self.spec is None:
            return
        if self.spec.suspend:
            self._not_ready(ProcessorReason.SUSPENDED, "spec.suspend is true")
            return
        if self.health.trial_due:
            await self._try(self._processor)
        self._usable = True
        self._steer()

    async def _try(self, processor: Processor) -> None:
        """End a pause, with a trial if the processor may not work."""
        if not self.health.needs_trial:
            self.health.resume()
            return
        began = self.health.now
        try:
            await guarded.verify(processor)
        except DeliveryError as error:
            self.health.failed(error)
        else:
            self.health.verified(began)

    def _steer(self) -> None:
        """Let lane and readiness follow the health of a processor that could be used."""
        self.health.changed = False
        if not self._usable:
            return
        match self.health.stage:
            case Stage.OPEN:
                self.lane.open()
            case Stage.PAUSED:
                self.lane.close()
            case stage:
                others = stage is Stage.PROBING_OTHERS
                self.lane.probe(self.health.behind, only_others=others)
        self._set_readiness(self.health.readiness)

    def _not_ready(self, reason: ProcessorReason, message: str) -> None:
        self._usable = False
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

    def _judge(
        self,
        processor: Processor,
        began: int,
        uid: str,
        recipients: Sequence[str],
        outcomes: list[Outcome],
        directory: Directory,
    ) -> None:
        """Let the health take in outcomes, and put its judgement in their place."""
        replaced = processor is not self._processor
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, Receipt) and not replaced:
                self.last_success = time.time()
                self.health.accepted(began, uid, recipients[index])
            elif isinstance(outcome, DeliveryError) and replaced:
                outcomes[index] = self.health.unjudged(outcome)
            elif isinstance(outcome, DeliveryError):
                outcomes[index] = self.health.refused(
                    began,
                    (uid, recipients[index]),
                    outcome,
                    partial(self._domain, directory),
                    alone=len(recipients) == 1,
                )

    def _domain(self, directory: Directory, recipient: str) -> str:
        if self._processor is None:
            return recipient
        return guarded.domain(self._processor, recipient, directory)

    def _unusable(self) -> DeliveryError:
        """Return the outcome of a claim that a change of the processor overtook."""
        return DeliveryError(
            Reason.INVALID_CONFIG, self.readiness.message, scope=Scope.PROCESSOR, retryable=True
        )

    async def _retire(self) -> None:
        if self._processor is not None:
            self._retired.add(self._processor)
            self._processor = self._made_from = None
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


def _sure_window(processor: Processor) -> int | None:
    """Return how many deliveries of a processor may be claimed if none can come to be in doubt."""
    return processor.limits.concurrency * processor.max_batch if processor.idempotent else None
