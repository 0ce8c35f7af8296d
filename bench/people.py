"""A catalog of as many users as asked for, in ConfigMaps, as users keep it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.kubernetes import Object

TEAM = 100
"""Users in each team."""

DIVISION = 10_000
"""Users in each division; it is the parent of their teams."""

_USERS_PER_OBJECT = 2500
"""Keeps a ConfigMap at half of its limit of 1 MiB."""

_USER = """\
apiVersion: backstage.io/v1alpha1
kind: User
metadata:
  name: user-{number:06}
spec:
  profile:
    displayName: User {number:06}
    email: user-{number:06}@example.com
  memberOf: [team-{team:04}]
"""
_TEAM = """\
apiVersion: backstage.io/v1alpha1
kind: Group
metadata:
  name: team-{team:04}
spec:
  type: team
  parent: division-{division}
  children: []
"""
_DIVISION = """\
apiVersion: backstage.io/v1alpha1
kind: Group
metadata:
  name: division-{division}
spec:
  type: division
  children: []
"""


def catalog_texts(users: int) -> Iterator[str]:
    """Yield YAML streams of so many users, each with an address, a team and a division."""
    for start in range(0, users, _USERS_PER_OBJECT):
        numbers = range(start, min(start + _USERS_PER_OBJECT, users))
        yield "---\n".join(_USER.format(number=number, team=number // TEAM) for number in numbers)
    teams = range(0, users, TEAM)
    groups = [_TEAM.format(team=at // TEAM, division=at // DIVISION) for at in teams]
    groups += [_DIVISION.format(division=at // DIVISION) for at in range(0, users, DIVISION)]
    if groups:
        yield "---\n".join(groups)


def catalog_objects(users: int, namespace: str) -> Iterator[Object]:
    """Yield the ConfigMaps of such a catalog."""
    for number, text in enumerate(catalog_texts(users)):
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"catalog-{number:03}",
                "namespace": namespace,
                "labels": {"notifications.orchestrator.io/catalog": "true"},
            },
            "data": {"catalog.yaml": text},
        }
