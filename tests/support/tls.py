"""TLS as other versions of Python have it."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from aiohttp import connector

_STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


def strict_as_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let contexts begin as they do in the image, with Python 3.13, whichever runs the test."""
    original = ssl.create_default_context

    def create_default_context(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = original(*arguments, **options)
        context.verify_flags |= _STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", create_default_context)
    # aiohttp made this one when it was imported, for all who give it none.
    default = connector._SSL_CONTEXT_VERIFIED
    monkeypatch.setattr(default, "verify_flags", default.verify_flags | _STRICT)
