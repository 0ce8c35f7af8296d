"""One process of all installs leads, whatever they were told and whichever release they are."""

from __future__ import annotations

import pytest

from notifications_operator.api.errors import (
    ForbiddenError,
    KubernetesError,
    UnavailableError,
)
from notifications_operator.kube.leadership import LEASE_NAME
from tests.unit.kube.electorate import CHOSEN, DURATION, FIRST, FORMER, SECOND, Electorate


async def test_the_first_leads_by_one_lease(electorate: Electorate) -> None:
    """The Lease of earlier releases is not made."""
    first = electorate.join(FIRST, "a")
    assert (first.epoch, first.leadership.problem) == (None, "not read yet")
    await electorate.until(lambda: first.epoch == 1)
    assert electorate.leases.bodies.keys() == {(CHOSEN, LEASE_NAME)}
    assert (first.leadership.problem, first.leadership.leader) == (None, None)
    assert electorate.changes == [("a_0", 1)]


class TestAnotherInstall:
    async def test_it_stands_by_and_names_the_holder_once(self, electorate: Electorate) -> None:
        first = electorate.join(FIRST, "a")
        await electorate.until(lambda: first.epoch == 1)
        second = electorate.join(SECOND, "b")
        await electorate.until(lambda: second.leadership.leader is not None)
        await electorate.requested("get")
        assert (second.epoch, second.leadership.problem) == (None, None)
        [leader] = second.reported
        assert leader.describe() == (
            "another install of the notifications operator, mail-a/notifications, serves this "
            "cluster: pod a in namespace mail-a leads (Lease kube-system/notifications-operator). "
            "This one sends nothing until that one is gone: uninstall one of them"
        )
        assert second.leadership.leader == leader

    async def test_it_takes_over_when_the_first_is_gone(self, electorate: Electorate) -> None:
        first = electorate.join(FIRST, "a")
        await electorate.until(lambda: first.epoch == 1)
        second = electorate.join(SECOND, "b")
        await electorate.until(lambda: second.leadership.leader is not None)
        await first.stop()
        await electorate.until(lambda: second.epoch == 2)
        assert electorate.changes == [("a_0", 1), ("a_0", None), ("b_1", 2)]

    async def test_a_replica_of_the_same_install_is_no_news(self, electorate: Electorate) -> None:
        first = electorate.join(FIRST, "a-1")
        await electorate.until(lambda: first.epoch == 1)
        second = electorate.join(FIRST, "a-2")
        await electorate.until(lambda: second.leadership.leader is not None)
        assert second.reported == []
        leader = second.leadership.leader
        assert leader is not None
        assert leader.describe() == (
            "pod a-1 in namespace mail-a leads (Lease kube-system/notifications-operator)"
        )

    async def test_two_of_one_namespace_are_two(self, electorate: Electorate) -> None:
        first = electorate.join("mail/one", "a")
        await electorate.until(lambda: first.epoch == 1)
        second = electorate.join("mail/two", "b")
        await electorate.until(lambda: bool(second.reported))
        assert second.reported[0].install == "mail/one"


class TestDisagreement:
    """Installs that chose different namespaces for the Lease."""

    @pytest.mark.parametrize("chosen", ["aaa", "zzz"])
    async def test_the_second_stands_by(self, electorate: Electorate, chosen: str) -> None:
        first = electorate.join(FIRST, "a")
        await electorate.until(lambda: first.epoch == 1)
        second = electorate.join(SECOND, "b", chosen=chosen)
        await electorate.until(lambda: bool(second.reported))
        await electorate.requested("list")
        assert (second.epoch, first.epoch) == (None, 1)
        assert (chosen, LEASE_NAME) not in electorate.leases.bodies
        assert (
            second.reported[0]
            .describe()
            .endswith(
                "uninstall one of them, and set leaderElection.namespace alike: "
                f"here the Lease is {chosen}/notifications-operator"
            )
        )

    async def test_it_takes_over_when_the_first_is_released(self, electorate: Electorate) -> None:
        """The epoch goes on where the other Lease's ended."""
        electorate.hold("a_9", CHOSEN, epoch=7)
        second = electorate.join(SECOND, "b", chosen="mail-b")
        await electorate.until(lambda: bool(second.reported))
        electorate.hold("", CHOSEN, epoch=7)
        await electorate.until(lambda: second.epoch == 8)

    async def test_one_that_was_abandoned_is_waited_for_and_emptied(
        self, electorate: Electorate
    ) -> None:
        """So that the next start need not wait; its holder, if it lives, finds itself unseated."""
        electorate.hold("a_9", CHOSEN)
        second = electorate.join(SECOND, "b", chosen="mail-b")
        await electorate.until(lambda: bool(second.reported))
        electorate.now += DURATION - 1
        await electorate.requested("list")
        assert second.epoch is None
        electorate.now += 1
        await electorate.until(lambda: second.epoch == 2)
        assert electorate.holder(CHOSEN) == ""

    async def test_one_that_may_not_be_emptied_is_in_nobodys_way(
        self, electorate: Electorate
    ) -> None:
        electorate.leases.fault = lambda operation, namespace, name: (
            ForbiddenError("not yours") if (operation, namespace) == ("patch", CHOSEN) else None
        )
        electorate.hold("a_9", CHOSEN)
        second = electorate.join(SECOND, "b", chosen="mail-b")
        await electorate.until(lambda: bool(second.reported))
        electorate.now += DURATION
        await electorate.until(lambda: second.epoch == 2)

    async def test_one_that_is_renewed_at_the_last_moment_is_not_abandoned(
        self, electorate: Electorate
    ) -> None:
        renewals: list[str] = []

        def renew(operation: str, namespace: str, name: str) -> None:
            if (operation, namespace) == ("patch", CHOSEN) and not renewals:
                renewals.append(operation)
                electorate.hold("a_9", CHOSEN)

        electorate.hold("a_9", CHOSEN)
        second = electorate.join(SECOND, "b", chosen="mail-b")
        await electorate.until(lambda: bool(second.reported))
        electorate.leases.fault = renew
        electorate.now += DURATION
        await electorate.until(lambda: bool(renewals))
        await electorate.requested("list")
        assert (second.epoch, electorate.holder(CHOSEN)) == (None, "a_9")

    async def test_one_that_was_deleted_may_still_have_a_holder(
        self, electorate: Electorate
    ) -> None:
        electorate.hold("a_9", CHOSEN)
        second = electorate.join(SECOND, "b", chosen="mail-b")
        await electorate.until(lambda: bool(second.reported))
        electorate.leases.delete(CHOSEN, LEASE_NAME)
        await electorate.requested("list")
        electorate.now += DURATION - 1
        await electorate.requested("list")
        assert second.epoch is None
        electorate.now += 1
        await electorate.until(lambda: second.epoch == 2)

    @pytest.mark.parametrize(("rival", "yields"), [("aaa", True), ("zzz", False)])
    async def test_of_two_that_acquire_theirs_at_once_the_last_by_name_yields(
        self, electorate: Electorate, rival: str, yields: bool
    ) -> None:
        """The other Lease appears between the look before and the look after."""

        def appear(operation: str, namespace: str, name: str) -> None:
            if (operation, namespace) == ("create", "mail-b"):
                electorate.hold("a_9", rival)

        electorate.leases.fault = appear
        second = electorate.join(SECOND, "b", chosen="mail-b")
        await electorate.until(lambda: bool(second.reported))
        await electorate.until(lambda: (electorate.holder("mail-b") == "") == yields)
        await electorate.requested("list")
        assert second.epoch is None
        electorate.hold("", rival)
        await electorate.until(lambda: second.epoch is not None)

    async def test_an_epoch_that_another_had_is_given_up(self, electorate: Electorate) -> None:
        """It was acquired and released between the look before and the look after."""

        def come_and_go(operation: str, namespace: str, name: str) -> None:
            if (operation, namespace) == ("create", "mail-b"):
                electorate.hold("", "aaa", epoch=4)

        electorate.leases.fault = come_and_go
        second = electorate.join(SECOND, "b", chosen="mail-b")
        await electorate.until(lambda: second.epoch is not None)
        assert electorate.changes == [("b_0", 5)]

    @pytest.mark.parametrize("error", [ForbiddenError("no right"), UnavailableError("closed")])
    async def test_nobody_leads_who_cannot_look(
        self, electorate: Electorate, error: KubernetesError
    ) -> None:
        electorate.leases.fault = lambda operation, *_: error if operation == "list" else None
        first = electorate.join(FIRST, "a")
        await electorate.until(lambda: str(error) in (first.leadership.problem or ""))
        assert (first.epoch, electorate.leases.bodies) == (None, {})
        electorate.leases.fault = lambda operation, *_: None
        await electorate.until(lambda: first.epoch == 1)


class TestEarlierReleases:
    """Before this release the Lease was in the namespace of the install."""

    async def test_theirs_is_waited_for_and_held_too(self, electorate: Electorate) -> None:
        electorate.hold("old_1", "mail-a", FORMER, epoch=7)
        first = electorate.join(FIRST, "a")
        await electorate.until(lambda: electorate.holder() == "a_0")
        await electorate.requested("watch")
        assert first.epoch is None
        leader = first.leadership.leader
        assert leader is not None and first.reported == []
        assert leader.describe() == "pod old in namespace mail-a leads (Lease mail-a/mail)"
        electorate.hold("", "mail-a", FORMER, epoch=7)
        await electorate.until(lambda: first.epoch == 8)
        assert electorate.holder("mail-a", FORMER) == "a_0"
        assert electorate.leases.spec("mail-a", FORMER)["leaseTransitions"] == 8

    async def test_another_install_stands_by_meanwhile(self, electorate: Electorate) -> None:
        electorate.hold("old_1", "mail-a", FORMER)
        electorate.join(FIRST, "a")
        await electorate.until(lambda: electorate.holder() == "a_0")
        second = electorate.join(SECOND, "b")
        await electorate.until(lambda: bool(second.reported))
        assert second.epoch is None

    async def test_both_are_renewed_and_released(self, electorate: Electorate) -> None:
        electorate.hold("", "mail-a", FORMER)
        first = electorate.join(FIRST, "a")
        await electorate.until(lambda: first.epoch == 2)
        for _ in range(4):
            electorate.now += DURATION - 1
            await electorate.renewed()
            assert first.epoch == 2
        await first.stop()
        assert (electorate.holder(), electorate.holder("mail-a", FORMER)) == ("", "")
        assert electorate.changes == [("a_0", 2), ("a_0", None)]

    async def test_a_replica_takes_over_both(self, electorate: Electorate) -> None:
        electorate.hold("", "mail-a", FORMER)
        first = electorate.join(FIRST, "a-1")
        await electorate.until(lambda: first.epoch == 2)
        second = electorate.join(FIRST, "a-2")
        await electorate.until(lambda: second.leadership.leader is not None)
        await first.stop()
        await electorate.until(lambda: second.epoch == 3)
        assert electorate.holder("mail-a", FORMER) == "a-2_1"

    async def test_a_restarted_container_waits_for_neither(self, electorate: Electorate) -> None:
        electorate.hold("", "mail-a", FORMER)
        first = electorate.join(FIRST, "a", uid="u")
        await electorate.until(lambda: first.epoch == 2)
        await first.kill()
        second = electorate.join(FIRST, "a", uid="u")
        await electorate.until(lambda: second.epoch == 3)

    async def test_one_that_loses_it_lets_the_other_go_and_begins_a_new_epoch(
        self, electorate: Electorate
    ) -> None:
        """An older release has taken its own, as after a rollback."""
        electorate.hold("", "mail-a", FORMER)
        first = electorate.join(FIRST, "a")
        await electorate.until(lambda: first.epoch == 2)
        electorate.hold("old_1", "mail-a", FORMER, epoch=9)
        await electorate.until(lambda: electorate.changes[-1] == ("a_0", None))
        await electorate.until(lambda: first.leadership.leader is not None)
        electorate.hold("", "mail-a", FORMER, epoch=9)
        await electorate.until(lambda: (first.epoch or 0) > 9)

    async def test_one_that_appears_later_ends_the_leadership(self, electorate: Electorate) -> None:
        """An older release was installed over this one."""
        first = electorate.join(FIRST, "a")
        await electorate.until(lambda: first.epoch == 1)
        electorate.hold("old_1", "mail-a", FORMER)
        await electorate.until(lambda: electorate.changes[-1] == ("a_0", None))
        electorate.now += DURATION
        await electorate.until(lambda: (first.epoch or 0) > 1)

    async def test_one_that_is_deleted_is_not_asked_for_any_more(
        self, electorate: Electorate
    ) -> None:
        electorate.hold("", "mail-a", FORMER)
        first = electorate.join(FIRST, "a")
        await electorate.until(lambda: first.epoch == 2)
        electorate.leases.delete("mail-a", FORMER)
        await electorate.requested("get", "patch")
        assert electorate.changes == [("a_0", 2)]
        assert electorate.leases.bodies.keys() == {(CHOSEN, LEASE_NAME)}

    async def test_nobody_leads_who_cannot_read_it(self, electorate: Electorate) -> None:
        electorate.leases.fault = lambda operation, namespace, name: (
            ForbiddenError("no right") if name == FORMER else None
        )
        first = electorate.join(FIRST, "a")
        await electorate.until(
            lambda: first.leadership.problem == "the Lease mail-a/mail: no right"
        )
        assert first.epoch is None

    async def test_it_is_let_go_with_the_clusters(self, electorate: Electorate) -> None:
        """A person makes the leader step down."""
        electorate.hold("", "mail-a", FORMER)
        first = electorate.join(FIRST, "a")
        await electorate.until(lambda: first.epoch == 2)
        electorate.hold("somebody_1", CHOSEN, epoch=2)
        await electorate.until(lambda: electorate.holder("mail-a", FORMER) == "")
        assert first.epoch is None


class TestEarlierReleasesOfTheSameName:
    """A release called notifications-operator had a Lease of the very name of the cluster's."""

    async def test_it_may_be_the_clusters_itself(self, electorate: Electorate) -> None:
        electorate.hold("old_1", "mail-a", epoch=7)
        first = electorate.join(FIRST, "a", chosen="mail-a", former=LEASE_NAME)
        await electorate.until(lambda: first.leadership.leader is not None)
        leader = first.leadership.leader
        assert leader is not None and not leader.is_other
        electorate.hold("", "mail-a", epoch=7)
        await electorate.until(lambda: first.epoch == 8)
        await electorate.requested("patch")
        await first.stop()
        assert electorate.changes == [("a_0", 8), ("a_0", None)]
        assert electorate.holder("mail-a") == ""

    async def test_it_is_held_with_the_clusters_and_is_no_rivals(
        self, electorate: Electorate
    ) -> None:
        electorate.hold("", "mail-a", epoch=7)
        first = electorate.join(FIRST, "a", former=LEASE_NAME, uid="u")
        await electorate.until(lambda: first.epoch == 8)
        assert electorate.holder("mail-a") == "a_0"
        await first.kill()
        again = electorate.join(FIRST, "a", former=LEASE_NAME, uid="u")
        await electorate.until(lambda: again.epoch == 9)
        second = electorate.join(SECOND, "b")
        await electorate.until(lambda: bool(second.reported))
        assert second.epoch is None


async def test_a_single_failure_is_no_loss(electorate: Electorate) -> None:
    """Neither of what was not there, nor of what is held."""
    electorate.hold("", "mail-b", FORMER)
    first = electorate.join(FIRST, "a")
    await electorate.until(lambda: first.epoch == 1)
    electorate.leases.fault = lambda *_: UnavailableError("refused")
    await electorate.requested("get")
    electorate.now += DURATION - 1
    assert (first.epoch, electorate.changes) == (1, [("a_0", 1)])
