"""schemathesis makes requests from the OpenAPI document, good and bad, and judges the answers."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from tests.support.gateway import TOKEN, NotificationCluster, running_gateway
from tests.support.issuer import issuing
from tests.support.issuer import no_proxy as no_proxy

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,negative_data_rejection,"
    "ignored_auth"
)
"""All but positive_data_acceptance: a schema cannot say that a host must be one, or no text NUL."""


@pytest.mark.parametrize("who", ["service", "user"])
async def test_every_operation_keeps_to_the_document(tmp_path: Path, who: str) -> None:
    """Each operation is for one of them; the other is answered 403."""
    async with (
        issuing() as issuer,
        running_gateway(
            tmp_path,
            NotificationCluster(),
            callers={"failures_per_minute": 1_000_000},
            sending={"max_unfinished": 1_000_000},
            oidc={"issuer": issuer.url, "audiences": ["notifications"], "allow_http": True},
        ) as gateway,
    ):
        now = int(time.time())
        claims = issuer.claims(iat=now - 10, exp=now + 3600)
        token = TOKEN if who == "service" else issuer.key.sign(claims)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"http://127.0.0.1:{gateway.port}/api/notifications/openapi.json",
            *("--header", f"Authorization: Bearer {token}", "--checks", CHECKS),
            *("--phases", "coverage,fuzzing", "--max-examples", "10", "--seed", "1"),
            *("--no-color", "--wait-for-schema", "10"),
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_PROXY": "*"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        metrics = (await gateway.internal.get("/metrics")).text
    assert process.returncode == 0, output.decode()[-20_000:]
    method, route = ("POST", "notifications") if who == "service" else ("GET", "status")
    labels = f'code="200",method="{method}",route="/api/notifications/{route}"'
    assert f"notifications_gateway_requests_total{{{labels}}}" in metrics
