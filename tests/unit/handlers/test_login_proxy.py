"""Through which proxy kopf reaches the API server."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import kopf
import pytest

from notifications_operator.handlers.login import credentials_of
from notifications_operator.handlers.resources import make_settings
from notifications_operator.settings import WatchSettings


def credentials(monkeypatch: pytest.MonkeyPatch, path: Path, **cluster: Any) -> kopf.ConnectionInfo:
    """Return the credentials of a kubeconfig."""
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example.com", **cluster}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (path / "config").write_text(json.dumps(content))
    monkeypatch.setenv("KUBECONFIG", str(path / "config"))
    monkeypatch.delenv("https_proxy", raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    settings = make_settings(WatchSettings())
    return credentials_of(settings=settings, logger=logging.getLogger(__name__))


def test_the_proxy_is_the_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert credentials(monkeypatch, tmp_path).proxy_url == "http://proxy:3128"


def test_a_kubeconfigs_proxy_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = credentials(monkeypatch, tmp_path, **{"proxy-url": "http://other:1"})
    assert info.proxy_url == "http://other:1"
