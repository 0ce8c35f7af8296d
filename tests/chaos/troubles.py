"""What an API server, and what lies before it, can do to its clients.

Each trouble lasts as long as its context. To add one, write a function like those below and put it
into `TROUBLES`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

from hack.cluster import Cluster, processes
from tests.support.proxy import (
    Fault,
    LoseAnswer,
    LoseRequest,
    Read,
    Refuse,
    Stall,
    Write,
)

from .impatient import REQUEST_SECONDS
from .instants import is_ledger_patch
from .stage import Stage

Trouble = Callable[[Stage, Random], AbstractAsyncContextManager[None]]

LONGEST_STALL = 1.5 * REQUEST_SECONDS
"""Seconds for which a request is held up: sometimes longer than the operator waits for it, so that
it takes effect after the operator has given it up."""

NEIGHBOUR_SECONDS = 60.0
"""Within so many seconds everything of a namespace without trouble must be complete: after earlier
troubles the operator may wait for up to 30 s before it tries again."""


def _on_writes(make: Callable[[Random], Fault], *, share: float) -> Trouble:
    """Make a trouble of a share of the writes."""

    @asynccontextmanager
    async def trouble(stage: Stage, random: Random) -> AsyncIterator[None]:
        stage.proxy.judge = lambda write: make(random) if random.random() < share else None
        yield

    return trouble


def _on_all(make: Callable[[Random], Fault], *, share: float, cut: bool = False) -> Trouble:
    """Make a trouble of a share of all requests, and cut the watches if `cut` is set."""

    @asynccontextmanager
    async def trouble(stage: Stage, random: Random) -> AsyncIterator[None]:
        def judge(request: Write | Read) -> Fault:
            return make(random) if random.random() < share else None

        stage.proxy.judge = stage.proxy.judge_read = judge
        if cut:
            for watch in [*stage.proxy.watches]:
                watch.cut()
        yield

    return trouble


@asynccontextmanager
async def conflicts(stage: Stage, random: Random) -> AsyncIterator[None]:
    """Half of the ledger's writes come too late, as it seems."""
    conflict = Refuse(409, "the object has been modified; please apply your changes to the latest")

    def judge(write: Write) -> Fault:
        return conflict if is_ledger_patch(write) and random.random() < 0.5 else None

    stage.proxy.judge = judge
    yield


@asynccontextmanager
async def touches(stage: Stage, random: Random) -> AsyncIterator[None]:
    """Somebody labels every Notification again and again, so that writes do come too late."""

    async def touch() -> None:
        number = 0
        while True:
            for name in stage.jobs:
                number += 1
                patch = {"metadata": {"labels": {"touched": str(number)}}}
                await stage.kubernetes.patch(
                    "Notification", name, stage.jobs[name].namespace, patch
                )

    task = asyncio.create_task(touch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def expired_watches(stage: Stage, random: Random) -> AsyncIterator[None]:
    """Every watch is told that its history is gone."""
    for watch in [*stage.proxy.watches]:
        await watch.expire()
    yield


@asynccontextmanager
async def cut_watches(stage: Stage, random: Random) -> AsyncIterator[None]:
    """Every watch breaks off."""
    for watch in [*stage.proxy.watches]:
        watch.cut()
    yield


@asynccontextmanager
async def silent_watches(stage: Stage, random: Random) -> AsyncIterator[None]:
    """Every watch of now brings nothing any more, and stays open."""
    for watch in stage.proxy.watches:
        watch.silent = True
    yield


@asynccontextmanager
async def killed_api_server(stage: Stage, random: Random) -> AsyncIterator[None]:
    """The API server is killed and comes back."""
    await asyncio.to_thread(stage.cluster.stop_apiserver)
    try:
        yield
    finally:
        await asyncio.to_thread(stage.cluster.start_apiserver)


@asynccontextmanager
async def killed_etcd(stage: Stage, random: Random) -> AsyncIterator[None]:
    """The database of the API server is killed and comes back."""
    command = await asyncio.to_thread(_kill_etcd, stage.cluster)
    try:
        yield
    finally:
        directory = stage.cluster.directory
        await asyncio.to_thread(processes.spawn, "etcd", command, directory=directory)


def _kill_etcd(cluster: Cluster) -> list[str]:
    """Kill a cluster's etcd and return its command line."""
    etcd = processes.find(cluster.directory, "etcd")
    assert etcd is not None
    command = Path(f"/proc/{etcd.pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    processes.kill(cluster.directory, etcd)
    return command


def _in_one_namespace(make: Callable[[Random], Refuse]) -> Trouble:
    """Make a trouble of all writes of one namespace; the others must not notice it."""

    @asynccontextmanager
    async def trouble(stage: Stage, random: Random) -> AsyncIterator[None]:
        place = f"/namespaces/{stage.further_namespaces[0]}/"
        stage.proxy.judge = lambda write: make(random) if place in write.path else None
        yield
        late = await stage.late(namespace=stage.namespace, seconds=NEIGHBOUR_SECONDS)
        stage.held_up += [f"{name} waits for another namespace's refusals" for name in late]

    return trouble


TROUBLES: Final[dict[str, Trouble]] = {
    "409": conflicts,
    "touches": touches,
    "429": _on_all(lambda random: Refuse(429, "too many requests", 1), share=0.7),
    "500": _on_all(lambda random: Refuse(500, "internal error"), share=0.7),
    "503": _on_all(lambda random: Refuse(503, "the server is shutting down"), share=0.7),
    "401": _on_all(lambda random: Refuse(401, "Unauthorized"), share=1, cut=True),
    "request lost": _on_writes(lambda random: LoseRequest(), share=0.5),
    "answer lost": _on_writes(lambda random: LoseAnswer(), share=0.5),
    "all lost": _on_all(lambda random: LoseRequest(), share=1, cut=True),
    "stall": _on_all(lambda random: Stall(random.uniform(0, LONGEST_STALL)), share=0.5),
    "watch expired": expired_watches,
    "watch cut": cut_watches,
    "watch silent": silent_watches,
    "403 in one namespace": _in_one_namespace(
        lambda random: Refuse(403, "admission webhook denied the request")
    ),
    "500 in one namespace": _in_one_namespace(lambda random: Refuse(500, "internal error")),
    "API server killed": killed_api_server,
    "etcd killed": killed_etcd,
}
"""All troubles."""
