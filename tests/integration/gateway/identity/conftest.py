"""Issuers are on this machine; sessions are tried on SQLite and PostgreSQL, as the inbox is."""

from __future__ import annotations

from tests.integration.gateway.inbox.conftest import database as database
from tests.integration.gateway.inbox.conftest import settings as settings
from tests.support.issuer import no_proxy as no_proxy
from tests.support.postgres import postgres as postgres
