"""Backstage's own clients from npm, unmodified, run by Node.js.

What they are made of besides (React and all that draws) is replaced by an empty package in
``package.json``: the clients do not touch it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from hack.node_packages import installed

_SOURCE: Final = Path(__file__).parent
_FLAGS: Final = ("--no-warnings", "--experimental-websocket", "--experimental-detect-module")
"""What Node.js 20 needs and later ones have anyway."""


_LONGEST_LINE: Final = 1 << 20
"""Most octets of an answer."""


class _Script:
    """A running script that takes and writes lines of JSON."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def write(self, command: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def read(self) -> Any:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "Node.js ended"
        return json.loads(line)


@asynccontextmanager
async def _running(script: str, base_url: str) -> AsyncIterator[_Script]:
    node = shutil.which("node")
    assert node is not None, "Node.js is needed"
    modules = await asyncio.to_thread(installed, _SOURCE)
    process = await asyncio.create_subprocess_exec(
        node,
        *_FLAGS,
        _SOURCE / script,
        modules,
        base_url,
        stdin=PIPE,
        stdout=PIPE,
        limit=_LONGEST_LINE,
    )
    try:
        yield _Script(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class SignalsClient:
    """A running ``SignalClient``."""

    def __init__(self, script: _Script) -> None:
        self._script = script

    async def tell(self, **command: str) -> None:
        """Give a command, see ``signals.mjs``."""
        await self._script.write(command)

    async def next(self) -> tuple[str, Any]:
        """Wait for a signal; returns its channel and message."""
        channel, message = await self._script.read()
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
    async with _running("signals.mjs", base_url) as script:
        client = SignalsClient(script)
        await client.tell(token=token)
        yield client


class ClientError(Exception):
    """What a method of Backstage's client threw.

    Attributes
    ----------
    name, cause, body, status, status_text
        Of a ``ResponseError`` of ``@backstage/errors``; another error has no more than a name. The
        cause is the error that the gateway sent, by its ``name`` and ``message``.
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error["message"])
        self.name: str = error["name"]
        self.cause: Mapping[str, str] | None = error.get("cause")
        self.body: Mapping[str, Any] | None = error.get("body")
        self.status: int | None = error.get("statusCode")
        self.status_text: str | None = error.get("statusText")


class NotificationsClient:
    """A running ``NotificationsClient``."""

    def __init__(self, script: _Script) -> None:
        self._script = script

    async def show(self, token: str | None) -> None:
        """Show another token from now on, or none."""
        await self._script.write({"token": token})

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method; returns what it resolves to.

        Raises
        ------
        ClientError
            If it throws.
        """
        await self._script.write({"call": method, "arguments": arguments})
        async with asyncio.timeout(60):
            answer = await self._script.read()
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["value"]


@asynccontextmanager
async def notifications_client(
    base_url: str, *, token: str | None
) -> AsyncIterator[NotificationsClient]:
    """Run Backstage's notifications client; the parameters are those of `signals_client`."""
    async with _running("notifications.mjs", base_url) as script:
        client = NotificationsClient(script)
        await client.show(token)
        yield client
