"""Where the campaign against the gateway plays: replicas, their Service, PostgreSQL, load."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from tests.support.gateway_installation import installed_gateway, operator_settings
from tests.support.installation import Installation, free_port
from tests.support.issuer import Issuer, issuing
from tests.support.kubernetes import Kubernetes, Object, complete
from tests.support.postgres import Postgres
from tests.support.proxy import APIProxy
from tests.support.service import Service

from ..evidence import Evidence, Expectation, Key, Mail
from ..servers import MailServer
from ..stage import Stage, stage, values
from ..workload import SILENT, USERS, Job
from .callers import Caller
from .evidence import BROADCAST, GatewayEvidence, Post, Stored
from .figures import GatewayFigures
from .inbox import InboxLedger
from .people import Person
from .replicas import POOL, Replica

CALLERS = 4
PEOPLE = ("u149", "u147", "u120", "u000")
"""Who reads; the first is in every group, the last in none but ``mixed``."""

REPLICAS = 2

INBOX = "inbox"
"""Name of the processor that the chart makes for the gateway."""

PROGRESS = 4
"""So many more posts must be answered between two strikes."""

PROGRESS_SECONDS = 60.0
"""Within so many seconds."""

READY_SHARE = 0.7
"""How often the next strike waits for gateways that are starting."""


@dataclass(kw_only=True)
class Scene:
    """One run of the campaign; see `scene`.

    Attributes
    ----------
    public, internal
        The addresses of the gateways, for callers and people and for the operator.
    stuck
        What did not come about in time.
    """

    stage: Stage
    replicas: Sequence[Replica]
    public: Service
    internal: Service
    postgres: Postgres
    ledger: InboxLedger
    callers: Sequence[Caller]
    people: Sequence[Person]
    random: Random
    figures: GatewayFigures
    stuck: list[str] = field(default_factory=list)

    @property
    def posts(self) -> list[Post]:
        """All that was posted, of each caller in order."""
        return [post for caller in self.callers for post in caller.posts]

    def check_alive(self) -> None:
        """Start again what ended on its own; the judge will say so."""
        for replica in self.replicas:
            replica.check_alive()
        self.stage.check_alive()

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Let callers post and people read; at the end every keyed post is answered."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as everybody:
            for caller in self.callers:
                everybody.create_task(caller.run(stop))
            for person in self.people:
                everybody.create_task(person.read(stop))
            try:
                yield
            finally:
                stop.set()

    @asynccontextmanager
    async def pages(self) -> AsyncIterator[None]:
        """Keep everybody's page open."""
        tasks = [asyncio.create_task(person.keep_page()) for person in self.people]
        try:
            yield
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def progress(self) -> None:
        """Wait until some more posts are answered, and mostly until all gateways are ready.

        Now and then the next strike hits one that is still starting.
        """
        enough = sum(caller.accepted for caller in self.callers) + PROGRESS
        end = time.monotonic() + PROGRESS_SECONDS
        while sum(caller.accepted for caller in self.callers) < enough:
            self.check_alive()
            if time.monotonic() > end:
                self.stuck.append(f"no {PROGRESS} posts were answered in {PROGRESS_SECONDS} s")
                return
            await asyncio.sleep(0.05)
        if self.random.random() < READY_SHARE:
            for replica in self.replicas:
                await asyncio.to_thread(replica.gateway.wait_ready)

    async def settle(self, *, seconds: float) -> None:
        """Wait until everything that is stored is complete; the judge says what is not."""
        end = time.monotonic() + seconds
        accepted = {post.title for post in self.posts if post.answered}
        while time.monotonic() < end:
            self.check_alive()
            bodies = await self.stage.bodies()
            if accepted <= {_title(body) for body in bodies} and all(map(complete, bodies)):
                return
            await asyncio.sleep(0.3)

    async def pages_know(self, *, seconds: float) -> None:
        """Wait until every page knows what REST shows; the judge says which does not."""
        end = time.monotonic() + seconds
        for person in self.people:
            while time.monotonic() < end:
                view = await person.view()
                if person.known == {id_: shown.read for id_, shown in view.items()}:
                    break
                await asyncio.sleep(0.2)

    async def gateway_evidence(self, bodies: list[Object]) -> GatewayEvidence:
        """Return what the gateway is judged by."""
        return GatewayEvidence(
            posts=self.posts,
            stored=[
                Stored(
                    resource=_resource(body),
                    title=_title(body),
                    origin=body["spec"]["origin"],
                    state=body["status"]["state"],
                )
                for body in bodies
            ],
            rows=await self.ledger.rows(),
            writings=await self.ledger.writings(),
            marks=[mark for person in self.people for mark in person.marks],
            views={person.name: await person.view() for person in self.people},
            pages={person.name: dict(person.known) for person in self.people},
        )

    def evidence(self, bodies: list[Object], found: GatewayEvidence) -> Evidence:
        """Return what the operator is judged by: mails, and writings as if they were mails."""
        names = {_title(body): body["metadata"]["name"] for body in bodies}
        manifests = {body["metadata"]["name"]: body for body in bodies}
        for post in self.posts:
            if (name := names.get(post.title)) is not None:
                job = Job(manifest=manifests[name], expected=self._expected(post, name))
                self.stage.jobs[name] = job
        made = self.stage.evidence(bodies, names=names)
        written = [
            Mail(
                key=Key(INBOX, names.get(item.title, item.title), item.user),
                message_id=item.identity,
                moment=item.moment,
            )
            for item in found.writings
        ]
        strangers = [str(mail.key) for mail in written if mail.key not in made.expected]
        return replace(
            made,
            mails=[*made.mails, *written],
            strangers=[*made.strangers, *strangers],
        )

    def _expected(self, post: Post, name: str) -> dict[Key, Expectation]:
        # A broadcast is mailed to whoever has an address.
        users = frozenset(USERS) if post.users == {BROADCAST} else post.users
        web = Expectation.MAIL if post.scope is None else Expectation.NEWEST
        mails = {
            Key(processor, name, user): Expectation.SKIP if user == SILENT else Expectation.MAIL
            for processor in self.stage.servers
            for user in users
        }
        return mails | {Key(INBOX, name, user): web for user in post.users}


def _title(body: Object) -> str:
    title: str = body["spec"]["payload"]["title"]
    return title


def _resource(body: Object) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


@asynccontextmanager
async def scene(
    installation: Installation, server: MailServer, figures: GatewayFigures
) -> AsyncIterator[Scene]:
    """Set up PostgreSQL, two gateways and an operator; leave nothing behind.

    Parameters
    ----------
    installation
        A chart in a cluster; while the context lasts it has the gateway too.
    server
        A mail server, not started yet.
    figures
        What is counted.
    """
    random = Random(f"gateway {figures.seed}")
    namespace = f"inbox-{uuid.uuid4().hex[:8]}"
    directory = installation.directory / namespace
    directory.mkdir()
    async with AsyncExitStack() as stack:
        postgres = await asyncio.to_thread(
            Postgres.start, listen_addresses="127.0.0.1", port=str(free_port())
        )
        stack.callback(postgres.stop)
        issuer = await stack.enter_async_context(issuing())
        ports = [(free_port(), free_port()) for _ in range(REPLICAS)]
        public = await stack.enter_async_context(Service([port for port, _ in ports], random))
        internal = await stack.enter_async_context(Service([port for _, port in ports], random))
        callers = [
            Caller(number, seed=figures.seed, url=public.url) for number in range(1, CALLERS + 1)
        ]
        stack.enter_context(_gateway_enabled(installation, namespace, callers))
        kubernetes = Kubernetes(installation.cluster.kubeconfig)
        await stack.enter_async_context(kubernetes)
        stack.push_async_callback(kubernetes.delete, "Namespace", namespace)
        replicas = []
        for number, (port, internal_port) in enumerate(ports):
            place = directory / f"gateway-{number}"
            place.mkdir()
            proxy = await stack.enter_async_context(APIProxy(installation.cluster.kubeconfig))
            settings = _settings(postgres, issuer)
            gateway = installed_gateway(installation, place, settings, server=proxy.url)
            gateway.port, gateway.internal_port = port, internal_port
            stack.callback(gateway.close)
            replicas.append(Replica(gateway=gateway, proxy=proxy, database_port=_port_of(postgres)))
            gateway.launch()
        for replica in replicas:
            await asyncio.to_thread(replica.gateway.wait_ready)
        ledger = InboxLedger(postgres, postgres.url())
        await ledger.begin()
        operator = _operator(installation, directory, internal.port)
        one = await stack.enter_async_context(
            stage([operator], [server], figures, namespace=namespace)
        )
        for replica in replicas:
            await replica.measure_baseline()
        yield Scene(
            stage=one,
            replicas=replicas,
            public=public,
            internal=internal,
            postgres=postgres,
            ledger=ledger,
            callers=callers,
            people=[
                Person(name, seed=figures.seed, issuer=issuer, url=public.url) for name in PEOPLE
            ],
            random=random,
            figures=figures,
        )


@contextmanager
def _gateway_enabled(
    installation: Installation, namespace: str, callers: Sequence[Caller]
) -> Iterator[None]:
    entries = [
        {
            "type": "static",
            "options": {"token": caller.token, "subject": caller.subject, "broadcast": True},
        }
        for caller in callers
    ]
    gateway = {
        "enabled": True,
        "replicaCount": REPLICAS,
        "database": {"existingSecret": "inbox-database"},
        "inboxNamespace": {"name": namespace},
        "tokens": {"externalAccess": entries},
    }
    installation.install(values() | {"gateway": gateway})
    try:
        yield
    finally:
        installation.install(values())


def _settings(postgres: Postgres, issuer: Issuer) -> dict[str, str]:
    """Return the settings of a gateway that its Secret or the lack of a proxy would bring."""
    oidc = {"issuer": issuer.url, "audiences": ["notifications"], "allow_http": True}
    prefix = "NOTIFICATIONS_GATEWAY_"
    address = f"postgresql://postgres@127.0.0.1:{_port_of(postgres)}/postgres"
    return {
        f"{prefix}OIDC": json.dumps(oidc),
        f"{prefix}DATABASE__URL": address,
        f"{prefix}DATABASE__POOL_SIZE": str(POOL),
    }


def _port_of(postgres: Postgres) -> int:
    return int(postgres.parameters["port"])


def _operator(installation: Installation, directory: Path, internal_port: int) -> Installation:
    """Return another process of an installation, which knows the gateway."""
    place = directory / "operator"
    place.mkdir()
    return Installation(
        cluster=installation.cluster,
        directory=place,
        namespace=installation.namespace,
        settings=operator_settings(installation, place, internal_port),
    )
