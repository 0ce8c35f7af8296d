"""Issuers that answer badly: over real sockets."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from notifications_operator.gateway.identity.documents import (
    MAX_DOCUMENT_BYTES,
    DocumentError,
    DocumentReader,
    make_session,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with make_session() as session:
        yield session


@pytest.fixture
def reader(session: aiohttp.ClientSession) -> DocumentReader:
    return DocumentReader(session, allow_http=True, timeout=30)


def answering(
    body: bytes = b"{}", *, status: int = 200, headers: dict[str, str] | None = None
) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    return answer


async def refusal(reader: DocumentReader, url: str) -> str:
    with pytest.raises(DocumentError) as raised:
        await reader.get(url)
    return str(raised.value)


async def test_document(reader: DocumentReader) -> None:
    async with serving(answering(b'{"keys": []}')) as url:
        assert await reader.get(f"{url}/jwks") == {"keys": []}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "it is no JSON"),
        (b"<html>", "it is no JSON"),
        (b"\xff\xfe", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it is no JSON object"),
        (b"null", "it is no JSON object"),
        (b" " * (MAX_DOCUMENT_BYTES + 1), "it has more than 262144 bytes"),
    ],
)
async def test_no_document(body: bytes, expected: str, reader: DocumentReader) -> None:
    async with serving(answering(body)) as url:
        assert await refusal(reader, f"{url}/jwks") == f"{url}/jwks: {expected}"


@pytest.mark.parametrize("status", [201, 204, 400, 401, 404, 500, 503])
async def test_status(status: int, reader: DocumentReader) -> None:
    async with serving(answering(status=status)) as url:
        with pytest.raises(DocumentError, match=f"it answered {status}") as raised:
            await reader.get(url)
        assert raised.value.status == status


async def test_compressed(reader: DocumentReader) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    async with serving(answering(bomb, headers={"Content-Encoding": "gzip"})) as url:
        assert "compressed" in await refusal(reader, url)


async def test_endless(reader: DocumentReader) -> None:
    written = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while written < 100_000_000:
                await response.write(b" " * 65_536)
                written += 65_536
        except (ConnectionError, aiohttp.ClientConnectionResetError):
            pass
        return response

    async with serving(endless) as url:
        assert "it has more than" in await refusal(reader, url)
    assert written < 100_000_000


async def test_hanging(session: aiohttp.ClientSession) -> None:
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    reader = DocumentReader(session, allow_http=True, timeout=0.2)
    async with serving(hang) as url:
        assert "no answer within 0.2 s" in await refusal(reader, url)
        released.set()


async def test_nobody_there(reader: DocumentReader) -> None:
    async with serving(answering()) as url:
        pass
    assert "ClientConnectorError" in await refusal(reader, url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_on_the_same_host(status: int, reader: DocumentReader) -> None:
    async def redirect(request: web.Request) -> web.Response:
        if request.path == "/old":
            return web.Response(status=status, headers={"Location": "/new?a=b"})
        return web.json_response({"path": request.path_qs})

    async with serving(redirect) as url:
        assert await reader.get(f"{url}/old") == {"path": "/new?a=b"}


async def test_redirect_elsewhere(reader: DocumentReader) -> None:
    asked = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({})

    async with serving(elsewhere) as other:
        port = other.rpartition(":")[2]
        for location in (
            f"{other}/jwks",
            f"//127.0.0.1:{port}/jwks",
            "file:///etc/passwd",
            "https://example.com/",
            "http://[",
            "http://127.0.0.1:99999999/",
        ):
            handler = answering(status=302, headers={"Location": location})
            async with serving(handler) as url:
                assert "it redirects to another host" in await refusal(reader, url)
    assert asked == []


async def test_redirects_in_circles(reader: DocumentReader) -> None:
    async with serving(answering(status=302, headers={"Location": "/again"})) as url:
        assert "more than 3 redirects" in await refusal(reader, url)


async def test_redirect_without_target(reader: DocumentReader) -> None:
    async with serving(answering(status=302)) as url:
        assert "more than 3 redirects" in await refusal(reader, url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "file:///etc/passwd", "ftp://a/", "//a/b", "", "javascript:1"]
)
async def test_https_only(url: str, session: aiohttp.ClientSession) -> None:
    reader = DocumentReader(session, allow_http=False, timeout=5)
    assert "it must be an https URL" in await refusal(reader, url)


@pytest.mark.parametrize("url", ["https://", "https://[", "http://127.0.0.1:0x1/", "http://a\nb/"])
async def test_no_url(url: str, reader: DocumentReader) -> None:
    await refusal(reader, url)


async def test_form_is_never_redirected(reader: DocumentReader) -> None:
    async with serving(answering(status=307, headers={"Location": "/other"})) as url:
        with pytest.raises(DocumentError, match="it answered with a redirect"):
            await reader.post_form(url, {"code": "secret"})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": "invalid_grant"}', "it answered 400 (invalid_grant)"),
        (b'{"error": "a\\r\\nb"}', "it answered 400"),
        (b'{"error": 7}', "it answered 400"),
        (b"[]", "it answered 400"),
        (b"<html>", "it answered 400"),
    ],
)
async def test_oauth_error(body: bytes, expected: str, reader: DocumentReader) -> None:
    async with serving(answering(body, status=400)) as url:
        with pytest.raises(DocumentError) as raised:
            await reader.post_form(url, {})
        assert str(raised.value) == f"{url}: {expected}"


async def test_no_cookies_are_kept(reader: DocumentReader) -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.json_response({}, headers={"Set-Cookie": "a=b"})

    async with serving(answer) as url:
        await reader.get(url)
        await reader.get(url)
    assert seen == [None, None]


async def test_proxy_of_the_environment(
    reader: DocumentReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def proxy(request: web.Request) -> web.Response:
        return web.json_response({"asked": str(request.url)})

    async with serving(proxy) as url:
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("no_proxy", "inside.example")
        document = await reader.get("http://login.example/jwks?a=b")
        assert document == {"asked": "http://login.example/jwks?a=b"}
        assert "ClientConnector" in await refusal(reader, "http://inside.example/jwks")


async def test_password_of_a_netrc_is_not_used(
    reader: DocumentReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({})

    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with serving(answer) as url:
        await reader.get(url)
    assert seen == [None]
