"""The demo's OpenID provider: it stays as long as it fits, and asks nobody else for anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hack.demo import identity_provider, services
from hack.demo.errors import DemoError
from hack.demo.place import Place
from hack.openid.login import LoginError, log_in

GATEWAY = "http://127.0.0.1:7007"
NAME = "identity-provider"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = Place("demo")
    place.prepare()
    yield place
    identity_provider.stop(place)


def request(issuer: str) -> str:
    """Return an authorization request as the gateway makes it."""
    query = {
        "client_id": identity_provider.CLIENT,
        "response_type": "code",
        "scope": "openid profile",
        "redirect_uri": f"{GATEWAY}/auth/callback",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
        "state": "state",
    }
    return str(httpx.URL(f"{issuer}/auth", params=query))


async def test_lets_the_catalogs_users_in_and_nobody_else(place: Place) -> None:
    issuer = identity_provider.ensure(place, "127.0.0.1", GATEWAY)

    target = await log_in(request(issuer), identity_provider.USER, until=GATEWAY)

    assert httpx.URL(target).params["code"]
    with pytest.raises(LoginError):
        await log_in(request(issuer), "mallory", until=f"{GATEWAY}/auth/callback?code")


async def test_its_forms_ask_no_other_host(place: Place) -> None:
    issuer = identity_provider.ensure(place, "127.0.0.1", GATEWAY)
    async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as browser:
        form = await browser.get(request(issuer))

    assert 'name="prompt" value="login"' in form.text
    assert "@import" not in form.text
    assert "https:" not in form.text


def test_stays_until_it_no_longer_fits(place: Place) -> None:
    issuer = identity_provider.ensure(place, "127.0.0.1", GATEWAY)
    assert identity_provider.ensure(place, "127.0.0.1", GATEWAY) == issuer

    other = identity_provider.ensure(place, "127.0.0.1", "http://127.0.0.1:7008")

    assert httpx.get(f"{other}/.well-known/openid-configuration").json()["issuer"] == other
    assert services.runs(place.directory, NAME)
    identity_provider.stop(place)
    assert not services.runs(place.directory, NAME)


def test_without_node_it_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)

    with pytest.raises(DemoError, match=r"the OpenID provider: Node\.js with npm is needed"):
        identity_provider.ensure(place, "127.0.0.1", GATEWAY)
