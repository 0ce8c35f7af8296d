"""Several installs in one cluster, by whatever tool: one sends, the others say whom they wait for.

The mail server's ledger is the judge. Without the admission policy nothing keeps Helm from
installing a second release; `helm template | kubectl apply` never asks.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import Cluster, Source, up
from tests.support.installation import Installation
from tests.support.kubernetes import Kubernetes, Object, complete, notification, rows
from tests.support.smtp import Hang, SMTPPeer, Step

pytestmark = pytest.mark.cluster

USERS = ("ada", "grace", "edsger", "barbara")
NOTIFICATIONS = 6
MAILS = len(USERS) * NOTIFICATIONS

LEASE = "notifications-operator"
ELECTION = {"leaseDuration": 4, "renewInterval": 1, "retryPeriod": 0.5}

HELM, APPLY = "helm", "helm template | kubectl apply"


@pytest.fixture(scope="module")
def bare_cluster(worker_id: str) -> Iterator[Cluster]:
    """A control plane with no install."""
    cluster = up(f"installs-{worker_id}-{os.getpid()}", source=Source.LOCAL)
    yield cluster
    cluster.down()


@pytest.fixture
async def api(bare_cluster: Cluster) -> AsyncIterator[Kubernetes]:
    async with Kubernetes(bare_cluster.kubeconfig) as client:
        yield client


@dataclass(kw_only=True)
class Site:
    """The cluster, one mail server, and the installs of one test, each in its own namespace."""

    cluster: Cluster
    directory: Path
    api: Kubernetes
    peer: SMTPPeer
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:6])
    installs: list[Installation] = field(default_factory=list)

    def values(self, **election: Any) -> Object:
        """Return the values of an install."""
        entities = [
            {
                "apiVersion": "backstage.io/v1alpha1",
                "kind": "User",
                "metadata": {"name": user},
                "spec": {"profile": {"email": f"{user}@example.com"}, "memberOf": []},
            }
            for user in USERS
        ]
        email = {
            "transportConfig": {
                "transport": "smtp",
                "hostname": "127.0.0.1",
                "port": self.peer.port,
            },
            "sender": "sender@example.com",
            "broadcastConfig": {"receiver": "users"},
            "throttleInterval": 0,
            "retry": {"minDelay": "1s", "maxDelay": "1s"},
        }
        return {
            "notifications": {"processors": {"email": email}},
            "catalog": {"entities": entities, "settle": 0.1},
            "admission": {"enabled": False},
            "leaderElection": {**ELECTION, **election},
        }

    async def install(self, which: str, tool: str = HELM, **election: Any) -> Installation:
        """Install the chart in a namespace, and run its operator until it is ready."""
        made = self.prepared(which)
        install = made.install if tool == HELM else made.apply
        await asyncio.to_thread(install, self.values(**election))
        await self.run(made)
        return made

    async def install_at_once(self, *elections: Object) -> list[Installation]:
        """Install the chart several times, and run the operators at the same moment."""
        made = [self.prepared(f"at-once-{number}") for number in range(len(elections))]
        for install, election in zip(made, elections, strict=True):
            await asyncio.to_thread(install.install, self.values(**election))
        environments = [await asyncio.to_thread(install.prepare) for install in made]
        for install, environment in zip(made, environments, strict=True):
            install.launch(environment)
        for install in made:
            await asyncio.to_thread(install.wait_ready)
        return made

    async def run(self, install: Installation) -> None:
        """Run an operator until it is ready."""
        await asyncio.to_thread(install.start)
        await asyncio.to_thread(install.wait_ready)

    def prepared(self, which: str) -> Installation:
        """Return an install that is not made yet."""
        directory = self.directory / which
        directory.mkdir()
        install = Installation(
            cluster=self.cluster,
            directory=directory,
            namespace=f"{which}-{self.name}",
            pod=f"pod-{which}-{self.name}",
        )
        self.installs.append(install)
        return install

    async def broadcast(self, namespace: str, *names: str) -> None:
        """Create Notifications to everybody, who waits for the mail."""
        for name in names:
            body = notification(name, namespace, title=f"{name} of {self.name}")
            body["spec"]["recipients"] = {"type": "broadcast"}
            await self.api.create(body)

    async def finished(self, namespace: str, *names: str) -> None:
        """Wait until Notifications are delivered."""
        for name in names:
            body = await self.api.wait("Notification", name, namespace, complete)
            assert body["status"]["state"] == "Delivered", body["status"]

    async def lease(self, namespace: str = "kube-system", name: str = LEASE) -> Object:
        """Return what a Lease says."""
        body = await self.api.get("Lease", name, namespace)
        spec: Object = body["spec"]
        return spec

    async def renewed(self) -> None:
        """Wait until the holder of the cluster's Lease renews it."""
        before = (await self.lease())["renewTime"]
        async with asyncio.timeout(30):
            while (await self.lease())["renewTime"] == before:
                await asyncio.sleep(0.1)

    @asynccontextmanager
    async def held(self, name: str, namespace: str, *, epoch: int) -> AsyncIterator[None]:
        """Hold a Lease meanwhile, as a release does that writes no annotation of its install."""
        body: Object = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "holderIdentity": "old_1",
                "leaseDurationSeconds": 4,
                "leaseTransitions": epoch,
            },
        }
        await self.api.create(body)

        async def renew() -> None:
            for number in count():
                annotations = {"renewal": str(number)}
                await self.api.patch(
                    "Lease", name, namespace, {"metadata": {"annotations": annotations}}
                )
                await asyncio.sleep(1)

        renewals = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewals.cancel()
            await asyncio.gather(renewals, return_exceptions=True)
            await self.api.patch("Lease", name, namespace, {"spec": {"holderIdentity": ""}})

    async def led_by(self, install: Installation, *, seconds: float = 60) -> None:
        """Wait until an install leads."""
        await until(lambda: install.metric("notifications_leader") == 1, install, seconds=seconds)

    async def waits_for(self, install: Installation, leader: Installation) -> str:
        """Wait until an install says who leads, wherever it can; return the Event's note."""
        who = f"pod {leader.pod} in namespace {leader.namespace} leads"
        await until(lambda: who in install.readiness(), install)
        assert install.probe("readyz") == 200
        await until(lambda: "standing by: another install" in install.tail(), install)
        assert install.tail().count("standing by: another install") == 1
        assert who in install.tail()

        async def notes() -> list[str]:
            events = await self.api.list("Event", install.namespace)
            return [
                event["note"]
                for event in events
                if (event["reason"], event["regarding"]["name"]) == ("StandingBy", install.pod)
            ]

        async with asyncio.timeout(30):
            while not (found := await notes()):
                await asyncio.sleep(0.1)
        [note] = found
        assert who in note
        return note

    def assert_each_once(self, amount: int = MAILS) -> None:
        """The mail server has every mail once."""
        ids = self.peer.ledger.message_ids
        assert (len(ids), len(set(ids))) == (amount, amount)
        assert len(self.peer.ledger.recipients) == amount


async def until(
    condition: Callable[[], bool], install: Installation, *, seconds: float = 60
) -> None:
    """Wait for something that an install does."""
    try:
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{install.readiness()}\n{install.tail()}") from None


@pytest.fixture
async def site(bare_cluster: Cluster, api: Kubernetes, tmp_path: Path) -> AsyncIterator[Site]:
    async with SMTPPeer() as peer:
        made = Site(cluster=bare_cluster, directory=tmp_path, api=api, peer=peer)
        yield made
        for install in made.installs:
            install.close()
        for install in made.installs:
            await asyncio.to_thread(install.uninstall)
            await api.delete("Namespace", install.namespace)
            await api.delete("Lease", LEASE, install.namespace)
        await api.delete("Lease", LEASE, "kube-system")


@pytest.fixture
async def target(api: Kubernetes) -> AsyncIterator[str]:
    """A namespace for Notifications."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await api.delete("Namespace", name)


NAMES = [f"n{number}" for number in range(NOTIFICATIONS)]


@pytest.mark.parametrize(
    ("first", "second"), [(HELM, HELM), (HELM, APPLY), (APPLY, HELM), (APPLY, APPLY)]
)
async def test_one_of_two_sends(site: Site, target: str, first: str, second: str) -> None:
    """Half of it is there before the second comes, half afterwards; then the second goes on."""
    one = await site.install("one", first)
    await site.led_by(one)
    await site.broadcast(target, *NAMES[:3])
    other = await site.install("two", second)
    note = await site.waits_for(other, one)
    assert "uninstall one of them" in note
    await site.broadcast(target, *NAMES[3:])
    await site.finished(target, *NAMES)
    site.assert_each_once()
    assert other.metric("notifications_leader") == 0


async def test_the_next_one_goes_on_when_the_first_is_uninstalled(site: Site, target: str) -> None:
    """It is killed within a message, so that its Lease has to run out; until then nobody doubts."""
    one = await site.install("one", HELM)
    await site.led_by(one)
    other = await site.install("two", HELM)
    site.peer.fail(Step.DATA, Hang())
    await site.api.create(notification("n", target, "user:default/ada", title="Once"))
    await site.peer.ledger.wait_for_verb("DATA")
    claimed = rows(await site.api.get("Notification", "n", target))["user:default/ada"]
    await site.waits_for(other, one)
    for _ in range(2):
        await site.renewed()
    assert rows(await site.api.get("Notification", "n", target))["user:default/ada"] == claimed
    one.kill()
    await asyncio.to_thread(one.uninstall)
    await site.led_by(other)
    assert "standby" not in other.readiness()
    await site.finished(target, "n")
    assert site.peer.ledger.recipients == ["ada@example.com"]


async def test_it_can_be_installed_again_in_another_namespace(site: Site, target: str) -> None:
    """With the Lease elsewhere too; its epoch goes on."""
    one = await site.install("one", HELM)
    await site.led_by(one)
    epoch = (await site.lease())["leaseTransitions"]
    await site.broadcast(target, *NAMES[:3])
    await site.finished(target, *NAMES[:3])
    one.kill()
    await asyncio.to_thread(one.uninstall)
    other = await site.install("two", HELM, namespace=f"two-{site.name}")
    await site.led_by(other)
    await site.broadcast(target, *NAMES[3:])
    await site.finished(target, *NAMES)
    site.assert_each_once()
    assert (await site.lease())["holderIdentity"] == "", "it was emptied for the next start"
    assert (await site.lease(other.namespace))["leaseTransitions"] == epoch + 1


@pytest.mark.parametrize(("first", "second"), [(HELM, APPLY), (APPLY, HELM)])
async def test_of_two_that_disagree_about_the_namespace_one_sends(
    site: Site, target: str, first: str, second: str
) -> None:
    one = await site.install("one", first)
    await site.led_by(one)
    await site.broadcast(target, *NAMES[:3])
    chosen = f"two-{site.name}"
    other = await site.install("two", second, namespace=chosen)
    note = await site.waits_for(other, one)
    assert f"set leaderElection.namespace alike: here the Lease is {chosen}/{LEASE}" in note
    await site.broadcast(target, *NAMES[3:])
    await site.finished(target, *NAMES)
    site.assert_each_once()
    await asyncio.to_thread(one.stop)
    await site.led_by(other)


async def test_of_two_that_disagree_and_start_at_once_one_sends(site: Site, target: str) -> None:
    await site.broadcast(target, *NAMES)
    installs = await site.install_at_once({}, {"namespace": f"at-once-1-{site.name}"})
    await site.finished(target, *NAMES)
    site.assert_each_once()
    [leader] = [found for found in installs if found.metric("notifications_leader")]
    [other] = [found for found in installs if found is not leader]
    await site.waits_for(other, leader)


async def test_an_upgrade_waits_for_the_lease_of_the_release_before(
    site: Site, target: str
) -> None:
    """Whose pod still runs: its Lease lies in the namespace of the release, under its name."""
    former = ("notifications", f"one-{site.name}")
    one = site.prepared("one")
    await asyncio.to_thread(one.install, site.values())
    async with site.held(*former, epoch=7):
        await site.broadcast(target, *NAMES)
        await site.run(one)
        text = f"pod old in namespace {former[1]} leads (Lease {former[1]}/notifications)"
        await until(lambda: text in one.readiness(), one)
        for _ in range(2):
            await site.renewed()
        assert one.metric("notifications_leader") == 0
        assert site.peer.ledger.messages == []
    await site.led_by(one)
    await site.finished(target, *NAMES)
    site.assert_each_once()
    assert (await site.lease())["leaseTransitions"] == 8
    spec = await site.lease(former[1], former[0])
    assert (spec["holderIdentity"].split("_")[0], spec["leaseTransitions"]) == (one.pod, 8)
    await asyncio.to_thread(one.stop)
    assert (await site.lease())["holderIdentity"] == ""
    assert (await site.lease(former[1], former[0]))["holderIdentity"] == ""


async def test_a_new_install_has_no_lease_of_earlier_releases(site: Site) -> None:
    one = await site.install("one", HELM)
    await site.led_by(one)
    assert await site.api.list("Lease", one.namespace) == []
