"""The OpenID provider of `hack/openid`, for as long as a test needs it."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from hack import openid
from tests.support.issuer import SigningKey

_START_TIMEOUT: Final = 120


@asynccontextmanager
async def openid_provider(
    *,
    clients: Sequence[openid.Document],
    accounts: Mapping[str, openid.Document],
    keys: Sequence[SigningKey],
    short_id_tokens: bool = True,
    port: int = 0,
) -> AsyncIterator[str]:
    """Run a provider; yields its issuer. The parameters are `openid.configuration`'s."""
    command = await asyncio.to_thread(openid.command)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    wanted = openid.configuration(
        clients=clients,
        accounts=accounts,
        keys=[key.private for key in keys],
        short_id_tokens=short_id_tokens,
        port=port,
    )
    try:
        process.stdin.write(json.dumps(wanted).encode() + b"\n")
        async with asyncio.timeout(_START_TIMEOUT):
            while not (line := await process.stdout.readline()).startswith(b"http"):
                assert line, "the provider ended"
        yield line.decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
