"""A real, certified OpenID provider: npm's ``oidc-provider``, run by Node.js."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any, Final

import httpx

from hack.node_packages import installed
from tests.support.issuer import SigningKey

_SOURCE: Final = Path(__file__).parent
_START_TIMEOUT: Final = 120
_FORM_ACTION: Final = re.compile(r'<form[^>]*\baction="([^"]+)"')
_PROMPT: Final = re.compile(r'name="prompt" value="(\w+)"')
_MAX_STEPS: Final = 12

Client = Mapping[str, Any]


@asynccontextmanager
async def openid_provider(
    *,
    clients: Sequence[Client],
    accounts: Mapping[str, Mapping[str, Any]],
    keys: Sequence[SigningKey],
    short_id_tokens: bool = True,
    port: int = 0,
) -> AsyncIterator[str]:
    """Run a provider; yields its issuer.

    Parameters
    ----------
    clients
        As RFC 7591 describes them.
    accounts
        Claims by subject; any password is right.
    keys
        The first of an algorithm signs.
    short_id_tokens
        Whether claims that scopes ask for are left out of ID tokens, as the standard has it.
    """
    node = shutil.which("node")
    assert node is not None, "Node.js is needed"
    modules = await asyncio.to_thread(installed, _SOURCE)
    process = await asyncio.create_subprocess_exec(
        node, _SOURCE / "provider.mjs", modules, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    wanted = {
        "port": port,
        "clients": clients,
        "accounts": accounts,
        "jwks": {"keys": [key.private for key in keys]},
        "shortIdTokens": short_id_tokens,
    }
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


async def log_in(url: str, subject: str, *, until: str) -> str:
    """Log in at the provider as a person would; return where it sends the browser in the end.

    Parameters
    ----------
    url
        The authorization request.
    subject
        Who logs in.
    until
        Beginning of the URL that ends it, which is not asked for.
    """
    async with httpx.AsyncClient(timeout=60) as browser:
        response = await browser.get(url)
        for _ in range(_MAX_STEPS):
            if response.is_redirect:
                target = str(response.url.join(response.headers["location"]))
                if target.startswith(until):
                    return target
                response = await browser.get(target)
                continue
            form, prompt = _FORM_ACTION.search(response.text), _PROMPT.search(response.text)
            assert form is not None, response.text
            assert prompt is not None, response.text
            fields = {"prompt": prompt[1]}
            if prompt[1] == "login":
                fields |= {"login": subject, "password": "any"}
            action = response.url.join(unescape(form[1]))
            response = await browser.post(action, data=fields)
    raise AssertionError(f"no way to {until}, but {response.url}")
