"""A large catalog: how long it takes to load, what it takes to keep, and to resolve a group."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import median

import yaml

from bench.environment import Environment
from bench.figures import Figure
from bench.people import DIVISION, TEAM, catalog_texts
from notifications_operator.catalog import (
    Directory,
    EntityRef,
    Source,
    parse_source,
    resolve,
)

_REPEATS = 20
_ROOT = "group:default/division-0"


async def catalog(environment: Environment, users: int) -> list[Figure]:
    """Measure a catalog of so many users."""
    environment.log(f"catalog of {users} users")
    await environment.use_catalog(0)
    async with environment.operator() as operator:
        alone, memory_alone = operator.ready_after, operator.usage.resident
    await environment.use_catalog(users)
    async with environment.operator() as operator:
        ready_after, usage = operator.ready_after, operator.usage
    texts = list(catalog_texts(users))
    bare = await asyncio.to_thread(_bare_parse, texts)
    seconds, bare_seconds, members = await asyncio.to_thread(_resolve, texts, users)
    name = f"catalog-{users}"
    size = sum(map(len, texts))
    return [
        Figure(
            figure=f"{name}.load",
            value=ready_after - alone,
            unit="s",
            peer="yaml.CSafeLoader on the same text",
            peer_value=bare,
        ),
        Figure(
            figure=f"{name}.memory",
            value=(usage.resident - memory_alone) / 2**20,
            unit="MiB more than with none",
            peer="its text",
            peer_value=size / 2**20,
        ),
        Figure(
            figure=f"{name}.memory-peak",
            value=usage.peak / 2**20,
            unit="MiB",
            peer="with none, at rest",
            peer_value=memory_alone / 2**20,
        ),
        Figure(
            figure=f"{name}.resolve-{members}",
            value=seconds * 1000,
            unit="ms, median",
            peer="a bare walk over sets of strings",
            peer_value=bare_seconds * 1000,
        ),
    ]


def _bare_parse(texts: list[str]) -> float:
    """Return the seconds for parsing; the first text's, times how much more there is."""
    start = time.perf_counter()
    for _ in yaml.load_all(texts[0], Loader=yaml.CSafeLoader):
        pass
    return (time.perf_counter() - start) * sum(map(len, texts)) / len(texts[0])


def _resolve(texts: list[str], users: int) -> tuple[float, float, int]:
    """Return the seconds to resolve one division, those of the bare walk, and its size."""
    directory = Directory.build(
        parse_source(
            Source(
                namespace="bench",
                name=f"catalog-{number:03}",
                uid=str(number),
                resource_version="1",
                data={"catalog.yaml": text},
                binary_data={},
            )
        )
        for number, text in enumerate(texts)
    )
    refs = [EntityRef.parse(_ROOT)]
    members = min(users, DIVISION)
    tree = {
        _ROOT: [f"group:default/team-{team:04}" for team in range(-(-members // TEAM))],
        **{
            f"group:default/team-{start // TEAM:04}": [
                f"user:default/user-{number:06}"
                for number in range(start, min(start + TEAM, members))
            ]
            for start in range(0, members, TEAM)
        },
    }
    found = resolve(directory, refs=refs).users
    assert [str(user.ref) for user in found] == _walk(tree)
    seconds = _median_seconds(lambda: resolve(directory, refs=refs))
    return seconds, _median_seconds(lambda: _walk(tree)), len(found)


def _walk(tree: dict[str, list[str]]) -> list[str]:
    """Return the leaves of a tree, sorted."""
    users, queue = set(), [_ROOT]
    while queue:
        for child in tree[queue.pop()]:
            if child in tree:
                queue.append(child)
            else:
                users.add(child)
    return sorted(users)


def _median_seconds(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds)
