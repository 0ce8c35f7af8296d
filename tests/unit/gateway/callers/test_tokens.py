"""Static tokens: who is known, and how the file is followed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.requests import HTTPConnection

from notifications_operator.gateway.callers.settings import CallerSettings
from notifications_operator.gateway.callers.tokens import StaticTokens
from notifications_operator.gateway.errors import NotAllowedError
from notifications_operator.gateway.principals import ServicePrincipal
from notifications_operator.telemetry.redaction import redact
from tests.support.gateway import static, write_callers

FIRST = "first-token-first-token-first-token"
SECOND = "second-token-second-token-second-token"


def connection(authorization: str | None) -> HTTPConnection:
    headers = [] if authorization is None else [(b"authorization", authorization.encode())]
    return HTTPConnection({"type": "http", "headers": headers, "client": ("192.0.2.1", 1)})


def tokens(file: Path | None, interval: float = 0.01) -> StaticTokens:
    return StaticTokens(CallerSettings(file=file, poll_interval=interval), namespace="inbox")


async def subject(known: StaticTokens, token: str) -> str | None:
    principal = await known.authenticate(connection(f"Bearer {token}"))
    return principal.subject if isinstance(principal, ServicePrincipal) else None


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "callers.yaml"
    write_callers(path, [static(FIRST, "external:a")])
    return path


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_token_is_known(file: Path, scheme: str) -> None:
    known = tokens(file)
    await known.load()
    principal = await known.authenticate(connection(f"{scheme} {FIRST}"))
    assert principal == ServicePrincipal(subject="external:a", namespace="inbox")


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", f"Basic {FIRST}", FIRST, f"Bearer {FIRST}x", "Bearer \xff"],
)
async def test_others_may_know_what_is_no_token_of_ours(
    file: Path, authorization: str | None
) -> None:
    known = tokens(file)
    await known.load()
    assert await known.authenticate(connection(authorization)) is None


async def test_a_token_for_another_plugin(file: Path) -> None:
    restricted = {**static(FIRST, "external:a"), "accessRestrictions": [{"plugin": "catalog"}]}
    open_to_us = {
        **static(SECOND, "external:b"),
        "accessRestrictions": [{"plugin": "catalog"}, {"plugin": "notifications"}],
    }
    write_callers(file, [restricted, open_to_us])
    known = tokens(file)
    await known.load()
    with pytest.raises(NotAllowedError, match="restricted to plugin"):
        await known.authenticate(connection(f"Bearer {FIRST}"))
    assert await subject(known, SECOND) == "external:b"


async def test_without_a_file_nobody_is_known() -> None:
    known = tokens(None)
    await known.load()
    assert (known.loaded, known.problem) == (True, None)
    assert await subject(known, FIRST) is None


@pytest.mark.parametrize("start", ["", "# ours\n", "---\n"])
async def test_a_file_with_a_byte_order_mark(file: Path, start: str) -> None:
    file.write_text(f"\ufeff{start}{file.read_text()}")
    known = tokens(file)
    await known.load()
    assert known.problem is None
    assert await subject(known, FIRST) == "external:a"


async def test_a_changed_file_is_read(file: Path) -> None:
    known = tokens(file)
    await known.load()
    task = asyncio.create_task(known.keep_loading())
    write_callers(file, [static(SECOND, "external:b")])
    while await subject(known, SECOND) is None:
        await asyncio.sleep(0.01)
    assert await subject(known, FIRST) is None
    task.cancel()


async def test_a_mounted_secret_changes_by_its_link(tmp_path: Path) -> None:
    """As the kubelet's AtomicWriter does it."""
    for version, token in (("..1", FIRST), ("..2", SECOND)):
        (tmp_path / version).mkdir()
        write_callers(tmp_path / version / "callers.yaml", [static(token, "external:a")])
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "callers.yaml").symlink_to("..data/callers.yaml")
    known = tokens(tmp_path / "callers.yaml")
    await known.load()
    assert await subject(known, FIRST)
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    await known.load()
    assert await subject(known, SECOND)
    assert await subject(known, FIRST) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[", "it is not YAML"),
        (b"\xff", "it is not UTF-8"),
        (b"#" * 1_048_577, "more than 1048576 bytes"),
        (None, "No such file"),
    ],
)
async def test_a_broken_file_keeps_the_callers(
    file: Path, content: bytes | None, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    known = tokens(file)
    await known.load()
    good = file.with_name("good")
    file.rename(good)
    if content is not None:
        file.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        await known.load()
        await known.load()
    assert await subject(known, FIRST) == "external:a"
    assert known.loaded
    assert known.problem is not None
    assert problem in known.problem
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    good.rename(file)
    await known.load()
    assert known.problem is None


async def test_a_file_that_is_broken_from_the_start(tmp_path: Path) -> None:
    known = tokens(tmp_path / "callers.yaml")
    await known.load()
    assert not known.loaded
    write_callers(tmp_path / "callers.yaml", [static(FIRST, "external:a")])
    await known.load()
    assert known.loaded
    assert await subject(known, FIRST)


async def test_tokens_are_not_shown_in_logs(file: Path) -> None:
    await tokens(file).load()
    assert FIRST not in redact(f"asked with {FIRST}")
