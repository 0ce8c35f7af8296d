"""One POST at a time: until its rows are answered, until the user's open socket has the signal, and
until the user's open page shows it.

Between the two ends are the gateway, the API server, the operator, the gateway again, PostgreSQL
and its NOTIFY; for the page also a browser, which asks for the list. The peer is the bare loop: a
Notification that is created and patched twice.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from bench.bare_loop import bare_loop
from bench.environment import Environment
from bench.figures import Figure, percentiles
from bench.gateway import Gateway, gateway
from bench.page import Page, page
from bench.signals_wire import ClientSocket
from bench.single import USERS, WARM_UP, deliver
from bench.waiting import BenchmarkError, deliveries

_USER: Final = "user-000000"
_SECONDS: Final = 60.0
_WARM: Final = 3
_PAGE_SHARE: Final = 5
"""So many POSTs of which one is waited for on the page."""

_REST: Final = 2.5
"""Seconds between POSTs to the page: it looks at most every two (`web/src/model/live.ts`)."""

_PEER: Final = "bare loop, one at a time"


async def live(environment: Environment, samples: int) -> list[Figure]:
    """Measure POSTs to one user whose page is open."""
    environment.log(f"signals of {samples} POSTs")
    await environment.use_catalog(USERS)
    namespace = await environment.new_namespace()
    async with bare_loop(environment.operator_kubeconfig, namespace, in_flight=1):
        peer = await _bare(environment, namespace, samples)
    async with gateway(environment) as place, place.operator():
        async with _listening(place) as signals:
            for number in range(_WARM):
                await _post(place, signals, number)
            own = [await _post(place, signals, _WARM + number) for number in range(samples)]
        async with page(place, _USER) as opened:
            shown = [
                await _show(place, opened, number)
                for number in range(max(samples // _PAGE_SHARE, 2))
            ]
    figures = []
    for part, seconds in (
        ("signal", [signal for _, signal in own]),
        ("page", shown),
        ("answer", [answer for answer, _ in own]),
    ):
        pairs = zip(("p50", "p99"), percentiles(seconds), percentiles(peer), strict=True)
        figures += [
            Figure(
                figure=f"live.{part}.{which}",
                value=value * 1000,
                unit="ms",
                peer=_PEER,
                peer_value=other * 1000,
            )
            for which, value, other in pairs
        ]
    return figures


@dataclass
class _Signals:
    """When the socket got which notification."""

    moments: dict[str, float] = field(default_factory=dict)
    problem: str = ""
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def receive(self, text: bytes) -> None:
        """Note a signal."""
        self.moments[json.loads(text)["message"]["notification_id"]] = time.perf_counter()
        self._changed.set()

    def close(self, why: bytes) -> None:
        """Note the end."""
        self.problem = why.decode(errors="replace")
        self.opened.set()
        self._changed.set()

    async def of(self, notification: str) -> float:
        """Wait for the signal of a notification, and return its moment."""
        try:
            async with asyncio.timeout(_SECONDS):
                while notification not in self.moments:
                    self._changed.clear()
                    if self.problem:
                        raise BenchmarkError(f"the socket was closed: {self.problem}")
                    await self._changed.wait()
        except TimeoutError:
            raise BenchmarkError(f"no signal came within {_SECONDS} s") from None
        return self.moments[notification]


@asynccontextmanager
async def _listening(place: Gateway) -> AsyncIterator[_Signals]:
    """Open the user's socket."""
    signals = _Signals()

    def make() -> ClientSocket:
        return ClientSocket(
            place.token(_USER),
            opened=signals.opened.set,
            received=signals.receive,
            closed=signals.close,
        )

    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(make, "127.0.0.1", place.process.port)
    try:
        async with asyncio.timeout(_SECONDS):
            await signals.opened.wait()
        if signals.problem:
            raise BenchmarkError(f"the socket was refused: {signals.problem}")
        yield signals
    finally:
        socket.close()


async def _post(place: Gateway, signals: _Signals, number: int) -> tuple[float, float]:
    """Return the seconds from the request until its answer, and until the signal."""
    start = time.perf_counter()
    [row] = await place.post(_body(f"Number {number}"), wait=True)
    answered = time.perf_counter()
    return answered - start, await signals.of(row["id"]) - start


async def _show(place: Gateway, opened: Page, number: int) -> float:
    """Return the seconds from the request until the browser shows it."""
    await asyncio.sleep(_REST)
    title = f"On the page {number}"
    start = time.time()
    await place.post(_body(title), wait=True)
    return await opened.shows(title) - start


def _body(title: str) -> dict[str, object]:
    return {
        "recipients": {"type": "entity", "entityRef": f"user:default/{_USER}"},
        "payload": {"title": title, "topic": "bench"},
    }


async def _bare(environment: Environment, namespace: str, samples: int) -> Sequence[float]:
    async with deliveries(environment.kubernetes, namespace) as delivered:
        await deliver(environment, namespace, delivered, WARM_UP, 0)
        return [
            await deliver(environment, namespace, delivered, f"n-{number}", number)
            for number in range(samples)
        ]
