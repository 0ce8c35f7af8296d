"""Logs: one JSON object per line, with secrets redacted from texts, not from keys and names."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from .redaction import redact

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_NAMES = frozenset(
    {
        "timestamp",
        "severity",
        "logger",
        "notification",
        "notificationprocessor",
        "processor",
        "uid",
    }
)
"""Fields that only name something: what they say is no secret, even where it reads like one."""
_QUIET = ("kopf", "aiohttp.access", "asyncio", "uvicorn")


class JSONFormatter(logging.Formatter):
    """Formats a record as JSON; whatever is passed as ``extra`` becomes a field."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; texts in it are redacted, names and keys stay."""
        fields: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "severity": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        extra = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        fields.update({key: value for key, value in extra.items() if not key.startswith("_")})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        shown = {key: item if key in _NAMES else _redacted(item) for key, item in fields.items()}
        return json.dumps(shown, ensure_ascii=False)


def configure_logging(level: str) -> None:
    """Send all logs to standard error as JSON; libraries speak up from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _redacted(value: object) -> object:
    """Redact every text in a value, before JSON escapes it and hides a secret from view."""
    match value:
        case dict():
            return {str(key): _redacted(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(item) for item in value]
        case None | bool() | int() | float():
            return value
        case _:
            return redact(str(value))
