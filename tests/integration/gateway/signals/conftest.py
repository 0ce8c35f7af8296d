"""Fixtures of the signals' tests."""

from __future__ import annotations

from tests.support.postgres import postgres as postgres
