"""Backstage's own clients from npm, unmodified, run by Node.js.

What they are made of besides (React and all that draws) is replaced by an empty package in
``package.json``: the clients do not touch it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from hack.node_packages import installed

_SOURCE: Final = Path(__file__).parent
_FLAGS: Final = ("--no-warnings", "--experimental-websocket", "--experimental-detect-module")
"""What Node.js 20 needs and later ones have anyway."""


class SignalsClient:
    """A running ``SignalClient``."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def tell(self, **command: str) -> None:
        """Give a command, see ``signals.mjs``."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def next(self) -> tuple[str, Any]:
        """Wait for a signal; returns its channel and message."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "Node.js ended"
        channel, message = json.loads(line)
        return channel, message


@asynccontextmanager
async def signals_client(base_url: str, *, token: str) -> AsyncIterator[SignalsClient]:
    """Run Backstage's signals client.

    Parameters
    ----------
    base_url
        Where Backstage's discovery would say that plugins are, without ``/api``.
    token
        What it shows first.
    """
    node = shutil.which("node")
    assert node is not None, "Node.js is needed"
    modules = await asyncio.to_thread(installed, _SOURCE)
    process = await asyncio.create_subprocess_exec(
        node, *_FLAGS, _SOURCE / "signals.mjs", modules, base_url, stdin=PIPE, stdout=PIPE
    )
    client = SignalsClient(process)
    try:
        await client.tell(token=token)
        yield client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
