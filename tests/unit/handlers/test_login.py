"""kopf logs in again and again: a refused token may be good a moment later."""

from __future__ import annotations

from pathlib import Path

import kopf
import pytest
import yaml
from kopf._cogs.structs.credentials import LoginError, Vault

from notifications_operator.handlers import login as module
from notifications_operator.handlers.login import Login

KUBECONFIG = {
    "current-context": "one",
    "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
    "clusters": [{"name": "one", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "one", "user": {"token": "the-one-and-only"}}],
}


@pytest.fixture(autouse=True)
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(KUBECONFIG))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0, 0.01))


async def refuse(vault: Vault) -> None:
    """Refuse the credentials that the vault has now, as an answer of 401 does."""
    key, item = vault.select()
    await vault.populate({})
    async with vault._guard:
        vault._invalid[key] = [*vault._invalid[key][-2:], item]
        del vault._current[key]


async def test_the_same_token_is_taken_again_after_it_was_refused() -> None:
    login, vault = Login(), Vault()
    for _ in range(5):
        info = await login(settings=kopf.OperatorSettings())
        async with info.aiohttp_session as session:
            assert session.headers["Authorization"] == "Bearer the-one-and-only"
        await vault.populate({"login": info})
        assert vault.select()[1].info is info
        await refuse(vault)


async def test_kopf_itself_would_end() -> None:
    """Why `Login` makes each one different; if this fails, kopf has learnt better."""
    vault = Vault()
    info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    assert info is not None
    await vault.populate({"login": info})
    await refuse(vault)
    await vault.populate({"login": info})
    with pytest.raises(LoginError):
        vault.select()


def test_pauses_grow_and_begin_anew_after_a_calm_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0, 1.0, 2.0))
    login = Login()
    assert [login._next_pause(0.0) for _ in range(6)] == [0.0, 0.0, 1.0, 2.0, 2.0, 2.0]
    assert login._next_pause(module.CALM_SECONDS + 1) == 0.0


async def test_missing_credentials_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent/kubeconfig")
    monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: None)
    with pytest.raises(kopf.TemporaryError):
        await Login()(settings=kopf.OperatorSettings())
