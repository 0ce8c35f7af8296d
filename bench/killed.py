"""A broadcast whose operator is killed three times: everybody gets it, and almost nobody twice."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from pathlib import Path

from bench.broadcast import SECONDS_PER_MAIL
from bench.environment import NAMESPACE, Environment
from bench.figures import Figure
from bench.postfix import Sink, running_sink
from bench.waiting import BenchmarkError, deliveries
from tests.support.kubernetes import notification

KILLS = 3
CLAIM_WINDOW = 128
"""Most deliveries that one kill may leave in doubt (DESIGN section 2.2)."""

PROCESSOR = "ledger"
_RCPT = re.compile(rb"^X-Rcpt-Args: <([^>]*)>", re.MULTILINE)


async def killed(environment: Environment, users: int) -> list[Figure]:
    """Measure one broadcast to so many users, killed at a quarter, a half and three quarters."""
    environment.log(f"broadcast to {users} users, killed {KILLS} times")
    await environment.use_catalog(users)
    dump = environment.directory / f"mails-{users}"
    with running_sink(environment.postfix, environment.directory, dump=dump) as sink:
        await _use(environment, sink)
        started = time.perf_counter()
        doubtful, summary = await _run(environment, sink, users)
        seconds = time.perf_counter() - started
    times = received(dump)
    dump.unlink()
    name = f"killed-{users}"
    if len(times) != users or summary != f"{users}/{users}":
        raise BenchmarkError(f"{len(times)} of {users} got it; the status says {summary}")
    copies = times.total() - users
    if copies > doubtful:
        raise BenchmarkError(f"{copies} copies, though only {doubtful} were in doubt")
    return [
        Figure(figure=f"{name}.recipients", value=len(times), unit="users that got it"),
        Figure(
            figure=f"{name}.copies",
            value=copies,
            unit="mails sent twice",
            peer=f"in doubt after {KILLS} kills",
            peer_value=float(doubtful),
        ),
        Figure(figure=f"{name}.seconds", value=seconds, unit="s, restarts included"),
    ]


async def _run(environment: Environment, sink: Sink, users: int) -> tuple[int, str]:
    """Broadcast and kill; return how many were in doubt, and the summary of the end."""
    namespace = await environment.new_namespace()
    installation = environment.installation
    doubtful = 0
    async with deliveries(environment.kubernetes, namespace) as delivered:
        installation.start()
        try:
            await asyncio.to_thread(installation.wait_ready, 300)
            await environment.kubernetes.create(
                notification("everybody", namespace, title="To everybody", processors=[PROCESSOR])
            )
            for number in range(1, KILLS + 1):
                await _reach(sink, users * number // (KILLS + 1), users)
                installation.kill()
                doubtful += await _claimed(environment, namespace)
                installation.start()
                await asyncio.to_thread(installation.wait_ready, 300)
            await delivered.wait(1, seconds=120 + users * SECONDS_PER_MAIL)
            await asyncio.to_thread(installation.stop)
        finally:
            installation.close()
    return doubtful, delivered.bodies["everybody"]["status"]["summary"]


async def _use(environment: Environment, sink: Sink) -> None:
    """Make a processor that sends to a sink of this figure's own."""
    await environment.kubernetes.delete("NotificationProcessor", PROCESSOR, NAMESPACE)
    kind = "NotificationProcessor"
    (like,) = await environment.kubernetes.list(kind, NAMESPACE)
    email = like["spec"]["email"]
    email["transportConfig"]["port"] = sink.port
    await environment.kubernetes.create(
        {
            "apiVersion": like["apiVersion"],
            "kind": kind,
            "metadata": {"name": PROCESSOR, "namespace": NAMESPACE},
            "spec": {"type": "email", "email": email, "retry": {"minDelay": "1s"}},
        }
    )


async def _reach(sink: Sink, count: int, users: int) -> None:
    end = time.monotonic() + 120 + users * SECONDS_PER_MAIL
    while sink.messages() < count:
        if time.monotonic() > end:
            raise BenchmarkError(f"only {sink.messages()} of {count} mails came")
        await asyncio.sleep(0.02)


async def _claimed(environment: Environment, namespace: str) -> int:
    """Count what a process that was killed has left in doubt."""
    kubernetes = environment.kubernetes
    body = await kubernetes.get("Notification", "everybody", namespace)
    slices = await kubernetes.list("NotificationDeliverySlice", namespace)
    sliced = (body["status"].get("ledger") or {}).get("type") == "Slices"
    letters = Counter("".join(item["states"] for item in slices))
    rows = [row["state"] for row in body["status"].get("deliveries", ())]
    claimed = letters["C"] if sliced else rows.count("Claimed")
    if claimed > CLAIM_WINDOW:
        raise BenchmarkError(f"{claimed} deliveries were claimed; the window is {CLAIM_WINDOW}")
    return claimed


def received(dump: Path) -> Counter[bytes]:
    """Count the mails of each recipient in what `smtp-sink` has written down."""
    return Counter(_RCPT.findall(dump.read_bytes()))
