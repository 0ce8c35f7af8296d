"""A page that is open in a real browser, and when it shows what was posted."""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from bench.gateway import Gateway
from bench.waiting import BenchmarkError
from hack import web

_SECONDS: Final = 60.0


class Page:
    """A user's page; `page` opens it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def shows(self, title: str) -> float:
        """Wait until a notification is on the page; return when, as `time.time` does.

        Raises
        ------
        BenchmarkError
            If it does not come, or the browser ends.
        """
        while (line := await self.line()).get("title") != title:
            continue
        return float(line["at"]) / 1000

    async def line(self) -> dict[str, Any]:
        """Wait for what the page says next."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_SECONDS):
                said = await self._process.stdout.readline()
        except TimeoutError:
            raise BenchmarkError(f"the page shows nothing new within {_SECONDS} s") from None
        if not said:
            raise BenchmarkError("the browser has ended")
        found: dict[str, Any] = json.loads(said)
        return found


@asynccontextmanager
async def page(place: Gateway, user: str) -> AsyncIterator[Page]:
    """Open a user's page, from when it is told of news on.

    Raises
    ------
    hack.cluster.errors.ClusterError
        If there is no browser.
    """
    browser = await asyncio.to_thread(web.browser_environment)
    given = json.dumps({"url": place.process.url, "token": place.token(user)})
    process = await asyncio.create_subprocess_exec(
        *("node", "bench/page.mjs"),
        cwd=web.WEB,
        env=os.environ | browser | {"PAGE": given},
        stdin=PIPE,
        stdout=PIPE,
    )
    try:
        opened = Page(process)
        while await opened.line():
            continue
        yield opened
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
