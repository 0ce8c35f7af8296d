"""One large inbox among many on PostgreSQL: how long a page, a search, the counts and topics take.

Needs no cluster: ``python -m bench.inbox`` measures these figures alone, and with ``--explain``
shows how PostgreSQL finds what is asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final
from uuid import uuid4

import aiohttp
import asyncpg
from sqlalchemy import event
from starlette.requests import HTTPConnection

from bench.environment import Environment
from bench.figures import Figure, table
from notifications_operator.gateway.columns import now
from notifications_operator.gateway.connections import ConnectionTimeouts
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.filters import Filters, Page
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from notifications_operator.gateway.inbox.types import Payload, Row
from notifications_operator.gateway.principals import Access, Principal, UserPrincipal
from notifications_operator.gateway.rest.application import BASE_PATH, rest_application
from notifications_operator.gateway.rest.bodies import BodyLimits, read_body
from notifications_operator.gateway.rest.reading import read_router
from notifications_operator.gateway.server import Listener
from tests.support.postgres import Postgres

ROWS: Final = 1_000_000
_USER: Final = "user:default/ada"
_SHARE: Final = 100
"""One row in so many is this user's, evenly among the others'."""
_OTHERS: Final = 50_000
_BROADCASTS: Final = 500
_SAMPLES: Final = 500
_WARM: Final = 20
_BATCH: Final = 256
"""Rows of one delivery by the operator."""
_DELIVERED: Final = 10_240
_PEER: Final = "SELECT 1"
_PATHS: Final = {
    "page": "/notifications?limit=5",
    "search": "/notifications?limit=5&search=step%203%20says",
    "status": "/status",
    "topics": "/topics",
}
"""What is asked for by HTTP too, client and server in this process."""

_FILL: Final = f"""
INSERT INTO notification (
  id, recipient, uid, sequence, identity, origin, title, description, link, severity, topic,
  search_head, created, delivered, changed, read, saved
)
SELECT
  md5('id' || n)::uuid,
  CASE WHEN n % {_SHARE} = 0 THEN '{_USER}'
       ELSE 'user:default/u' || (hashint4(n) & 2147483647) % {_OTHERS} END,
  md5('uid' || n), n, md5(n::text), 'plugin:' || n / {_SHARE} % 12,
  'Build ' || n || ' of the pipeline has ended', words, '/builds/' || n, n / {_SHARE} % 4,
  CASE WHEN n % 3 > 0 THEN 'topic-' || n / {_SHARE} % 40 END,
  lower('build ' || n || ' of the pipeline has ended' || chr(10) || words),
  moment, moment, moment,
  CASE WHEN n / {_SHARE} % 10 > 0 THEN moment END,
  CASE WHEN n / {_SHARE} % 50 = 0 THEN moment END
FROM (
  SELECT n, now() - (($1 - n) * interval '20 seconds') AS moment,
    'Step ' || n % 7 || ' says: ' || md5('a' || n) || ' ' || md5('b' || n) || ' '
      || md5('c' || n) || '; see the log for what led to it and whom to ask.' AS words
  FROM generate_series(1, $1) AS n
) AS numbers
"""

Question = Callable[[], Awaitable[object]]


async def inbox(environment: Environment, rows: int) -> list[Figure]:
    """Measure an inbox of a hundredth of so many rows."""
    environment.log(f"an inbox among {rows} rows")
    return await measure(rows)


async def measure(rows: int, *, explain: bool = False) -> list[Figure]:
    """Measure an inbox of a hundredth of so many rows; prints the plans if asked to."""
    server = await asyncio.to_thread(Postgres.start, shared_buffers="512MB")
    try:
        settings = DatabaseSettings.model_validate({"url": server.url()})
        database = Database(settings)
        await database.start()
        try:
            return await _measure(database, server.url(), rows, explain=explain)
        finally:
            await database.close()
    finally:
        await asyncio.to_thread(server.stop)


async def _measure(database: Database, url: str, rows: int, *, explain: bool) -> list[Figure]:
    found = Inbox(database)
    await found.status(_USER)
    connection = await asyncpg.connect(url)
    await connection.execute(_FILL.replace("$1", str(rows)))
    await found.deliver([_row("", number) for number in range(_BROADCASTS)])
    await connection.execute("VACUUM ANALYZE")
    figures = []
    try:
        bare = await _percentiles(lambda: connection.fetchval("SELECT 1"))
        asked = _questions(found)
        for name, question in asked.items():
            figures += _figures(f"inbox-{rows}.{name}", await _percentiles(question), bare)
            if explain:
                await _explain(database, connection, name, question)
        async with _served(found) as get:
            for name, path in _PATHS.items():
                times = await _percentiles(partial(get, path))
                figures += _figures(f"inbox-{rows}.http.{name}", times, bare)
    finally:
        await connection.close()
    speed = await _deliver(found)
    return [*figures, Figure(figure=f"inbox-{rows}.deliver", value=speed, unit="rows/s")]


def _figures(name: str, own: tuple[float, float], bare: tuple[float, float]) -> list[Figure]:
    return [
        Figure(figure=f"{name}.{part}", value=value, unit="ms", peer=_PEER, peer_value=other)
        for part, value, other in zip(("p50", "p99"), own, bare, strict=True)
    ]


def _questions(found: Inbox) -> dict[str, Question]:
    """Return what a page asks for, by name."""
    every, unread = Filters(), Filters(read=False)
    first = Page(limit=5)
    searches = {
        "search": Filters(search="step 3 says"),
        "search-rare": Filters(search="build 500000 "),
    }
    return {
        "page": lambda: found.list(_USER, every, first),
        "page-unread": lambda: found.list(_USER, unread, first),
        "page-100": lambda: found.list(_USER, every, Page(limit=20, offset=2000)),
        **{name: partial(found.list, _USER, filters, first) for name, filters in searches.items()},
        "status": lambda: found.status(_USER),
        "topics": lambda: found.topics(_USER, every),
        "settings": lambda: found.settings(_USER),
    }


class _Ada:
    """Takes whoever asks for the user of the large inbox."""

    async def authenticate(self, connection: HTTPConnection) -> Principal | None:
        return UserPrincipal(entity_ref=_USER)


@asynccontextmanager
async def _served(found: Inbox) -> AsyncIterator[Callable[[str], Awaitable[object]]]:
    """Serve the reading routes from this process; yields what asks for a path."""
    read = partial(read_body, limits=BodyLimits(max_bytes=0, seconds=1))
    router = read_router(found, Access(_Ada()), read_body=read)
    application = rest_application(notifications=[router], cors_origins=[])
    listener = Listener(
        application,
        host="127.0.0.1",
        port=0,
        grace=1,
        ping_interval=60,
        timeouts=ConnectionTimeouts(head=15, write=60),
    )
    base = f"http://127.0.0.1:{await listener.start()}{BASE_PATH}"
    async with aiohttp.ClientSession(raise_for_status=True) as session:

        async def get(path: str) -> bytes:
            async with session.get(base + path) as answer:
                return await answer.read()

        try:
            yield get
        finally:
            await listener.stop()


async def _percentiles(question: Question) -> tuple[float, float]:
    """Return the median and the 99th percentile in milliseconds."""
    times = []
    for number in range(_WARM + _SAMPLES):
        begin = time.perf_counter()
        await question()
        if number >= _WARM:
            times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times), statistics.quantiles(times, n=100)[-1]


async def _deliver(found: Inbox) -> float:
    """Deliver one notification to a large group; returns rows a second."""
    begin = time.perf_counter()
    for start in range(0, _DELIVERED, _BATCH):
        batch = [_row(f"user:default/u{start + number}", start) for number in range(_BATCH)]
        await found.deliver(batch)
    return _DELIVERED / (time.perf_counter() - begin)


def _row(user: str, number: int) -> Row:
    return Row(
        user=user,
        uid=f"bench-{number}-{uuid4()}",
        sequence=1,
        identity=uuid4().hex,
        origin="plugin:bench",
        created=now(),
        payload=Payload(title=f"Number {number}", description="words " * 30, topic="bench"),
    )


async def _explain(database: Database, connection: Any, name: str, question: Question) -> None:
    """Print the plans of the statements that a question leads to."""
    with _recorded(database) as statements:
        await question()
    for statement, parameters in statements:
        plan = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", *parameters)
        print(f"--- {name}", *(line[0] for line in plan), sep="\n")


@contextmanager
def _recorded(database: Database) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    statements: list[tuple[str, tuple[Any, ...]]] = []

    def note(_c: Any, _cursor: Any, text: str, parameters: Any, *_: Any) -> None:
        statements.append((text, tuple(parameters)))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def main() -> int:
    """Measure and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.inbox", description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=ROWS, help="(default: %(default)s)")
    parser.add_argument("--explain", action="store_true", help="print PostgreSQL's plans")
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.rows, explain=arguments.explain))
    print(table(figures), *(figure.to_json() for figure in figures), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
