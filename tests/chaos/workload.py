"""Mixed work by seed: a catalog, Notifications, and who must get a mail by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from tests.support.kubernetes import Object, notification

from .evidence import Expectation, Key

USERS: Final = tuple(f"u{number:03}" for number in range(150))
DOMAINS: Final = ("example.com", "example.org", "example.net", "mail.example", "post.example")
"""Domains of the users' addresses, in turn."""

SILENT: Final = "silent"
"""A user without an address: skipped by every mail processor."""

GROUPS: Final = {"pair": 2, "five": 5, "dozen": 12, "thirty": 30, "sixty": 60, "crowd": 150}
"""Groups by how many of `USERS` they have; the smallest and `SILENT` belong to ``mixed`` too."""

MOST_ROWS: Final = 300
"""Most deliveries of one Notification, recipients times processors; more than 100 are in slices."""


def entities() -> list[Object]:
    """Return the catalog."""
    return [
        *(_user(name, email=address_of(name)) for name in USERS),
        _user(SILENT),
        *(_group(name, [*USERS[-size:]]) for name, size in GROUPS.items()),
        _group("mixed", [*USERS[:3], SILENT]),
    ]


def address_of(user: str) -> str:
    """Return the address of one of `USERS`."""
    return f"{user}@{DOMAINS[int(user[1:]) % len(DOMAINS)]}"


def _entity(kind: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": "backstage.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def _user(name: str, email: str | None = None) -> Object:
    profile = {"displayName": name.upper()} | ({"email": email} if email else {})
    return _entity("User", name, {"profile": profile, "memberOf": []})


def _group(name: str, members: list[str]) -> Object:
    return _entity("Group", name, {"type": "team", "children": [], "members": members})


def members(ref: str) -> frozenset[str]:
    """Return the users that a ref of this catalog means."""
    kind, _, name = ref.partition(":default/")
    if kind == "user":
        return frozenset({name})
    if name == "mixed":
        return frozenset({*USERS[:3], SILENT})
    return frozenset(USERS[-GROUPS[name] :])


@dataclass(frozen=True, kw_only=True)
class Job:
    """One Notification to create, and the deliveries that must follow."""

    manifest: Object
    expected: dict[Key, Expectation]

    @property
    def name(self) -> str:
        """Its name, which is its title too."""
        name: str = self.manifest["metadata"]["name"]
        return name

    @property
    def namespace(self) -> str:
        """Its namespace."""
        namespace: str = self.manifest["metadata"]["namespace"]
        return namespace


class Workload:
    """Makes Notifications, the same ones for the same seed.

    Parameters
    ----------
    first
        Number of the first one; two workloads of one campaign must not share a number.
    """

    def __init__(
        self, seed: int, *, namespace: str, processors: Sequence[str], first: int = 1
    ) -> None:
        self._random = Random(f"workload {seed} {first}")
        self._namespace = namespace
        self._processors = processors
        self._made = first - 1

    def jobs(self, count: int) -> list[Job]:
        """Make some more."""
        return [self._job() for _ in range(count)]

    def job(self, *refs: str, processors: Sequence[str], **spec: Any) -> Job:
        """Make one of a certain kind."""
        self._made += 1
        name = f"n{self._made:04}"
        users = frozenset[str]().union(*map(members, refs))
        expected = {
            Key(processor, name, user): (Expectation.SKIP if user == SILENT else Expectation.MAIL)
            for processor in processors
            for user in users
        }
        severity = self._random.choice(["critical", "high", "normal", "low"])
        manifest = notification(
            name,
            self._namespace,
            *refs,
            title=name,
            processors=[*processors],
            payload={"severity": severity},
            **spec,
        )
        return Job(manifest=manifest, expected=expected)

    def _job(self) -> Job:
        match self._random.choices(["user", "users", "group"], weights=[4, 2, 3])[0]:
            case "user":
                refs = [f"user:default/{self._random.choice(USERS)}"]
            case "users":
                chosen = self._random.sample([*USERS, SILENT], self._random.randint(2, 4))
                refs = [f"user:default/{name}" for name in chosen]
            case _:
                refs = [f"group:default/{self._random.choice([*GROUPS, 'mixed'])}"]
        users = frozenset[str]().union(*map(members, refs))
        most = min(max(MOST_ROWS // len(users), 1), len(self._processors))
        processors = self._random.sample(self._processors, self._random.randint(1, most))
        return self.job(*refs, processors=processors)
