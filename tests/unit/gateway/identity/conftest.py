"""Issuers are on this machine, whatever proxy its user has."""

from __future__ import annotations

from tests.support.issuer import no_proxy as no_proxy
