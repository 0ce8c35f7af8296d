"""The web page's files and headers."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from notifications_operator.gateway.page.routes import CONTENT_SECURITY_POLICY, page_router
from notifications_operator.gateway.page.settings import PageSettings

MOCK_SERVER = Path(__file__).parents[4] / "web" / "test" / "server" / "server.ts"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    for name in ("index.html", "favicon.svg", "notifications.js", "assets/index-1.js"):
        (tmp_path / name).write_text(name)
    return tmp_path


async def get(settings: PageSettings, path: str, *, login: bool = True) -> httpx.Response:
    application = FastAPI()
    router = page_router(settings, app_base_url="https://portal.example.com", login=login)
    assert router is not None
    application.include_router(router)
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.get(path)


async def test_the_page_may_load_nothing_from_elsewhere(built: Path) -> None:
    answer = await get(PageSettings(directory=built), "/")
    assert (answer.text, answer.headers["Content-Type"]) == (
        "index.html",
        "text/html; charset=utf-8",
    )
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert answer.headers["Cache-Control"] == "no-cache"


def test_browsers_are_tested_under_the_same_policy() -> None:
    written = re.search(r"export const CSP = \[(.*?)\]", MOCK_SERVER.read_text(), re.DOTALL)
    assert written is not None
    assert "; ".join(re.findall(r'"(.*)"', written[1])) == CONTENT_SECURITY_POLICY


async def test_what_never_changes_is_kept(built: Path) -> None:
    answer = await get(PageSettings(directory=built), "/assets/index-1.js")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert (await get(PageSettings(directory=built), "/assets/none.js")).status_code == 404
    assert (await get(PageSettings(directory=built), "/assets/../index.html")).status_code != 200


async def test_other_pages_may_load_the_elements(built: Path) -> None:
    answer = await get(PageSettings(directory=built), "/notifications.js")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


async def test_the_page_is_told_of_the_gateway(built: Path) -> None:
    settings = PageSettings(directory=built, title="Inbox", snackbar_auto_hide_duration=None)
    told = (await get(settings, "/page.json")).json()
    assert (told["title"], told["snackbarAutoHideDuration"]) == ("Inbox", None)
    assert told["appBaseUrl"] == "https://portal.example.com"
    assert told["signInUrl"] == "/auth/login"
    assert (await get(settings, "/page.json", login=False)).json()["signInUrl"] is None


def test_without_a_build_there_is_no_page(tmp_path: Path) -> None:
    assert page_router(PageSettings(directory=tmp_path), app_base_url=None, login=False) is None
