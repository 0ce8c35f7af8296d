"""Logs are one JSON object a line, and hide secrets wherever they are."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from notifications_operator.telemetry.logs import JSONFormatter, configure_logging
from notifications_operator.telemetry.redaction import remember_secrets


@pytest.fixture
def secret() -> Iterator[str]:
    remember_secrets("test_logs", ["hunter22"])
    yield "hunter22"
    remember_secrets("test_logs", ())


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in ("kopf", "aiohttp.access", "asyncio")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def line(message: str, *arguments: object, **options: Any) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    logger = logging.Logger("some.module")
    logger.addHandler(handler)
    logger.error(message, *arguments, **options)
    return stream.getvalue()


def fields(message: str, *arguments: object, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line(message, *arguments, **options))
    return found


def test_line_has_what_log_collectors_read() -> None:
    found = fields("%d of %s", 3, "four", extra={"notification": "team/n"})
    assert found["message"] == "3 of four"
    assert found["severity"] == "ERROR"
    assert found["logger"] == "some.module"
    assert found["notification"] == "team/n"
    assert found["timestamp"].endswith("+00:00")
    assert set(found) == {"message", "severity", "logger", "notification", "timestamp"}


@pytest.mark.parametrize(
    "text", ["two\nlines", "\r\n", "\u2028", '"quoted" \\', "\x00\x1b[31m", "أمان \u202e"]
)
def test_hostile_text_stays_within_its_line(text: str) -> None:
    written = line("%s", text)
    assert written.count("\n") == 1
    assert json.loads(written)["message"] == text


def test_extra_that_is_no_json_is_written_as_text() -> None:
    assert fields("m", extra={"error": ValueError("bad")})["error"] == "bad"


def test_exception_is_part_of_the_line() -> None:
    try:
        raise ValueError("what happened")
    except ValueError:
        found = fields("failed", exc_info=True)
    assert "ValueError: what happened" in found["exception"]
    assert "Traceback" in found["exception"]


def test_secret_is_hidden_everywhere(secret: str) -> None:
    try:
        raise ValueError(f"bad {secret}")
    except ValueError:
        written = line(
            f"a {secret}", extra={"detail": secret, "nested": {"password": secret}}, exc_info=True
        )
    assert secret not in written
    assert written.count("***") >= 4


@pytest.mark.parametrize("password", ["hunter22", "some.module", "notification", "team/n", "uid-7"])
def test_keys_and_names_are_never_touched(password: str) -> None:
    remember_secrets("test_logs", [password])
    extra = {"notification": "team/n", "processor": password, "uid": "uid-7", password: 1}
    try:
        found = fields("an e-mail", extra=extra)
    finally:
        remember_secrets("test_logs", ())
    assert found.pop("timestamp")
    assert found == {
        "severity": "ERROR", "logger": "some.module", "message": "an e-mail", **extra
    }  # fmt: skip


@pytest.mark.parametrize(
    "awkward",
    ['pa"ssword', "pass\\word", "pass\nword", "passwörd1"],
)
def test_secret_that_json_escapes_is_hidden(awkward: str) -> None:
    remember_secrets("test_logs", [awkward])
    try:
        found = fields("bad %s", awkward, extra={"detail": [awkward]})
    finally:
        remember_secrets("test_logs", ())
    assert awkward not in json.dumps(found, ensure_ascii=False)
    assert found["message"] == "bad ***"
    assert found["detail"] == ["***"]


def test_configured_logging(
    restored_logging: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("INFO")
    logging.getLogger("notifications_operator").info("ours")
    logging.getLogger("notifications_operator").debug("too fine")
    logging.getLogger("kopf").info("chatter")
    logging.getLogger("kopf").warning("trouble")
    messages = [json.loads(item)["message"] for item in stream.getvalue().splitlines()]
    assert messages == ["ours", "trouble"]


def test_configuring_twice_writes_once(
    restored_logging: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("INFO")
    configure_logging("ERROR")
    logging.getLogger("any").error("once")
    logging.getLogger("kopf").warning("below the level")
    assert stream.getvalue().count("\n") == 1
